import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { nextSubmitAction, type SubmitFacts } from '../../src/batch/submit.ts'
import { PHASES, queueFile, queueFiles } from '../support/queue-files.ts'
import {
  actionOf,
  type Batch,
  type Bounds,
  besides,
  explore,
  fileOf,
  firstWorld,
  nameOf,
  outcomes,
  type Protocol,
  successors,
  surroundings,
  type World,
} from '../support/submit-world.ts'

/** For tests that go through every world: how long they may take on a busy machine. */
const LONG_MS = 60_000

const PUNCTUAL = { isPunctual: true }
const LAGGING = { isPunctual: false }

/** Everything can happen to creates, and everything to uploads; both together are left to the random walks. */
const CREATES: Bounds = { mostTags: 2, mostUploads: 2, mostDoubts: 0 }
const UPLOADS: Bounds = { mostTags: 1, mostUploads: 3, mostDoubts: 2 }

const punctual = [CREATES, UPLOADS].flatMap((bounds) => explore(nextSubmitAction, bounds))
const lagging = [CREATES, UPLOADS].flatMap((bounds) =>
  explore(nextSubmitAction, { ...bounds, server: LAGGING }),
)
const worlds = [...new Map([...punctual, ...lagging].map((world) => [nameOf(world), world])).values()]

const isAtWork = ({ status }: Batch): boolean => status === 'live'
/** Batches the server works on, or has begun to. */
const workOf = ({ batches, taken }: World): Batch[] => [...batches, ...taken].filter(isAtWork)
const hasTwo = (world: World): boolean => workOf(world).length > 1
const idOf = ({ tag }: Batch): string => `batch of ${tag}`

const isIdle = (world: World, mayStart: boolean): boolean =>
  actionOf(world, nextSubmitAction, mayStart).do === 'nothing'

/** The batch is that of the attempt the file is at, or the process knows of it, or knows that it may turn up. */
function isAccountedFor(batch: Batch, world: World): boolean {
  const file = fileOf(world)
  const { atLarge, strays } = world.state
  return ('tag' in file && file.tag === batch.tag) || atLarge.has(batch.tag) || strays.has(idOf(batch))
}

describe('any interleaving of lost answers, late messages and crashes', () => {
  test('is explored: thousands of worlds, with every phase of the protocol in them', () => {
    expect(worlds.length).toBeGreaterThan(20_000)
    const phases = new Set(worlds.map((world) => fileOf(world).phase))
    expect([...phases].sort()).toEqual(['doubtful', 'fenced', 'intended', 'remote', 'sealed', 'uploaded'])
    const strays = new Set(
      worlds.flatMap(({ state }) => [...state.strays.values()].map(({ phase }) => phase)),
    )
    expect([...strays].sort()).toEqual(['ended', 'live', 'received', 'settled'])
    expect(worlds.some(({ tags }) => tags === CREATES.mostTags)).toBe(true)
    expect(worlds.some(({ doubts }) => doubts === UPLOADS.mostDoubts)).toBe(true)
    expect(lagging.some(hasTwo)).toBe(true)
  })

  test('never leads to two batches of one file at a server that shows what it took up within the grace', () => {
    expect(punctual.filter(hasTwo)).toEqual([])
  })

  test('never leaves a batch that the process neither knows nor waits for', () => {
    const isLost = (world: World) => !workOf(world).every((batch) => isAccountedFor(batch, world))
    expect(worlds.filter(isLost)).toEqual([])
  })

  test('never sends a second create under one tag', () => {
    const repeated = worlds.filter(({ creates }) => new Set(creates).size < creates.length)
    expect(repeated).toEqual([])
  })

  test('never takes a batch for the file that is not the one the server has', () => {
    for (const world of punctual) {
      const file = fileOf(world)
      if (file.phase !== 'remote') continue
      const own = world.batches.filter((batch) => idOf(batch) === file.batchId)
      expect(own).toMatchObject([{ tag: file.tag, input: file.inputFileId }])
    }
  })

  test('never deletes the input of an attempt that is going on', () => {
    const isRobbed = (world: World) => {
      const file = fileOf(world)
      return file.phase === 'uploaded' && world.state.litter.has(file.inputFileId)
    }
    expect(worlds.filter(isRobbed)).toEqual([])
  })

  test('never leaves a file without something to do while its batch is unknown', () => {
    const isStuck = (world: World) => {
      const { phase } = fileOf(world)
      if (phase === 'sealed') return besides(world).next().done && isIdle(world, true)
      return isIdle(world, true) !== (phase === 'remote')
    }
    expect(worlds.filter(isStuck)).toEqual([])
  })

  test('always settles its open questions, also when nothing new may be begun', () => {
    const isClosed = (world: World) => ['remote', 'sealed'].includes(fileOf(world).phase)
    expect(worlds.filter((world) => isIdle(world, false) !== isClosed(world))).toEqual([])
  })

  test.each([
    ['late messages arrive before anything else', true],
    ['late messages are lost', false],
  ])(
    'ends with one batch, strays cancelled and taken, and no file unused, as soon as the server answers again, when %s',
    (_, delivered) => {
      const ends = worlds.map((world) => calmEnd(world, nextSubmitAction, delivered))
      const flawed = ends.filter((world) => flawsOf(world).length > 0)
      expect(flawed.slice(0, 5).map(flawsOf)).toEqual([])
    },
    LONG_MS,
  )

  test('does all this on random ways with many attempts, too', () => {
    const ways = fc.array(fc.nat(1_000_000), { maxLength: 120, size: 'max' })
    fc.assert(
      fc.property(ways, fc.boolean(), fc.boolean(), (picks, isPunctual, delivered) => {
        let world = firstWorld()
        for (const pick of picks) {
          const next = [...successors(world, nextSubmitAction, isPunctual ? PUNCTUAL : LAGGING)]
          world = next[pick % next.length] ?? world
          if (isPunctual) expect(hasTwo(world)).toBe(false)
          for (const batch of workOf(world)) expect(isAccountedFor(batch, world)).toBe(true)
        }
        expect(flawsOf(calmEnd(world, nextSubmitAction, delivered))).toEqual([])
      }),
      { numRuns: 400 },
    )
  })
})

