/** The least that takes the same calls: Hono on Node parses their JSON and answers, and keeps nothing. Tells its address. */
import { serve } from '@hono/node-server'
import { Hono } from 'hono'

const app = new Hono()
app.post('/v1/chat/completions', async (call) => {
  const { model } = await call.req.json()
  return call.json({ id: 'req_bench', object: 'request', status: 'queued', model }, 202)
})
serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => {
  process.stdout.write(`http://127.0.0.1:${port}\n`)
})
