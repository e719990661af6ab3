// What the hub says of itself, second by second: a stream of the hub's own, read with its own client. Rates are made here,
// from the totals of two samples.

import { EventSource, patient } from '../../../client/dist/index.js';

const KEPT = 300;
const GAP_MS = 3_500;

export const overview = $state({ state: 'connecting', now: null, error: '', restarts: 0, rates: { in: null, out: null, bytesIn: null, bytesOut: null } });

/** Columns of the charts; `version` changes when they do. */
const COLUMNS = ['time', 'connections', 'subscribers', 'in', 'out', 'bytesIn', 'bytesOut', 'p50', 'p99', 'lag', 'log'];
export const columns = Object.fromEntries(COLUMNS.map((name) => [name, []]));
export const drawn = $state({ version: 0 });

let last = null;
let lastLife = '';

/** `life` names the hub's process: an id is life-number. Clocks may jump, and a life may be shorter than the one before. */
function take(sample, life) {
  const ms = last ? sample.time_ms - last.time_ms : 0;
  const isRestart = last !== null && life !== lastLife;
  lastLife = life;
  if (isRestart) overview.restarts += 1;
  const rate = (name) => (last && !isRestart && ms > 0 && ms < GAP_MS ? ((sample[name] - last[name]) * 1000) / ms : null);
  const rates = { in: rate('events_in'), out: rate('events_out'), bytesIn: rate('bytes_in'), bytesOut: rate('bytes_out') };
  if (last && sample.time_ms <= last.time_ms) {
    last = sample;
    return rates;
  }
  // A line is not drawn over what nobody saw.
  if (last && (ms >= GAP_MS || isRestart)) push(last.time_ms + 1, {});
  push(sample.time_ms, {
    connections: sample.connections,
    subscribers: sample.subscribers,
    ...rates,
    p50: sample.publish_p50_us === null ? null : sample.publish_p50_us / 1000,
    p99: sample.publish_p99_us === null ? null : sample.publish_p99_us / 1000,
    lag: sample.lag_max,
    log: sample.log_bytes,
  });
  last = sample;
  return rates;
}

function push(timeMs, values) {
  columns.time.push(timeMs / 1000);
  for (const name of COLUMNS.slice(1)) columns[name].push(values[name] ?? null);
  if (columns.time.length > KEPT + 60) for (const name of COLUMNS) columns[name].splice(0, 60);
}

let source;
let pending = null;

/** What comes at once is shown at once: the samples that were kept come in one piece. */
function show(sample, rates) {
  const is = pending !== null;
  pending = { sample, rates };
  if (is) return;
  queueMicrotask(() => setTimeout(() => {
    overview.now = pending.sample;
    overview.rates = pending.rates;
    pending = null;
    drawn.version += 1;
  }, 0));
}

export function listen() {
  source = new EventSource('/admin/overview', { ...patient, backoffMaxMs: 5_000, stallTimeoutMs: 10_000 });
  source.onopen = () => {
    overview.state = 'open';
    overview.error = '';
  };
  source.onmessage = ({ data, lastEventId }) => {
    const sample = JSON.parse(data);
    overview.state = 'open';
    show(sample, take(sample, lastEventId.split('-', 1)[0]));
  };
  source.onerror = ({ error }) => {
    overview.state = source.readyState === 2 ? 'closed' : 'connecting';
    overview.error = error?.message ?? 'The hub does not answer.';
  };
}
