import { UsageError } from '../../errors.ts'
import { quoteValue } from '../../util/option-names.ts'
import { stableId } from './view-spec.ts'

/** Where a view is, or is to be. */
export interface ViewPlace {
  readonly entity: string
  readonly project: string
  /** W&B's own name of the view, `nw-<token>-v`; not the one that people see. */
  readonly viewName: string
}

const PART = /^[^\s/\\#?%:]{1,128}$/

/** An entity (a user or a team) or a project. Throws UsageError `bad_option`. */
export function checkedPart(flag: string, text: string): string {
  if (PART.test(text)) return text
  throw new UsageError(
    'bad_option',
    `${flag} is ${quoteValue(text)}, but must be the name of ${flag.includes('entity') ? 'a user or a team' : 'a project'} as it stands in W&B's addresses, without "/"`,
  )
}

const MOST_NAME = 128

/** What people see as the view's name. Throws UsageError `bad_option`. */
export function checkedViewName(text: string): string {
  const name = text.trim()
  // W&B's own package refuses pictographs in names of views as well.
  if (name !== '' && name.length <= MOST_NAME && !/[\p{Cc}\p{Extended_Pictographic}]/u.test(name)) return name
  const message = `--name is ${quoteValue(text)}, but must be 1 to ${MOST_NAME} characters, none of them a control character or an emoji`
  throw new UsageError('bad_option', message)
}

/**
 * W&B's name for our view. It follows from what it is called and where, so that setting it up again changes that view
 * in place of adding another.
 */
export const ownViewName = (entity: string, project: string, displayName: string): string =>
  `nw-${stableId(`view ${entity}/${project}/${displayName}`)}-v`

const TOKEN = /^[A-Za-z0-9][A-Za-z0-9_-]*$/

/**
 * Reads `--from`: `entity/project/view`, where the view is the part of its address after `nw=`, or that whole address.
 * Throws UsageError `bad_option`.
 */
export function viewPlaceOf(text: string): ViewPlace {
  const url = /^https?:\/\//.test(text) ? URL.parse(text) : null
  const token = url?.searchParams.get('nw')
  const path = url ? `${url.pathname.replace(/\/(workspace)?\/?$/, '')}/${token ?? ''}` : text
  const [entity = '', project = '', view = '', ...more] = path.replace(/^\//, '').split('/').map(decoded)
  if (more.length === 0 && PART.test(entity) && PART.test(project) && TOKEN.test(view))
    return { entity, project, viewName: internalName(view) }
  const message =
    `--from is ${quoteValue(text)}, but must be entity/project/view, where view is what follows "nw=" in the ` +
    "view's address, or that whole address"
  throw new UsageError('bad_option', message)
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    // Not an encoded text: taken as it stands, and judged by its form.
    return part
  }
}

/** Of a token, or a name that is one already. Personal workspaces end in `-w`, and their token begins with `nwuser`. */
const internalName = (text: string): string =>
  INTERNAL.test(text) ? text : `nw-${text}-${text.startsWith('nwuser') ? 'w' : 'v'}`

const INTERNAL = /^nw-(.+)-[vw]$/

/** The address of a view, at the app that belongs to an API. */
export const viewUrl = (appUrl: string, { entity, project, viewName }: ViewPlace): string =>
  `${projectUrl(appUrl, entity, project)}?nw=${viewName.replace(INTERNAL, '$1')}`

export const projectUrl = (appUrl: string, entity: string, project: string): string =>
  `${appUrl}/${encodeURIComponent(entity)}/${encodeURIComponent(project)}`
