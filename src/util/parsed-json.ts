/** The value of a JSON text; undefined, which no JSON text has for its value, when it is none: what that means is for the caller to say. */
export function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
