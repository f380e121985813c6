/** An OpenAI Batch API server of one's own, for tests, trials and local models. */
export {
  type Answer,
  type AnswerFunction,
  type BilledAnswer,
  type EmulatedRequest,
  type HttpAnswer,
  httpAnswer,
  type RawBody,
  rawBody,
  withUsage,
} from './answers.ts'
export { createEmulator, type Emulator } from './create-emulator.ts'
export type { GivenUsage } from './given-usage.ts'
export type {
  EmulatorLatency,
  EmulatorLimits,
  EmulatorOptions,
  Intercept,
  UpstreamOptions,
} from './options.ts'
export { parseScenario, type Scenario } from './scenario.ts'
export { type ServedEmulator, type ServeOptions, serveEmulator } from './serve.ts'
