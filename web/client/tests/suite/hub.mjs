// Topics, the shared link, and the publisher against a real hub. Each case uses topics of its own.

import { EventSource as SharedSource, shared } from '../../dist/shared.js';
import { Publisher } from '../../dist/publisher.js';
import { Topics } from '../../dist/topics.js';
import { equal, ok, sleep, until, watch } from './check.mjs';

let drawn = 0;
const fresh = () => `t${Date.now().toString(36)}${Math.floor(Math.random() * 1e9).toString(36)}${(drawn += 1)}`;

const publish = async (hub, topic, data, query = '') => {
  const url = `${hub}/topics?topic=${encodeURIComponent(topic)}${query && `&${query}`}`;
  const answer = await fetch(url, { method: 'POST', body: data });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  return (await answer.json()).last_id;
};

const numbers = (from, to) => Array.from({ length: to - from }, (_, n) => String(from + n));

/** The same with a connection of its own and with a shared one. */
const both = (cases) => [
  ...cases.map(([name, run]) => [`${name}, its own connection`, (context) => run({ ...context, link: undefined })]),
  ...cases.map(([name, run]) => [`${name}, a shared connection`, (context) => run({ ...context, link: shared })]),
];

const topicCases = both([
  ['a topic is live when it says it is ready', async ({ hub, link }) => {
    const topic = fresh();
    await publish(hub, topic, 'before');
    const topics = new Topics(`${hub}/events`, { link });
    const events = [];
    const subscription = topics.subscribe(topic, (event) => events.push(event));
    await subscription.ready;
    const id = await publish(hub, topic, 'after', 'event=x&id=mine');
    await until('the event', () => events.length > 0);
    equal(events, [{ topic, topics: [topic], type: 'x', data: 'after', lastEventId: id }]);
    ok(id.endsWith('~mine'), id);
    equal(subscription.lastEventId, id);
    topics.close();
    equal(topics.readyState, 2);
    await publish(hub, topic, 'late');
    await sleep(100);
    equal(events.length, 1);
  }],

  ['history first, then live, without a hole, while somebody publishes', async ({ hub, link }) => {
    const topic = fresh();
    for (const n of numbers(0, 30)) await publish(hub, topic, n);
    const topics = new Topics(`${hub}/events`, { link });
    const events = [];
    const publishing = (async () => {
      for (const n of numbers(30, 120)) await publish(hub, topic, n);
    })();
    topics.subscribe(topic, ({ data }) => events.push(data), { from: 'start' });
    await publishing;
    await until('all', () => events.length >= 120, () => events);
    await sleep(100);
    equal(events, numbers(0, 120));
    topics.close();
  }],

  ['topics come and go while events come: none lost, none twice', async ({ hub, link }) => {
    const [a, b, c] = [fresh(), fresh(), fresh()];
    const topics = new Topics(`${hub}/events`, { link });
    const got = { a: [], b: [], c: [], again: [] };
    await topics.subscribe(a, ({ data }) => got.a.push(data)).ready;
    const publishing = (async () => {
      for (const n of numbers(0, 150)) {
        await publish(hub, a, n);
        await publish(hub, b, n);
        await publish(hub, c, n);
      }
    })();
    await sleep(60);
    const bs = topics.subscribe(b, ({ data }) => got.b.push(data));
    await bs.ready;
    const cs = topics.subscribe([c, 'nothing/*'], ({ data }) => got.c.push(data), { from: 'start' });
    await cs.ready;
    await sleep(60);
    bs.close();
    const closedAt = got.b.length;
    const again = topics.subscribe(b, ({ data }) => got.again.push(data), { from: bs.lastEventId });
    await again.ready;
    await publishing;
    await until('all', () => [got.a, got.c, got.again].every((list) => list.at(-1) === '149'), () => got);
    await sleep(100);
    equal(got.a, numbers(0, 150), 'a:');
    equal(got.c, numbers(0, 150), 'c:');
    equal(got.b.length, closedAt, 'nothing after close:');
    equal([...got.b, ...got.again], numbers(150 - got.b.length - got.again.length, 150), 'b:');
    topics.close();
  }],

  ['a quiet stream does not make a new topic begin in the past', async ({ hub, link }) => {
    const [a, b] = [fresh(), fresh()];
    const topics = new Topics(`${hub}/events`, { link });
    await topics.subscribe(a, () => {}).ready;
    // The stream of `a` still stands before these.
    for (const n of numbers(0, 5)) await publish(hub, b, n);
    const events = [];
    await topics.subscribe(b, ({ data }) => events.push(data)).ready;
    await publish(hub, b, 'live');
    await until('the event', () => events.includes('live'));
    equal(events, ['live']);
    topics.close();
  }],

  ['globs, several topics of one event, several subscriptions to one topic', async ({ hub, link }) => {
    const root = fresh();
    const topics = new Topics(`${hub}/events`, { link });
    const got = { one: [], all: [], deep: [], same: [] };
    const into = (list) => ({ data }) => list.push(data);
    const subscriptions = [
      topics.subscribe(`${root}/*`, into(got.one)),
      topics.subscribe(`${root}/**`, into(got.all)),
      topics.subscribe([`${root}/a/b`, `${root}/c`], into(got.deep)),
      topics.subscribe(`${root}/c`, into(got.same)),
    ];
    await Promise.all(subscriptions.map(({ ready }) => ready));
    await publish(hub, `${root}/a`, '1');
    await publish(hub, `${root}/a/b`, '2');
    const line = JSON.stringify({ topic: [`${root}/a/b`, `${root}/c`], data: '3' });
    await fetch(`${hub}/events`, { method: 'POST', body: line });
    await publish(hub, `${root}x`, '4');
    await publish(hub, `${root}/c`, '5');
    await until('all', () => got.same.includes('5') && got.all.includes('5'), () => got);
    equal(got, { one: ['1', '3', '5'], all: ['1', '2', '3', '5'], deep: ['2', '3', '5'], same: ['3', '5'] });
    topics.close();
  }],

  ['from last: the present state, then live', async ({ hub, link }) => {
    const root = fresh();
    for (const n of numbers(0, 3)) await publish(hub, `${root}/${n}`, 'old');
    for (const n of numbers(0, 3)) await publish(hub, `${root}/${n}`, n);
    const topics = new Topics(`${hub}/events`, { link });
    const events = [];
    await topics.subscribe(`${root}/*`, ({ data }) => events.push(data), { from: 'last' }).ready;
    equal(events, ['0', '1', '2']);
    await publish(hub, `${root}/0`, 'new');
    await until('the event', () => events.length === 4);
    equal(events, ['0', '1', '2', 'new']);
    topics.close();
  }],

  ['an id of another life is told as a gap, and it goes on', async ({ hub, link }) => {
    const topic = fresh();
    await publish(hub, topic, 'a');
    const topics = new Topics(`${hub}/events`, { link });
    const [events, gaps] = [[], []];
    await topics.subscribe(topic, ({ data }) => events.push(data), { from: 'zz.1', onGap: ({ reason }) => gaps.push(reason) }).ready;
    await publish(hub, topic, 'b');
    await until('the event', () => events.at(-1) === 'b', () => [events, gaps]);
    equal([events, gaps], [['a', 'b'], ['epoch']]);
    topics.close();
  }],

  ['what the hub refuses is told to who asked, and to nobody else', async ({ hub, link }) => {
    const topic = fresh();
    const topics = new Topics(`${hub}/events`, { link });
    const [events, errors] = [[], []];
    await topics.subscribe(topic, ({ data }) => events.push(data)).ready;
    const refused = topics.subscribe('a***b', () => {}, { onError: (error) => errors.push(error) });
    const said = await refused.ready.catch((error) => error);
    equal([said.code, said.status, said.problem.type], ['status', 400, 'urn:tidings:problem:invalid-selector']);
    equal(errors.length, 1);
    await publish(hub, topic, 'a');
    await until('the event', () => events.length > 0);
    topics.close();
  }],

  ['when all its topics are closed it is over, and each is told', async ({ hub, link }) => {
    const topic = fresh();
    const topics = new Topics(`${hub}/events`, { link, share: topic, retryMs: 50 });
    const [events, errors] = [[], []];
    await topics.subscribe(topic, ({ data }) => events.push(data), { onError: ({ code }) => errors.push(code) }).ready;
    await publish(hub, topic, 'last', 'retry=50');
    await fetch(`${hub}/topics/${topic}?closed`, { method: 'PUT' });
    await until('the end', () => errors.length > 0, () => events);
    equal([events, errors], [['last'], ['ended']]);
    const next = fresh();
    const more = topics.subscribe(next, ({ data }) => events.push(data));
    await more.ready;
    await publish(hub, next, 'more');
    await until('another topic', () => events.includes('more'));
    topics.close();
  }],

  ['a listener that throws takes nothing from the others', async ({ hub, link, throws }) => {
    const topic = fresh();
    const topics = new Topics(`${hub}/events`, { link });
    const events = [];
    const forgive = throws();
    const angry = topics.subscribe(topic, () => {
      throw new Error('thrown by a case');
    });
    const calm = topics.subscribe(topic, ({ data }) => events.push(data));
    await Promise.all([angry.ready, calm.ready]);
    await publish(hub, topic, 'a');
    await publish(hub, topic, 'b');
    await until('both', () => events.length === 2);
    await sleep(20);
    equal(forgive(), 2);
    topics.close();
  }],
]);

