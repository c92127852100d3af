import neostandard from 'neostandard'

export default [
  ...neostandard({ ts: true, ignores: ['dist', '.tap', 'coverage', 'bench/results'] }),
  { files: ['**/*.ts'], rules: { '@typescript-eslint/no-explicit-any': 'error' } }
]
