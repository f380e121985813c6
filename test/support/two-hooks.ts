import { accept, runTask, TaskManager, type TaskRequest, type TaskResponse } from 'nightshift'
import { z } from 'zod'

const texts = ['I won!', 'Leave me alone.', 'The train leaves at nine.']

const Emotion = z.object({ emotion: z.enum(['joy', 'anger', 'neutral']) })
type Emotion = z.infer<typeof Emotion>

export class EmotionTask extends TaskManager<Emotion> {
  override answerSchema = Emotion;

  *generateRequests(): Iterable<TaskRequest> {
    for (const [index, text] of texts.entries())
      yield {
        key: `text-${index}`,
        body: { model: 'gpt-5-mini', messages: [{ role: 'user', content: text }] },
      }
  }

  processResponse({ key, answer }: TaskResponse<Emotion>) {
    return accept({ key, ...answer })
  }
}

await runTask(EmotionTask, { name: 'emotions' }) // flags, signals, exit code
