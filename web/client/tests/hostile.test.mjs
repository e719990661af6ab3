// What a page must bear: ten thousand events a second, a handler that is slower than the stream, a reload, markup in data.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Hub } from '../../../tests/browser/hub.mjs';
import { Publisher } from '../dist/publisher.js';
import { launch } from './chromium.mjs';
import { startServer } from './server.mjs';

const limit = { timeout: 90_000 };

describe('a page', () => {
  let server;
  let hub;
  let browser;
  let page;

  before(async () => {
    server = await startServer();
    hub = await Hub.start();
    browser = await launch();
    page = await browser.newPage();
    await page.goto(`${server.url}/`);
  }, limit);

  after(async () => {
    await browser?.close();
    await hub?.remove();
    server?.close();
  }, limit);

  /** Opens a flow, shows each event in the page, and says how the page fared. */
  const flood = (query) =>
    page.evaluate(async (query) => {
      const { EventSource } = await import('/dist/index.js');
      const shown = document.body.appendChild(document.createElement('p'));
      const gaps = [];
      let [frame, isDone] = [performance.now(), false];
      const draw = (now) => {
        gaps.push(now - frame);
        frame = now;
        if (!isDone) requestAnimationFrame(draw);
      };
      requestAnimationFrame(draw);
      const began = performance.now();
      const count = Number(new URLSearchParams(query).get('count'));
      let next = 0;
      await new Promise((resolve, reject) => {
        const source = new EventSource(`/flow?${query}`);
        source.onmessage = ({ data }) => {
          const { n } = JSON.parse(data);
          if (n !== next) reject(new Error(`${n} came, not ${next}`));
          next += 1;
          shown.textContent = data;
          if (next < count) return;
          source.close();
          resolve();
        };
      });
      isDone = true;
      const ms = performance.now() - began;
      return { ms: Math.round(ms), frames: gaps.length, longestMs: Math.round(Math.max(...gaps)) };
    }, query);

  test('10,000 events a second: all are shown, and the page is drawn', limit, async () => {
    const fared = await flood('rate=10000&count=40000');
    console.log(`10,000 events a second for 4 s: ${JSON.stringify(fared)}`);
    assert.ok(fared.frames > 60 && fared.longestMs < 500, JSON.stringify(fared));
  });

  test('as many as there are: the page is drawn all the same', limit, async () => {
    const fared = await flood('count=200000');
    console.log(`200,000 events as fast as they come: ${JSON.stringify(fared)}`);
    assert.ok(fared.frames > fared.ms / 100 && fared.longestMs < 500, JSON.stringify(fared));
  });

  test('a handler that is slow slows the network down, not memory up', limit, async () => {
    const [handled, ...taken] = await page.evaluate(async () => {
      const { Connection } = await import('/dist/index.js');
      let handled = 0;
      const item = () => {
        handled += 1;
        return new Promise((resolve) => setTimeout(resolve, 20));
      };
      // It is the handler that is silent, not the network: no stall.
      const connection = new Connection(new URL('/flow', location), { stallTimeoutMs: 300 }, { item, lost: () => (handled = -1e9) });
      const taken = [];
      for (let n = 0; n < 2; n += 1) {
        await new Promise((resolve) => setTimeout(resolve, 2_000));
        taken.push(Number(await (await fetch('/flowed')).text()));
      }
      connection.close();
      return [handled, ...taken];
    });
    console.log(`a slow handler took ${handled} events; the network took ${taken.map((bytes) => `${(bytes / 1e6).toFixed(1)} MB`)}`);
    assert.ok(handled > 10 && handled < 300, `${handled}`);
    // What the system and the browser hold on the way is full, and stays so.
    assert.equal(taken[0], taken[1]);
  });

  test('a page that is reloaded goes on after what it saw', limit, async () => {
    const open = () =>
      page.evaluate(async (hub) => {
        const { EventSource } = await import('/dist/index.js');
        const source = new EventSource(`${hub}/topics/reload`, { remember: 'reload' });
        source.onmessage = ({ data }) => (sessionStorage.seen = `${sessionStorage.seen ?? ''}${data} `);
        await new Promise((resolve) => (source.onopen = resolve));
      }, hub.url);
    let published = '';
    const publish = async (n) => {
      await hub.publish('reload', String(n));
      published += `${n} `;
    };
    await open();
    for (let n = 0; n < 30; n += 3) {
      await publish(n);
      const reloaded = page.reload();
      await publish(n + 1);
      await reloaded;
      await publish(n + 2);
      await open();
    }
    await page.waitForFunction((published) => sessionStorage.seen.length >= published.length, published);
    await sleep(200);
    assert.equal(await page.evaluate(() => sessionStorage.seen), published);
  });

  test('401 and 403 are shown as what they are, and a fresh key mends it', limit, async () => {
    const config = fileURLToPath(new URL('../../../docs/src/examples/tidings.toml', import.meta.url));
    const locked = await Hub.start('--config', config);
    try {
      const told = await page.evaluate(async (hub) => {
        const [{ EventSource }, { Topics }] = await Promise.all([import('/dist/index.js'), import('/dist/topics.js')]);
        const end = (url, authorization) =>
          new Promise((resolve) => {
            const source = new EventSource(url, { headers: authorization ? { authorization } : {} });
            source.onopen = () => (source.close(), resolve('open'));
            source.onerror = ({ error }) => resolve([error.status, error.problem.type.split(':').pop(), source.readyState]);
          });
        const desk = `${hub}/topics/desk/1`;
        const told = {
          missing: await end(desk),
          unknown: await end(desk, 'Bearer no-such-key-at-all-here'),
          denied: await end(`${hub}/topics/elsewhere`, 'Bearer reader-key-for-this-page'),
          granted: await end(desk, 'Bearer newsroom-key-for-this-page'),
        };
        // One Topics: what is denied is denied to who asked, what is granted goes on.
        let asked = 0;
        const topics = new Topics(`${hub}/events`, {
          headers: ({ status }) => {
            asked += status === 401 ? 1 : 0;
            return { authorization: asked > 0 ? 'Bearer newsroom-key-for-this-page' : 'Bearer expired-key-of-yesterday' };
          },
        });
        await topics.subscribe('desk/*', () => {}).ready;
        told.refreshed = asked;
        told.elsewhere = await topics.subscribe('elsewhere', () => {}).ready.catch(({ status }) => status);
        topics.close();
        return told;
      }, locked.url);
      assert.deepEqual(told, {
        missing: [401, 'unauthorized', 2],
        unknown: [401, 'unauthorized', 2],
        denied: [403, 'forbidden', 2],
        granted: 'open',
        refreshed: 1,
        elsewhere: 403,
      });
    } finally {
      await locked.remove();
    }
  });

  test('ten thousand events a second to three tabs over one connection: all of them, once, and each tab is drawn', limit, async () => {
    const context = await browser.newContext();
    const pages = [];
    for (let n = 0; n < 3; n += 1) {
      const tab = await context.newPage();
      pages.push(tab);
      await tab.goto(`${server.url}/`);
      await tab.evaluate(async (hub) => {
        const [{ Topics }, { shared }] = await Promise.all([import('/dist/topics.js'), import('/dist/shared.js')]);
        window.next = 0;
        window.wrong = [];
        await new Topics(`${hub}/events`, { link: shared }).subscribe('flood', ({ data }) => {
          if (Number(data) !== window.next) window.wrong.push(data);
          window.next += 1;
        }).ready;
        window.longestMs = 0;
        let last = performance.now();
        const look = () => {
          const now = performance.now();
          window.longestMs = Math.max(window.longestMs, now - last);
          last = now;
          setTimeout(look, 16);
        };
        look();
      }, hub.url);
    }
    const publisher = new Publisher(`${hub.url}/events`, { topic: 'flood' });
    const began = performance.now();
    const count = 30_000;
    for (let n = 0; n < count; ) {
      const due = Math.min(count, (performance.now() - began) * 10);
      for (; n < due; n += 1) {
        await publisher.ready;
        publisher.publish({ data: String(n) }).catch(assert.fail);
      }
      await sleep(5);
    }
    await publisher.flush();
    const published = performance.now() - began;
    for (const tab of pages) await tab.waitForFunction((count) => window.next >= count, count, { timeout: 60_000 });
    const fared = await Promise.all(pages.map((tab) => tab.evaluate(() => [window.next, window.wrong.length, Math.round(window.longestMs)])));
    console.log(`${count} events in ${Math.round(published)} ms to three tabs: [events, wrong, longest pause in ms] ${JSON.stringify(fared)}`);
    for (const [next, wrong, longestMs] of fared) {
      assert.deepEqual([next, wrong], [count, 0]);
      assert.ok(longestMs < 1_000, `${longestMs}`);
    }
    await context.close();
  });

  test('with all storage blocked the page has its events', limit, async () => {
    // A frame without an origin: sessionStorage, localStorage, IndexedDB and Web Locks throw.
    const told = await page.evaluate(async (hub) => {
      const frame = document.createElement('iframe');
      frame.sandbox = 'allow-scripts';
      frame.srcdoc = `<script type="module">
        const [{ EventSource }, { Topics }, { shared }, { IndexedDbSink }] = await Promise.all(
          ['index', 'topics', 'shared', 'indexeddb'].map((name) => import('${location.origin}/dist/' + name + '.js')));
        const told = {};
        const done = () => Object.keys(told).length === 3 && parent.postMessage(told, '*');
        const source = new EventSource('${location.origin}/blocked-stream', { remember: 'x' });
        source.onmessage = ({ data }) => { told.source ??= data; source.close(); done(); };
        source.onerror = ({ error }) => { told.source ??= error.message; done(); };
        const topics = new Topics('${location.origin}/hub/events', { link: shared, fetch: (url, init) => {
          told.shared = 'asked by itself'; done(); return new Promise(() => {}); } });
        topics.subscribe('a', () => {});
        IndexedDbSink.open({ database: 'x' }).then(() => (told.sink = 'opened'), ({ code }) => (told.sink = code)).then(done);
      </script>`;
      const told = new Promise((resolve) => window.addEventListener('message', ({ data }) => resolve(data), { once: true }));
      document.body.append(frame);
      return told;
    }, hub.url);
    assert.deepEqual(told, { source: 'unblocked', shared: 'asked by itself', sink: 'unavailable' });
  });
});
