import { describe, expect, test } from 'vitest'
import { Counter, labelText } from '../../../src/gateway/http/metrics/counter.ts'
import { Histogram } from '../../../src/gateway/http/metrics/histogram.ts'
import { AnswerGate, ask, chat, metric, openRig, until } from './rig.ts'

const ended = (ending: string, route: string) => `requests_ended_total{ending="${ending}",route="${route}"}`
const ASYNC = { 'x-nightshift-mode': 'async' }

describe('the page of metrics', () => {
  test('is as Prometheus wants it: each metric with its help and its type, each series once', async () => {
    await using rig = await openRig()
    await ask(rig, chat('a'))
    const response = await rig.gateway.app.request('/metrics')
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    const text = await response.text()
    expect(text.endsWith('\n')).toBe(true)
    const lines = text.trimEnd().split('\n')
    const types = new Map<string, string>()
    for (const line of lines) {
      const [, name = '', type = ''] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? []
      if (name !== '') types.set(name, type)
    }
    for (const [name, type] of types) {
      expect(lines.filter((line) => line.startsWith(`# HELP ${name} `))).toHaveLength(1)
      expect(name.endsWith('_total')).toBe(type === 'counter')
    }
    const series = lines.filter((line) => !line.startsWith('#'))
    for (const line of series) {
      expect(line).toMatch(/^nightshift_[a-z_]+(\{([a-z]+="([^"\\]|\\.)*",?)*\})? \d+(\.\d+)?(e[+-]?\d+)?$/)
      const name = /^[a-z_]+/.exec(line)?.[0] ?? ''
      expect([...types.keys()]).toContain(types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, ''))
    }
    expect(new Set(series.map((line) => line.slice(0, line.lastIndexOf(' ')))).size).toBe(series.length)
  })

  test('has no label of which callers could make as many as they like', async () => {
    await using rig = await openRig({ settings: { mode: 'async' } })
    for (const model of ['gpt-5-mini', 'made-up-model']) await ask(rig, { ...chat('a'), model })
    await rig.gateway.app.request('/v1/made/up')
    await rig.gateway.app.request('/v1/requests/made-up-id')
    const text = await (await rig.gateway.app.request('/metrics')).text()
    expect(text).not.toMatch(/gpt-5|made|tenant|default/)
  })

  test('counts a cancelled request once, as cancelled', async () => {
    const gate = new AnswerGate()
    await using rig = await openRig({ emulator: { answer: gate.answer } })
    const asked = await ask(rig, chat('a'), { headers: { ...ASYNC, 'x-nightshift-priority': 'high' } })
    const id = asked.headers.get('x-nightshift-request-id') ?? ''
    await until(() => gate.asked === 1)
    const path = `/v1/requests/${id}`
    expect((await rig.gateway.app.request(path, { method: 'DELETE' })).status).toBeLessThan(300)
    gate.open()
    await until(async () => (await metric(rig, 'upstream_calls_total{kind="call",result="ok"}')) === 1)
    // What comes after it has found all of that on record.
    await ask(rig, chat('b'), { headers: { 'x-nightshift-priority': 'high' } })
    expect(await metric(rig, ended('cancelled', 'direct'))).toBe(1)
    expect(await metric(rig, ended('succeeded', 'direct'))).toBe(1)
  })
})

test('labels are written so that nothing in them is taken for something else', () => {
  expect(labelText({ a: 'x"y\\z\n' })).toBe('{a="x\\"y\\\\z\\n"}')
  expect(labelText({})).toBe('')
  const counter = new Counter(['a', 'b'], 1e9)
  counter.add(['x', 'y'], 5e8)
  counter.add(['x', 'y'], 1e9)
  expect(counter.lines('n')).toEqual(['n{a="x",b="y"} 1.5'])
})

test('a histogram adds its buckets up', () => {
  const histogram = new Histogram()
  for (const seconds of [0.001, 0.002, 0.3, 100]) histogram.observe(seconds)
  const lines = histogram.lines('n')
  const below = (bound: string) => lines.find((line) => line.startsWith(`n_bucket{le="${bound}"}`))
  expect(['0.001', '0.0025', '0.5', '10', '+Inf'].map(below).map((line) => line?.split(' ')[1])).toEqual([
    '1',
    '2',
    '3',
    '3',
    '4',
  ])
  expect(lines.at(-1)).toBe('n_count 4')
})