/** What is not as it should be when all has come to rest. */
function flawsOf(world: World): string[] {
  const file = fileOf(world)
  const { strays, litter, uploadDoubts } = world.state
  const { batchId: own, inputFileId: input } = file.phase === 'remote' ? file : {}
  const work = workOf(world).map(idOf)
  const loose = world.batches.filter(
    (batch) => batch.status === 'cancelled' && strays.get(idOf(batch))?.phase !== 'settled',
  )
  const unused = world.files.filter(({ id, deleted }) => !deleted && id !== input)
  const flaws: readonly (readonly [string, boolean])[] = [
    [`the file is ${file.phase}`, file.phase !== 'remote'],
    [`its batch is ${own}, and at work are ${work}`, work.length !== 1 || work[0] !== own],
    ['a stray was cancelled and not taken', loose.length > 0],
    ['a file is left that nothing uses', unused.length > 0],
    ['something is left to be deleted', litter.size > 0],
    ['an upload is still in doubt', uploadDoubts.size > 0],
  ]
  return flaws.filter(([, isThere]) => isThere).map(([flaw]) => flaw)
}

/** Where a world gets when from now on every call is answered: the first outcome of each action is the good one. */
function calmEnd(start: World, protocol: Protocol, delivered: boolean): World {
  let world = settled(delivered ? start : { ...start, lateCreates: [], lateUploads: [] })
  for (let turns = 0; turns < 60; turns++) {
    const [sent] = outcomes(world, actionOf(world, protocol, true), PUNCTUAL)
    const [other] = sent ? [] : besides(world)
    const next = sent ?? other
    if (!next) return world
    world = settled(next)
  }
  throw new Error('it goes on for ever')
}

/** Everything that is on its way has arrived. */
function settled(world: World): World {
  const [next] = surroundings({ ...world, resumed: true })
  return next ? settled({ ...next, resumed: world.resumed }) : world
}

describe('the exploration finds what is wrong with a protocol that', () => {
  const twisted = (twist: Protocol, mostTags = 2): World[] => explore(twist, { ...CREATES, mostTags })

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

  test('forgets after a crash that an upload may be there', () => {
    const forgetful: Protocol = (file, facts) =>
      nextSubmitAction(file, { ...facts, resumed: file.phase === 'intended' ? false : facts.resumed })
    const ends = explore(forgetful, UPLOADS).map((world) => calmEnd(world, forgetful, true))
    expect(ends.some(({ files }) => files.filter(({ deleted }) => !deleted).length > 1)).toBe(true)
  })
})

const factSets = fc.record<SubmitFacts>({
  mayStart: fc.boolean(),
  mustShrink: fc.boolean(),
  mayCarve: fc.boolean(),
  resumed: fc.boolean(),
  uploadInDoubt: fc.boolean(),
  uploadAbsent: fc.boolean(),
  batchAbsent: fc.boolean(),
  graceWaited: fc.boolean(),
  nowMs: fc.integer({ min: -1e6, max: 1e6 }),
  graceMs: fc.nat(100_000),
})
const facts: SubmitFacts = {
  mayStart: true,
  mustShrink: false,
  mayCarve: false,
  resumed: false,
  uploadInDoubt: false,
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

describe('a sealed file', () => {
  const sealedFiles = queueFiles(['sealed'])

  test('that will never be allowed as it is is queued anew in smaller ones, whatever else is known', () => {
    fc.assert(
      fc.property(sealedFiles, factSets, (files, known) => {
        for (const file of files)
          expect(nextSubmitAction(file, { ...known, mustShrink: true })).toEqual({ do: 'requeue' })
      }),
    )
  })

  test('that the hard cap has room for only in part is carved, if anything of it is left', () => {
    fc.assert(
      fc.property(sealedFiles, factSets, (files, known) => {
        for (const file of files) {
          const action = nextSubmitAction(file, { ...known, mustShrink: false, mayCarve: true })
          expect(action).toEqual({ do: file.live === 0 ? 'requeue' : 'carve' })
        }
      }),
    )
  })

  test('is intended whole or not at all', () => {
    fc.assert(
      fc.property(sealedFiles, factSets, (files, known) => {
        for (const file of files) {
          if (nextSubmitAction(file, known).do !== 'intend') continue
          expect(known).toMatchObject({ mayStart: true, mustShrink: false, mayCarve: false })
          expect(file.live).toBe(file.requests)
          expect(file.live).toBeGreaterThan(0)
        }
      }),
    )
  })
})

test('only a sealed file is shrunk or carved', () => {
  fc.assert(
    fc.property(queueFiles(), factSets, (files, known) => {
      for (const file of files) {
        const { do: what } = nextSubmitAction(file, known)
        if (what === 'carve' || what === 'requeue') expect(file.phase).toBe('sealed')
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
    filling: 'nothing',
    reused: 'nothing',
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
