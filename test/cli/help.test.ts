import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { renderHelp, renderOptionsMarkdown } from '../../src/cli/help.ts'
import { gatewayHelpTable } from '../../src/util/gateway-options.ts'
import { optionTable } from '../../src/util/option-table.ts'

const Own = z.object({
  minLength: z.int().default(3).describe('Shortest text that is used'),
  shuffle: z.boolean().describe('Take the texts in random order').default(true),
  language: z.enum(['en', 'de']),
  label: z.array(z.string()).default([]).describe('Label to choose from'),
})

describe('renderHelp', () => {
  test('shows the flags of the task and every option, with default and unit', () => {
    const help = renderHelp(optionTable, Own, {
      name: 'emotions',
      columns: 200,
      defaults: { name: 'emotions' },
    })
    expect(help).toMatch(/^Usage: emotions \[flags\]\n\nFlags of this task:\n/)
    expect(help).toMatch(/--min-length <n> +Shortest text that is used \(default: 3\)\n/)
    expect(help).toMatch(/--no-shuffle +Take the texts in random order \(on by default\)\n/)
    expect(help).toMatch(/--language <en\|de> +\(required\)\n/)
    expect(help).toMatch(/--label <text> +Label to choose from \(may be repeated\)\n/)
    expect(help).toMatch(/--name <text> .*\(default: emotions\)\n/)
    expect(help).toMatch(/--lock-poll-interval <s> .*\(default: 0.25 s\)\n/)
    expect(help).toMatch(/--max-direct-requests <n> .*\(default: 50 requests\)\n/)
    expect(help).toMatch(/--client-base-url <url> .*\(or OPENAI_BASE_URL\)\n/)
    expect(help).toContain('--no-run')
    expect(help).not.toContain('undefined')
  })

  test('says that a name is needed where the program gives none', () => {
    expect(renderHelp(optionTable, undefined, { name: 'x', columns: 200 })).toMatch(
      /--name <text> .*\(required\)\n/,
    )
  })

  test('keeps to the width', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 250 }), (columns) => {
        const lines = renderHelp(optionTable, Own, { name: 'emotions', columns }).split('\n')
        const tooLong = lines.filter((line) => line.length > Math.max(columns, 60))
        expect(tooLong).toEqual([])
      }),
      { numRuns: 30 },
    )
  })

  test('refuses flags that clash', () => {
    const own = z.object({ dryRun: z.boolean() })
    expect(() => renderHelp(optionTable, own, { name: 'x', columns: 80 })).toThrow(
      '--dry-run already belongs to',
    )
  })
})

test('docs/options.md is what the tables generate', async () => {
  const page = renderOptionsMarkdown(optionTable, gatewayHelpTable())
  await expect(page).toMatchFileSnapshot('../../docs/options.md')
})
