// Sleep, a network that comes back, clocks that are set: in a page and in a worker, where these are told.

import { EventSource } from '../../dist/index.js';
import { equal, ok, script, sleep, until, watch } from './check.mjs';

const STREAM = { body: ['id: 1\ndata: a\n\n'], end: 'hang' };
const wake = () => globalThis.dispatchEvent(new Event('online'));

/** While `work` runs, the clock that people see is ahead by so much. */
async function withDateAhead(ms, work) {
  const { now } = Date;
  Date.now = () => now() + ms;
  try {
    await work();
  } finally {
    Date.now = now;
  }
}

export const cases = [
  ['the network is back: a wait ends at once', async ({ base }) => {
    const { url } = await script(base, { status: 503 }, STREAM);
    const source = new EventSource(url, { retryMs: 3_600_000, retryStatuses: () => true });
    const log = watch(source);
    await until('the refusal', () => log.length === 1);
    wake();
    await until('the event', () => log.includes('message a 1'), () => log);
    source.close();
    equal(log, ['error status 0', 'open', 'message a 1']);
  }],

  ['but not a wait that the server asked for', async ({ base }) => {
    const { url, seen } = await script(base, { status: 503, headers: { 'retry-after': '60' } }, STREAM);
    const source = new EventSource(url, { retryStatuses: () => true });
    const log = watch(source);
    await until('the refusal', () => log.length === 1);
    wake();
    await sleep(150);
    source.close();
    equal([log, (await seen()).length], [['error status 0'], 1]);
  }],

  ['an hour asleep: the connection is taken for dead', async ({ base }) => {
    const { url, seen } = await script(base, STREAM, { body: ['data: b\n\n'], end: 'hang' });
    const source = new EventSource(url, { retryMs: 3_600_000 });
    const log = watch(source);
    await until('the event', () => log.length === 2);
    await withDateAhead(3_600_000, async () => {
      wake();
      await until('another connection', () => log.includes('message b 1'), () => log);
    });
    source.close();
    equal(log, ['open', 'message a 1', 'error stalled 0', 'open', 'message b 1']);
    equal((await seen())[1].headers['last-event-id'], '1');
  }],

  ['a clock that is set back, or a short absence, changes nothing', async ({ base }) => {
    const { url, seen } = await script(base, STREAM);
    const source = new EventSource(url, { stallTimeoutMs: 75_000 });
    const log = watch(source);
    await until('the event', () => log.length === 2);
    for (const ms of [20_000, 0, -3_600_000, -1e12]) {
      await withDateAhead(ms, async () => {
        wake();
        await sleep(30);
      });
    }
    equal([source.readyState, log.length, (await seen()).length], [1, 2, 1]);
    source.close();
    wake();
    await sleep(30);
    ok(source.readyState === 2, 'closed is closed');
  }],
];
