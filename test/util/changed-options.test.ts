import { expect, test } from 'vitest'
import { changedOptions } from '../../src/util/changed-options.ts'
import { resolveOptions, type TaskOptions } from '../../src/util/options.ts'

const changed = (options: TaskOptions): string =>
  changedOptions(resolveOptions({ name: 'a', taskDir: 'elsewhere', ...options }, {}).options)

test('options that are as by default are not told', () => {
  expect(changed({})).toBe('')
  expect(changed({ run: true, maxRetries: 2 })).toBe('')
})

test('the others are, as flags', () => {
  expect(changed({ maxSpend: 5, run: false, forceDirect: true })).toBe(
    '--no-run --max-spend 5 --force-direct',
  )
  expect(changed({ cache: '/a/b c' })).toBe('--cache "/a/b c"')
})
