/** Below, equal or above 0 as `a` stands before, at or after `b`; `undefined` if nobody can say. */
export declare function compare(a: string, b: string): number | undefined;
/** Whether what stands at `id` has not been seen by who has seen all up to `after`. */
export declare const isNew: (id: string, after: string) => boolean;
/** Whether who has seen all up to `after` misses something of a stream that goes on behind `before`. */
export declare const isHole: (before: string, after: string) => boolean;
/** The earlier of the two; if nobody can say, `a`. */
export declare const earlier: (a: string, b: string) => string;
