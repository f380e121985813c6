/** loop.ts URL MODEL: asks by the ordinary `openai` client, whose base URL has no `/v1`, until the answer is there. */
import OpenAI from 'openai'
import { askUntilDone } from './ask-until-done.ts'

const [url, model = ''] = process.argv.slice(2)
const client = new OpenAI({ baseURL: url, apiKey: process.env.API_KEY })
const pauseMs = Number(process.env.PAUSE_MS ?? 60_000)
console.log(await askUntilDone(client, { model, pauseMs, onPending: () => console.error('not yet') }))
