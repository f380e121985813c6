import { REMOTE_FILE_SECONDS, uploadName } from '../../batch/remote-marks.ts'
import { RemoteError } from '../../errors.ts'
import type { WireFile } from '../../openai/wire.ts'
import { batchLine } from '../body/line.ts'
import type { AttemptSteps } from './attempt-steps.ts'
import type { Next } from './next.ts'
import { findUploads } from './remote-search.ts'
import type { SpoolFile } from './spool.ts'

/** Gets the input file of a batch to the server: one upload at a time, and looked for before it is repeated. */
export class Uploading {
  readonly #steps: AttemptSteps

  constructor(steps: AttemptSteps) {
    this.#steps = steps
  }

  /** The upload of this tag, whole, if there is one; others of the tag are of no use. Undefined when there is none. */
  async find(): Promise<Next | undefined> {
    const { context, claim, tag, patient } = this.#steps
    const file = await this.#spoolLines()
    await context.spool.remove(file.path)
    const search = await this.#steps.orLater('looking for an upload', () =>
      findUploads(context.api, [tag], patient),
    )
    if (!search.ok) return search.next
    const whole = search.result.find(({ bytes }) => bytes === file.bytes)
    const litter = search.result.filter((one) => one !== whole).map(({ id }) => id)
    if (whole) return this.#uploaded(whole, litter)
    if (litter.length > 0) await claim.change({ litter })
    return undefined
  }

  async send(): Promise<Next> {
    const file = await this.#spoolLines()
    try {
      if (file.lines === 0) return await this.#steps.abandon('nobody waits for it any more')
      return await this.#send(file)
    } finally {
      await this.#steps.context.spool.remove(file.path)
    }
  }

  async #send({ path }: SpoolFile): Promise<Next> {
    const { context, claim, tag, hard } = this.#steps
    const request = { path, name: uploadName(tag), expiresAfterSeconds: REMOTE_FILE_SECONDS }
    try {
      return await this.#uploaded(await context.api.uploadBatchFile(request, hard), [])
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error
      if (error.acted === 'no') return this.#steps.refused(error)
      await claim.change({ uploadInDoubt: true })
      return this.#steps.later('uploading', error)
    }
  }

  /** Only lines whose requests still wait: others have ended since. */
  #spoolLines(): Promise<SpoolFile> {
    const { store, spool } = this.#steps.context
    const { number, endpoint } = this.#steps.batch
    const lines = async function* (): AsyncGenerator<string> {
      for await (const { id, bodyText } of store.lines(number)) yield batchLine({ id, endpoint, bodyText })
    }
    return spool.write(lines())
  }

  async #uploaded({ id, created_at }: WireFile, litter: readonly string[]): Promise<Next> {
    await this.#steps.claim.change({
      phase: 'uploaded',
      inputFileId: id,
      // Some servers say it in fractions of a second.
      since: typeof created_at === 'number' ? Math.floor(created_at) : undefined,
      litter,
    })
    return 'on'
  }
}
