import { crc32 } from 'node:zlib'
import { parsedJson } from '../util/parsed-json.ts'

/**
 * The form of one ledger line:
 *
 *     {"crc":"0a1b2c3d","seq":7,"at":1767225600000,"files":{"_output.jsonl":120},"gone":["_batch1.jsonl"],"steps":[...]}
 *
 * `crc` is the CRC-32 of every byte after its own comma up to the newline, so that it is checked on the raw bytes.
 * `gone` is left out when empty.
 */
export interface LedgerFields {
  /** 1, 2, 3, ... */
  readonly seq: number
  /** When it was committed, in milliseconds since 1970. */
  readonly at: number
  /** New length in bytes of every side file the commit touched, by suffix (`_output.jsonl`). */
  readonly files: Readonly<Record<string, number>>
  /** Suffixes of side files that are no longer part of the task. */
  readonly gone: readonly string[]
  /** What the owner of the ledger committed; not validated here. */
  readonly steps: readonly unknown[]
}

const OPENING = '{"crc":"'
const CRC_END = OPENING.length + 8
/** Length of `{"crc":"xxxxxxxx",`, after which the checked bytes begin. */
const PREFIX_LENGTH = CRC_END + 2
const NEWLINE = 0x0a

const SUFFIX = /^_[A-Za-z0-9][\w.-]*$/
export const LEDGER_SUFFIX = '_ledger.jsonl'

/** True for the suffix of a side file: it cannot leave the folder, and is not the ledger itself. */
export const isSuffix = (suffix: string): boolean => SUFFIX.test(suffix) && suffix !== LEDGER_SUFFIX

const hex = (crc: number): string => crc.toString(16).padStart(8, '0')

/** The bytes of a line, its newline included. */
export function encodeLine(fields: LedgerFields): Buffer {
  const { seq, at, files, gone, steps } = fields
  const json = JSON.stringify(gone.length > 0 ? { seq, at, files, gone, steps } : { seq, at, files, steps })
  const checked = Buffer.from(json.slice(1))
  return Buffer.concat([Buffer.from(`${OPENING}${hex(crc32(checked))}",`), checked, Buffer.of(NEWLINE)])
}

/** Whether `line` (without its newline) has the form of a ledger line and the checksum it states. */
export function hasValidChecksum(line: Buffer): boolean {
  if (line.length <= PREFIX_LENGTH) return false
  const prefix = line.toString('latin1', 0, PREFIX_LENGTH)
  const wellFormed = prefix.startsWith(OPENING) && prefix.endsWith('",')
  return wellFormed && prefix.slice(OPENING.length, CRC_END) === hex(crc32(line.subarray(PREFIX_LENGTH)))
}

/** Whether a whole valid line stands somewhere inside damaged bytes (its neighbour's newline may be lost). */
export function holdsValidLine(damaged: Buffer): boolean {
  let at = damaged.indexOf(OPENING)
  while (at >= 0) {
    if (hasValidChecksum(damaged.subarray(at))) return true
    at = damaged.indexOf(OPENING, at + 1)
  }
  return false
}

/** The fields of a line whose checksum is valid, or undefined when it is no ledger line after all. */
export function decodeLine(line: Buffer): LedgerFields | undefined {
  // What is no JSON in spite of its right checksum is no damage but another program's line: the caller reports it with its place.
  const value = parsedJson(line.toString('utf8'))
  if (typeof value !== 'object' || value === null) return undefined
  if (!('seq' in value && 'at' in value && 'files' in value && 'steps' in value)) return undefined
  const { seq, at, files, steps } = value
  const gone = 'gone' in value ? value.gone : []
  if (!isCount(seq) || typeof at !== 'number' || !Array.isArray(steps)) return undefined
  if (!isLengths(files) || !isSuffixes(gone)) return undefined
  return { seq, at, files, gone, steps }
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0

function isLengths(value: unknown): value is Record<string, number> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.entries(value).every(([suffix, length]) => isSuffix(suffix) && isCount(length))
}

const isSuffixes = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((suffix) => typeof suffix === 'string' && isSuffix(suffix))
