// Thousands of events a second into a page. An event costs a look at its JSON and an entry in a map; what costs time,
// the painting, is done once a frame. The client's EventSource hands events over in slices, so that frames have room.

import { Chart } from './chart.js';
import { EventSource, patient } from './client/index.js';
import { element, follow, publish, readObject } from './live.js';

const SLOTS = 60;
const SYMBOLS_MAX = 12;
const ASK_MS = 5_000;
const NUMBERS = ['n', 'ms', 'open', 'high', 'low', 'close'];

const byId = (id) => document.getElementById(id);
const shares = new Map();
const rates = { first: 0, last: 0, received: 0, painted: 0, longest: 0 };
let chosen = null;
let dirty = true;

/** A candle, if it is one: anybody may publish to these topics. */
function read(data) {
  const candle = readObject(data);
  const is = candle && /^[A-Z]{1,6}$/.test(candle.symbol) && NUMBERS.every((name) => Number.isFinite(candle[name]));
  return is ? candle : null;
}

function shareOf(symbol) {
  if (!shares.has(symbol) && shares.size < SYMBOLS_MAX) {
    const row = element('tr', '', '');
    const button = element('button', 'plain', symbol);
    button.type = 'button';
    button.addEventListener('click', () => choose(symbol));
    const cells = Array.from({ length: 4 }, () => element('td', 'number', ''));
    const head = element('th', '', '');
    head.scope = 'row';
    head.append(button);
    row.append(head, ...cells);
    const after = [...shares].filter(([name]) => name < symbol).length;
    byId('symbols').insertBefore(row, byId('symbols').rows[after] ?? null);
    shares.set(symbol, { candles: [], button, cells });
    if (chosen === null) choose(symbol);
  }
  return shares.get(symbol);
}

function choose(symbol) {
  chosen = symbol;
  for (const [name, { button }] of shares) button.setAttribute('aria-pressed', String(name === symbol));
  dirty = true;
}

/** A candle replaces what was known of it; a later one begins behind it. */
function take(candle) {
  const candles = shareOf(candle.symbol)?.candles;
  if (!candles) return;
  let at = candles.length;
  while (at > 0 && candles[at - 1].ms > candle.ms) at -= 1;
  const known = candles[at - 1]?.ms === candle.ms;
  candles.splice(known ? at - 1 : at, known ? 1 : 0, candle);
  if (candles.length > SLOTS) candles.shift();
  dirty = true;
}

function trade({ data }) {
  rates.received += 1;
  const candle = read(data);
  if (!candle) return;
  // A hub that was restarted counts from 1 again.
  if (candle.n < rates.last) rates.first = candle.n;
  rates.last = candle.n;
  take(candle);
}

const chart = new Chart(byId('chart'), { up: byId('up'), down: byId('down'), line: byId('line-colour'), grid: byId('grid') });

const set = (target, text) => {
  if (target.textContent !== text) target.textContent = text;
};

function paint() {
  for (const { candles, cells } of shares.values()) {
    if (candles.length === 0) continue;
    const last = candles.at(-1).close;
    const change = (last / candles[0].open - 1) * 100;
    const [high, low] = [Math.max(...candles.map(({ high }) => high)), Math.min(...candles.map(({ low }) => low))];
    const texts = [last.toFixed(2), `${change < 0 ? '−' : '+'}${Math.abs(change).toFixed(2)} %`, high.toFixed(2), low.toFixed(2)];
    cells.forEach((cell, at) => set(cell, texts[at]));
    cells[1].dataset.way = change < 0 ? 'down' : 'up';
  }
  const candles = shares.get(chosen)?.candles ?? [];
  set(byId('symbol'), chosen ?? '–');
  set(byId('price'), candles.at(-1)?.close.toFixed(2) ?? '');
  chart.paint(candles, SLOTS, byId('kind').value);
}

let before = performance.now();

function frame(now) {
  rates.longest = Math.max(rates.longest, now - before);
  before = now;
  if (dirty) {
    dirty = false;
    rates.painted += 1;
    paint();
  }
  requestAnimationFrame(frame);
}

setInterval(() => {
  const count = (value) => Math.round(value).toLocaleString('en');
  if (rates.first > 0) byId('traded').textContent = count(Math.max(0, rates.last - rates.first));
  byId('received').textContent = count(rates.received);
  byId('painted').textContent = count(rates.painted);
  byId('longest').textContent = `${count(rates.longest)} ms`;
  Object.assign(rates, { first: rates.last, received: 0, painted: 0, longest: 0 });
  byId('chart').setAttribute('aria-label', `${chosen ?? 'No share'} at ${byId('price').textContent || 'no price'}, candles of three seconds`);
}, 1_000);

/** The exchange trades as often as pages that are looked at want it to. */
async function ask() {
  if (document.hidden) return;
  try {
    await publish('demo/exchange', { rate: Number(byId('rate').value) });
    byId('said').textContent = '';
  } catch (error) {
    byId('said').textContent = `the exchange was not asked: ${error.message}`;
  }
}

const url = () => `/events?topic=demo/prices/*&topic=demo/candles/*${byId('conflate').checked ? '&conflate' : ''}`;
const make = (target, lastEventId) => new EventSource(target, { ...patient, lastEventId });

async function begin() {
  // First what is kept, then what comes after it.
  const kept = await fetch('/events?topic=demo/candles/*&format=json&limit=1000').then((answer) => answer.json()).catch(() => null);
  for (const { data } of kept?.events ?? []) {
    const candle = read(data);
    if (candle) take(candle);
  }
  const candle = ({ data }) => {
    const ended = read(data);
    if (ended) take(ended);
  };
  const stream = follow(url(), { trade, candle }, make);
  byId('conflate').addEventListener('change', () => stream.open(url()));
  byId('rate').addEventListener('change', ask);
  byId('kind').addEventListener('change', () => (dirty = true));
  addEventListener('resize', () => (dirty = true));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => (dirty = true));
  document.addEventListener('visibilitychange', ask);
  setInterval(ask, ASK_MS);
  await ask();
}

requestAnimationFrame(frame);
begin();
