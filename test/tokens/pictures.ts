import { crc32, deflateSync } from 'node:zlib'

/** A whole, valid PNG, all black. */
export function png(width: number, height: number): Buffer {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header[8] = 8
  const pixels = deflateSync(Buffer.alloc((width + 1) * height))
  const chunks = [chunk('IHDR', header), chunk('IDAT', pixels), chunk('IEND', Buffer.alloc(0))]
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), ...chunks])
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const frame = Buffer.alloc(8)
  frame.writeUInt32BE(data.length, 0)
  frame.writeUInt32BE(crc32(body), 4)
  return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)])
}

export interface JpegOptions {
  /** Bytes of metadata, as cameras write them, that come before the size. */
  readonly metadata?: number
  /** Bytes after the header. */
  readonly scan?: number
}

/** The segments of a JPEG up to its size, then bytes that nobody looks at. */
export function jpeg(width: number, height: number, { metadata = 100, scan = 0 }: JpegOptions = {}): Buffer {
  const segments: Buffer[] = []
  for (let left = metadata; left > 0; left -= 60_000)
    segments.push(segment(0xe1, Buffer.alloc(Math.min(left, 60_000))))
  const frame = Buffer.from([8, 0, 0, 0, 0, 3])
  frame.writeUInt16BE(height, 1)
  frame.writeUInt16BE(width, 3)
  return Buffer.concat([Buffer.from([0xff, 0xd8]), ...segments, segment(0xc0, frame), Buffer.alloc(scan, 7)])
}

function segment(marker: number, data: Buffer): Buffer {
  const head = Buffer.from([0xff, marker, 0, 0])
  head.writeUInt16BE(data.length + 2, 2)
  return Buffer.concat([head, data])
}

/** The screen descriptor that a GIF begins with. */
export function gif(width: number, height: number): Buffer {
  const size = Buffer.alloc(7)
  size.writeUInt16LE(width, 0)
  size.writeUInt16LE(height, 2)
  return Buffer.concat([Buffer.from('GIF89a', 'latin1'), size])
}

export const dataUrl = (bytes: Buffer, type = 'image/png'): string =>
  `data:${type};base64,${bytes.toString('base64')}`
