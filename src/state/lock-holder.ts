import { readdir, readFile, rename, rmdir, unlink, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { z } from 'zod'
import { currentProcess, isGone, processIdentitySchema } from '../util/process-identity.ts'
import { systemCode } from '../util/system-code.ts'
import { directoryIdentity, directoryIdentityNow, ifThere, retireDirectory } from './lock-directory.ts'

const holderSchema = processIdentitySchema.extend({
  startedAt: z.number(),
  epoch: z.string(),
  directory: z.string(),
})

/** Who holds a lock. `epoch` is new with every acquisition; `directory` names the lock directory it belongs to. */
export type LockHolder = z.infer<typeof holderSchema>

/** The lock of what is at `path` is a directory, with a file beside it that names its holder. */
export const lockOf = (path: string): string => `${path}.lock`
export const holderOf = (path: string): string => `${path}.lock.json`

/**
 * A process that is about to take the lock, or has just begun to give it back, names itself in a file of its own
 * first. So there is no moment at which a directory without a holder could be anybody's.
 */
const claimOf = (path: string, epoch: string): string => `${holderOf(path)}.${epoch}`

/** Who holds the lock at this moment, or undefined when nobody does or it is not known who. */
export async function currentHolder(path: string): Promise<LockHolder | undefined> {
  const holder = await readHolder(holderOf(path))
  return holder?.directory === (await directoryIdentity(lockOf(path))) ? holder : undefined
}

export async function writeClaim(path: string, epoch: string): Promise<void> {
  await write(claimOf(path, epoch), holderOfNow(epoch, ''))
}

export const removeClaim = (path: string, epoch: string): Promise<void> => removeIfThere(claimOf(path, epoch))

/** Turns the claim into the holder of the lock directory that was just made. */
export async function writeHolder(path: string, epoch: string, directory: string): Promise<void> {
  const temporary = `${claimOf(path, epoch)}.named`
  await write(temporary, holderOfNow(epoch, directory))
  await rename(temporary, holderOf(path))
  await removeClaim(path, epoch)
}

/** The opposite, before the directory is removed. */
export const holderToClaim = (path: string, epoch: string): Promise<void> =>
  rename(holderOf(path), claimOf(path, epoch))

/** Removes the lock of a process that surely ended: by the word of its holder, or of all who may have been about to be. */
export async function removeIfDead(path: string): Promise<void> {
  const directory = await directoryIdentity(lockOf(path))
  if (directory === undefined || !(await isOfTheDead(path, directory))) return
  // Whoever was faster may hold the lock by now: a directory that is moved, if only for a moment, disturbs its owner.
  if (directoryIdentityNow(lockOf(path)) !== directory) return
  await retireDirectory(
    lockOf(path),
    async (aside) => (await directoryIdentity(aside)) === directory && (await isOfTheDead(path, directory)),
  )
}

/** Removes what processes that were killed while they took or gave back the lock have left. Only for its holder. */
export async function removeLitter(path: string): Promise<void> {
  for (const name of await beside(path)) {
    const file = join(dirname(path), name)
    if (file.startsWith(`${lockOf(path)}.stale-`)) await ifThere(() => rmdir(file))
    else if (file.startsWith(`${holderOf(path)}.`) && (await isLeft(file))) await removeIfThere(file)
  }
}

async function isOfTheDead(path: string, directory: string): Promise<boolean> {
  const self = currentProcess()
  const holder = await readHolder(holderOf(path))
  if (holder?.directory === directory) return isGone(holder, self)
  const claims = (await beside(path)).map((name) => join(dirname(path), name))
  const mine = claims.filter((file) => file.startsWith(`${holderOf(path)}.`))
  const claimants = await Promise.all(mine.map(readHolder))
  return claimants.length > 0 && claimants.every((one) => one !== undefined && isGone(one, self))
}

async function isLeft(file: string): Promise<boolean> {
  const claimant = await readHolder(file)
  return claimant === undefined || isGone(claimant, currentProcess())
}

async function beside(path: string): Promise<readonly string[]> {
  const prefix = basename(lockOf(path))
  return (await readdir(dirname(path))).filter((name) => name.startsWith(`${prefix}.`))
}

const holderOfNow = (epoch: string, directory: string): LockHolder => ({
  ...currentProcess(),
  startedAt: Date.now(),
  epoch,
  directory,
})

const write = (file: string, holder: LockHolder): Promise<void> =>
  writeFile(file, `${JSON.stringify(holder)}\n`, { mode: 0o600 })

async function readHolder(file: string): Promise<LockHolder | undefined> {
  try {
    return holderSchema.parse(JSON.parse(await readFile(file, 'utf8')))
  } catch (error) {
    // None, or one from a crash or another program: the lock then ends by its lease alone.
    if (error instanceof z.ZodError || error instanceof SyntaxError || systemCode(error) === 'ENOENT')
      return undefined
    throw error
  }
}

const removeIfThere = (file: string): Promise<void> => ifThere(() => unlink(file))
