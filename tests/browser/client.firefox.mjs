// The JavaScript client in Firefox: its whole suite in a page, and what the browser's own EventSource does not survive there.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Publisher } from '../../web/client/dist/publisher.js';
import { startServer } from '../../web/client/tests/server.mjs';
import { cases as hubCases } from '../../web/client/tests/suite/hub.mjs';
import { cases as indexedDbCases } from '../../web/client/tests/suite/indexeddb.mjs';
import { cases as sourceCases } from '../../web/client/tests/suite/source.mjs';
import { cases as wakeCases } from '../../web/client/tests/suite/wake.mjs';
import { BROWSERS } from './browser.mjs';
import { Hub } from './hub.mjs';

const limit = { timeout: 90_000 };

describe('the client in Firefox', () => {
  let server;
  let hub;
  let browser;
  let page;

  before(async () => {
    server = await startServer();
    hub = await Hub.start();
    server.setHub(hub.url);
    browser = await BROWSERS.Firefox();
    page = await browser.newPage();
    await page.goto(`${server.url}/`);
    await page.evaluate(() => import('/tests/suite/run.mjs').then(() => {}));
  }, limit);

  after(async () => {
    await browser?.close();
    server?.close();
    await hub?.remove();
  }, limit);

  for (const [number, [name]] of [...sourceCases, ...hubCases, ...indexedDbCases, ...wakeCases].entries()) {
    test(name, limit, async () => {
      const context = { base: server.url, hub: hub.url };
      assert.equal(await page.evaluate((number, context) => window.runCase(number, context), number, context), '');
    });
  }

  test('it comes back after a hub of another origin refused the connection', limit, async () => {
    await page.evaluate(async (url) => {
      const { EventSource } = await import('/dist/index.js');
      window.log = [];
      const source = new EventSource(url, { retryMs: 200 });
      source.onopen = () => window.log.push('open');
      source.onmessage = ({ data }) => window.log.push(data);
      source.onerror = ({ error }) => window.log.push(error.code);
    }, `${hub.url}/topics/refused`);
    const until = (condition) => page.waitForFunction(condition, { timeout: 30_000 });
    await until(() => window.log.includes('open'));
    await hub.publish('refused', 'one', 'retry=200');
    await until(() => window.log.includes('one'));
    await hub.kill9();
    await until(() => window.log.filter((entry) => entry === 'network').length >= 3);
    await hub.restart();
    await hub.publish('refused', 'two');
    await until(() => window.log.includes('two'));
    assert.deepEqual(await page.evaluate(() => window.log.filter((entry) => entry !== 'network' && entry !== 'open')), ['one', 'two']);
  });

  test('the leading tab is closed ten times: 0 lost, 0 twice', { timeout: 180_000 }, async () => {
    const open = async () => {
      const tab = await browser.newPage();
      await tab.goto(`${server.url}/`);
      await tab.evaluate(async (hub) => {
        const [{ Topics }, { shared }] = await Promise.all([import('/dist/topics.js'), import('/dist/shared.js')]);
        window.log = [];
        window.streams = 0;
        const counting = (url, init) => {
          if (init.headers.get('accept') === 'text/event-stream') {
            window.streams += 1;
            init.signal.addEventListener('abort', () => (window.streams -= 1));
          }
          return fetch(url, init);
        };
        const topics = new Topics(`${hub}/events`, { link: shared, fetch: counting, retryMs: 100 });
        await topics.subscribe('closed', ({ data }) => window.log.push(Number(data))).ready;
      }, hub.url);
      return tab;
    };
    const complete = async (tab) => {
      const log = await tab.evaluate(() => window.log);
      log.forEach((data, at) => assert.equal(data, log[0] + at));
      return log.at(-1);
    };
    const publisher = new Publisher(`${hub.url}/events`, { topic: 'closed' });
    const acks = [];
    const timer = setInterval(() => acks.push(publisher.publish({ data: String(acks.length) })), 10);
    const tabs = [await open(), await open(), await open()];
    for (let closed = 0; closed < 10; closed += 1) {
      for (let tries = 0; ; tries += 1) {
        const streams = await Promise.all(tabs.map((tab) => tab.evaluate(() => window.streams)));
        const at = streams.indexOf(1);
        assert.ok(tries < 400, `streams: ${streams}`);
        if (at < 0) continue;
        const [leading] = tabs.splice(at, 1);
        await complete(leading);
        await leading.close();
        break;
      }
      tabs.push(await open());
    }
    clearInterval(timer);
    await Promise.all(acks);
    for (const tab of tabs) {
      await tab.waitForFunction((last) => window.log.at(-1) === last, { timeout: 20_000 }, acks.length - 1);
      assert.equal(await complete(tab), acks.length - 1);
      await tab.close();
    }
  });
});