const sharedCases = [
  ['the shared EventSource is one, as far as a page can see', async ({ hub }) => {
    const topic = fresh();
    await publish(hub, topic, 'old');
    const source = new SharedSource(`${hub}/topics/${topic}?from=last`);
    equal([source.readyState, source.url], [0, `${hub}/topics/${topic}?from=last`]);
    const log = watch(source, ['x']);
    await until('open, and the last', () => log.length >= 2, () => log);
    const id = await publish(hub, topic, 'new', 'event=x');
    await until('the event', () => log.length >= 3, () => log);
    equal([log[0], log[1].slice(0, 11), log[2]], ['open', 'message old', `x new ${id}`]);
    equal([source.readyState, source.lastEventId], [1, id]);
    source.close();
    equal(source.readyState, 2);
  }],

  ['shared EventSources of several topics, and one that is refused', async ({ hub }) => {
    const [a, b] = [fresh(), fresh()];
    const sources = [new SharedSource(`${hub}/topics/${a}`), new SharedSource(`${hub}/events?topic=${b}&topic=${a}`), new SharedSource(`${hub}/topics/${b}?event=x`)];
    const logs = sources.map((source) => watch(source, ['x']));
    await until('all open', () => sources.every(({ readyState }) => readyState === 1), () => logs);
    const refused = new SharedSource(`${hub}/topics?topic=a***`);
    const errors = [];
    refused.onerror = ({ error }) => errors.push(error.status);
    await publish(hub, a, '1');
    await publish(hub, b, '2');
    await publish(hub, b, '3', 'event=x');
    await until('all', () => logs[1].length >= 4 && logs[2].length >= 2, () => logs);
    await until('the refusal', () => refused.readyState === 2);
    equal(errors, [400]);
    const short = (log) => log.map((line) => line.split(' ').slice(0, 2).join(' '));
    equal(logs.map(short), [['open', 'message 1'], ['open', 'message 1', 'message 2', 'x 3'], ['open', 'x 3']]);
    for (const source of sources) source.close();
  }],

  ['a path that is malformed is refused by the hub, as any other would be', async ({ hub }) => {
    const source = new SharedSource(`${hub}/topics/%zz`);
    const errors = [];
    source.onerror = ({ error }) => errors.push(error.status);
    await until('the refusal', () => errors.length > 0);
    equal([errors, source.readyState], [[400], 2]);
  }],

  ['a URL that cannot be shared has a connection of its own', async ({ hub }) => {
    const topic = fresh();
    const source = new SharedSource(`${hub}/topics/${topic}?conflate`);
    const log = watch(source);
    await until('open', () => log.length > 0);
    await publish(hub, topic, 'a');
    await until('the event', () => log.length > 1);
    ok(!(source instanceof SharedSource), 'it is not shared');
    source.close();
  }],
];

