import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type LedgerLine, LedgerReader, readLedger } from '../../src/state/ledger.ts'
import { encodeLine } from '../../src/state/ledger-line.ts'
import { LruCache } from '../../src/state/lru-cache.ts'
import { PowerLossFs } from '../support/power-loss-fs.ts'

const line = (seq: number, ...steps: unknown[]) =>
  encodeLine({ seq, at: 1000 + seq, files: { '_output.jsonl': seq }, gone: [], steps })

async function read(...pieces: readonly (Buffer | string)[]) {
  const ledger = Buffer.concat(pieces.map((piece) => Buffer.from(piece)))
  const lines: LedgerLine[] = []
  const fs = new PowerLossFs(new Map([['/ledger', ledger]]))
  const extent = await readLedger(fs, '/ledger', { onLine: (one) => lines.push(one) })
  return { lines, extent }
}

describe('reading', () => {
  test('gives back what was written, with places', async () => {
    const steps = fc.array(fc.array(fc.jsonValue(), { maxLength: 4 }), { maxLength: 8 })
    const roundTrip = async (groups: unknown[][]) => {
      const written = groups.map((group, index) => line(index + 1, ...group))
      const { lines, extent } = await read(...written)
      expect(JSON.stringify(lines.map((one) => one.steps))).toBe(JSON.stringify(groups))
      expect(lines.map(({ bytes }) => bytes)).toEqual(written.map(({ length }) => length))
      expect(extent).toEqual({ seq: groups.length, validBytes: Buffer.concat(written).length, tornBytes: 0 })
    }
    await fc.assert(fc.asyncProperty(steps, roundTrip))
  })

  test('any beginning of a ledger is a good ledger with a torn tail', async () => {
    const all = [line(1, 'ä'), line(2, { b: 2 }), line(3, '\u2028')]
    const whole = Buffer.concat(all)
    for (let cut = 0; cut <= whole.length; cut++) {
      const { extent } = await read(whole.subarray(0, cut))
      const ends = all.map((_, index) => Buffer.concat(all.slice(0, index + 1)).length)
      const good = ends.filter((end) => end <= cut)
      expect(extent).toEqual({
        seq: good.length,
        validBytes: good.at(-1) ?? 0,
        tornBytes: cut - (good.at(-1) ?? 0),
      })
    }
  })

  test('one changed byte is either a torn last line or reported as corruption', async () => {
    const all = [line(1, 'one'), line(2, 'two'), line(3, 'three')]
    const whole = Buffer.concat(all)
    const lastStart = whole.length - line(3, 'three').length
    for (let at = 0; at < whole.length; at++) {
      const damaged = Buffer.from(whole)
      damaged[at] = (damaged[at] ?? 0) ^ 0x15
      const reading = read(damaged)
      if (at >= lastStart)
        await expect(reading).resolves.toMatchObject({ extent: { seq: 2, validBytes: lastStart } })
      else if (at === lastStart - 1) await expect(reading).rejects.toThrow('glued')
      else await expect(reading).rejects.toMatchObject({ code: 'ledger_corrupt' })
    }
  })

  test.each([
    ['garbage', ['not json\nnot json either\n', '\0\0\0']],
    ['zeros', [Buffer.alloc(5000)]],
    ['an unfinished line', [line(3, 'x').subarray(0, -1)]],
  ])('a tail of %s is torn', async (_, tail) => {
    const good = [line(1, 'x'), line(2, 'y')]
    const { extent } = await read(...good, ...tail)
    expect(extent.seq).toBe(2)
    expect(extent.validBytes).toBe(Buffer.concat(good).length)
    expect(extent.tornBytes).toBeGreaterThan(0)
  })

  test.each([
    ['line 2', [line(1, 'x'), 'garbage\n', line(2, 'y')]],
    ['seq 3 where 2 must come', [line(1, 'x'), line(3, 'y')]],
    ['seq 1 where 2 must come', [line(1, 'x'), line(1, 'x')]],
    ['line 1', [line(2, 'x')]],
    ['no ledger', ['a\nb\n']],
  ])('corruption names the place: %s', async (place, pieces) => {
    await expect(read(...pieces)).rejects.toMatchObject({ name: 'StateError', code: 'ledger_corrupt' })
    await expect(read(...pieces)).rejects.toThrow(place)
  })

  test('goes on where an earlier reading ended', async () => {
    const first = line(1, 'x')
    const fs = new PowerLossFs(new Map([['/ledger', Buffer.concat([first, line(2, 'y')])]]))
    const seen: number[] = []
    const start = { seq: 1, offset: first.length }
    const extent = await readLedger(fs, '/ledger', { start, onLine: ({ seq }) => seen.push(seq) })
    expect([seen, extent.seq]).toEqual([[2], 2])
  })
})

test('single lines are fetched by offset, whatever their size', async () => {
  const all = [line(1, 'x'), line(2, 'y'.repeat(300_000)), line(3, 'z')]
  const fs = new PowerLossFs(new Map([['/ledger', Buffer.concat(all)]]))
  const reader = new LedgerReader(await fs.open('/ledger', 'read'), '/ledger', { cacheBytes: 1000 })
  const offset = Buffer.concat(all.slice(0, 2)).length
  expect(await reader.readLineAt(offset)).toMatchObject({ seq: 3, steps: ['z'], offset })
  expect(await reader.readLineAt(offset)).toMatchObject({ seq: 3 })
  expect((await reader.readLineAt(all[0]?.length ?? 0)).bytes).toBe(all[1]?.length)
  await expect(reader.readLineAt(5)).rejects.toMatchObject({ code: 'ledger_corrupt' })
})

test('the cache never weighs more than its limit and forgets what was used longest ago', () => {
  const cache = new LruCache<string, number>(10)
  for (const [key, weight] of Object.entries({ a: 4, b: 4, huge: 11 })) cache.set(key, weight, weight)
  expect(cache.get('a')).toBe(4)
  cache.set('c', 4, 4)
  expect([cache.get('a'), cache.get('b'), cache.get('c'), cache.get('huge')]).toEqual([
    4,
    undefined,
    4,
    undefined,
  ])
  expect(cache.weight).toBe(8)
})
