// The hub dies without a word and comes back while a page is open: the page shows every event, once, in order.
//
// Where the browser lets it, the hub stays away until the page has tried to come back and was refused: a restart that
// is quicker than the reconnection time would prove less.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { BROWSERS, Reader, servePage } from './browser.mjs';
import { Hub } from './hub.mjs';

const limit = { timeout: 180_000 };

// Firefox (seen in ESR 153) closes an EventSource of another origin for good, readyState 2, when a reconnection is
// refused; on the page's own origin it tries again, as Chromium does on both. A hub cannot help that, so there, and
// only there, the hub is back before the page tries.
const PLACES = [
  { browser: 'Chromium', origin: 'the same origin', refused: true },
  { browser: 'Chromium', origin: 'another origin', refused: true },
  { browser: 'Firefox', origin: 'the same origin', refused: true },
  { browser: 'Firefox', origin: 'another origin', refused: false },
];

const count = (log, kind) => log.filter((entry) => entry.kind === kind).length;
const events = (log) => log.filter((entry) => entry.kind === 'event');

for (const place of PLACES) {
  describe(`kill -9 under an open page in ${place.browser}, ${place.origin}`, () => {
    let hub;
    let browser;
    let page;

    before(async () => {
      // One after the other: if one fails, `after` knows of those before it, and nothing keeps running.
      page = await servePage();
      browser = await BROWSERS[place.browser]();
    }, limit);

    after(async () => {
      await browser?.close();
      page?.close();
    }, limit);

    // A hub for each story: one that fails must not make the next one fail.
    beforeEach(async () => {
      hub = await Hub.start();
    }, limit);

    afterEach(async () => {
      await hub?.remove();
    }, limit);

    // A publisher may set the reconnection time: long where the hub must be back before it, short elsewhere.
    const query = place.refused ? 'retry=700' : 'retry=5000';

    const open = async (topic) => {
      const url = `${hub.url}/topics/${topic}`;
      const reader = await (place.origin === 'the same origin'
        ? Reader.openAtHub(browser, url)
        : Reader.open(browser, page.url, url));
      await reader.opened();
      return reader;
    };

    /** While the hub is away: the page has noticed, and where `refused`, has tried again in vain. */
    const missed = async (reader, before) => {
      const errors = count(before, 'error') + (place.refused ? 2 : 1);
      await reader.until('the page to miss the hub', (log) => count(log, 'error') >= errors);
      assert.equal(await reader.readyState(), 0, 'the page still means to come back');
    };

    /** The page shows everything published, once and in order, under ids all different, and is still open. */
    const complete = async (reader, published) => {
      const log = await reader.until('all events', (log) => events(log).length >= published.length, 60_000);
      await sleep(500); // whatever comes twice has time to come
      assert.deepEqual(await reader.data(), published);
      assert.equal(new Set(events(log).map((entry) => entry.id)).size, published.length);
      assert.equal(await reader.readyState(), 1);
    };

    test('with events before, during and after each of three deaths', limit, async () => {
      const reader = await open('busy');

      const published = [];
      let retried = 0;
      let more = true;
      const publisher = (async () => {
        while (more) {
          const data = `event ${published.length + 1}`;
          if ((await hub.publishSurely('busy', data, query)) > 1) retried += 1;
          published.push(data);
          await sleep(5);
        }
      })();
      // A failure of the publisher is told below, where it is awaited.
      publisher.catch(() => {});

      try {
        for (let death = 1; death <= 3; death += 1) {
          const before = published.length;
          const log = await reader.until(
            'events while it is open',
            (log) => count(log, 'open') === death && events(log).length > before + 20,
          );
          await hub.kill9();
          await missed(reader, log);
          await hub.restart();
          await reader.until(`connection ${death + 1}`, (log) => count(log, 'open') === death + 1, 60_000);
        }
        await sleep(300);
      } finally {
        more = false;
      }
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

      const reader = await open('quiet');
      await sleep(300); // the first block, which carries the position and dispatches nothing
      const log = await reader.log();
      await hub.kill9();

      // The hub's next life is on another port, so the browser cannot be back before all is published.
      const { port } = hub;
      await hub.restart(0);
      assert.notEqual(hub.port, port);
      const published = ['one', 'two', 'three'];
      for (const data of published) await hub.publishSurely('quiet', data);
      if (place.refused) await missed(reader, log);
      assert.deepEqual(await reader.data(), [], 'nothing could have arrived yet');
      await hub.kill9();
      await hub.restart(port);

      await reader.until('a second connection', (log) => count(log, 'open') === 2, 60_000);
      published.push('four');
      await hub.publishSurely('quiet', 'four');
      await complete(reader, published);
      await reader.close();
    });
  });
}
