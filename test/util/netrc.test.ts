import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { keyFrom } from '../../src/progress/wandb/find-key.ts'
import { parseNetrc } from '../../src/util/netrc.ts'

const KEY = 'a'.repeat(40)
const keyIn = (text: string, url = 'https://api.wandb.ai') => keyFrom(text, url)?.reveal()

describe('a netrc file', () => {
  test('has entries by machine, in one line or over several', () => {
    const { machines } = parseNetrc(
      'machine a login one password two account three\nmachine b\n  login x\n\tpassword y\r\n',
    )
    expect(machines.get('a')).toEqual({ login: 'one', password: 'two', account: 'three' })
    expect(machines.get('b')).toEqual({ login: 'x', password: 'y' })
  })

  test('may have # in values, and comments where a keyword is due', () => {
    const { machines } = parseNetrc(
      '# machine c password no\nmachine a password #one#two # machine d password no\n#machine e\nmachine b password p#q\n',
    )
    expect([...machines]).toEqual([
      ['a', { password: '#one#two' }],
      ['b', { password: 'p#q' }],
    ])
  })

  test('may have quoted and escaped values', () => {
    const { machines } = parseNetrc('machine "a b" password "one \\"two\\" #" login l\\ m')
    expect(machines.get('a b')).toEqual({ password: 'one "two" #', login: 'l m' })
  })

  test('passes over macros, words it does not know, and what comes before any machine', () => {
    const { machines } = parseNetrc(
      'password lost\nmacdef init\nmachine x password y\ncd /tmp\n\nmachine a strange password p\n',
    )
    expect([...machines]).toEqual([['a', { password: 'p' }]])
  })

  test('is read, whatever is in it', () => {
    const words = fc.constantFrom(
      'machine',
      'default',
      'login',
      'password',
      'macdef',
      '#',
      '"',
      '\\',
      '\n',
      ' ',
      'a',
    )
    fc.assert(
      fc.property(
        fc.array(words).map((all) => all.join('')),
        (text) => void parseNetrc(text),
      ),
    )
    fc.assert(fc.property(fc.string(), (text) => void parseNetrc(text)))
  })

  test('gives back any password that was written in quotes', () => {
    const quoted = (text: string) => `"${text.replaceAll(/["\\]/g, '\\$&')}"`
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), (machine, password) => {
        const text = `default password other\nmachine ${quoted(machine)} login user\n  password ${quoted(password)}\n`
        expect(parseNetrc(text).machines.get(machine)).toEqual({ login: 'user', password })
      }),
    )
  })
})

describe('the key for W&B', () => {
  test('is the password of the host, with its port or without', () => {
    expect(keyIn(`machine api.wandb.ai login user password ${KEY}`)).toBe(KEY)
    expect(keyIn('machine localhost:8080 password one', 'http://localhost:8080')).toBe('one')
    expect(keyIn('machine localhost password two', 'http://localhost:8080')).toBe('two')
    expect(keyIn('machine localhost:9 password one', 'http://localhost:8080')).toBeUndefined()
    expect(keyIn('machine wandb.ai password one')).toBeUndefined()
    expect(keyIn('machine api.wandb.ai login user')).toBeUndefined()
  })

  test('is the default one only if it has the form of such a key', () => {
    expect(keyIn(`default login user password ${KEY}`)).toBe(KEY)
    expect(keyIn(`default login user password local-${KEY}`)).toBe(`local-${KEY}`)
    expect(keyIn('default login anonymous password me@example.org')).toBeUndefined()
  })
})
