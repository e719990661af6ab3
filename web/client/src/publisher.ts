// Publishing to a hub: nothing lost, nothing twice, in order, over lost answers, reconnects and restarts of the hub. Events
// are numbered (`Producer-Id`, `Producer-Epoch`, `Producer-Seq`), so the hub knows which it holds.
//
// Invariant: one request is on its way at a time; what waits behind it is bounded in events and bytes. What was not
// acked when the page ends may be there or not.

import { type Attempt, type ConnectionInit, makeRequest, readText, resolve, retryAfterMs, waitMs } from './index.js';
import { type Verdict, judge } from './verdict.js';

/** What is published. */
export interface PublishedEvent {
  /** Where it goes; several topics make one event. Default: `topic` of the publisher. */
  readonly topic?: string | readonly string[] | undefined;
  /** Text as it is; bytes for topics declared binary; anything else as JSON. */
  readonly data: unknown;
  /** Its type. */
  readonly event?: string | undefined;
  /** Your name for it. */
  readonly id?: string | undefined;
  readonly retry?: number | undefined;
  /** Only for readers with a grant. */
  readonly private?: boolean | undefined;
}

/** An event that the hub holds, as durably as it promises. */
export interface Published {
  readonly epoch: number;
  readonly seq: number;
}

/** A trouble that passes by itself. */
export interface Notice {
  readonly kind: 'retrying' | 'recovered' | 'new-epoch';
  readonly why: string;
  readonly afterMs: number;
}

export interface PublisherInit extends Pick<ConnectionInit, 'headers' | 'withCredentials' | 'fetch'> {
  /** The topic of events that name none. */
  readonly topic?: string | undefined;
  /** To go on with a numbering of an earlier life: all three. Default: a producer of its own, drawn by chance. */
  readonly producer?: { readonly id: string; readonly epoch: number; readonly seq: number } | undefined;
  /** How long a request waits for more events. Default: 0, it takes what arrived while the one before was on its way. */
  readonly windowMs?: number | undefined;
  /** Events of one request. Default: 1,000. */
  readonly batchEventsMax?: number | undefined;
  /** Bytes after which a request takes no further event. Default: 256 KiB. */
  readonly batchBytesMax?: number | undefined;
  /** Events that may wait. Default: 4,096. */
  readonly queueEventsMax?: number | undefined;
  /** Bytes that they may have together. Default: 4 MiB. */
  readonly queueBytesMax?: number | undefined;
  /** For how long a batch is tried. Default: for ever. */
  readonly patienceMs?: number | undefined;
  readonly onNotice?: ((notice: Notice) => void) | undefined;
}

/**
 * Why an event was not published. `full`: too many wait; await `ready` first. `invalid`: it cannot be said in JSON, or has no
 * topic. `refused`: the hub will never take this one, the others go on. `ended`: the publisher has, and why.
 */
export class PublishError extends Error {
  override readonly name = 'PublishError';
  constructor(
    readonly code: 'full' | 'invalid' | 'refused' | 'ended',
    message: string,
  ) {
    super(message);
  }
}

interface Job {
  readonly line: Uint8Array<ArrayBuffer>;
  readonly resolve: (published: Published) => void;
  readonly reject: (error: PublishError) => void;
}

const ANSWER_MS_MAX = 60_000;
const ANSWER_BYTES_MAX = 64 << 10;
const WAIT_MS_FIRST = 200;
const WAIT_MS_MAX = 10_000;
const ASKED_MS_MAX = 60_000;
/** What a browser still sends when the page has ended. */
const KEEPALIVE_BYTES_MAX = 60_000;

export class Publisher {
  readonly #url: URL;
  readonly #init: PublisherInit;
  readonly #id: string;
  #epoch: number;
  #seq: number;
  #queue: Job[] = [];
  #queueBytes = 0;
  #isRunning = false;
  #ended: PublishError | undefined;
  #room: { promise: Promise<void>; resolve: () => void } | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #hurry: (() => void) | undefined;

  /** `url` is the hub's `/events`. */
  constructor(url: string | URL, init: PublisherInit = {}) {
    this.#url = resolve(url);
    this.#init = init;
    const drawn = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join('-');
    this.#id = init.producer?.id ?? `js-${drawn()}`;
    this.#epoch = init.producer?.epoch ?? 0;
    this.#seq = init.producer?.seq ?? 0;
  }

