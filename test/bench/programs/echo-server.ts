/** Answers every direct call at once, with the same reply. Tells its address, and serves until it is killed. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { ANSWER, MODEL } from '../workload.ts'

const reply = JSON.stringify({
  id: 'chatcmpl-bench',
  object: 'chat.completion',
  created: 1_760_000_000,
  model: MODEL,
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: ANSWER, refusal: null, annotations: [] },
      logprobs: null,
      finish_reason: 'stop',
    },
  ],
  usage: { prompt_tokens: 250, completion_tokens: 160, total_tokens: 410 },
  service_tier: 'default',
})
const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(reply) }

const server = createServer((request, response) => {
  request.resume().once('end', () => response.writeHead(200, headers).end(reply))
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const address = server.address()
if (address === null || typeof address === 'string') throw new Error('the server has no port')
process.stdout.write(`http://127.0.0.1:${address.port}\n`)
