import { addForecasts, noForecast, type TokenForecast } from '../tokens/forecast.ts'
import type { PricedApi } from '../tokens/prices.ts'
import { assertNever } from '../util/exhaustive.ts'
import { formatUsd } from '../util/format.ts'
import { MAX_EMBEDDING_INPUTS } from './embedding-inputs.ts'
import { inPhase, type QueueFile } from './queue-file.ts'

/** Limits of what goes together, as the options give them. Tokens and cost are estimates. */
export interface SealLimits {
  readonly forceDirect: boolean
  /** Fewer lines than this are not worth a batch and go directly. */
  readonly minBatchRequests: number
  readonly maxBatchRequests: number
  readonly maxBatchBytes: number
  readonly maxBatchTokens: number
  readonly maxBatchNanoUsd: number
  /** With `forceDirect`: what one direct set may have. */
  readonly maxDirectRequests: number
  readonly maxDirectTokens: number
  readonly maxDirectNanoUsd: number
}

/** What tokens are worth at today's prices, in nano-USD. */
export interface Valuation {
  expectedNanoUsd(tokens: TokenForecast, model: string, api: PricedApi): number
  /** Undefined when there is no ceiling, or no price is known. */
  mostNanoUsd(tokens: TokenForecast, model: string, api: PricedApi): number | undefined
}

export interface SealSettings extends SealLimits {
  readonly valuation: Valuation
  /** Prompt tokens that one batch of a model should have at most; undefined when any may be tried. */
  readonly enqueuedCap: (model: string) => number | undefined
  /**
   * Prompt tokens that the account lets a model have enqueued in batches; undefined while that is not known. Never
   * below `enqueuedCap`, which it is by default.
   */
  readonly enqueuedLimit?: ((model: string) => number | undefined) | undefined
  /** The hard cap; undefined without one. */
  readonly maxSpendNanoUsd: number | undefined
  /** There is no time for batches: what waits goes line by line, and is not too large if a batch may have it. Default: false. */
  readonly hurried?: boolean | undefined
}

const isDirectOnly = ({ forceDirect, hurried = false }: SealSettings): boolean => forceDirect || hurried

export interface QueueFacts {
  /** New lines may still come by themselves: from the generator, or from results that are being read. */
  readonly producing: boolean
  /** Something is remote, on the wire, or not judged yet, and may queue a line again. */
  readonly inFlight: boolean
  /** Direct lines that wait for a free connection. */
  readonly directBacklog: number
  readonly directConcurrency: number
}

export interface Sealing {
  readonly file: number
  readonly as: 'batch' | 'direct'
}

const isOpen = inPhase('open')

/** What a line takes of its file's room. */
export interface LineSize {
  /** With its line break. */
  readonly bytes: number
  /** Its embedding inputs; undefined for other endpoints. */
  readonly inputs?: number | undefined
  readonly tokens: TokenForecast
}

/** What a file has taken up of its limits. */
export interface FileSize extends Pick<QueueFile, 'model' | 'requests' | 'bytes'> {
  readonly inputs?: number | undefined
  readonly tokens?: TokenForecast | undefined
}

/** A limit that a file would pass, for people. */
type Excess =
  | 'requests'
  | 'bytes'
  | 'inputs'
  | 'tokens'
  | 'cost'
  /** More prompt tokens than the account may have enqueued. */
  | 'enqueued'

/** Which limits a file with these contents passes. */
function excessOf(
  { model, requests, bytes, inputs = 0, tokens = noForecast }: FileSize,
  settings: SealSettings,
): Excess[] {
  const { forceDirect, valuation } = settings
  const api = forceDirect ? 'direct' : 'batch'
  const nanoUsd = valuation.expectedNanoUsd(tokens, model, api)
  const checks: readonly (readonly [Excess, boolean])[] = [
    [
      'requests',
      requests > (isDirectOnly(settings) ? settings.maxDirectRequests : settings.maxBatchRequests),
    ],
    ['bytes', bytes > settings.maxBatchBytes],
    ['inputs', inputs > MAX_EMBEDDING_INPUTS],
    ['tokens', tokens.input > (forceDirect ? settings.maxDirectTokens : settings.maxBatchTokens)],
    ['cost', nanoUsd > (forceDirect ? settings.maxDirectNanoUsd : settings.maxBatchNanoUsd)],
    [
      'enqueued',
      !isDirectOnly(settings) && tokens.input > (settings.enqueuedCap(model) ?? Number.POSITIVE_INFINITY),
    ],
  ]
  return checks.filter(([, isPassed]) => isPassed).map(([excess]) => excess)
}

