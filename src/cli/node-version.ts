import { UsageError } from '../errors.ts'

const OLDEST = [22, 18] as const

/** Throws UsageError on a Node.js that lacks what Nightshift is built on. `version` as in `process.versions.node`. */
export function checkNodeVersion(version: string): void {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return
  const oldest = OLDEST.join('.')
  const message = `Nightshift needs Node.js ${oldest} or newer, and this is ${version}. Install a newer one, or run through npx inside a project that has the npm package "node" (npx tsx my-task.ts).`
  throw new UsageError('old_node', message)
}
