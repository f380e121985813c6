/**
 * Estimated prompt tokens beside those that the API reports, over texts, tools, schemas and images:
 *
 *     npm run test:tokens -- [--models gpt-4o-mini,gpt-5-mini] [--only schema] [--emulator]
 *
 * Needs OPENAI_API_KEY and costs a few cents: each row is one direct call. `--emulator` needs no key and costs nothing;
 * its counts are rough, so that only the table is tried. Exit code 1 when a call failed.
 */
import { parseArgs } from 'node:util'
import OpenAI from 'openai'
import { createEmulator } from '../../src/emulator/create-emulator.ts'
import { loadTokenCounter, type TokenCounter } from '../../src/tokens/counter.ts'
import { measureBody } from '../../src/tokens/measure.ts'
import { readUsage } from '../../src/tokens/usage.ts'
import { resolveOptions } from '../../src/util/options.ts'
import { IMAGES, type Payload, TEXTS } from './payloads.ts'

const { values } = parseArgs({
  options: {
    models: { type: 'string', default: 'gpt-4o-mini,gpt-4.1-mini,gpt-5-mini,gpt-5.4-mini,gpt-6-luna' },
    only: { type: 'string', default: '' },
    emulator: { type: 'boolean', default: false },
  },
})

interface Row {
  readonly model: string
  readonly name: string
  readonly estimated: number
  readonly most: number
  /** What the API reported, or why it did not. */
  readonly reported: number | string
}

/** What a model that thinks may write; the prompt is all that is looked at. */
const MAX_OUTPUT = 16

async function rowOf(client: OpenAI, counter: TokenCounter, model: string, payload: Payload): Promise<Row> {
  const { endpoint, name } = payload
  const limit = endpoint === '/v1/responses' ? 'max_output_tokens' : 'max_completion_tokens'
  const body = { model, ...payload.body, [limit]: MAX_OUTPUT }
  const bodyBytes = Buffer.byteLength(JSON.stringify(body))
  const { total: estimated } = counter.count({ endpoint, model, body })
  const { mostInputTokens: most } = measureBody(endpoint, body, { model, bodyBytes })
  return { model, name, estimated, most, reported: await reportedTokens(client, endpoint.slice(3), body) }
}

async function reportedTokens(client: OpenAI, path: string, body: object): Promise<number | string> {
  try {
    const reply = await client.post<{ usage?: unknown }>(path, { body })
    return readUsage(reply.usage)?.input ?? 'no usage in the reply'
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

function line({ model, name, estimated, most, reported }: Row): string {
  const start = `${model.padEnd(16)}${name.padEnd(26)}${`${estimated}`.padStart(9)}`
  if (typeof reported === 'string') return `${start}  ${reported}\n`
  const difference = estimated - reported
  const percent = ((100 * difference) / Math.max(1, reported)).toFixed(1)
  const warning = most < reported ? `  OVER the ceiling of ${most}` : ''
  return `${start}${`${reported}`.padStart(9)}${`${difference}`.padStart(7)}${`${percent} %`.padStart(10)}${warning}\n`
}

function connect(): OpenAI | undefined {
  const settings = { maxRetries: 2, timeout: 120_000 }
  if (values.emulator) {
    const emulator = createEmulator()
    return new OpenAI({ ...settings, apiKey: 'none', fetch: (input, init) => emulator.fetch(input, init) })
  }
  const {
    apiKey,
    baseUrl,
    organization = null,
    project = null,
  } = resolveOptions({ name: 'token-table' }).environment
  return (
    apiKey && new OpenAI({ ...settings, apiKey: apiKey.reveal(), baseURL: baseUrl, organization, project })
  )
}

async function run(client: OpenAI): Promise<void> {
  const counter = await loadTokenCounter()
  const payloads = [...TEXTS, ...IMAGES].filter(({ name }) => name.includes(values.only))
  process.stdout.write(`${'model'.padEnd(16)}${'prompt'.padEnd(26)}estimated reported   diff\n`)
  for (const model of values.models.split(',')) {
    for (const payload of payloads) {
      const row = await rowOf(client, counter, model, payload)
      process.stdout.write(line(row))
      if (typeof row.reported === 'string') process.exitCode = 1
    }
  }
}

const client = connect()
if (client) await run(client)
else {
  process.stderr.write('test:tokens compares with the API: set OPENAI_API_KEY, or try it with --emulator\n')
  process.exitCode = 2
}
