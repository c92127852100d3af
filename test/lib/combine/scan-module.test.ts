import { readFile } from 'node:fs/promises'
import t from 'tap'
import { compileScan, moduleFile } from '../../../wasm/compile.ts'

t.test('the module of the scan is what its source compiles to (else: npm run wasm)', async t => {
  t.equal(await readFile(moduleFile, 'utf8'), await compileScan())
})
