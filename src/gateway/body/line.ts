import { wireLine } from '../../batch/wire-line.ts'
import type { Endpoint } from '../../openai/wire.ts'

/** A request as it is put into a batch. */
export interface LineParts {
  /** `custom_id`: 1 to 64 of `a-z A-Z 0-9 _ -`. */
  readonly id: string
  readonly endpoint: Endpoint
  /** JSON text on one line. */
  readonly bodyText: string
}

/** The line of a batch file, without its line break. The body goes in as it is. */
export const batchLine = ({ id, endpoint, bodyText }: LineParts): string => wireLine(id, endpoint, bodyText)

/** Bytes of the same, line break included. */
export const batchLineBytes = ({ id, endpoint, bodyText }: LineParts): number =>
  wireLine(id, endpoint, '').length + Buffer.byteLength(bodyText) + 1
