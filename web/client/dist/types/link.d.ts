import { type ConnectionInit, type SourceError } from './index.js';
/** An event, or a position alone. */
export type LinkItem = readonly [id: string] | readonly [id: string, type: string, data: string];
export interface LinkSink {
    /** These follow, in order, upon what stands at `before`. */
    batch(before: string, items: readonly LinkItem[]): void;
    state(state: 0 | 1 | 2, error?: SourceError, afterMs?: number): void;
}
export interface Link {
    /** From now on all of these topics, and nothing after `after` may be missing. */
    want(selectors: readonly string[], after: string): void;
    reconnectNow(): void;
    close(): void;
}
export type MakeLink = (url: URL, init: ConnectionInit, sink: LinkSink) => Link;
/** Whether one stream can have all of these. */
export declare function fits(selectors: ReadonlySet<string>): boolean;
/** A link with a connection of its own. */
export declare class Stream implements Link {
    #private;
    constructor(url: URL, init: ConnectionInit, sink: LinkSink);
    /** Where it stands. */
    get position(): string;
    want(selectors: readonly string[], after: string): void;
    reconnectNow(): void;
    close(): void;
}
/** The earliest of several places. */
export declare const earliest: (places: Iterable<string>) => string;
