// EventSource over `fetch`: the standard's interface (WHATWG HTML, 9.2), and what it lacks.

import { Connection, type ConnectionInit } from './connection.js';
import type { SourceError } from './errors.js';
import { type Memory, type Remember, remembered } from './remember.js';

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
// `any` is what makes it stand wherever a browser's EventSource does.
type AnyHandler = Handler<any>;

/** The interface of an EventSource, whatever is behind it. */
export interface SourceTarget {
  addEventListener<K extends keyof EventSourceEventMap>(
    type: K,
    listener: (event: EventSourceEventMap[K]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: ((event: MessageEvent<string>) => unknown) | EventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof EventSourceEventMap>(
    type: K,
    listener: (event: EventSourceEventMap[K]) => unknown,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: ((event: MessageEvent<string>) => unknown) | EventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

export abstract class SourceTarget extends EventTarget {
  static get CONNECTING(): 0 {
    return 0;
  }
  static get OPEN(): 1 {
    return 1;
  }
  static get CLOSED(): 2 {
    return 2;
  }
  get CONNECTING(): 0 {
    return 0;
  }
  get OPEN(): 1 {
    return 1;
  }
  get CLOSED(): 2 {
    return 2;
  }

  readonly url: string;
  readonly withCredentials: boolean;
  readonly #handlers = new Map<string, AnyHandler>();

  constructor(url: string, withCredentials: boolean) {
    super();
    this.url = url;
    this.withCredentials = withCredentials;
  }

  /** 0 connecting, 1 open, 2 closed. */
  abstract get readyState(): 0 | 1 | 2;
  /** The id that the next connection resumes from. */
  abstract get lastEventId(): string;
  /** Drops the connection, or the wait for the next attempt, and connects at once. */
  abstract reconnectNow(): void;
  abstract close(): void;

  get onopen(): AnyHandler {
    return this.#get('open');
  }
  set onopen(handler: Handler<Event>) {
    this.#set('open', handler);
  }
  get onmessage(): AnyHandler {
    return this.#get('message');
  }
  set onmessage(handler: Handler<MessageEvent<string>>) {
    this.#set('message', handler);
  }
  get onerror(): AnyHandler {
    return this.#get('error');
  }
  set onerror(handler: Handler<SourceErrorEvent>) {
    this.#set('error', handler);
  }

  /** @internal */
  protected tell(error: SourceError, afterMs?: number): void {
    this.dispatchEvent(Object.assign(new Event('error'), { error, afterMs }));
  }

  #get(type: string): AnyHandler {
    return this.#handlers.get(type) ?? null;
  }

  #set(type: string, handler: AnyHandler): void {
    const value = typeof handler === 'function' ? handler : null;
    // It keeps the place in the order that it got when it was first set (HTML, 8.1.8.1).
    if (value && !this.#handlers.get(type)) super.addEventListener(type, this.#call);
    if (!value) super.removeEventListener(type, this.#call);
    this.#handlers.set(type, value);
  }

  #call = (event: Event): void => {
    this.#handlers.get(event.type)?.call(this, event);
  };
}

/** What `EventSource` is in a browser, and more. */
export class EventSource extends SourceTarget {
  readonly #connection: Connection;
  readonly #memory: Memory | undefined;

  /** @throws a `SyntaxError` if `url` is none. */
  constructor(url: string | URL, init: EventSourceInit = {}) {
    const target = resolve(url);
    super(target.href, init.withCredentials ?? false);
    let { origin } = target;
    const memory = remembered(init.remember);
    this.#memory = memory;
    // What was seen last beats what the page was written with: the same order as the hub's.
    const lastEventId = memory?.get() || init.lastEventId;
    this.#connection = new Connection(target, { ...init, lastEventId }, {
      open: (response) => {
        if (response.url) origin = new URL(response.url).origin;
        this.dispatchEvent(new Event('open'));
      },
      item: (item) => {
        if (item.kind === 'comment') init.onComment?.(item.text);
        else if (item.kind === 'event') {
          const { type, data, id } = item;
          this.dispatchEvent(new MessageEvent(type, { data, lastEventId: id, origin }));
        }
        // After the listeners: what they did not see comes again.
        memory?.set(this.lastEventId);
      },
      lost: (error, afterMs) => this.tell(error, afterMs),
      closed: (error) => {
        memory?.end();
        this.tell(error);
      },
    });
  }

  get readyState(): 0 | 1 | 2 {
    return this.#connection.readyState;
  }

  get lastEventId(): string {
    return this.#connection.lastEventId;
  }

  reconnectNow(): void {
    this.#connection.reconnectNow();
  }

  close(): void {
    this.#connection.close();
    this.#memory?.end();
  }
}

/** A URL relative to the page's, as `EventSource` takes it. */
export function resolve(url: string | URL): URL {
  try {
    return new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
  } catch {
    throw new DOMException(`this is no URL: ${url}`, 'SyntaxError');
  }
}
