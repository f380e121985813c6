import { expect, test } from 'vitest'
import { openGatewayLog } from '../../src/cli/gateway-log.ts'
import { Secret } from '../../src/util/secret.ts'

function capture(level: 'info' | 'warn' | 'error' | 'silent' = 'info', secrets: readonly Secret[] = []) {
  const lines: string[] = []
  const log = openGatewayLog({ level, secrets, to: { write: (text) => void lines.push(text) } })
  return { log, lines, events: () => lines.map((line): unknown => JSON.parse(line)) }
}

test('each event is one JSON object on a line', () => {
  const { log, lines, events } = capture()
  log.info('call', { route: '/v1/chat/completions', status: 200, held: true, id: undefined })
  log.warn('option')
  expect(lines.every((line) => /^[^\n]+\n$/.test(line))).toBe(true)
  expect(events()).toEqual([
    {
      level: 'info',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      event: 'call',
      route: '/v1/chat/completions',
      status: 200,
      held: true,
    },
    { level: 'warn', time: expect.any(String), event: 'option' },
  ])
})

test('less than the level is not written', () => {
  const { log, events } = capture('warn')
  log.info('call')
  log.error('job_failed')
  expect(events()).toMatchObject([{ level: 'error', event: 'job_failed' }])
  const silent = capture('silent')
  silent.log.error('job_failed')
  expect(silent.lines).toEqual([])
})

test('nothing secret is written, wherever it stands', () => {
  const { log, lines } = capture('info', [new Secret('the upstream key'), new Secret('hunter2')])
  log.error('failed', {
    error: 'refused: the upstream key; Authorization: Bearer abc.def; at postgres://me:pass@db/x; hunter2',
    reason: `a key sk-proj-${'x'.repeat(40)} of OpenAI, ns_${'y'.repeat(43)} of ours`,
    authorization: 'anything',
    body: '{"messages":[]}',
    password: 'anything else',
    key: 'third',
  })
  expect(lines.join()).not.toMatch(/upstream key|abc\.def|pass@|hunter2|xxxx|yyyy|anything|messages|third/)
  expect(lines.join()).toContain('postgres://…@db/x')
})

test('of a secret that begins with another one nothing is left over', () => {
  const { log, lines } = capture('info', [new Secret('night'), new Secret('night-and-day')])
  log.error('failed', { error: 'refused: night-and-day, and night' })
  expect(lines.join()).toContain('refused: [secret], and [secret]')
})

test('a short key of a trial leaves other words alone', () => {
  const { log, lines } = capture('info', [new Secret('key'), new Secret('a.b')])
  log.info('started', { access: 'keys', why: 'key=key, "a.b", a.bc, axb' })
  expect(lines.join()).toContain('"access":"keys"')
  expect(JSON.parse(lines.join())).toMatchObject({ why: '[secret]=[secret], "[secret]", a.bc, axb' })
})
