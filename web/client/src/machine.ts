// The reconnect machine: what an EventSource does next (WHATWG HTML, 9.2.3), as a pure function of what it was told.
// Opens no connection and reads no clock: `now` is a number of milliseconds that only ever grows.
//
// Invariants: the id of an attempt is that of what was told last; after `close` nothing is ever asked for again;
// nothing is queued, each call gives at most one action. The policies are those of the Rust client.

import { SourceError } from './errors.js';
import { type Item, Parser, TooLarge } from './parser.js';

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
export type Action =
  | { readonly kind: 'connect'; readonly lastEventId: string }
  | { readonly kind: 'open' }
  | { readonly kind: 'wait'; readonly afterMs: number; readonly error: SourceError }
  | { readonly kind: 'close'; readonly error: SourceError };

/** The head of an answer, as far as it matters. */
export interface Head {
  readonly status: number;
  readonly contentType?: string | null | undefined;
  readonly retryAfter?: string | null | undefined;
  readonly problem?: Record<string, unknown> | undefined;
}

/** The longest wait, whoever asks for it: a server that says more would have switched its clients off. */
export const WAIT_MS_MAX = 24 * 60 * 60 * 1_000;
/** The shortest wait from the second failure in a row on: `retry: 0` and a closed port make no busy loop. */
const REPEATED_MS_MIN = 100;
/** Silent for longer than the hub's heartbeat when the machine wakes up: the connection is taken for dead. */
const WAKE_SILENT_MS = 45_000;

/** Every 5xx, 408, 425 and 429: what usually passes. */
export const transient = (status: number): boolean => status >= 500 || [408, 425, 429].includes(status);

/** How long to wait after `failures` in a row (1, 2, …). `random` is from 0 to 1. */
export function waitMs(retryMs: number, failures: number, backoffMaxMs: number | undefined, random: number): number {
  const leastMs = failures > 1 ? REPEATED_MS_MIN : 0;
  const baseMs = Math.max(Math.min(retryMs, WAIT_MS_MAX), leastMs);
  if (backoffMaxMs === undefined) return baseMs;
  const ceilingMs = Math.min(baseMs * 2 ** Math.min(failures - 1, 32), backoffMaxMs, WAIT_MS_MAX);
  return Math.max(Math.floor(random * (ceilingMs + 1)), Math.min(leastMs, backoffMaxMs));
}

/** `Retry-After` in seconds. A date is not read: clocks differ, and the backoff is there. */
export function retryAfterMs(value: string | null | undefined): number | undefined {
  return value && /^[0-9]+$/.test(value) ? Math.min(Number(value) * 1_000, WAIT_MS_MAX) : undefined;
}

type State =
  | { kind: 'waiting'; untilMs: number; notBeforeMs: number }
  | { kind: 'requesting'; silentSinceMs: number }
  | { kind: 'open'; sinceMs: number; silentSinceMs: number; good: boolean }
  | { kind: 'closed' };

/**
 * A driver owns one connection at a time and calls, in this order: at `pollTimeout()` `handleTimeout` (a new machine wants
 * that at once); `handleResponse` or `handleError`; `handleBytes` for each chunk; `handleEnd` or `handleError`. `close`,
 * `reconnectNow` and `handleWake` at any time. After each it does what the action says.
 */
export class Machine {
  readonly #policy: Policy;
  #parser: Parser;
  #retryMs: number;
  /** Losses in a row, that of a good connection included: what the backoff grows by. */
  #failures = 0;
  /** Attempts in a row that came to nothing. */
  #fruitless = 0;
  /** A 401 was tried again already. */
  #refreshed = false;
  #state: State;

  constructor(nowMs: number, policy: Policy, lastEventId = '') {
    this.#policy = policy;
    this.#retryMs = policy.retryMs ?? 3_000;
    this.#parser = this.#fresh(lastEventId);
    this.#state = { kind: 'waiting', untilMs: nowMs, notBeforeMs: nowMs };
  }

