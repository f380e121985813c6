import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { storePlace } from '../../src/cli/gateway-settings.ts'
import { UsageError } from '../../src/errors.ts'
import { MODES } from '../../src/gateway/domain/request.ts'
import {
  type GatewayOptionEntry,
  type GatewayOptions,
  gatewayTable,
  variableOf,
} from '../../src/util/gateway-options.ts'
import { resolveGatewayOptions } from '../../src/util/gateway-variables.ts'
import { Secret } from '../../src/util/secret.ts'

const resolved = (env: Readonly<Record<string, string>>, given: GatewayOptions = {}) =>
  resolveGatewayOptions(given, env)

function complaint(env: Readonly<Record<string, string>>, given: GatewayOptions = {}): string {
  try {
    resolved(env, given)
  } catch (error) {
    if (error instanceof UsageError) return error.message
    throw error
  }
  throw new Error('nothing was refused')
}

describe('where options are from', () => {
  test('the defaults are the documented ones', () => {
    const { options, sources, warnings, secrets } = resolved({})
    expect(options).toMatchObject({ host: '127.0.0.1', port: 9487, mode: 'sync', windowMs: 5000 })
    expect(options).toMatchObject({ maxBatchRequests: 50_000, directBelow: 0, cacheTtl: 0, claimTtl: 86_400 })
    expect(new Set(sources.values())).toEqual(new Set(['default']))
    expect(warnings).toEqual([])
    expect(secrets).toEqual({ upstreamKey: undefined, callerKey: undefined, webhookSecret: undefined })
  })

  test('every flag that the contract names has its variable', () => {
    const named = ['host', 'port', 'dataDir', 'postgres', 'mode', 'windowMs', 'maxBatchRequests', 'pollMinMs']
    expect(Object.keys(gatewayTable)).toEqual(
      expect.arrayContaining([
        ...named,
        'pollMaxMs',
        'directBelow',
        'cacheTtl',
        'noAuth',
        'iTrustThisNetwork',
      ]),
    )
    expect(['windowMs', 'noAuth', 'iTrustThisNetwork', 'cacheTtl', 'tlsCert'].map(variableOf)).toEqual([
      'NIGHTSHIFT_WINDOW_MS',
      'NIGHTSHIFT_NO_AUTH',
      'NIGHTSHIFT_I_TRUST_THIS_NETWORK',
      'NIGHTSHIFT_CACHE_TTL',
      'NIGHTSHIFT_TLS_CERT',
    ])
  })

  test('the modes are those that the gateway knows', () => {
    expect(gatewayTable.mode.schema.unwrap().options).toEqual(MODES)
  })

  test('a flag is stronger than its variable, which is stronger than an alias; who disagrees is named', () => {
    const env = { NIGHTSHIFT_PORT: '2', PORT: '3' }
    expect(resolved({ PORT: '3' }).options.port).toBe(3)
    expect(resolved(env).options.port).toBe(2)
    expect(resolved(env).warnings).toEqual(['NIGHTSHIFT_PORT is used; PORT says otherwise'])
    const { options, warnings, sources } = resolved(env, { port: 1 })
    expect([options.port, sources.get('port')]).toEqual([1, 'flag'])
    expect(warnings).toEqual([
      '--port is used; NIGHTSHIFT_PORT says otherwise',
      '--port is used; PORT says otherwise',
    ])
  })

  test('who agrees is not named, and what is blank is absent', () => {
    expect(resolved({ PORT: '9487', NIGHTSHIFT_PORT: ' 9487 ' }, { port: 9487 }).warnings).toEqual([])
    expect(resolved({ PORT: ' ', BATCH_SERVER_API_KEY: '' })).toMatchObject({ options: { port: 9487 } })
    expect(resolved({ PORT: ' ', BATCH_SERVER_API_KEY: '' }).secrets.callerKey).toBeUndefined()
  })

  test('of all that is said of an option the strongest counts', () => {
    const ports = fc.option(fc.integer({ min: 0, max: 65_535 }), { nil: undefined })
    fc.assert(
      fc.property(ports, ports, ports, (flag, variable, alias) => {
        const env = {
          ...(variable !== undefined && { NIGHTSHIFT_PORT: String(variable) }),
          ...(alias !== undefined && { PORT: String(alias) }),
        }
        const { options, warnings } = resolved(env, { port: flag })
        expect(options.port).toBe(flag ?? variable ?? alias ?? 9487)
        const said = [flag, variable, alias].filter((port) => port !== undefined)
        expect(warnings).toHaveLength(said.slice(1).filter((port) => port !== said[0]).length)
      }),
    )
  })
})

