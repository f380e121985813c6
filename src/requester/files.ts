/** Suffixes of a task's side files, as they follow its name (design: files on disk). */
export const queueFileName = (file: number): string => `_batch${file}.jsonl`
export const resultFileName = (file: number): string => `_batch${file}_result.jsonl`
export const repliesFileName = (file: number): string => `_replies${file}.jsonl`
export const FAILED_FILE = '_failed.jsonl'
export const STATE_FILE = '_state.json'

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
  /^_(batch\d+(_result)?|replies\d+|failed|output(_part\d+)?)\.jsonl$/.test(suffix)
