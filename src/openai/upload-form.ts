import { randomUUID } from 'node:crypto'
import { openAsBlob } from 'node:fs'

export interface UploadForm {
  /** The whole form, file included. */
  readonly body: Blob
  /** Names the boundary. */
  readonly contentType: string
}

/**
 * A multipart form (RFC 7578) of `fields` and the file at `path`, which stays on disk and is read while it is sent.
 *
 * Not a `FormData`: Node's `fetch` reads the parts of one ahead of the connection in a loop that nothing waits for,
 * and when the upload is aborted that loop throws where nobody can catch it, which ends the process (seen with
 * undici 7.29 in Node 24). A blob is read as the connection takes it, and can be aborted.
 *
 * @param name name of the file in the form: letters, digits, `.`, `_` and `-`, which need no escape.
 * Throws what opening the file throws.
 */
export async function openUploadForm(
  path: string,
  name: string,
  fields: Readonly<Record<string, string>>,
): Promise<UploadForm> {
  const file = await openAsBlob(path)
  const boundary = `nightshift-${randomUUID()}`
  const part = (head: string) => `--${boundary}\r\nContent-Disposition: form-data; ${head}\r\n`
  const body = new Blob([
    ...Object.entries(fields).map(([field, value]) => `${part(`name="${field}"`)}\r\n${value}\r\n`),
    part(`name="file"; filename="${name}"`),
    'Content-Type: application/jsonl\r\n\r\n',
    file,
    `\r\n--${boundary}--\r\n`,
  ])
  return { body, contentType: `multipart/form-data; boundary=${boundary}` }
}
