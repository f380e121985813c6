import fc from 'fast-check'
import { expect, test } from 'vitest'
import { budgetOf, roomNanoUsd } from '../../src/batch/budget.ts'
import type { QueueFile } from '../../src/batch/queue-file.ts'
import type { Stray } from '../../src/batch/stray.ts'
import { initialState, type TaskState } from '../../src/batch/task-state.ts'
import { PHASES, queueFile, queueFiles } from '../support/queue-files.ts'

/** Where nothing of the file is at the server, or on its way there, or to be charged any more. */
const FREE_PHASES = ['open', 'sealed', 'received', 'filling', 'reused']

const strays = fc.array(
  fc.record({
    phase: fc.constantFrom('live', 'ended', 'received', 'settled'),
    reserved: fc.option(fc.nat(9000), { nil: undefined }),
  }),
  { maxLength: 5 },
)

function stray(phase: Stray['phase'], place: number, reserved: number | undefined): Stray {
  const common = { batchId: `b${place}`, tag: `t${place}`, file: 1, place }
  const base = { ...common, ...(reserved !== undefined && { reserved }) }
  return phase === 'ended' ? { ...base, phase, status: 'cancelled' } : { ...base, phase }
}

const states = fc
  .record({ files: queueFiles(), strays, costNanoUsd: fc.nat(9000), uncertainNanoUsd: fc.nat(9000) })
  .map(
    ({ files, strays: list, ...money }): TaskState => ({
      ...initialState,
      spending: { ...initialState.spending, ...money },
      files: new Map(files.map((file) => [file.id, file])),
      strays: new Map(list.map(({ phase, reserved }, at) => [`b${at}`, stray(phase, at, reserved)])),
    }),
  )

const sum = (list: Iterable<{ readonly reserved?: number }>) =>
  [...list].reduce((total, { reserved = 0 }) => total + reserved, 0)

test('what is spent, lost and reserved is told apart, and only what may still be charged is reserved', () => {
  fc.assert(
    fc.property(states, (state) => {
      const files = [...state.files.values()].filter(({ phase }) => !FREE_PHASES.includes(phase))
      const going = [...state.strays.values()].filter(({ phase }) => phase === 'live' || phase === 'ended')
      expect(budgetOf(state)).toEqual({
        spentNanoUsd: state.spending.costNanoUsd,
        uncertainNanoUsd: state.spending.uncertainNanoUsd,
        reservedNanoUsd: sum(files) + sum(going),
      })
    }),
  )
})

test('every phase is one that can lead to a charge, or one that cannot', () => {
  const files = (phase: QueueFile['phase']) => new Map([[1, queueFile(phase, { reserved: 50 })]])
  const charging = PHASES.filter(
    (phase) => budgetOf({ ...initialState, files: files(phase) }).reservedNanoUsd > 0,
  )
  expect(charging).toEqual(['intended', 'uploaded', 'doubtful', 'fenced', 'remote', 'ended', 'direct'])
})

test('the room is what all three leave of the cap: never below 0, and without end when there is no cap', () => {
  fc.assert(
    fc.property(states, fc.nat(60_000), (state, cap) => {
      const { spentNanoUsd, uncertainNanoUsd, reservedNanoUsd } = budgetOf(state)
      const taken = spentNanoUsd + uncertainNanoUsd + reservedNanoUsd
      expect(roomNanoUsd(state, cap)).toBe(taken > cap ? 0 : cap - taken)
      expect(roomNanoUsd(state, undefined)).toBe(Number.POSITIVE_INFINITY)
    }),
  )
})
