import { z } from 'zod'
import { DEADLINE_ALLOWED, deadlineSchema } from './duration.ts'
import type { OptionEntry, OptionFacts, OptionInput, OptionOutput, OptionTable } from './option-entry.ts'

/** Node's timers fire at once when they are asked to wait longer than this. */
const LONGEST_TIMER_MS = 2 ** 31 - 1
const LONGEST_TIMER_SECONDS = Math.floor(LONGEST_TIMER_MS / 1000)

/** The request index counts tries in 16 bits. */
const MOST_TRIES = 65_535

const flag = (value: boolean) => z.boolean().default(value)
const whole = (min: number, max?: number) =>
  max === undefined ? z.int().min(min) : z.int().min(min).max(max)
const timer = (min: number) => z.number().min(min).max(LONGEST_TIMER_SECONDS)

const inGroup =
  (group: string) =>
  <Schema extends z.ZodType>(
    schema: Schema,
    help: string,
    more: Omit<OptionFacts, 'group' | 'help'> = {},
  ): OptionEntry<Schema> => ({ schema, group, help, ...more })

const task = inGroup('Task')
const action = inGroup('What to do')
const failure = inGroup('Failures and retries')
const server = inGroup('Server')
const lock = inGroup('Lock')
const pace = inGroup('Waiting')
const screen = inGroup('Screen')
const wandb = inGroup('Weights & Biases')
const limit = inGroup('Limits')
const batch = inGroup('Batches')
const direct = inGroup('Direct calls')
const money = inGroup('Money')
const estimate = inGroup('Estimates')
const price = (help: string) =>
  money(z.number().min(0).optional(), help, { unit: 'USD', value: 'usd' } as const)

const MATCHING_CASE = { ignoreCase: true } as const
export const hasNoCredentials = (url: string): boolean => {
  const parsed = URL.parse(url)
  return parsed === null || (parsed.username === '' && parsed.password === '')
}

/** What is part of an address at Weights & Biases. */
const wandbName = (most: number) =>
  z.string().regex(new RegExp(`^(?! )[^/\\\\#?%:\\p{Cc}]{1,${most}}(?<! )$`, 'u'))

