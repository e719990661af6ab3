// The driver: one `fetch` at a time, as the machine says. EventSource, Topics and the sink stand on it.
//
// Promises: what is handed over is handed over in order, one item at a time; the next one waits for the promise that the
// handler returns, and so does the network; a page that gets ten thousand events a second is still drawn.

import { type Problem, SourceError } from './errors.js';
import { type Action, Machine, type Policy } from './machine.js';
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

/** Work in one go; then the page may draw. */
const SLICE_MS = 12;
/** Nothing but a sleeping machine makes the two clocks differ so much in one wait; a clock that was set costs a reconnect. */
const AWAY_MS_MIN = 5_000;
const PROBLEM_BYTES_MAX = 16 << 10;
const TIMER_MS_MAX = 2 ** 31 - 1;

export class Connection {
  readonly #url: URL | (() => URL);
  readonly #init: ConnectionInit;
  readonly #handlers: Handlers;
  readonly #machine: Machine;
  #abort: AbortController | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The handler works: silence is its own. */
  #busy = false;
  #status: number | undefined;
  #marks = marks();
  readonly #unwatch: () => void;

  constructor(url: URL | (() => URL), init: ConnectionInit, handlers: Handlers) {
    this.#url = url;
    this.#init = init;
    this.#handlers = handlers;
    const policy = { ...init, refresh: init.refresh ?? typeof init.headers === 'function' };
    this.#machine = new Machine(performance.now(), policy, init.lastEventId);
    this.#unwatch = onWake(() => this.#wake());
    // Not now: whoever made it has not yet said who listens.
    this.#arm();
  }

  get readyState(): 0 | 1 | 2 {
    return this.#machine.readyState;
  }

  /** The id of what was handed over last. */
  get lastEventId(): string {
    return this.#machine.lastEventId;
  }

  /** Drops the connection, or the wait, and connects at once; from `lastEventId`, if it is given. */
  reconnectNow(lastEventId?: string): void {
    this.#do(this.#machine.reconnectNow(performance.now(), lastEventId));
    this.#arm();
  }

  close(): void {
    this.#machine.close();
    this.#stop();
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#unwatch();
    this.#drop();
  }

  #drop(): void {
    const abort = this.#abort;
    this.#abort = undefined;
    abort?.abort();
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const dueMs = this.#machine.pollTimeout();
    if (dueMs === undefined) return;
    this.#timer = setTimeout(() => this.#tick(), Math.min(Math.max(dueMs - performance.now(), 0), TIMER_MS_MAX));
  }

  #tick(): void {
    if (this.#busy) this.#machine.handleRead(performance.now());
    else if (away(this.#marks) > AWAY_MS_MIN) this.#wake();
    this.#do(this.#machine.handleTimeout(performance.now()));
    this.#arm();
  }

  #wake(): void {
    if (this.#busy) return;
    const awayMs = Math.max(away(this.#marks), 0);
    this.#marks = marks();
    this.#do(this.#machine.handleWake(performance.now(), awayMs));
    this.#arm();
  }

  #do(action: Action | undefined): void {
    if (action?.kind === 'connect') {
      this.#drop();
      const abort = new AbortController();
      this.#abort = abort;
      void this.#attempt(action.lastEventId, abort);
    } else if (action?.kind === 'wait') {
      this.#drop();
      this.#status = action.error.status;
      this.#arm();
      this.#handlers.lost?.(action.error, action.afterMs);
    } else if (action?.kind === 'close') {
      this.#stop();
      this.#handlers.closed?.(action.error);
    }
  }

  async #attempt(lastEventId: string, abort: AbortController): Promise<void> {
    const alive = () => this.#abort === abort;
    const fail = (error: SourceError) => {
      if (alive()) this.#do(this.#machine.handleError(performance.now(), error));
    };
    let request: [URL, RequestInit];
    try {
      request = await makeRequest(this.#url, this.#init, { lastEventId, status: this.#status, signal: abort.signal });
    } catch (cause) {
      return fail(new SourceError('headers', `the request could not be made: ${String(cause)}`, { cause }));
    }
    if (!alive()) return;
    try {
      const response = await (this.#init.fetch ?? fetch)(...request);
      const { status } = response;
      const problem = status === 200 || status === 204 ? undefined : await readProblem(response);
      if (!alive()) return;
      const contentType = response.headers.get('content-type');
      const retryAfter = response.headers.get('retry-after');
      const action = this.#machine.handleResponse(performance.now(), { status, contentType, retryAfter, problem });
      this.#do(action);
      if (action?.kind === 'open') {
        this.#status = undefined;
        this.#arm();
        this.#handlers.open?.(response);
        await this.#read(response, alive);
      }
    } catch (cause) {
      fail(new SourceError('network', `the connection failed: ${String(cause)}`, { cause }));
    } finally {
      // Whatever is left of the answer is not wanted. (After the end this does nothing.)
      abort.abort();
    }
  }

  async #read(response: Response, alive: () => boolean): Promise<void> {
    const reader = response.body?.getReader();
    while (alive()) {
      const value = (await reader?.read())?.value;
      if (!alive()) return;
      if (!value) return this.#do(this.#machine.handleEnd(performance.now()));
      this.#marks = marks();
      let sinceMs = performance.now();
      for (const told of this.#machine.handleBytes(sinceMs, value)) {
        // No promise is awaited where the handler returns none: that would be half of the cost.
        const done = told.kind === 'close' ? this.#do(told) : this.#hand(told as Item);
        if (done) await done;
        if (!alive()) return;
        if (performance.now() - sinceMs > SLICE_MS) {
          await this.#while(breathe());
          if (!alive()) return;
          sinceMs = performance.now();
        }
      }
      this.#machine.handleRead(performance.now());
    }
  }

  #hand(item: Item): void | Promise<void> {
    try {
      const done = this.#handlers.item(item);
      return done === undefined ? undefined : this.#while(done).catch((cause) => this.#threw(cause));
    } catch (cause) {
      this.#threw(cause);
    }
  }

  #threw(cause: unknown): void {
    this.close();
    this.#handlers.closed?.(new SourceError('handler', `what came could not be handled: ${String(cause)}`, { cause }));
  }

  async #while(work: PromiseLike<void>): Promise<void> {
    this.#busy = true;
    try {
      await work;
    } finally {
      this.#busy = false;
    }
  }
}

