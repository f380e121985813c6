/** What the task makes of a reply or of a failed attempt. Made by `accept`, `retry` and `reject`. */
export type Verdict<Output = unknown> =
  | {
      readonly kind: 'accept'
      readonly output: Output | undefined
      readonly remember: unknown
      readonly more: boolean
    }
  | { readonly kind: 'retry'; readonly reason: string; readonly body: object | undefined }
  | { readonly kind: 'reject'; readonly reason: string; readonly remember: unknown; readonly more: boolean }

export interface JudgeOptions {
  /** Kept with the sample, in order, for later hooks: `this.samples.get(sample).remembered`. Any JSON value. */
  readonly remember?: unknown
  /** The sample needs another request: `generateRequests` is called again. Default: false. */
  readonly more?: boolean
}

/** The answer is good. `output` becomes one line of the output; without it nothing is written. */
export const accept = <Output>(
  output?: Output,
  { remember, more = false }: JudgeOptions = {},
): Verdict<Output> => ({
  kind: 'accept',
  output,
  remember,
  more,
})

/** Ask again, as long as attempts are left; then it is a reject. A `body` replaces the one that was sent. */
export const retry = (reason: string, { body }: { readonly body?: object } = {}): Verdict<never> => ({
  kind: 'retry',
  reason,
  body,
})

/** The request has failed for good; it goes to the failed file with this reason. */
export const reject = (reason: string, { remember, more = false }: JudgeOptions = {}): Verdict<never> => ({
  kind: 'reject',
  reason,
  remember,
  more,
})
