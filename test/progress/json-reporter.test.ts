import { expect, test } from 'vitest'
import type { ProgressEvent } from '../../src/progress/events.ts'
import { JsonReporter, type JsonReporterOptions } from '../../src/progress/json-reporter.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

function json(directVerbose?: JsonReporterOptions['directVerbose']) {
  const lines: string[] = []
  const clock = new VirtualClock(Date.UTC(2026, 0, 1, 12))
  const options = {
    write: (line: string) => lines.push(line),
    clock,
    ...(directVerbose && { directVerbose }),
  }
  return { lines, reporter: new JsonReporter(options) }
}

const call = (ok: boolean): ProgressEvent => ({
  kind: 'direct-call',
  key: 'a',
  ok,
  warned: false,
  request: '{}',
  reply: 'no\nthing',
})

test('an event is one line, with its time', () => {
  const { lines, reporter } = json()
  reporter.onEvent({ kind: 'warning', code: 'c', message: 'two\nlines' })
  reporter.note('note', 'SIGINT: stopping')
  expect(lines).toEqual([
    '{"time":"2026-01-01T12:00:00.000Z","kind":"warning","code":"c","message":"two\\nlines"}\n',
    '{"time":"2026-01-01T12:00:00.000Z","kind":"note","message":"SIGINT: stopping"}\n',
  ])
})

test('what ended a run is told once', () => {
  const { lines, reporter } = json()
  reporter.fail('no such folder')
  reporter.onEvent({ kind: 'run-failed', message: 'no such folder', code: 'x' })
  reporter.fail('no such folder')
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { kind: 'error', message: 'no such folder' },
    { kind: 'run-failed', message: 'no such folder' },
  ])
})

test('requests and replies of direct calls are told only where they were asked for', () => {
  const silent = json()
  silent.reporter.onEvent(call(false))
  expect(silent.lines.join()).not.toContain('thing')
  const { lines, reporter } = json('error')
  reporter.onEvent(call(true))
  reporter.onEvent(call(false))
  expect(lines.map((line) => Object.keys(JSON.parse(line)))).toEqual([
    ['time', 'kind', 'key', 'ok', 'warned'],
    ['time', 'kind', 'key', 'ok', 'warned', 'request', 'reply'],
  ])
})
