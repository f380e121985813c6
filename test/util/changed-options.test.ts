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
  expect(changed({ cache: '/a/b c' })).toBe('--cache "b c"')
})

test('where things are stays on this machine', () => {
  const options = { cache: '/home/me/answers', scenario: '../secret/faults.json', wandbDir: '/home/me/wandb' }
  expect(changed(options)).toBe('--scenario faults.json --wandb-dir wandb --cache answers')
  expect(changed({ clientBaseUrl: 'https://gateway.example/t0ken/v1?key=t0ken' })).toBe(
    '--client-base-url https://gateway.example',
  )
})
