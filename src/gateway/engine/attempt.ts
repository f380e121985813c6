import { randomUUID } from 'node:crypto'
import type { BatchChange, GatewayBatch, RetiredTag } from '../domain/batch.ts'

/** A mark that no other attempt has, and that says which account it is made with. */
export const newTag = (fingerprint: string): string => `${prefixOf(fingerprint)}${randomUUID()}`

export const isTagOf = (tag: string, fingerprint: string): boolean => tag.startsWith(prefixOf(fingerprint))

const prefixOf = (fingerprint: string): string => `gw-${fingerprint.replace(/\W/g, '').slice(0, 8)}-`

/** Of an attempt to create a batch that is only beginning nothing is known. */
export const freshAttempt = (tag: string): BatchChange => ({
  phase: 'intended',
  tag,
  uploadInDoubt: false,
  inputFileId: undefined,
  since: undefined,
  fencedAt: undefined,
  batchId: undefined,
  adopted: false,
  status: undefined,
  remote: undefined,
  outputFileId: undefined,
  errorFileId: undefined,
  faults: [],
  looks: 0,
  note: undefined,
})

/** The present attempt is given up: the lines wait to be sent under another tag. */
export function abandoned(batch: GatewayBatch, why: string): BatchChange {
  const { uploadInDoubt, phase } = batch
  const mayCome = uploadInDoubt || phase === 'doubtful' || phase === 'fenced'
  return {
    phase: 'sealed',
    tag: undefined,
    uploadInDoubt: false,
    inputFileId: undefined,
    since: undefined,
    fencedAt: undefined,
    batchId: undefined,
    note: why,
    ...(mayCome && { retire: retiredTag(batch) }),
  }
}

/** The attempt, as it is kept when something may still come of it. */
export const retiredTag = ({ tag = '', number, inputFileId, since, phaseAt }: GatewayBatch): RetiredTag => ({
  tag,
  batch: number,
  inputFileId,
  since: since ?? Math.floor(phaseAt / 1000),
})

/** An upload whose answer was lost may still come to be there after all is done. No other batch can come of its tag. */
export const lateUploads = (batch: GatewayBatch): Pick<BatchChange, 'retire'> =>
  batch.uploadInDoubt ? { retire: { ...retiredTag(batch), inputFileId: undefined } } : {}

/** Remote files of the present attempt, as far as they are known. */
export const remoteFilesOf = ({
  inputFileId,
  outputFileId,
  errorFileId,
}: Pick<GatewayBatch, 'inputFileId' | 'outputFileId' | 'errorFileId'>): readonly string[] =>
  [inputFileId, outputFileId, errorFileId].filter((id) => id !== undefined)
