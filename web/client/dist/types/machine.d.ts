import { SourceError } from './errors.js';
import { type Item } from './parser.js';
/** How a source behaves where it has a choice. Without any it is the standard's EventSource. */
export interface Policy {
    /** The reconnection time until the server says another. Default: 3,000. */
    readonly retryMs?: number | undefined;
    /** Answers other than 200 and 204 that are tried again: a function of the status. Default: none. */
    readonly retryStatuses?: ((status: number) => boolean) | undefined;
    /**
     * The wait doubles with each failure in a row up to this, and a random part of it is waited ("full jitter"). Default:
     * the server's reconnection time each time.
     */
    readonly backoffMaxMs?: number | undefined;
    /** Give up after so many attempts in a row that came to nothing. Default: never. */
    readonly attemptsMax?: number | undefined;
    /** So long without a byte, and the connection counts as dead. More than twice the server's heartbeat. Default: never. */
    readonly stallTimeoutMs?: number | undefined;
    /** One stream and no more: what would lead to a reconnect ends the source instead. */
    readonly once?: boolean | undefined;
    /** What one event may hold. Default: 16 MiB. */
    readonly eventBytesMax?: number | undefined;
    /** Whether a 401 is tried once more at once: headers are made anew for each attempt. */
    readonly refresh?: boolean | undefined;
    /** From 0 to 1, below 1. Default: `Math.random`. */
    readonly random?: (() => number) | undefined;
}
/** What the driver must do now. */
export type Action = {
    readonly kind: 'connect';
    readonly lastEventId: string;
} | {
    readonly kind: 'open';
} | {
    readonly kind: 'wait';
    readonly afterMs: number;
    readonly error: SourceError;
} | {
    readonly kind: 'close';
    readonly error: SourceError;
};
/** The head of an answer, as far as it matters. */
export interface Head {
    readonly status: number;
    readonly contentType?: string | null | undefined;
    readonly retryAfter?: string | null | undefined;
    readonly problem?: Record<string, unknown> | undefined;
}
/** The longest wait, whoever asks for it: a server that says more would have switched its clients off. */
export declare const WAIT_MS_MAX: number;
/** Every 5xx, 408, 425 and 429: what usually passes. */
export declare const transient: (status: number) => boolean;
/** How long to wait after `failures` in a row (1, 2, …). `random` is from 0 to 1. */
export declare function waitMs(retryMs: number, failures: number, backoffMaxMs: number | undefined, random: number): number;
/** `Retry-After` in seconds. A date is not read: clocks differ, and the backoff is there. */
export declare function retryAfterMs(value: string | null | undefined): number | undefined;
/**
 * A driver owns one connection at a time and calls, in this order: at `pollTimeout()` `handleTimeout` (a new machine wants
 * that at once); `handleResponse` or `handleError`; `handleBytes` for each chunk; `handleEnd` or `handleError`. `close`,
 * `reconnectNow` and `handleWake` at any time. After each it does what the action says.
 */
export declare class Machine {
    #private;
    constructor(nowMs: number, policy: Policy, lastEventId?: string);
    /** The id that the next attempt sends. */
    get lastEventId(): string;
    /** 0 connecting or waiting to, 1 open, 2 closed. */
    get readyState(): 0 | 1 | 2;
    /** When `handleTimeout` wants to be called, whatever else happens. */
    pollTimeout(): number | undefined;
    /** The time has come: an attempt begins, or a silent connection is given up. Too early does nothing. */
    handleTimeout(nowMs: number): Action | undefined;
    /** The head of the answer is there. */
    handleResponse(nowMs: number, head: Head): Action | undefined;
    /** Bytes of the stream: what they say, one by one. `close` comes last, if it comes. */
    handleBytes(nowMs: number, chunk: Uint8Array): Generator<Item | Action, void>;
    /** Whoever takes the bytes was busy until now: silence counts from here. */
    handleRead(nowMs: number): void;
    /** The stream ended in good order. */
    handleEnd(nowMs: number): Action | undefined;
    /** The attempt or the stream failed. */
    handleError(nowMs: number, error: SourceError): Action | undefined;
    /** Gives up the connection, or the wait, and begins an attempt at once; from `lastEventId`, if there is one. */
    reconnectNow(nowMs: number, lastEventId?: string): Action | undefined;
    /**
     * The machine woke up, the page is shown again, the network is back: what waits need not, and what was silent for too
     * long is given up. `awayMs` is time that `nowMs` knows nothing of; too much of it costs a reconnect, no event.
     */
    handleWake(nowMs: number, awayMs: number): Action | undefined;
    /** The caller has enough. Nothing is told any more. */
    close(): void;
}