/** Every option of this release: the types, the flags, the help and the docs all come from here. */
export const optionTable = {
  name: task(
    z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/),
    'Name of the task: all its files begin with it',
    {
      allowed: '1 to 64 letters, digits, ".", "_" or "-", the first a letter or digit',
      old: ['task-prefix'],
    },
  ),
  taskDir: task(z.string().min(1).default('tasks'), 'Folder that holds the files of the task', {
    value: 'dir',
    allowed: 'the path of a folder',
  }),

  run: action(flag(true), 'Do the work; with --no-run the task is only opened, wiped if asked to, and shown'),
  dryRun: action(flag(false), 'Show what would be done; nothing is sent and no file is changed', {
    old: ['dryrun'],
  }),
  quote: action(
    flag(false),
    'Say what the new requests would cost, and what the limits let be sent; nothing is sent and no file is changed',
  ),
  fetchImageSizes: action(
    flag(false),
    'Only with --quote: read the sizes of remote images from their first bytes; otherwise, and in every run, 1024 x 1024 pixels are assumed',
  ),
  pilot: action(
    whole(1).optional(),
    'Send so many requests first, directly and spread over the task; then show what came of them and what the rest will cost, and ask before going on',
    { unit: 'requests' },
  ),
  yes: action(flag(false), 'Go on after a pilot without asking'),
  onlyProcess: action(flag(false), 'Collect what was sent already; nothing new is generated or sent'),
  wipeRequests: action(
    flag(false),
    'Cancel and forget the requests that have no answer yet; answers that arrived are kept',
  ),
  wipeFailed: action(
    flag(false),
    'As --wipe-requests, and also forget failed requests, so that they are made anew',
  ),
  wipeTask: action(flag(false), 'Forget the whole task, answers included, and begin again'),
  retryFailed: action(flag(false), 'Put failed requests back to work, with all their attempts'),
  reinitParams: action(
    flag(false),
    'Replace the frozen parameters of the task; requests that are pending keep their bodies',
    { old: ['reinit-meta'] },
  ),
  keepReplies: action(
    flag(false),
    'Keep every raw reply in a file beside the task; otherwise replies are removed once all in their file are judged',
  ),

  processFailedBatches: failure(
    z.int().default(0),
    'How many failed batches this run may finish instead of stopping; negative: any number',
    { unit: 'batches' },
  ),
  retryFatalRequests: failure(flag(false), 'Try requests again after errors that count as fatal, too'),
  maxRetries: failure(whole(0, MOST_TRIES).default(2), 'How often a failed request is tried again', {
    unit: 'retries',
  }),
  maxExpiries: failure(
    whole(0, MOST_TRIES).default(5),
    'How often one request may come back expired or cancelled before it fails; these are no retries',
    { unit: 'expiries' },
  ),
  minPassRatio: failure(
    z.number().min(0).max(1).default(0.5),
    'A batch passes when at least this share of its requests succeeded, or came back untried',
    { value: 'ratio' },
  ),
  maxPassFailures: failure(
    whole(1).default(2),
    'How many batches in a row may not pass before the run stops',
    {
      unit: 'batches',
    },
  ),

  endpoint: server(
    z.enum(['/v1/chat/completions', '/v1/responses', '/v1/embeddings']).optional(),
    'Endpoint of the requests; otherwise the one the task names, or /v1/chat/completions',
    { value: 'path', old: ['chat-endpoint'], env: 'OPENAI_ENDPOINT' },
  ),
  clientBaseUrl: server(
    z
      .url({ protocol: /^https?$/ })
      .refine(hasNoCredentials)
      .optional(),
    "Base URL of the server, up to and including /v1; otherwise OpenAI's",
    { value: 'url', allowed: 'an http or https URL without user name and password', env: 'OPENAI_BASE_URL' },
  ),
  openaiOrganization: server(z.string().min(1).optional(), 'Organisation that is charged', {
    value: 'id',
    allowed: 'the id of an organisation',
    env: 'OPENAI_ORG_ID',
  }),
  openaiProject: server(z.string().min(1).optional(), 'Project that is charged', {
    value: 'id',
    allowed: 'the id of a project',
    env: 'OPENAI_PROJECT_ID',
  }),
  emulator: server(
    flag(false),
    'Use a built-in emulator of the server: no key, no network, no cost; it keeps its data in the task folder',
  ),
  scenario: server(
    z.string().min(1).optional(),
    'File that says what goes wrong at the emulator, and when: see docs/scenarios.md; needs --emulator',
    { value: 'file', allowed: 'the path of a file' },
  ),

  lockTimeout: lock(
    z.number().default(0),
    'How long to wait while another process holds the task; 0: stop at once, negative: wait for ever',
    { unit: 's' },
  ),
  lockPollInterval: lock(timer(0.01).default(0.25), 'How often to look whether the task is free', {
    unit: 's',
  }),
  lockStatusInterval: lock(timer(0.01).default(5), 'How often to say that the task is still held', {
    unit: 's',
  }),

  remoteUpdateInterval: pace(timer(1).default(10), 'How often running batches are asked for their state', {
    unit: 's',
  }),
  waitSaveInterval: pace(
    timer(10).default(900),
    'How often progress of running batches is saved while nothing else happens',
    { unit: 's' },
  ),
  maxWait: pace(
    z.number().min(0).default(86_400),
    'How long to wait for an exhausted account or a dead network before the run stops',
    { unit: 's' },
  ),
  deadline: pace(
    deadlineSchema.optional(),
    'When all is to be done: batches while they will make it, then flex calls, then direct calls, within all limits; at that time the run stops. A time span counts from the start of this run; a point in time is the same for every run',
    { value: 'time', allowed: DEADLINE_ALLOWED },
  ),
  createGraceMs: pace(
    whole(0, LONGEST_TIMER_MS).default(30_000),
    'How long to look for a batch whose creation got no clear answer before it is created anew',
    { unit: 'ms' },
  ),

  log: screen(
    z.enum(['auto', 'live', 'plain', 'json']).default('auto'),
    'How progress is told: live, as lines, or as one JSON object a line; auto: live on a terminal, else lines',
    MATCHING_CASE,
  ),
  directVerbose: screen(
    z.enum(['never', 'error', 'warn', 'always']).default('never'),
    'Which direct calls are printed, with request and reply',
    MATCHING_CASE,
  ),
  showWarnings: screen(
    whole(1).default(50),
    'How many warnings of one kind are printed; the rest is counted',
    {
      unit: 'warnings',
    },
  ),
  showErrors: screen(whole(1).default(25), 'How many errors of one kind are printed; the rest is counted', {
    unit: 'errors',
  }),

  wandb: wandb(
    z.boolean().optional(),
    'Send the history of the task to Weights & Biases; otherwise it is sent when WANDB_API_KEY is set or ~/.netrc has an entry for the server',
  ),
  wandbProject: wandb(wandbName(128).default('gpt_batch_api'), 'Project that the run is in', {
    value: 'name',
    allowed: 'a name of up to 128 characters without / \\ # ? % :',
    env: 'WANDB_PROJECT',
  }),
  wandbEntity: wandb(
    wandbName(128).optional(),
    'User or team that the project belongs to; otherwise the default one of the key',
    { value: 'name', allowed: 'the name of a user or a team', env: 'WANDB_ENTITY' },
  ),
  wandbName: wandb(
    z.string().min(1).max(128).optional(),
    'Name that the run is shown by; otherwise the name of the task',
    { value: 'name', allowed: '1 to 128 characters', env: 'WANDB_NAME' },
  ),
  wandbGroup: wandb(
    z.string().min(1).max(128).optional(),
    "Group that the run is in; otherwise the name of the task's class",
    { value: 'name', allowed: '1 to 128 characters', env: 'WANDB_RUN_GROUP' },
  ),
  wandbRunId: wandb(
    wandbName(128).optional(),
    'Id of the run, which is made or continued; otherwise a random one that the task keeps',
    { value: 'id', allowed: '1 to 128 characters without / \\ # ? % :', env: 'WANDB_RUN_ID' },
  ),
  wandbDir: wandb(
    z.string().min(1).optional(),
    'Folder for what is kept about the delivery; otherwise the folder of the task',
    { value: 'dir', allowed: 'the path of a folder', env: 'WANDB_DIR' },
  ),

  maxTaskRequests: limit(
    whole(0).default(10_000_000),
    'Requests that may be sent in the whole life of the task',
    {
      unit: 'requests',
    },
  ),
  maxSessionRequests: limit(
    whole(0).default(5_000_000),
    'Requests that may be sent in one run; 0: nothing is sent',
    {
      unit: 'requests',
    },
  ),
  maxTaskKtokens: limit(
    z.number().min(0).default(5_000_000),
    'Prompt tokens, as estimated, that may be sent in the whole life of the task',
    { unit: 'thousand tokens' },
  ),
  maxTaskCost: limit(
    z.number().min(0).default(1000),
    'Cost, as estimated, of what may be sent in the whole life of the task',
    { unit: 'USD' },
  ),
  maxSessionKtokens: limit(
    z.number().min(0).default(2_500_000),
    'Prompt tokens, as estimated, that may be sent in one run',
    { unit: 'thousand tokens' },
  ),
  maxSessionCost: limit(
    z.number().min(0).default(500),
    'Cost, as estimated, of what may be sent in one run',
    { unit: 'USD' },
  ),
  maxUnpushedBatches: limit(
    whole(1).default(5),
    'Batches that may wait on disk before no more requests are generated',
    {
      unit: 'batches',
    },
  ),
  maxRemoteBatches: limit(
    whole(0).default(15),
    'Batches that may be at the server at one time; 0: none is sent',
    {
      unit: 'batches',
    },
  ),
  maxRemoteRequests: limit(
    whole(1).default(5_000_000),
    'Requests that may be in batches at the server at one time',
    {
      unit: 'requests',
    },
  ),
  maxRemoteMb: limit(z.number().min(1).default(10_000), 'Size of all batches at the server at one time', {
    unit: 'MB',
  }),

  maxRemoteKtokens: limit(
    z.number().min(1).default(60_000),
    'Prompt tokens, as estimated, of all batches at the server at one time',
    { unit: 'thousand tokens' },
  ),
  maxRemoteCost: limit(
    z.number().min(0.01).default(150),
    'Cost, as estimated, of all batches at the server at one time',
    { unit: 'USD' },
  ),

  maxSpend: money(
    z.number().min(0).optional(),
    'Hard cap on what the task may cost in its whole life: the worst case of every request is set aside before it is sent, so it is never passed; every request needs a maximum of output tokens',
    { unit: 'USD' },
  ),
  cache: money(
    z.string().min(1).optional(),
    'Folder of answers that tasks share: a request whose endpoint and body were answered before gets that answer and costs nothing; accepted answers are kept there',
    { value: 'dir', allowed: 'the path of a folder' },
  ),
  dedupe: money(
    flag(false),
    'Ask identical requests of the task once: those that are added while the first waits for its answer get the same; with --cache later ones, too',
  ),
  costInputDirectMtoken: price('Price of a million prompt tokens by direct calls; default: the price table'),
  costInputCachedMtoken: price('The same for prompt tokens from the cache'),
  costInputCacheWriteMtoken: price('The same for prompt tokens that are written to the cache'),
  costOutputDirectMtoken: price('Price of a million output tokens by direct calls'),
  costInputBatchMtoken: price(
    'Price of a million prompt tokens by batch and flex; default: half of the direct price',
  ),
  costInputCachedBatchMtoken: price('The same for prompt tokens from the cache'),
  costInputCacheWriteBatchMtoken: price('The same for prompt tokens that are written to the cache'),
  costOutputBatchMtoken: price('Price of a million output tokens by batch and flex'),

  assumedCompletionRatio: estimate(
    z.number().min(0).max(1).default(0.5),
    'Share of the allowed output tokens that answers are expected to use',
    { value: 'ratio', old: ['completion-ratio'] },
  ),
  warnPredictedInputFactor: estimate(
    z.number().min(1).default(1.2),
    'Warn when the prompt tokens of a batch were estimated wrong by more than this',
    { value: 'factor' },
  ),
  warnAssumedCompletionFactor: estimate(
    z.number().min(1).default(1.6),
    'Warn when the output tokens of a batch were assumed wrong by more than this',
    { value: 'factor' },
  ),
  tokenEstimatorWarn: estimate(
    z.enum(['never', 'once', 'always']).default('once'),
    'How often to say that an estimate rests on an assumption, such as an unknown model',
    MATCHING_CASE,
  ),

  minBatchRequests: batch(whole(1).default(101), 'A smaller batch is sent as direct calls instead', {
    unit: 'requests',
  }),
  maxBatchRequests: batch(whole(1, 50_000).default(50_000), 'Requests in one batch', { unit: 'requests' }),
  maxBatchMb: batch(z.number().min(1).max(200).default(100), 'Size of one batch file', { unit: 'MB' }),
  maxBatchKtokens: batch(z.number().min(1).default(20_000), 'Prompt tokens, as estimated, in one batch', {
    unit: 'thousand tokens',
  }),
  maxBatchCost: batch(z.number().min(0.01).default(50), 'Cost, as estimated, of one batch', { unit: 'USD' }),
  maxTokenSafety: batch(
    z.number().min(1).default(1.05),
    'Limits in tokens are divided by this, to stay clear of them',
    { value: 'factor' },
  ),
  maxMbSafety: batch(
    z.number().min(1).default(1.01),
    'Limits in MB are divided by this, to stay clear of them',
    {
      value: 'factor',
    },
  ),

  forceDirect: direct(flag(false), 'Send everything as direct calls, at the full price'),
  maxDirectRequests: direct(
    whole(1).default(50),
    'Requests that are taken together as one group of direct calls',
    {
      unit: 'requests',
    },
  ),
  maxDirectKtokens: direct(
    z.number().min(1).default(500),
    'Prompt tokens, as estimated, in one group of direct calls',
    { unit: 'thousand tokens' },
  ),
  maxDirectCost: direct(z.number().min(0.01).default(5), 'Cost, as estimated, of one group of direct calls', {
    unit: 'USD',
  }),
  directConcurrency: direct(whole(1, 1000).default(16), 'Direct calls that are on the wire at one time', {
    unit: 'calls',
  }),
  requestTimeoutMs: direct(whole(1, LONGEST_TIMER_MS).default(600_000), 'How long one call may take', {
    unit: 'ms',
  }),
  processConcurrency: direct(
    whole(1).default(1),
    'Replies that processResponse may work on at one time; those of one sample always go one after another',
  ),
} as const satisfies OptionTable

/** Options as users write them. All may be left out here; `name` must be known when they are resolved. */
export type TaskOptions = OptionInput<typeof optionTable>

/** Options as the program uses them: checked, with all defaults. */
export type ResolvedOptions = OptionOutput<typeof optionTable>

/** Pairs in which the first may not be below the second. */
export const atLeast = [
  ['maxRemoteRequests', 'maxBatchRequests'],
  ['maxRemoteMb', 'maxBatchMb'],
  ['maxRemoteKtokens', 'maxBatchKtokens'],
  ['maxRemoteCost', 'maxBatchCost'],
] as const satisfies readonly (readonly [keyof ResolvedOptions, keyof ResolvedOptions])[]
