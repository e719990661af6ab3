import { type ConnectionInit } from './connection.js';
import type { SourceError } from './errors.js';
import { type Remember } from './remember.js';
/** Without any of it, an `EventSource` is the standard's. */
export interface EventSourceInit extends ConnectionInit {
    /** Keep the last id under this name over reloads of the page. Where storage is blocked, nothing is kept. */
    readonly remember?: string | Remember | undefined;
    /** Gets the text of each comment. */
    readonly onComment?: ((text: string) => void) | undefined;
}
/** What an `error` event has beside its type. */
export interface SourceErrorEvent extends Event {
    /** What happened. If `readyState` is 2, it is over. */
    readonly error: SourceError;
    /** How long until the next attempt, if there is one. */
    readonly afterMs: number | undefined;
}
/** The events of an `EventSource`. Others are `MessageEvent`s. */
export interface EventSourceEventMap {
    open: Event;
    message: MessageEvent<string>;
    error: SourceErrorEvent;
}
type Handler<T> = ((event: T) => unknown) | null;
type AnyHandler = Handler<any>;
/** The interface of an EventSource, whatever is behind it. */
export interface SourceTarget {
    addEventListener<K extends keyof EventSourceEventMap>(type: K, listener: (event: EventSourceEventMap[K]) => unknown, options?: boolean | AddEventListenerOptions): void;
    addEventListener(type: string, listener: ((event: MessageEvent<string>) => unknown) | EventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
    removeEventListener<K extends keyof EventSourceEventMap>(type: K, listener: (event: EventSourceEventMap[K]) => unknown, options?: boolean | EventListenerOptions): void;
    removeEventListener(type: string, listener: ((event: MessageEvent<string>) => unknown) | EventListenerObject | null, options?: boolean | EventListenerOptions): void;
}
export declare abstract class SourceTarget extends EventTarget {
    #private;
    static get CONNECTING(): 0;
    static get OPEN(): 1;
    static get CLOSED(): 2;
    get CONNECTING(): 0;
    get OPEN(): 1;
    get CLOSED(): 2;
    readonly url: string;
    readonly withCredentials: boolean;
    constructor(url: string, withCredentials: boolean);
    /** 0 connecting, 1 open, 2 closed. */
    abstract get readyState(): 0 | 1 | 2;
    /** The id that the next connection resumes from. */
    abstract get lastEventId(): string;
    /** Drops the connection, or the wait for the next attempt, and connects at once. */
    abstract reconnectNow(): void;
    abstract close(): void;
    get onopen(): AnyHandler;
    set onopen(handler: Handler<Event>);
    get onmessage(): AnyHandler;
    set onmessage(handler: Handler<MessageEvent<string>>);
    get onerror(): AnyHandler;
    set onerror(handler: Handler<SourceErrorEvent>);
}
/** What `EventSource` is in a browser, and more. */
export declare class EventSource extends SourceTarget {
    #private;
    /** @throws a `SyntaxError` if `url` is none. */
    constructor(url: string | URL, init?: EventSourceInit);
    get readyState(): 0 | 1 | 2;
    get lastEventId(): string;
    reconnectNow(): void;
    close(): void;
}
/** A URL relative to the page's, as `EventSource` takes it. */
export declare function resolve(url: string | URL): URL;
export {};
