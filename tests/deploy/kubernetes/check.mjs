// Reads Kubernetes objects as YAML from standard input and holds each against its kind: by the schema (forms of values,
// what is missing) and by the type (keys that nobody knows). Prints what is wrong; exit code 1 if anything is.
import { createRequire } from 'node:module'
import { writeFileSync, unlinkSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { parseAllDocuments } from 'yaml'

const require = createRequire(import.meta.url)
let text = ''
for await (const piece of process.stdin) text += piece
let wrong = 0
const say = (where, what) => {
  wrong += 1
  console.log(`${where}: ${what}`)
}

/// Where the class of a kind is, and the class.
function find(apiVersion, kind) {
  const path = `${apiVersion}/${kind}`
  for (const name of ['kubernetes-models', '@kubernetes-models/prometheus-operator']) {
    try {
      return { module: `${name}/${path}`, Class: require(`${name}/${path}`)[kind] }
    } catch (error) {
      if (error.code !== 'MODULE_NOT_FOUND' && error.code !== 'ERR_PACKAGE_PATH_NOT_EXPORTED') throw error
    }
  }
  return undefined
}

const kinds = []
let program = ''
for (const document of parseAllDocuments(text)) {
  for (const error of document.errors) say('YAML', error.message)
  const object = document.toJS()
  if (object === null) continue
  const where = `${object.kind}/${object.metadata?.name}`
  const found = find(object.apiVersion ?? '', object.kind ?? '')
  if (found === undefined) {
    say(where, `no such kind: ${object.apiVersion} ${object.kind}`)
    continue
  }
  const n = kinds.push(object.kind)
  try {
    new found.Class(object).validate()
  } catch (error) {
    say(where, error.message)
  }
  // A literal may have no key that its type does not know.
  program += `import type { I${object.kind} as T${n} } from ${JSON.stringify(found.module)};\n`
  program += `export const o${n}: T${n} = ${JSON.stringify(object, null, 1)};\n`
}

const file = fileURLToPath(new URL(`./checked-${process.pid}.ts`, import.meta.url))
writeFileSync(file, program)
try {
  const options = {
    noEmit: true, strict: true, skipLibCheck: true, types: [],
    target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.CommonJS, moduleResolution: ts.ModuleResolutionKind.Node10
  }
  for (const d of ts.getPreEmitDiagnostics(ts.createProgram([file], options))) {
    const at = d.file?.getLineAndCharacterOfPosition(d.start)
    const line = at === undefined ? '' : d.file.text.split('\n')[at.line].trim()
    say(line, ts.flattenDiagnosticMessageText(d.messageText, ' '))
  }
} finally {
  unlinkSync(file)
}
console.log(`checked: ${kinds.sort().join(' ')}`)
process.exit(wrong === 0 ? 0 : 1)
