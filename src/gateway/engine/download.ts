import { RemoteError } from '../../errors.ts'
import type { GatewayBatch } from '../domain/batch.ts'
import type { EngineContext } from './context.ts'

/** A server can be wrong about a size: a file that comes equally short so often is taken as it is. */
const MOST_SHORT = 3
/** A file that the server does not have may come to be there for so long. */
const ABSENT_MS = 10 * 60_000
const NEWLINE = 10

interface Short {
  readonly bytes: number
  readonly times: number
}

export type Answered = Pick<GatewayBatch, 'outputFileId' | 'errorFileId'>

/** What was fetched. `isWhole`: no answer can be missing in it for any fault of the server's files. */
export interface Fetched {
  readonly path: string
  readonly isWhole: boolean
}

/** Fetches all that batches answered into files of this machine. */
export class Download {
  readonly #context: EngineContext
  /** Downloads that ended early, by remote file. */
  readonly #shorts = new Map<string, Short>()
  readonly #absentSince = new Map<string, number>()

  constructor(context: EngineContext) {
    this.#context = context
  }

  /**
   * Output file, then error file, as one local file. A file that the server does not have for long counts as empty, but
   * not while `mayComeBack`. Throws `RemoteError` for what is worth another try later.
   */
  async fetch(batch: Answered, signal: AbortSignal, mayComeBack = false): Promise<Fetched> {
    const ids = [batch.outputFileId, batch.errorFileId].filter((id) => id !== undefined)
    let isWhole = true
    const pieces = async function* (self: Download): AsyncGenerator<Uint8Array> {
      for (const id of ids) {
        const content = await self.#open(id, signal, mayComeBack)
        if (content) isWhole = (yield* self.#checked(id, content, signal)) && isWhole
        else isWhole = false
      }
    }
    const path = await this.#context.spool.receive(pieces(this))
    for (const id of ids) this.#forget(id)
    return { path, isWhole }
  }

  #forget(id: string): void {
    this.#shorts.delete(id)
    this.#absentSince.delete(id)
  }

  async #open(
    id: string,
    signal: AbortSignal,
    mayComeBack: boolean,
  ): Promise<AsyncIterable<Uint8Array> | undefined> {
    const { api, clock, log } = this.#context
    try {
      const content = await api.downloadFile(id, signal)
      this.#absentSince.delete(id)
      return content
    } catch (error) {
      if (!(error instanceof RemoteError) || error.status !== 404) throw error
      const since = this.#absentSince.get(id) ?? clock.now()
      this.#absentSince.set(id, since)
      if (mayComeBack || clock.now() - since < ABSENT_MS)
        throw new RemoteError(error.code, error.message, { cause: error, status: 404, retryable: true })
      log.error('answers_gone', { file: id, reason: error.message })
      return undefined
    }
  }

  /** Throws for a file that ended early, though the connection did not say so. False when that was believed in the end. */
  async *#checked(
    id: string,
    content: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, boolean> {
    let bytes = 0
    let last: number | undefined
    for await (const piece of content) {
      bytes += piece.length
      last = piece.at(-1) ?? last
      yield piece
    }
    const told = await this.#sizeOf(id, signal)
    const isShort = bytes < told
    if (isShort && !this.#isBelieved(id, bytes))
      throw new RemoteError('network', `${bytes} of the ${told} bytes of file ${id} arrived`, {
        retryable: true,
      })
    if (last !== undefined && last !== NEWLINE) yield Uint8Array.of(NEWLINE)
    return !isShort
  }

  /** Bytes of it as the server says; 0 when it does not. */
  async #sizeOf(id: string, signal: AbortSignal): Promise<number> {
    try {
      return (await this.#context.api.retrieveFile(id, signal)).bytes ?? 0
    } catch (error) {
      if (!(error instanceof RemoteError) || error.status !== 404) throw error
      return 0
    }
  }

  #isBelieved(id: string, bytes: number): boolean {
    const before = this.#shorts.get(id)
    const times = before?.bytes === bytes ? before.times + 1 : 1
    this.#shorts.set(id, { bytes, times })
    if (times < MOST_SHORT) return false
    this.#context.log.warn('short_download', { file: id, bytes, times })
    return true
  }
}
