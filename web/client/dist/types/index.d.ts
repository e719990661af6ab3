import { transient } from './machine.js';
export { Connection, type Attempt, type ConnectionInit, type Handlers } from './connection.js';
export { SourceError, type Problem, type SourceErrorCode, type SourceErrorMore } from './errors.js';
export { Machine, retryAfterMs, transient, waitMs, type Action, type Head, type Policy } from './machine.js';
export { Parser, TooLarge, type Item } from './parser.js';
export type { Remember } from './remember.js';
export { EventSource, SourceTarget, resolve, type EventSourceEventMap, type EventSourceInit, type SourceErrorEvent } from './source.js';
/** For a hub that is to be listened to for days: tries again after what usually passes, with growing waits, and notices a dead connection. */
export declare const patient: {
    readonly retryStatuses: typeof transient;
    readonly backoffMaxMs: 30000;
    readonly stallTimeoutMs: 75000;
};
