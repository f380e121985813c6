import { expect, test } from 'vitest'
import { WandbApi } from '../../src/progress/wandb/api.ts'
import { systemClock } from '../../src/util/clock.ts'
import { Secret } from '../../src/util/secret.ts'

const KEY = '0123456789abcdef0123456789abcdef01234567'

/** As they are in the header, which some proxies show on their error pages. */
const CREDENTIALS = Buffer.from(`api:${KEY}`).toString('base64')

test.each([401, 400, 500, 200])(
  'a server that repeats the key in its %d does not have it shown',
  async (status) => {
    const api = new WandbApi({
      baseUrl: 'https://wandb.test',
      key: new Secret(KEY),
      fetch: async () => new Response(`no such key: ${KEY} (${CREDENTIALS})`, { status }),
      timeoutMs: 1000,
      clock: systemClock,
    })
    const error = await api.defaultEntity().catch((thrown: unknown) => thrown)
    expect(String(error)).toContain('no such key: [key] ([key])')
    expect(JSON.stringify(error)).not.toContain(KEY)
    expect(JSON.stringify(error)).not.toContain(CREDENTIALS)
  },
)
