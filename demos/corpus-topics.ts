/**
 * Labels thousands of sentences with a topic and a sentiment, in several batches.
 *
 *     npx tsx demos/corpus-topics.ts --emulator --sentences 3000
 */
import {
  accept,
  type RunSummary,
  runTask,
  TaskManager,
  type TaskRequest,
  type TaskResponse,
} from 'nightshift'
import corpus from 'nlp-corpus'
import { z } from 'zod'
import { linesOf, tableOf } from './support/report.ts'
import { topicAnswers } from './support/topic-answers.ts'

const Label = z.object({
  topic: z.enum(['food', 'games', 'art', 'politics', 'nature', 'family', 'love', 'something else']),
  sentiment: z.enum(['positive', 'neutral', 'negative']),
})
type Label = z.infer<typeof Label>

const Line = Label.extend({ key: z.string() })

const Flags = z.object({
  sentences: z.int().min(1).max(100_000).default(3000).describe('How many sentences of the corpus to label'),
})

const INSTRUCTIONS = 'Say what the sentence is about, and whether it speaks well of it.'

class CorpusTopics extends TaskManager<Label> {
  declare readonly flags: z.infer<typeof Flags>
  override answerSchema = Label;

  *generateRequests(): Iterable<TaskRequest> {
    for (const [index, sentence] of corpus.some(this.flags.sentences).entries()) {
      const messages = [
        { role: 'system' as const, content: INSTRUCTIONS },
        { role: 'user' as const, content: sentence },
      ]
      yield { key: `sentence-${index}`, body: { model: 'gpt-5-nano', max_completion_tokens: 2000, messages } }
    }
  }

  processResponse({ key, answer }: TaskResponse<Label>) {
    return accept({ key, ...answer })
  }

  override async onFinish(summary: RunSummary) {
    const counts = new Map<string, number>()
    for await (const { topic, sentiment } of linesOf(summary.output, Line)) {
      for (const name of [topic, `${topic} ${sentiment}`]) counts.set(name, (counts.get(name) ?? 0) + 1)
    }
    console.log(table(counts))
    console.log(`\nLabels: ${summary.output.join(', ') || 'none yet'}`)
  }
}

/** Topics with the number of their sentences, the most frequent first. */
function table(counts: ReadonlyMap<string, number>): string {
  const count = (name: string): number => counts.get(name) ?? 0
  const { topic: topics, sentiment: sentiments } = Label.shape
  const sorted = topics.options.toSorted((a, b) => count(b) - count(a))
  const rows = sorted.map((topic) => [
    ...[topic, count(topic)],
    ...sentiments.options.map((sentiment) => count(`${topic} ${sentiment}`)),
  ])
  return `\n${tableOf([['topic', 'sentences', ...sentiments.options], ...rows], [14, 10])}`
}

await runTask(CorpusTopics, {
  name: 'corpus-topics',
  flags: Flags,
  options: { maxBatchRequests: 1000 },
  answers: topicAnswers,
})
