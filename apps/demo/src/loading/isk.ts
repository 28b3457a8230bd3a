/** ISK to the cent. A float of hundreds of billions would lose cents when many are added. */

export const toCents = (valueIsk: number): bigint => BigInt(Math.round(valueIsk * 100))

/** As PostgreSQL's numeric takes it. */
export const formatCents = (cents: bigint): string => `${cents / 100n}.${String(cents % 100n).padStart(2, '0')}`
