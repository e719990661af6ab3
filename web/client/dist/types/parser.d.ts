/** What a stream says. `retryMs` is `undefined` after an empty `retry:`, which resets it. */
export type Item = {
    readonly kind: 'event';
    readonly type: string;
    readonly data: string;
    readonly id: string;
} | {
    readonly kind: 'id';
    readonly id: string;
} | {
    readonly kind: 'retry';
    readonly retryMs: number | undefined;
} | {
    readonly kind: 'comment';
    readonly text: string;
};
/** An event, or a line, has more bytes than the parser may hold. */
export declare class TooLarge extends Error {
}
export declare class Parser {
    #private;
    lastEventId: string;
    constructor(lastEventId: string, bytesMax: number);
    /** What these bytes complete. Whoever stops early has given up the stream. */
    push(chunk: Uint8Array): Generator<Item, void>;
}
