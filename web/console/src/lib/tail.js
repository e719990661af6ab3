// A stream with its bytes: what the inspector shows is what came over the wire, block by block, not what a parser made of
// it. Reconnects after its last id.
//
// Nothing here draws. Whoever reads takes what has come when it likes; what is too much is counted and let go.

import { headers, query, refusal, Refused } from './api.svelte.js';

const decoder = new TextDecoder();
const RETRY_MS = 1_000;
const BLOCK_BYTES_MAX = 64 << 20;

/** Fields of a block. */
export function parse(bytes) {
  const text = decoder.decode(bytes);
  const found = { id: null, event: '', data: null, retry: null, comment: null };
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    if (name === 'data') found.data = found.data === null ? value : `${found.data}\n${value}`;
    else if (name === 'id') found.id = value;
    else if (name === 'event') found.event = value;
    else if (name === 'retry') found.retry = value;
    else if (name === '') found.comment = value;
  }
  return found;
}

/** Cuts bytes into blocks at blank lines, whatever pieces they come in. */
export class Blocks {
  #parts = [];
  #held = 0;
  #lineIsEmpty = true;

  push(chunk, found) {
    let from = 0;
    let at = 0;
    for (;;) {
      at = chunk.indexOf(10, at);
      if (at < 0) break;
      const isBlank = at === 0 ? this.#lineIsEmpty : chunk[at - 1] === 10;
      at += 1;
      if (!isBlank) continue;
      const piece = chunk.subarray(from, at);
      found(this.#held > 0 ? this.#join(piece) : piece.slice());
      from = at;
    }
    if (from < chunk.length) {
      this.#parts.push(chunk.slice(from));
      this.#held += chunk.length - from;
      if (this.#held > BLOCK_BYTES_MAX) throw new Error('A block is larger than any that is shown here.');
    }
    this.#lineIsEmpty = chunk.length > 0 ? chunk[chunk.length - 1] === 10 : this.#lineIsEmpty;
  }

  #join(piece) {
    const all = new Uint8Array(this.#held + piece.length);
    let at = 0;
    for (const part of [...this.#parts, piece]) {
      all.set(part, at);
      at += part.length;
    }
    this.#parts = [];
    this.#held = 0;
    return all;
  }
}

/** Listens until it is stopped. `on` has `block(bytes)`, `state(name)`, `refused(error)`. */
export class Tail {
  #abort = new AbortController();
  #lastId = '';

  constructor({ selectors, from, types = [], label = false }, on) {
    this.pairs = [...selectors.map((selector) => ['topic', selector]), ...types.map((type) => ['event', type])];
    if (label) this.pairs.push(['label', 'true']);
    // Bytes are shown as a Chromium would get them, in any browser.
    this.pairs.push(['cursor', 'id']);
    this.from = from;
    this.on = on;
    this.#run();
  }

  stop() {
    this.#abort.abort();
  }

  saw(id) {
    if (id !== null) this.#lastId = id;
  }

  async #run() {
    const { signal } = this.#abort;
    while (!signal.aborted) {
      this.on.state('connecting');
      try {
        const start = this.#lastId === '' ? [['from', this.from ?? 'tail']] : [];
        const url = `/events?${query([...this.pairs, ...start])}`;
        const more = this.#lastId === '' ? {} : { 'last-event-id': this.#lastId };
        const response = await fetch(url, { headers: headers({ accept: 'text/event-stream', ...more }), signal, cache: 'no-store' });
        if (response.status === 204) {
          this.on.state('ended');
          return;
        }
        if (!response.ok) {
          const error = await refusal(response);
          if (response.status < 500) {
            this.on.refused(error);
            this.on.state('closed');
            return;
          }
          throw error;
        }
        this.on.state('open');
        const blocks = new Blocks();
        const reader = response.body.getReader();
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          blocks.push(value, (bytes) => this.on.block(bytes));
          // A flood comes in pieces that are read without a pause: others must have their turn.
          await new Promise((resolve) => setTimeout(resolve, 0));
        }
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Refused === false && error.name !== 'TypeError' && error.name !== 'NetworkError') this.on.refused(new Refused(0, 'The stream broke', String(error.message)));
      }
      if (signal.aborted) return;
      this.on.state('connecting');
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}
