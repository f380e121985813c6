/**
 * A task whose history goes to W&B, with a sender that does not keep anybody waiting for long.
 *
 *     --sentences N    how many requests; the answers are an emulator's (`--emulator`)
 *     --post-lines N   lines in one post to W&B, at most
 *     --broken         its hook throws at the first reply
 *     --hold-commit N  commit N says "in a commit" and waits for a SIGINT before it is made durable
 */
import { once } from 'node:events'
import corpus from 'nlp-corpus'
import { z } from 'zod'
import { accept, runTask, TaskManager, type TaskRequest, type TaskResponse } from '../../src/index.ts'
import { wandbSender } from '../../src/progress/wandb/open-sender.ts'
import { type FileSystem, nodeFileSystem, type OpenFile } from '../../src/state/file-system.ts'
import type { TaskManagerOptions } from '../../src/task/task-manager.ts'
import { QUICK } from './wandb-rig.ts'

const Flags = z.object({
  sentences: z.int().default(100),
  postLines: z.int().optional(),
  broken: z.boolean().default(false),
  holdCommit: z.int().default(0),
})

const Label = z.object({ topic: z.string() })

class Topics extends TaskManager<z.infer<typeof Label>> {
  declare readonly flags: z.infer<typeof Flags>
  override answerSchema = Label

  constructor(options: TaskManagerOptions) {
    const { holdCommit, postLines } = Flags.parse(options.flags)
    const openSender = wandbSender({ timing: { ...QUICK, timeoutMs: 400 }, postLines })
    super({ ...options, openSender, ...(holdCommit > 0 && { fs: heldFileSystem(holdCommit) }) })
  }

  *generateRequests(): Iterable<TaskRequest> {
    for (const [index, sentence] of corpus.some(this.flags.sentences).entries()) {
      const messages = [{ role: 'user' as const, content: sentence }]
      yield {
        key: `secret-key-${index}`,
        body: { model: 'gpt-5-nano', max_completion_tokens: 2000, messages },
      }
    }
  }

  processResponse({ answer }: TaskResponse<z.infer<typeof Label>>) {
    if (this.flags.broken) throw new Error('broken as asked for')
    return accept(answer)
  }
}

/** The real disk, but one fsync of the ledger waits for a SIGINT. */
function heldFileSystem(holdCommit: number): FileSystem {
  let commits = 0
  const held = (file: OpenFile): OpenFile => ({
    read: (into, position) => file.read(into, position),
    append: (bytes) => file.append(bytes),
    truncate: (length) => file.truncate(length),
    sync: async () => {
      if (++commits === holdCommit) {
        const interrupted = once(process, 'SIGINT')
        // Only a timer keeps a process alive that waits for a signal.
        const timer = setInterval(() => undefined, 1000)
        process.stderr.write('in a commit\n')
        await interrupted
        clearInterval(timer)
      }
      await file.sync()
    },
    size: () => file.size(),
    close: () => file.close(),
  })
  return {
    ...nodeFileSystem,
    open: async (path, mode) => {
      const file = await nodeFileSystem.open(path, mode)
      return path.endsWith('_ledger.jsonl') && mode === 'append' ? held(file) : file
    },
  }
}

await runTask(Topics, { name: 'topics', flags: Flags })
