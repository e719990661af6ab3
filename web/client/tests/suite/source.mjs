// The core: EventSource over fetch, against a server that does what it is told.

import { EventSource, Parser, SourceError, patient, transient } from '../../dist/index.js';
import { equal, ok, script, sleep, until, watch } from './check.mjs';

/** Parses with cuts, and says what the vectors say. */
function parse(chunks, lastEventId) {
  const parser = new Parser(lastEventId, 1 << 20);
  const told = [];
  for (const chunk of chunks) {
    for (const item of parser.push(chunk)) {
      // The standard keeps a NUL in a name; the vectors, whose names cannot hold one, read it as U+FFFD.
      if (item.kind === 'event') told.push(['event', item.type.replaceAll('\0', '\ufffd'), item.data, item.id]);
      else if (item.kind === 'id') told.push(['id', item.id]);
      else if (item.kind === 'retry') told.push(item.retryMs === undefined ? ['retry_reset'] : ['retry', item.retryMs]);
      else told.push(['comment', item.text]);
    }
  }
  return [told, parser.lastEventId];
}

function expected({ expect, last_event_id_after }) {
  const told = expect.map((item) => {
    if (item.type === 'event') return ['event', item.event, item.data, item.last_event_id];
    if (item.type === 'id') return ['id', item.id];
    if (item.type === 'retry') return ['retry', Math.min(item.retry_ms, Number.MAX_SAFE_INTEGER)];
    return item.type === 'comment' ? ['comment', item.comment] : ['retry_reset'];
  });
  return [told, last_event_id_after];
}

const problem = (status, slug, detail) => ({
  status,
  headers: { 'content-type': 'application/problem+json' },
  body: [JSON.stringify({ type: `urn:tidings:problem:${slug}`, status, detail })],
});

