import type { ChildProcess } from 'node:child_process'

/** Asks a program on its channel, and gives what it answers. Rejects when the program ends instead. */
export async function ask(child: ChildProcess, question: object): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>()
  const onClose = (): void => reject(new Error(`${child.spawnargs.join(' ')} ended before it answered`))
  child.once('message', resolve).once('close', onClose)
  try {
    child.send(question)
    return await promise
  } finally {
    child.off('message', resolve).off('close', onClose)
  }
}
