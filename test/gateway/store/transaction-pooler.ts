import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** A PostgreSQL server as a pooler shows it that lends a session for one transaction, as PgBouncer with `pool_mode = transaction`. */
export async function transactionPooler(url: string) {
  const to = new URL(url)
  const free: Session[] = []
  const sessions: Session[] = []
  const clients = new Set<Socket>()
  const lend = async (startup: Buffer): Promise<Session> => {
    const session = free.pop() ?? new Session(connect(Number(to.port), to.hostname), startup)
    if (!sessions.includes(session)) sessions.push(session)
    await session.greeting
    return session
  }
  const serve = async (client: Socket): Promise<void> => {
    let startup: Buffer | undefined
    let session: Session | undefined
    for await (const bytes of client) {
      if (!startup) {
        startup = Buffer.from(bytes)
        const greeted = await lend(startup)
        client.write(await greeted.greeting)
        free.push(greeted)
        continue
      }
      if (bytes[0] === GOODBYE) return void client.end()
      session ??= await lend(startup)
      const used = session
      used.give(client, bytes, () => {
        session = undefined
        free.push(used)
      })
    }
  }
  const pooler = createServer((client) => {
    clients.add(client)
    serve(client).catch(() => client.destroy())
  }).listen(0, '127.0.0.1')
  await once(pooler, 'listening')
  const address = pooler.address()
  const through = new URL(url)
  through.port = `${typeof address === 'object' ? address?.port : ''}`
  return {
    url: through.href,
    [Symbol.asyncDispose]: async () => {
      for (const client of clients) client.destroy()
      for (const session of sessions) session.end()
      await new Promise((resolve) => pooler.close(resolve))
    },
  }
}

const GOODBYE = 'X'.charCodeAt(0)
const READY = 'Z'.charCodeAt(0)
const IDLE = 'I'.charCodeAt(0)

/** A connection to the server, which knows when it is in no transaction. */
class Session {
  readonly greeting: Promise<Buffer>
  readonly #socket: Socket
  #seen = Buffer.alloc(0)
  #hears: (bytes: Buffer) => void = () => undefined
  #isIdle: () => void = () => undefined

  constructor(socket: Socket, startup: Buffer) {
    this.#socket = socket
    const said: Buffer[] = []
    this.greeting = new Promise((resolve) => {
      this.#hears = (bytes) => said.push(bytes)
      this.#isIdle = () => resolve(Buffer.concat(said))
    })
    socket.on('error', () => undefined)
    socket.on('data', (bytes) => this.#read(bytes))
    socket.write(startup)
  }

  give(client: Socket, bytes: Buffer, isIdle: () => void): void {
    this.#hears = (answer) => client.write(answer)
    this.#isIdle = isIdle
    this.#socket.write(bytes)
  }

  end(): void {
    this.#socket.destroy()
  }

  #read(bytes: Buffer): void {
    this.#hears(bytes)
    this.#seen = Buffer.concat([this.#seen, bytes])
    while (this.#seen.length >= 5) {
      const length = 1 + this.#seen.readUInt32BE(1)
      if (this.#seen.length < length) return
      const isOver = this.#seen[0] === READY && this.#seen[5] === IDLE
      this.#seen = this.#seen.subarray(length)
      if (isOver) this.#isIdle()
    }
  }
}