export const cases = [
  ['every vector, whole, at every cut and byte by byte', async ({ base }) => {
    const rooms = await (await fetch(`${base}/vectors`)).json();
    let count = 0;
    for (const { room, cases } of rooms) {
      for (const vector of cases) {
        const text = vector.text === undefined ? atob(vector.base64) : undefined;
        const bytes = text === undefined ? new TextEncoder().encode(vector.text) : Uint8Array.from(text, (c) => c.charCodeAt(0));
        const [want, seed] = [expected(vector), vector.last_event_id ?? ''];
        for (let cut = 0; cut <= bytes.length; cut += 1) {
          equal(parse([bytes.subarray(0, cut), bytes.subarray(cut)], seed), want, `${room}/${vector.name}, cut at ${cut}:`);
        }
        equal(parse([...bytes].map((byte) => Uint8Array.of(byte)), seed), want, `${room}/${vector.name}, byte by byte:`);
        count += 1;
      }
    }
    ok(count > 150, `only ${count} vectors`);
  }],

  ['work is linear, and a line in small pieces takes no more memory than it has', () => {
    const parser = new Parser('', 16 << 20);
    const piece = new TextEncoder().encode('x'.repeat(8 << 10));
    const began = performance.now();
    equal([...parser.push(new TextEncoder().encode('data: '))], []);
    for (let n = 0; n < 1_024; n += 1) equal([...parser.push(piece)].length, 0);
    const [event] = [...parser.push(new TextEncoder().encode('\n\n'))];
    equal(event.data.length, 8 << 20);
    ok(performance.now() - began < 5_000, 'eight megabytes took more than five seconds');
  }],

  ['three states, and events in order', async ({ base }) => {
    const { url } = await script(base, { body: [': hello\n', 'id: 1\ndata: a\n\n', 'data: b\ndata: c\n\n', 'event: x\nid: 2\ndata: d\n\n'], end: 'hang' });
    const source = new EventSource(url);
    const log = watch(source, ['x']);
    equal([source.readyState, source.url, source.withCredentials], [0, url, false]);
    await until('three events', () => log.length >= 4, () => log);
    equal(log, ['open', 'message a 1', 'message b\nc 1', 'x d 2']);
    equal([source.readyState, source.lastEventId], [1, '2']);
    source.close();
    equal(source.readyState, 2);
    equal([EventSource.CONNECTING, EventSource.OPEN, EventSource.CLOSED, source.CLOSED], [0, 1, 2, 2]);
    ok(source instanceof EventTarget, 'it is an EventTarget');
    await sleep(50);
    equal(log.length, 4);
  }],

  ['handlers are those of HTML: the last one set, none for null, a place in the order', async ({ base }) => {
    const { url } = await script(base, { body: ['data: a\n\n'], end: 'hang' });
    const source = new EventSource(url);
    const log = [];
    source.onmessage = () => log.push('first');
    source.addEventListener('message', { handleEvent: (event) => log.push(`object ${event.origin === new URL(base).origin}`) });
    source.onmessage = () => log.push('second');
    source.onopen = () => log.push('never');
    source.onopen = null;
    equal(source.onopen, null);
    source.onerror = 7;
    equal(source.onerror, null);
    await until('the event', () => log.length >= 2, () => log);
    equal(log, ['second', 'object true']);
    source.close();
  }],

  ['close() in a listener: nothing more of the same chunk', async ({ base }) => {
    const { url } = await script(base, { body: ['data: a\n\ndata: b\n\n'], end: 'hang' });
    const source = new EventSource(url);
    const log = [];
    source.onmessage = ({ data }) => {
      log.push(data);
      source.close();
    };
    await until('the event', () => log.length > 0);
    await sleep(80);
    equal(log, ['a']);
  }],

  ['it comes back with the last id, after the time that the server says', async ({ base }) => {
    const { url, seen } = await script(
      base,
      { body: ['retry: 60\nid: 1\ndata: a\n\nid: 7\n\nid: lost\ndata: cut off'] },
      { body: ['data: b\n\n'], end: 'reset' },
      { body: ['id: é☃\ndata: c\n\n'] },
      { body: ['id\ndata: d\n\n'] },
      { body: ['data: e\n\n'], end: 'hang' },
    );
    const source = new EventSource(url);
    const log = watch(source);
    await until('all', () => log.includes('message e '), () => log);
    source.close();
    equal(log.map((line) => line.replace('network', 'ended')), [
      'open', 'message a 1', 'error ended 0', 'open', 'message b 7', 'error ended 0', 'open', 'message c é☃', 'error ended 0',
      'open', 'message d ', 'error ended 0', 'open', 'message e ',
    ]);
    const requests = await seen();
    const ids = requests.map(({ headers }) => headers['last-event-id'] ?? null);
    // The server reads a byte as a character.
    equal(ids, [null, '7', '7', String.fromCharCode(...new TextEncoder().encode('é☃')), null]);
    equal(requests[0].headers.accept, 'text/event-stream');
    ok(requests[1].atMs - requests[0].atMs >= 45, 'it waited');
  }],

  ['an id that no header can hold is kept and not sent, without a loop', async ({ base }) => {
    const { url, seen } = await script(base, { body: ['retry: 20\nid: a\x01b\ndata: a\n\n'] }, { body: ['data: b\n\n'], end: 'hang' });
    const source = new EventSource(url);
    const log = watch(source);
    await until('the second', () => log.includes('message b a\x01b'), () => log);
    source.close();
    equal((await seen()).map(({ headers }) => headers['last-event-id'] ?? null), [null, null]);
  }],

  ['what the standard ends for good, ends: and says what it is', async ({ base }) => {
    const told = async (answer, init) => {
      const { url, seen } = await script(base, answer);
      const source = new EventSource(url, { retryMs: 20, ...init });
      const errors = [];
      source.onerror = (event) => errors.push(event.error);
      await until('the error', () => errors.length > 0);
      await sleep(60);
      equal([errors.length, source.readyState, (await seen()).length], [1, 2, 1], JSON.stringify(answer));
      ok(errors[0] instanceof SourceError, 'a SourceError');
      return errors[0];
    };
    equal((await told({ status: 204 })).code, 'ended');
    for (const status of [201, 205, 400, 404, 500, 503]) {
      const error = await told({ status });
      equal([error.code, error.status], ['status', status]);
    }
    const missing = await told(problem(401, 'unauthorized', 'send a key'));
    equal([missing.status, missing.problem.type, missing.message], [401, 'urn:tidings:problem:unauthorized', 'the server answered 401: send a key']);
    const denied = await told(problem(403, 'forbidden', 'the key does not grant this'));
    equal([denied.status, denied.problem.detail], [403, 'the key does not grant this']);
    equal((await told({ headers: { 'content-type': 'text/html' }, body: ['<p>'] })).code, 'type');
    equal((await told({ status: 500, headers: { 'content-type': 'application/json' }, body: ['{'] })).problem, undefined);
  }],

  ['the essence of the type decides', async ({ base }) => {
    for (const type of ['text/event-stream;charset=windows-1252', 'Text/Event-Stream ; x']) {
      const { url } = await script(base, { headers: { 'content-type': type }, body: ['data: ü\n\n'], end: 'hang' });
      const source = new EventSource(url);
      const log = watch(source);
      await until('the event', () => log.length >= 2, () => log);
      equal(log, ['open', 'message ü ']);
      source.close();
    }
  }],

  ['5xx is tried again where wished, not before Retry-After', async ({ base }) => {
    const { url, seen } = await script(base, { status: 502 }, { status: 503, headers: { 'retry-after': '1' } }, { body: ['data: a\n\n'], end: 'hang' });
    const source = new EventSource(url, { ...patient, retryMs: 10 });
    const log = watch(source);
    await until('the event', () => log.includes('message a '), () => log);
    source.close();
    equal(log, ['error status 0', 'error status 0', 'open', 'message a ']);
    const requests = await seen();
    ok(requests[2].atMs - requests[1].atMs >= 990, 'it waited for as long as it was asked to');
    equal([transient(500), transient(429), transient(404)], [true, true, false]);
  }],

  ['a network that fails at first is tried again', async ({ base }) => {
    // Browsers try a connection that was reset once or more by themselves.
    const { url } = await script(base, ...Array(12).fill({ end: 'refuse' }), { body: ['data: a\n\n'], end: 'hang' });
    const source = new EventSource(url, { retryMs: 20 });
    const log = watch(source);
    await until('the event', () => log.includes('message a '), () => log);
    source.close();
    equal(log.at(-1), 'message a ');
    ok(log.slice(0, -2).every((line) => line === 'error network 0') && log.length >= 3, JSON.stringify(log));
  }],

  ['headers are made anew for each attempt; a 401 gets one more chance', async ({ base }) => {
    const denied = problem(401, 'unauthorized', 'the token has expired');
    const stream = { body: ['data: a\n\n'] };
    const { url, seen } = await script(base, stream, denied, stream, denied, denied);
    const statuses = [];
    let token = 0;
    const headers = async ({ status }) => {
      statuses.push(status ?? null);
      token += 1;
      return { authorization: `Bearer ${token}` };
    };
    const source = new EventSource(url, { retryMs: 10, headers });
    const log = watch(source);
    await until('the end', () => source.readyState === 2, () => log);
    equal(log, ['open', 'message a ', 'error ended 0', 'error status 0', 'open', 'message a ', 'error ended 0', 'error status 0', 'error status 2']);
    equal(statuses, [null, null, 401, null, 401]);
    equal((await seen()).map((request) => request.headers.authorization), ['Bearer 1', 'Bearer 2', 'Bearer 3', 'Bearer 4', 'Bearer 5']);
  }],

  ['a function for headers that fails is tried again', async ({ base }) => {
    const { url } = await script(base, { body: ['data: a\n\n'], end: 'hang' });
    let calls = 0;
    const headers = () => {
      calls += 1;
      if (calls < 3) throw new Error('no token yet');
      return {};
    };
    const source = new EventSource(url, { retryMs: 10, headers });
    const log = watch(source);
    await until('the event', () => log.includes('message a '), () => log);
    source.close();
    equal(log, ['error headers 0', 'error headers 0', 'open', 'message a ']);
  }],

  ['method and body are sent on every attempt', async ({ base }) => {
    const { url, seen } = await script(base, { body: ['data: a\n\n'] }, { body: ['data: b\n\n'], end: 'hang' });
    const source = new EventSource(url, { retryMs: 10, method: 'POST', body: '{"q":1}', headers: { 'content-type': 'application/json' } });
    const log = watch(source);
    await until('the second', () => log.includes('message b '), () => log);
    source.close();
    equal((await seen()).map(({ method, body }) => `${method} ${body}`), ['POST {"q":1}', 'POST {"q":1}']);
  }],

  ['a silent connection is given up', async ({ base }) => {
    const { url, seen } = await script(base, { body: ['id: 3\ndata: a\n\n', 30, ': still here\n'], end: 'hang' }, { body: ['data: b\n\n'], end: 'hang' });
    const source = new EventSource(url, { retryMs: 10, stallTimeoutMs: 300 });
    const log = watch(source);
    await until('the second', () => log.includes('message b 3'), () => log);
    source.close();
    equal(log.slice(0, 5), ['open', 'message a 3', 'error stalled 0', 'open', 'message b 3']);
    equal((await seen())[1].headers['last-event-id'], '3');
  }],

  ['an event that is too large ends it, by its name', async ({ base }) => {
    const { url } = await script(base, { body: [`data: ${'x'.repeat(2_000)}`], end: 'hang' });
    const source = new EventSource(url, { eventBytesMax: 1_000 });
    const log = watch(source);
    await until('the end', () => source.readyState === 2);
    equal(log, ['open', 'error too-large 2']);
  }],

  ['many lines make a large event, too; each event counts for itself', async ({ base }) => {
    const { url } = await script(base, { body: [...Array(20).fill(`data: ${'x'.repeat(400)}\n\n`), ...Array(20).fill(`data: ${'x'.repeat(400)}\n`)], end: 'hang' });
    const source = new EventSource(url, { eventBytesMax: 1_000 });
    const log = watch(source);
    await until('the end', () => source.readyState === 2);
    equal([log.length, log.at(-1)], [22, 'error too-large 2']);
  }],

  ['once: the end is the end', async ({ base }) => {
    const { url, seen } = await script(base, { body: ['retry: 1\ndata: a\n\n'] });
    const source = new EventSource(url, { once: true });
    const log = watch(source);
    await until('the end', () => source.readyState === 2);
    await sleep(50);
    equal([log, (await seen()).length], [['open', 'message a ', 'error ended 2'], 1]);
  }],

  ['attemptsMax: it gives up, and says what the last one met', async ({ base }) => {
    const { url } = await script(base, { status: 503 });
    const source = new EventSource(url, { retryMs: 5, retryStatuses: transient, attemptsMax: 3 });
    const errors = [];
    source.onerror = (event) => errors.push(event.error);
    await until('the end', () => source.readyState === 2);
    equal(errors.map((error) => error.code), ['status', 'status', 'exhausted']);
    equal([errors[2].status, errors[2].cause.code], [503, 'status']);
  }],

  ['reconnectNow drops the connection, or the wait', async ({ base }) => {
    const stream = { body: ['id: 1\ndata: a\n\n'], end: 'hang' };
    const { url, seen } = await script(base, stream, { ...stream, end: 'end' }, stream);
    const source = new EventSource(url, { retryMs: 60_000 });
    const log = watch(source);
    await until('the first', () => log.length >= 2);
    source.reconnectNow();
    await until('the second to end', () => log.includes('error ended 0'), () => log);
    source.reconnectNow();
    await until('the third', () => log.filter((line) => line === 'open').length === 3, () => log);
    source.close();
    equal((await seen()).map(({ headers }) => headers['last-event-id'] ?? null), [null, '1', '1']);
  }],

  ['the last id as a parameter', async ({ base }) => {
    const { url, seen } = await script(base, { body: ['id: 1 é\ndata: a\n\n'] }, { body: ['data: b\n\n'], end: 'hang' });
    const source = new EventSource(`${url}?from=last`, { retryMs: 10, lastEventIdParameter: 'last_event_id' });
    const log = watch(source);
    await until('the second', () => log.includes('message b 1 é'), () => log);
    source.close();
    const [first, second] = await seen();
    equal([new URL(first.url, base).search, new URL(second.url, base).searchParams.get('last_event_id')], ['?from=last', '1 é']);
    equal(second.headers['last-event-id'] ?? null, null);
  }],

  ['a last id to begin with', async ({ base }) => {
    const { url, seen } = await script(base, { body: ['data: a\n\n'], end: 'hang' });
    const source = new EventSource(url, { lastEventId: 'x9' });
    const log = watch(source);
    await until('the event', () => log.length >= 2);
    source.close();
    equal([log[1], (await seen())[0].headers['last-event-id']], ['message a x9', 'x9']);
  }],

  ['the last id is remembered over a reload', async ({ base }) => {
    const { url, seen } = await script(base, { body: ['id: 1\ndata: a\n\nid: 2\ndata: b\n\n'], end: 'hang' });
    const kept = new Map();
    const storage = () => ({ getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) });
    for (const expected of [null, '2']) {
      const source = new EventSource(url, { remember: { key: 'news', storage } });
      const log = watch(source);
      await until('both', () => log.length >= 3);
      source.close();
      equal((await seen()).at(-1).headers['last-event-id'] ?? null, expected);
      equal([...kept], [['tidings:news', '2']]);
    }
  }],

  ['storage that is blocked, or full, takes nothing away', async ({ base }) => {
    const { url } = await script(base, { body: ['id: 1\ndata: a\n\n'], end: 'hang' });
    const blocked = () => {
      throw new DOMException('blocked', 'SecurityError');
    };
    const full = () => ({ getItem: () => null, setItem: blocked });
    for (const storage of [blocked, full, undefined]) {
      const source = new EventSource(url, { remember: { key: 'blocked', storage } });
      const log = watch(source);
      await until('the event', () => log.length >= 2, () => log);
      await sleep(300);
      source.close();
      equal(log, ['open', 'message a 1']);
    }
  }],

  ['comments are told to who asks', async ({ base }) => {
    const { url } = await script(base, { body: [': one\n:two\ndata: a\n\n'], end: 'hang' });
    const comments = [];
    const source = new EventSource(url, { onComment: (text) => comments.push(text) });
    const log = watch(source);
    await until('the event', () => log.length >= 2);
    source.close();
    equal(comments, [' one', 'two']);
  }],

  ['a URL that is none is a SyntaxError; a name in it is Basic authentication', async ({ base }) => {
    let name = '';
    try {
      new EventSource('http://');
    } catch (error) {
      ({ name } = error);
    }
    equal(name, 'SyntaxError');
    const { url, seen } = await script(base, { body: ['data: a\n\n'], end: 'hang' });
    const source = new EventSource(url.replace('://', '://ann:p%C3%A4ss@'));
    const log = watch(source);
    await until('the event', () => log.length >= 2, () => log);
    source.close();
    equal((await seen())[0].headers.authorization, `Basic ${btoa('ann:p\xc3\xa4ss')}`);
  }],

  ['redirects are followed', async ({ base }) => {
    const to = await script(base, { body: ['data: a\n\n'], end: 'hang' });
    for (const status of [301, 302, 303, 307, 308]) {
      const { url } = await script(base, { status, headers: { location: to.url } });
      const source = new EventSource(url);
      const log = watch(source);
      await until('the event', () => log.length >= 2, () => log);
      source.close();
      equal(log, ['open', 'message a ']);
    }
  }],

  ['what is malformed is what the standard says, and nothing worse', async ({ base }) => {
    const garbage = btoa(String.fromCharCode(...Array.from({ length: 2_048 }, (_, n) => (n * 7 + 13 * (n >> 3)) & 255)));
    const { url } = await script(base, { body: [{ base64: garbage }, '\n\n', 'data: <img src=x onerror=alert(1)>\n\n'], end: 'hang' });
    const source = new EventSource(url);
    const log = watch(source);
    await until('the event', () => log.includes('message <img src=x onerror=alert(1)> '), () => log);
    source.close();
  }],
];
