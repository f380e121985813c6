/**
 * Makes many calls at once, each on a connection of its own and with a question of its own, and waits until all have
 * their answers. Argument: JSON, see `HeldOrder`. Only calls that got their own answers count as done.
 */
import { once } from 'node:events'
import pLimit from 'p-limit'
import { measure } from '../measured.ts'
import { AnswerReader, CHAT_PATH, callText, connectTo, type RawAnswer } from '../raw-http.ts'
import { ownAnswer, workOf } from '../workload.ts'

export interface HeldOrder {
  readonly url: string
  readonly calls: number
}

/** Connections that are opened at once: a server has only so much room for those that it has not taken yet. */
const OPENED_AT_ONCE = 500

/** What the `openai` client sends, which is what a server has to keep of most calls. */
const SDK_HEADERS = {
  accept: 'application/json',
  'user-agent': 'OpenAI/JS 7.55.0',
  'x-stainless-retry-count': '0',
  'x-stainless-timeout': '600',
  'x-stainless-lang': 'js',
  'x-stainless-package-version': '7.55.0',
  'x-stainless-os': 'Linux',
  'x-stainless-arch': 'x64',
  'x-stainless-runtime': 'node',
  'x-stainless-runtime-version': 'v24.21.0',
} as const

const { url, calls }: HeldOrder = JSON.parse(process.argv[2] ?? '')
const { host } = new URL(url)
const opening = pLimit(OPENED_AT_ONCE)

async function call(index: number): Promise<boolean> {
  const { socket, answer } = await opening(() => send(index))
  const { status, body } = await answer
  socket.end()
  return status === 200 && JSON.parse(body).choices[0].message.content === ownAnswer(workOf(index).body)
}

async function send(index: number) {
  const socket = await connectTo(url)
  const { promise, resolve, reject } = Promise.withResolvers<RawAnswer>()
  const reader = new AnswerReader()
  socket.on('error', reject).on('close', () => reject(new Error('the server closed a connection')))
  socket.on('data', (piece) => {
    const answer = reader.add(piece)
    if (answer) resolve(answer)
  })
  const body = JSON.stringify(workOf(index).body)
  if (!socket.write(callText({ host, path: CHAT_PATH, body, headers: SDK_HEADERS })))
    await once(socket, 'drain')
  return { socket, answer: promise }
}

await measure(async () => {
  const results = await Promise.all(Array.from({ length: calls }, (_, index) => call(index)))
  return results.filter((isOwn) => isOwn).length
})
