import fc from 'fast-check'
import { expect, test } from 'vitest'
import { publicAddresses } from '../../../src/gateway/engine/webhooks-address.ts'

const isPublic = publicAddresses()

test.each([
  '1.1.1.1',
  '8.8.8.8',
  '100.63.255.255',
  '172.15.255.255',
  '172.32.0.1',
  '192.167.1.1',
  '223.255.255.255',
  '2606:4700:4700::1111',
  '2a00:1450:4001:81b::200e',
  '::ffff:8.8.8.8',
  '64:ff9b::8.8.8.8',
])('%s is called', (address) => {
  expect(isPublic(address)).toBe(true)
})

test.each([
  ['this host', '0.0.0.0', '::'],
  ['loopback', '127.0.0.1', '127.255.255.254', '::1', '0:0:0:0:0:0:0:1'],
  ['private', '10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1', 'fd00::1', 'fc00::1'],
  ['link-local', '169.254.1.1', 'fe80::1', 'fe80::1%eth0', 'febf::1'],
  [
    'metadata of clouds',
    '169.254.169.254',
    'fd00:ec2::254',
    '100.100.100.200',
    '192.0.0.192',
    '168.63.129.16',
  ],
  ['shared', '100.64.0.1', '100.127.255.255'],
  ['for many', '224.0.0.1', '239.255.255.255', '255.255.255.255', 'ff02::1'],
  [
    'IPv4 in IPv6',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::ffff:a9fe:a9fe',
    '0:0:0:0:0:ffff:0a00:0001',
    '64:ff9b::10.0.0.1',
    '::127.0.0.1',
    '2002:7f00:1::',
    '64:ff9b:1::1',
    '::ffff:0:127.0.0.1',
    '::ffff:0:a9fe:a9fe',
  ],
  ['not given out to anybody', '4000::1', '1::1', '5f00::1', 'fec0::1', '100::1'],
  ['no address', 'localhost', 'example.com', '', '0x7f000001', '2130706433', '127.1', '[::1]'],
])('%s is not', (_, ...addresses) => {
  expect(addresses.filter(isPublic)).toEqual([])
})

test('however an address of a private network is written as one of IPv6, it is that address', () => {
  const privates = fc.constantFrom(0x7f000001, 0x0a000001, 0xa9fea9fe, 0xc0a80101)
  const hex = (value: number) => value.toString(16)
  fc.assert(
    fc.property(privates, fc.boolean(), fc.boolean(), (address, isLong, isUpper) => {
      const tail = `${hex(address >>> 16)}:${hex(address & 0xffff)}`
      const text = isLong ? `0:0:0:0:0:ffff:${tail}` : `::ffff:${tail}`
      expect(isPublic(isUpper ? text.toUpperCase() : text)).toBe(false)
    }),
  )
})
