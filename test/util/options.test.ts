import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, expectTypeOf, test } from 'vitest'
import { UsageError } from '../../src/errors.ts'
import { ENDPOINTS } from '../../src/openai/wire.ts'
import { optionTable } from '../../src/util/option-table.ts'
import {
  type ResolvedOptions,
  readEnvironment,
  resolveOptions,
  type TaskOptions,
} from '../../src/util/options.ts'

/** The error that the call throws, checked to be a usage error. */
function usageErrorOf(call: () => unknown): UsageError {
  try {
    call()
  } catch (error) {
    if (error instanceof UsageError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

/** Options as a program without types may give them. */
const resolveUntyped = (input: Record<string, unknown>, env = {}) => resolveOptions(input, env)

describe('resolveOptions', () => {
  test('applies every default', () => {
    const { options } = resolveOptions({ name: 'emotions' }, {})
    expect(options).toMatchObject({
      name: 'emotions',
      taskDir: 'tasks',
      run: true,
      dryRun: false,
      processFailedBatches: 0,
      maxRetries: 2,
      maxExpiries: 5,
      lockTimeout: 0,
      lockPollInterval: 0.25,
      remoteUpdateInterval: 10,
      waitSaveInterval: 900,
      directVerbose: 'never',
      maxTaskRequests: 10_000_000,
      maxSessionRequests: 5_000_000,
      maxDirectRequests: 50,
      minBatchRequests: 101,
      maxBatchRequests: 50_000,
      maxBatchMb: 100,
      maxUnpushedBatches: 5,
      maxRemoteBatches: 15,
      maxRemoteRequests: 5_000_000,
      maxRemoteMb: 10_000,
      maxMbSafety: 1.01,
      minPassRatio: 0.5,
      maxPassFailures: 2,
      createGraceMs: 30_000,
      directConcurrency: 16,
      requestTimeoutMs: 600_000,
      maxWait: 86_400,
      processConcurrency: 1,
    })
    expect(options.endpoint).toBeUndefined()
    expect(Object.isFrozen(options)).toBe(true)
  })

  test('treats undefined as not given, and keeps what is given', () => {
    const { options } = resolveOptions({ name: 'a', maxRetries: undefined, maxBatchMb: 200, run: false }, {})
    expect(options).toMatchObject({ maxRetries: 2, maxBatchMb: 200, run: false })
  })

  test('does not mind the case of directVerbose', () => {
    expect(resolveUntyped({ name: 'a', directVerbose: 'WARN' }).options.directVerbose).toBe('warn')
  })

  test('knows the endpoints that the wire knows', () => {
    expect(optionTable.endpoint.schema.unwrap().options).toEqual([...ENDPOINTS])
  })

  test('has types that follow the table', () => {
    expectTypeOf<TaskOptions['maxRetries']>().toEqualTypeOf<number | undefined>()
    expectTypeOf<ResolvedOptions['maxRetries']>().toEqualTypeOf<number>()
    expectTypeOf<ResolvedOptions['directVerbose']>().toEqualTypeOf<'never' | 'error' | 'warn' | 'always'>()
    expectTypeOf<ResolvedOptions['endpoint']>().toEqualTypeOf<(typeof ENDPOINTS)[number] | undefined>()
  })

  test.each([
    [{ name: '' }, 'name (--name) is ""'],
    [{ name: '../x' }, 'name (--name) is "../x"'],
    [{ name: `a${'b'.repeat(64)}` }, 'name (--name)'],
    [{}, 'name (--name) is missing'],
    [
      { name: 'a', maxRetries: -1 },
      'maxRetries (--max-retries) is -1, but must be a whole number from 0 to 65535',
    ],
    [{ name: 'a', maxRetries: 1.5 }, 'is 1.5'],
    [{ name: 'a', maxRetries: '2' }, 'is "2"'],
    [{ name: 'a', maxRetries: Number.NaN }, 'is NaN'],
    [{ name: 'a', maxBatchMb: 201 }, 'is 201, but must be a number from 1 to 200'],
    [{ name: 'a', maxBatchRequests: 50_001 }, 'a whole number from 1 to 50000'],
    [{ name: 'a', lockTimeout: Number.POSITIVE_INFINITY }, 'is Infinity'],
    [{ name: 'a', requestTimeoutMs: 2 ** 31 }, 'from 1 to 2147483647'],
    [{ name: 'a', directVerbose: 'some' }, 'one of never, error, warn, always'],
    [{ name: 'a', run: 'yes' }, 'is "yes", but must be true or false'],
    [
      { name: 'a', endpoint: '/v1/completions' },
      'one of /v1/chat/completions, /v1/responses, /v1/embeddings',
    ],
    [{ name: 'a', clientBaseUrl: 'ftp://host' }, 'an http or https URL'],
    [{ name: 'a', taskDir: '' }, 'taskDir (--task-dir) is ""'],
    [{ name: 'a', taskDir: ['tasks'] }, 'is an array'],
    [
      { name: 'a', maxRemoteRequests: 10 },
      'must not be below maxBatchRequests (--max-batch-requests), which is 50000',
    ],
    [{ name: 'a', maxRemoteMb: 50 }, 'must not be below maxBatchMb'],
  ])('refuses %o', (input, message) => {
    const error = usageErrorOf(() => resolveUntyped(input))
    expect(error.code).toBe('bad_option')
    expect(error.message).toContain(message)
  })

  test('allows a batch limit below minBatchRequests, as when the first hundred are tried', () => {
    expect(() =>
      resolveOptions({ name: 'a', maxBatchRequests: 100, maxUnpushedBatches: 1 }, {}),
    ).not.toThrow()
  })

  test.each([
    ['maxRetry', 'maxRetries'],
    ['max_retries', 'maxRetries'],
    ['taskDirectory', undefined],
    ['taskprefix', undefined],
    ['task_prefix', 'name'],
    ['dryrun', 'dryRun'],
    ['reinit_meta', 'reinitParams'],
    ['constructor', undefined],
  ])('refuses the unknown option %s, meaning %s', (name, meant) => {
    const error = usageErrorOf(() => resolveUntyped({ name: 'a', [name]: 1 }))
    expect(error.code).toBe('unknown_option')
    expect(error.message).toContain(`there is no option "${name}"`)
    if (meant) expect(error.message).toContain(`did you mean "${meant}"?`)
    else expect(error.message).not.toContain('did you mean')
  })

  test('reports all that is wrong in one error', () => {
    const env = { OPENAI_ENDPOINT: '/v2' }
    const error = usageErrorOf(() => resolveUntyped({ maxRetry: 1, maxRetries: -1, minPassRatio: 2 }, env))
    expect(error.code).toBe('unknown_option')
    for (const part of ['maxRetry"', 'name', 'maxRetries', 'minPassRatio', 'OPENAI_ENDPOINT is "/v2"'])
      expect(error.message).toContain(part)
  })

  test('does not show passwords and keys in its errors', () => {
    const options = { name: 'a', clientBaseUrl: 'https://me:hunter2@host/v1', openaiProject: ['sk-abc'] }
    const error = usageErrorOf(() => resolveUntyped({ ...options, taskDir: '', maxRetries: 'sk-proj-123' }))
    expect(error.message).not.toMatch(/hunter2|sk-abc|proj-123/)
  })
})

describe('the environment', () => {
  test('serves where an option is not given', () => {
    const env = {
      OPENAI_API_KEY: ' key-1\n',
      OPENAI_BASE_URL: 'http://localhost:4100/v1',
      OPENAI_ORG_ID: 'org-1',
      OPENAI_PROJECT_ID: 'proj-1',
      OPENAI_ENDPOINT: '/v1/responses',
    }
    const { options, environment } = resolveOptions({ name: 'a', openaiProject: 'proj-2' }, env)
    expect(environment).toMatchObject({
      baseUrl: 'http://localhost:4100/v1',
      organization: 'org-1',
      project: 'proj-2',
      endpoint: '/v1/responses',
      color: true,
    })
    expect(environment.apiKey?.reveal()).toBe('key-1')
    expect(options).toMatchObject({ openaiProject: 'proj-2' })
    expect(options.clientBaseUrl).toBeUndefined()
  })

  test('counts blank variables as absent', () => {
    const environment = readEnvironment({ OPENAI_API_KEY: '  ', OPENAI_BASE_URL: '', OPENAI_ENDPOINT: ' ' })
    expect(environment).toMatchObject({ apiKey: undefined, baseUrl: undefined, endpoint: undefined })
  })

  test('is not looked at where an option is given', () => {
    const env = { OPENAI_ENDPOINT: '/v2', OPENAI_BASE_URL: 'nonsense' }
    const given = { name: 'a', endpoint: '/v1/embeddings', clientBaseUrl: 'http://h/v1' } as const
    expect(resolveOptions(given, env).environment).toMatchObject({
      endpoint: '/v1/embeddings',
      baseUrl: 'http://h/v1',
    })
  })

  test('that is wrong is refused with the name of the variable', () => {
    const error = usageErrorOf(() => readEnvironment({ OPENAI_BASE_URL: 'localhost' }))
    expect(error.code).toBe('bad_option')
    expect(error.message).toContain('environment variable OPENAI_BASE_URL is "localhost"')
  })

  test.each([
    [{ NO_COLOR: '1' }, false],
    [{ TERM: 'dumb' }, false],
    [{ NO_COLOR: '', TERM: 'xterm' }, true],
  ])('says with %o whether colours are wanted: %s', (env, color) => {
    expect(readEnvironment(env).color).toBe(color)
  })

  test.each([
    [{}, false, true],
    [{ FORCE_COLOR: '1', CI: 'true' }, true, false],
    [{ FORCE_COLOR: '0', TERM: 'dumb' }, false, false],
  ])('says with %o whether colours are forced (%s), and lines may be rewritten (%s)', (env, forced, may) => {
    expect(readEnvironment(env)).toMatchObject({ forceColor: forced, mayRedraw: may })
  })

  test('says where a history goes at Weights & Biases, after the options', () => {
    const env = {
      WANDB_API_KEY: ' key ',
      WANDB_BASE_URL: 'http://localhost:8080/',
      WANDB_MODE: 'offline',
      WANDB_PROJECT: 'p',
      WANDB_ENTITY: 'e',
      WANDB_NAME: 'a name',
      WANDB_RUN_GROUP: 'g',
      WANDB_RUN_ID: 'r1',
      WANDB_DIR: 'd',
      WANDB_TAGS: ` one, two,,${'t'.repeat(64)}`,
      NETRC: '/n',
      HOME: '/home/me',
    }
    expect(readEnvironment(env).wandb).toMatchObject({
      ...{ baseUrl: 'http://localhost:8080', mode: 'offline', wanted: undefined, project: 'p', entity: 'e' },
      ...{
        name: 'a name',
        group: 'g',
        runId: 'r1',
        dir: 'd',
        tags: ['one', 'two', 't'.repeat(64)],
        netrc: '/n',
      },
    })
    expect(readEnvironment(env).wandb.apiKey?.reveal()).toBe('key')
    const given = { name: 'a', wandb: false, wandbProject: 'q', wandbEntity: 'f', wandbName: 'b' }
    const { environment } = resolveOptions(
      { ...given, wandbRunId: 'r2', wandbGroup: 'h', wandbDir: 'x' },
      env,
    )
    expect(environment.wandb).toMatchObject({
      ...{ wanted: false, project: 'q', entity: 'f', name: 'b', runId: 'r2', group: 'h', dir: 'x' },
    })
  })

  test('has defaults for Weights & Biases', () => {
    expect(readEnvironment({ HOME: '/home/me' }).wandb).toEqual({
      ...{ apiKey: undefined, baseUrl: 'https://api.wandb.ai', mode: 'online', wanted: undefined },
      ...{ project: 'gpt_batch_api', entity: undefined, name: undefined, group: undefined, runId: undefined },
      ...{ dir: undefined, tags: [], netrc: '/home/me/.netrc' },
    })
  })

  test.each([
    ['dryrun', 'offline'],
    ['disabled', 'disabled'],
    ['shared', 'online'],
  ])('knows the mode %s', (WANDB_MODE, mode) => {
    expect(readEnvironment({ WANDB_MODE }).wandb.mode).toBe(mode)
  })

  test.each([
    [{ WANDB_MODE: 'off' }, 'WANDB_MODE is "off", but must be online, offline or disabled'],
    [{ WANDB_BASE_URL: 'api.wandb.ai' }, 'WANDB_BASE_URL is "api.wandb.ai"'],
    [{ WANDB_PROJECT: 'a/b' }, 'WANDB_PROJECT is "a/b"'],
    [
      { WANDB_BASE_URL: 'https://me:secret@wandb.example' },
      'WANDB_BASE_URL is "https://…@wandb.example", but must be an http or https URL without user name and password',
    ],
    [
      { WANDB_TAGS: `night,${'t'.repeat(65)}` },
      'but must be tags of up to 64 characters each, with commas between them',
    ],
  ])('that is wrong for Weights & Biases is refused: %o', (env, message) => {
    expect(usageErrorOf(() => readEnvironment(env)).message).toContain(message)
  })

  test.each([
    [{ NIGHTSHIFT_STATE_DIR: '/own', XDG_STATE_HOME: '/state', HOME: '/home/me' }, '/own'],
    [{ NIGHTSHIFT_STATE_DIR: ' ', XDG_STATE_HOME: '/state', HOME: '/home/me' }, '/state/nightshift'],
    [{ XDG_STATE_HOME: 'relative', HOME: '/home/me' }, '/home/me/.local/state/nightshift'],
    [{ HOME: '/home/me' }, '/home/me/.local/state/nightshift'],
    [{}, undefined],
  ])('says with %o where tasks share what they know: %s', (env, stateDir) => {
    expect(readEnvironment(env).stateDir).toBe(stateDir)
  })

  test('never shows a key', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[A-Za-z0-9-]{12,40}$/), (key) => {
        const settings = resolveOptions(
          { name: 'a' },
          { OPENAI_API_KEY: key, OPENAI_ADMIN_KEY: key, WANDB_API_KEY: key },
        )
        expect(settings.environment.adminKey?.reveal()).toBe(key)
        const shown = [
          JSON.stringify(settings),
          inspect(settings, { depth: 9, showHidden: true }),
          `${settings.environment.apiKey}`,
          `${settings.environment.wandb.apiKey}`,
          JSON.stringify(structuredClone({ ...settings.environment.apiKey })),
        ]
        for (const text of shown) expect(text).not.toContain(key)
        expect(shown.slice(2, 4)).toEqual(['[secret]', '[secret]'])
      }),
      { numRuns: 30 },
    )
  })
})
