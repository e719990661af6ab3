// The publishing examples against the real hub: node --test examples/publish/publish.test.mjs
//
// TIDINGS_BIN names the tidings binary. Needs curl, node, python3, php and go. A program of which one is missing is a
// failure: an example that nobody ran is a guess.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const limit = { timeout: 180_000 };

let scratch;
let hub;
/** What runs each example; the Go one is built once. */
let examples;

before(async () => {
  assert.ok(process.env.TIDINGS_BIN, 'TIDINGS_BIN must name the tidings binary');
  scratch = await mkdtemp(path.join(tmpdir(), 'tidings-publish-'));
  const go = path.join(scratch, 'publish-go');
  const built = await run(['go', 'build', '-o', go, path.join(HERE, 'go', 'main.go')], {});
  assert.equal(built.code, 0, built.stderr);
  const file = (name) => path.join(HERE, name);
  examples = {
    curl: ['sh', file('curl.sh')],
    node: [process.execPath, file('node.mjs')],
    python: ['python3', file('publish.py')],
    php: ['php', file('publish.php')],
    go: [go],
  };
  hub = await startHub(path.join(scratch, 'data'));
}, limit);

after(async () => {
  if (hub !== undefined) {
    hub.child.kill('SIGKILL');
    if (hub.child.exitCode === null && hub.child.signalCode === null) await once(hub.child, 'exit');
  }
  if (scratch !== undefined) await rm(scratch, { recursive: true, force: true });
}, limit);

async function startHub(data) {
  const child = spawn(
    process.env.TIDINGS_BIN,
    ['serve', '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--data', data],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  const url = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`the hub ended before it was ready; it said:\n${said}`)));
    child.stderr.setEncoding('utf8').on('data', (text) => {
      said = (said + text).slice(-16_384);
      const listening = /^tidings: listening on (http:\/\/\S+)\n/m.exec(said);
      if (listening) resolve(listening[1].replace(/\/$/, ''));
    });
  });
  return { child, url };
}

