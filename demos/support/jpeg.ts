import { CELL, type Mosaic } from './mosaic.ts'

/**
 * JPEG as far as pictures of even blocks need it. A block of 8 by 8 pixels is stored as its mean colour and the
 * finer and finer waves on top of it; here there are none. Divided by `QUANTUM`, the mean is the colour itself.
 */
const QUANTUM = 8
const START = Buffer.from('ffd8ffe000104a46494600010100000100010000', 'hex')
const QUANTA = Buffer.concat([Buffer.from('ffdb004300', 'hex'), Buffer.alloc(64, QUANTUM)])
/** Three components of full resolution, all with the same quanta. */
const COMPONENTS = Buffer.from('03011100021100031100', 'hex')
/** Twelve codes of four bits, each its own symbol. */
const MEAN_CODES = Buffer.from(`ffc4001f000000000c${'00'.repeat(12)}000102030405060708090a0b`, 'hex')
/** One code of one bit: "no more waves". */
const WAVE_CODES = Buffer.from(`ffc400141001${'00'.repeat(16)}`, 'hex')
const SCAN = Buffer.from('ffda000c03010002000300003f00', 'hex')
const END = Buffer.from('ffd9', 'hex')
const CODE_BITS = 4
const FRAME = 0xc0

export function encodeJpeg({ columns, rows, cells }: Mosaic): Buffer {
  const size = Buffer.alloc(4)
  size.writeUInt16BE(rows * CELL, 0)
  size.writeUInt16BE(columns * CELL, 2)
  const frame = Buffer.concat([Buffer.from('ffc0001108', 'hex'), size, COMPONENTS])
  return Buffer.concat([START, QUANTA, frame, MEAN_CODES, WAVE_CODES, SCAN, packed(bitsOf(cells)), END])
}

/** Each mean as its difference from the one before: how many bits it has, the bits, and "no waves". */
function bitsOf(cells: readonly number[]): string {
  const last = [0, 0, 0]
  const blocks = cells.map((rgb) =>
    toMeans(rgb).map((mean, component) => {
      const difference = mean - (last[component] ?? 0)
      last[component] = mean
      const length = difference === 0 ? 0 : Math.floor(Math.log2(Math.abs(difference))) + 1
      // A negative number is written as if the bits of its amount were turned over.
      const bits = difference < 0 ? difference + 2 ** length - 1 : difference
      return `${binary(length, CODE_BITS)}${binary(bits, length)}0`
    }),
  )
  return blocks.flat().join('')
}

const binary = (value: number, length: number): string =>
  length === 0 ? '' : value.toString(2).padStart(length, '0')

/** Filled up with ones; a byte of ones gets a zero behind it, so that it is not taken for a marker. */
function packed(bits: string): Buffer {
  const octets = bits.padEnd(Math.ceil(bits.length / 8) * 8, '1').match(/.{8}/g) ?? []
  const bytes = octets.map((octet) => Number.parseInt(octet, 2))
  return Buffer.from(bytes.flatMap((byte) => (byte === 0xff ? [byte, 0] : [byte])))
}

export const isJpeg = (bytes: Buffer): boolean => bytes.subarray(0, 3).equals(START.subarray(0, 3))

/** The cells of a JPEG that `encodeJpeg` made. */
export function decodeJpeg(bytes: Buffer): Mosaic {
  const frame = bytes.indexOf(Buffer.from([0xff, FRAME]))
  const [rows, columns] = [bytes.readUInt16BE(frame + 5) / CELL, bytes.readUInt16BE(frame + 7) / CELL]
  const scan = bytes.subarray(bytes.indexOf(SCAN) + SCAN.length, -END.length)
  const bits = Array.from(
    scan.filter((byte, at) => byte !== 0 || scan[at - 1] !== 0xff),
    (byte) => binary(byte, 8),
  )
  return { columns, rows, cells: cellsOf(bits.join(''), columns * rows) }
}

function cellsOf(bits: string, count: number): number[] {
  let at = 0
  const take = (length: number): number => {
    const value = length === 0 ? 0 : Number.parseInt(bits.slice(at, at + length), 2)
    at += length
    return value
  }
  const means = [0, 0, 0]
  return Array.from({ length: count }, () => {
    for (const [component, mean] of means.entries()) {
      const length = take(CODE_BITS)
      const value = take(length)
      const isNegative = length > 0 && value < 2 ** (length - 1)
      means[component] = mean + (isNegative ? value - 2 ** length + 1 : value)
      if (take(1) !== 0) throw new Error('the JPEG is of a kind that the demo does not draw')
    }
    return toRgb(means)
  })
}

/** Brightness and two differences of colour, around zero. */
function toMeans(rgb: number): readonly number[] {
  const [red, green, blue] = [rgb >> 16, (rgb >> 8) & 0xff, rgb & 0xff]
  const brightness = 0.299 * red + 0.587 * green + 0.114 * blue
  return [brightness - 128, (blue - brightness) / 1.772, (red - brightness) / 1.402].map(Math.round)
}

function toRgb([brightness = 0, blueness = 0, redness = 0]: readonly number[]): number {
  const grey = brightness + 128
  const [red, blue] = [grey + 1.402 * redness, grey + 1.772 * blueness]
  const green = (grey - 0.299 * red - 0.114 * blue) / 0.587
  const byte = (value: number): number => Math.min(255, Math.max(0, Math.round(value)))
  return (byte(red) << 16) | (byte(green) << 8) | byte(blue)
}
