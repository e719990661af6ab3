// The limit of six connections, live: the browser's own EventSource beside the shared one of the client.

import { EventSource as SharedSource } from './client/shared.js';

const byId = (id) => document.getElementById(id);
const STATES = ['connecting', 'open', 'closed'];
const HELLO = '/topics/demo/hello';
const sources = new Set();

function show() {
  const open = [...sources].filter(({ source }) => source.readyState === 1).length;
  byId('mine').textContent = `${open} of ${sources.size}`;
  byId('none').hidden = sources.size > 0;
  for (const { source, state, events, count } of sources) {
    state.textContent = STATES[source.readyState];
    state.dataset.state = STATES[source.readyState];
    events.textContent = String(count());
  }
}

function add(name, source) {
  const row = byId('sources').insertRow();
  row.insertCell().textContent = name;
  const state = row.insertCell().appendChild(document.createElement('span'));
  state.className = 'state';
  const events = row.insertCell();
  let count = 0;
  source.onopen = show;
  source.onerror = show;
  source.onmessage = () => {
    count += 1;
    show();
  };
  sources.add({ source, state, events, count: () => count });
  show();
}

byId('own').addEventListener('click', () => add('EventSource', new EventSource(HELLO)));
byId('shared').addEventListener('click', () => add('shared EventSource', new SharedSource(HELLO)));
byId('close').addEventListener('click', () => {
  for (const { source } of sources) source.close();
  sources.clear();
  byId('sources').replaceChildren();
  show();
});

// What the hub itself says, once a second, over the shared connection.
new SharedSource('/topics/demo/monitor?event=connections').addEventListener('connections', ({ data }) => {
  const { open, subscribers } = JSON.parse(data);
  byId('open').textContent = String(open);
  byId('streams').textContent = String(subscribers);
});

// A request like any other: when all connections are taken, it waits for one.
async function probe() {
  const began = performance.now();
  const waits = setInterval(() => {
    byId('probe').textContent = `waiting, ${((performance.now() - began) / 1_000).toFixed(0)} s`;
  }, 1_000);
  try {
    await fetch(HELLO, { method: 'HEAD', cache: 'no-store' });
    byId('probe').textContent = `${(performance.now() - began).toFixed(0)} ms`;
  } catch {
    byId('probe').textContent = 'no answer';
  }
  clearInterval(waits);
  setTimeout(probe, 1_000);
}

probe();
byId('protocol').textContent = performance.getEntriesByType('navigation')[0]?.nextHopProtocol || 'an unknown protocol';
