/** What a caller sees when a connection breaks, in the words of `fetch`. */
export class ConnectionLost extends TypeError {
  override readonly name = 'TypeError'

  constructor() {
    super('fetch failed', { cause: Object.assign(new Error('other side closed'), { code: 'ECONNRESET' }) })
  }
}

/** A response whose body ends in a `ConnectionLost`. Behind a socket it is the connection that breaks. */
export class BrokenResponse extends Response {}
