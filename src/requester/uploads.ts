import type { FileIn } from '../batch/queue-file.ts'
import { REMOTE_FILE_SECONDS, uploadName } from '../batch/remote-marks.ts'
import { RemoteError } from '../errors.ts'
import type { WireFile } from '../openai/wire.ts'
import type { Context } from './context.ts'
import { queueFileName } from './files.ts'
import { Interrupted, Patience } from './patience.ts'
import { findUploads } from './remote-search.ts'

type IntendedFile = FileIn<'intended'>

/** Uploads batch inputs, one HTTP request at a time: one whose answer is lost may have left a file that nobody knows. */
export class Uploads {
  readonly #context: Context
  /** By tag, for as long as its upload keeps failing. */
  readonly #patience = new Map<string, Patience>()

  constructor(context: Context) {
    this.#context = context
  }

  /**
   * Tries once. Undefined when that did not work and was waited for; whether a file may be there all the same is on
   * record then. Throws a definite refusal that waiting cannot mend, and whatever ends patience.
   */
  async send(file: IntendedFile): Promise<WireFile | undefined> {
    const { api, store, stop } = this.#context
    const path = store.path(queueFileName(file.id))
    const request = { path, name: uploadName(file.tag), expiresAfterSeconds: REMOTE_FILE_SECONDS }
    try {
      const upload = await api.uploadBatchFile(request, stop)
      this.#patience.delete(file.tag)
      return upload
    } catch (error) {
      if (stop.aborted) throw new Interrupted()
      if (!(error instanceof RemoteError)) throw error
      if (error.acted === 'unknown') await this.doubt(file.tag, error.message)
      if (!error.retryable) throw error
      await this.#patienceFor(file).afterFailure(error)
      return undefined
    }
  }

  /** Puts on record that a file of this tag may be there, or may still come to be there. */
  async doubt(tag: string, why: string): Promise<void> {
    const { clock, store } = this.#context
    await store.commit((draft) => draft.apply({ kind: 'upload-doubt', tag, at: clock.now(), why }))
  }

  /** The upload of a file, whole, if there is one. Others under its tag are left to the sweep. */
  async find(file: IntendedFile): Promise<WireFile | undefined> {
    const found = await findUploads(this.#context, [file.tag])
    return found.find(({ bytes }) => bytes === file.bytes)
  }

  #patienceFor({ id, tag }: IntendedFile): Patience {
    const known = this.#patience.get(tag)
    if (known) return known
    const patience = new Patience(this.#context, `uploading batch file ${id}`)
    this.#patience.set(tag, patience)
    return patience
  }
}