/** What an attempt asks for. */
export async function makeRequest(
  from: URL | (() => URL),
  init: ConnectionInit,
  { lastEventId = '', status, signal, accept = 'text/event-stream' }: Attempt & { lastEventId?: string; signal: AbortSignal; accept?: string },
): Promise<[URL, RequestInit]> {
  const url = new URL(typeof from === 'function' ? from() : from);
  const headers = new Headers(await made(init.headers, { status }));
  const body = (await made(init.body, { status })) ?? null;
  if (!headers.has('accept')) headers.set('accept', accept);
  if (lastEventId !== '' && init.lastEventIdParameter) url.searchParams.set(init.lastEventIdParameter, lastEventId);
  // An id with control bytes is no header value. It is kept, and not sent, which beats never connecting again.
  else if (lastEventId !== '' && !/[\0-\x1f\x7f]/.test(lastEventId)) headers.set('last-event-id', byteString(lastEventId));
  if (url.username !== '' || url.password !== '') {
    // `fetch` refuses such a URL, where EventSource does not.
    const pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
    if (!headers.has('authorization')) headers.set('authorization', `Basic ${btoa(byteString(pair))}`);
    url.username = url.password = '';
  }
  const credentials = init.withCredentials ? 'include' : 'same-origin';
  // `cache` and not a header `Cache-Control`: that would need a preflight.
  return [url, { method: init.method ?? 'GET', headers, body, credentials, cache: 'no-store', redirect: 'follow', signal }];
}

function made<T>(from: Fresh<T> | undefined, attempt: Attempt): T | PromiseLike<T> | undefined {
  return typeof from === 'function' ? (from as (attempt: Attempt) => T | PromiseLike<T>)(attempt) : from;
}

/** UTF-8 as `Headers` wants it: a character per byte. */
function byteString(text: string): string {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

/** What a problem document says, if it is one; never more than a little of it, and not for long. */
export async function readProblem(response: Response): Promise<Problem | undefined> {
  if (!/json/.test(response.headers.get('content-type') ?? '')) return undefined;
  try {
    const said: unknown = JSON.parse(await readText(response, PROBLEM_BYTES_MAX));
    return typeof said === 'object' && said !== null ? (said as Problem) : undefined;
  } catch {
    return undefined;
  }
}

/** The text of an answer, which must not be longer than that, nor pause for more than ten seconds. */
export async function readText(response: Response, bytesMax: number): Promise<string> {
  const reader = response.body?.getReader();
  const utf8 = new TextDecoder();
  let [text, bytes] = ['', 0];
  while (reader) {
    const timer = setTimeout(() => void reader.cancel().catch(() => {}), 10_000);
    const { done, value } = await reader.read().finally(() => clearTimeout(timer));
    if (done) break;
    bytes += value.length;
    if (bytes > bytesMax) {
      void reader.cancel().catch(() => {});
      throw new RangeError(`the answer is longer than ${bytesMax} bytes`);
    }
    text += utf8.decode(value, { stream: true });
  }
  return text + utf8.decode();
}

/** A clock that stops while the machine sleeps, and one that does not but may be set. */
type Marks = readonly [monotonicMs: number, dateMs: number];
const marks = (): Marks => [performance.now(), Date.now()];
const away = ([monotonicMs, dateMs]: Marks): number => Date.now() - dateMs - (performance.now() - monotonicMs);

/** Calls `woke` when the page is shown again, comes out of a cache, or the network is back. */
function onWake(woke: () => void): () => void {
  const shown = () => document.visibilityState === 'visible' && woke();
  const targets: [EventTarget | undefined, string, () => void][] = [
    [globalThis as unknown as EventTarget, 'online', woke],
    [globalThis as unknown as EventTarget, 'pageshow', woke],
    [globalThis.document, 'visibilitychange', shown],
    [globalThis.document, 'resume', woke],
  ];
  for (const [target, type, listener] of targets) target?.addEventListener?.(type, listener);
  return () => {
    for (const [target, type, listener] of targets) target?.removeEventListener?.(type, listener);
  };
}

/** Lets the page draw and everybody else have a turn. Not a timer: those take a second each in a hidden tab. */
function breathe(): Promise<void> {
  const { setImmediate } = globalThis as { setImmediate?: (callback: () => void) => void };
  if (setImmediate) return new Promise((resolve) => setImmediate(resolve));
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  });
}
