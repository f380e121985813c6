import { z } from 'zod'
import { StateError } from '../errors.ts'
import { DurableJson } from '../state/durable-json.ts'
import type { FileSystem } from '../state/file-system.ts'
import type { Clock } from '../util/clock.ts'
import type { View } from './draft.ts'

export const STATE_VERSION = 1

/** What `<name>_state.json` holds: a summary for people, all of it also in the ledger. */
export const stateFileSchema = z.looseObject({
  version: z.literal(STATE_VERSION),
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

export interface StateFileOptions {
  readonly fs: FileSystem
  readonly path: string
  readonly clock: Clock
  /** Throws when this process may not write any more; nothing is written then. */
  readonly guard: () => void
  /** While nothing changes, the file is touched this often, so that people can see that the run lives. */
  readonly heartbeatMs: number
}

/** Keeps `<name>_state.json` a little behind the ledger, never ahead of it. */
export class StateFile {
  readonly #options: StateFileOptions
  readonly #file: DurableJson<StateFileData>
  #savedMs = Number.NEGATIVE_INFINITY
  #savedSeq = -1
  #saving: Promise<void> | undefined
  #isSaving = false
  #failure: unknown

  private constructor(options: StateFileOptions, file: DurableJson<StateFileData>) {
    this.#options = options
    this.#file = file
  }

  static async open(options: StateFileOptions): Promise<StateFile> {
    const { fs, path } = options
    return new StateFile(
      options,
      await DurableJson.open({ fs, path, schema: stateFileSchema, version: STATE_VERSION }),
    )
  }

  /** Ledger line that the file on disk was made after; 0 without one. */
  get seq(): number {
    return this.#file.data?.seq ?? 0
  }

  /** Saves soon, if it is time. Never waits; a failure shows at `save`. */
  touch(view: View, seq: number): void {
    const { clock, heartbeatMs } = this.#options
    const age = clock.now() - this.#savedMs
    const due = seq === this.#savedSeq ? age >= heartbeatMs : age >= SAVE_EVERY_MS
    if (!due || this.#isSaving) return
    this.#isSaving = true
    this.#saving = this.#write(view, seq)
      .catch((error: unknown) => {
        this.#failure ??= error
      })
      .finally(() => {
        this.#isSaving = false
      })
  }

  /** Saves what is in hand, at the end of a run. */
  async save(view: View, seq: number): Promise<void> {
    await this.#saving
    if (this.#failure !== undefined)
      throw new StateError(
        'state_not_saved',
        'the state file could not be saved; the ledger is whole, and the next run rebuilds it',
        { cause: this.#failure },
      )
    await this.#write(view, seq)
  }

  async #write({ state }: View, seq: number): Promise<void> {
    const { clock, guard } = this.#options
    guard()
    this.#savedMs = clock.now()
    this.#savedSeq = seq
    await this.#file.write({
      version: STATE_VERSION,
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
  }
}