/** Why a line can never be sent, not even alone; undefined when it can. */
export function tooLarge(model: string, line: LineSize, settings: SealSettings): string | undefined {
  const alone = { model, requests: 1, ...line }
  const most = settings.maxSpendNanoUsd === undefined ? 0 : mostOf(alone, settings)
  if (most !== undefined && most > (settings.maxSpendNanoUsd ?? 0))
    return `the request may cost up to ${formatUsd(most)}, more than the hard cap (--max-spend, ${formatUsd(settings.maxSpendNanoUsd ?? 0)})`
  const [excess] = excessOf(alone, settings)
  switch (excess) {
    case undefined:
    // It may go directly, where nothing is enqueued.
    case 'enqueued':
    case 'requests':
      return undefined
    case 'bytes':
      return `the request has ${line.bytes} bytes, more than a batch may have (${settings.maxBatchBytes})`
    case 'inputs':
      return `the request has ${line.inputs} inputs, more than a batch may have (${MAX_EMBEDDING_INPUTS})`
    case 'tokens':
      return `the request has about ${line.tokens.input} prompt tokens, more than ${settings.forceDirect ? `a group of direct calls may have (--max-direct-ktokens, ${settings.maxDirectTokens}` : `a batch may have (--max-batch-ktokens, ${settings.maxBatchTokens}`} after its safety factor)`
    case 'cost':
      return `the request costs about ${formatUsd(expectedOf(alone, settings))}, more than ${settings.forceDirect ? 'a group of direct calls (--max-direct-cost' : 'a batch (--max-batch-cost'}) may`
    default:
      return assertNever(excess)
  }
}

const expectedOf = ({ model, tokens }: FileSize, { valuation, forceDirect }: SealSettings): number =>
  valuation.expectedNanoUsd(tokens ?? noForecast, model, forceDirect ? 'direct' : 'batch')

const mostOf = ({ model, tokens }: FileSize, { valuation, forceDirect }: SealSettings): number | undefined =>
  valuation.mostNanoUsd(tokens ?? noForecast, model, forceDirect ? 'direct' : 'batch')

/** A file as it will be with one more line. */
export const withLine = <File extends FileSize>(file: File, { bytes, inputs, tokens }: LineSize): File => ({
  ...file,
  requests: file.requests + 1,
  bytes: file.bytes + bytes,
  tokens: addForecasts(file.tokens ?? noForecast, tokens),
  ...(inputs !== undefined && { inputs: (file.inputs ?? 0) + inputs }),
})

/** Whether a line still goes into an open file. An empty one takes any that is not `tooLarge`: it has to go somewhere. */
export const fits = (file: QueueFile, line: LineSize, settings: SealSettings): boolean =>
  file.requests === 0 || excessOf(withLine(file, line), settings).length === 0

/** As what a file is sealed that a line does not go into; undefined when it does. */
export function sealFor(file: QueueFile, line: LineSize, settings: SealSettings): Sealing['as'] | undefined {
  if (fits(file, line, settings)) return undefined
  const excess = excessOf(withLine(file, line), settings)
  // What is as large as a batch can be is worth one, however few its lines are.
  const isWhole = excess.some((one) => one === 'inputs' || one === 'enqueued')
  const isBatch = isWhole && !isDirectOnly(settings) && !isUnbatchable(file, settings)
  return isBatch ? 'batch' : sealAs(file, settings)
}

/** A file of enough lines is a batch; a smaller one, or one that no batch can hold, is sent line by line. */
export function sealAs(file: QueueFile, settings: SealSettings): Sealing['as'] {
  if (isDirectOnly(settings) || isUnbatchable(file, settings)) return 'direct'
  return file.requests < settings.minBatchRequests && !isTooDearDirectly(file, settings) ? 'direct' : 'batch'
}

/** One of its requests may cost more by a direct call than the hard cap, where a batch of it costs half. */
function isTooDearDirectly({ model, tokens = noForecast }: QueueFile, settings: SealSettings): boolean {
  const { maxSpendNanoUsd, valuation } = settings
  if (maxSpendNanoUsd === undefined || tokens.unbounded > 0) return false
  const dearest = { ...tokens, requests: 1, mostInput: tokens.longest }
  return (valuation.mostNanoUsd(dearest, model, 'direct') ?? 0) > maxSpendNanoUsd
}

/** One request that alone has more prompt tokens than the account may have enqueued. */
const isUnbatchable = (file: QueueFile, settings: SealSettings): boolean =>
  file.requests === 1 && exceedsLimit(file, settings)

/** No batch can hold all that the file has, whoever else waits. */
export const exceedsLimit = (
  file: QueueFile,
  { enqueuedCap, enqueuedLimit = enqueuedCap }: Pick<SealSettings, 'enqueuedCap' | 'enqueuedLimit'>,
): boolean => exceedsEnqueued(file, { enqueuedCap: enqueuedLimit })

/** It has more prompt tokens than one batch should have. */
export const exceedsEnqueued = (
  { model, tokens = noForecast }: QueueFile,
  { enqueuedCap }: Pick<SealSettings, 'enqueuedCap'>,
): boolean => tokens.input > (enqueuedCap(model) ?? Number.POSITIVE_INFINITY)

/**
 * Open files that should be sealed now, though another line would fit. A remnant that would have to go directly, at
 * full price, waits for as long as anything in flight can still add to it.
 */
export function filesToSeal(
  files: Iterable<QueueFile>,
  facts: QueueFacts,
  settings: SealSettings,
): Sealing[] {
  const hungry = isDirectOnly(settings) && facts.directBacklog < facts.directConcurrency
  return [...files]
    .filter(isOpen)
    .filter((file) => file.live > 0)
    .map((file) => ({ file: file.id, as: sealAs(file, settings) }))
    .filter(({ as }) => {
      if (isDirectOnly(settings)) return hungry || !facts.producing
      return !facts.producing && (as === 'batch' || !facts.inFlight)
    })
}
