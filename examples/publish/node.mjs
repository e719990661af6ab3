// Publishes one event: node node.mjs TOPIC DATA. Prints the event's id. Node 18 or newer, no package.

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

const HUB = process.env.TIDINGS_URL ?? 'http://127.0.0.1:4000';
const ATTEMPTS = 8;

export async function publish(topic, data) {
  const headers = {
    'Content-Type': 'text/plain',
    // The same key at every attempt: if only the answer was lost, the hub says where the event already stands.
    'Idempotency-Key': randomUUID(),
  };
  if (process.env.TIDINGS_KEY) headers.Authorization = `Bearer ${process.env.TIDINGS_KEY}`;
  const url = `${HUB}/topics?topic=${encodeURIComponent(topic)}`;
  let problem;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    let wait = Math.min(250 * 2 ** attempt, 5_000) * (0.5 + Math.random() / 2);
    try {
      const answer = await fetch(url, { method: 'POST', headers, body: data, signal: AbortSignal.timeout(10_000) });
      const text = await answer.text();
      if (answer.ok) return JSON.parse(text).last_id;
      problem = `HTTP ${answer.status}: ${text.trim()}`;
      if (answer.status < 500) break; // our mistake: trying again would not help
      wait = Math.max(wait, 1_000 * Number(answer.headers.get('Retry-After') ?? 0));
    } catch (error) {
      problem = error.cause?.message ?? error.message; // no connection, or no whole answer
    }
    if (attempt < ATTEMPTS) await sleep(wait);
  }
  throw new Error(`not published: ${problem}`);
}

const [topic, data, ...more] = process.argv.slice(2);
if (data === undefined || more.length > 0) {
  console.error('usage: node.mjs TOPIC DATA');
  process.exit(2);
}
try {
  console.log(await publish(topic, data));
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
