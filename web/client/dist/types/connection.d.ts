import { type Problem, SourceError } from './errors.js';
import { type Policy } from './machine.js';
import type { Item } from './parser.js';
/** Why an attempt is made: `status` is what the one before was answered, if it was answered something else than 200. */
export interface Attempt {
    readonly status: number | undefined;
}
type Fresh<T> = T | ((attempt: Attempt) => T | PromiseLike<T>);
/** What is asked for, and how. */
export interface ConnectionInit extends Policy {
    /** Send cookies to other origins, too. */
    readonly withCredentials?: boolean | undefined;
    /** Headers, or a function that makes them anew for each attempt. After a 401 it is called once more at once. */
    readonly headers?: Fresh<HeadersInit> | undefined;
    /** Default: GET. */
    readonly method?: string | undefined;
    /** Sent again on each reconnect; no stream. */
    readonly body?: Fresh<BodyInit | null> | undefined;
    /** Where to resume, as if a server had sent this id. */
    readonly lastEventId?: string | undefined;
    /** Send the id as this query parameter, in place of the header: spares pages of other origins a preflight. */
    readonly lastEventIdParameter?: string | undefined;
    /** In place of the global one. */
    readonly fetch?: typeof fetch | undefined;
}
/** Who is told. */
export interface Handlers {
    open?(response: Response): void;
    item(item: Item): void | PromiseLike<void>;
    lost?(error: SourceError, afterMs: number): void;
    closed?(error: SourceError): void;
}
export declare class Connection {
    #private;
    constructor(url: URL | (() => URL), init: ConnectionInit, handlers: Handlers);
    get readyState(): 0 | 1 | 2;
    /** The id of what was handed over last. */
    get lastEventId(): string;
    /** Drops the connection, or the wait, and connects at once; from `lastEventId`, if it is given. */
    reconnectNow(lastEventId?: string): void;
    close(): void;
}
/** What an attempt asks for. */
export declare function makeRequest(from: URL | (() => URL), init: ConnectionInit, { lastEventId, status, signal, accept }: Attempt & {
    lastEventId?: string;
    signal: AbortSignal;
    accept?: string;
}): Promise<[URL, RequestInit]>;
/** What a problem document says, if it is one; never more than a little of it, and not for long. */
export declare function readProblem(response: Response): Promise<Problem | undefined>;
/** The text of an answer, which must not be longer than that, nor pause for more than ten seconds. */
export declare function readText(response: Response, bytesMax: number): Promise<string>;
export {};
