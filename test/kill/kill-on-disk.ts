/**
 * Loaded before a program (`node --import`): counts and names what the program does to the files of one folder, and
 * ends the process, as `kill -9` does, at one of those operations. The program itself knows nothing of it.
 */
import fs from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { dirname, resolve } from 'node:path'
import { type DiskPlan, type Phase, planSchema, pointOf } from './disk-points.ts'

type Operation = 'create' | 'write' | 'sync' | 'cut' | 'rename' | 'unlink' | 'mkdir' | 'rmdir'

const die = (): void => void process.kill(process.pid, 'SIGKILL')

/** Carries out operations, but for the one that it was told to die at. */
class Executioner {
  readonly #plan: DiskPlan
  #seen = 0

  constructor(plan: DiskPlan) {
    this.#plan = plan
  }

  /** `half`: does a part of it. */
  async around<Result>(
    operation: Operation,
    path: string,
    act: () => Promise<Result>,
    half?: () => Promise<unknown>,
  ): Promise<Result> {
    const phase = this.#phaseToDieIn(operation, resolve(path))
    if (phase === 'before') die()
    if (phase === 'within') {
      await half?.()
      die()
    }
    const result = await act()
    if (phase === 'after') die()
    return result
  }

  #phaseToDieIn(operation: Operation, path: string): Phase | undefined {
    const { at, log, folder } = this.#plan
    if (path !== folder && dirname(path) !== folder) return undefined
    const point = pointOf(operation, path, folder)
    fs.appendFileSync(log, `${point}\n`)
    const isMeant = at !== undefined && (at.point === undefined || at.point === point)
    return isMeant && ++this.#seen === at.nth ? at.phase : undefined
  }
}

/** A file handle whose operations on the disk may be the last. */
function watched(handle: FileHandle, path: string, executioner: Executioner): FileHandle {
  const operations: Readonly<Record<string | symbol, unknown>> = {
    write: (bytes: Uint8Array, offset = 0, length = bytes.length - offset) =>
      executioner.around(
        'write',
        path,
        () => handle.write(bytes, offset, length),
        () => handle.write(bytes, offset, length >> 1),
      ),
    sync: () => executioner.around('sync', path, () => handle.sync()),
    datasync: () => executioner.around('sync', path, () => handle.datasync()),
    truncate: (length: number) => executioner.around('cut', path, () => handle.truncate(length)),
  }
  return new Proxy(handle, {
    get: (target, name) => {
      const value: unknown = operations[name] ?? Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

function install(executioner: Executioner): void {
  const { open, writeFile, rename, unlink, rmdir } = fs.promises
  const { mkdir } = fs
  Object.assign(fs.promises, {
    open: async (path: string, flags: string, mode?: number) => {
      const opened = () => open(path, flags, mode)
      const isNew = flags !== 'r' && !fs.existsSync(path)
      const handle = await (isNew ? executioner.around('create', path, opened) : opened())
      return watched(handle, path, executioner)
    },
    writeFile: (path: string, text: string, options: object) =>
      executioner.around(
        'write',
        path,
        () => writeFile(path, text, options),
        () => writeFile(path, text.slice(0, text.length / 2), options),
      ),
    rename: (from: string, to: string) => executioner.around('rename', from, () => rename(from, to)),
    unlink: (path: string) => executioner.around('unlink', path, () => unlink(path)),
    rmdir: (path: string) => executioner.around('rmdir', path, () => rmdir(path)),
  })
  Object.assign(fs, {
    mkdir: (path: string, options: object, callback: (error: Error | null) => void) => {
      const made = () =>
        new Promise<void>((done, fail) => mkdir(path, options, (error) => (error ? fail(error) : done())))
      executioner.around('mkdir', path, made).then(() => callback(null), callback)
    },
  })
  syncBuiltinESMExports()
}

install(new Executioner(planSchema.parse(JSON.parse(process.env.KILL_ON_DISK ?? ''))))
