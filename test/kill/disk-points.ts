import { basename } from 'node:path'
import { z } from 'zod'

/** A process may end before an operation on a file, with a part of the bytes written, or right after it. */
export type Phase = 'before' | 'within' | 'after'

/** What `kill-on-disk.ts` is told, as JSON in the environment variable `KILL_ON_DISK`. */
export const planSchema = z.object({
  /** Operations elsewhere do not count. */
  folder: z.string(),
  /** Gets one line for each operation, named as in `pointOf`. */
  log: z.string(),
  at: z
    .object({
      /** Name of an operation. Default: any. */
      point: z.string().optional(),
      /** Which of those, from 1. */
      nth: z.int().min(1),
      phase: z.enum(['before', 'within', 'after']),
    })
    .optional(),
})
export type DiskPlan = z.infer<typeof planSchema>

/** What a file is for, by its name without the task's: numbers and random parts do not matter. */
const roleOf = (path: string, folder: string): string =>
  path === folder
    ? 'folder'
    : basename(path)
        .replace(/^[^_.]*[_.]/, '')
        .replaceAll(/\.tmp-\d+-[0-9a-f]+/g, ' (temporary)')
        .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '*')
        .replaceAll(/\d+/g, 'N')

/** Name of an operation on a file, such as `write ledger.jsonl`. */
export const pointOf = (operation: string, path: string, folder: string): string =>
  `${operation} ${roleOf(path, folder)}`

/** Only a write can be half done. */
export const phasesOf = (point: string): readonly Phase[] =>
  point.startsWith('write ') ? ['before', 'within', 'after'] : ['before', 'after']
