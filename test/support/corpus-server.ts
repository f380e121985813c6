/** The emulator for `demos/corpus-topics.ts`, as `startEmulator` (emulator-process.ts) starts it. */
import { chanceOf, lastMessage } from '../../demos/support/prompt.ts'
import { topicAnswers } from '../../demos/support/topic-answers.ts'
import { HARD_SHARE } from './emulator-process.ts'
import { serveOrders } from './emulator-server.ts'

/** The words of the demo's own model, but no usable answer to a hard sentence when it is asked for the first time. */
await serveOrders((request) => {
  const refuses = request.attempt === 0 && chanceOf(lastMessage(request.body)) < HARD_SHARE
  return refuses ? { topic: 'no idea' } : topicAnswers(request)
})
