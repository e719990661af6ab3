// Tabs that share one connection: the leading one is killed without a word, fifty times, while somebody publishes. Every tab
// shows every event, once and in order. And what else may happen to tabs.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Hub } from '../../../tests/browser/hub.mjs';
import { Publisher } from '../dist/publisher.js';
import { launch } from './chromium.mjs';
import { startServer } from './server.mjs';

const limit = { timeout: 180_000 };
const KILLS = Number(process.env.KILLS ?? 50);

/** In the page: shares, notes all it is told, and whether the stream is its own. */
async function listen([hub, topic, before]) {
  if (before === 'no locks') Object.defineProperty(navigator, 'locks', { value: undefined });
  if (before === 'no channel') delete window.BroadcastChannel;
  if (before === 'channel throws') {
    window.BroadcastChannel = class {
      constructor() {
        throw new DOMException('blocked', 'SecurityError');
      }
    };
  }
  if (before === 'channel refuses') {
    BroadcastChannel.prototype.postMessage = () => {
      throw new TypeError('not today');
    };
  }
  if (before === 'locks refuse') navigator.locks.request = () => Promise.reject(new DOMException('blocked', 'SecurityError'));
  const [{ Topics }, { shared }] = await Promise.all([import('/dist/topics.js'), import('/dist/shared.js')]);
  window.log = [];
  window.gaps = [];
  window.states = [];
  window.streams = 0;
  const counting = async (url, init) => {
    if (init.headers.get('accept') === 'text/event-stream') {
      window.streams += 1;
      init.signal.addEventListener('abort', () => (window.streams -= 1));
    }
    return fetch(url, init);
  };
  window.topics = new Topics(`${hub}/events`, {
    link: shared,
    fetch: counting,
    retryMs: 100,
    backoffMaxMs: 1_000,
    retryStatuses: () => true,
    onState: (state) => window.states.push(state),
  });
  window.subscription = window.topics.subscribe(topic, ({ data }) => window.log.push(Number(data)), {
    onGap: (gap) => window.gaps.push(gap),
  });
  await window.subscription.ready;
}

