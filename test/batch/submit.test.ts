import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { nextSubmitAction, type SubmitFacts } from '../../src/batch/submit.ts'
import { PHASES, queueFile, queueFiles } from '../support/queue-files.ts'
import {
  actionOf,
  explore,
  outcomes,
  type Protocol,
  surroundings,
  type World,
} from '../support/submit-world.ts'

const MOST_TAGS = 3
const worlds = explore(nextSubmitAction, MOST_TAGS)

/** Batches the server works on, or has begun to. */
const batchesOf = ({ batches, taken }: World) => [...batches, ...taken]
const hasTwo = (world: World): boolean => batchesOf(world).length > 1

describe('any interleaving of lost answers, late messages and crashes', () => {
  test('is explored: thousands of worlds, with every phase of the protocol in them', () => {
    expect(worlds.length).toBeGreaterThan(3000)
    const phases = new Set(worlds.map(({ file }) => file.phase))
    expect([...phases].sort()).toEqual(['doubtful', 'fenced', 'intended', 'remote', 'sealed', 'uploaded'])
    expect(worlds.some(({ batches, file }) => batches.length === 1 && file.phase === 'fenced')).toBe(true)
    expect(worlds.some(({ tags }) => tags === MOST_TAGS)).toBe(true)
  })

  test('never leads to two batches of one file', () => {
    expect(worlds.filter(hasTwo)).toEqual([])
  })

  test('never sends a second create under one tag', () => {
    const repeated = worlds.filter(({ creates }) => new Set(creates).size < creates.length)
    expect(repeated).toEqual([])
  })

  test('never takes a batch for the file that is not the one the server has', () => {
    for (const { file, batches } of worlds) {
      if (file.phase !== 'remote') continue
      expect(batches.map(({ tag }) => `batch of ${tag}`)).toEqual([file.batchId])
    }
  })

  test('never leaves a file without something to do while its batch is unknown', () => {
    for (const world of worlds) {
      const idle = actionOf(world, nextSubmitAction, true).do === 'nothing'
      expect(idle).toBe(world.file.phase === 'remote')
    }
  })

  test('always settles its open questions, also when nothing new may be begun', () => {
    for (const world of worlds) {
      const idle = actionOf(world, nextSubmitAction, false).do === 'nothing'
      expect(idle).toBe(world.file.phase === 'remote' || world.file.phase === 'sealed')
    }
  })

  test.each([
    ['late messages arrive before anything else', true],
    ['late messages are lost', false],
  ])('ends with a batch as soon as the server answers again, when %s', (_, delivered) => {
    for (const world of worlds) {
      const { file, batches } = calmEnd(world, delivered)
      expect([file.phase, batches.length]).toEqual(['remote', 1])
    }
  })
})

/** Where a world gets when from now on every call is answered: the first outcome of each action is the good one. */
function calmEnd(start: World, delivered: boolean): World {
  let world = delivered ? settled(start) : { ...start, lateCreates: [], lateUploads: [] }
  for (let actions = 0; actions < 20 && world.file.phase !== 'remote'; actions++) {
    const [next] = outcomes(world, actionOf(world, nextSubmitAction, true))
    if (!next) break
    world = next
  }
  return world
}

/** Everything that is on its way has arrived. */
function settled(world: World): World {
  const moving = [...surroundings({ ...world, resumed: true })]
  const [next] = moving
  return next ? settled({ ...next, resumed: world.resumed }) : world
}

