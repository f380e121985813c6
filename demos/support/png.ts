import { crc32, deflateSync, inflateSync } from 'node:zlib'
import { CELL, type Mosaic } from './mosaic.ts'

const SIGNATURE = Buffer.from('89504e470d0a1a0a', 'hex')
const BYTES_PER_PIXEL = 3
/** Eight bits for each of red, green and blue, not interlaced. */
const TRUE_COLOUR = [8, 2, 0, 0, 0]

export function encodePng({ columns, rows, cells }: Mosaic): Buffer {
  const header = Buffer.alloc(8)
  header.writeUInt32BE(columns * CELL, 0)
  header.writeUInt32BE(rows * CELL, 4)
  const lines = Array.from({ length: rows }, (_, row) => {
    const pixels = cells.slice(row * columns, (row + 1) * columns).flatMap((rgb) => {
      const pixel = [rgb >> 16, (rgb >> 8) & 0xff, rgb & 0xff]
      return Array.from({ length: CELL }, () => pixel).flat()
    })
    // Each line of pixels begins with the number of its filter: none.
    const line = Buffer.from([0, ...pixels])
    return Array.from({ length: CELL }, () => line)
  })
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', Buffer.concat([header, Buffer.from(TRUE_COLOUR)])),
    chunk('IDAT', deflateSync(Buffer.concat(lines.flat()))),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(data.length)
  checksum.writeUInt32BE(crc32(body))
  return Buffer.concat([length, body, checksum])
}

export const isPng = (bytes: Buffer): boolean => bytes.subarray(0, SIGNATURE.length).equals(SIGNATURE)

/** The cells of a PNG that `encodePng` made: one pixel of each. Throws for any other kind of PNG. */
export function decodePng(bytes: Buffer): Mosaic {
  const header = bytes.indexOf('IHDR') + 4
  const [width, height] = [bytes.readUInt32BE(header), bytes.readUInt32BE(header + 4)]
  const dataAt = bytes.indexOf('IDAT')
  const pixels = inflateSync(bytes.subarray(dataAt + 4, dataAt + 4 + bytes.readUInt32BE(dataAt - 4)))
  const lineLength = 1 + width * BYTES_PER_PIXEL
  if (pixels.length !== lineLength * height)
    throw new Error('the PNG is of a kind that the demo does not draw')
  const [columns, rows] = [width / CELL, height / CELL]
  const cells = Array.from({ length: columns * rows }, (_, index) => {
    const [column, row] = [index % columns, Math.floor(index / columns)]
    return pixels.readUIntBE(row * CELL * lineLength + 1 + column * CELL * BYTES_PER_PIXEL, BYTES_PER_PIXEL)
  })
  return { columns, rows, cells }
}
