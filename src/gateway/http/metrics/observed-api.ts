import type { RemoteApi } from '../../../batch/remote-api.ts'
import { NightshiftError, RemoteError } from '../../../errors.ts'

/** Hears of each call to the server: `result` is `ok`, an HTTP status, or a code of `RemoteError`. */
export type OnUpstreamCall = (kind: string, result: string) => void

/** The same server, whose calls are counted. */
export function observedApi(api: RemoteApi, onCall: OnUpstreamCall): RemoteApi {
  const counted = async <Result>(kind: string, call: Promise<Result>): Promise<Result> => {
    try {
      const result = await call
      onCall(kind, 'ok')
      return result
    } catch (error) {
      onCall(kind, resultOf(error))
      throw error
    }
  }
  return {
    fingerprint: api.fingerprint,
    uploadBatchFile: (request, signal) => counted('upload', api.uploadBatchFile(request, signal)),
    createBatch: (request, signal) => counted('create_batch', api.createBatch(request, signal)),
    retrieveBatch: (id, signal) => counted('retrieve_batch', api.retrieveBatch(id, signal)),
    listBatches: (query, signal) => counted('list_batches', api.listBatches(query, signal)),
    cancelBatch: (id, signal) => counted('cancel_batch', api.cancelBatch(id, signal)),
    listBatchFiles: (query, signal) => counted('list_files', api.listBatchFiles(query, signal)),
    retrieveFile: (id, signal) => counted('retrieve_file', api.retrieveFile(id, signal)),
    downloadFile: (id, signal) => counted('download', api.downloadFile(id, signal)),
    deleteFile: (id, signal) => counted('delete_file', api.deleteFile(id, signal)),
    call: async (request, signal) => {
      const reply = await api.call(request, signal).catch((error: unknown) => {
        onCall('call', resultOf(error))
        throw error
      })
      onCall('call', resultOfStatus(reply.status))
      return reply
    },
  }
}

const FIRST_ERROR = 400

/** How a call is counted that was answered with this status. */
export const resultOfStatus = (status: number): string => (status < FIRST_ERROR ? 'ok' : String(status))

function resultOf(error: unknown): string {
  if (error instanceof RemoteError && error.status !== undefined) return String(error.status)
  return NightshiftError.is(error) ? error.code : 'error'
}
