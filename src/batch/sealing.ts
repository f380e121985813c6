import { MAX_EMBEDDING_INPUTS } from './embedding-inputs.ts'
import { inPhase, type QueueFile } from './queue-file.ts'

export interface SealSettings {
  readonly forceDirect: boolean
  /** Fewer lines than this are not worth a batch and go directly. */
  readonly minBatchRequests: number
  readonly maxBatchRequests: number
  readonly maxBatchBytes: number
  /** With `forceDirect`: lines in one direct set. */
  readonly maxDirectRequests: number
}

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
}

/** Most bytes one line can have; a larger one can never be sent. */
export const maxLineBytes = (settings: SealSettings): number => settings.maxBatchBytes

/** Why a line goes into no batch, not even alone; undefined when it does. */
export function tooLarge({ bytes, inputs = 0 }: LineSize, settings: SealSettings): string | undefined {
  const most = maxLineBytes(settings)
  if (bytes > most) return `the request has ${bytes} bytes, more than a batch may have (${most})`
  if (inputs <= MAX_EMBEDDING_INPUTS) return undefined
  return `the request has ${inputs} inputs, more than a batch may have (${MAX_EMBEDDING_INPUTS})`
}

/** Whether a line still goes into an open file. */
export function fits(file: QueueFile, line: LineSize, settings: SealSettings): boolean {
  const most = settings.forceDirect ? settings.maxDirectRequests : settings.maxBatchRequests
  const hasRoom = file.requests < most && file.bytes + line.bytes <= settings.maxBatchBytes
  return hasRoom && !isFullOfInputs(file, line)
}

const isFullOfInputs = (file: QueueFile, line: LineSize): boolean =>
  (file.inputs ?? 0) + (line.inputs ?? 0) > MAX_EMBEDDING_INPUTS

/** As what a file is sealed that a line does not go into; undefined when it does. */
export function sealFor(file: QueueFile, line: LineSize, settings: SealSettings): Sealing['as'] | undefined {
  if (fits(file, line, settings)) return undefined
  // Requests of many inputs each make a batch as large as can be, however few they are.
  return isFullOfInputs(file, line) && !settings.forceDirect ? 'batch' : sealAs(file, settings)
}

/** A file of enough lines is a batch; a smaller one is sent line by line. */
export const sealAs = (file: QueueFile, settings: SealSettings): Sealing['as'] =>
  settings.forceDirect || file.requests < settings.minBatchRequests ? 'direct' : 'batch'

/**
 * Open files that should be sealed now, though another line would fit. A remnant that would have to go directly, at
 * full price, waits for as long as anything in flight can still add to it.
 */
export function filesToSeal(
  files: Iterable<QueueFile>,
  facts: QueueFacts,
  settings: SealSettings,
): Sealing[] {
  const hungry = settings.forceDirect && facts.directBacklog < facts.directConcurrency
  return [...files]
    .filter(isOpen)
    .filter((file) => file.live > 0)
    .map((file) => ({ file: file.id, as: sealAs(file, settings) }))
    .filter(({ as }) => {
      if (settings.forceDirect) return hungry || !facts.producing
      return !facts.producing && (as === 'batch' || !facts.inFlight)
    })
}
