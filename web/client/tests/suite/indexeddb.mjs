// The sink into IndexedDB, in a page and in a worker.

import { IndexedDbSink } from '../../dist/indexeddb.js';
import { equal, ok, script, sleep, until } from './check.mjs';

const fresh = () => `db ${Date.now()} ${Math.random()}`;
const event = (n, more = {}) => ({ type: 'message', data: `data ${n}`, id: `e.${n.toString(36)}`, ...more });
const data = (rows) => rows.map(({ value }) => value);

export const cases = [
  ['append: what is written is there, newest first, with the place', async () => {
    const database = fresh();
    const sink = await IndexedDbSink.open({ database });
    equal(sink.lastEventId, '');
    await sink.write([event(1), event(2, { type: 'x' })]);
    await sink.write([event(3)], 'e.5');
    equal(sink.lastEventId, 'e.5');
    equal(await sink.newest(9), [
      { key: 3, order: 3, id: 'e.3', type: 'message', value: 'data 3' },
      { key: 2, order: 2, id: 'e.2', type: 'x', value: 'data 2' },
      { key: 1, order: 1, id: 'e.1', type: 'message', value: 'data 1' },
    ]);
    sink.close();
    const again = await IndexedDbSink.open({ database });
    equal([again.lastEventId, await again.count()], ['e.5', 3]);
    again.close();
  }],

  ['bounded: the oldest go', async () => {
    const sink = await IndexedDbSink.open({ database: fresh(), rowsMax: 5 });
    await sink.write(Array.from({ length: 12 }, (_, n) => event(n + 1)));
    equal(data(await sink.newest(9)), ['data 12', 'data 11', 'data 10', 'data 9', 'data 8']);
    await sink.write([event(13)]);
    equal([await sink.count(), data(await sink.newest(1))], [5, ['data 13']]);
    sink.close();
  }],

  ['upsert: a row per key, a tombstone removes it, undefined keeps nothing', async () => {
    const key = ({ data }) => (data === '' ? undefined : JSON.parse(data).sku);
    const value = ({ data }) => data && JSON.parse(data);
    const sink = await IndexedDbSink.open({ database: fresh(), key, value, rowsMax: 2 });
    const stock = (n, sku, left, type = 'message') => event(n, { type, data: JSON.stringify({ sku, left }) });
    await sink.write([stock(1, 'a', 1), stock(2, 'b', 1), stock(3, 'a', 9), event(4, { data: '' })]);
    equal([(await sink.get('a')).value, (await sink.get('b')).value.left, sink.lastEventId], [{ sku: 'a', left: 9 }, 1, 'e.4']);
    await sink.write([stock(5, 'c', 1)]);
    equal((await sink.newest(9)).map(({ key }) => key), ['c', 'a'], 'b was written longest ago:');
    await sink.write([stock(6, 'a', 0, 'tidings.tombstone')]);
    equal([await sink.get('a'), await sink.count()], [undefined, 1]);
    sink.close();
  }],

  ['two writers of one store keep each event once', async () => {
    const database = fresh();
    const sinks = [await IndexedDbSink.open({ database }), await IndexedDbSink.open({ database })];
    const events = Array.from({ length: 60 }, (_, n) => event(n + 1));
    const write = async (sink, size) => {
      for (let at = 0; at < events.length; at += size) await sink.write(events.slice(at, at + size));
    };
    await Promise.all([write(sinks[0], 7), write(sinks[1], 4)]);
    equal(data(await sinks[0].newest(99)).reverse(), events.map(({ data }) => data));
    equal(sinks.map(({ lastEventId }) => lastEventId), ['e.1o', 'e.1o']);
    for (const sink of sinks) sink.close();
  }],

  ['a function that throws, and data that cannot be kept, change nothing', async () => {
    const broken = (event) => {
      if (event.data === 'bad') throw new Error('cannot read this');
      return event.data === 'worse' ? () => {} : event.data;
    };
    const sink = await IndexedDbSink.open({ database: fresh(), value: broken });
    await sink.write([event(1)]);
    for (const data of ['bad', 'worse']) {
      const error = await sink.write([event(2), event(3, { data })]).catch((error) => error);
      ok(error instanceof Error, 'it is told');
      equal([await sink.count(), sink.lastEventId], [1, 'e.1']);
    }
    await sink.write([event(2)]);
    equal(await sink.count(), 2);
    sink.close();
  }],

  ['follow: keeps a stream, and resumes from what it kept', async ({ hub }) => {
    const topic = `idb${Math.random().toString(36).slice(2)}`;
    const publish = async (from, to) => {
      const lines = Array.from({ length: to - from }, (_, n) => JSON.stringify({ topic, data: String(from + n) }));
      const answer = await fetch(`${hub}/events`, { method: 'POST', body: lines.join('\n') });
      ok(answer.ok, 'published');
    };
    await publish(0, 2_500);
    const database = fresh();
    const url = `${hub}/topics/${topic}?from=start`;
    let sink = await IndexedDbSink.open({ database });
    let written = 0;
    let connection = sink.follow(url, { onWritten: (rows) => (written += rows) });
    await until('half', () => written > 100);
    connection.close();
    sink.close();
    await publish(2_500, 2_600);
    sink = await IndexedDbSink.open({ database });
    connection = sink.follow(url, { onState: () => {} });
    await until('all', async () => (await sink.count()) >= 2_600, () => sink.lastEventId);
    await publish(2_600, 2_601);
    await until('the last', async () => (await sink.count()) >= 2_601);
    equal(data(await sink.newest(9_999)).reverse(), Array.from({ length: 2_601 }, (_, n) => String(n)));
    connection.close();
    sink.close();
  }],

  ['follow: a gap is told between what stands before and behind it', async ({ base }) => {
    const { url } = await script(base, {
      body: ['id: e.1\ndata: a\n\n', 'event: tidings.gap\nid: e.5\ndata: {"reason":"trimmed"}\n\n', 'id: e.6\ndata: b\n\nevent: tidings.cursor\nid: e.7\ndata\n\n'],
      end: 'hang',
    });
    const sink = await IndexedDbSink.open({ database: fresh() });
    const told = [];
    const connection = sink.follow(url, {
      onGap: async ({ data }) => {
        await sleep(30);
        told.push(data, await sink.count());
        await sink.clear();
      },
    });
    await until('the place', () => sink.lastEventId === 'e.7', () => sink.lastEventId);
    equal([told, data(await sink.newest(9))], [['{"reason":"trimmed"}', 1], ['b']]);
    connection.close();
    sink.close();
  }],

  ['follow: what cannot be kept ends it, and says so', async ({ base }) => {
    const { url } = await script(base, { body: ['id: e.1\ndata: a\n\nid: e.2\ndata: b\n\n'], end: 'hang' });
    const key = ({ data }) => (data === 'b' ? { no: 'key' } : data);
    const sink = await IndexedDbSink.open({ database: fresh(), key });
    const errors = [];
    const connection = sink.follow(url, { onState: (state, error) => state === 2 && errors.push(error) });
    await until('the end', () => errors.length > 0);
    await sleep(50);
    equal([errors.length, errors[0].code, errors[0].cause.name, connection.readyState, sink.lastEventId], [1, 'handler', 'SinkError', 2, '']);
    sink.close();
  }],
];
