import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { RemoteApi } from '../batch/remote-api.ts'
import { LockError, StateError, UsageError } from '../errors.ts'
import { OpenAIRemoteApi } from '../openai/remote-api.ts'
import { mustExist } from '../requester/read-only-view.ts'
import { nodeFileSystem } from '../state/file-system.ts'
import { TaskLock } from '../state/task-lock.ts'
import type { Fetch } from '../util/fetch.ts'
import type { OptionInput } from '../util/option-entry.ts'
import { environmentWith, resolveOptions, type Settings } from '../util/options.ts'
import type { CommandIo } from './command-io.ts'
import type { serverTable } from './command-line.ts'

/** A task and the server that its batches are at. */
export interface ServerPlace {
  readonly api: RemoteApi
  readonly directory: string
  readonly name: string
}

/** Nothing is ever sent there. */
const EMULATOR_URL = 'http://emulator.nightshift.invalid/v1'

/**
 * Works with the server of a task: OpenAI's, the one that the options name, or the data of the built-in emulator.
 * Throws StateError `unknown_task` before anything is called, UsageError `missing_api_key`.
 */
export async function withServer<Result>(
  name: string,
  options: OptionInput<typeof serverTable>,
  io: CommandIo,
  work: (place: ServerPlace) => Promise<Result>,
): Promise<Result> {
  const settings = resolveOptions({ ...options, name }, io.env)
  const directory = settings.options.taskDir
  await mustExist(nodeFileSystem, directory, name)
  if (settings.options.emulator) return withEmulator(name, options, io, work)
  return work({ api: connected(settings, io), directory, name })
}

function connected({ environment, options }: Settings, { fetch, clock }: CommandIo): RemoteApi {
  const { apiKey, baseUrl: baseURL, organization, project } = environment
  if (!apiKey) {
    const message =
      'OPENAI_API_KEY is not set, and the server has to be asked. Set it to the key that the task runs with, or add ' +
      '--emulator if it runs with that.'
    throw new UsageError('missing_api_key', message)
  }
  const timeoutMs = options.requestTimeoutMs
  return new OpenAIRemoteApi({
    apiKey: apiKey.reveal(),
    baseURL,
    organization,
    project,
    fetch,
    timeoutMs,
    clock,
  })
}

/** The emulator's data is for one process at a time: the task is locked meanwhile. */
async function withEmulator<Result>(
  name: string,
  options: OptionInput<typeof serverTable>,
  io: CommandIo,
  work: (place: ServerPlace) => Promise<Result>,
): Promise<Result> {
  const env = environmentWith({ OPENAI_API_KEY: 'emulator', OPENAI_BASE_URL: EMULATOR_URL }, io.env)
  const settings = resolveOptions({ ...options, name, clientBaseUrl: EMULATOR_URL }, env)
  const directory = settings.options.taskDir
  const dataDir = join(directory, '.emulator')
  if (!existsSync(dataDir)) throw noEmulator(dataDir)
  await using _ = await TaskLock.acquire({ directory, name, clock: io.clock, signal: io.signal }).catch(
    inUse(name),
  )
  const { createEmulator } = await import('../emulator/create-emulator.ts')
  const emulator = createEmulator({ dataDir, clock: io.clock, answer: nobody })
  try {
    const fetch: Fetch = (input, init) => emulator.fetch(input, init)
    return await work({ api: connected(settings, { ...io, fetch }), directory, name })
  } finally {
    await emulator.close()
  }
}

/** This command has no flag to wait with, so the advice of the lock's own error would not help. */
const inUse =
  (name: string) =>
  (error: unknown): never => {
    if (!(error instanceof LockError) || error.code !== 'locked') throw error
    const message =
      `task ${name} is held by another process, and the emulator's data is for one process at a time: ` +
      `wait for that run, or stop it; nightshift status ${name} says which it is`
    throw new LockError('locked', message, { cause: error, retryable: true })
  }

/** Who looks at batches does not work on them: the answers are for the task's own emulator to give. */
const nobody = (): Promise<never> => new Promise(() => {})

const noEmulator = (dataDir: string): StateError =>
  new StateError('no_emulator_data', `there is no ${dataDir}: no task of that folder was run with --emulator`)
