import { withWorkingKey } from '../batch/line-outcome.ts'
import { readReply } from '../batch/reply.ts'
import type { StepOf } from '../batch/steps.ts'
import { RemoteError, StateError } from '../errors.ts'
import type { CallAccount, DirectFile, CallLine as Line } from './call-account.ts'
import type { Context } from './context.ts'
import type { SettledAnswer } from './direct-caller.ts'
import { repliesFileName } from './files.ts'
import { sealedLine } from './reply-line.ts'
import { ReplyTotals } from './reply-totals.ts'
import type { RequestResult } from './request-result.ts'
import type { ResultReader } from './result-reader.ts'

/** Larger than most answers; larger ones are learned from. */
const LONG_REPLY_BYTES = 64 * 1024

export interface DirectRecorderOptions {
  readonly account: CallAccount
  readonly reader: ResultReader
}

/** Makes the answers of direct calls durable, with what they cost. */
export class DirectRecorder {
  readonly #context: Context
  readonly #options: DirectRecorderOptions
  #replyBytes = LONG_REPLY_BYTES

  constructor(context: Context, options: DirectRecorderOptions) {
    this.#context = context
    this.#options = options
  }

  /** To be kept free on the disk for each answer to come. */
  get replyBytes(): number {
    return this.#replyBytes
  }

  /** Keeps an answer, or in its stead why there is none: as durable as an answer, and judged as one. */
  async record(
    file: DirectFile,
    line: Line,
    { reply, text, outcome: said, isCharged }: SettledAnswer,
  ): Promise<RequestResult> {
    const { account, reader } = this.#options
    const outcome = withWorkingKey(said)
    const { cost, tier } = await account.price(file, line, outcome)
    const totals = new ReplyTotals()
    totals.add(cost)
    const { tokens, load } = line
    const charge = { costNanoUsd: cost.costNanoUsd, ...(tier && { tier }) }
    await this.#receive(sealedLine(text, charge), {
      kind: 'received',
      file: file.id,
      requests: [line.request],
      ...totals.columns,
      ...(outcome.kind === 'reply' && {
        expected: { input: tokens.input, output: tokens.output, costNanoUsd: load.nanoUsd },
      }),
      ...(tier && { tier }),
      ...(!isCharged && { released: account.reservedFor(line) }),
    })
    if (!isCharged) account.offWire()
    const described = await reader.describe(file, line.request, line.text, {
      ...outcome,
      charge,
    })
    this.#report(described, reply instanceof RemoteError ? reply.message : reply.text)
    return described
  }

  async #receive(text: string, step: StepOf<'received'>): Promise<void> {
    const { store } = this.#context
    const line = `${text}\n`
    this.#replyBytes = Math.max(this.#replyBytes, Buffer.byteLength(line))
    const commit = () =>
      store.commit((draft) => {
        draft.append(repliesFileName(step.file), line)
        draft.apply(step)
      })
    try {
      await commit()
    } catch (error) {
      if (!(error instanceof StateError)) throw error
      // It may have fallen with larger work that it was built on. It is paid for: alone it may have room.
      await commit()
    }
  }

  #report({ key, outcome, bodyText, endpoint }: RequestResult, text: string): void {
    const reply = outcome.kind === 'reply' ? readReply(endpoint, outcome.body) : undefined
    const warned = reply?.kind === 'reply' && reply.warnings.length > 0
    this.#context.emit({
      kind: 'direct-call',
      key,
      ok: reply?.kind === 'reply',
      warned,
      request: bodyText,
      reply: text,
    })
  }
}
