import { BlockList, isIP } from 'node:net'

/** Addresses that no request from outside may make a server of this network talk to. */
const BLOCKED: readonly (readonly [address: string, prefix: number])[] = [
  ['0.0.0.0', 8], // this host
  ['10.0.0.0', 8], // private
  ['100.64.0.0', 10], // shared by carriers; metadata of some clouds
  ['127.0.0.0', 8], // loopback
  ['168.63.129.16', 32], // Azure's own services of a machine
  ['169.254.0.0', 16], // link-local; metadata of most clouds
  ['172.16.0.0', 12], // private
  ['192.0.0.0', 24], // protocol assignments; metadata of some clouds
  ['192.0.2.0', 24], // documentation
  ['192.88.99.0', 24], // relays, given up
  ['192.168.0.0', 16], // private
  ['198.18.0.0', 15], // benchmarks
  ['198.51.100.0', 24], // documentation
  ['203.0.113.0', 24], // documentation
  ['224.0.0.0', 4], // multicast
  ['240.0.0.0', 4], // reserved, and broadcast
  ['2001::', 23], // protocol assignments, Teredo
  ['2001:db8::', 32], // documentation
  ['2002::', 16], // 6to4: leads to an IPv4 address
  ['3fff::', 20], // documentation
]

/** All of IPv6 that is public is in this: what is not given out yet may be used within a network, or be translated there. */
const GIVEN_OUT = ['2000::', 3] as const

/** Answers whether an IP address is one of the public internet. */
export type AddressCheck = (address: string) => boolean

/** Made once: the list is put together. An address that is none (a name, a text with a zone) is not public. */
export function publicAddresses(): AddressCheck {
  const blocked = new BlockList()
  for (const [address, prefix] of BLOCKED)
    blocked.addSubnet(address, prefix, isIP(address) === 6 ? 'ipv6' : 'ipv4')
  const given = new BlockList()
  given.addSubnet(...GIVEN_OUT, 'ipv6')
  const isPublicIPv6 = (address: string): boolean =>
    given.check(address, 'ipv6') && !blocked.check(address, 'ipv6')
  const isPublic = (address: string): boolean => {
    const family = isIP(address)
    if (family === 0) return false
    if (family === 4) return !blocked.check(address, 'ipv4')
    const inner = embeddedIPv4(address)
    return inner === undefined ? isPublicIPv6(address) : isPublic(inner)
  }
  return isPublic
}

/** The IPv4 address that an IPv6 one stands for: mapped (`::ffff:0:0/96`), or translated on its way (`64:ff9b::/96`). */
function embeddedIPv4(address: string): string | undefined {
  const groups = groupsOf(address)
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
  const isTranslated =
    groups[0] === 0x64 && groups[1] === 0xff9b && groups.slice(2, 6).every((group) => group === 0)
  if (!isMapped && !isTranslated) return undefined
  return groups
    .slice(6)
    .flatMap((group) => [group >> 8, group & 0xff])
    .join('.')
}

/** The eight groups of an IPv6 address in whatever spelling, without its zone. */
function groupsOf(address: string): readonly number[] {
  const [plain = ''] = address.split('%')
  const [head = '', tail] = plain.split('::')
  const [before, after] = [wordsOf(head), wordsOf(tail ?? '')]
  const gap = tail === undefined ? 0 : Math.max(0, 8 - before.length - after.length)
  return [...before, ...Array.from({ length: gap }, () => 0), ...after]
}

const wordsOf = (text: string): readonly number[] =>
  text.split(':').flatMap((word) => {
    if (word === '') return []
    if (!word.includes('.')) return [Number.parseInt(word, 16)]
    const [a = 0, b = 0, c = 0, d = 0] = word.split('.').map(Number)
    return [a * 256 + b, c * 256 + d]
  })
