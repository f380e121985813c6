import type { BodyReading } from './body-reading.ts'
import type { HeaderReader } from './reply.ts'

/** The way back to whoever calls. */
export interface ClientLine {
  readonly isGone: boolean
  /** Headers are not read any more: nobody has to keep them while the call is held. */
  dropHeaders(): void
  /** Hears when the caller goes away; also, to no effect, when it has its answer. */
  onGone(act: () => void): void
  /** Hears when all of the answer is on its way; never, when the caller was gone before. */
  onSent(act: () => void): void
}

/** A call as it comes in, by whatever way. */
export interface Asked extends ClientLine {
  readonly path: string
  readonly header: HeaderReader
  /** Reads all of the body. Rejects when that refuses more of it, and when the body breaks off. */
  read(reading: BodyReading): Promise<void>
}
