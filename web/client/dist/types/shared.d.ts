import { type ConnectionInit, type EventSourceInit, SourceTarget } from './index.js';
import { type MakeLink } from './topics.js';
/** Tabs of one name share: the same hub, the same way to send cookies, and `share` of the options if it is given. */
export interface ShareInit extends ConnectionInit {
    /** Whose connection it is, if not everybody's in this browser may be the same: a user's name, say. */
    readonly share?: string | undefined;
}
/** For `new Topics(url, { link: shared })`. Where it cannot be, the link has a connection of its own. */
export declare const shared: MakeLink;
/** Options of a shared `EventSource`. Those of the first one of a page count for the connection. */
export interface SharedSourceInit extends EventSourceInit, ShareInit {
}
/**
 * An `EventSource` that shares one connection with all others of its hub, in all tabs. Takes the hub's own URLs; for any
 * other, and for `conflate` and `label`, the constructor gives an `EventSource` with a connection of its own.
 */
export declare class EventSource extends SourceTarget {
    #private;
    constructor(url: string | URL, init?: SharedSourceInit);
    get readyState(): 0 | 1 | 2;
    get lastEventId(): string;
    reconnectNow(): void;
    close(): void;
}
