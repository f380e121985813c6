import { posix } from 'node:path'
import { type ModuleReference, moduleReferences, type Token, tokenize } from './module-scanner.ts'

/** Path of a file below `src`, and its text. */
export type SourceFiles = ReadonlyMap<string, string>

const EVERYTHING = [
  ...['errors', 'util', 'tokens', 'batch', 'progress', 'state', 'openai', 'requester', 'task', 'client'],
  ...['emulator', 'gateway', 'monitor', 'cli'],
]

/** For each part of `src`, the other parts it may import. `openai/wire.ts` comes on top, see `mayUseWire`. */
const MAY_IMPORT: ReadonlyMap<string, readonly string[]> = new Map([
  ['errors', []],
  ['util', ['errors']],
  ['tokens', ['errors', 'util']],
  ['batch', ['tokens', 'errors', 'util']],
  ['progress', ['batch', 'state', 'errors', 'util']],
  ['state', ['errors', 'util']],
  ['openai', ['batch', 'tokens', 'errors', 'util']],
  ['requester', ['batch', 'tokens', 'state', 'openai', 'progress', 'errors', 'util']],
  ['task', ['requester', 'batch', 'state', 'progress', 'errors', 'util']],
  ['client', ['errors', 'util']],
  ['emulator', ['tokens', 'errors', 'util']],
  ['gateway', ['batch', 'tokens', 'openai', 'progress', 'errors', 'util']],
  ['monitor', ['requester', 'task', 'state', 'batch', 'progress', 'errors', 'util']],
  ['cli', EVERYTHING],
  ['index', ['task', 'requester', 'progress', 'cli', 'batch', 'util', 'errors']],
])

const WIRE = 'openai/wire.ts'
const mayUseWire = (part: string): boolean => !['tokens', 'util', 'errors'].includes(part)

/** Entry points of the package; any other `index.ts` would be a barrel. */
const ENTRY_POINTS = new Set(['index.ts', 'emulator/index.ts', 'gateway/index.ts', 'client/index.ts'])

const ENVIRONMENT_READER = 'util/options.ts'
const PROCESS_CONTROL = new Set(
  'exit exitCode reallyExit abort argv on once addListener prependListener prependOnceListener'.split(' '),
)

/** `batch` for `batch/limits.ts`, `errors` for `errors.ts`. */
const partOf = (path: string): string => path.split('/')[0]?.replace(/\.ts$/, '') ?? ''

/** All that is wrong with the imports of `src`, one line for each; empty when nothing is. */
export function architectureProblems(files: SourceFiles): string[] {
  const graph = new Map<string, readonly string[]>()
  const problems: string[] = []
  for (const [path, source] of files) {
    const references = moduleReferences(source)
    const targets = references.flatMap((reference) => localTarget(path, reference))
    graph.set(path, targets)
    problems.push(...placeProblems(path), ...processProblems(path, tokenize(source)))
    for (const reference of references) {
      const wrong = referenceProblem(path, reference, files)
      if (wrong) problems.push(`${path}:${reference.line} ${wrong}`)
    }
  }
  return [...problems, ...cycles(graph)]
}

function placeProblems(path: string): string[] {
  if (!MAY_IMPORT.has(partOf(path))) return [`${path} is in no known part of src`]
  const barrel = posix.basename(path) === 'index.ts' && !ENTRY_POINTS.has(path)
  return barrel ? [`${path} is a barrel, and is no entry point of the package`] : []
}

const isLocal = (specifier: string): boolean => /^\.{0,2}\//.test(specifier)

function localTarget(path: string, { specifier }: ModuleReference): string[] {
  return specifier !== undefined && isLocal(specifier) ? [posix.join(posix.dirname(path), specifier)] : []
}

function referenceProblem(path: string, reference: ModuleReference, files: SourceFiles): string | undefined {
  const { specifier } = reference
  if (specifier === undefined) return 'imports a module whose name is computed'
  const [target] = localTarget(path, reference)
  if (target === undefined) return packageProblem(path, specifier, reference.typeOnly)
  if (!files.has(target)) return `imports ${specifier}, which is no file of src`
  if (posix.basename(target) === 'index.ts') return `imports ${target}; nothing may import an index`
  return partProblem(path, target)
}

function partProblem(path: string, target: string): string | undefined {
  const [from, to] = [partOf(path), partOf(target)]
  if (from === to || (target === WIRE && mayUseWire(from))) return undefined
  return MAY_IMPORT.get(from)?.includes(to) ? undefined : `imports ${target}; ${from} may not import ${to}`
}

function packageProblem(path: string, specifier: string, typeOnly: boolean): string | undefined {
  const name = specifier.split('/')[0]
  if (name === 'nightshift') return 'imports the package itself'
  if (specifier === 'process' || specifier === 'node:process')
    return 'imports node:process; use the global, which these rules can follow'
  if (name !== 'openai') return undefined
  if (!['openai', 'client'].includes(partOf(path)))
    return 'imports the openai package; only openai and client may'
  return path === WIRE && !typeOnly
    ? 'imports values of the openai package; the wire may import only its types'
    : undefined
}

function processProblems(path: string, tokens: readonly Token[]): string[] {
  return tokens.flatMap(({ kind, text, line }, at) => {
    if (kind !== 'word' || text !== 'process' || isOtherProcess(tokens, at)) return []
    const wrong = processUse(path, tokens, at)
    return wrong ? [`${path}:${line} ${wrong}`] : []
  })
}

/** `worker.process` is somebody else's; `globalThis.process` is the global one. */
const isOtherProcess = (tokens: readonly Token[], at: number): boolean =>
  ['.', '?.'].includes(tokens[at - 1]?.text ?? '') && tokens[at - 2]?.text !== 'globalThis'

function processUse(path: string, tokens: readonly Token[], at: number): string | undefined {
  const [before, dot, member] = [tokens[at - 1]?.text, tokens[at + 1]?.text ?? '', tokens[at + 2]?.text ?? '']
  const inCli = partOf(path) === 'cli'
  if (before === '=' && dot !== '.' && dot !== '?.')
    return 'takes process apart or renames it; name its member in place'
  if (!['.', '?.', '['].includes(dot)) return undefined
  if (member === 'env')
    return path === ENVIRONMENT_READER ? undefined : `reads process.env; only ${ENVIRONMENT_READER} may`
  return PROCESS_CONTROL.has(member) && !inCli ? `uses process.${member}; only cli may` : undefined
}

/** Every import cycle, type-only imports included, as the path around it. */
function cycles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const found: string[] = []
  const done = new Set<string>()
  const visit = (path: string, trail: readonly string[]): void => {
    const start = trail.indexOf(path)
    if (start >= 0) found.push(`import cycle: ${[...trail.slice(start), path].join(' -> ')}`)
    if (start >= 0 || done.has(path)) return
    for (const target of graph.get(path) ?? []) visit(target, [...trail, path])
    done.add(path)
  }
  for (const path of graph.keys()) visit(path, [])
  return found
}
