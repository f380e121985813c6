/** How to go on with a batch: at once, or not before a time in milliseconds since 1970 by the store's clock. */
export type Next = 'on' | { readonly atMs: number }

/** What became of a call that may be repeated: its result, or when it is to be tried again. */
export type Tried<Result> =
  | { readonly ok: true; readonly result: Result }
  | { readonly ok: false; readonly next: Next }
