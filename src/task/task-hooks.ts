import type { z } from 'zod'
import type { Verdict } from '../batch/verdict.ts'
import { errorText, NightshiftError, TaskError } from '../errors.ts'
import type { Endpoint } from '../openai/wire.ts'
import type { TaskOutput } from './output.ts'
import type { RequestInHand, RunSummary, TaskFailure, TaskRequest, TaskResponse } from './task-types.ts'

/** What `generateRequests` gave. */
export type Generated = Iterable<TaskRequest<Endpoint>> | AsyncIterable<TaskRequest<Endpoint>>

/** What a run needs of a task: its hooks, without the types that only authors care for. */
export interface TaskHooks<Answer> {
  readonly endpoint: Endpoint | undefined
  readonly answerSchema: z.ZodType<Answer> | undefined
  generateRequests(): Generated
  processResponse(response: TaskResponse<Answer>): Verdict | Promise<Verdict>
  processFailure(failure: TaskFailure): Verdict | Promise<Verdict>
  answerSchemaFor(request: RequestInHand): z.ZodType<Answer> | undefined
  createParams(): unknown
  createOutput(): TaskOutput
  onStart(): void | Promise<void>
  onFinish(summary: RunSummary): void | Promise<void>
}

/** Calls a hook and says which it was when it throws. */
export async function callHook<Result>(name: string, call: () => Result | Promise<Result>): Promise<Result> {
  try {
    return await call()
  } catch (error) {
    throw hookFailed(error, () => `${name} failed: ${errorText(error)}`)
  }
}

/** What a hook threw, with words about it; errors of Nightshift's own, which say all there is to say, as they are. */
export function hookFailed(cause: unknown, message: () => string): NightshiftError {
  return NightshiftError.is(cause) ? cause : new TaskError('hook_failed', message(), { cause })
}

/** Where in the task's own code it happened; undefined for an error that no hook has thrown. */
export function hookStack(error: unknown): string | undefined {
  const isHooks = NightshiftError.is(error) && error.code === 'hook_failed'
  return isHooks && error.cause instanceof Error ? error.cause.stack : undefined
}
