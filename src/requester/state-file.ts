import { z } from 'zod'
import { DurableJson } from '../state/durable-json.ts'
import type { FileSystem } from '../state/file-system.ts'
import type { Clock } from '../util/clock.ts'
import { VERSION } from '../util/version.ts'
import type { View } from './draft.ts'

export const STATE_VERSION = 1

/** What `<name>_state.json` holds: a summary for people, all of it also in the ledger. */
export const stateFileSchema = z.looseObject({
  version: z.literal(STATE_VERSION),
  /** The release that wrote it. */
  nightshift: z.string().optional(),
  /** The ledger line it was made after. */
  seq: z.int().nonnegative(),
  savedAt: z.string(),
  task: z
    .object({ taskId: z.string(), className: z.string(), endpoint: z.string(), schema: z.string() })
    .optional(),
  account: z.string().optional(),
  params: z.unknown(),
  requests: z.object({
    requests: z.number(),
    succeeded: z.number(),
    failed: z.number(),
    pending: z.number(),
  }),
  spending: z.record(z.string(), z.number()),
  tally: z.record(z.string(), z.number()),
  batches: z.array(
    z.looseObject({
      file: z.number(),
      phase: z.string(),
      endpoint: z.string(),
      model: z.string(),
      requests: z.number(),
    }),
  ),
  wipe: z.string().optional(),
})
export type StateFileData = z.infer<typeof stateFileSchema>

/** Changes are saved at most this often while a run goes on. */
const SAVE_EVERY_MS = 1_000

const BACKGROUND = { background: true } as const

export interface StateFileOptions {
  readonly fs: FileSystem
  readonly path: string
  readonly clock: Clock
  /** Throws when this process may not write any more; nothing is written then. */
  readonly guard: () => void
  /** While nothing changes, the file is saved this often, so that people can see that the run lives. */
  readonly heartbeatMs: number
}

interface Snapshot {
  readonly view: View
  readonly seq: number
}

/**
 * Keeps `<name>_state.json` a little behind the ledger, never ahead of it. From the first `touch` on one timer is
 * set: for the next save when the file lags behind, else for the next heartbeat. `save` and `stop` end that.
 */
export class StateFile {
  readonly #options: StateFileOptions
  readonly #file: DurableJson<StateFileData>
  #latest: Snapshot | undefined
  #savedSeq: number
  #triedMs = Number.NEGATIVE_INFINITY
  #timer: { readonly isSave: boolean; readonly cancel: AbortController } | undefined
  #saving: Promise<void> | undefined
  #stopped = false

  private constructor(options: StateFileOptions, file: DurableJson<StateFileData>) {
    this.#options = options
    this.#file = file
    this.#savedSeq = this.seq
  }

  static async open(options: StateFileOptions): Promise<StateFile> {
    const { fs, path, guard } = options
    const versioned = { schema: stateFileSchema, version: STATE_VERSION }
    return new StateFile(options, await DurableJson.open({ fs, path, guard, ...versioned }))
  }

  /** Ledger line that the file on disk was made after; 0 without one. */
  get seq(): number {
    return this.#file.data?.seq ?? 0
  }

  /** The task as it is now. It is saved soon, and again as a heartbeat; what fails then is tried again later. */
  touch(view: View, seq: number): void {
    this.#latest = { view, seq }
    if (!this.#saving && !this.#timer?.isSave) this.#arm()
  }

  /** Saves what is in hand, at the end of a run. Throws StateError `disk_full`, `write_failed` or `fsync_failed`. */
  async save(view: View, seq: number): Promise<void> {
    await this.stop()
    await this.#write({ view, seq })
  }

  /** Ends the timer; nothing is saved by itself from here on. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.cancel.abort()
    await this.#saving
  }

  #arm(): void {
    this.#timer?.cancel.abort()
    this.#timer = undefined
    if (this.#stopped || !this.#latest) return
    const isSave = this.#latest.seq !== this.#savedSeq
    const cancel = new AbortController()
    this.#timer = { isSave, cancel }
    void this.#saveAfter(isSave ? this.#untilSaveMs() : this.#options.heartbeatMs, cancel.signal)
  }

  #untilSaveMs(): number {
    const sinceMs = this.#options.clock.now() - this.#triedMs
    // A clock that was set back must not stretch the wait.
    return sinceMs < 0 ? SAVE_EVERY_MS : Math.max(0, SAVE_EVERY_MS - sinceMs)
  }

  /** Never rejects. */
  async #saveAfter(ms: number, signal: AbortSignal): Promise<void> {
    if (ms > 0) await this.#options.clock.sleep(ms, signal, BACKGROUND)
    if (signal.aborted || !this.#latest) return
    this.#saving = this.#write(this.#latest).catch(() => {
      // The file is a copy of what the ledger holds. It is tried again soon; `save` tells of a failure that lasts.
    })
    await this.#saving
    this.#saving = undefined
    this.#arm()
  }

  async #write({ view: { state }, seq }: Snapshot): Promise<void> {
    const { clock, guard } = this.#options
    this.#triedMs = clock.now()
    guard()
    await this.#file.write({
      version: STATE_VERSION,
      nightshift: VERSION,
      seq,
      savedAt: new Date(clock.now()).toISOString(),
      ...(state.identity && { task: state.identity }),
      ...(state.account !== undefined && { account: state.account }),
      params: state.params.at(-1) ?? null,
      requests: state.counters,
      spending: { ...state.spending },
      tally: { ...state.tally },
      batches: [...state.files.values()].map(({ id, ...file }) => ({ file: id, ...file })),
      ...(state.wipe && { wipe: state.wipe }),
    })
    this.#savedSeq = seq
  }
}
