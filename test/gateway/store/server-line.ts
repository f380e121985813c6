import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** A line to a server, and what can go wrong with it. */
export async function serverLine(url: string) {
  const to = new URL(url)
  const pairs = new Set<Pair>()
  let [isArmed, isClosed, cuts] = [false, false, 0]
  const line = createServer((client) => {
    if (isClosed) {
      client.destroy()
      return
    }
    const pair: Pair = {
      client,
      upstream: connect(Number(to.port), to.hostname),
      listens: false,
      state: 'open',
    }
    pairs.add(pair)
    client.on('data', (bytes) => {
      if (bytes.includes('listen "')) pair.listens = true
      if (isArmed && bytes.includes('commit\0')) {
        pair.state = 'cut'
        isArmed = false
        cuts++
      }
      if (pair.state !== 'mute') pair.upstream.write(bytes)
    })
    pair.upstream.on('data', (bytes) => {
      if (pair.state === 'cut') client.destroy()
      else if (pair.state === 'open') client.write(bytes)
    })
    client.on('error', () => undefined).on('close', () => pair.upstream.destroy())
    pair.upstream
      .on('error', () => undefined)
      .on('close', () => {
        if (pair.state !== 'mute') client.destroy()
      })
  }).listen(0, '127.0.0.1')
  await once(line, 'listening')
  const address = line.address()
  const through = new URL(url)
  through.port = `${typeof address === 'object' ? address?.port : ''}`
  return {
    url: through.href,
    /** Of the next commit the answer is lost, and the connection with it. */
    cutNextCommit: () => {
      isArmed = true
    },
    cuts: () => cuts,
    /** All connections break at this end; the server goes on with what it was asked for. */
    cut: () => {
      for (const { client } of pairs) client.destroy()
    },
    /** No new connection comes through; those that are open stay. */
    shut: () => {
      isClosed = true
    },
    open: () => {
      isClosed = false
    },
    /** The server loses the connections that listen, or all; whoever is at this end is not told. */
    mute: (which: 'listening' | 'all') => {
      for (const pair of pairs) {
        if (which === 'listening' && !pair.listens) continue
        pair.state = 'mute'
        pair.upstream.destroy()
      }
    },
    close: () => {
      for (const { client } of pairs) client.destroy()
      return new Promise((resolve) => line.close(resolve))
    },
  }
}

interface Pair {
  readonly client: Socket
  readonly upstream: Socket
  listens: boolean
  state: 'open' | 'cut' | 'mute'
}