  /** The id that the next attempt sends. */
  get lastEventId(): string {
    return this.#parser.lastEventId;
  }

  /** 0 connecting or waiting to, 1 open, 2 closed. */
  get readyState(): 0 | 1 | 2 {
    return this.#state.kind === 'open' ? 1 : this.#state.kind === 'closed' ? 2 : 0;
  }

  /** When `handleTimeout` wants to be called, whatever else happens. */
  pollTimeout(): number | undefined {
    const state = this.#state;
    if (state.kind === 'waiting') return state.untilMs;
    if (state.kind === 'closed' || this.#policy.stallTimeoutMs === undefined) return undefined;
    return state.silentSinceMs + this.#policy.stallTimeoutMs;
  }

  /** The time has come: an attempt begins, or a silent connection is given up. Too early does nothing. */
  handleTimeout(nowMs: number): Action | undefined {
    const dueMs = this.pollTimeout();
    if (dueMs === undefined || nowMs < dueMs) return undefined;
    if (this.#state.kind === 'waiting') {
      this.#state = { kind: 'requesting', silentSinceMs: nowMs };
      return { kind: 'connect', lastEventId: this.lastEventId };
    }
    return this.#stalled(nowMs, this.#policy.stallTimeoutMs ?? 0);
  }

  /** The head of the answer is there. */
  handleResponse(nowMs: number, head: Head): Action | undefined {
    if (this.#state.kind !== 'requesting') return undefined;
    const { status, problem } = head;
    if (status === 204) return this.#end(new SourceError('ended', 'the server says that there is no more', { status }));
    if (status !== 200) {
      const afterMs = retryAfterMs(head.retryAfter);
      const said = typeof problem?.detail === 'string' ? `: ${problem.detail}` : '';
      const more = { status, problem, retryAfterMs: afterMs };
      const error = new SourceError('status', `the server answered ${status}${said}`, more);
      if (this.#policy.retryStatuses?.(status)) return this.#lose(nowMs, error, afterMs);
      if (status === 401 && this.#policy.refresh && !this.#refreshed) {
        this.#refreshed = true;
        return this.#lose(nowMs, error, 0, true);
      }
      return this.#end(error);
    }
    // The essence alone decides, whatever the parameters say.
    const essence = head.contentType?.split(';')[0]?.trim().toLowerCase();
    if (essence !== 'text/event-stream') {
      const what = head.contentType ? `is ${head.contentType}` : 'has no content type';
      return this.#end(new SourceError('type', `the answer ${what}, so it is no event stream`, { status }));
    }
    this.#refreshed = false;
    this.#state = { kind: 'open', sinceMs: nowMs, silentSinceMs: nowMs, good: false };
    return { kind: 'open' };
  }

  /** Bytes of the stream: what they say, one by one. `close` comes last, if it comes. */
  *handleBytes(nowMs: number, chunk: Uint8Array): Generator<Item | Action, void> {
    const state = this.#state;
    if (state.kind !== 'open') return;
    state.silentSinceMs = nowMs;
    try {
      for (const item of this.#parser.push(chunk)) {
        if (item.kind === 'retry') this.#retryMs = Math.min(item.retryMs ?? this.#policy.retryMs ?? 3_000, WAIT_MS_MAX);
        else if (item.kind !== 'comment') state.good = true;
        yield item;
        // The caller may have had enough, or may have asked for another connection.
        if (this.#state !== state) return;
      }
    } catch (cause) {
      if (!(cause instanceof TooLarge)) throw cause;
      yield this.#end(new SourceError('too-large', cause.message));
    }
  }

  /** Whoever takes the bytes was busy until now: silence counts from here. */
  handleRead(nowMs: number): void {
    if (this.#state.kind === 'open') this.#state.silentSinceMs = nowMs;
  }

  /** The stream ended in good order. */
  handleEnd(nowMs: number): Action | undefined {
    return this.#state.kind === 'open' ? this.#lose(nowMs, new SourceError('ended', 'the stream ended')) : undefined;
  }

  /** The attempt or the stream failed. */
  handleError(nowMs: number, error: SourceError): Action | undefined {
    const { kind } = this.#state;
    return kind === 'requesting' || kind === 'open' ? this.#lose(nowMs, error) : undefined;
  }

  /** Gives up the connection, or the wait, and begins an attempt at once; from `lastEventId`, if there is one. */
  reconnectNow(nowMs: number, lastEventId?: string): Action | undefined {
    const state = this.#state;
    if (state.kind === 'closed') return undefined;
    if (lastEventId !== undefined) this.#parser = this.#fresh(lastEventId);
    if (state.kind !== 'waiting') return this.#lose(nowMs, new SourceError('requested', 'a reconnect was asked for'), 0, true);
    state.untilMs = nowMs;
    return undefined;
  }

  /**
   * The machine woke up, the page is shown again, the network is back: what waits need not, and what was silent for too
   * long is given up. `awayMs` is time that `nowMs` knows nothing of; too much of it costs a reconnect, no event.
   */
  handleWake(nowMs: number, awayMs: number): Action | undefined {
    const state = this.#state;
    if (state.kind === 'closed') return undefined;
    if (state.kind === 'waiting') {
      state.untilMs = Math.min(state.untilMs, Math.max(nowMs, state.notBeforeMs - awayMs));
      return undefined;
    }
    const silentMs = nowMs - state.silentSinceMs + awayMs;
    return silentMs < Math.min(this.#policy.stallTimeoutMs ?? WAKE_SILENT_MS, WAKE_SILENT_MS) ? undefined : this.#stalled(nowMs, silentMs, 0);
  }

  /** The caller has enough. Nothing is told any more. */
  close(): void {
    this.#state = { kind: 'closed' };
  }

  /** What was cut off is forgotten: a new connection begins with a new parser. */
  #fresh(lastEventId: string): Parser {
    return new Parser(lastEventId, this.#policy.eventBytesMax ?? 16 << 20);
  }

  #stalled(nowMs: number, silentMs: number, afterMs?: number): Action {
    return this.#lose(nowMs, new SourceError('stalled', `nothing came for ${Math.round(silentMs)} ms`), afterMs, afterMs === 0);
  }

  /** The connection is gone, and there will be another: after the wait, or after what was asked for if that is longer. */
  #lose(nowMs: number, error: SourceError, askedMs?: number, atOnce = false): Action {
    const policy = this.#policy;
    if (policy.once && error.code !== 'requested') return this.#end(error);
    const state = this.#state;
    this.#parser = this.#fresh(this.lastEventId);
    const good = state.kind === 'open' && state.good;
    const heldMs = state.kind === 'open' ? nowMs - state.sinceMs : -1;
    if (good || heldMs > (policy.backoffMaxMs ?? 0)) this.#failures = 0;
    // Without a backoff a stream that ends at once would count as one that held.
    if (good || heldMs > Math.max(policy.backoffMaxMs ?? 0, this.#retryMs)) this.#fruitless = 0;
    else if (!atOnce && ++this.#fruitless >= (policy.attemptsMax ?? Infinity)) {
      const message = `${this.#fruitless} attempts in a row came to nothing; the last one: ${error.message}`;
      const { status, problem } = error;
      return this.#end(new SourceError('exhausted', message, { status, problem, cause: error }));
    }
    this.#failures += 1;
    const ownMs = waitMs(this.#retryMs, this.#failures, policy.backoffMaxMs, (policy.random ?? Math.random)());
    const afterMs = atOnce ? 0 : Math.max(ownMs, askedMs ?? 0);
    const notBeforeMs = nowMs + (atOnce ? 0 : (askedMs ?? 0));
    this.#state = { kind: 'waiting', untilMs: nowMs + afterMs, notBeforeMs };
    return { kind: 'wait', afterMs, error };
  }

  #end(error: SourceError): Action {
    this.close();
    return { kind: 'close', error };
  }
}
