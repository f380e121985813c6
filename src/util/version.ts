/** The version of this package. */
export const VERSION = '0.5.0'

/** "needs Nightshift 0.3.0 or later; this is 0.2.0". `needs`: the first release that would do, if that is known. */
export const versionNeeded = (needs: string | undefined): string =>
  needs === undefined
    ? `needs a newer Nightshift than this one, ${VERSION}`
    : `needs Nightshift ${needs} or later; this is ${VERSION}`