describe('the exploration finds what is wrong with a protocol that', () => {
  const twisted = (twist: Protocol, mostTags = 2): World[] => explore(twist, mostTags)

  test('begins anew without a fence', () => {
    const hasty: Protocol = (file, facts) =>
      file.phase === 'fenced' && !facts.batchAbsent ? { do: 'abandon' } : nextSubmitAction(file, facts)
    expect(twisted(hasty).some(hasTwo)).toBe(true)
  })

  test('looks for the batch without waiting for the grace to end', () => {
    const hasty: Protocol = (file, facts) => nextSubmitAction(file, { ...facts, graceMs: 0 })
    expect(twisted(hasty).some(hasTwo)).toBe(true)
  })

  test('believes one search and deletes no input file', () => {
    const trusting: Protocol = (file, facts) => {
      const action = nextSubmitAction(file, facts)
      return action.do === 'delete-input' ? { do: 'abandon' } : action
    }
    expect(twisted(trusting).some(hasTwo)).toBe(true)
  })

  test('creates again after a crash', () => {
    const forgetful: Protocol = (file, facts) =>
      nextSubmitAction(file, { ...facts, resumed: file.phase === 'uploaded' ? false : facts.resumed })
    const found = twisted(forgetful, 1)
    expect(found.some(hasTwo)).toBe(true)
    expect(found.some(({ creates }) => new Set(creates).size < creates.length)).toBe(true)
  })
})

const factSets = fc.record<SubmitFacts>({
  mayStart: fc.boolean(),
  resumed: fc.boolean(),
  uploadAbsent: fc.boolean(),
  batchAbsent: fc.boolean(),
  graceWaited: fc.boolean(),
  nowMs: fc.integer({ min: -1e6, max: 1e6 }),
  graceMs: fc.nat(100_000),
})
const facts: SubmitFacts = {
  mayStart: true,
  resumed: false,
  uploadAbsent: false,
  batchAbsent: false,
  graceWaited: false,
  nowMs: 0,
  graceMs: 1000,
}

test('a file outside the protocol is left alone, whatever is known', () => {
  fc.assert(
    fc.property(queueFiles(['open', 'direct', 'remote', 'ended', 'received']), factSets, (files, known) => {
      for (const file of files) expect(nextSubmitAction(file, known)).toEqual({ do: 'nothing' })
    }),
  )
})

test('nothing is intended or uploaded unless it may be started', () => {
  fc.assert(
    fc.property(queueFiles(), factSets, (files, known) => {
      for (const file of files) {
        const { do: what } = nextSubmitAction(file, known)
        if (what === 'intend' || what === 'upload') expect(known.mayStart).toBe(true)
      }
    }),
  )
})

test('every phase has its place in the protocol or outside of it', () => {
  const actions = PHASES.map((phase) => [phase, nextSubmitAction(queueFile(phase), facts).do])
  expect(Object.fromEntries(actions)).toEqual({
    open: 'nothing',
    sealed: 'intend',
    intended: 'upload',
    uploaded: 'create',
    doubtful: 'find-batch',
    fenced: 'wait',
    remote: 'nothing',
    ended: 'nothing',
    received: 'nothing',
    direct: 'nothing',
  })
})

describe('the grace after a fence', () => {
  const fenced = (fencedAt: number) =>
    ({ ...queueFile('fenced'), phase: 'fenced', tag: 't', inputFileId: 'f', fencedAt }) as const

  test('is waited for to its end', () => {
    fc.assert(
      fc.property(fc.nat(1e6), fc.nat(1e5), fc.nat(2e5), (fencedAt, graceMs, passed) => {
        const action = nextSubmitAction(fenced(fencedAt), { ...facts, nowMs: fencedAt + passed, graceMs })
        expect(action).toEqual(
          passed < graceMs ? { do: 'wait', untilMs: fencedAt + graceMs } : { do: 'find-batch' },
        )
      }),
    )
  })

  test('is waited for once and in whole when the clock was set back', () => {
    fc.assert(
      fc.property(fc.nat(1e6), fc.nat(1e5), fc.integer({ min: 1, max: 1e9 }), (fencedAt, graceMs, back) => {
        const nowMs = fencedAt - back
        const known = { ...facts, nowMs, graceMs: graceMs + 1 }
        expect(nextSubmitAction(fenced(fencedAt), known)).toEqual({
          do: 'wait',
          untilMs: nowMs + graceMs + 1,
        })
        const waited = { ...known, nowMs: nowMs + graceMs + 1, graceWaited: true }
        expect(nextSubmitAction(fenced(fencedAt), waited)).toEqual({ do: 'find-batch' })
      }),
    )
  })
})