const publisherCases = [
  ['acks in order, numbers that follow', async ({ hub }) => {
    const topic = fresh();
    const publisher = new Publisher(`${hub}/events`, { topic });
    const acks = await Promise.all(numbers(0, 50).map((data) => publisher.publish({ data })));
    equal(acks.map(({ seq }) => seq), numbers(0, 50).map(Number));
    await publisher.publish({ topic: [`${topic}/x`, topic], data: { a: [1, 'ü'] }, event: 'paid', id: 'p-1' });
    const page = await (await fetch(`${hub}/topics?topic=${topic}&format=json&limit=1000`)).json();
    equal(page.events.slice(0, 50).map(({ data }) => data), numbers(0, 50));
    const last = page.events.at(-1);
    equal([last.data, last.event, last.topics, last.id.endsWith('~p-1')], ['{"a":[1,"ü"]}', 'paid', [`${topic}/x`, topic], true]);
    await publisher.close();
    equal((await publisher.publish({ data: 'late' }).catch((error) => error)).code, 'ended');
  }],

  ['over lost requests and lost answers: each once, in order', async ({ base, hub }) => {
    const topic = fresh();
    const notices = [];
    const publisher = new Publisher(`${base}/lossy/events`, { topic, batchEventsMax: 20, onNotice: ({ kind }) => notices.push(kind) });
    const acks = numbers(0, 200).map((data) => publisher.publish({ data }));
    await Promise.all(acks);
    ok(notices.includes('retrying') && notices.includes('recovered'), JSON.stringify(notices));
    const page = await (await fetch(`${hub}/topics?topic=${topic}&format=json&limit=1000`)).json();
    equal(page.events.map(({ data }) => data), numbers(0, 200));
  }],

  ['back-pressure: who does not wait is refused, who waits gets through', async ({ hub }) => {
    const topic = fresh();
    const publisher = new Publisher(`${hub}/events`, { topic, queueEventsMax: 10, batchEventsMax: 5 });
    const first = numbers(0, 10).map((data) => publisher.publish({ data }));
    equal((await publisher.publish({ data: 'too many' }).catch((error) => error)).code, 'full');
    for (const data of numbers(10, 60)) {
      await publisher.ready;
      first.push(publisher.publish({ data }));
    }
    await publisher.flush();
    equal((await Promise.all(first)).length, 60);
    const page = await (await fetch(`${hub}/topics?topic=${topic}&format=json&limit=1000`)).json();
    equal(page.events.map(({ data }) => data), numbers(0, 60));
  }],

  ['an event that is refused takes no other with it', async ({ hub }) => {
    const topic = fresh();
    const publisher = new Publisher(`${hub}/events`, { topic });
    const sent = [
      publisher.publish({ data: '0' }),
      publisher.publish({ data: 'bad', event: 'two\nlines' }),
      publisher.publish({ data: '1' }),
      publisher.publish({ topic: 'no*name', data: 'bad' }),
      publisher.publish({ data: undefined }),
      publisher.publish({ data: 'x'.repeat(1_100_000) }),
      publisher.publish({ data: '2' }),
    ];
    const ends = await Promise.allSettled(sent);
    equal(ends.map(({ value, reason }) => value?.seq ?? reason.code), [0, 'refused', 1, 'refused', 'invalid', 'refused', 2]);
    const page = await (await fetch(`${hub}/topics?topic=${topic}&format=json`)).json();
    equal(page.events.map(({ data }) => data), ['0', '1', '2']);
  }],

  ['a hub that is not one ends it, and says so', async ({ base }) => {
    const publisher = new Publisher(`${base}/elsewhere`, { topic: 'a' });
    const error = await publisher.publish({ data: 'a' }).catch((error) => error);
    equal(error.code, 'ended');
    ok(error.message.includes('is the URL right?'), error.message);
  }],
];

export const cases = [...topicCases, ...sharedCases, ...publisherCases];
