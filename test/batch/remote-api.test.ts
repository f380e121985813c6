import { expect, expectTypeOf, test } from 'vitest'
import type { CreateBatchRequest, DirectCall, RemoteApi } from '../../src/batch/remote-api.ts'
import * as port from '../../src/batch/remote-api.ts'
import { OpenAIRemoteApi } from '../../src/openai/remote-api.ts'
import type { WireBatch } from '../../src/openai/wire.ts'

test('the port to the server is types only: nothing of it is there at run time', () => {
  expect(Object.keys(port)).toEqual([])
})

test('a create takes what to create and a signal, and nobody can ask it to retry', () => {
  expectTypeOf<Parameters<RemoteApi['createBatch']>>().toEqualTypeOf<
    [request: CreateBatchRequest, signal?: AbortSignal | undefined]
  >()
  expectTypeOf<RemoteApi['createBatch']>().returns.toEqualTypeOf<Promise<WireBatch>>()
  expectTypeOf<keyof CreateBatchRequest>().toEqualTypeOf<
    'inputFileId' | 'endpoint' | 'metadata' | 'outputExpiresAfterSeconds'
  >()
  expectTypeOf<keyof DirectCall>().toEqualTypeOf<'endpoint' | 'bodyText' | 'timeoutMs'>()
  expect(OpenAIRemoteApi.prototype.createBatch.length).toBeLessThanOrEqual(2)
})

test('the adapter to the openai package is one of it', () => {
  expectTypeOf<OpenAIRemoteApi>().toExtend<RemoteApi>()
  const methods: readonly (keyof RemoteApi)[] = [
    'uploadBatchFile',
    'createBatch',
    'retrieveBatch',
    'listBatches',
    'cancelBatch',
    'listBatchFiles',
    'retrieveFile',
    'downloadFile',
    'deleteFile',
    'call',
  ]
  for (const method of methods) expect(OpenAIRemoteApi.prototype).toHaveProperty(method, expect.any(Function))
})
