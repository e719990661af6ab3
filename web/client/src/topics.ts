// Many topics over one connection, added and removed while it runs. Each subscription has its own place in the log: what it
// gets is everything after it, once, whatever happens to the stream that all share.
//
// Invariant: a subscription's `after` only moves forward within an epoch, and everything of it up to there was told.

import { type ConnectionInit, SourceError, resolve, transient, waitMs } from './index.js';
import { type Gap, type HistoryEvent, historyPage } from './history.js';
import { type Link, type LinkItem, type MakeLink, Stream, earliest, fits } from './link.js';
import { compare, isHole, isNew } from './position.js';

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

const REWANT_MS = 1_000;

class Member implements Subscription {
  after = '';
  isLive = false;
  readonly ready: Promise<void>;
  readonly abort = new AbortController();
  resolve!: () => void;
  reject!: (error: SourceError) => void;
  readonly #patterns: (string | RegExp)[];

  constructor(
    readonly selectors: readonly string[],
    readonly listener: (event: TopicEvent) => void,
    readonly options: SubscribeOptions,
    readonly leave: () => void,
  ) {
    this.#patterns = selectors.map(pattern);
    this.ready = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Who does not wait for it is told by `onError`.
    this.ready.catch(() => {});
  }

  get lastEventId(): string {
    return this.after;
  }

  get isClosed(): boolean {
    return this.abort.signal.aborted;
  }

  selects(topics: readonly string[]): boolean {
    return this.#patterns.some((one) => topics.some((topic) => (typeof one === 'string' ? one === topic : one.test(topic))));
  }

  close(): void {
    if (this.isClosed) return;
    this.abort.abort();
    this.isLive = false;
    this.leave();
    this.resolve();
  }
}

export class Topics {
  readonly #url: URL;
  readonly #init: TopicsInit;
  readonly #link: Link;
  readonly #members = new Set<Member>();
  #state: 0 | 1 | 2 = 0;
  #isClosed = false;
  #isWanting = false;
  #rewant: ReturnType<typeof setTimeout> | undefined;

  /** `url` is the hub's `/events`. */
  constructor(url: string | URL, init: TopicsInit = {}) {
    this.#url = resolve(url);
    this.#init = init;
    const make: MakeLink = init.link ?? ((url, init, sink) => new Stream(url, init, sink));
    this.#link = make(this.#url, init, {
      batch: (before, items) => this.#take(before, items),
      state: (state, error, afterMs) => {
        this.#state = state;
        init.onState?.(state, error, afterMs);
        if (state !== 2 || !error) return;
        for (const member of [...this.#members]) if (member.isLive) this.#refuse(member, error);
      },
    });
  }

  /** 0 connecting, or nothing is wanted; 1 open; 2 closed. */
  get readyState(): 0 | 1 | 2 {
    return this.#isClosed ? 2 : this.#state;
  }

