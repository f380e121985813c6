/** Options every Nightshift error takes beside its code and message. */
export interface NightshiftErrorOptions {
  readonly cause?: unknown
  /** True when the same call may succeed later without anything being changed. Default: false. */
  readonly retryable?: boolean
}

const MARK = Symbol.for('nightshift.error')

/**
 * The base of every error Nightshift throws on purpose. `code` is stable and made for programs;
 * `message` is made for people: the value, the place, and what to do.
 */
export class NightshiftError extends Error {
  override readonly name: string = 'NightshiftError'
  readonly code: string
  readonly retryable: boolean
  readonly [MARK] = true

  constructor(code: string, message: string, options: NightshiftErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.retryable = options.retryable ?? false
  }

  /** Recognises a Nightshift error even when two copies of the package are loaded. */
  static is(error: unknown): error is NightshiftError {
    return typeof error === 'object' && error !== null && MARK in error
  }
}

/** The caller asked for something that cannot be: bad flags, options or arguments. Exit code 2. */
export class UsageError extends NightshiftError {
  override readonly name = 'UsageError'
}

/** A task's own code (hooks, requests, schemas) broke a rule. Nothing of the offending value was committed. */
export class TaskError extends NightshiftError {
  override readonly name = 'TaskError'
}

/** A file of the task cannot be used as it is: corrupt, newer, shortened, not writable. It was left unchanged. */
export class StateError extends NightshiftError {
  override readonly name = 'StateError'
}

/** Another process holds the task, or this process lost its hold on it. */
export class LockError extends NightshiftError {
  override readonly name = 'LockError'
}

/** What is known about a remote call that did not answer as hoped. */
export interface RemoteErrorOptions extends NightshiftErrorOptions {
  /** HTTP status, or undefined when no answer arrived at all. */
  readonly status?: number | undefined
  /** How long the server asked us to wait, in milliseconds. */
  readonly retryAfterMs?: number | undefined
  /** `error.code` (or `error.type`) of the server's JSON error. */
  readonly remoteCode?: string | undefined
  readonly requestId?: string | undefined
}

/**
 * A call to the API failed. `acted` says whether the server may have carried it out: `no` is a definite
 * refusal (an HTTP 4xx other than 408 and 409) or a call that never left (code `unreachable`), `unknown` is
 * everything else (no answer, 5xx, 408, 409).
 */
export class RemoteError extends NightshiftError {
  override readonly name = 'RemoteError'
  readonly status: number | undefined
  readonly retryAfterMs: number | undefined
  readonly remoteCode: string | undefined
  readonly requestId: string | undefined

  constructor(code: string, message: string, options: RemoteErrorOptions = {}) {
    super(code, message, options)
    this.status = options.status
    this.retryAfterMs = options.retryAfterMs
    this.remoteCode = options.remoteCode
    this.requestId = options.requestId
  }

  get acted(): 'no' | 'unknown' {
    const status = this.status
    if (this.code === 'unreachable') return 'no'
    const refused = status !== undefined && status >= 400 && status < 500 && status !== 408 && status !== 409
    return refused ? 'no' : 'unknown'
  }
}

/** Text of anything that was thrown, for messages and logs. */
export const errorText = (error: unknown): string => (error instanceof Error ? error.message : String(error))
