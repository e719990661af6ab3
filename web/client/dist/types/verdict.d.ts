export type Verdict = 
/** All are held. */
{
    readonly kind: 'done';
    readonly held: number;
    readonly lastId: string | undefined;
}
/** The same under the same numbers, later. */
 | {
    readonly kind: 'again';
    readonly why: string;
}
/** One will never be taken; those before it are held. */
 | {
    readonly kind: 'item';
    readonly item: number;
    readonly why: string;
}
/** The hub does not know the producer (any more): `expected` is next. */
 | {
    readonly kind: 'ahead';
    readonly expected: number;
    readonly why: string;
}
/** A later epoch has begun elsewhere. */
 | {
    readonly kind: 'replaced';
    readonly why: string;
}
/** Nothing of it will ever be taken. */
 | {
    readonly kind: 'never';
    readonly why: string;
};
/** Judges an answer to `events` events. */
export declare function judge(status: number, body: string, events: number): Verdict;