  /** Each event of these topics (names, or globs of `*` and `**`) to `listener`: first its history, then live. */
  subscribe(
    selectors: string | readonly string[],
    listener: (event: TopicEvent) => void,
    options: SubscribeOptions = {},
  ): Subscription {
    if (this.#isClosed) throw new Error('these topics were closed');
    const wanted = typeof selectors === 'string' ? [selectors] : [...selectors];
    const all = new Set([...this.#members].flatMap((member) => member.selectors).concat(wanted));
    if (!fits(all)) throw new RangeError(`one connection takes 1,000 selectors of 48 KiB together, not these ${all.size}: use globs`);
    const member: Member = new Member(wanted, listener, options, () => {
      this.#members.delete(member);
      this.#want();
    });
    this.#members.add(member);
    options.signal?.addEventListener('abort', () => member.close(), { once: true });
    if (options.signal?.aborted) member.close();
    else void this.#begin(member);
    return member;
  }

  /** Drops the connection, or the wait for the next attempt, and connects at once. */
  reconnectNow(): void {
    this.#link.reconnectNow();
  }

  close(): void {
    this.#isClosed = true;
    for (const member of [...this.#members]) member.close();
    clearTimeout(this.#rewant);
    this.#link.close();
  }

  /** Its history, page by page, until it is at the head; from there the stream goes on. */
  async #begin(member: Member): Promise<void> {
    const { from = 'tail' } = member.options;
    const { signal } = member.abort;
    let next: { from: string } | { last_event_id: string } = /^(tail|last|start)$/.test(from)
      ? { from }
      : { last_event_id: from.replace(/^id:/, '') };
    let [failures, status]: [number, number | undefined] = [0, undefined];
    for (let more = true; more; ) {
      try {
        const page = await historyPage(this.#url, this.#init, member.selectors, next, signal, status);
        if (member.isClosed) return;
        [failures, status] = [0, undefined];
        if (page.gap) call(member.options.onGap, page.gap);
        for (const event of page.events) {
          if (member.isClosed) return;
          call(member.listener, historic(event));
          member.after = event.id;
        }
        member.after = page.next;
        next = { last_event_id: page.next };
        more = page.more;
      } catch (error) {
        if (member.isClosed) return;
        if (!(error instanceof SourceError)) throw error;
        const isExpired = error.status === 401 && status !== 401 && typeof this.#init.headers === 'function';
        status = error.status;
        if (!isExpired && !passes(error)) return this.#refuse(member, error);
        failures += 1;
        const ownMs = isExpired ? 0 : waitMs(this.#init.retryMs ?? 1_000, failures, this.#init.backoffMaxMs ?? 30_000, Math.random());
        await pause(Math.max(ownMs, error.retryAfterMs ?? 0), signal);
      }
    }
    member.isLive = true;
    this.#want();
    member.resolve();
  }

  #refuse(member: Member, error: SourceError): void {
    member.reject(error);
    member.close();
    call(member.options.onError, error);
  }

  /** Says once, after all that is being done now, what is wanted. */
  #want(): void {
    if (this.#isWanting || this.#isClosed) return;
    this.#isWanting = true;
    queueMicrotask(() => {
      this.#isWanting = false;
      if (this.#isClosed) return;
      const live = [...this.#members].filter((member) => member.isLive);
      const selectors = new Set(live.flatMap((member) => member.selectors));
      if (selectors.size === 0) this.#state = 0;
      this.#link.want([...selectors], earliest(live.map((member) => member.after)));
    });
  }

  #take(before: string, items: readonly LinkItem[]): void {
    // Whoever stands before the batch waits until the stream is asked for again from where he stands.
    const all = [...this.#members].filter((member) => member.isLive);
    const live = all.filter((member) => !isHole(before, member.after));
    if (live.length < all.length) this.#mend();
    for (const [id, type, data] of items) {
      let event: TopicEvent | undefined;
      let [after, isNext]: [string | undefined, boolean] = [undefined, false];
      for (const member of live) {
        if (!member.isLive) continue;
        // Nearly always all stand at the same place.
        if (member.after !== after) [after, isNext] = [member.after, isNew(id, member.after)];
        if (type === 'tidings.gap') {
          // It may stand at the very place that the reader came from.
          if ((compare(id, member.after) ?? 1) >= 0) call(member.options.onGap, gap(data ?? ''));
        } else if (isNext && type !== undefined && data !== undefined && type !== 'tidings.cursor') {
          event ??= labelled(id, type, data);
          if (event && member.selects(event.topics)) call(member.listener, event);
        }
        if (isNext) member.after = id;
      }
    }
  }

  /** Somebody misses something: asks at once, and no more than once a second. */
  #mend(): void {
    if (this.#rewant !== undefined) return;
    this.#want();
    this.#rewant = setTimeout(() => (this.#rewant = undefined), REWANT_MS);
  }
}

const passes = (error: SourceError): boolean =>
  error.code === 'network' || error.code === 'headers' || (error.code === 'status' && transient(error.status ?? 0));

/** A listener that throws is told to whoever watches the page, and takes nothing from the others. */
function call<T>(listener: ((value: T) => void) | undefined, value: T): void {
  try {
    listener?.(value);
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
}

function historic({ id, topic, topics, data, event, encoding }: HistoryEvent): TopicEvent {
  const all = topics ?? [topic ?? ''];
  return { topic: all[0] ?? '', topics: all, type: event ?? 'message', data, encoding, lastEventId: id };
}

/** What the label says; `undefined` if it is none. */
function labelled(id: string, type: string, label: string): TopicEvent | undefined {
  try {
    const said = JSON.parse(label) as HistoryEvent;
    if (typeof said.data === 'string') return historic({ ...said, id, event: type });
  } catch {
    // Not of a hub, or not labelled: nobody can say whose it is.
  }
  return undefined;
}

function gap(data: string): Gap {
  try {
    return JSON.parse(data) as Gap;
  } catch {
    return { reason: 'unknown' };
  }
}

/** `*` is any run of characters within a segment, `**` over segments too; everything else is itself. */
function pattern(selector: string): string | RegExp {
  if (!selector.includes('*')) return selector;
  const parts = selector.split(/(\*+)/).map((part) =>
    part === '*' ? '[^/]*' : part.startsWith('*') ? '[^]*' : part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'),
  );
  return new RegExp(`^${parts.join('')}$`);
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
  });
}
