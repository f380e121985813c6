/** A picture made of square cells of one colour each, `CELL` pixels wide. */
export interface Mosaic {
  readonly columns: number
  readonly rows: number
  /** `0xRRGGBB` of each cell, row by row. */
  readonly cells: readonly number[]
}

/** Pixels. As wide as a block of a JPEG, so that both formats show a cell exactly. */
export const CELL = 8

/** What is drawn, and what a model should see in it. */
export interface Drawing {
  /** Its file name; the ending tells the format. */
  readonly name: string
  /** Pixels. */
  readonly width: number
  readonly height: number
  readonly ground: Colour
  readonly ink: Colour
  readonly squares: number
}

export const COLOURS = { red: 0xd03030, green: 0x30a040, blue: 0x3050d0, yellow: 0xf0d020, white: 0xf8f8f8 }
export type Colour = keyof typeof COLOURS

export const isColour = (name: string): name is Colour => name in COLOURS
const NAMES = Object.keys(COLOURS).filter(isColour)
const SIZES = [
  [256, 256],
  [512, 512],
  [800, 600],
  [1024, 768],
  [1600, 1200],
] as const
const COUNT = 60
const MOST_SQUARES = 9
/** Squares stand in a lattice of so many columns and rows, each in the middle of its field. */
const LATTICE = 3

/** The pictures of the demo, always the same: PNG and JPEG in turn, several sizes, one to nine squares. */
export const drawings: readonly Drawing[] = Array.from({ length: COUNT }, (_, index) => {
  const [width = 0, height = 0] = SIZES[Math.floor(index / 2) % SIZES.length] ?? []
  const turn = Math.floor(index / NAMES.length)
  return {
    name: `picture-${String(index + 1).padStart(2, '0')}.${index % 2 === 0 ? 'png' : 'jpg'}`,
    ...{ width, height },
    ground: NAMES[index % NAMES.length] ?? 'white',
    ink: NAMES[(index + 1 + (turn % (NAMES.length - 1))) % NAMES.length] ?? 'red',
    squares: 1 + ((index * 7) % MOST_SQUARES),
  }
})

/** Draws squares on a ground. */
export function mosaicOf({ width, height, ground, ink, squares }: Drawing): Mosaic {
  const [columns, rows] = [width / CELL, height / CELL]
  const [fieldWidth, fieldHeight] = [Math.floor(columns / LATTICE), Math.floor(rows / LATTICE)]
  const side = Math.floor(Math.min(fieldWidth, fieldHeight) / 2)
  const cells = Array.from({ length: columns * rows }, () => COLOURS[ground])
  for (let square = 0; square < squares; square++) {
    const left = (square % LATTICE) * fieldWidth + Math.floor((fieldWidth - side) / 2)
    const top = Math.floor(square / LATTICE) * fieldHeight + Math.floor((fieldHeight - side) / 2)
    for (let row = top; row < top + side; row++) {
      cells.fill(COLOURS[ink], row * columns + left, row * columns + left + side)
    }
  }
  return { columns, rows, cells }
}
