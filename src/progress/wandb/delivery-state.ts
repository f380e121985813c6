import { randomBytes, randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { z } from 'zod'
import { errorText, StateError } from '../../errors.ts'
import { writeError } from '../../state/disk-error.ts'
import { DurableJson, type DurableJsonOptions, readDurableJson } from '../../state/durable-json.ts'
import type { FileSystem } from '../../state/file-system.ts'
import { VERSION } from '../../util/version.ts'

const STATE_VERSION = 1 as const

const deliverySchema = z.object({
  version: z.literal(STATE_VERSION),
  nightshift: z.string().optional(),
  /** Where the run was asked to be. A changed wish is another run. */
  baseUrl: z.string(),
  wantedEntity: z.string().optional(),
  wantedProject: z.string(),
  /** The id that was asked for (`--wandb-run-id`); `runId` differs when that one could not be gone on with. */
  wantedRunId: z.string().optional(),
  runId: z.string(),
  /** What the run is called, and its config: for `wandb sync`, which knows no options. */
  name: z.string(),
  group: z.string().optional(),
  tags: z.array(z.string()),
  config: z.record(z.string(), z.unknown()),
  /** As the server named them; undefined until the run was made there. */
  entity: z.string().optional(),
  project: z.string().optional(),
  /** Lines that the run had before our first one. */
  baseLine: z.int().nonnegative(),
  /** Added to `_step` of every line, so that steps rise after those that were there. */
  baseStep: z.int().nonnegative(),
  /** How much of the history file the server has. */
  ackedLines: z.int().nonnegative(),
  ackedBytes: z.int().nonnegative(),
  /** Hash of the file's first line: tells another file in its place. */
  firstLine: z.string().optional(),
  /** Last values of the lines the server has. */
  summary: z.record(z.string(), z.union([z.number(), z.string()])),
  /** The end that the server was told of, and after how many lines. */
  ended: z.object({ lines: z.int().nonnegative(), exitCode: z.int() }).optional(),
})

/** Content of `<name>_wandb.json`: which W&B run the task has, and how much of its history arrived there. */
export type DeliveryState = Readonly<z.infer<typeof deliverySchema>>

/** What a run is wished to be. */
export interface RunWishes {
  readonly baseUrl: string
  readonly entity?: string | undefined
  readonly project: string
  readonly runId?: string | undefined
  readonly name: string
  readonly group?: string | undefined
  readonly tags: readonly string[]
  readonly config: Readonly<Record<string, unknown>>
}

/** `name`: as `deliveryName` tells it. */
export const deliveryPath = (directory: string, name: string): string => join(directory, `${name}_wandb.json`)
export const historyPath = (directory: string, name: string): string =>
  join(directory, `${name}_progress.jsonl`)
/** Name of the lock that the one sender of a task holds. `name`: as `deliveryName` tells it. */
export const deliveryLock = (name: string): string => `${name}_wandb`

const fileOptions = (
  fs: FileSystem,
  path: string,
  guard?: () => void,
): DurableJsonOptions<DeliveryState> => ({
  fs,
  path,
  schema: deliverySchema,
  version: STATE_VERSION,
  ...(guard && { guard }),
})

/** Reads the file without being its writer; undefined when there is none. Throws StateError. */
export const readDelivery = (
  fs: FileSystem,
  directory: string,
  name: string,
): Promise<DeliveryState | undefined> => readDurableJson(fileOptions(fs, deliveryPath(directory, name)))

/**
 * Opens the file for its one writer. One that is damaged is renamed and told: which run it was for is lost with it, so
 * a new one is begun. Throws StateError `newer_version` or `read_failed`.
 */
export async function openDelivery(
  fs: FileSystem,
  path: string,
  { guard, onDamaged }: { readonly guard: () => void; readonly onDamaged: (message: string) => void },
): Promise<DurableJson<DeliveryState>> {
  const options = fileOptions(fs, path, guard)
  try {
    return await DurableJson.open(options)
  } catch (error) {
    if (!(error instanceof StateError && error.code === 'state_invalid')) throw error
    const aside = `${path}.damaged-${randomUUID()}`
    guard()
    await putAside(fs, path, aside)
    onDamaged(
      `${path} was damaged (${errorText(error.cause ?? error)}), so it is not known any more which W&B run the task ` +
        `had: a new one gets the whole history. The old file is ${aside}`,
    )
    return DurableJson.open(options)
  }
}

async function putAside(fs: FileSystem, path: string, aside: string): Promise<void> {
  try {
    await fs.rename(path, aside)
  } catch (error) {
    throw writeError(path, error, 'It was left as it was.')
  }
}

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789'

/** A new id as W&B makes them: 8 characters of a-z and 0-9. */
export function randomRunId(): string {
  // The last bytes would make some letters likelier than others.
  const limit = 256 - (256 % ALPHABET.length)
  let id = ''
  while (id.length < 8) {
    const [byte = 255] = randomBytes(1)
    if (byte < limit) id += ALPHABET[byte % ALPHABET.length]
  }
  return id
}

/** A run that nothing was sent to yet. */
export const newDelivery = (wishes: RunWishes, runId: string): DeliveryState => ({
  ...described(wishes),
  runId,
  baseLine: 0,
  baseStep: 0,
  ackedLines: 0,
  ackedBytes: 0,
  summary: {},
})

/** The run to send to now: the one that the task has, or a new one when another is wished for. */
export function begun(
  before: DeliveryState | undefined,
  wishes: RunWishes,
): { readonly state: DeliveryState; readonly left: DeliveryState | undefined } {
  if (before && isWished(before, wishes)) return { state: updatedDelivery(before, wishes), left: undefined }
  return { state: newDelivery(wishes, wishes.runId ?? randomRunId()), left: before }
}

/** Whether the run that the task has is the one that is wished for now. */
function isWished(state: DeliveryState, wishes: RunWishes): boolean {
  const { baseUrl, wantedEntity, entity, wantedProject, project, wantedRunId, runId } = state
  const isEntity = wishes.entity === undefined || wishes.entity === wantedEntity || wishes.entity === entity
  const isProject = wishes.project === wantedProject || wishes.project === project
  const isId = wishes.runId === undefined || wishes.runId === wantedRunId || wishes.runId === runId
  return wishes.baseUrl === baseUrl && isEntity && isProject && isId
}

/** The same run with the name, config and so on that are wished for now. */
const updatedDelivery = (state: DeliveryState, wishes: RunWishes): DeliveryState => {
  const { group: _, wantedRunId, ...rest } = state
  const wanted = wishes.runId ?? wantedRunId
  return { ...rest, ...described(wishes), ...(wanted !== undefined && { wantedRunId: wanted }) }
}

const described = ({ baseUrl, entity, project, runId, name, group, tags, config }: RunWishes) => ({
  version: STATE_VERSION,
  nightshift: VERSION,
  baseUrl,
  ...(entity !== undefined && { wantedEntity: entity }),
  wantedProject: project,
  ...(runId !== undefined && { wantedRunId: runId }),
  name,
  ...(group !== undefined && { group }),
  tags: [...tags],
  config: { ...config },
})
