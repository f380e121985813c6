/** What one call brought. */
export type Got =
  /** An answer, or an error that is not about the connection. */
  | { readonly kind: 'answer'; readonly text: string }
  | { readonly kind: 'error'; readonly status: number | undefined; readonly message: string }
  /** Nothing, or the beginning of something: it is to be made again. */
  | { readonly kind: 'broken'; readonly why: string }
