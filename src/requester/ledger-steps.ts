import { LEDGER_FORMAT } from '../batch/ledger-format.ts'
import { type Step, type StepOf, stepSchema } from '../batch/steps.ts'
import { StateError } from '../errors.ts'
import type { LedgerLine } from '../state/ledger.ts'
import { versionNeeded } from '../util/version.ts'

/**
 * The steps of a ledger line. Throws StateError `newer_version` for a line of a newer format, or with a kind of step
 * that this version does not know, and `ledger_invalid` for one that is no step.
 */
export function stepsIn(line: LedgerLine, ledger: string): Step[] {
  const place = placeOf(line, ledger)
  return line.steps.map((raw) => stepIn(raw, place))
}

/** The steps of these kinds only: the others are not looked at, which is a good deal quicker. */
export function stepsOfKinds<Kind extends Step['kind']>(
  line: LedgerLine,
  ledger: string,
  kinds: ReadonlySet<Kind>,
): StepOf<Kind>[] {
  const known: ReadonlySet<unknown> = kinds
  const isWanted = (step: Step): step is StepOf<Kind> => known.has(step.kind)
  const place = placeOf(line, ledger)
  const wanted = line.steps.filter((raw) => known.has(kindOf(raw)))
  return wanted.map((raw) => stepIn(raw, place)).filter(isWanted)
}

/** Where a line stands, for messages. */
export const placeOf = ({ seq }: LedgerLine, ledger: string): string => `${ledger}, line ${seq}`

/** A line that cannot be, and why. */
export const invalidLine = (place: string, why: string, cause: unknown): StateError =>
  new StateError(
    'ledger_invalid',
    `${place}: ${why}. It was left unchanged; was it edited? Restore it from a copy.`,
    { cause },
  )

function stepIn(raw: unknown, place: string): Step {
  const parsed = stepSchema.safeParse(raw)
  if (!parsed.success) throw unreadable(raw, place, parsed.error)
  const step = parsed.data
  if (step.kind === 'format' && step.version > LEDGER_FORMAT.version)
    throw newer(`${place}: its format is ${step.version}, which ${versionNeeded(step.needs)}`)
  return step
}

function unreadable(raw: unknown, place: string, cause: unknown): StateError {
  const kind = kindOf(raw)
  if (kind !== undefined && !isKnown(kind))
    return newer(`${place}: a step is of the unknown kind "${kind}", which ${versionNeeded(undefined)}`)
  return invalidLine(place, 'it does not have the expected form', cause)
}

const newer = (what: string): StateError =>
  new StateError('newer_version', `${what}. Nothing was changed. Update Nightshift to go on with this task.`)

const isKnown = (kind: string): boolean =>
  stepSchema.options.some((option) => option.shape.kind.value === kind)

const kindOf = (raw: unknown): string | undefined =>
  typeof raw === 'object' && raw !== null && 'kind' in raw && typeof raw.kind === 'string'
    ? raw.kind
    : undefined
