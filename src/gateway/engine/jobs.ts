import { assertNever } from '../../util/exhaustive.ts'

/** Kinds of work, each with a queue of its own. */
export const JOB_KINDS = ['cut', 'submit', 'poll', 'collect', 'webhook', 'sweep'] as const
export type JobKind = (typeof JOB_KINDS)[number]

/** Something to be done. `batch`: its number. */
export type Job =
  | { readonly kind: 'submit' | 'poll' | 'collect'; readonly batch: number }
  | { readonly kind: 'cut' | 'webhook' | 'sweep' }

export type JobHandler = (job: Job) => Promise<void>

/**
 * Who sees to it that work is done when it is due. At least once, and in time as a rule: a job may run twice, at two
 * replicas at once, or be lost. So handlers are safe to be run at any time, and a sweep finds what is due without a job.
 */
export interface Jobs {
  /** Begins to run jobs. A handler that throws is logged; its job is not tried again. */
  start(handler: JobHandler): Promise<void>
  /** Has a job run at this time, in milliseconds since 1970 by the store's clock, or sooner if that was planned before. Never throws. */
  plan(job: Job, atMs: number): void
  /** Begins no more jobs; resolves when those that run have ended. */
  close(): Promise<void>
}

/** Jobs with the same key are the same: one of them is enough. */
export function jobKey(job: Job): string {
  switch (job.kind) {
    case 'submit':
    case 'poll':
    case 'collect':
      return `${job.kind} ${job.batch}`
    case 'cut':
    case 'webhook':
    case 'sweep':
      return job.kind
    default:
      return assertNever(job)
  }
}

/** Jobs of a kind that one replica runs at once. */
export const JOBS_AT_ONCE: Readonly<Record<JobKind, number>> = {
  cut: 1,
  submit: 4,
  poll: 1,
  collect: 2,
  webhook: 1,
  sweep: 1,
}
