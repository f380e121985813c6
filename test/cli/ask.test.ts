import { PassThrough } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { askYesNo } from '../../src/cli/ask.ts'

function asking() {
  const [input, output, abort] = [new PassThrough(), new PassThrough(), new AbortController()]
  const ask = () => askYesNo('Go on? ', { input, output, signal: abort.signal })
  return { input, output, abort, ask }
}

describe('a question', () => {
  test.each([
    ['y\n', true],
    [' YES \n', true],
    ['n\n', false],
    ['\n', false],
    ['yesterday\n', false],
  ])('is answered by %j: %s', async (line, answer) => {
    const { input, output, ask } = asking()
    const asked = ask()
    input.write(line)
    expect(await asked).toBe(answer)
    expect(output.read()?.toString()).toBe('Go on? ')
    expect(input.isPaused()).toBe(true)
  })

  test.each([
    ['an end of the input', ({ input }: ReturnType<typeof asking>) => input.end()],
    ['a terminal that went away', ({ input }: ReturnType<typeof asking>) => input.destroy(new Error('EIO'))],
    ['a signal', ({ abort }: ReturnType<typeof asking>) => abort.abort()],
  ])('is answered with no by %s, and the next line begins at the left', async (_, end) => {
    const rig = asking()
    const asked = rig.ask()
    end(rig)
    expect(await asked).toBe(false)
    expect(rig.output.read()?.toString()).toBe('Go on? \n')
  })

  test('is not asked after a signal', async () => {
    const { output, abort, ask } = asking()
    abort.abort()
    expect(await ask()).toBe(false)
    expect(output.read()).toBeNull()
  })
})
