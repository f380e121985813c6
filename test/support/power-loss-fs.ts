import { dirname } from 'node:path'
import type { FileSystem, OpenFile, OpenMode } from '../../src/state/file-system.ts'

/** What a disk holds: content by path. */
export type Disk = ReadonlyMap<string, Buffer>

/** A number in [0, 1) for each choice: `Math.random`, or a seeded one. */
export type Random = () => number

interface Inode {
  readonly id: number
  content: Buffer
}

/** Everything that changes a disk, or makes changes durable, in the order it happened. */
type Op =
  | { readonly kind: 'create'; readonly path: string; readonly inode: number }
  | { readonly kind: 'write'; readonly inode: number; readonly at: number; readonly bytes: Buffer }
  | { readonly kind: 'truncate'; readonly inode: number; readonly length: number }
  | { readonly kind: 'sync'; readonly inode: number }
  | { readonly kind: 'rename'; readonly from: string; readonly to: string }
  | { readonly kind: 'unlink'; readonly path: string }
  | { readonly kind: 'link'; readonly to: string; readonly inode: number }
  | { readonly kind: 'syncDirectory'; readonly path: string }

type DataOp = Extract<Op, { kind: 'write' | 'truncate' }>
type EntryOp = Extract<Op, { kind: 'create' | 'rename' | 'unlink' | 'link' }>

