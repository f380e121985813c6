import { UsageError } from '../errors.ts'
import { type Clock, systemClock } from '../util/clock.ts'
import type { AnswerFunction } from './answers.ts'
import { type CheckedScenario, parseScenario, type Scenario } from './scenario.ts'

/** Simulated durations in milliseconds. With the defaults a batch of 1,000 requests takes about two seconds. */
export interface EmulatorLatency {
  /** From creation to `in_progress` or `failed`. @default 300 */
  readonly validateMs?: number
  /** Fixed part of the time in `in_progress`. @default 500 */
  readonly runMs?: number
  /** Added to `runMs` for each request of the batch. @default 1 */
  readonly perRequestMs?: number
  /** Time in `finalizing`. @default 200 */
  readonly finalizeMs?: number
  /** Before each direct answer. @default 0 */
  readonly directMs?: number
  /** Before each direct answer of the flex tier. @default directMs */
  readonly flexMs?: number
  /** Time in `cancelling`. @default 300 */
  readonly cancelMs?: number
}

export interface EmulatorLimits {
  /** Lines of one batch. @default 50,000 */
  readonly maxRequests?: number
  /** Bytes of one file with purpose `batch`. @default 209,715,200 */
  readonly maxFileBytes?: number
  /** Inputs of all lines of one embeddings batch. @default 50,000 */
  readonly maxEmbeddingInputs?: number
  /** Pictures of one request. @default 1,500 */
  readonly maxImages?: number
  /** Bytes of all data URLs of one request. @default 536,870,912 */
  readonly maxImageBytes?: number
  /** Prompt tokens (4 bytes each, and pictures by their size) of all unfinished batches of one model. @default no limit */
  readonly enqueuedTokens?: number
}

/** An OpenAI-compatible server that answers in the emulator's stead. */
export interface UpstreamOptions {
  /** With its version part, as the `openai` package takes it: `http://127.0.0.1:11434/v1`. */
  readonly baseURL: string
  readonly apiKey?: string
  /** Calls on the wire at once, per batch. @default 8 */
  readonly concurrency?: number
  /** @default globalThis.fetch */
  readonly fetch?: typeof fetch
}

export type Intercept = (request: Request, next: () => Promise<Response>) => Promise<Response>

export interface EmulatorOptions {
  /** Who answers. @default the simulated model */
  readonly answer?: AnswerFunction
  /** Each request is posted there; wins over `answer`. */
  readonly upstream?: UpstreamOptions
  /** Folder that files and batches survive in, used by one emulator at a time. @default none: all is in memory */
  readonly dataDir?: string
  /** @default the system's clock */
  readonly clock?: Clock
  readonly latency?: EmulatorLatency
  /** Share (0 to 1) of request bodies whose first attempt is answered with a 500. @default 0 */
  readonly failureRate?: number
  /** The only bearer token accepted; others get a 401. @default any token, or none */
  readonly apiKey?: string
  /** What `/v1/models` lists. @default a handful of current models, or what `upstream` lists */
  readonly models?: readonly string[]
  /** Refuse models that are not listed (with `upstream`: not in `models`). @default false */
  readonly strictModels?: boolean
  /** Models that direct calls may ask for with `service_tier: 'flex'`; others get a 400. @default all */
  readonly flexModels?: readonly string[]
  readonly limits?: EmulatorLimits
  /**
   * Runs around every HTTP request: may act before or after, answer in its own words, drop the reply, or
   * throw, which the caller sees as a broken connection. It sees what the scenario makes of things.
   */
  readonly intercept?: Intercept
  /** What goes wrong, and when: see docs/scenarios.md. Its counts begin with this emulator. @default nothing */
  readonly scenario?: Scenario
}

export interface ResolvedOptions extends Omit<EmulatorOptions, 'limits' | 'latency' | 'models' | 'scenario'> {
  readonly clock: Clock
  readonly latency: Required<EmulatorLatency>
  readonly limits: Required<Omit<EmulatorLimits, 'enqueuedTokens'>> & { readonly enqueuedTokens: number }
  readonly failureRate: number
  /** Absent: what the upstream lists. */
  readonly models: readonly string[] | undefined
  readonly strictModels: boolean
  readonly scenario: CheckedScenario | undefined
}

export const DEFAULT_MODELS: readonly string[] = [
  'gpt-5',
  'gpt-5-mini',
  'gpt-5-nano',
  'gpt-4.1',
  'gpt-4.1-mini',
  'gpt-4o',
  'gpt-4o-mini',
  'text-embedding-3-large',
  'text-embedding-3-small',
]

const DEFAULT_LATENCY: Required<EmulatorLatency> = {
  validateMs: 300,
  runMs: 500,
  perRequestMs: 1,
  finalizeMs: 200,
  directMs: 0,
  flexMs: 0,
  cancelMs: 300,
}

const DEFAULT_LIMITS = {
  maxRequests: 50_000,
  maxFileBytes: 200 * 1024 * 1024,
  maxEmbeddingInputs: 50_000,
  maxImages: 1500,
  maxImageBytes: 512 * 1024 * 1024,
  enqueuedTokens: Number.POSITIVE_INFINITY,
}

/** Fills in the defaults. Throws `UsageError` for a value that cannot be meant. */
export function resolveEmulatorOptions(options: EmulatorOptions): ResolvedOptions {
  const { latency, limits, failureRate = 0, scenario, ...rest } = options
  if (!(failureRate >= 0 && failureRate <= 1)) {
    throw new UsageError('bad_failure_rate', `failureRate is ${failureRate}: give a share between 0 and 1`)
  }
  const resolved = {
    ...rest,
    clock: options.clock ?? systemClock,
    latency: { ...DEFAULT_LATENCY, flexMs: latency?.directMs ?? DEFAULT_LATENCY.flexMs, ...latency },
    limits: { ...DEFAULT_LIMITS, ...limits },
    failureRate,
    models: options.models ?? (options.upstream ? undefined : DEFAULT_MODELS),
    strictModels: options.strictModels ?? false,
    scenario: scenario && parseScenario(scenario),
  }
  requireNonNegative('latency', resolved.latency)
  requireNonNegative('limits', resolved.limits)
  return resolved
}

function requireNonNegative(group: string, values: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(values)) {
    if (value >= 0) continue
    throw new UsageError('bad_emulator_option', `${group}.${name} is ${value}: give a number of 0 or more`)
  }
}
