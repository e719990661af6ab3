// One connection for all tabs. A Web Lock says who leads; the leader has the stream of all topics that any tab wants and
// tells it on a BroadcastChannel; every tab tells the repetition from the hole by the places of the events, so a hand-over
// needs no agreement: the new leader goes on from where it stands, who has more passes over what he has, who has less asks.
//
// Promise: whatever is missing, blocked or refused, the tab has a connection of its own at last.

import { type ConnectionInit, EventSource as DirectSource, type EventSourceInit, SourceError, SourceTarget, resolve } from './index.js';
import { type Link, type LinkItem, type LinkSink, type MakeLink, Stream, type Subscription, Topics, earliest, fits } from './topics.js';

/** What tabs say to one another. */
type Said =
  | { readonly kind: 'lead' }
  | { readonly kind: 'want'; readonly tab: string; readonly selectors: readonly string[]; readonly after: string }
  | { readonly kind: 'batch'; readonly before: string; readonly items: readonly LinkItem[] }
  | { readonly kind: 'state'; readonly state: 0 | 1 | 2; readonly error: SourceError | undefined; readonly afterMs: number | undefined }
  | { readonly kind: 'full'; readonly tab: string }
  | { readonly kind: 'now' }
  | { readonly kind: 'ping' }
  | { readonly kind: 'pong' };

interface Want {
  readonly selectors: readonly string[];
  readonly after: string;
}

/** A new leader waits so long for what the other tabs want, so as not to ask for each of them anew. */
const GATHER_MS = 100;
const SETTLE_MS = 10;
/** The hub says something every 30 seconds: a leader that says nothing for longer is asked whether it is there. */
const SILENT_MS_MAX = 45_000;
const LOOK_MS = 5_000;

/** Tabs of one name share: the same hub, the same way to send cookies, and `share` of the options if it is given. */
export interface ShareInit extends ConnectionInit {
  /** Whose connection it is, if not everybody's in this browser may be the same: a user's name, say. */
  readonly share?: string | undefined;
}

/** For `new Topics(url, { link: shared })`. Where it cannot be, the link has a connection of its own. */
export const shared: MakeLink = (url, init, sink) => {
  const locks = globalThis.navigator?.locks as LockManager | undefined;
  if (!locks || typeof BroadcastChannel === 'undefined') return new Stream(url, init, sink);
  return new SharedLink(url, init, sink, locks);
};

class SharedLink implements Link {
  readonly #url: URL;
  readonly #init: ConnectionInit;
  readonly #sink: LinkSink;
  readonly #locks: LockManager;
  readonly #name: string;
  readonly #tab = Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join('');
  readonly #closed = new AbortController();
  #channel: BroadcastChannel | undefined;
  #want: Want = { selectors: [], after: '' };
  /** This tab's own stream: as the leader, or alone. */
  #stream: Stream | undefined;
  /** Sharing was tried and is not to be had. */
  #isAlone = false;
  /** As the leader: what each tab wants, and how to give up the lead. */
  #wants = new Map<string, Want>();
  #resign: (() => void) | undefined;
  #gather: ReturnType<typeof setTimeout> | undefined;
  /** What the next request must not miss. */
  #afters: string[] = [];
  #state: 0 | 1 | 2 = 0;
  /** This tab's lock is held: whoever waits for it waits for this tab's end. */
  #isAlive = false;
  #heardMs = performance.now();
  #isAsked = false;
  #look: ReturnType<typeof setInterval> | undefined;