describe('one connection for all tabs', () => {
  let server;
  let hub;
  let browser;
  let context;

  before(async () => {
    server = await startServer();
    hub = await Hub.start();
    browser = await launch();
    context = await browser.newContext();
  }, limit);

  afterEach(async () => {
    for (const page of context.pages()) await page.close();
  }, limit);

  after(async () => {
    await browser?.close();
    await hub?.remove();
    server?.close();
  }, limit);

  async function open(topic, before, where = context) {
    const page = await where.newPage();
    await page.goto(`${server.url}/`);
    await page.evaluate(listen, [hub.url, topic, before]);
    return page;
  }

  const streams = (page) => page.evaluate(() => window.streams);
  const log = (page) => page.evaluate(() => window.log);

  /** Which of the pages has the stream; waits until exactly one has. */
  async function leader(pages) {
    for (let tries = 0; ; tries += 1) {
      const counts = await Promise.all(pages.map(streams));
      if (counts.reduce((sum, count) => sum + count) === 1) return counts.indexOf(1);
      assert.ok(tries < 400, `streams: ${counts}`);
      await sleep(25);
    }
  }

  /** The renderer of a page ends at once, as by `kill -9`. */
  async function kill(page) {
    const crashed = page.waitForEvent('crash');
    const cdp = await context.newCDPSession(page);
    cdp.send('Page.crash').catch(() => {});
    await crashed;
    await page.close();
  }

  async function untilSeen(page, data, about) {
    for (let tries = 0; (await log(page)).at(-1) !== data; tries += 1) {
      assert.ok(tries < 400, `${about}: waited for ${data}, the last are ${(await log(page)).slice(-5)}`);
      await sleep(25);
    }
  }

  /** Each number once, in order, none left out. */
  const complete = (seen, about) => seen.forEach((data, at) => assert.equal(data, seen[0] + at, `${about}, at ${at}`));

  /** Publishes numbers until it is stopped; says how many there were. */
  function publishing(topic, everyMs) {
    const publisher = new Publisher(`${hub.url}/events`, { topic });
    const acks = [];
    let count = 0;
    const timer = setInterval(() => {
      for (let n = 0; n < 3; n += 1) acks.push(publisher.publish({ data: String(count++) }));
    }, everyMs);
    return async () => {
      clearInterval(timer);
      await Promise.all(acks);
      return count;
    };
  }

  test(`the leading tab is killed ${KILLS} times: 0 lost, 0 twice`, limit, async () => {
    const topic = 'killed';
    const stop = publishing(topic, 20);
    const pages = [await open(topic), await open(topic), await open(topic)];
    let checked = 0;
    for (let kills = 0; kills < KILLS; kills += 1) {
      const at = await leader(pages);
      const [page] = pages.splice(at, 1);
      const seen = await log(page);
      complete(seen, `a tab before kill ${kills}`);
      checked += seen.length;
      await kill(page);
      pages.push(await open(topic));
    }
    await leader(pages);
    // A tab that has just come begins with what is published from then on: it has to have begun before that ends.
    for (const page of pages) {
      for (let tries = 0; (await log(page)).length === 0; tries += 1) {
        assert.ok(tries < 400, 'a tab that sees nothing');
        await sleep(25);
      }
    }
    const count = await stop();
    assert.ok(count > KILLS * 3, `only ${count} events`);
    for (const page of pages) {
      await untilSeen(page, count - 1, 'a tab at the end');
      const seen = await log(page);
      complete(seen, 'a tab at the end');
      checked += seen.length;
      assert.deepEqual(await page.evaluate(() => window.gaps), []);
    }
    console.log(`${KILLS} kills, ${count} events published, ${checked} looked at in tabs`);
  });

  test('many tabs are one connection to the hub', limit, async () => {
    const pages = [];
    for (let n = 0; n < 8; n += 1) pages.push(await open(`many${n}`));
    await leader(pages);
    for (let n = 0; n < 8; n += 1) await hub.publish(`many${n}`, String(n));
    for (const [n, page] of pages.entries()) await untilSeen(page, n, `tab ${n}`);
    for (const [n, page] of pages.entries()) assert.deepEqual(await log(page), [n], 'each what it asked for');
    const metrics = await (await fetch(`${hub.admin}/metrics`)).text();
    assert.equal(/^tidings_subscribers (\d+)/m.exec(metrics)?.[1], '1', metrics);
  });

  test('what a closed tab wanted is asked for no more', limit, async () => {
    const [first, second] = [await open('stays'), await open('goes')];
    await leader([first, second]);
    const urls = [];
    await context.route(`${hub.url}/events*`, (route) => {
      urls.push(new URL(route.request().url()).searchParams.getAll('topic').sort());
      return route.continue();
    });
    await second.close();
    for (let tries = 0; urls.at(-1)?.length !== 1 && tries < 400; tries += 1) await sleep(25);
    assert.deepEqual(urls.at(-1), ['stays']);
    await context.unroute(`${hub.url}/events*`);
    await hub.publish('stays', '1');
    await untilSeen(first, 1, 'the other tab');
  });

  for (const missing of ['no locks', 'no channel', 'channel throws', 'channel refuses', 'locks refuse']) {
    test(`${missing}: each tab has a connection of its own`, limit, async () => {
      const topic = missing.replace(' ', '-');
      const pages = [await open(topic, missing), await open(topic, missing)];
      await hub.publish(topic, '1');
      for (const page of pages) {
        await untilSeen(page, 1, missing);
        assert.deepEqual([await log(page), await streams(page)], [[1], 1]);
      }
    });
  }

  test('a hub that restarts under many tabs: all of them go on', limit, async () => {
    const pages = [await open('restart'), await open('restart'), await open('restart')];
    await hub.publish('restart', '0');
    for (const page of pages) await untilSeen(page, 0, 'before');
    for (let n = 1; n <= 5; n += 1) {
      await hub.kill9();
      await sleep(150);
      await hub.restart();
      await hub.publishSurely('restart', String(n));
      for (const page of pages) await untilSeen(page, n, `restart ${n}`);
    }
    for (const page of pages) complete(await log(page), 'over restarts');
    await leader(pages);
  });

  test('a leading tab that hangs loses the lead', limit, async () => {
    // A browser of its own: a tab that hangs cannot be closed, its browser can be ended.
    const other = await launch();
    try {
      const others = await other.newContext();
      const [first, second] = [await open('hangs', undefined, others), await open('hangs', undefined, others)];
      assert.equal(await leader([first, second]), 0);
      first.evaluate(() => {
        for (;;);
      }).catch(() => {});
      await sleep(200);
      // An hour passes for the second tab, in which it heard nothing.
      await second.evaluate(() => {
        const now = performance.now.bind(performance);
        performance.now = () => now() + 3_600_000;
      });
      await hub.publish('hangs', '1');
      for (let tries = 0; (await streams(second)) === 0; tries += 1) {
        assert.ok(tries < 240, 'the second tab never took the lead');
        await sleep(250);
      }
      await untilSeen(second, 1, 'the second tab');
      assert.deepEqual(await log(second), [1]);
    } finally {
      await other.close();
    }
  });

  test('a tab that misses what was told asks for it', limit, async () => {
    const [first, second] = [await open('misses'), await open('misses')];
    assert.equal(await leader([first, second]), 0);
    // The channel of the second tab loses messages: the hub's events go to the first one alone.
    const name = `tidings/1 ${hub.url}/events false `;
    await first.evaluate((name) => {
      const { postMessage } = BroadcastChannel.prototype;
      window.mute = true;
      BroadcastChannel.prototype.postMessage = function (said) {
        if (this.name === name && said.kind === 'batch' && window.mute) return;
        postMessage.call(this, said);
      };
    }, name);
    for (const data of ['1', '2', '3']) await hub.publish('misses', data);
    await untilSeen(first, 3, 'the first tab');
    assert.deepEqual(await log(second), []);
    await first.evaluate(() => (window.mute = false));
    await hub.publish('misses', '4');
    await untilSeen(second, 4, 'the second tab');
    assert.deepEqual(await log(second), [1, 2, 3, 4]);
    assert.deepEqual(await log(first), [1, 2, 3, 4]);
  });

  test('more topics than one stream can have: who wants too many has a stream of his own', limit, async () => {
    const lists = [0, 1].map((tab) => Array.from({ length: 600 }, (_, n) => `much/${tab}/${n}`));
    const pages = [await open(lists[0]), await open(lists[1]), await open('much/0/599')];
    for (const [n, topic] of ['much/0/599', 'much/1/599', 'much/1/0', 'much/0/0'].entries()) await hub.publish(topic, String(n));
    await untilSeen(pages[0], 3, 'the first tab');
    await untilSeen(pages[1], 2, 'the second tab');
    await untilSeen(pages[2], 0, 'the third tab');
    assert.deepEqual(await Promise.all(pages.map(log)), [[0, 3], [1, 2], [0]]);
    assert.deepEqual(await Promise.all(pages.map(streams)), [1, 1, 0]);
  });

  test('signed in as somebody else is another connection', limit, async () => {
    const page = await open('share');
    const two = await page.evaluate(async (hub) => {
      const [{ Topics }, { shared }] = await Promise.all([import('/dist/topics.js'), import('/dist/shared.js')]);
      const names = ['ann', 'bob'].map((share) => {
        const topics = new Topics(`${hub}/events`, { link: shared, share });
        return topics.subscribe('share', () => {}).ready;
      });
      await Promise.all(names);
      const { held } = await navigator.locks.query();
      return held.map(({ name }) => name.split(' ').slice(3).join(' ')).filter((name) => name === 'ann' || name === 'bob').sort();
    }, hub.url);
    assert.deepEqual(two, ['ann', 'bob']);
  });
});
