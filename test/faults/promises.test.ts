import { describe, expect, test } from 'vitest'
import { type Evidence, type Fault, live, type Way } from '../support/fault-world.ts'
import type { Exchange } from '../support/wire-tap.ts'
import { brokenPromises } from './promises.ts'

interface Doctored {
  readonly name: string
  readonly way: Way
  /** Of the run that is then looked at with other eyes. */
  readonly faults?: readonly Fault[]
  readonly doctor: (evidence: Evidence) => Partial<Evidence>
  readonly says: string
}

const isDownload = ({ path }: Exchange): boolean => path.endsWith('/content')

/** The same call, as if it had been made of another file, with other ids in what came back. */
const again = (exchange: Exchange): Exchange => ({
  ...exchange,
  path: exchange.path.replace('file-', 'file-f'),
  text: exchange.text?.replaceAll(/"custom_id":"r(\d+)-(\d+)"/g, '"custom_id":"r$1-9$2"'),
})

const cases: readonly Doctored[] = [
  {
    name: 'a second good answer in another batch',
    way: 'batch',
    doctor: ({ exchanges }) => ({ exchanges: [...exchanges, ...exchanges.filter(isDownload).map(again)] }),
    says: 'k-01 was answered well 2 times',
  },
  {
    name: 'a call that was made twice without a note',
    way: 'direct',
    doctor: ({ asks }) => ({ asks: new Map([...asks, ['k-03', 2]]) }),
    says: 'k-03 was asked again 1 times without a note',
  },
  {
    name: 'a note without a lost call',
    way: 'direct',
    faults: [{ fault: 'http-lose', route: 'POST /v1/chat/completions', contains: 'k-05?', when: { nth: 1 } }],
    doctor: ({ exchanges }) => ({ exchanges: exchanges.filter(({ lost }) => !lost) }),
    says: 'k-05 is called uncertain more often than calls were lost',
  },
  {
    name: 'two batches of one creation',
    way: 'batch',
    doctor: ({ batches }) => ({ batches: [...batches, ...batches.slice(0, 1)] }),
    says: 'a batch was created twice under one tag',
  },
  {
    name: 'an answer that never was counted',
    way: 'direct',
    doctor: ({ exchanges }) => ({ exchanges: [...exchanges, ...exchanges.slice(0, 1)] }),
    says: 'tokens in the ledger, and in what arrived',
  },
  {
    name: 'a batch that was billed and never fetched',
    way: 'batch',
    doctor: ({ batches }) => ({ batches: batches.slice(1) }),
    says: 'tokens in the ledger, and on the bill',
  },
  {
    name: 'a deletion before the download',
    way: 'batch',
    doctor: ({ exchanges }) => ({ exchanges: exchanges.toReversed() }),
    says: 'was deleted before it had arrived',
  },
  {
    name: 'a line that is twice in the output',
    way: 'batch',
    doctor: ({ output }) => ({ output: [...output, ...output.slice(0, 1)] }),
    says: 'keys in the output',
  },
  {
    name: 'the answer to another request',
    way: 'batch',
    doctor: ({ output }) => ({ output: output.map(({ key }) => ({ key, answer: 'about k-01' })) }),
    says: 'k-02 has the answer about k-01',
  },
  {
    name: 'a failure without a failed request',
    way: 'direct',
    doctor: () => ({ failed: [{ key: 'k-02', reason: 'because', attempts: 1, reply: null }] }),
    says: 'keys of failed requests',
  },
  {
    name: 'a remote file that is left',
    way: 'batch',
    doctor: () => ({ remoteFiles: ['nightshift-1.jsonl'] }),
    says: 'remote files left',
  },
  {
    name: 'a local file that is left',
    way: 'batch',
    doctor: ({ localFiles }) => ({ localFiles: [...localFiles, 'task_batch1.jsonl'] }),
    says: 'local files left',
  },
  {
    name: 'a run after the end that sends something',
    way: 'batch',
    doctor: ({ exchanges }) => ({ idleExchanges: exchanges }),
    says: 'calls after the end that change something: ["POST /v1/files"',
  },
]

describe('the checks of the matrix notice', () => {
  test.each(cases)('$name', async ({ way, faults = [], doctor, says }) => {
    const evidence = await live({ way, faults })
    expect(brokenPromises(evidence)).toEqual([])
    expect(brokenPromises({ ...evidence, ...doctor(evidence) }).join('\n')).toContain(says)
  })
})
