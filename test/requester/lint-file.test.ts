import { describe, expect, test } from 'vitest'
import type { LintFinding } from '../../src/batch/lint.ts'
import { lintFile } from '../../src/requester/lint-file.ts'
import type { FileSystem } from '../../src/state/file-system.ts'
import { PowerLossFs } from '../support/power-loss-fs.ts'

const line = (id: number): string =>
  `{"custom_id":"r${id}-0","method":"POST","url":"/v1/responses","body":{"model":"m","input":"${'é'.repeat(5_000)}"}}\n`

async function check(fs: FileSystem, path: string) {
  const findings: LintFinding[] = []
  return { totals: await lintFile(fs, path, { onFinding: (finding) => findings.push(finding) }), findings }
}

describe('a file that is linted', () => {
  test('is read in parts, and judged as a whole', async () => {
    const content = Buffer.from(Array.from({ length: 400 }, (_, n) => line(n)).join(''))
    expect(content.length).toBeGreaterThan(3 * 2 ** 20)
    const fs = new PowerLossFs(new Map([['/in.jsonl', Buffer.concat([content, Buffer.from(line(3))])]]))
    const { totals, findings } = await check(fs, '/in.jsonl')
    expect(totals).toMatchObject({ requests: 401, errors: 1, models: { m: 401 } })
    expect(findings).toMatchObject([{ code: 'duplicate_custom_id', line: 401 }])
  })

  test('is not read at all when it is far too large', async () => {
    const huge = new (class extends PowerLossFs {
      override async size() {
        return 500_000_001
      }
      override async open(): Promise<never> {
        throw new Error('was opened')
      }
    })()
    expect((await check(huge, '/in.jsonl')).findings.map(({ code }) => code)).toEqual(['file_too_large'])
  })

  test('that is not there is the system’s error', async () => {
    await expect(check(new PowerLossFs(), '/in.jsonl')).rejects.toMatchObject({ code: 'ENOENT' })
  })

  test('is left when the signal says so', async () => {
    const fs = new PowerLossFs(new Map([['/in.jsonl', Buffer.from(line(1))]]))
    const signal = AbortSignal.abort('enough')
    await expect(lintFile(fs, '/in.jsonl', { onFinding: () => {}, signal })).rejects.toBe('enough')
  })
})
