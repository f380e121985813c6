/**
 * Finds the emotion of some utterances. Each is asked again, in a request of its own, until enough answers agree.
 *
 *     npx tsx demos/utterance-emotion.ts --emulator --opinions-max 7 --confidence 0.8
 */
import {
  accept,
  OpinionAdviser,
  reject,
  retry,
  runTask,
  type TaskFailure,
  TaskManager,
  type TaskRequest,
  type TaskResponse,
} from 'nightshift'
import { z } from 'zod'
import { emotionAnswers } from './support/emotion-answers.ts'
import { UTTERANCES } from './support/utterances.ts'

const Opinion = z.object({
  emotion: z.enum(['anger', 'disgust', 'fear', 'joy', 'neutral', 'sadness', 'surprise']),
  is_clear: z.boolean().describe('Whether the emotion is clear from the words alone'),
})
type Opinion = z.infer<typeof Opinion>

/** What is remembered of each response of a sample; a response that failed has no opinion. */
const Memory = z.object({ opinion: Opinion.nullable(), concluded: z.boolean() })
type Memory = z.infer<typeof Memory>

const Flags = z.object({
  opinionsMin: z.int().min(1).default(3).describe('Opinions to ask for at least'),
  opinionsMax: z.int().min(1).default(5).describe('Responses after which no more are asked for'),
  confidence: z.number().gt(0).lt(1).default(0.78).describe('Share of the opinions that must agree'),
})

const INSTRUCTIONS = 'Say which emotion the speaker of the utterance most likely feels.'

const sampleOf = (index: number): string => `utterance-${String(index + 1).padStart(2, '0')}`

/** The share of each emotion, where an opinion that is not clear weighs half; the largest first. */
function shares(opinions: readonly Opinion[]): Record<string, number> {
  const weights = new Map<string, number>()
  for (const { emotion, is_clear } of opinions) {
    weights.set(emotion, (weights.get(emotion) ?? 0) + (is_clear ? 1 : 0.5))
  }
  const total = [...weights.values()].reduce((sum, weight) => sum + weight, 0)
  const sorted = [...weights].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
  return Object.fromEntries(sorted.map(([emotion, weight]) => [emotion, weight / total]))
}

class UtteranceEmotion extends TaskManager<Opinion> {
  declare readonly params: z.infer<typeof Flags>
  override answerSchema = Opinion

  /** The flags a task is created with stay as they are, so that all its samples are judged alike. */
  override createParams() {
    return this.flags
  }

  *generateRequests(): Iterable<TaskRequest> {
    for (const [index, utterance] of UTTERANCES.entries()) {
      const sample = sampleOf(index)
      const memories = this.#memories(sample)
      if (memories.some(({ concluded }) => concluded)) continue
      const { required } = this.#advise(memories)
      const messages = [
        { role: 'system' as const, content: INSTRUCTIONS },
        { role: 'user' as const, content: utterance },
      ]
      // What was asked before is skipped by its key, so only the opinions that are missing are asked for.
      for (let number = 1; number <= required; number++) {
        const body = { model: 'gpt-5-mini', max_completion_tokens: 2000, messages }
        yield { key: `${sample}#${number}`, sample, meta: utterance, body }
      }
    }
  }

  processResponse({ sample, meta, answer }: TaskResponse<Opinion>) {
    return this.#conclude(sample, meta, answer) ?? accept(undefined, this.#undecided(answer))
  }

  override processFailure(failure: TaskFailure) {
    const reason = `${failure.code}: ${failure.message}`
    if (failure.retryable && failure.attemptsLeft > 0) return retry(reason)
    return this.#conclude(failure.sample, failure.meta, null) ?? reject(reason, this.#undecided(null))
  }

  /** Accepts the conclusion of a sample with the response that makes it possible; undefined with any other. */
  #conclude(sample: string, meta: unknown, opinion: Opinion | null) {
    const before = this.#memories(sample)
    const memories = [...before, { opinion, concluded: true }]
    const { concluded, confident, winner } = this.#advise(memories)
    if (!concluded || before.some((memory) => memory.concluded)) return undefined
    const emotions = shares(memories.flatMap((memory) => memory.opinion ?? []))
    const output = { sample, utterance: meta, emotion: winner ?? null, is_clear: confident, emotions }
    return accept(output, { remember: { opinion, concluded: true } satisfies Memory })
  }

  #undecided(opinion: Opinion | null) {
    return { remember: { opinion, concluded: false } satisfies Memory, more: true }
  }

  #memories(sample: string): readonly Memory[] {
    return this.samples.get(sample).remembered.map(({ value }) => Memory.parse(value))
  }

  #advise(memories: readonly Memory[]) {
    const opinions = memories.flatMap(({ opinion }) => opinion?.emotion ?? [])
    return new OpinionAdviser(this.params).advise(opinions, memories.length - opinions.length)
  }
}

await runTask(UtteranceEmotion, {
  name: 'utterance-emotion',
  flags: Flags,
  answers: emotionAnswers,
})
