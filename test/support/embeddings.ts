import type { PreparedRequest } from '../../src/requester/queue.ts'

/** An embeddings request of so many inputs. */
export const embedding = (key: string, inputs: number): PreparedRequest => ({
  key,
  sample: key,
  meta: undefined,
  hash: '0'.repeat(16),
  endpoint: '/v1/embeddings',
  model: 'e',
  bodyText: JSON.stringify({ model: 'e', input: Array.from({ length: inputs }, () => 'x') }),
})
