/** Where in the output the next line goes: the part, and what is in it already. */
export interface OutputCursor {
  /** From 1. */
  readonly part: number
  readonly lines: number
  readonly bytes: number
}

/** What a requester must know about an output to append to it. All of it is pure: the bytes are written by the commit. */
export interface OutputPlacement {
  /** One line with its line break. Throws TaskError naming the key for a value that cannot be written. */
  encode(value: unknown, key: string): string
  /** The part that a line of so many bytes goes to; a new part starts at 0 lines and 0 bytes. */
  place(cursor: OutputCursor, bytes: number): OutputCursor
  /** File suffix of a part, such as `_output.jsonl`. */
  suffix(part: number): string
}
