import type { RemoteError } from '../errors.ts'

/** A file is not always visible right after its upload; how often and how long that is waited for. */
export const MOST_UNSEEN = 30
export const UNSEEN_PAUSE_MS = 2_000

/** A create was refused because the server does not see its input file. */
export const isFileNotFound = (error: RemoteError): boolean =>
  (error.status === 404 || error.status === 400) &&
  /file/i.test(error.message) &&
  /not (be )?(found|exist)|no such|cannot find|does not exist/i.test(error.message)

/** A cancellation was refused for good: 409 is what a server says of a batch that is over; no time will change that. */
export const isCancelRefusal = ({ status, acted, retryable }: RemoteError): boolean =>
  status === 409 || (acted === 'no' && !retryable && status !== 401 && status !== 403)
