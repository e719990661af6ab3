// What comes from a tail, bounded: it is taken as it comes, and drawn five times a second at most. What is too much is
// counted and let go, so a flood costs memory for KEPT events and no more.

import { parse, Tail } from './tail.js';

const KEPT = 2_000;
const SHOWN = 200;
const DRAW_MS = 200;

export class Feed {
  items = $state.raw([]);
  state = $state('idle');
  error = $state.raw(null);
  total = $state(0);
  matched = $state(0);
  rate = $state(0);
  bytes = $state(0);
  paused = $state(false);
  #kept = [];
  #count = 0;
  #hits = 0;
  #bytes = 0;
  #sinceRate = 0;
  #rateAt = 0;
  #timer = null;
  #tail = null;
  #number = 0;
  #wants = () => true;

  start(ask, wants = () => true) {
    this.stop();
    this.error = null;
    this.#wants = wants;
    this.#rateAt = performance.now();
    const tail = new Tail(ask, {
      state: (state) => (this.state = state),
      refused: (error) => (this.error = error),
      block: (bytes) => this.#take(tail, bytes),
    });
    this.#tail = tail;
    this.#timer = setInterval(() => this.#draw(), DRAW_MS);
  }

  stop() {
    this.#tail?.stop();
    this.#tail = null;
    clearInterval(this.#timer);
    if (this.state !== 'idle') this.#draw();
    this.state = 'idle';
  }

  filter(wants) {
    this.#wants = wants;
    this.#draw(true);
  }

  clear() {
    this.#kept = [];
    this.#count = this.#hits = this.#bytes = 0;
    this.#draw(true);
  }

  #take(tail, bytes) {
    const fields = parse(bytes);
    tail.saw(fields.id);
    if (fields.data === null && fields.comment === null) return;
    this.#count += 1;
    this.#sinceRate += 1;
    this.#bytes += bytes.length;
    if (this.paused) return;
    this.#number += 1;
    const item = { number: this.#number, bytes, at: Date.now(), ...fields, event: fields.event || (fields.data === null ? '(comment)' : '') };
    if (!this.#wants(item)) return;
    this.#hits += 1;
    this.#kept.push(item);
    if (this.#kept.length > KEPT * 1.5) this.#kept = this.#kept.slice(-KEPT);
  }

  #drawn = -1;

  #draw(always = false) {
    const now = performance.now();
    if (now - this.#rateAt >= 1_000) {
      this.rate = (this.#sinceRate * 1000) / (now - this.#rateAt);
      this.#sinceRate = 0;
      this.#rateAt = now;
    }
    this.total = this.#count;
    this.bytes = this.#bytes;
    this.matched = this.#hits;
    if (!always && (this.paused || this.#drawn === this.#number)) return;
    this.#drawn = this.#number;
    const found = [];
    for (let at = this.#kept.length - 1; at >= 0 && found.length < SHOWN; at -= 1) {
      if (this.#wants(this.#kept[at])) found.push(this.#kept[at]);
    }
    this.items = found;
  }
}
