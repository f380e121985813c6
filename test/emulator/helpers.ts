import OpenAI from 'openai'
import type { Batch } from 'openai/resources/batches'
import type { Emulator } from '../../src/emulator/create-emulator.ts'
import type { EmulatorLatency } from '../../src/emulator/options.ts'

export const INSTANT: Required<EmulatorLatency> = {
  validateMs: 0,
  runMs: 0,
  perRequestMs: 0,
  finalizeMs: 0,
  directMs: 0,
  flexMs: 0,
  cancelMs: 0,
}

export const clientOf = ({ fetch }: Pick<Emulator, 'fetch'>, apiKey = 'x'): OpenAI =>
  new OpenAI({ apiKey, baseURL: 'http://emulator.local/v1', fetch, maxRetries: 0 })

export interface Line {
  readonly custom_id: string
  readonly method: string
  readonly url: string
  readonly body: Readonly<Record<string, unknown>>
}

export const chatLine = (index: number, body: Readonly<Record<string, unknown>> = {}): Line => ({
  custom_id: `request-${index}`,
  method: 'POST',
  url: '/v1/chat/completions',
  body: { model: 'gpt-5-mini', messages: [{ role: 'user', content: `question ${index}` }], ...body },
})

export const chatLines = (count: number): readonly Line[] =>
  Array.from({ length: count }, (_, index) => chatLine(index))

export const jsonl = (lines: readonly unknown[]): string =>
  lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join('')

export const upload = (openai: OpenAI, lines: readonly unknown[]) =>
  openai.files.create({ purpose: 'batch', file: new File([jsonl(lines)], 'input.jsonl') })

export async function submit(openai: OpenAI, lines: readonly unknown[]): Promise<Batch> {
  const file = await upload(openai, lines)
  return openai.batches.create({
    input_file_id: file.id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
  })
}

export interface ResultLine {
  readonly id: string
  readonly custom_id: string
  readonly response: {
    readonly status_code: number
    readonly request_id: string
    readonly body: ResultBody
  } | null
  readonly error: { readonly code: string; readonly message: string } | null
}

interface ResultBody {
  readonly choices?: readonly { readonly message: { readonly content: string } }[]
  readonly error?: { readonly message: string; readonly code: string | null; readonly type: string }
}

export async function readLines(
  openai: OpenAI,
  id: string | null | undefined,
): Promise<readonly ResultLine[]> {
  if (!id) return []
  const text = await (await openai.files.content(id)).text()
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
}

/** Asks until the batch has ended. Each question lets the emulator work, so no time has to pass. */
export async function untilOver(openai: OpenAI, id: string): Promise<Batch> {
  for (let polls = 0; polls < 10_000; polls++) {
    const batch = await openai.batches.retrieve(id)
    if (['completed', 'failed', 'expired', 'cancelled'].includes(batch.status)) return batch
    await new Promise(setImmediate)
  }
  throw new Error(`${id} does not end`)
}

export async function errorOf(promise: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> {
  try {
    await promise
  } catch (error) {
    if (error instanceof OpenAI.APIError) return error
    throw error
  }
  throw new Error('it succeeded')
}
