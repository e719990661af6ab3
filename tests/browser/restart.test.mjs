// The hub dies without a word and comes back while a page is open: the page shows every event, once, in order.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { BROWSERS, Reader, servePage } from './browser.mjs';
import { Hub } from './hub.mjs';

const limit = { timeout: 180_000 };

const opens = (log) => log.filter((entry) => entry.kind === 'open').length;
const events = (log) => log.filter((entry) => entry.kind === 'event');

for (const [name, launch] of Object.entries(BROWSERS)) {
  describe(`kill -9 under an open page in ${name}`, () => {
    let hub;
    let browser;
    let page;

    before(async () => {
      [hub, browser, page] = await Promise.all([Hub.start(), launch(), servePage()]);
    }, limit);

    after(async () => {
      await browser?.close();
      page?.close();
      await hub?.remove();
    }, limit);

    /** The page shows everything published, once and in order, under ids all different, and is still open. */
    const complete = async (reader, published) => {
      const log = await reader.until('all events', (log) => events(log).length >= published.length, 60_000);
      await sleep(500); // whatever comes twice has time to come
      assert.deepEqual(await reader.data(), published);
      assert.equal(new Set(events(log).map((entry) => entry.id)).size, published.length);
      assert.equal(await reader.readyState(), 1);
    };

    test('with events before, during and after each of three deaths', limit, async () => {
      const reader = await Reader.open(browser, page.url, `${hub.url}/topics/busy`);
      await reader.opened();

      const published = [];
      let retried = 0;
      let more = true;
      const publisher = (async () => {
        while (more) {
          const data = `event ${published.length + 1}`;
          if ((await hub.publishSurely('busy', data)) > 1) retried += 1;
          published.push(data);
          await sleep(5);
        }
      })();
      // A failure of the publisher is told below, where it is awaited.
      publisher.catch(() => {});

      for (let death = 1; death <= 3; death += 1) {
        const before = published.length;
        await reader.until('events while it is open', (log) => opens(log) === death && events(log).length > before + 20);
        await hub.kill9();
        await sleep(300 * death);
        await hub.restart();
        await reader.until(`connection ${death + 1}`, (log) => opens(log) === death + 1, 60_000);
      }
      await sleep(300);
      more = false;
      await publisher;

      assert.ok(retried >= 3, `publishing met ${retried} of 3 deaths`);
      assert.ok(published.length > 60, `only ${published.length} events`);
      await complete(reader, published);
      await reader.close();
    });

    test('when nothing had arrived before the link broke', limit, async () => {
      // Another topic has history, so the head of the log is not its beginning.
      for (let n = 1; n <= 20; n += 1) await hub.publish('noise', `noise ${n}`);
      await hub.publish('quiet', 'published before the page came: not for it');

      const reader = await Reader.open(browser, page.url, `${hub.url}/topics/quiet`);
      await reader.opened();
      await sleep(300); // the first block, which carries the position and dispatches nothing
      await hub.kill9();

      // The hub's next life is on another port, so the browser cannot be back before all is published.
      const { port } = hub;
      await hub.restart(0);
      assert.notEqual(hub.port, port);
      const published = ['one', 'two', 'three'];
      for (const data of published) await hub.publishSurely('quiet', data);
      assert.deepEqual(await reader.data(), [], 'nothing could have arrived yet');
      await hub.kill9();
      await hub.restart(port);

      await reader.until('a second connection', (log) => opens(log) === 2, 60_000);
      published.push('four');
      await hub.publishSurely('quiet', 'four');
      await complete(reader, published);
      await reader.close();
    });
  });
}
