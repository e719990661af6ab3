// The core: an EventSource over `fetch`, and the parts that it is made of.

import { transient } from './machine.js';

/** @internal Of the other entry points. */
export { makeRequest, readProblem, readText } from './connection.js';
export { Connection, type Attempt, type ConnectionInit, type Handlers } from './connection.js';
export { SourceError, type Problem, type SourceErrorCode, type SourceErrorMore } from './errors.js';
export { Machine, retryAfterMs, transient, waitMs, type Action, type Head, type Policy } from './machine.js';
export { Parser, TooLarge, type Item } from './parser.js';
export type { Remember } from './remember.js';
export { EventSource, SourceTarget, resolve, type EventSourceEventMap, type EventSourceInit, type SourceErrorEvent } from './source.js';

/** For a hub that is to be listened to for days: tries again after what usually passes, with growing waits, and notices a dead connection. */
export const patient = {
  retryStatuses: transient,
  backoffMaxMs: 30_000,
  // The hub says something every 30 seconds at the latest.
  stallTimeoutMs: 75_000,
} as const;
