import neostandard from 'neostandard'

/** What the status page uses of browsers. */
const BROWSER = [
  'IntersectionObserver', 'Node', 'ResizeObserver', 'addEventListener', 'document', 'localStorage', 'location', 'matchMedia', 'requestAnimationFrame', 'sessionStorage'
]

export default [
  ...neostandard({ ts: true, ignores: ['dist', '.tap', 'coverage', 'bench/results'] }),
  { files: ['**/*.ts'], rules: { '@typescript-eslint/no-explicit-any': 'error' } },
  { files: ['status-page/*.js'], languageOptions: { globals: Object.fromEntries(BROWSER.map(name => [name, 'readonly'])) } }
]