export function systemError(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: simulated, '${path}'`), { code })
}

/**
 * A file system in memory that remembers what was made durable. `diskAfter` gives a disk that a power loss could
 * leave: what was fsynced is there; each other write is there, missing, cut short, or zeros of its length; each
 * creation, rename and removal since its directory was fsynced happened or did not.
 */
export class PowerLossFs implements FileSystem {
  readonly #start: Disk
  readonly #entries = new Map<string, Inode>()
  readonly #ops: Op[] = []
  #inodes = 0

  constructor(start: Disk = new Map()) {
    this.#start = start
    for (const [path, content] of start) this.#entries.set(path, this.#inode(Buffer.from(content)))
  }

  #inode(content: Buffer): Inode {
    this.#inodes += 1
    return { id: this.#inodes, content }
  }

  /** How many operations were carried out. */
  get ops(): number {
    return this.#ops.length
  }

  /** What running processes see. */
  get disk(): Disk {
    return new Map([...this.#entries].map(([path, { content }]) => [path, Buffer.from(content)]))
  }

  /** A disk after a power loss that followed the first `ops` operations. */
  diskAfter(ops: number, random: Random): Disk {
    return new Replay(this.#start).run(this.#ops.slice(0, ops)).survivors(random)
  }

  async open(path: string, mode: OpenMode): Promise<OpenFile> {
    const found = this.#entries.get(path)
    if (found && mode === 'create') throw systemError('EEXIST', path)
    if (!found && mode === 'read') throw systemError('ENOENT', path)
    return this.#file(found ?? this.#create(path))
  }

  #create(path: string): Inode {
    const inode = this.#inode(Buffer.alloc(0))
    this.#entries.set(path, inode)
    this.#ops.push({ kind: 'create', path, inode: inode.id })
    return inode
  }

  #file(inode: Inode): OpenFile {
    const record = (op: Op) => this.#ops.push(op)
    return {
      read: async (into, position) => inode.content.subarray(position, position + into.length).copy(into),
      append: async (bytes) => {
        record({ kind: 'write', inode: inode.id, at: inode.content.length, bytes: Buffer.from(bytes) })
        inode.content = Buffer.concat([inode.content, bytes])
      },
      truncate: async (length) => {
        record({ kind: 'truncate', inode: inode.id, length })
        inode.content = resized(inode.content, length)
      },
      sync: async () => {
        record({ kind: 'sync', inode: inode.id })
      },
      size: async () => inode.content.length,
      close: async () => {},
    }
  }

  async size(path: string): Promise<number | undefined> {
    return this.#entries.get(path)?.content.length
  }

  async readText(path: string): Promise<string> {
    return this.#existing(path).content.toString('utf8')
  }

  async rename(from: string, to: string): Promise<void> {
    const inode = this.#existing(from)
    this.#entries.delete(from)
    this.#entries.set(to, inode)
    this.#ops.push({ kind: 'rename', from, to })
  }

  async unlink(path: string): Promise<void> {
    this.#existing(path)
    this.#entries.delete(path)
    this.#ops.push({ kind: 'unlink', path })
  }

  async link(from: string, to: string): Promise<void> {
    const inode = this.#existing(from)
    if (this.#entries.has(to)) throw systemError('EEXIST', to)
    this.#entries.set(to, inode)
    this.#ops.push({ kind: 'link', to, inode: inode.id })
  }

  async list(directory: string): Promise<readonly string[]> {
    const prefix = `${directory}/`
    return [...this.#entries.keys()]
      .filter((path) => path.startsWith(prefix))
      .map((path) => path.slice(prefix.length))
  }

  async makeDirectory(): Promise<undefined> {
    // Directories are always there.
  }

  async syncDirectory(path: string): Promise<void> {
    this.#ops.push({ kind: 'syncDirectory', path })
  }

  async freeBytes(): Promise<undefined> {
    // As large as memory.
  }

  #existing(path: string): Inode {
    const inode = this.#entries.get(path)
    if (!inode) throw systemError('ENOENT', path)
    return inode
  }
}

/** Durable state, and what is pending on top of it. */
class Replay {
  readonly #contents = new Map<number, Buffer>()
  readonly #entries = new Map<string, number>()
  readonly #pendingData = new Map<number, DataOp[]>()
  #pendingEntries: EntryOp[] = []

  constructor(start: Disk) {
    let inode = 0
    for (const [path, content] of start) {
      inode += 1
      this.#entries.set(path, inode)
      this.#contents.set(inode, content)
    }
  }

  run(ops: readonly Op[]): this {
    for (const op of ops) this.#apply(op)
    return this
  }

  #apply(op: Op): void {
    switch (op.kind) {
      case 'write':
      case 'truncate':
        this.#pendingData.set(op.inode, [...(this.#pendingData.get(op.inode) ?? []), op])
        break
      case 'sync':
        this.#contents.set(
          op.inode,
          this.#content(op.inode, () => 0),
        )
        this.#pendingData.delete(op.inode)
        break
      case 'syncDirectory':
        this.#pendingEntries = this.#pendingEntries.filter((pending) => {
          const here = dirname('to' in pending ? pending.to : pending.path) === op.path
          if (here) applyEntry(this.#entries, pending)
          return !here
        })
        break
      case 'create':
      case 'rename':
      case 'unlink':
      case 'link':
        this.#pendingEntries.push(op)
        break
      default:
        op satisfies never
    }
  }

  survivors(random: Random): Disk {
    const entries = new Map(this.#entries)
    for (const op of this.#pendingEntries) if (random() < 0.5) applyEntry(entries, op)
    return new Map([...entries].map(([path, inode]) => [path, this.#content(inode, random)]))
  }

  #content(inode: number, random: Random): Buffer {
    let content = this.#contents.get(inode) ?? Buffer.alloc(0)
    for (const op of this.#pendingData.get(inode) ?? []) content = applyData(content, op, random)
    return content
  }
}

function applyEntry(entries: Map<string, number>, op: EntryOp): void {
  switch (op.kind) {
    case 'create':
      entries.set(op.path, op.inode)
      break
    case 'unlink':
      entries.delete(op.path)
      break
    case 'rename': {
      const inode = entries.get(op.from)
      entries.delete(op.from)
      if (inode !== undefined) entries.set(op.to, inode)
      break
    }
    case 'link':
      entries.set(op.to, op.inode)
      break
    default:
      op satisfies never
  }
}

function applyData(content: Buffer, op: DataOp, random: Random): Buffer {
  const fate = random()
  if (fate >= 0.75) return content
  if (op.kind === 'truncate') return fate < 0.5 ? resized(content, op.length) : content
  const bytes = fate < 0.4 ? op.bytes : damaged(op.bytes, random)
  const grown = resized(content, Math.max(content.length, op.at + bytes.length))
  bytes.copy(grown, op.at)
  return grown
}

/** A write of which a beginning arrived; sometimes the rest has its length already, but zeros for content. */
function damaged(bytes: Buffer, random: Random): Buffer {
  const kept = bytes.subarray(0, Math.floor(random() * bytes.length))
  return random() < 0.5 ? kept : resized(kept, bytes.length)
}

/** A copy of `length` bytes: cut, or filled up with zeros. */
function resized(content: Buffer, length: number): Buffer {
  const result = Buffer.alloc(length)
  content.copy(result, 0, 0, length)
  return result
}

/** The operations that can be made to fail. */
export type FaultOp = 'open' | 'append' | 'truncate' | 'sync' | 'rename' | 'unlink' | 'link' | 'syncDirectory'

export interface Fault {
  readonly op: FaultOp
  /** Which call of this operation fails, counted from 1 when the fault is armed. */
  readonly nth: number
  /** ENOSPC, EIO, ... */
  readonly code: string
  /** Only on paths that end so, or match. Default: all. */
  readonly path?: string | RegExp
  /** So do all calls after it. Default: false. */
  readonly lasting?: boolean
  /** Part of the bytes that a failing append writes nevertheless. Default: 0. */
  readonly written?: number
}

const isAt = (path: string, place: string | RegExp): boolean =>
  typeof place === 'string' ? path.endsWith(place) : place.test(path)

/** A file system of which chosen calls fail. */
export class FaultyFs implements FileSystem {
  readonly #inner: FileSystem
  #faults: { readonly fault: Fault; seen: number }[] = []
  /** What it says when asked for its free space. */
  free: number | undefined
  /** How often it was asked. */
  asked = 0

  constructor(inner: FileSystem) {
    this.#inner = inner
  }

  /** Replaces all faults; the counting begins anew. */
  arm(...faults: readonly Fault[]): void {
    this.#faults = faults.map((fault) => ({ fault, seen: 0 }))
  }

  /** The fault that hits this call, if any. */
  #hit(op: FaultOp, path: string): Fault | undefined {
    const counting = this.#faults.filter(({ fault }) => fault.op === op && isAt(path, fault.path ?? ''))
    for (const one of counting) one.seen += 1
    return counting.find(({ fault, seen }) => (fault.lasting ? seen >= fault.nth : seen === fault.nth))?.fault
  }

  async #guarded<T>(op: FaultOp, path: string, act: () => Promise<T>): Promise<T> {
    const fault = this.#hit(op, path)
    if (fault) throw systemError(fault.code, path)
    return act()
  }

  async open(path: string, mode: OpenMode): Promise<OpenFile> {
    const file = await this.#guarded('open', path, () => this.#inner.open(path, mode))
    return {
      read: (into, position) => file.read(into, position),
      append: (bytes) => this.#append(file, path, bytes),
      truncate: (length) => this.#guarded('truncate', path, () => file.truncate(length)),
      sync: () => this.#guarded('sync', path, () => file.sync()),
      size: () => file.size(),
      close: () => file.close(),
    }
  }

  async #append(file: OpenFile, path: string, bytes: Uint8Array): Promise<void> {
    const fault = this.#hit('append', path)
    if (!fault) return file.append(bytes)
    await file.append(bytes.subarray(0, Math.floor(bytes.length * (fault.written ?? 0))))
    throw systemError(fault.code, path)
  }

  size(path: string): Promise<number | undefined> {
    return this.#inner.size(path)
  }

  readText(path: string): Promise<string> {
    return this.#inner.readText(path)
  }

  rename(from: string, to: string): Promise<void> {
    return this.#guarded('rename', to, () => this.#inner.rename(from, to))
  }

  unlink(path: string): Promise<void> {
    return this.#guarded('unlink', path, () => this.#inner.unlink(path))
  }

  link(path: string, second: string): Promise<void> {
    return this.#guarded('link', second, () => this.#inner.link(path, second))
  }

  list(directory: string): Promise<readonly string[]> {
    return this.#inner.list(directory)
  }

  makeDirectory(path: string): Promise<string | undefined> {
    return this.#inner.makeDirectory(path)
  }

  syncDirectory(path: string): Promise<void> {
    return this.#guarded('syncDirectory', path, () => this.#inner.syncDirectory(path))
  }

  async freeBytes(): Promise<number | undefined> {
    this.asked += 1
    return this.free
  }
}
