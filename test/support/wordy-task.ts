import { accept } from '../../src/batch/verdict.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'

export const WORDY_MODEL = 'gpt-5-mini'

/**
 * A prompt that begins with its key, of so many tokens as the emulator counts them: 4 bytes each. By a real count short
 * words make about a third more of it, long ones a third less.
 */
function prompt(key: string, tokens: number, words: string): string {
  const bytes = tokens * 4
  return `${key} ${words.repeat(Math.ceil(bytes / words.length))}`.slice(0, bytes)
}

/** A task of so many requests, `k-0` and so on, of so many tokens each. */
export function wordyTask(count: number, tokens: number, words = 'is it ok ') {
  return class Wordy extends TaskManager {
    *generateRequests() {
      for (let index = 0; index < count; index++) {
        const key = `k-${index}`
        const content = prompt(key, tokens, words)
        yield { key, body: { model: WORDY_MODEL, messages: [{ role: 'user' as const, content }] } }
      }
    }

    processResponse({ key }: TaskResponse) {
      return accept(key)
    }
  }
}
