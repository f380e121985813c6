import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { createEmulator, parseScenario } from '../../src/emulator/index.ts'
import { faultSchema } from '../../src/emulator/scenario.ts'
import { ROUTES } from '../../src/emulator/scenario-call.ts'
import { LINE_FORMS, REPLY_FORMS } from '../../src/emulator/scenario-reply.ts'
import { replyWhenSchema } from '../../src/emulator/scenario-when.ts'
import { UsageError } from '../../src/errors.ts'

const docs = readFileSync(new URL('../../docs/scenarios.md', import.meta.url), 'utf8')
const examples = [...docs.matchAll(/^```json\n(.*?)^```$/gms)].map(([, text = '']) => text)

test('the examples of the docs are scenarios', () => {
  expect(examples).toHaveLength(5)
  for (const example of examples) {
    expect(parseScenario(JSON.parse(example), example).faults).not.toHaveLength(0)
  }
})

test('the docs name every fault with all its keys, and no other', () => {
  const rows = new Map(
    [...docs.matchAll(/^\| `((?:http|listing|batch|reply|line)-[a-z-]+)` \|([^|]*\|[^|]*)\|$/gm)].map(
      ([, name = '', row = '']) => [name, row],
    ),
  )
  const named = new Set(['fault', 'note', 'when', 'route', 'what', 'model', 'contains', 'via', 'line'])
  for (const name of named) expect(docs).toMatch(new RegExp(`\`${name}\``))
  const faults = faultSchema.options.map(({ shape }) => ({
    name: shape.fault.value,
    keys: Object.keys(shape).filter((key) => !named.has(key)),
  }))
  expect([...rows.keys()].sort()).toEqual(faults.map(({ name }) => name).sort())
  for (const { name, keys } of faults) {
    for (const key of keys) expect(rows.get(name), `${key} of ${name}`).toContain(`\`${key}\``)
  }
})

test('the docs name every form and every condition', () => {
  const names = [...LINE_FORMS, ...REPLY_FORMS, ...Object.keys(replyWhenSchema.shape)]
  for (const name of names) expect(docs).toMatch(new RegExp(`^\\| .*\`${name}\`.* \\|`, 'm'))
})

test.each([
  [[], 'it: '],
  [{ faults: [], fault: 1 }, 'has no key "fault"'],
  [{ faults: [{ fault: 'http-loose' }] }, 'faults[0].fault: give one of http-answer, http-lose,'],
  [{ faults: [{ fault: 'http-lose', wen: {} }] }, 'faults[0]: has no key "wen"'],
  [{ faults: [{ fault: 'http-lose', when: { nth: 0 } }] }, 'faults[0].when.nth: '],
  [{ faults: [{ fault: 'http-lose', when: { tries: 1 } }] }, 'faults[0].when: has no key "tries"'],
  [{ faults: [{ fault: 'http-lose', route: 'POST /v1/batch' }] }, '"POST /v1/batches"'],
  [{ faults: [{ fault: 'http-lose', acts: 'later' }] }, 'faults[0].acts: '],
  [{ faults: [{ fault: 'http-answer' }] }, 'faults[0].status: '],
  [
    { faults: [{ fault: 'http-answer', status: 500, text: 'x', json: 1 }] },
    'faults[0]: give at most one of error, json and text',
  ],
  [{ faults: [{ fault: 'listing-lag', what: 'batch' }] }, 'faults[0]: give ms, calls, or both'],
  [{ faults: [{ fault: 'batch-end', as: 'failed', answered: 2 }] }, 'faults[0].answered: '],
  [{ faults: [{ fault: 'reply-status', status: 100 }] }, 'faults[0].status: '],
  [{ faults: [{ fault: 'line-form', is: 'lost' }] }, 'faults[0].is: '],
])('%j is refused', (input, message) => {
  const attempt = () => parseScenario(input, 'the scenario bad.json')
  expect(attempt).toThrow(UsageError)
  expect(attempt).toThrow('the scenario bad.json cannot be used. ')
  expect(attempt).toThrow(message)
})

test('an emulator checks its scenario', () => {
  expect(() => createEmulator({ scenario: { faults: [], seed: -1 } })).toThrow('seed: ')
})

test('every route of the list is one of the emulator', async () => {
  const emulator = createEmulator({
    scenario: { faults: ROUTES.map((route) => ({ fault: 'http-answer', route, status: 299, text: route })) },
  })
  const bare = createEmulator()
  for (const route of ROUTES) {
    const [method = '', path = ''] = route.split(' ')
    const url = `http://e${path.replace('{id}', 'x')}`
    const answer = await emulator.fetch(url, { method })
    expect(await answer.text()).toBe(route)
    expect(await (await bare.fetch(url, { method })).text()).not.toContain('unknown_url')
  }
  await bare.close()
})