  /** The numbering so far: all before `seq` are held. */
  get producer(): { readonly id: string; readonly epoch: number; readonly seq: number } {
    return { id: this.#id, epoch: this.#epoch, seq: this.#seq };
  }

  /** Resolves when there is room for one more: await it before each `publish` of many. */
  get ready(): Promise<void> {
    if (this.#hasRoom(1)) return Promise.resolve();
    if (!this.#room) {
      let resolve!: () => void;
      const promise = new Promise<void>((done) => (resolve = done));
      this.#room = { promise, resolve };
    }
    return this.#room.promise;
  }

  /** Takes an event; the promise is the hub's ack. Events stand in the log in the order of the calls. */
  publish(event: PublishedEvent): Promise<Published> {
    if (this.#ended) return Promise.reject(this.#ended);
    let line: Uint8Array<ArrayBuffer>;
    try {
      line = new TextEncoder().encode(written(event, this.#init.topic));
    } catch (error) {
      return Promise.reject(new PublishError('invalid', `this cannot be published: ${String(error)}`));
    }
    if (!this.#hasRoom(line.length)) {
      const { queueEventsMax = 4_096, queueBytesMax = 4 << 20 } = this.#init;
      const message = `more than ${queueEventsMax} events, or ${queueBytesMax} bytes, would wait: await \`ready\` first`;
      return Promise.reject(new PublishError('full', message));
    }
    const ack = new Promise<Published>((resolve, reject) => this.#queue.push({ line, resolve, reject }));
    this.#queueBytes += line.length;
    this.#last = ack.catch(() => {});
    if (!this.#isRunning) void this.#run();
    return ack;
  }

  /** Waits until all that was published before is answered. What became of each its own promise tells. */
  async flush(): Promise<void> {
    // Answers come in order.
    await this.#last;
  }

  /** Takes no more; what waits is still delivered. */
  async close(): Promise<void> {
    this.#ended ??= new PublishError('ended', 'the publisher was closed');
    await this.flush();
  }

  #hasRoom(bytes: number): boolean {
    const { queueEventsMax = 4_096, queueBytesMax = 4 << 20 } = this.#init;
    // One that is larger than all the room has it for itself.
    return this.#queue.length === 0 || (this.#queue.length < queueEventsMax && this.#queueBytes + bytes <= queueBytesMax);
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    const hurry = () => this.#hurry?.();
    globalThis.addEventListener?.('online', hurry);
    try {
      // What is published in one go goes in one request.
      await (this.#init.windowMs ? pause(this.#init.windowMs) : Promise.resolve());
      while (this.#queue.length > 0) await this.#batch();
    } catch (error) {
      this.#end(new PublishError('ended', error instanceof Error ? error.message : String(error)));
    } finally {
      globalThis.removeEventListener?.('online', hurry);
      this.#isRunning = false;
    }
  }

  async #batch(): Promise<void> {
    const { batchEventsMax = 1_000, batchBytesMax = 256 << 10 } = this.#init;
    let [events, bytes] = [0, 0];
    while (events < Math.min(this.#queue.length, batchEventsMax) && bytes < batchBytesMax) {
      bytes += this.#queue[events]?.line.length ?? 0;
      events += 1;
    }
    const body = new Uint8Array(bytes);
    let at = 0;
    for (const { line } of this.#queue.slice(0, events)) {
      body.set(line, at);
      at += line.length;
    }
    const verdict = await this.#deliver(body, events);
    if (verdict.kind === 'done') this.#settle(events);
    else if (verdict.kind === 'item') {
      this.#settle(verdict.item);
      this.#take(1)[0]?.reject(new PublishError('refused', `the hub does not take this event: ${verdict.why}`));
    } else throw new Error(verdict.why);
  }

  // Promise: a number is never given to another event than the one that may be held under it.
  async #deliver(body: Uint8Array<ArrayBuffer>, events: number): Promise<Verdict> {
    const began = performance.now();
    let status: number | undefined;
    for (let failures = 0; ; ) {
      let [verdict, askedMs]: [Verdict, number | undefined] = [{ kind: 'again', why: '' }, undefined];
      try {
        const answer = await this.#post(body, failures === 0, status);
        const isExpired = answer.status === 401 && status !== 401 && typeof this.#init.headers === 'function';
        status = answer.status;
        if (isExpired) continue;
        verdict = judge(answer.status, answer.text, events);
        askedMs = answer.retryAfterMs;
      } catch (error) {
        verdict = { kind: 'again', why: `no answer from the hub: ${String(error)}` };
      }
      if (verdict.kind === 'done' && failures > 0) this.#tell('recovered', '', 0);
      // A hub that does not even take the first event of an epoch would be asked for ever.
      if (verdict.kind === 'ahead' && this.#seq > 0 && !this.#init.producer) {
        this.#epoch += 1;
        this.#seq = 0;
        this.#tell('new-epoch', verdict.why, 0);
        continue;
      }
      if (verdict.kind !== 'again') return verdict;
      failures += 1;
      const ownMs = waitMs(WAIT_MS_FIRST, failures, WAIT_MS_MAX, Math.random());
      const afterMs = Math.max(ownMs, Math.min(askedMs ?? 0, ASKED_MS_MAX), 50);
      if (performance.now() - began + afterMs > (this.#init.patienceMs ?? Infinity)) return { kind: 'never', why: verdict.why };
      this.#tell('retrying', verdict.why, afterMs);
      await Promise.race([pause(afterMs), new Promise<void>((resolve) => (this.#hurry = resolve))]);
    }
  }

  async #post(body: Uint8Array<ArrayBuffer>, isFirst: boolean, status: number | undefined): Promise<{ status: number; text: string; retryAfterMs: number | undefined }> {
    const { headers, withCredentials } = this.#init;
    const numbered = async (attempt: Attempt) => {
      const all = new Headers(typeof headers === 'function' ? await headers(attempt) : headers);
      all.set('content-type', 'application/x-ndjson');
      all.set('producer-id', this.#id);
      all.set('producer-epoch', String(this.#epoch));
      all.set('producer-seq', String(this.#seq));
      return all;
    };
    const signal = AbortSignal.timeout(ANSWER_MS_MAX);
    const asked = { status, signal, accept: 'application/json' };
    const [url, init] = await makeRequest(this.#url, { method: 'POST', headers: numbered, body, withCredentials }, asked);
    // Only once: browsers limit what all such requests of a page hold together, and refuse what is more.
    const keepalive = isFirst && body.length <= KEEPALIVE_BYTES_MAX;
    const response = await (this.#init.fetch ?? fetch)(url, { ...init, keepalive });
    const text = await readText(response, ANSWER_BYTES_MAX);
    return { status: response.status, text, retryAfterMs: retryAfterMs(response.headers.get('retry-after')) };
  }

  /** So many of the first are held. */
  #settle(events: number): void {
    for (const job of this.#take(events)) {
      job.resolve({ epoch: this.#epoch, seq: this.#seq });
      this.#seq += 1;
    }
  }

  #take(events: number): Job[] {
    const jobs = this.#queue.splice(0, events);
    for (const { line } of jobs) this.#queueBytes -= line.length;
    this.#freed();
    return jobs;
  }

  #freed(): void {
    if (!this.#hasRoom(1)) return;
    this.#room?.resolve();
    this.#room = undefined;
  }

  #end(error: PublishError): void {
    this.#ended = error;
    const queue = this.#queue;
    this.#queue = [];
    this.#queueBytes = 0;
    for (const job of queue) job.reject(error);
    this.#freed();
  }

  #tell(kind: Notice['kind'], why: string, afterMs: number): void {
    this.#init.onNotice?.({ kind, why, afterMs });
  }
}

function written(event: PublishedEvent, topic: string | undefined): string {
  const to = event.topic ?? topic;
  if (to === undefined) throw new TypeError('it has no topic');
  const { data, event: type, id, retry, private: isPrivate } = event;
  const content = data instanceof Uint8Array ? { base64: base64(data) } : { data };
  const line = JSON.stringify({ topic: to, ...content, event: type, id, retry, private: isPrivate });
  if (!('base64' in content) && JSON.stringify(data) === undefined) throw new TypeError('its data is no JSON');
  return `${line}\n`;
}

function base64(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
