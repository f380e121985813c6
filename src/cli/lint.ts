import { basename } from 'node:path'
import { type ParseArgsConfig, parseArgs } from 'node:util'
import type { LintFinding, LintTotals } from '../batch/lint.ts'
import { errorText, UsageError } from '../errors.ts'
import { lintFile } from '../requester/lint-file.ts'
import { nodeFileSystem } from '../state/file-system.ts'
import { amount } from '../util/amount.ts'
import { formatBytes, formatCount } from '../util/format.ts'
import { systemCode } from '../util/system-code.ts'
import { oneLine } from '../util/text.ts'
import { SIGNAL_EXIT_CODES } from './signals.ts'

export interface LintIo {
  readonly stdout: (line: string) => void
  /** Ends the reading. */
  readonly signal: AbortSignal
}

export const LINT_HELP = `nightshift lint FILE: check the input file of a batch, without a network

  --json             print one JSON object instead of lines of text
  --max-findings N   how many findings are shown (default 100); the others are
                     counted
  --help             this text

An error is what the server would refuse the whole batch for; a warning is what
one request would fail for, or what other servers take differently. Exit code 0
without errors, 1 with errors, 2 when the file cannot be read.`

const FLAGS = {
  json: { type: 'boolean', default: false },
  'max-findings': { type: 'string', default: '100' },
  help: { type: 'boolean', short: 'h', default: false },
} as const satisfies ParseArgsConfig['options']

/** What was found, as much of it as is to be shown. */
interface Found {
  readonly totals: LintTotals
  readonly findings: readonly LintFinding[]
  /** Findings that are not shown, by code. */
  readonly omitted: Readonly<Record<string, number>>
}

/**
 * `nightshift lint`: resolves with the exit code, 0 or 1 (130 when it was interrupted). Throws `UsageError` for flags
 * that cannot be and for a file that cannot be read.
 */
export async function lint(argv: readonly string[], io: LintIo): Promise<number> {
  const { flags, files } = parseFlags(argv)
  if (flags.help) {
    io.stdout(LINT_HELP)
    return 0
  }
  const [path] = files
  if (path === undefined || files.length > 1)
    throw new UsageError(
      'bad_argument',
      `give one file, not ${files.length === 0 ? 'none' : files.length}: nightshift lint FILE`,
    )
  const show = flags.json ? undefined : (finding: LintFinding) => io.stdout(findingLine(path, finding))
  const found = await readFindings(path, maxFindings(flags['max-findings']), show, io.signal)
  if (found === undefined) return SIGNAL_EXIT_CODES.SIGINT
  if (flags.json) io.stdout(JSON.stringify(jsonReport(path, found), null, 2))
  else for (const line of endLines(path, found)) io.stdout(line)
  return found.totals.errors > 0 ? 1 : 0
}

function parseFlags(argv: readonly string[]) {
  try {
    const { values, positionals } = parseArgs({ args: [...argv], options: FLAGS, allowPositionals: true })
    return { flags: values, files: positionals }
  } catch (error) {
    // The parser goes on to explain arguments that begin with "-": a mistyped flag is far more likely.
    const [why] = errorText(error).split('. ')
    throw new UsageError('bad_flag', `${why}. See nightshift lint --help`, { cause: error })
  }
}

function maxFindings(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new UsageError('bad_flag', `--max-findings is '${text}': give a whole number, 0 or more`)
}

/** Undefined when the signal ended it. */
async function readFindings(
  path: string,
  most: number,
  show: ((finding: LintFinding) => void) | undefined,
  signal: AbortSignal,
): Promise<Found | undefined> {
  const findings: LintFinding[] = []
  const omitted: Record<string, number> = {}
  const onFinding = (finding: LintFinding): void => {
    if (findings.length === most) omitted[finding.code] = (omitted[finding.code] ?? 0) + 1
    else {
      findings.push(finding)
      show?.(finding)
    }
  }
  try {
    const totals = await lintFile(nodeFileSystem, path, { onFinding, name: basename(path), signal })
    return { totals, findings, omitted }
  } catch (error) {
    if (signal.aborted) return undefined
    if (systemCode(error) === undefined) throw error
    throw new UsageError('unreadable_file', `cannot read ${path}: ${errorText(error)}`, { cause: error })
  }
}

function findingLine(path: string, { line, severity, code, message }: LintFinding): string {
  const place = line === undefined ? path : `${path}:${line}`
  return `${oneLine(place)}: ${severity} ${code}: ${message}`
}

function endLines(path: string, { totals, omitted }: Found): string[] {
  const { errors, warnings, requests, bytes, endpoint, models, inputs } = totals
  const rest = Object.entries(omitted)
  const parts = [
    `${amount(errors, 'error')}, ${amount(warnings, 'warning')}; ${amount(requests, 'request')}`,
    formatBytes(bytes),
    ...(inputs > 0 ? [amount(inputs, 'input')] : []),
    ...(endpoint === undefined ? [] : [endpoint]),
    ...modelNames(models),
  ]
  return [
    ...(rest.length === 0
      ? []
      : [`not shown: ${rest.map(([code, count]) => `${code} ${formatCount(count)}`).join(', ')}`]),
    `${oneLine(path)}: ${parts.join(', ')}`,
  ]
}

/** One model by its name; several with their numbers of requests. */
function modelNames(models: LintTotals['models']): string[] {
  const list = Object.entries(models)
  return list.map(([model, count]) => oneLine(list.length > 1 ? `${model} (${formatCount(count)})` : model))
}

function jsonReport(path: string, { totals, findings, omitted }: Found) {
  const { errors, warnings, requests, bytes, endpoint = null, models, inputs, counts } = totals
  return {
    file: path,
    ok: errors === 0,
    errors,
    warnings,
    requests,
    bytes,
    endpoint,
    models,
    inputs,
    counts,
    findings: findings.map(({ severity, code, line = null, message }) => ({ severity, code, line, message })),
    omitted,
  }
}
