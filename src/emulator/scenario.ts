import { z } from 'zod'
import { UsageError } from '../errors.ts'
import { batchFaultSchemas } from './scenario-batch.ts'
import { callFaultSchemas } from './scenario-call.ts'
import { listingFaultSchemas } from './scenario-listing.ts'
import { replyFaultSchemas } from './scenario-reply.ts'

/** Everything that can go wrong. `fault` says what it is; docs/scenarios.md has a table of all. */
export const faultSchema = z.discriminatedUnion('fault', [
  ...callFaultSchemas,
  ...listingFaultSchemas,
  ...batchFaultSchemas,
  ...replyFaultSchemas,
])

export const scenarioSchema = z.strictObject({
  /** For people: what the scenario is about. */
  about: z.string().optional(),
  /** Decides what a `share` hits. The same seed hits the same. @default 1 */
  seed: z.int().min(0).default(1),
  /** In the order in which they act. */
  faults: z.array(faultSchema),
})

/** What goes wrong at the emulator, and when. A JSON file, or an object of this type. */
export type Scenario = z.input<typeof scenarioSchema>

/** A scenario with its defaults. */
export type CheckedScenario = z.output<typeof scenarioSchema>

/**
 * Checks a scenario that was read from somewhere. `place` names it in messages. Throws `UsageError`
 * (`bad_scenario`) that says for each mistake where it stands and what is wrong with it.
 */
export function parseScenario(input: unknown, place = 'the scenario'): CheckedScenario {
  const result = scenarioSchema.safeParse(input)
  if (result.success) return result.data
  const mistakes = result.error.issues.map((issue) => `${pathText(issue.path)}: ${mistakeText(issue)}`)
  throw new UsageError('bad_scenario', `${place} cannot be used. ${mistakes.join('; ')}`, {
    cause: result.error,
  })
}

const pathText = (path: readonly PropertyKey[]): string =>
  path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`
    return text === '' ? String(step) : `${text}.${String(step)}`
  }, '') || 'it'

function mistakeText(issue: z.core.$ZodIssue): string {
  if (issue.code === 'unrecognized_keys') {
    return `has no key ${issue.keys.map((key) => JSON.stringify(key)).join(', ')}; see docs/scenarios.md`
  }
  if (issue.code !== 'invalid_union') return issue.message
  if (issue.discriminator !== undefined) {
    return `give one of ${faultSchema.options.map(({ shape }) => shape.fault.value).join(', ')}`
  }
  const said = issue.errors.flat().map(({ message }) => message)
  return [...new Set(said)].join(', or ') || issue.message
}
