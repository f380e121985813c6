import fc from 'fast-check'
import { expect, test } from 'vitest'
import { accept, reject, retry } from '../../src/batch/verdict.ts'

test('accept without anything accepts, writes nothing, remembers nothing and asks for no more', () => {
  expect(accept()).toEqual({ kind: 'accept', output: undefined, remember: undefined, more: false })
})

test('accept keeps any output, also null, 0, false and the empty text', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), fc.boolean(), (output, remember, more) => {
      expect(accept(output, { remember, more })).toEqual({ kind: 'accept', output, remember, more })
    }),
  )
})

test('reject keeps its reason and what is to be remembered', () => {
  expect(reject('no good')).toEqual({ kind: 'reject', reason: 'no good', remember: undefined, more: false })
  expect(reject('no good', { remember: 0, more: true })).toEqual({
    kind: 'reject',
    reason: 'no good',
    remember: 0,
    more: true,
  })
})

test('retry sends the same body unless another is given', () => {
  expect(retry('again')).toEqual({ kind: 'retry', reason: 'again', body: undefined })
  const body = { model: 'm', messages: [] }
  expect(retry('mended', { body })).toEqual({ kind: 'retry', reason: 'mended', body })
})
