import { onTestFinished } from 'vitest'
import { accept, reject, retry } from '../../src/batch/verdict.ts'
import { withUsage } from '../../src/emulator/answers.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { ask, type Harness, harness, isKind, names, questionOf, seenOf } from './task-harness.ts'

const HOUR = 3_600_000

/** What would run, call home or break out of its place if it were taken for more than text. */
export const HOSTILE = [
  '</script><script>fetch("https://evil.example/1")</script>',
  '<img src="https://evil.example/2.png" onerror="alert(1)">',
  '"\'><svg onload=alert(2)>&lt;',
  'right\u202eto left\u0000\u001b[31m red',
  `${'x'.repeat(300)}<!--`,
] as const

/** A text with all that in it, and no two alike. */
export const hostile = (index: number): string => `${HOSTILE[index % HOSTILE.length] ?? ''} ${index}`

const FORTY = Array.from(
  { length: 40 },
  (_, kind) => `kind ${String.fromCharCode(97 + (kind % 26))}${kind > 25 ? 'x' : ''}`,
)

/** Fails in forty ways, of which the first is the most frequent; some tries are made again, and the end of the run fails. */
class Failing extends TaskManager {
  *generateRequests() {
    for (const [index, name] of names(600).entries())
      yield {
        key: `${hostile(index)} ${name}`,
        body: { ...ask(`question ${index}`), max_completion_tokens: 500 },
      }
  }

  processResponse({ key, body, attempt }: TaskResponse) {
    const index = Number(questionOf({ body: { ...body } }).split(' ')[1])
    if (index % 3 === 0) return accept({ key })
    const kind = FORTY[Math.floor(40 * (((index * 7919) % 600) / 600) ** 2)] ?? ''
    const reason = `${kind}: ${index} of ${JSON.stringify(hostile(index))} <b>is no answer</b>\u001b[0m`
    return index % 7 === 0 && attempt === 1 ? retry(reason) : reject(reason)
  }

  override onFinish(): void {
    throw new Error('the results could not be sent on: <b>403</b></script> "https://evil.example/3"')
  }
}

export async function failedTask(): Promise<Harness> {
  const rig = harness({
    latency: { runMs: 2 * HOUR, perRequestMs: 3_000 },
    answer: ({ body }) =>
      withUsage(hostile(Number(questionOf({ body }).split(' ')[1])), {
        input: 900,
        cachedInput: 300,
        output: 200,
        reasoning: 120,
      }),
  })
  const run = new Failing(
    rig.options({ maxBatchRequests: 120, maxRemoteBatches: 3, remoteUpdateInterval: 60, maxSpend: 2 }),
  ).run()
  await run.then(
    () => Promise.reject(new Error('the run did not fail')),
    () => undefined,
  )
  return rig
}

/** Answers everything, in batches of fifty. */
export class Plain extends TaskManager {
  override createParams() {
    return { temperature: 0, instructions: 'Be brief.', models: ['gpt-5-mini'] }
  }

  *generateRequests() {
    for (const key of names(600)) yield { key, body: { ...ask(key), max_completion_tokens: 500 } }
  }

  processResponse({ key }: TaskResponse) {
    return key.endsWith('7') ? reject(`no use for ${key}`) : accept({ key })
  }
}

const pace = { maxBatchRequests: 50, maxRemoteBatches: 4, remoteUpdateInterval: 60 }

export async function finishedTask(): Promise<Harness> {
  const rig = harness({ latency: { runMs: HOUR, perRequestMs: 40_000 } })
  await new Plain(rig.options({ ...pace, maxSpend: 5 })).run()
  return rig
}

/** Looks at a task while a run is at work on it: when it creates its sixth batch. */
export async function whileRunning(look: (rig: Harness) => Promise<void>): Promise<void> {
  const rig = harness({ latency: { runMs: HOUR, perRequestMs: 40_000 } })
  const stop = new AbortController()
  onTestFinished(() => stop.abort())
  let created = 0
  const run = new Plain(
    rig.options({
      ...pace,
      stop: stop.signal,
      fetch: async (input, init) => {
        if (isKind(seenOf(input, init, 0), 'POST', '/v1/batches') && ++created === 6) {
          await look(rig)
          stop.abort()
        }
        return rig.emulator.fetch(input, init)
      },
    }),
  ).run()
  await run
  if (created < 6) throw new Error(`the run created ${created} batches only`)
}

class Nothing extends TaskManager {
  *generateRequests() {}

  processResponse() {
    return accept()
  }
}

export async function emptyTask(): Promise<Harness> {
  const rig = harness()
  await new Nothing(rig.options()).run()
  return rig
}
