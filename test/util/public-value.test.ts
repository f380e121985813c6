import { expect, test } from 'vitest'
import { wandbConfig } from '../../src/progress/wandb/config.ts'
import { changedOptions } from '../../src/util/changed-options.ts'
import type { OptionTable } from '../../src/util/option-entry.ts'
import { schemaFacts } from '../../src/util/option-schema.ts'
import { optionTable } from '../../src/util/option-table.ts'
import { resolveOptions } from '../../src/util/options.ts'
import { publicValue } from '../../src/util/public-value.ts'

/** Texts that are told as they are, but for what has the form of a key: names and ids that people know each other by. */
const TOLD = new Set(['name', 'openaiOrganization', 'openaiProject', 'deadline'])
const TOLD_TO_WANDB_ALONE = new Set(['wandbProject', 'wandbEntity', 'wandbName', 'wandbGroup', 'wandbRunId'])

const SECRET = 'sk-proj-0123456789abcdef'

test('every option that takes a free text is told on purpose, or only in part', () => {
  const table: OptionTable = optionTable
  const texts = Object.entries(table).filter(([, { schema }]) => schemaFacts(schema).shape?.kind === 'text')
  expect(texts.map(([name]) => name)).toContain('clientBaseUrl')
  for (const [name] of texts) {
    if (TOLD.has(name) || TOLD_TO_WANDB_ALONE.has(name)) continue
    const told = String(publicValue(name, `https://user:pass@host/${SECRET}/last?${SECRET}`))
    expect(told, name).not.toContain(SECRET)
    expect(told, name).not.toContain('user')
    expect(told, name).not.toContain('pass')
  }
})

test('no text of an option that looks like a key reaches W&B', () => {
  const { options } = resolveOptions(
    {
      name: 'a',
      taskDir: `/home/me/${SECRET}`,
      openaiOrganization: SECRET,
      openaiProject: SECRET,
      cache: SECRET,
    },
    {
      OPENAI_API_KEY: SECRET,
      OPENAI_ADMIN_KEY: SECRET,
      WANDB_API_KEY: SECRET,
      OPENAI_BASE_URL: `https://h/${SECRET}`,
    },
  )
  const sent = JSON.stringify([wandbConfig(options), changedOptions(options)])
  expect(sent).not.toContain(SECRET)
  expect(sent).not.toContain('/home/me')
  expect(wandbConfig(options)).not.toHaveProperty('taskDir')
  expect(wandbConfig(options)).toMatchObject({ name: 'a', maxRetries: 2, deadline: null })
})
