// One stream of many topics, whose topics change while it runs: the hub's `/events?topic=…&label`, asked anew from where it
// stands whenever it must have more. A link tells what comes in batches, each with the place that it follows, so that
// whoever listens can tell a repetition from a hole.

import { Connection, type ConnectionInit, type SourceError } from './index.js';
import { compare, earlier } from './position.js';

/** An event, or a position alone. */
export type LinkItem = readonly [id: string] | readonly [id: string, type: string, data: string];

export interface LinkSink {
  /** These follow, in order, upon what stands at `before`. */
  batch(before: string, items: readonly LinkItem[]): void;
  state(state: 0 | 1 | 2, error?: SourceError, afterMs?: number): void;
}

export interface Link {
  /** From now on all of these topics, and nothing after `after` may be missing. */
  want(selectors: readonly string[], after: string): void;
  reconnectNow(): void;
  close(): void;
}

export type MakeLink = (url: URL, init: ConnectionInit, sink: LinkSink) => Link;

/** What the hub takes in one stream; and a request's head has at most 64 KiB there. */
const SELECTORS_MAX = 1_000;
const SELECTORS_BYTES_MAX = 48 << 10;

/** Whether one stream can have all of these. */
export function fits(selectors: ReadonlySet<string>): boolean {
  if (selectors.size > SELECTORS_MAX) return false;
  let bytes = 0;
  for (const selector of selectors) bytes += encodeURIComponent(selector).length + '&topic='.length;
  return bytes <= SELECTORS_BYTES_MAX;
}

/** Topics that nobody wants any more cost a little; a reconnect for each would cost more. */
const SHRINK_AFTER_MS = 1_000;

/** A link with a connection of its own. */
export class Stream implements Link {
  readonly #url: URL;
  readonly #init: ConnectionInit;
  readonly #sink: LinkSink;
  #connection: Connection | undefined;
  #wanted: readonly string[] = [];
  /** What the present request asks for. */
  #asked = new Set<string>();
  #shrink: ReturnType<typeof setTimeout> | undefined;
  #before = '';
  #items: LinkItem[] = [];

  constructor(url: URL, init: ConnectionInit, sink: LinkSink) {
    this.#url = url;
    this.#init = init;
    this.#sink = sink;
  }

  /** Where it stands. */
  get position(): string {
    return this.#connection?.lastEventId ?? '';
  }

  want(selectors: readonly string[], after: string): void {
    this.#wanted = selectors;
    clearTimeout(this.#shrink);
    const at = this.position;
    // Also where the two cannot be compared: the hub can, and tells a gap.
    const isBehind = after !== '' && at !== '' && (compare(after, at) ?? -1) < 0;
    if (selectors.length === 0) this.#stop();
    else if (!this.#connection) this.#start(after);
    else if (isBehind || selectors.some((selector) => !this.#asked.has(selector))) this.#again(isBehind ? after : at || after);
    else if (selectors.length < this.#asked.size) this.#shrink = setTimeout(() => this.#again(this.position), SHRINK_AFTER_MS);
  }

  reconnectNow(): void {
    this.#connection?.reconnectNow();
  }

  close(): void {
    this.#stop();
  }

  #stop(): void {
    clearTimeout(this.#shrink);
    this.#connection?.close();
    this.#connection = undefined;
    this.#items = [];
  }

  #again(from: string): void {
    this.#flush();
    this.#connection?.reconnectNow(from);
  }

  #start(lastEventId: string): void {
    const connection = new Connection(() => this.#ask(), { ...this.#init, lastEventId }, {
      open: () => this.#sink.state(1),
      item: (item) => {
        if (item.kind === 'event') this.#add([item.id, item.type, item.data]);
        else if (item.kind === 'id') this.#add([item.id]);
      },
      lost: (error, afterMs) => {
        // Another set of topics is no loss.
        if (error.code !== 'requested') this.#sink.state(0, error, afterMs);
      },
      closed: (error) => {
        this.#flush();
        if (this.#connection === connection) this.#connection = undefined;
        this.#sink.state(2, error);
      },
    });
    this.#connection = connection;
    this.#before = lastEventId;
  }

  #ask(): URL {
    // What came before this attempt came from before it.
    this.#before = this.position;
    this.#asked = new Set(this.#wanted);
    const url = new URL(this.#url);
    for (const selector of this.#wanted) url.searchParams.append('topic', selector);
    url.searchParams.set('label', 'true');
    url.searchParams.set('cursor', 'id');
    return url;
  }

  #add(item: LinkItem): void {
    if (this.#items.length === 0) queueMicrotask(() => this.#flush());
    this.#items.push(item);
  }

  #flush(): void {
    const items = this.#items;
    if (items.length === 0) return;
    const before = this.#before;
    this.#before = items[items.length - 1]?.[0] ?? before;
    this.#items = [];
    this.#sink.batch(before, items);
  }
}

/** The earliest of several places. */
export const earliest = (places: Iterable<string>): string => [...places].reduce(earlier, '');
