/** Suffixes of a task's side files, as they follow its name (design: files on disk). */
export const queueFileName = (file: number): string => `_batch${file}.jsonl`
export const resultFileName = (file: number): string => `_batch${file}_result.jsonl`
/** `place` is that of the stray among the task's strays. */
export const strayFileName = (file: number, place: number): string => `_batch${file}_stray${place}.jsonl`
export const repliesFileName = (file: number): string => `_replies${file}.jsonl`
/** Under what name a file of replies stays (`--keep-replies`): never that of a side file, of whatever task. */
export const keptFileName = (suffix: string, place: number): string =>
  suffix.replace(/\.jsonl$/, `_kept${place > 1 ? place : ''}.jsonl`)
export const FAILED_FILE = '_failed.jsonl'
export const STATE_FILE = '_state.json'

/** Files that hold replies as the server gave them. */
export const holdsReplies = (suffix: string): boolean =>
  /^_(batch\d+_(result|stray\d+)|replies\d+)\.jsonl$/.test(suffix)

/** Direct replies are durable before the ledger names them: whole lines beyond its length count. */
export const keepsTail = (suffix: string): boolean => /^_replies\d+\.jsonl$/.test(suffix)

/** Local files of a queue file, beside its queue file itself. */
export const filesOf = (file: number): readonly string[] => [
  queueFileName(file),
  resultFileName(file),
  repliesFileName(file),
]

/** Files that only a ledger can account for. */
export const isSideFile = (suffix: string): boolean =>
  /^_(batch\d+(_result|_stray\d+)?|replies\d+|failed|output(_part\d+)?)\.jsonl$/.test(suffix)

/** Files of the queue and of what was received. What a crash left of one that was never committed is made anew. */
export const isTransient = (suffix: string): boolean =>
  /^_(batch\d+(_result|_stray\d+)?|replies\d+)\.jsonl$/.test(suffix)
