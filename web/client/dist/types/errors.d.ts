/**
 * What happened:
 * - `status`: another answer than 200; `status` has it, `problem` what the hub says about it. 401: a key is missing or
 *   unknown; 403: the key does not grant this.
 * - `type`: the answer is no event stream; the URL is probably not the one that was meant.
 * - `network`: no connection, or it broke. A browser does not tell why.
 * - `headers`: the function that makes headers, body or URL threw; `cause` has it.
 * - `stalled`: nothing came for `stallTimeoutMs`.
 * - `ended`: the stream ended in good order; if the source is closed, there will be no more.
 * - `requested`: `reconnectNow()` was called, or the machine woke up.
 * - `too-large`: an event is larger than `eventBytesMax`.
 * - `exhausted`: `attemptsMax` attempts in a row came to nothing; `cause` is the last one.
 * - `handler`: the program that gets the items threw; `cause` has it.
 */
export type SourceErrorCode = 'status' | 'type' | 'network' | 'headers' | 'stalled' | 'ended' | 'requested' | 'too-large' | 'exhausted' | 'handler';
/** A problem document (RFC 9457), as the hub sends it. */
export interface Problem {
    readonly type?: string;
    readonly title?: string;
    readonly detail?: string;
    readonly [member: string]: unknown;
}
export interface SourceErrorMore {
    readonly status?: number | undefined;
    readonly problem?: Problem | undefined;
    readonly retryAfterMs?: number | undefined;
    readonly cause?: unknown;
}
/** Why a connection was lost, or a source has ended. */
export declare class SourceError extends Error {
    readonly name = "SourceError";
    readonly code: SourceErrorCode;
    /** What the server answered, if it did. */
    readonly status: number | undefined;
    /** What it said about it. */
    readonly problem: Problem | undefined;
    /** How long it asked to wait. */
    readonly retryAfterMs: number | undefined;
    constructor(code: SourceErrorCode, message: string, more?: SourceErrorMore);
}
