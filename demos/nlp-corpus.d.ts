/** The parts of `nlp-corpus` that the demo uses; the package itself has no types. */
declare module 'nlp-corpus' {
  const corpus: {
    /** The first `max` of 100,000 English sentences, in an order that is always the same. */
    some(max: number): string[]
  }
  export default corpus
}
