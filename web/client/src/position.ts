// The hub's ids as places in its log: `epoch.sequence`, and perhaps `~` and the publisher's own id. Within an epoch they
// can be compared; across epochs only the hub knows, and tells a gap.

const PLACE = /^([0-9a-z]+)\.([0-9a-z]+)(?:~|$)/;

/** Below, equal or above 0 as `a` stands before, at or after `b`; `undefined` if nobody can say. */
export function compare(a: string, b: string): number | undefined {
  if (a === b) return 0;
  const [left, right] = [PLACE.exec(a), PLACE.exec(b)];
  if (!left || !right || left[1] !== right[1]) return undefined;
  const [one, two] = [left[2] ?? '', right[2] ?? ''];
  // Numbers without leading zeros: the longer is the greater.
  if (one.length !== two.length) return one.length - two.length;
  return one < two ? -1 : one > two ? 1 : 0;
}

/** Whether what stands at `id` has not been seen by who has seen all up to `after`. */
export const isNew = (id: string, after: string): boolean => after === '' || (compare(id, after) ?? 1) > 0;

/** Whether who has seen all up to `after` misses something of a stream that goes on behind `before`. */
export const isHole = (before: string, after: string): boolean =>
  before !== '' && after !== '' && (compare(before, after) ?? 1) > 0;

/** The earlier of the two; if nobody can say, `a`. */
export const earlier = (a: string, b: string): string => (a === '' || (b !== '' && (compare(a, b) ?? -1) > 0) ? b : a);
