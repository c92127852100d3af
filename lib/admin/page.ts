/** The status page as one document: style and script put into it, with a policy that lets nothing else in. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** What is sent: the document, and the value of `Content-Security-Policy` that fits it. */
export interface StatusPage {
  readonly html: string
  readonly csp: string
}

const STYLE = '<link rel="stylesheet" href="style.css">'
const SCRIPT = '<script type="module" src="script.js"></script>'
/** The modules of the page write one import a line, and export declarations, all under their own names. */
const IMPORT = /^import (\{ [\w, ]+ \}) from '\.\/([\w-]+\.js)'$/gm
const EXPORT = /^export (?=(?:const|function|async function) (\w+))/gm

/** Reads `status-page/`; for boot, not for each request. @throws where its files are not there */
export function statusPage (): StatusPage {
  const style = read('style.css')
  const script = `const modules = {}\n${bundle('script.js', new Set()).join('')}`
  if (/<\/(?:style|script)/i.test(style + script)) throw new Error('the status page would end its own style or script')
  // functions, since "$&" is no pattern here
  const html = read('index.html').replace(STYLE, () => `<style>${style}</style>`).replace(SCRIPT, () => `<script type="module">${script}</script>`)
  const csp = [
    "default-src 'none'", `script-src '${hash(script)}'`, `style-src '${hash(style)}'`, "connect-src 'self'", 'img-src data:',
    "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"
  ].join('; ')
  return { html, csp }
}

/** A module after those that it imports, each once: a function of its own, since names of different modules may be the same. */
function bundle (name: string, seen: Set<string>): string[] {
  if (seen.has(name)) return []
  seen.add(name)
  const source = read(name)
  const before = [...source.matchAll(IMPORT)].flatMap(([, , imported]) => bundle(imported!, seen))
  const exported = [...source.matchAll(EXPORT)].map(([, exportedName]) => exportedName)
  const body = source.replace(IMPORT, "const $1 = modules['$2']").replace(EXPORT, '')
  return [...before, `modules['${name}'] = (() => {\n${body}\nreturn { ${exported.join(', ')} }\n})()\n`]
}

/** It stands two folders up from the sources and three from `dist`. */
function read (name: string): string {
  for (const folder of ['../../status-page/', '../../../status-page/']) {
    try {
      return readFileSync(new URL(folder + name, import.meta.url), 'utf8')
    } catch {
      // not there: the other one
    }
  }
  throw new Error(`status-page/${name} is missing: it is part of the package`)
}

const hash = (text: string): string => `sha256-${createHash('sha256').update(text).digest('base64')}`
