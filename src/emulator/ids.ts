import { randomUUID } from 'node:crypto'

/** 32 hexadecimal digits that no other call returns. */
const unique = (): string => randomUUID().replaceAll('-', '')

export const fileId = (): string => `file-${unique()}`
export const batchId = (): string => `batch_${unique()}`
export const batchRequestId = (): string => `batch_req_${unique()}`
export const requestId = (): string => `req_${unique()}`
export const completionId = (): string => `chatcmpl-${unique()}`
export const responseId = (): string => `resp_${unique()}`
export const messageId = (): string => `msg_${unique()}`
export const callId = (): string => `call_${unique()}`
export const functionCallId = (): string => `fc_${unique()}`