  constructor(url: URL, init: ShareInit, sink: LinkSink, locks: LockManager) {
    this.#url = url;
    this.#init = init;
    this.#sink = sink;
    this.#locks = locks;
    // Tabs of another version, whose words may mean something else, do not share.
    this.#name = ['tidings/1', url.origin + url.pathname + url.search, init.withCredentials ?? false, init.share ?? ''].join(' ');
    try {
      this.#channel = new BroadcastChannel(this.#name);
    } catch {
      this.#alone();
      return;
    }
    this.#channel.onmessage = ({ data }: MessageEvent<Said | null>) => data && this.#hear(data);
    // Held until this tab ends, however it ends.
    const held = locks.request(this.#name + this.#tab, () => {
      this.#isAlive = true;
      this.#ask();
      return this.#end();
    });
    held.catch(() => this.#alone());
    this.#queue();
    this.#look = setInterval(() => this.#watch(), LOOK_MS);
  }

  want(selectors: readonly string[], after: string): void {
    this.#want = { selectors, after };
    if (this.#isAlone) this.#stream?.want(selectors, after);
    else this.#ask();
  }

  reconnectNow(): void {
    if (this.#stream) this.#stream.reconnectNow();
    else this.#say({ kind: 'now' });
  }

  close(): void {
    clearInterval(this.#look);
    this.#stepDown();
    this.#stream?.close();
    this.#closed.abort();
    this.#channel?.close();
    this.#channel = undefined;
  }

  /** Until this link is closed. */
  #end(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#closed.signal.aborted) resolve();
      this.#closed.signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  #say(said: Said): void {
    try {
      this.#channel?.postMessage(said);
    } catch {
      this.#alone();
    }
  }

  /** Tells the leader, whoever it is, what this tab wants. */
  #ask(): void {
    const said = { kind: 'want', tab: this.#tab, ...this.#want } as const;
    if (this.#resign) this.#wanted(said);
    else if (this.#isAlive) this.#say(said);
  }

  #queue(): void {
    const { signal } = this.#closed;
    this.#locks.request(this.#name, { signal }, () => this.#lead()).catch((error: unknown) => this.#lost(error));
  }

  /** The lead was taken from this tab (an `AbortError`), or is not to be had. */
  #lost(error: unknown): void {
    if (this.#closed.signal.aborted || this.#isAlone) return;
    if (!this.#resign || !(error instanceof DOMException && error.name === 'AbortError')) return this.#alone();
    this.#stepDown();
    this.#queue();
    this.#ask();
  }

  /** Sharing is not to be had here, as in a frame without an origin: a connection of one's own. */
  #alone(): void {
    if (this.#closed.signal.aborted || this.#isAlone) return;
    this.#isAlone = true;
    this.#stepDown();
    this.#channel?.close();
    this.#channel = undefined;
    clearInterval(this.#look);
    this.#stream = new Stream(this.#url, this.#init, this.#sink);
    if (this.#want.selectors.length > 0) this.#stream.want(this.#want.selectors, this.#want.after);
  }

  /** Leads until this tab ends or resigns. */
  #lead(): Promise<void> {
    if (this.#closed.signal.aborted || this.#isAlone) return Promise.resolve();
    this.#stream = new Stream(this.#url, this.#init, {
      batch: (before, items) => {
        this.#say({ kind: 'batch', before, items });
        this.#sink.batch(before, items);
      },
      state: (state, error, afterMs) => {
        this.#state = state;
        this.#say({ kind: 'state', state, error: error && plain(error), afterMs });
        this.#sink.state(state, error, afterMs);
      },
    });
    const led = new Promise<void>((resolve) => (this.#resign = resolve));
    this.#wants = new Map();
    this.#state = 0;
    this.#say({ kind: 'lead' });
    if (this.#isAlone) return led;
    this.#gather = setTimeout(() => this.#apply(), GATHER_MS);
    this.#ask();
    return led;
  }

  #stepDown(): void {
    if (!this.#resign) return;
    clearTimeout(this.#gather);
    this.#gather = undefined;
    this.#stream?.close();
    this.#stream = undefined;
    this.#resign();
    this.#resign = undefined;
  }

  /** As the leader: a tab wants something. */
  #wanted({ tab, selectors, after }: Want & { tab: string }): void {
    if (!this.#wants.has(tab) && tab !== this.#tab) {
      const resigned = this.#resign;
      const gone = () => {
        if (this.#resign !== resigned || !this.#wants.delete(tab)) return;
        this.#gather ??= setTimeout(() => this.#apply(), SETTLE_MS);
      };
      // It is had when the tab has ended, without a word or with one.
      this.#locks.request(this.#name + tab, { signal: this.#closed.signal }, gone).catch(() => {});
    }
    this.#wants.set(tab, { selectors, after });
    if (after !== '') this.#afters.push(after);
    this.#gather ??= setTimeout(() => this.#apply(), SETTLE_MS);
  }

  #apply(): void {
    this.#gather = undefined;
    // Its own first: whoever leads has what he wants.
    let selectors = new Set(this.#want.selectors);
    for (const [tab, want] of [...this.#wants]) {
      const more = new Set([...selectors, ...want.selectors]);
      if (fits(more)) selectors = more;
      else {
        // More than one stream can have: that tab needs one of its own.
        this.#wants.delete(tab);
        this.#say({ kind: 'full', tab });
      }
    }
    const after = earliest(this.#afters);
    this.#afters = [];
    this.#stream?.want([...selectors], after);
    // For those who came while it was open.
    this.#say({ kind: 'state', state: this.#state, error: undefined, afterMs: undefined });
  }

  #hear(said: Said): void {
    const isLeading = this.#resign !== undefined;
    if (said.kind === 'want') {
      if (isLeading) this.#wanted(said);
    } else if (said.kind === 'now') {
      if (isLeading) this.#stream?.reconnectNow();
    } else if (said.kind === 'ping') {
      if (isLeading) this.#say({ kind: 'pong' });
    } else {
      this.#heardMs = performance.now();
      this.#isAsked = false;
      // Two lead for a moment when one was taken for dead: each believes its own stream.
      if (isLeading) return;
      if (said.kind === 'lead') this.#ask();
      else if (said.kind === 'full' && said.tab === this.#tab) this.#alone();
      else if (said.kind === 'batch') this.#sink.batch(said.before, said.items);
      else if (said.kind === 'state') {
        const { error, state, afterMs } = said;
        if (state === this.#state && !error) return;
        this.#state = state;
        this.#sink.state(state, error && new SourceError(error.code, error.message, error), afterMs);
      }
    }
  }

  /** A leader that hangs holds its lock: it is asked, and if it does not answer, the lead is taken from it. */
  #watch(): void {
    if (this.#resign || this.#closed.signal.aborted) return;
    if (performance.now() - this.#heardMs < SILENT_MS_MAX) return;
    if (!this.#isAsked) {
      this.#isAsked = true;
      this.#say({ kind: 'ping' });
      return;
    }
    this.#isAsked = false;
    this.#heardMs = performance.now();
    this.#locks.request(this.#name, { steal: true }, () => this.#lead()).catch((error: unknown) => this.#lost(error));
  }
}

/** What survives being sent to another tab. */
function plain({ code, message, status, problem, retryAfterMs }: SourceError): SourceError {
  return { code, message, status, problem, retryAfterMs } as SourceError;
}

/** One `Topics` for all sources of this page that may share one. */
const pool = new Map<string, { topics: Topics; sources: Set<EventSource> }>();

/** What a URL of a hub asks for; `undefined` if it asks for more than a share of a stream can give. */
function plan(url: URL): { events: URL; selectors: string[]; from: string | undefined; types: string[] } | undefined {
  const path = /^(.*)\/(?:topics(?:\/(.+))?|events)$/.exec(url.pathname);
  if (!path) return undefined;
  const query = url.searchParams;
  const selectors = query.getAll('topic');
  if (path[2] !== undefined) {
    try {
      selectors.push(decodeURIComponent(path[2]));
    } catch {
      // The hub says what is wrong with it.
      return undefined;
    }
  }
  const known = ['topic', 'from', 'last_event_id', 'event', 'access_token', 'cursor', 'format'];
  if (selectors.length === 0 || [...query.keys()].some((name) => !known.includes(name)) || query.get('format') === 'json') return undefined;
  const events = new URL(`${path[1]}/events`, url);
  const token = query.get('access_token');
  if (token !== null) events.searchParams.set('access_token', token);
  const from = query.get('last_event_id') || query.get('from') || undefined;
  return { events, selectors, from, types: query.getAll('event') };
}

/** Options of a shared `EventSource`. Those of the first one of a page count for the connection. */
export interface SharedSourceInit extends EventSourceInit, ShareInit {}

/**
 * An `EventSource` that shares one connection with all others of its hub, in all tabs. Takes the hub's own URLs; for any
 * other, and for `conflate` and `label`, the constructor gives an `EventSource` with a connection of its own.
 */
export class EventSource extends SourceTarget {
  #state: 0 | 1 | 2 = 0;
  #isReady = false;
  #subscription: Subscription | undefined;
  #leave = (): void => {};
  #now = (): void => {};

  constructor(url: string | URL, init: SharedSourceInit = {}) {
    const target = resolve(url);
    super(target.href, init.withCredentials ?? false);
    const planned = init.method === undefined && init.body === undefined && init.remember === undefined ? plan(target) : undefined;
    if (!planned) return new DirectSource(url, init) as never;
    const { events, selectors, from, types } = planned;
    const key = [events.href, this.withCredentials, init.share ?? ''].join(' ');
    let one = pool.get(key);
    if (!one) {
      const sources = new Set<EventSource>();
      const onState = (state: 0 | 1 | 2, error?: SourceError, afterMs?: number) => {
        for (const source of [...sources]) source.#told(state, error, afterMs);
      };
      one = { topics: new Topics(events, { ...init, lastEventId: undefined, link: shared, onState }), sources };
      pool.set(key, one);
    }
    const { topics, sources } = one;
    sources.add(this);
    this.#now = () => topics.reconnectNow();
    this.#leave = () => {
      sources.delete(this);
      if (sources.size > 0) return;
      pool.delete(key);
      topics.close();
    };
    const { origin } = events;
    this.#subscription = topics.subscribe(
      selectors,
      ({ type, data, lastEventId }) => {
        if (this.#state === 2 || (types.length > 0 && !types.includes(type))) return;
        // History comes before the stream is open; a page expects it after.
        if (this.#state === 0) this.#open();
        this.dispatchEvent(new MessageEvent(type, { data, lastEventId, origin }));
      },
      {
        from: init.lastEventId || from,
        onGap: (gap) => {
          const { lastEventId } = this;
          if (this.#state !== 2) this.dispatchEvent(new MessageEvent('tidings.gap', { data: JSON.stringify(gap), lastEventId, origin }));
        },
        onError: (error) => this.#fail(error),
      },
    );
    this.#subscription.ready.then(
      () => {
        this.#isReady = true;
        if (topics.readyState === 1) this.#told(1);
      },
      () => {},
    );
  }

  get readyState(): 0 | 1 | 2 {
    return this.#state;
  }

  get lastEventId(): string {
    return this.#subscription?.lastEventId ?? '';
  }

  reconnectNow(): void {
    this.#now();
  }

  close(): void {
    if (this.#state === 2) return;
    this.#state = 2;
    this.#subscription?.close();
    this.#leave();
  }

  #open(): void {
    this.#state = 1;
    this.dispatchEvent(new Event('open'));
  }

  #told(state: 0 | 1 | 2, error?: SourceError, afterMs?: number): void {
    if (this.#state === 2) return;
    if (state === 1 && this.#isReady && this.#state === 0) this.#open();
    else if (state === 2 && error) this.#fail(error);
    else if (state === 0 && error) {
      this.#state = 0;
      this.tell(error, afterMs);
    }
  }

  #fail(error: SourceError): void {
    if (this.#state === 2) return;
    this.close();
    this.tell(error);
  }
}
