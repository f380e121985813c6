import { expect, test } from 'vitest'
import { publicAddresses } from '../../../src/gateway/engine/webhooks-address.ts'
import { checkWebhook } from '../../../src/gateway/http/webhook-url.ts'

const offered = { isOffered: true, isPublic: publicAddresses() }

test.each([
  'https://example.com/hook',
  'http://example.com:8080/hook?x=1',
  'https://93.184.215.14/',
  'https://[2606:4700::1111]/',
])('%s may be called', (url) => {
  expect(() => checkWebhook(url, offered)).not.toThrow()
})

test.each([
  'http://localhost/hook',
  'http://LOCALHOST./hook',
  'http://api.localhost/',
  'http://printer/',
  'http://db.internal/',
  'http://127.0.0.1:9487/',
  'http://127.1/',
  'http://2130706433/',
  'http://0x7f.0.0.1/',
  'http://0/',
  'http://10.1.2.3/',
  'http://169.254.169.254/latest/meta-data',
  'http://[::1]/',
  'http://[::ffff:10.0.0.1]/',
  'http://[fd00::1]/',
  'http://user:password@example.com/',
  'ftp://example.com/',
  'file:///etc/passwd',
  'example.com/hook',
  `https://example.com/${'x'.repeat(2048)}`,
  '',
])('%s is refused', (url) => {
  expect(() => checkWebhook(url, offered)).toThrow(
    expect.objectContaining({ status: 400, code: 'invalid_webhook' }),
  )
})

test('this machine may be called where only its own programs can ask for it', () => {
  expect(() => checkWebhook('http://localhost:3000/', { isOffered: true, isPublic: undefined })).not.toThrow()
})

test('a server without a secret sends none', () => {
  expect(() => checkWebhook('https://example.com/', { ...offered, isOffered: false })).toThrow(
    'no webhook secret',
  )
})
