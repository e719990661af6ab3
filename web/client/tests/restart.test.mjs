// A hub that is killed while somebody publishes and others listen, in Node: each event once, in order, on both sides.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Hub } from '../../../tests/browser/hub.mjs';
import { EventSource, patient } from '../dist/index.js';
import { Publisher } from '../dist/publisher.js';
import { Topics } from '../dist/topics.js';

const limit = { timeout: 90_000 };

async function until(about, condition, ms = 30_000) {
  const end = Date.now() + ms;
  while (!condition()) {
    assert.ok(Date.now() < end, `waited for ${about}`);
    await sleep(20);
  }
}

describe('kill -9 of the hub', () => {
  let hub;

  before(async () => {
    hub = await Hub.start();
  }, limit);

  after(async () => {
    await hub?.remove();
  }, limit);

  test('under a publisher, an EventSource and Topics', limit, async () => {
    const quick = { ...patient, retryMs: 50, backoffMaxMs: 300 };
    const got = { source: [], topics: [], late: [] };
    const source = new EventSource(`${hub.url}/topics/killed`, quick);
    source.onmessage = ({ data }) => got.source.push(data);
    await until('open', () => source.readyState === 1);
    const topics = new Topics(`${hub.url}/events`, quick);
    await topics.subscribe('killed', ({ data }) => got.topics.push(data)).ready;
    const notices = [];
    const publisher = new Publisher(`${hub.url}/events`, { topic: 'killed', batchEventsMax: 50, onNotice: ({ kind }) => notices.push(kind) });
    const acks = [];
    let isPublishing = true;
    const publishing = (async () => {
      for (let n = 0; isPublishing; n += 1) {
        await publisher.ready;
        acks.push(publisher.publish({ data: String(n) }));
        if (n % 5 === 0) await sleep(2);
      }
    })();
    for (let kills = 0; kills < 5; kills += 1) {
      await sleep(200);
      await hub.kill9();
      // One that subscribes while nobody is there waits.
      if (kills === 2) topics.subscribe('killed', ({ data }) => got.late.push(data), { from: 'start' });
      await sleep(100);
      await hub.restart();
    }
    await sleep(200);
    isPublishing = false;
    await publishing;
    const published = await Promise.all(acks);
    const expected = published.map((_, n) => String(n));
    await until('all', () => Object.values(got).every((list) => list.length >= expected.length));
    await sleep(200);
    for (const [who, list] of Object.entries(got)) assert.deepEqual(list, expected, who);
    assert.ok(notices.includes('recovered') && !notices.includes('new-epoch'), `${notices}`);
    console.log(`five kills, ${expected.length} events published, once each in three readers`);
    source.close();
    topics.close();
  });

  test('with nothing kept: a gap is told, the publisher begins anew', limit, async () => {
    const forgetful = await Hub.start('--durability', 'memory');
    try {
      const got = [];
      const gaps = [];
      const topics = new Topics(`${forgetful.url}/events`, { ...patient, retryMs: 50, backoffMaxMs: 200 });
      await topics.subscribe('gone', ({ data }) => got.push(data), { onGap: ({ reason }) => gaps.push(reason) }).ready;
      const notices = [];
      const publisher = new Publisher(`${forgetful.url}/events`, { topic: 'gone', onNotice: ({ kind }) => notices.push(kind) });
      await publisher.publish({ data: 'a' });
      await publisher.publish({ data: 'b' });
      await until('both', () => got.length === 2);
      await forgetful.kill9();
      await forgetful.restart();
      assert.equal((await publisher.publish({ data: 'c' })).epoch, 1);
      await until('the third', () => got.length === 3);
      assert.deepEqual([got, gaps], [['a', 'b', 'c'], ['epoch']]);
      assert.ok(notices.includes('new-epoch'), `${notices}`);
      topics.close();
    } finally {
      await forgetful.remove();
    }
  });

  test('the present state of more topics than fit a page of history', limit, async () => {
    const publisher = new Publisher(`${hub.url}/events`);
    const count = 1_500;
    for (const round of ['old', 'new']) {
      for (let n = 0; n < count; n += 1) {
        await publisher.ready;
        publisher.publish({ topic: `state/${n}`, data: `${round} ${n}` }).catch(assert.fail);
      }
      await publisher.flush();
    }
    const topics = new Topics(`${hub.url}/events`);
    const got = [];
    await topics.subscribe('state/*', ({ topic, data }) => got.push([topic, data]), { from: 'last' }).ready;
    assert.deepEqual(got, Array.from({ length: count }, (_, n) => [`state/${n}`, `new ${n}`]));
    topics.close();
  });
});
