// Prints what is installed here, as JSON: the packages that package.json names, what it overrides,
// and the Node that runs this. Exits with 1 if a package is missing or is not the pinned one.

import { readFileSync } from 'node:fs'

const here = (path) => new URL(path, import.meta.url)
const read = (path) => JSON.parse(readFileSync(here(path), 'utf8'))

const { dependencies, overrides } = read('package.json')
const pinned = Object.assign({}, dependencies, ...Object.values(overrides))
const found = { nodejs: process.version.slice(1) }
let missing = 0

for (const [name, wanted] of Object.entries(pinned)) {
  try {
    found[name] = read(`node_modules/${name}/package.json`).version
  } catch {
    found[name] = null
  }
  if (found[name] !== wanted) missing++
}
console.log(JSON.stringify(found, null, 1))
if (missing) console.error('not as pinned: run npm --prefix compare/node install')
process.exit(missing ? 1 : 0)
