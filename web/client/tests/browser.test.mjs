// The suite in Chromium: in a page and in a worker.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Hub } from '../../../tests/browser/hub.mjs';
import { launch } from './chromium.mjs';
import { startServer } from './server.mjs';
import { cases as hubCases } from './suite/hub.mjs';
import { cases as indexedDbCases } from './suite/indexeddb.mjs';
import { cases as sourceCases } from './suite/source.mjs';
import { cases as wakeCases } from './suite/wake.mjs';

const limit = { timeout: 90_000 };

for (const place of ['a page', 'a worker']) {
  describe(`in ${place} of Chromium`, () => {
    let server;
    let hub;
    let browser;
    let page;

    before(async () => {
      server = await startServer();
      hub = await Hub.start();
      server.setHub(hub.url);
      browser = await launch();
      page = await browser.newPage();
      await page.goto(`${server.url}/`);
      await page.evaluate(async (place) => {
        if (place === 'a page') return void (await import('/tests/suite/run.mjs'));
        const worker = new Worker('/tests/suite/run.mjs', { type: 'module' });
        const said = () => new Promise((resolve) => worker.addEventListener('message', ({ data }) => resolve(data), { once: true }));
        await said();
        window.runCase = (...call) => {
          worker.postMessage(call);
          return said();
        };
      }, place);
    }, limit);

    after(async () => {
      await browser?.close();
      await hub?.remove();
      server?.close();
    }, limit);

    for (const [number, [name]] of [...sourceCases, ...hubCases, ...indexedDbCases, ...wakeCases].entries()) {
      test(name, limit, async () => {
        const context = { base: server.url, hub: hub.url };
        assert.equal(await page.evaluate(([number, context]) => window.runCase(number, context), [number, context]), '');
      });
    }
  });
}
