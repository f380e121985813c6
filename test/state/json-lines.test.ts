import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Line, readLineChunks, readLines, WindowReader } from '../../src/state/json-lines.ts'
import { PowerLossFs } from '../support/power-loss-fs.ts'

const fsWith = (content: string | Buffer) => new PowerLossFs(new Map([['/f', Buffer.from(content)]]))

async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const list: Item[] = []
  for await (const item of items) list.push(item)
  return list
}

const collect = async (content: string, chunkBytes?: number) =>
  all(readLines(fsWith(content), '/f', { chunkBytes }))

describe('lines', () => {
  test('only newlines end a line, and a return before one is no text', async () => {
    const lines = await collect('a\u2028b\r\n\n{"x":"\\r"}\nlast\r')
    expect(lines.map(({ text }) => text)).toEqual(['a\u2028b', '', '{"x":"\\r"}', 'last\r'])
    expect(lines.map(({ complete }) => complete)).toEqual([true, true, true, false])
  })

  test('lines do not depend on the size of the chunks', async () => {
    const content = fc.array(fc.string({ unit: 'binary' }), { maxLength: 20 })
    const same = async (parts: string[], chunkBytes: number) => {
      const whole = parts.join('\n')
      const bytes = Buffer.from(whole)
      const lines = await collect(whole, chunkBytes)
      for (const { text, offset, bytes: length, complete } of lines) {
        const raw = bytes.toString('utf8', offset, offset + length)
        expect(raw.replace(complete ? /\r?\n$/ : /$^/, '')).toBe(text)
      }
      expect(lines.reduce((sum, one) => sum + one.bytes, 0)).toBe(bytes.length)
      expect(
        lines.every((one, index) => one.offset + one.bytes === (lines[index + 1]?.offset ?? bytes.length)),
      ).toBe(true)
    }
    await fc.assert(fc.asyncProperty(content, fc.integer({ min: 1, max: 40 }), same))
  })

  test('a range is read alone', async () => {
    const range = { start: 2, end: 6, chunkBytes: 3 }
    const lines = await all(readLines(fsWith('a\nbb\nc\nd\n'), '/f', range))
    expect(lines).toEqual([
      { text: 'bb', offset: 2, bytes: 3, complete: true },
      { text: 'c', offset: 5, bytes: 1, complete: false },
    ])
  })

  test('chunks hold many lines', async () => {
    const chunks: (readonly Line[])[] = await all(readLineChunks(fsWith('line\n'.repeat(10_000)), '/f'))
    expect(chunks.map((lines) => lines.length)).toEqual([10_000])
  })

  test('an empty file has no lines', async () => {
    expect(await collect('')).toEqual([])
  })
})

describe('the window', () => {
  test('reads any piece, and a piece nearby without the disk', async () => {
    const content = Array.from({ length: 5000 }, (_, n) => `${n}`.padStart(9, '0')).join('\n')
    const reader = await WindowReader.open(fsWith(content), '/f', { windowBytes: 1000 })
    expect(await reader.read(4000, 9)).toBe('000000400')
    expect(reader.readNow(4010, 9)).toBe('000000401')
    expect(reader.readNow(3990, 9)).toBeUndefined()
    expect(await reader.read(0, 9)).toBe('000000000')
    expect(await reader.read(20_000, 9999)).toHaveLength(9999)
  })

  test('random reads agree with the file', async () => {
    const content = 'añb€'.repeat(500)
    const bytes = Buffer.from(content)
    const agree = async (reads: [number, number][]) => {
      const reader = await WindowReader.open(fsWith(content), '/f', { windowBytes: 64 })
      for (const [offset, length] of reads)
        expect(await reader.read(offset, length)).toBe(bytes.toString('utf8', offset, offset + length))
    }
    const read = fc.tuple(fc.nat(3000), fc.nat(200))
    await fc.assert(fc.asyncProperty(fc.array(read), agree), { numRuns: 50 })
  })

  test('announced pieces are read along, whatever their order', async () => {
    const content = Array.from({ length: 5000 }, (_, n) => `${n}`.padStart(9, '0')).join('\n')
    const piece = (n: number) => ({ offset: n * 10, bytes: 9 })
    const reader = await WindowReader.open(fsWith(content), '/f')
    const backwards = Array.from({ length: 1000 }, (_, n) => piece(3998 - n))
    expect(await reader.read(39_990, 9, [...backwards, piece(10)])).toBe('000003999')
    expect(reader.readNow(39_980, 9)).toBe('000003998')
    expect(reader.readNow(29_990, 9)).toBe('000002999')
    expect(reader.readNow(100, 9)).toBe('000000010')
    expect(reader.readNow(200, 9)).toBeUndefined()
  })

  test('no more than a window is read along', async () => {
    const reader = await WindowReader.open(fsWith('0123456789'.repeat(5000)), '/f', { windowBytes: 40 })
    const far = Array.from({ length: 9 }, (_, n) => ({ offset: n * 5000, bytes: 10 }))
    expect(await reader.read(45_000, 10, far)).toBe('0123456789')
    expect(reader.readNow(10_000, 10)).toBe('0123456789')
    expect(reader.readNow(15_000, 10)).toBeUndefined()
  })

  test('beyond the end is an error that names the file', async () => {
    const reader = await WindowReader.open(fsWith('short'), '/f')
    await expect(reader.read(3, 9)).rejects.toMatchObject({ code: 'read_beyond_end', name: 'StateError' })
  })
})
