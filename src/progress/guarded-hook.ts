/**
 * Calls a hook that returns nothing, and hands over what it fails with. One that is async type-checks, too, and its
 * rejection would end the process.
 */
export function callGuarded(hook: () => unknown, onFailure: (error: unknown) => void): void {
  try {
    const returned = hook()
    if (returned instanceof Promise) returned.catch(onFailure)
  } catch (error) {
    onFailure(error)
  }
}
