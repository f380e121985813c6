/**
 * Nightshift: large LLM jobs at half price, without losing or re-paying an answer. Subclass `TaskManager`, run it by
 * `runTask`. `GPTRequester` is for what a task cannot express.
 */
export type { Choice, ReplyWarning, ToolCall } from './batch/reply.ts'
export type { Remembered } from './batch/request-table.ts'
export { accept, type JudgeOptions, reject, retry, type Verdict } from './batch/verdict.ts'
export { type RunTaskOptions, runTask } from './cli/run-task.ts'
export { LockError, NightshiftError, RemoteError, StateError, TaskError, UsageError } from './errors.ts'
export type { Endpoint, EndpointBodies } from './openai/wire.ts'
export type { Metrics, ProgressEvent, RequestCounts } from './progress/events.ts'
export { foldRows, type HistoryRow, readRow } from './progress/history-row.ts'
export type { HistorySender, HistorySource, OpenSender, RunEnd } from './progress/history-sender.ts'
export { JsonReporter, type JsonReporterOptions } from './progress/json-reporter.ts'
export type { Reporter } from './progress/reporter.ts'
export { TerminalReporter, type TerminalReporterOptions } from './progress/terminal-reporter.ts'
export type { AddOutcome } from './requester/intake.ts'
export type { Judgement, JudgeOverrides } from './requester/judging.ts'
export type { RequesterOptions } from './requester/opening.ts'
export type { OutputCursor, OutputPlacement } from './requester/output-placement.ts'
export type { PilotReport, PilotRest } from './requester/pilot-report.ts'
export type { Interval } from './requester/pilot-statistics.ts'
export type { NewRequest } from './requester/prepare.ts'
export type {
  Quote,
  QuotedAmounts,
  QuotedCap,
  QuotedCost,
  QuotedModel,
  QuotedPrice,
} from './requester/quote.ts'
export type { Account as ReceiptAccount, Estimate, Money, Receipt } from './requester/receipt.ts'
export type { RequestResult, TokenUsage } from './requester/request-result.ts'
export { GPTRequester, type RunOutcome } from './requester/requester.ts'
export type { TaskDependencies } from './task/dependencies.ts'
export { type Advice, type Opinion, OpinionAdviser, type OpinionOptions } from './task/opinions.ts'
export {
  type JsonLinesOptions,
  JsonLinesOutput,
  JsonOutput,
  type Projection,
  type TaskOutput,
} from './task/output.ts'
export { readOutput } from './task/output-reader.ts'
export { TaskManager, type TaskManagerOptions } from './task/task-manager.ts'
export type {
  RunSummary,
  Samples,
  SampleView,
  TaskAttempt,
  TaskFailure,
  TaskRequest,
  TaskResponse,
} from './task/task-types.ts'
export { type ResolvedOptions, resolveOptions, type Settings, type TaskOptions } from './util/options.ts'
