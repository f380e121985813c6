/** Makes the compiler prove that a union has been handled whole, and says so loudly if data disagrees. */
export function assertNever(value: never): never {
  throw new TypeError(`unhandled case: ${JSON.stringify(value)}`)
}