describe('names of other systems', () => {
  test.each([
    ['PORT', '8080', 'port', 8080],
    ['CLIENT_SERVING_MODE', 'async', 'mode', 'async'],
    ['CLIENT_SERVING_MODE', 'Cache', 'mode', 'cache'],
    ['COLLATE_BATCHES_FOR_DURATION_IN_MS', '250', 'windowMs', 250],
    ['COLLECT_BATCH_STATS_POLLING_MAX_INTERVAL_SECONDS', '300', 'pollMaxMs', 300_000],
    ['COLLECT_BATCH_STATS_POLLING_MAX_INTERVAL_SECONDS', '0.5', 'pollMaxMs', 500],
    ['POSTGRES_URL', 'postgres://u:p@db:5432/x', 'postgres', 'postgres://u:p@db:5432/x'],
    ['DATABASE_URL', 'postgresql://db/x', 'postgres', 'postgresql://db/x'],
    ['OPENAI_BASE_URL', 'http://127.0.0.1:4100/v1', 'upstream', 'http://127.0.0.1:4100/v1'],
    ['OPENAI_ORG_ID', 'org-1', 'openaiOrganization', 'org-1'],
    ['OPENAI_PROJECT_ID', 'proj_1', 'openaiProject', 'proj_1'],
  ] as const)('%s=%s sets %s', (name, text, option, value) => {
    const { options, sources } = resolved({ [name]: text })
    expect([options[option], sources.get(option)]).toEqual([value, 'alias'])
  })

  test('a variable may be whatever its flag may be, and nothing else', () => {
    const entries: readonly (readonly [string, GatewayOptionEntry])[] = Object.entries(gatewayTable)
    const numeric = entries.filter(([, { schema }]) => typeof schema.safeParse(undefined).data === 'number')
    expect(numeric.length).toBeGreaterThan(10)
    const value = fc.oneof(fc.integer({ min: -2, max: 300 }), fc.double({ min: 1e-9, max: 300, noNaN: true }))
    const outcome = (env: Readonly<Record<string, string>>, name: string, given: GatewayOptions = {}) => {
      try {
        return Object.entries(resolved(env, given).options).find(([option]) => option === name)?.[1]
      } catch (error) {
        if (error instanceof UsageError) return 'refused'
        throw error
      }
    }
    fc.assert(
      fc.property(fc.constantFrom(...numeric.map(([name]) => name)), value, (name, number) => {
        expect(outcome({ [variableOf(name)]: String(number) }, name)).toBe(
          outcome({}, name, { [name]: number }),
        )
      }),
    )
    expect(resolved({ NIGHTSHIFT_RETENTION_DAYS: '0.25' }).options.retentionDays).toBe(0.25)
  })

  test('keys are read from both names, and are shown nowhere', () => {
    const env = {
      OPENAI_API_KEY: 'sk-upstream',
      API_KEY: 'second',
      NIGHTSHIFT_WEBHOOK_SECRET: 'whsec_c2VjcmV0',
    }
    const { secrets } = resolved(env)
    expect(secrets.callerKey?.reveal()).toBe('second')
    const both = resolved({ ...env, BATCH_SERVER_API_KEY: 'first' })
    expect(both.secrets.callerKey?.reveal()).toBe('first')
    expect(both.warnings).toEqual(['BATCH_SERVER_API_KEY is used; API_KEY says otherwise'])
    expect(JSON.stringify(both)).not.toMatch(/sk-upstream|first|second|c2VjcmV0/)
  })

  test('what is left of MongoDB is said once', () => {
    const { warnings } = resolved({ MONGO_HOST: 'db', MONGO_PASSWORD: 'hunter2', MONGO_PORT: '' })
    expect(warnings).toEqual([expect.stringMatching(/^MONGO_HOST, MONGO_PASSWORD are not used: /)])
    expect(warnings.join()).not.toContain('hunter2')
  })
})

