// An event stream of somebody else's: a reading a second from an Express server that knows nothing of Tidings.
//
//   npm install && npm start
//   tidings relay http://127.0.0.1:3000/readings --topic readings
//
// What makes it a source that can be relayed without a hole: its events have ids, it keeps the last of them, and it
// answers `Last-Event-ID` with what came behind. Readings are kept in a file, one a line, so a restart goes on.
//
// Environment: PORT (3000; 0 takes a free one), READINGS (readings.jsonl), EVERY_MS (1000).

import { appendFile, readFile, truncate } from 'node:fs/promises';
import express from 'express';

const FILE = process.env.READINGS ?? 'readings.jsonl';
const EVERY_MS = Number(process.env.EVERY_MS ?? 1000);

/** All readings so far; a reading's id is its place in this list, counted from 1. */
const readings = await load();
const streams = new Set();

/** A process that was killed may have left half a line: it was never sent, so it is cut off. */
async function load() {
  let text = '';
  try {
    text = await readFile(FILE, 'utf8');
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  if (whole.length < text.length) await truncate(FILE, Buffer.byteLength(whole));
  return whole
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

/** Kept first, then sent: what a reader has seen is never taken back. */
async function measure() {
  const reading = { celsius: Number((20 + 5 * Math.sin(Date.now() / 60_000)).toFixed(2)), at: new Date().toISOString() };
  await appendFile(FILE, `${JSON.stringify(reading)}\n`);
  readings.push(reading);
  for (const stream of streams) send(stream, readings.length);
}

function send(stream, id) {
  const reading = readings[id - 1];
  const type = reading.celsius > 24 ? 'event: warm\n' : '';
  stream.write(`id: ${id}\n${type}data: ${JSON.stringify({ id, ...reading })}\n\n`);
}

const app = express();

app.get('/readings', (request, response) => {
  response.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
  response.flushHeaders();
  response.write('retry: 1000\n\n');
  // Who says nothing, or something that is no id of ours, gets everything.
  const last = Number(request.get('Last-Event-ID') ?? 0);
  const from = Number.isInteger(last) && last > 0 ? last : 0;
  for (let id = from + 1; id <= readings.length; id += 1) send(response, id);
  streams.add(response);
  request.on('close', () => streams.delete(response));
});

app.get('/', (_request, response) => {
  response.type('text').send(`${readings.length} readings; the stream is at /readings\n`);
});

const server = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', (error) => {
  if (error) throw error;
  console.log(`readings at http://127.0.0.1:${server.address().port}/readings, ${readings.length} so far`);
});

// One after the other: a slow disk makes the next reading late, not two at once.
const tick = async () => {
  await measure();
  setTimeout(tick, EVERY_MS);
};
setTimeout(tick, EVERY_MS);
