import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Html, html, jsonForScript, policyHash } from '../../../src/monitor/report/html.ts'
import { HOSTILE } from '../../support/report-tasks.ts'

const text = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom(...HOSTILE))

describe('html', () => {
  test('escapes all that is put into it, but for what is HTML already', () => {
    expect(html`<b title="${'"><i>'}">${['a', html`<br>`, 1, undefined, false, ['&', "'"]]}</b>`.text).toBe(
      '<b title="&quot;&gt;&lt;i&gt;">a<br>1&amp;&#39;</b>',
    )
    expect(html`${new Html('<p>')}`.text).toBe('<p>')
    expect(html`${'a\u0000b\u001b[31mc\u202ed\ne\tf'}`.text).toBe('a\\u0000b\\u001b[31mc\\u202ed\ne\tf')
  })

  test('never lets a text end its place', () => {
    fc.assert(
      fc.property(text, (hostile) => {
        const { text: page } = html`<p title="${hostile}">${hostile}</p>`
        expect(page.split('<')).toHaveLength(3)
        expect(page.split('"')).toHaveLength(3)
      }),
    )
  })
})

test('JSON in a script element is what it was, and neither ends it nor opens a comment', () => {
  fc.assert(
    fc.property(fc.dictionary(text, text), (value) => {
      const { text: json } = jsonForScript(value)
      expect(json).not.toMatch(/[<>&\u2028\u2029]/)
      expect(JSON.parse(json)).toEqual(JSON.parse(JSON.stringify(value)))
    }),
  )
})

test('a hash is as browsers compute it', () => {
  expect(policyHash('doSomething();')).toBe("'sha256-RFWPLDbv2BY+rCkDzsE+0fr8ylGr2R2faWMhq4lfEQc='")
})
