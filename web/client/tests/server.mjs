// A server that does what it is told: answers as scripted, one after the other, and remembers what it was asked. It also
// serves the client, the suite and the vectors, so that the same cases run in Node, in a page and in a worker; and stands
// before a hub as a network that loses things.

import { once } from 'node:events';
import { readFile, readdir } from 'node:fs/promises';
import { createServer } from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const CLIENT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const VECTORS = path.join(CLIENT, '..', '..', 'conformance', 'vectors');
const TYPES = { '.js': 'text/javascript', '.mjs': 'text/javascript', '.html': 'text/html; charset=utf-8' };
const PAGE = '<!doctype html><meta charset="utf-8"><title>The suite</title><link rel="icon" href="data:,">';

/** Resolves when a response takes more, or will take no more. */
function taken(response) {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
  });
}

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export async function startServer() {
  const scripts = new Map();
  const state = { hub: '' };

  async function play(id, request, response) {
    const script = scripts.get(id);
    const text = (await body(request)).toString();
    script.seen.push({ method: request.method, url: request.url, headers: request.headers, body: text, atMs: Date.now() });
    const answer = script.answers[Math.min(script.seen.length, script.answers.length) - 1];
    const { status = 200, headers = {}, body: parts = [], end = 'end' } = answer;
    if (end === 'refuse') return void request.socket.destroy();
    response.writeHead(status, { 'content-type': 'text/event-stream', ...headers });
    response.flushHeaders();
    for (const part of parts) {
      if (typeof part === 'number') await sleep(part);
      else response.write(typeof part === 'string' ? part : Buffer.from(part.base64, 'base64'));
    }
    if (end === 'hang') return;
    // What was written is on its way before the connection breaks.
    if (end === 'reset') setTimeout(() => request.socket.destroy(), 20);
    else response.end();
  }

  /** Passes a publish on to the hub, but loses the request (a 503), or the answer, as the counter says. */
  async function lose(request, response) {
    const bytes = await body(request);
    state.lost = (state.lost ?? 0) + 1;
    if (state.lost % 4 === 1) return void response.writeHead(503).end();
    const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => /^(producer-|content-type)/.test(name)));
    const answer = await fetch(`${state.hub}/events`, { method: 'POST', headers, body: bytes });
    const text = await answer.text();
    if (state.lost % 4 === 3) return void request.socket.destroy();
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') }).end(text);
  }

  /** Events without end, `rate` a second, or as many as are taken; `/flowed` says how many bytes were. */
  async function flow(url, response) {
    const [rate, count] = ['rate', 'count'].map((name) => Number(url.searchParams.get(name) ?? Infinity));
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const began = performance.now();
    state.flowed = 0;
    for (let n = 0; n < count && !response.destroyed; ) {
      const due = Math.min(count, rate === Infinity ? n + 500 : Math.floor(((performance.now() - began) * rate) / 1_000));
      let text = '';
      for (; n < due; n += 1) text += `id: ${n}\ndata: {"n":${n},"text":"${'x'.repeat(60)}"}\n\n`;
      state.flowed += text.length;
      if (text !== '' && !response.write(text)) await taken(response);
      else await sleep(5);
    }
  }

  async function answer(request, response) {
    const url = new URL(request.url, 'http://server');
    const [, room, id] = url.pathname.split('/');
    // For a frame without an origin, to which everything is foreign.
    response.setHeader('access-control-allow-origin', '*');
    if (room === 'blocked-stream') {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      return response.write('data: unblocked\n\n');
    }
    if (room === 'flow') return flow(url, response);
    if (room === 'flowed') return response.end(String(state.flowed));
    if (room === 's') return play(id, request, response);
    if (room === 'lossy') return lose(request, response);
    if (room === 'script') {
      const name = String(scripts.size + 1);
      scripts.set(name, { answers: JSON.parse(await body(request)), seen: [] });
      return response.end(name);
    }
    if (room === 'seen') return response.end(JSON.stringify(scripts.get(id).seen));
    if (room === 'vectors') {
      const names = (await readdir(VECTORS)).filter((name) => name.endsWith('.json'));
      const rooms = await Promise.all(names.map(async (name) => JSON.parse(await readFile(path.join(VECTORS, name), 'utf8'))));
      return response.end(JSON.stringify(rooms));
    }
    const file = path.join(CLIENT, url.pathname);
    if (/^\/(dist|tests)\/[\w./-]+$/.test(url.pathname) && !url.pathname.includes('..')) {
      const content = await readFile(file);
      return response.writeHead(200, { 'content-type': TYPES[path.extname(file)] ?? 'text/plain' }).end(content);
    }
    response.writeHead(200, { 'content-type': TYPES['.html'] }).end(PAGE);
  }

  const server = createServer((request, response) => {
    answer(request, response).catch(() => {
      if (!response.headersSent) response.writeHead(404);
      response.end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    /** The hub behind `/lossy/events`. */
    setHub: (hub) => (state.hub = hub),
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
