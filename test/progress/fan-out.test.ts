import { describe, expect, test } from 'vitest'
import type { ProgressEvent } from '../../src/progress/events.ts'
import { ProgressFanOut } from '../../src/progress/fan-out.ts'
import type { Reporter } from '../../src/progress/reporter.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const warning = (code: string): ProgressEvent => ({ kind: 'warning', code, message: 'm' })

/** Keeps the codes of the warnings it is told. */
class Listener implements Reporter {
  readonly codes: string[] = []
  closed = 0

  onEvent(event: ProgressEvent): void {
    if (event.kind === 'warning') this.codes.push(event.code)
  }

  async close(): Promise<void> {
    this.closed++
  }
}

class Broken extends Listener {
  override onEvent(event: ProgressEvent): void {
    super.onEvent(event)
    throw new Error('disk full')
  }
}

describe('emit', () => {
  test('tells every reporter everything, in order', () => {
    const [first, second] = [new Listener(), new Listener()]
    const fanOut = new ProgressFanOut([first, {}, second])
    fanOut.emit(warning('a'))
    fanOut.emit(warning('b'))
    expect([first.codes, second.codes]).toEqual([
      ['a', 'b'],
      ['a', 'b'],
    ])
  })

  test('drops a reporter that throws, and warns the others once', () => {
    const [before, broken, after] = [new Listener(), new Broken(), new Listener()]
    const messages: string[] = []
    const reading: Reporter = {
      onEvent: (event) => void (event.kind === 'warning' && messages.push(event.message)),
    }
    const fanOut = new ProgressFanOut([before, broken, after, reading])
    fanOut.emit(warning('a'))
    fanOut.emit(warning('b'))
    expect(broken.codes).toEqual(['a'])
    expect(before.codes).toEqual(['a', 'reporter_failed', 'b'])
    expect(after.codes).toEqual(['a', 'reporter_failed', 'b'])
    expect(messages).toContain(
      'progress reporter Broken failed and gets no more events; the run goes on: disk full',
    )
  })

  test('survives that all reporters throw at one event', () => {
    const all = [new Broken(), new Broken(), new Broken()]
    const fanOut = new ProgressFanOut(all)
    fanOut.emit(warning('a'))
    fanOut.emit(warning('b'))
    for (const reporter of all) expect(reporter.codes).toEqual(['a'])
  })

  test('warns a reporter that then fails at the warning', () => {
    const listener = new Listener()
    const picky: Reporter = {
      onEvent: (event) => {
        if (event.kind === 'warning' && event.code === 'reporter_failed') throw new Error('unknown code')
      },
    }
    new ProgressFanOut([picky, new Broken(), listener]).emit(warning('a'))
    expect(listener.codes).toEqual(['a', 'reporter_failed', 'reporter_failed'])
  })

  test('drops a reporter whose hook turns out to be async and fails', async () => {
    const listener = new Listener()
    const failing = Promise.reject(new Error('offline'))
    const fanOut = new ProgressFanOut([{ onEvent: () => failing }, listener])
    fanOut.emit(warning('a'))
    await expect(failing).rejects.toThrow('offline')
    expect(listener.codes).toEqual(['a', 'reporter_failed'])
  })
})

describe('close', () => {
  test('closes all once, those that were dropped too, and hears nothing afterwards', async () => {
    const [listener, broken] = [new Listener(), new Broken()]
    const fanOut = new ProgressFanOut([listener, broken])
    fanOut.emit(warning('a'))
    const clock = new VirtualClock()
    expect(await Promise.all([fanOut.close(1000, clock), fanOut.close(1000, clock)])).toEqual([[], []])
    fanOut.emit(warning('late'))
    expect([listener.closed, broken.closed]).toEqual([1, 1])
    expect(listener.codes).toEqual(['a', 'reporter_failed'])
  })

  test('tells what could not be closed, and does not wait longer than allowed', async () => {
    class Stuck implements Reporter {
      close(): Promise<void> {
        return new Promise(() => undefined)
      }
    }
    class Failing implements Reporter {
      close(): Promise<void> {
        throw new Error('socket hang up')
      }
    }
    const clock = new VirtualClock(0)
    const listener = new Listener()
    const problems = await new ProgressFanOut([new Stuck(), new Failing(), listener]).close(3000, clock)
    expect(problems).toEqual([
      'progress reporter Failing could not be closed: socket hang up',
      'progress reporter Stuck was not done in time',
    ])
    expect(listener.closed).toBe(1)
    expect(clock.now()).toBe(3000)
  })

  test('does not wait when all are done', async () => {
    const clock = new VirtualClock(0)
    await new ProgressFanOut([new Listener()]).close(3000, clock)
    expect(clock.now()).toBe(0)
  })
})
