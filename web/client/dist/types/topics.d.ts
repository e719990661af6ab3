import { type ConnectionInit, SourceError } from './index.js';
import { type Gap } from './history.js';
import { type MakeLink } from './link.js';
export type { Gap, HistoryEvent } from './history.js';
export { historyPage } from './history.js';
export { Stream, earliest, fits, type Link, type LinkItem, type LinkSink, type MakeLink } from './link.js';
export { compare } from './position.js';
/** An event of a topic. */
export interface TopicEvent {
    /** The first topic that it was published to. */
    readonly topic: string;
    /** All of them. */
    readonly topics: readonly string[];
    /** `message` if it has no type. */
    readonly type: string;
    readonly data: string;
    /** Of binary topics: `data` is base64. */
    readonly encoding: 'base64' | undefined;
    readonly lastEventId: string;
}
export interface TopicsInit extends ConnectionInit {
    /** How the stream is had: by a connection of its own, or by one for all tabs (`shared` of `tidings/shared`). */
    readonly link?: MakeLink | undefined;
    /** Gets each change of `readyState`, and each failed attempt. */
    readonly onState?: ((state: 0 | 1 | 2, error?: SourceError, afterMs?: number) => void) | undefined;
}
export interface SubscribeOptions {
    /** `tail` (the default): live; `last`: with the last event of each topic first; `start`: with all that is kept; or an id. */
    readonly from?: string | undefined;
    /** Events were missed that are not kept any more: fetch your state anew. */
    readonly onGap?: ((gap: Gap) => void) | undefined;
    /** It is over: the hub refuses these topics, or the stream of all. 401 and 403 are told as what they are. */
    readonly onError?: ((error: SourceError) => void) | undefined;
    /** Ends the subscription. */
    readonly signal?: AbortSignal | undefined;
}
/** A selector, or several. */
export interface Subscription {
    /** It has had its history, and is live. Rejects if the hub refuses it. */
    readonly ready: Promise<void>;
    /** All up to here was told. */
    readonly lastEventId: string;
    close(): void;
}
export declare class Topics {
    #private;
    /** `url` is the hub's `/events`. */
    constructor(url: string | URL, init?: TopicsInit);
    /** 0 connecting, or nothing is wanted; 1 open; 2 closed. */
    get readyState(): 0 | 1 | 2;
    /** Each event of these topics (names, or globs of `*` and `**`) to `listener`: first its history, then live. */
    subscribe(selectors: string | readonly string[], listener: (event: TopicEvent) => void, options?: SubscribeOptions): Subscription;
    /** Drops the connection, or the wait for the next attempt, and connects at once. */
    reconnectNow(): void;
    close(): void;
}
