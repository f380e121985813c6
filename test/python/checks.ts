import { deepStrictEqual as same } from 'node:assert/strict'
import { setTimeout } from 'node:timers/promises'
import { ANSWER } from '../seeds/upstream.ts'
import { endOf, linesOf, type World } from './world.ts'

export interface Check {
  readonly name: string
  /** What its gateway is told beside what all are told. */
  readonly flags?: readonly string[]
  /** Throws when something is not as it must be. */
  readonly run: (world: World) => Promise<void>
}

const MODEL = 'gpt-4o-mini'
const MODELS = [MODEL, 'gpt-4.1-mini', 'gpt-4.1', 'gpt-4o', 'gpt-5-nano']
const EMBEDDING_MODEL = 'text-embedding-3-small'
/** Lines of samples that page through lists: id, status, answered, all. */
const statusOf = (line: string): string => line.split(' ')[1] ?? ''

/** Each with a gateway and a server of its own. */
export const CHECKS: readonly Check[] = [
  {
    name: 'a call is held, and has its answer from a batch',
    run: async ({ lines, upstream }) => {
      same(await lines('seeds/batch-gpt/chat.py', [MODEL]), [ANSWER])
      same(upstream.answered, [`${MODEL} batch`])
    },
  },
  {
    name: 'a call outlives its own timeout: it comes back to the same work, which is done once',
    run: async ({ start, server, upstream }) => {
      upstream.hold()
      const held = start('python/samples/held.py', [MODEL])
      await server.says('"status":422')
      upstream.letGo()
      same(linesOf('held.py', await endOf(held)), [ANSWER])
      same(upstream.answered, [`${MODEL} batch`])
    },
  },
  {
    name: 'calls at once are one batch, and each has an answer of its own',
    flags: ['--window-ms', '5000'],
    run: async ({ lines, upstream }) => {
      same(await lines('python/samples/many.py', [MODEL]), Array<string>(23).fill(ANSWER))
      same(upstream.answered, Array<string>(23).fill(`${MODEL} batch`))
      same((await lines('seeds/batch-gpt/batches.py', [])).map(withoutId), ['completed 23 23'])
    },
  },
  {
    name: 'a loop written for 422 goes round until the answer is there',
    flags: ['--max-hold-ms', '50'],
    run: async ({ start, upstream }) => {
      upstream.hold()
      const loop = start('seeds/llmbatching/loop.py', [MODEL], { PAUSE_MS: '10' })
      await loop.says('not yet\nnot yet\n')
      upstream.letGo()
      same(linesOf('loop.py', await endOf(loop)), [ANSWER])
      same(upstream.answered, [`${MODEL} batch`])
    },
  },
  {
    name: 'batches are listed page by page, and the list ends; one is retrieved; one is cancelled',
    run: async ({ lines, start, upstream }) => {
      for (const model of MODELS) await lines('seeds/batch-gpt/chat.py', [model])
      const all = await lines('seeds/batch-gpt/batches.py', [])
      same(
        all.map(withoutId),
        MODELS.map(() => 'completed 1 1'),
      )
      same(new Set(all).size, MODELS.length)
      same(await lines('seeds/batch-gpt/batches.py', ['completed']), all)
      same(await lines('seeds/batch-gpt/batches.py', ['not_completed']), [])
      const [id = ''] = all[0]?.split(' ') ?? []
      same(await lines('seeds/batch-gpt/batch.py', [id]), [`${id} completed`])

      upstream.hold()
      const held = start('seeds/batch-gpt/chat.py', ['gpt-5-mini'])
      const open = await until(() => lines('seeds/batch-gpt/batches.py', ['not_completed']), inProgress)
      const [last = ''] = open[0]?.split(' ') ?? []
      const [cancelled = ''] = await lines('seeds/batch-gpt/cancel.py', [last])
      same(['cancelling', 'cancelled'].includes(statusOf(cancelled)), true)
      upstream.letGo()
      const { code, stderr } = await endOf(held)
      same([code === 0, stderr.includes('cancelled')], [false, true])
    },
  },
  {
    name: 'embeddings are vectors of numbers',
    run: async ({ lines, upstream }) => {
      same(await lines('python/samples/embeddings.py', [EMBEDDING_MODEL]), ['0 1536 float', '1 1536 float'])
      same(upstream.answered, [`${EMBEDDING_MODEL} batch`])
    },
  },
  {
    name: 'a response is answered',
    run: async ({ lines }) => same(await lines('python/samples/responses.py', [MODEL]), [ANSWER]),
  },
  {
    name: 'streams wait longer than their client would without them',
    flags: ['--heartbeat-ms', '500'],
    run: async ({ start, upstream }) => {
      upstream.hold()
      const streams = start('python/samples/streams.py', [MODEL])
      // Four streams; the first is kept waiting for longer than the two seconds that its client waits for a byte.
      await setTimeout(4000)
      upstream.letGo()
      same(linesOf('streams.py', await endOf(streams)), [
        `${ANSWER} True`,
        ANSWER,
        `response.created response.completed ${ANSWER}`,
        ANSWER,
      ])
    },
  },
  {
    name: 'errors are those of the package',
    run: async ({ lines, upstream }) => {
      same(await lines('python/samples/errors.py', [MODEL]), [
        'BadRequestError 400 empty_array',
        'BadRequestError 400 invalid_value',
        'NotFoundError 404 batch_not_found',
        'NotFoundError 404 unknown_url',
      ])
      same(upstream.answered, [])
    },
  },
  {
    name: 'mode async gives an id, by which the answer is asked for',
    run: async ({ lines }) =>
      same(await lines('python/samples/async_mode.py', [MODEL]), ['202', `completed ${ANSWER}`]),
  },
]

const withoutId = (line: string): string => line.split(' ').slice(1).join(' ')
const inProgress = (lines: readonly string[]): boolean =>
  lines.some((line) => statusOf(line) === 'in_progress')

const MOST_LOOKS = 40

async function until<Value>(look: () => Promise<Value>, isWanted: (value: Value) => boolean): Promise<Value> {
  for (let looks = 1; ; looks++) {
    const value = await look()
    if (isWanted(value)) return value
    if (looks === MOST_LOOKS)
      throw new Error(`it never came to what was waited for: ${JSON.stringify(value)}`)
  }
}
