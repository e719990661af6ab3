// What a page sees of the native surface, through the browser's own EventSource.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { BROWSERS, Reader, servePage } from './browser.mjs';
import { Hub } from './hub.mjs';

const limit = { timeout: 90_000 };

for (const [name, launch] of Object.entries(BROWSERS)) {
  describe(`EventSource in ${name}`, () => {
    let hub;
    let browser;
    let page;

    before(async () => {
      // One after the other: if one fails, `after` knows of those before it, and nothing keeps running.
      hub = await Hub.start();
      page = await servePage();
      browser = await launch();
    }, limit);

    after(async () => {
      await browser?.close();
      page?.close();
      await hub?.remove();
    }, limit);

    const open = (target, types) => Reader.open(browser, page.url, hub.url + target, types);
    const events = (count) => (log) => log.filter((entry) => entry.kind === 'event').length >= count;

    test('onopen, onmessage and close() pass through all three states', limit, async () => {
      const reader = await open('/topics/states');
      await reader.opened();
      assert.equal(await reader.readyState(), 1);
      await hub.publish('states', 'hello');
      await reader.until('the event', events(1));
      await reader.closeSource();
      assert.equal(await reader.readyState(), 2);
      await hub.publish('states', 'nobody hears this');
      await sleep(500);

      const log = await reader.log();
      assert.deepEqual(
        log.map(({ kind, state }) => [kind, state]),
        [['created', 0], ['open', 1], ['event', 1], ['closed', 2]],
      );
      assert.equal(log[2].type, 'message');
      assert.equal(log[2].data, 'hello');
      assert.equal(log[2].origin, hub.url);
      await reader.close();
    });

    test('named events go to their listeners and not to onmessage', limit, async () => {
      const reader = await open('/topics/names', ['score', 'état']);
      await reader.opened();
      await hub.publish('names', '1:0', 'event=score');
      await hub.publish('names', 'nobody listens', 'event=other');
      await hub.publish('names', 'oui', `event=${encodeURIComponent('état')}`);
      await hub.publish('names', 'plain');
      await reader.until('the last', (log) => log.some((entry) => entry.data === 'plain'));
      assert.deepEqual(
        (await reader.of('event')).map(({ type, data }) => [type, data]),
        [['score', '1:0'], ['état', 'oui'], ['message', 'plain']],
      );
      await reader.close();
    });

    test('data arrives as it was sent, whatever its lines', limit, async () => {
      const bodies = [
        'one\ntwo\n\nfour',
        ' a space before and behind ',
        ': not a comment\nid: not an id\nevent: not a name',
        '\n',
        'ünïcode ☃ 🎉 \u2028 \u0085',
        'x'.repeat(100_000),
      ];
      const reader = await open('/topics/lines');
      await reader.opened();
      for (const body of bodies) await hub.publish('lines', body);
      await reader.until('all of them', events(bodies.length));
      assert.deepEqual(await reader.data(), bodies);
      await reader.close();
    });

    test('every event has a lastEventId of its own, with the id that the publisher gave', limit, async () => {
      const reader = await open('/topics/ids');
      await reader.opened();
      await hub.publish('ids', 'a');
      await hub.publish('ids', 'b', 'id=order-7');
      await hub.publish('ids', 'c');
      await reader.until('three', events(3));
      const ids = (await reader.of('event')).map((entry) => entry.id);
      assert.match(ids[0], /^[0-9a-z]+\.[0-9a-z]+$/);
      assert.match(ids[1], /^[0-9a-z]+\.[0-9a-z]+~order-7$/);
      assert.equal(new Set(ids).size, 3);

      const late = await open(`/topics/ids?last_event_id=${encodeURIComponent(ids[0])}`);
      await late.until('the two after the first', events(2));
      assert.deepEqual((await late.of('event')).map((entry) => entry.id), ids.slice(1));
      await Promise.all([reader.close(), late.close()]);
    });

    test('a closed topic ends the EventSource for good', limit, async () => {
      const reader = await open('/topics/ending');
      await reader.opened();
      await hub.publish('ending', 'the last word');
      await hub.request('PUT', '/topics/ending?closed');
      await reader.until('readyState 2', (log) => log.at(-1).state === 2, 45_000);
      const log = await reader.log();
      await sleep(3_000);
      assert.deepEqual(await reader.log(), log, 'something happened after the end');
      assert.equal(await reader.readyState(), 2);
      assert.deepEqual(await reader.data(), ['the last word']);
      assert.equal(log.filter((entry) => entry.kind === 'open').length, 1, 'a 204 is no second opening');

      const { id } = log.find((entry) => entry.kind === 'event');
      const back = await hub.request('GET', '/topics/ending', {
        headers: { accept: 'text/event-stream', 'last-event-id': id },
      });
      assert.equal(back.status, 204);
      await reader.close();
    });

    test('an id of another log\'s life is answered with a gap, then live events', limit, async () => {
      await hub.publish('gaps', 'before');
      const reader = await open('/topics/gaps?last_event_id=zz.1', ['tidings.gap']);
      await reader.until('the gap', events(1));
      await hub.publish('gaps', 'after');
      await reader.until('the event', (log) => log.some((entry) => entry.data === 'after'));

      const log = await reader.of('event');
      assert.deepEqual(log.map((entry) => entry.type).filter((type) => type === 'tidings.gap'), ['tidings.gap']);
      assert.equal(log[0].type, 'tidings.gap');
      assert.equal(typeof JSON.parse(log[0].data).reason, 'string');
      assert.notEqual(log[0].id, '', 'a gap commits a position to go on from');
      assert.ok(!log[0].id.startsWith('zz.'), log[0].id);
      assert.equal(log.at(-1).data, 'after');
      await reader.close();
    });
  });
}
