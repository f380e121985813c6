import { z } from 'zod'
import { accept } from '../../src/batch/verdict.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'

const Answer = z.object({ answer: z.string() })

/** `k-01` to `k-12`. */
export const KEYS: readonly string[] = Array.from(
  { length: 12 },
  (_, index) => `k-${String(index + 1).padStart(2, '0')}`,
)

/** The one right answer, by a server of the tests. */
export const answerTo = (key: string): string => `about ${key}`

/** The key that a text speaks of; empty when it speaks of none. */
export const keyIn = (text: string): string => /k-\d\d/.exec(text)?.[0] ?? ''

/** Twelve requests, each of which wants an answer of its own. */
export class Twelve extends TaskManager<z.output<typeof Answer>> {
  override answerSchema = Answer;

  *generateRequests() {
    for (const key of KEYS) {
      const content = `What about ${key}?`
      yield { key, body: { model: 'gpt-5-mini', messages: [{ role: 'user' as const, content }] } }
    }
  }

  processResponse({ key, answer }: TaskResponse<z.output<typeof Answer>>) {
    return accept({ key, answer: answer.answer })
  }
}

/** The same, for the flex tier: only for direct calls. */
export class TwelveByFlex extends Twelve {
  override *generateRequests() {
    for (const { key, body } of super.generateRequests())
      yield { key, body: { ...body, service_tier: 'flex' as const } }
  }
}
