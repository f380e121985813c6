import { expect, test } from 'vitest'
import { z } from 'zod'
import { type FileSystem, nodeFileSystem } from '../../src/state/file-system.ts'
import type { Fetch } from '../../src/util/fetch.ts'
import { historyLine, type WandbRig, wandbRig } from '../support/wandb-rig.ts'
import { WandbServer } from '../support/wandb-server.ts'

/** A network and a disk that do nothing more from the given moment on: so they are to a process that was killed. */
function endingAt(moment: number) {
  let moments = 0
  const ended = Promise.withResolvers<void>()
  const pass = async (): Promise<void> => {
    moments++
    if (moments < moment) return
    ended.resolve()
    await new Promise<never>(() => undefined)
  }
  const fetch: Fetch = async (input, init) => {
    await pass()
    const response = await globalThis.fetch(input, init)
    await pass()
    return response
  }
  const fs: FileSystem = {
    ...nodeFileSystem,
    rename: async (from, to) => {
      await pass()
      await nodeFileSystem.rename(from, to)
      await pass()
    },
  }
  return { fetch, fs, ended: ended.promise }
}

const POST_LINES = 2
const postSchema = z.object({
  files: z.object({ 'wandb-history.jsonl': z.object({ content: z.array(z.string()) }) }),
})

/** How many lines were sent in all. */
const sentLines = ({ calls }: WandbServer): number =>
  calls.reduce((sum, { kind, body }) => {
    const post = kind === 'stream' ? postSchema.safeParse(JSON.parse(body)) : undefined
    return sum + (post?.data?.files['wandb-history.jsonl'].content.length ?? 0)
  }, 0)

interface Case {
  /** What was there before the sender that is killed. */
  readonly before: (server: WandbServer, rig: WandbRig) => Promise<void>
  readonly runId?: string
  /** Lines of others in the run. */
  readonly others?: readonly string[]
}

const OTHERS = [historyLine(0), historyLine(40)]
const cases: Readonly<Record<string, Case>> = {
  'of a task that begins': { before: async () => undefined },
  'of a task that goes on': {
    before: async (_, rig) => {
      await rig.write(3)
      await rig.send(0)
    },
  },
  'in a run that others have written to': {
    before: async (server) => void server.add('mine', OTHERS),
    runId: 'mine',
    others: OTHERS,
  },
  'whose run was deleted': {
    before: async (server, rig) => {
      await rig.write(3)
      await rig.send(undefined)
      server.delete(server.run.id)
    },
  },
}

test.each(Object.entries(cases))(
  'a sender %s may be killed before and after everything it does',
  async (_, { before, runId, others = [] }) => {
    for (let moment = 1; ; moment++) {
      await using server = await WandbServer.start()
      await using rig = await wandbRig(server)
      const wishes = runId === undefined ? {} : { runId }
      await before(server, rig)
      await rig.write(4)
      const sentBefore = sentLines(server)
      const { fetch, fs, ended } = endingAt(moment)
      const killed = await rig.open({ fetch, fs, wishes, postLines: POST_LINES })
      killed.sender.durable(await killed.history.sync())
      killed.sender.end(3)
      const isOver = await Promise.race([killed.sender.run().then(() => true), ended.then(() => false)])

      // A sync, then one more run.
      expect(await rig.send(3, { wishes })).toMatchObject({ why: 'delivered' })
      expect(server.run, `moment ${moment}`).toMatchObject({ state: 'failed', exitCode: 3 })
      await rig.write(2)
      await rig.send(0, { wishes })
      expect(server.run, `moment ${moment}`).toMatchObject({ state: 'finished', exitCode: 0 })
      const { history } = server.run
      expect(history.slice(0, others.length)).toEqual(others)
      expect(history.slice(others.length).map(withoutStep)).toEqual((await rig.lines()).map(withoutStep))
      expect(server.violations).toEqual([])
      // Only the post that was under way is ever sent again.
      const isNew = server.runs.size > 1
      const due = isNew ? (await rig.lines()).length : (await rig.lines()).length - sentBefore
      expect(sentLines(server) - sentBefore - due, `moment ${moment}`).toBeLessThanOrEqual(POST_LINES)
      if (isOver) {
        expect(moment).toBeGreaterThan(15)
        break
      }
    }
  },
)

/** In a run of others our steps follow theirs. */
const withoutStep = (line: string): string => line.replace(/^\{"_step":\d+/, '')
