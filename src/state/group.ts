import { UsageError } from '../errors.ts'
import { isSuffix } from './ledger-line.ts'

/** What one commit does: all of it or nothing. A file takes part in one way only. */
export interface Group {
  /** Goes into the ledger line as JSON. */
  readonly steps: readonly unknown[]
  /** Text to add to side files, in this order. */
  readonly appends: readonly { readonly file: string; readonly text: string }[]
  /**
   * New, smaller lengths. The bytes go after the commit is durable. For a file whose tail was kept at start, any
   * length up to its size: that takes over the beginning of the tail and drops the rest.
   */
  readonly truncate?: readonly { readonly file: string; readonly length: number }[]
  /** Other files, complete and already fsynced, whose present size is to be recorded. */
  readonly names?: readonly string[]
  /** Files that are no longer part of the task; unlinked after the commit is durable. */
  readonly forget?: readonly string[]
  /** It records answers that are paid for: space that is kept free may be used up. Default: false. */
  readonly isPaid?: boolean
}

/** A side file that is longer than the ledger says, left so on purpose. */
export interface Tail {
  /** Named length. */
  readonly length: number
  /** Bytes in the file. */
  readonly size: number
}

export interface KnownFiles {
  readonly lengths: ReadonlyMap<string, number>
  readonly tails: ReadonlyMap<string, Tail>
}

/** A checked group: per file at most one entry in all of it. */
export interface GroupPlan {
  readonly steps: readonly unknown[]
  readonly appends: ReadonlyMap<string, Buffer>
  readonly truncate: ReadonlyMap<string, number>
  readonly names: readonly string[]
  readonly forget: readonly string[]
  readonly isPaid: boolean
}

/** Checks a group against what is known. Throws UsageError `group_invalid`. */
export function planGroup(group: Group, known: KnownFiles): GroupPlan {
  const texts = Map.groupBy(group.appends, ({ file }) => file)
  const truncate = group.truncate ?? []
  const names = group.names ?? []
  const forget = group.forget ?? []
  checkNames([...texts.keys(), ...truncate.map(({ file }) => file), ...names, ...forget])
  for (const file of texts.keys()) checkAppend(file, known)
  for (const { file, length } of truncate) checkTruncate(file, length, known)
  return {
    steps: group.steps,
    appends: new Map([...texts].map(([file, parts]) => [file, joined(parts)])),
    truncate: new Map(truncate.map(({ file, length }) => [file, length])),
    names,
    forget,
    isPaid: group.isPaid ?? false,
  }
}

const joined = (parts: readonly { readonly text: string }[]): Buffer =>
  Buffer.from(parts.map(({ text }) => text).join(''))

function checkNames(files: readonly string[]): void {
  const seen = new Set<string>()
  for (const file of files) {
    if (!isSuffix(file))
      throw invalid(`${JSON.stringify(file)} is no side file: a suffix is like "_output.jsonl"`)
    if (seen.has(file))
      throw invalid(`${file} occurs in two roles: append, truncate, name or forget it, not both`)
    seen.add(file)
  }
}

function checkAppend(file: string, { tails }: KnownFiles): void {
  if (tails.has(file)) throw invalid(`${file} has a tail that was kept: truncate or name it before appending`)
}

function checkTruncate(file: string, length: number, { lengths, tails }: KnownFiles): void {
  const limit = tails.get(file)?.size ?? lengths.get(file) ?? 0
  const possible = Number.isSafeInteger(length) && length >= 0 && length <= limit
  if (!possible) throw invalid(`${file} cannot be cut to ${length} bytes: it has ${limit}`)
}

const invalid = (why: string): UsageError =>
  new UsageError('group_invalid', `this commit is not possible: ${why}. Nothing was written.`)
