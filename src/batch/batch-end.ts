import type { WireBatch, WireBatchError } from '../openai/wire.ts'
import { awaitsFileIds } from './polling.ts'
import type { BatchFault } from './steps.ts'

/** Whether an ended batch should be asked again for the ids of its files. `looks`: how often it was seen ended before. */
export const awaitsFiles = (batch: WireBatch, looks: number): boolean =>
  awaitsFileIds({
    status: batch.status,
    hasOutput: batch.output_file_id !== undefined,
    hasErrors: batch.error_file_id !== undefined,
    counts: batch.request_counts ?? undefined,
    looks,
  })

/** What a batch says is wrong with it. */
export const faultsOf = ({ errors }: WireBatch): readonly BatchFault[] => errors?.data?.map(readFault) ?? []

const readFault = ({ code, message, line }: WireBatchError): BatchFault => ({
  code: code ?? 'unknown',
  message: message ?? 'no message',
  ...(typeof line === 'number' && { line }),
})
