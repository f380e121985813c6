/** Facts of an event: plain values, and never a key, a body or an answer. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>

/** Where the gateway says what it does; `event` is a stable word for programs. */
export interface Log {
  info(event: string, fields?: LogFields): void
  warn(event: string, fields?: LogFields): void
  error(event: string, fields?: LogFields): void
}

export const silentLog: Log = { info: () => undefined, warn: () => undefined, error: () => undefined }
