/** Serves an emulator for `startEmulator` (emulator-process.ts) until it is told to close. */
import { z } from 'zod'
import { chanceOf, lastMessage } from '../../demos/support/prompt.ts'
import { topicAnswers } from '../../demos/support/topic-answers.ts'
import {
  type AnswerFunction,
  createEmulator,
  type Intercept,
  serveEmulator,
} from '../../src/emulator/index.ts'
import { type News, type Order, orderSchema, type Report } from './emulator-messages.ts'
import { HARD_SHARE } from './emulator-process.ts'

const tell = (news: News): void => void process.send?.(news)

const counts = { inBatches: new Map<string, number>(), directly: new Map<string, number>() }

/** The words of the demo's own model, but no usable answer to a hard sentence when it is asked for the first time. */
const answer: AnswerFunction = (request) => {
  const sentence = lastMessage(request.body)
  const count = request.via === 'batch' ? counts.inBatches : counts.directly
  count.set(sentence, (count.get(sentence) ?? 0) + 1)
  const refuses = request.attempt === 0 && chanceOf(sentence) < HARD_SHARE
  return refuses ? { topic: 'no idea' } : topicAnswers(request)
}

type KillOrder = z.output<typeof orderSchema> & { readonly do: 'kill' }
let kill: KillOrder | undefined
let seen = 0
let hold: PromiseWithResolvers<void> | undefined
let held = 0

const intercept: Intercept = async (request, next) => {
  const what = `${request.method} ${new URL(request.url).pathname}`
  const order = kill && what.startsWith(kill.at.request) && ++seen === kill.at.nth ? kill : undefined
  if (order?.at.when === 'before') return dying(order)
  if (hold && what === 'POST /v1/chat/completions') {
    held++
    tell({ news: 'held', calls: held })
    await hold.promise
  }
  const response = await next()
  return order ? dying(order) : response
}

/** The connection breaks; what the server did stays done. */
function dying({ pid, signal }: KillOrder): never {
  kill = undefined
  process.kill(pid, signal)
  throw new Error('the caller is being killed')
}

const emulator = createEmulator({
  answer,
  intercept,
  latency: { validateMs: 20, runMs: 50, perRequestMs: 0.1, finalizeMs: 20, cancelMs: 20 },
})
const server = await serveEmulator(emulator, { port: 0 })

const Batches = z.object({
  data: z.array(
    z.object({
      status: z.string(),
      request_counts: z.object({ total: z.number() }),
      metadata: z.record(z.string(), z.string()),
    }),
  ),
})
const Files = z.object({ data: z.array(z.object({ filename: z.string() })) })

async function get<Schema extends z.ZodType>(path: string, schema: Schema): Promise<z.output<Schema>> {
  const response = await emulator.fetch(`${server.url}${path}`)
  return schema.parse(await response.json())
}

async function report(): Promise<Report> {
  const batches = await get('/v1/batches?limit=100', Batches)
  const files = await get('/v1/files', Files)
  return {
    batches: batches.data.map(({ status, request_counts, metadata }) => ({
      status,
      requests: request_counts.total,
      tag: metadata.nightshift_tag ?? '',
    })),
    files: files.data.map(({ filename }) => filename),
    inBatches: Object.fromEntries(counts.inBatches),
    directly: Object.fromEntries(counts.directly),
  }
}

async function obey(order: z.output<typeof orderSchema>): Promise<void> {
  switch (order.do) {
    case 'kill':
      seen = 0
      kill = order
      return
    case 'hold':
      hold = Promise.withResolvers()
      held = 0
      return
    case 'release':
      hold?.resolve()
      hold = undefined
      return
    case 'report':
      return tell({ news: 'report', report: await report() })
    case 'close':
      process.disconnect()
      hold?.resolve()
      await emulator.close()
      await server.close()
      return
    default:
      order satisfies never
  }
}

process.on('message', (message: Order) => void obey(orderSchema.parse(message)))
tell({ news: 'ready', url: server.url })
