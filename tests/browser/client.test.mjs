// The JavaScript client in Firefox: its whole suite in a page, and what the browser's own EventSource does not survive there.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
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
});
