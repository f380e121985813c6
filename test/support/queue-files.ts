import fc from 'fast-check'
import type { Phase, QueueFile, QueueFileBase } from '../../src/batch/queue-file.ts'
import { tokensOf } from './valuation.ts'

export const PHASES: readonly Phase[] = [
  'open',
  'sealed',
  'intended',
  'uploaded',
  'doubtful',
  'fenced',
  'remote',
  'ended',
  'received',
  'direct',
  'filling',
  'reused',
]

/** A queue file in a phase, with plausible values for what that phase knows. */
export function queueFile(phase: Phase, base: Partial<QueueFileBase> = {}): QueueFile {
  const id = base.id ?? 1
  const common: QueueFileBase = {
    id,
    endpoint: '/v1/chat/completions',
    model: 'm',
    requests: 3,
    bytes: 300,
    live: 3,
    passed: 0,
    ...base,
  }
  const uploaded = { tag: `tag-${id}`, inputFileId: `file-${id}` }
  switch (phase) {
    case 'open':
    case 'sealed':
    case 'direct':
    case 'filling':
    case 'reused':
      return { ...common, phase }
    case 'intended':
      return { ...common, phase, tag: uploaded.tag }
    case 'uploaded':
    case 'doubtful':
      return { ...common, ...uploaded, phase }
    case 'fenced':
      return { ...common, ...uploaded, phase, fencedAt: 0 }
    case 'remote':
      return { ...common, ...uploaded, phase, batchId: `batch-${id}`, status: 'in_progress' }
    case 'ended':
    case 'received':
      return { ...common, ...uploaded, phase, batchId: `batch-${id}`, status: 'completed', faults: [] }
  }
}

/** Queue files in any phases, with ids from 1. */
export const queueFiles = (phases: readonly Phase[] = PHASES): fc.Arbitrary<QueueFile[]> => {
  const facts = fc.record({
    phase: fc.constantFrom(...phases),
    requests: fc.nat(20),
    bytes: fc.nat(2000),
    gone: fc.nat(20),
    input: fc.nat(2000),
    expectedNanoUsd: fc.option(fc.nat(5000), { nil: undefined }),
    reserved: fc.option(fc.nat(9000), { nil: undefined }),
  })
  return fc.array(facts, { maxLength: 8 }).map((list) =>
    list.map(({ phase, requests, bytes, gone, input, expectedNanoUsd, reserved }, index) =>
      queueFile(phase, {
        ...{ id: index + 1, requests, bytes, live: Math.max(0, requests - gone) },
        tokens: tokensOf(input, { requests }),
        ...(expectedNanoUsd !== undefined && { expectedNanoUsd }),
        ...(reserved !== undefined && { reserved }),
      }),
    ),
  )
}
