import { z } from 'zod'
import { NightshiftError } from '../errors.ts'
import { appUrl } from '../progress/wandb/api.ts'
import { copyByHand, type HandTarget, stepsByHand } from '../progress/wandb-view/hand-steps.ts'
import { PLOTTED_METRICS } from '../progress/wandb-view/plotted-metrics.ts'
import { copiedSpec, type SavedView, setUpView } from '../progress/wandb-view/set-up-view.ts'
import { ViewApi } from '../progress/wandb-view/view-api.ts'
import {
  checkedPart,
  checkedViewName,
  type ViewPlace,
  viewPlaceOf,
  viewUrl,
} from '../progress/wandb-view/view-name.ts'
import { planView } from '../progress/wandb-view/view-plan.ts'
import { type JsonObject, viewSpec } from '../progress/wandb-view/view-spec.ts'
import { amount } from '../util/amount.ts'
import { readEnvironment, type WandbEnvironment } from '../util/options.ts'
import type { Secret } from '../util/secret.ts'
import type { CommandIo } from './command-io.ts'
import { jsonFlag, readCommand } from './command-line.ts'
import { indented } from './layout.ts'
import { isInterruption } from './signals.ts'
import { wandbKey } from './wandb-key.ts'

export const WANDB_WORKSPACE_HELP = `nightshift wandb workspace: set up a view of the figures at W&B

  --entity E       user or team (default WANDB_ENTITY, else the key's own)
  --project P      project (default WANDB_PROJECT, else gpt_batch_api)
  --name N         what the view is called (default Nightshift)
  --from VIEW      copy that view in place of making ours: entity/project/view,
                   where view is what follows "nw=" in its address, or that
                   address; without what is of its runs and its project
  --print          print the JSON of the view, and save nothing
  --json           print what was done as one JSON object
  --help           this text

Saves a view with line plots of every figure, in sections. A view that this
command saved under the same name is replaced, with what was changed in it by
hand. The project needs at least one run. The key is WANDB_API_KEY, or the netrc
entry of the host. If it cannot be done, the steps to do it by hand are printed.
Exit code 3: W&B cannot be reached, try again later.`

const form = {
  usage: 'nightshift wandb workspace',
  table: {},
  flags: z.object({
    ...jsonFlag,
    entity: z.string().optional(),
    project: z.string().optional(),
    name: z.string().default('Nightshift'),
    from: z.string().optional(),
    print: z.boolean().default(false),
  }),
} as const

/** What is to be done, checked as far as it can be without W&B. */
interface Wish {
  readonly entity: string | undefined
  readonly project: string
  readonly displayName: string
  readonly from: ViewPlace | undefined
  readonly print: boolean
  readonly json: boolean
}

/**
 * `nightshift wandb workspace`: resolves with the exit code. Throws UsageError for wrong flags and for a missing key,
 * and NightshiftError for what else kept the view from being saved; the steps to do it by hand are printed before.
 */
export async function wandbWorkspace(argv: readonly string[], io: CommandIo): Promise<number> {
  const command = readCommand(argv, form)
  if (!command) {
    io.stdout(WANDB_WORKSPACE_HELP)
    return 0
  }
  const environment = readEnvironment(io.env).wandb
  const wish = wishOf(command.flags, environment)
  if (wish.print && !wish.from) {
    io.stdout(JSON.stringify(ownSpec(), null, 2))
    return 0
  }
  // Known to the steps by hand as soon as anybody does.
  let { entity } = wish
  try {
    const api = connected(await wandbKey(environment, environment.baseUrl), environment, io)
    if (wish.print && wish.from) {
      io.stdout(JSON.stringify(await copiedSpec(api, wish.from), null, 2))
      return 0
    }
    entity ??= await entityOf(api)
    const spec = wish.from ? await copiedSpec(api, wish.from) : ownSpec()
    tell(await setUpView(api, { ...wish, entity }, spec), environment, io, wish.json)
    return 0
  } catch (error) {
    if (!NightshiftError.is(error) || isInterruption(error) || wish.print) throw error
    tellByHand(error, { ...wish, entity, appUrl: appUrl(environment.baseUrl) }, wish, io)
    if (isPassing(error)) return TRY_AGAIN
    throw error
  }
}

/** As with `nightshift wandb sync`: the same command may do it later. */
const TRY_AGAIN = 3

const isPassing = ({ code }: NightshiftError): boolean =>
  code === 'wandb_unreachable' || code === 'wandb_busy'

function wishOf(flags: z.output<typeof form.flags>, environment: WandbEnvironment): Wish {
  const { entity = environment.entity, project = environment.project, name, from, print, json } = flags
  return {
    entity: entity === undefined ? undefined : checkedPart('--entity', entity),
    project: checkedPart('--project', project),
    displayName: checkedViewName(name),
    from: from === undefined ? undefined : viewPlaceOf(from),
    print,
    json,
  }
}

const plan = () => planView(PLOTTED_METRICS)
const ownSpec = (): JsonObject => viewSpec(plan())

/** For one call. */
const TIMEOUT_MS = 30_000

function connected(key: Secret, { baseUrl }: WandbEnvironment, { fetch, signal }: CommandIo): ViewApi {
  return new ViewApi({ key, baseUrl, fetch: fetch ?? globalThis.fetch, timeoutMs: TIMEOUT_MS, signal })
}

async function entityOf(api: ViewApi): Promise<string> {
  const entity = await api.entity()
  if (entity !== undefined) return entity
  const message = 'W&B does not say whom the API key stands for; name a user or a team by --entity'
  throw new NightshiftError('wandb_no_entity', message)
}

function tell(view: SavedView, { baseUrl }: WandbEnvironment, io: CommandIo, json: boolean): void {
  const url = viewUrl(appUrl(baseUrl), view)
  const what = view.isNew ? 'saved' : 'replaced'
  const contents = `${amount(view.panels, 'panel')} in ${amount(view.sections, 'section')}`
  const text = `view ${view.displayName} ${what} in ${view.entity}/${view.project}: ${contents}`
  const lines = json ? [JSON.stringify({ ...view, url }, null, 2)] : [...indented(text, io.columns, 0), url]
  for (const line of lines) io.stdout(line)
}

function tellByHand(error: NightshiftError, target: HandTarget, { from, json }: Wish, io: CommandIo): void {
  const steps = from ? copyByHand(target, from) : stepsByHand(target, plan())
  const { code, message } = error
  const lines = json
    ? [JSON.stringify({ error: { code, message }, steps }, null, 2)]
    : [
        // What is thrown is told at the end, by whoever ends the program.
        ...(isPassing(error) ? indented(message, io.columns, 0) : []),
        'The view was not saved. By hand it goes like this:',
        ...steps.flatMap(numbered(io.columns)),
      ]
  for (const line of lines) io.stdout(line)
}

const numbered =
  (columns: number) =>
  (step: string, index: number): string[] => {
    const [first = '', ...others] = indented(step, columns, 4)
    return [`${String(index + 1).padStart(2)}. ${first.trimStart()}`, ...others]
  }
