import { existsSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

const IN_MEMORY = '/dev/shm'
const ROOM_BYTES = 2 ** 30

/** Tests sync thousands of small files: where the system has a folder in memory, with room, none of them waits for a disk. */
function quickFolder(): string {
  if (!existsSync(IN_MEMORY)) return tmpdir()
  const { bavail, bsize } = statfsSync(IN_MEMORY)
  return bavail * bsize >= ROOM_BYTES ? IN_MEMORY : tmpdir()
}

/** Those that take longest, as a clean clone cannot know: one that starts last would keep a processor idle at the end. */
const LONG =
  /\/(e2e\/|faults\/|seeds\/|docker\.|gateway\/(store\/histories|engine\/(postgres|crashes|faults)|http\/sdk)\.|cli\/(main|report)|requester\/(stops|governor|deadline|hard-cap|power-loss|reuse-power-loss|quota-board|versions)\.)/

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const isLong = ({ moduleId }: TestSpecification) => LONG.test(moduleId)
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))]
  }
}

export default defineConfig({
  test: {
    // No module has state, so files of one worker may share modules, which are costly to load.
    isolate: false,
    sequence: { sequencer: LongFirst },
    // Whatever a developer's machine has set: no test reaches the real Weights & Biases, or spends money.
    env: {
      TMPDIR: quickFolder(),
      WANDB_MODE: 'disabled',
      WANDB_API_KEY: '',
      WANDB_BASE_URL: 'http://127.0.0.1:9',
      NETRC: '/dev/null',
      OPENAI_API_KEY: '',
      OPENAI_ADMIN_KEY: '',
      OPENAI_BASE_URL: 'http://127.0.0.1:9/v1',
    },
  },
})