test('a variable that is nearly that of an option is named; others are nobody’s business', () => {
  const env = { NIGHTSHIFT_WINDOWS_MS: '5', NIGHTSHIFT_SERVICE_HOST: '10.0.0.1', NIGHTSHIFT_STATE_DIR: '/x' }
  expect(resolved(env).warnings).toEqual([
    'NIGHTSHIFT_WINDOWS_MS is not used; did you mean NIGHTSHIFT_WINDOW_MS?',
  ])
})

describe('what cannot be is refused, by its name:', () => {
  test.each([
    [{ PORT: 'many' }, 'environment variable PORT is "many", but must be a whole number from 0 to 65535'],
    [{ NIGHTSHIFT_PORT: '70000' }, 'environment variable NIGHTSHIFT_PORT is "70000"'],
    [
      { CLIENT_SERVING_MODE: 'asinc' },
      'CLIENT_SERVING_MODE is "asinc", but must be one of sync, async, poll, cache',
    ],
    [{ COLLATE_BATCHES_FOR_DURATION_IN_MS: '-1' }, 'COLLATE_BATCHES_FOR_DURATION_IN_MS is "-1"'],
    [
      { COLLECT_BATCH_STATS_POLLING_MAX_INTERVAL_SECONDS: '0' },
      'is "0", but must be a number of seconds above 0',
    ],
    [{ NIGHTSHIFT_NO_AUTH: 'maybe' }, 'NIGHTSHIFT_NO_AUTH is "maybe", but must be true or false'],
    [
      { DATABASE_URL: 'mysql://u:hunter2@db/x' },
      'DATABASE_URL is "mysql://…@db/x", but must be a postgres:// or',
    ],
    [
      { OPENAI_BASE_URL: 'localhost:4100' },
      'OPENAI_BASE_URL is "localhost:4100", but must be an http or https URL',
    ],
    [{ NIGHTSHIFT_TLS_CERT: 'a.pem' }, '--tls-cert is given alone'],
    [{ NIGHTSHIFT_TLS_KEY: 'a.pem' }, '--tls-key is given alone'],
    [
      { NIGHTSHIFT_POLL_MIN_MS: '9', NIGHTSHIFT_POLL_MAX_MS: '8' },
      '--poll-min-ms is 9, but must not be above',
    ],
  ] as const)('%j', (env, message) => {
    expect(complaint(env)).toContain(message)
    expect(complaint(env)).not.toContain('hunter2')
  })

  test.each([
    { OPENAI_API_KEY: 'sk-first\nsk-second' },
    { OPENAI_API_KEY: '“sk-quoted”' },
    { BATCH_SERVER_API_KEY: 'two words' },
    { API_KEY: 'two words' },
  ])('a key that no header can carry, without showing it: %j', (env) => {
    const [[name, key] = ['', '']] = Object.entries(env)
    expect(complaint(env)).toContain(`environment variable ${name} is no key`)
    expect(complaint(env)).not.toContain(key)
  })

  test.each(['whsec_', 'whsec_not base64!', 'whsec_a'])(
    'a secret of webhooks that nobody could decode, without showing it: %s',
    (value) => {
      const complained = complaint({ NIGHTSHIFT_WEBHOOK_SECRET: value })
      expect(complained).toContain('NIGHTSHIFT_WEBHOOK_SECRET begins with "whsec_"')
      if (value !== 'whsec_') expect(complained).not.toContain(value)
    },
  )

  test.each(['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'any other text'])(
    'a secret of webhooks: %s',
    (value) => {
      expect(resolved({ NIGHTSHIFT_WEBHOOK_SECRET: value }).secrets.webhookSecret?.reveal()).toBe(value)
    },
  )

  test('a key that is not used may be anything', () => {
    const env = { BATCH_SERVER_API_KEY: 'good', API_KEY: 'two words', OPENAI_API_KEY: ' sk-x\n' }
    expect(resolved(env).secrets.callerKey?.reveal()).toBe('good')
    expect(resolved(env).secrets.upstreamKey?.reveal()).toBe('sk-x')
  })

  test('all at once', () => {
    const message = complaint({ PORT: 'x', NIGHTSHIFT_WINDOW_MS: 'y' })
    expect(message.split('\n')).toHaveLength(3)
  })

  test('a weaker one that cannot be is only named', () => {
    expect(resolved({ PORT: 'many' }, { port: 1 }).warnings).toEqual(['--port is used; PORT says otherwise'])
  })
})

test('of the two ends of the poll interval the one that was not given yields', () => {
  expect(resolved({}, { pollMaxMs: 100 }).options).toMatchObject({ pollMinMs: 100, pollMaxMs: 100 })
  expect(resolved({}, { pollMinMs: 90_000 }).options).toMatchObject({ pollMinMs: 90_000, pollMaxMs: 90_000 })
})

test.each(['true', '1', 'yes', 'ON'])('a switch may be %s in a variable', (text) => {
  expect(resolved({ NIGHTSHIFT_NO_AUTH: text }).options.noAuth).toBe(true)
})

test('every default passes its own check', () => {
  const entries: readonly (readonly [string, GatewayOptionEntry])[] = Object.entries(gatewayTable)
  for (const [name, { schema }] of entries) {
    const { success, data } = schema.safeParse(undefined)
    expect([name, success, data === undefined || schema.safeParse(data).success]).toEqual([name, true, true])
  }
})

describe('where the data are', () => {
  const place = (env: Readonly<Record<string, string>>, given: GatewayOptions = {}) =>
    storePlace(resolved(env, given))
  const URL = 'postgres://user:hunter2@db/x'

  test('in a folder, unless a database is named', () => {
    expect(place({})).toEqual({ place: { kind: 'sqlite', dataDir: 'gateway-data' }, warnings: [] })
    expect(place({ POSTGRES_URL: URL }).place).toEqual({ kind: 'postgres', url: expect.any(Secret) })
    // As in the container, whose image names the folder.
    expect(place({ NIGHTSHIFT_DATA_DIR: '/data', DATABASE_URL: URL }).place.kind).toBe('postgres')
  })

  test('a folder that is given by its flag is stronger than a database of a common name', () => {
    const { place: chosen, warnings } = place({ DATABASE_URL: URL }, { dataDir: 'here' })
    expect(chosen).toEqual({ kind: 'sqlite', dataDir: 'here' })
    expect(warnings).toHaveLength(1)
  })

  test('with such a folder it does not matter what a common name says', () => {
    const other = 'mysql://user:hunter2@db/x'
    expect(place({ DATABASE_URL: other }, { dataDir: 'here' }).place.kind).toBe('sqlite')
    expect(complaint({ NIGHTSHIFT_POSTGRES: other }, { dataDir: 'here' })).toContain('NIGHTSHIFT_POSTGRES is')
    expect(complaint({ DATABASE_URL: other })).toContain('with --data-dir it does not matter')
  })

  test('both on purpose cannot be', () => {
    expect(() => place({ NIGHTSHIFT_POSTGRES: URL }, { dataDir: 'here' })).toThrow('leave one out')
  })

  test('a password on the command line is warned of, and not shown', () => {
    const { warnings } = place({}, { postgres: URL })
    expect(warnings.join()).toContain('NIGHTSHIFT_POSTGRES')
    expect(JSON.stringify(place({}, { postgres: URL }))).not.toContain('hunter2')
    expect(place({ POSTGRES_URL: URL }).warnings).toEqual([])
  })
})