/** Runs a command to its end. */
async function run([program, ...args], env) {
  const { TIDINGS_URL: _url, TIDINGS_KEY: _key, ...clean } = process.env;
  const child = spawn(program, args, { env: { ...clean, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  const [code] = await once(child, 'close');
  return { code, stdout, stderr };
}

/** Runs every example at once, each to a topic of its own; what the runs said, by name. */
async function runAll(base, topicOf, dataOf, more = {}) {
  const runs = Object.entries(examples).map(async ([name, command]) => {
    const ended = await run([...command, topicOf(name), dataOf(name)], { TIDINGS_URL: base, ...more });
    return [name, ended];
  });
  return Object.fromEntries(await Promise.all(runs));
}

async function history(topic) {
  const answer = await fetch(`${hub.url}/topics?topic=${encodeURIComponent(topic)}&format=json`);
  const text = await answer.text();
  assert.equal(answer.status, 200, text);
  return JSON.parse(text).events;
}

/** The topic holds the one event that the example says it published. */
async function assertPublishedOnce(name, topic, data, ended) {
  assert.equal(ended.code, 0, `${name}: ${ended.stderr}`);
  const events = await history(topic);
  assert.deepEqual(events.map((event) => event.data), [data], name);
  assert.equal(ended.stdout, `${events[0].id}\n`, `${name} prints the event's id`);
}

/**
 * A bad road to the hub. `act(n)` says what becomes of a client's nth request: 'pass', 'lose' (the hub gets it, the
 * client no answer) or a status to answer with. Notes the headers that came, by topic.
 */
async function badRoad(act, port = 0) {
  const seen = new Map();
  const server = http.createServer(async (request, response) => {
    const topic = new URL(request.url, 'http://road').searchParams.get('topic');
    const came = seen.get(topic) ?? [];
    seen.set(topic, came);
    came.push(request.headers);
    const body = [];
    for await (const part of request) body.push(part);
    const action = act(came.length);
    if (typeof action === 'number') {
      response.writeHead(action, { 'Content-Type': 'text/html' }).end('<h1>not from the hub</h1>');
      return;
    }
    const { host: _host, connection: _connection, 'content-length': _length, ...headers } = request.headers;
    const answer = await fetch(hub.url + request.url, { method: request.method, headers, body: Buffer.concat(body) });
    const text = await answer.text();
    if (action === 'lose') {
      assert.equal(answer.status, 200, text);
      request.socket.destroy();
      return;
    }
    const kept = ['content-type', 'tidings-id'].filter((header) => answer.headers.has(header));
    response.writeHead(answer.status, Object.fromEntries(kept.map((header) => [header, answer.headers.get(header)])));
    response.end(text);
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${server.address().port}`, port: server.address().port, seen, close };
}

test('each publishes one event and prints its id', limit, async () => {
  const [topicOf, dataOf] = [(name) => `plain/${name}`, (name) => `hello from ${name}`];
  const ended = await runAll(hub.url, topicOf, dataOf);
  for (const [name, one] of Object.entries(ended)) {
    await assertPublishedOnce(name, topicOf(name), dataOf(name), one);
  }
  const all = await (await fetch(`${hub.url}/events?topic=plain/*&format=json`)).json();
  assert.equal(all.events.length, 5);
});

test('names and data that need care arrive as they are', limit, async () => {
  const topicOf = (name) => `../${name}//naïve & 100% + ?#`;
  const dataOf = (name) => `@${name}: a=b&c=%20\n\nthird line, ünï "quoted" \\ + ~`;
  const ended = await runAll(hub.url, topicOf, dataOf);
  for (const [name, one] of Object.entries(ended)) {
    await assertPublishedOnce(name, topicOf(name), dataOf(name), one);
  }
});

test('a 503 and a lost answer: tried again under the same key, stored once', limit, async () => {
  const road = await badRoad((n) => [503, 'lose', 'pass'][n - 1] ?? 'pass');
  try {
    const [topicOf, dataOf] = [(name) => `lossy/${name}`, (name) => `once from ${name}`];
    const ended = await runAll(road.url, topicOf, dataOf, { TIDINGS_KEY: '' });
    for (const [name, one] of Object.entries(ended)) {
      await assertPublishedOnce(name, topicOf(name), dataOf(name), one);
      const came = road.seen.get(topicOf(name));
      assert.equal(came.length, 3, name);
      const keys = new Set(came.map((headers) => headers['idempotency-key']));
      assert.equal(keys.size, 1, `${name} sent ${[...keys]}`);
      assert.ok([...keys][0].length >= 32, name);
      assert.ok(came.every((headers) => headers.authorization === undefined), name);
    }
    const keys = [...road.seen.values()].map((came) => came[0]['idempotency-key']);
    assert.equal(new Set(keys).size, 5, 'every event has a key of its own');
  } finally {
    road.close();
  }
});

test('started before the hub: they wait for it', limit, async () => {
  const free = await badRoad(() => 'pass');
  free.close();
  const [topicOf, dataOf] = [(name) => `early/${name}`, (name) => `early from ${name}`];
  const running = runAll(free.url, topicOf, dataOf);
  await sleep(400);
  const road = await badRoad(() => 'pass', free.port);
  try {
    for (const [name, one] of Object.entries(await running)) {
      await assertPublishedOnce(name, topicOf(name), dataOf(name), one);
    }
  } finally {
    road.close();
  }
});

test('a key is sent as bearer, and a refusal is told and not tried again', limit, async () => {
  const road = await badRoad(() => 'pass');
  try {
    const topicOf = (name) => `with key/${name}`;
    const ended = await runAll(road.url, topicOf, () => 'secret', { TIDINGS_KEY: 'no-such-key-of-this-hub' });
    for (const [name, one] of Object.entries(ended)) {
      assert.equal(one.code, 1, `${name}: ${one.stderr}`);
      assert.match(one.stderr, /not published: HTTP 401.*the key is not one of this hub's/s, name);
      assert.equal(one.stdout, '', name);
      const came = road.seen.get(topicOf(name));
      assert.deepEqual(came.map((headers) => headers.authorization), ['Bearer no-such-key-of-this-hub'], name);
      assert.deepEqual(await history(topicOf(name)), [], name);
    }
  } finally {
    road.close();
  }
});

test('called wrongly, each says how', limit, async () => {
  for (const [name, command] of Object.entries(examples)) {
    const ended = await run([...command, 'only-a-topic'], { TIDINGS_URL: hub.url });
    assert.ok(ended.code !== 0 && /usage: .* TOPIC DATA/.test(ended.stderr), `${name}: ${ended.stderr}`);
  }
});
