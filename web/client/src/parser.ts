// The wire format (WHATWG HTML, 9.2.6), as a pure function of bytes: the same at any split, linear in their number.
// Lines are found in the bytes and decoded one by one, so that an event that a page keeps holds no chunk in memory.
//
// Invariant: `lastEventId` is the id of what was told last, or what the parser was seeded with.

/** What a stream says. `retryMs` is `undefined` after an empty `retry:`, which resets it. */
export type Item =
  | { readonly kind: 'event'; readonly type: string; readonly data: string; readonly id: string }
  | { readonly kind: 'id'; readonly id: string }
  | { readonly kind: 'retry'; readonly retryMs: number | undefined }
  | { readonly kind: 'comment'; readonly text: string };

const LF = 10;
const CR = 13;

/** An event, or a line, has more bytes than the parser may hold. */
export class TooLarge extends Error {}

export class Parser {
  lastEventId: string;
  readonly #bytesMax: number;
  // A sequence that is cut by a line end is as broken as any other: no state is kept from line to line.
  readonly #utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
  /** The beginning of a line whose end has not come: the first `#partBytes` of it. Grows by doubling, so work is linear. */
  #part = new Uint8Array(256);
  #partBytes = 0;
  /** Bytes of the block's data lines so far. */
  #dataBytes = 0;
  #atStart = true;
  /** A CR ended the last chunk: an LF that comes first in the next belongs to it. */
  #swallowLf = false;
  #data: string | undefined;
  #type = '';
  #id: string | undefined;

  constructor(lastEventId: string, bytesMax: number) {
    this.lastEventId = lastEventId;
    this.#bytesMax = bytesMax;
  }

  /** What these bytes complete. Whoever stops early has given up the stream. */
  *push(chunk: Uint8Array): Generator<Item, void> {
    let at = 0;
    if (this.#swallowLf && chunk.length > 0) {
      this.#swallowLf = false;
      if (chunk[0] === LF) at = 1;
    }
    let lf = chunk.indexOf(LF, at);
    let cr = chunk.indexOf(CR, at);
    while (lf >= 0 || cr >= 0) {
      const end = lf < 0 || (cr >= 0 && cr < lf) ? cr : lf;
      const line = this.#line(chunk.subarray(at, end));
      at = end + 1;
      // The line ends at the CR: waiting for what follows would hold back a stream of bare CRs.
      if (end === cr) {
        if (at === chunk.length) this.#swallowLf = true;
        else if (chunk[at] === LF) at += 1;
      }
      const item = this.#take(line);
      if (item) yield item;
      if (lf >= 0 && lf < at) lf = chunk.indexOf(LF, at);
      if (cr >= 0 && cr < at) cr = chunk.indexOf(CR, at);
    }
    if (at < chunk.length) this.#keep(chunk.subarray(at));
  }

  #keep(bytes: Uint8Array): void {
    const length = this.#partBytes + bytes.length;
    this.#check(length);
    if (length > this.#part.length) {
      const larger = new Uint8Array(Math.max(length, 2 * this.#part.length));
      larger.set(this.#part.subarray(0, this.#partBytes));
      this.#part = larger;
    }
    this.#part.set(bytes, this.#partBytes);
    this.#partBytes = length;
  }

  #check(bytes: number): void {
    if (this.#dataBytes + bytes > this.#bytesMax) throw new TooLarge(`an event is larger than ${this.#bytesMax} bytes`);
  }

  /** The line that `end` completes. */
  #line(end: Uint8Array): string {
    let bytes = end;
    if (this.#partBytes > 0) {
      this.#keep(end);
      bytes = this.#part.subarray(0, this.#partBytes);
      this.#partBytes = 0;
    }
    this.#check(bytes.length);
    let line = this.#utf8.decode(bytes);
    // One long line is no reason to keep so much for good.
    if (this.#part.length > 1 << 16) this.#part = new Uint8Array(256);
    if (this.#atStart) {
      this.#atStart = false;
      if (line.charCodeAt(0) === 0xfeff) line = line.slice(1);
    }
    if (line.startsWith('data')) this.#dataBytes += bytes.length;
    return line;
  }

  #take(line: string): Item | undefined {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    if (colon === 0) return { kind: 'comment', text: line.slice(1) };
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (name === 'data') this.#data = this.#data === undefined ? value : `${this.#data}\n${value}`;
    else if (name === 'event') this.#type = value;
    else if (name === 'id') {
      if (!value.includes('\0')) this.#id = value;
    } else if (name === 'retry' && /^[0-9]*$/.test(value)) {
      return { kind: 'retry', retryMs: value === '' ? undefined : Math.min(Number(value), Number.MAX_SAFE_INTEGER) };
    }
    return undefined;
  }

  #dispatch(): Item | undefined {
    const [data, type, id] = [this.#data, this.#type, this.#id];
    this.#data = this.#id = undefined;
    this.#type = '';
    this.#dataBytes = 0;
    if (id !== undefined) this.lastEventId = id;
    if (data !== undefined) return { kind: 'event', type: type || 'message', data, id: this.lastEventId };
    return id === undefined ? undefined : { kind: 'id', id };
  }
}
