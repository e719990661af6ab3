// The reconnect machine in virtual time, and the places of the log.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Machine, SourceError, transient, waitMs } from '../dist/index.js';
import { compare } from '../dist/topics.js';

const bytes = (text) => new TextEncoder().encode(text);
const STREAM = { status: 200, contentType: 'text/event-stream' };
const LOST = new SourceError('network', 'gone');

/** A machine that is open since `now` 0. */
function open(policy = {}, lastEventId = '') {
  const machine = new Machine(0, policy, lastEventId);
  assert.deepEqual(machine.handleTimeout(0), { kind: 'connect', lastEventId });
  assert.equal(machine.handleResponse(0, STREAM)?.kind, 'open');
  return machine;
}

const say = (machine, now, text) => [...machine.handleBytes(now, bytes(text))].map((told) => told.kind);

test('a machine wants to connect at once, and says where from', () => {
  const machine = new Machine(5, {}, 'x');
  assert.deepEqual([machine.readyState, machine.pollTimeout()], [0, 5]);
  assert.equal(machine.handleTimeout(4), undefined);
  assert.deepEqual(machine.handleTimeout(5), { kind: 'connect', lastEventId: 'x' });
  assert.equal(machine.pollTimeout(), undefined);
});

test('it waits for as long as the server says, and goes on from the last id', () => {
  const machine = open();
  assert.deepEqual(say(machine, 1, 'retry: 500\nid: 1\ndata: a\n\nid: 2\ndata: cut'), ['retry', 'event']);
  assert.deepEqual(
    [machine.handleEnd(10)].map(({ kind, afterMs, error }) => [kind, afterMs, error.code]),
    [['wait', 500, 'ended']],
  );
  assert.equal(machine.handleTimeout(509), undefined);
  assert.deepEqual(machine.handleTimeout(510), { kind: 'connect', lastEventId: '1' });
  machine.handleResponse(511, STREAM);
  say(machine, 512, 'retry:\n');
  assert.equal(machine.handleEnd(513)?.afterMs, 3_000);
});

test('a call that does not fit the state does nothing', () => {
  const machine = new Machine(0, {});
  assert.equal(machine.handleResponse(0, STREAM), undefined);
  assert.equal(machine.handleEnd(0), undefined);
  assert.equal(machine.handleError(0, LOST), undefined);
  assert.deepEqual(say(machine, 0, 'data: a\n\n'), []);
  machine.close();
  assert.equal(machine.handleTimeout(0), undefined);
  assert.equal(machine.reconnectNow(0), undefined);
  assert.equal(machine.handleWake(0, 1e9), undefined);
  assert.deepEqual([machine.readyState, machine.pollTimeout()], [2, undefined]);
});

test('waits grow, are spread over all of it, and have a bound', () => {
  assert.equal(waitMs(3_000, 1, undefined, 0.9), 3_000);
  assert.equal(waitMs(0, 1, undefined, 0.9), 0);
  assert.equal(waitMs(0, 2, undefined, 0.9), 100);
  assert.equal(waitMs(1e300, 1, undefined, 0), 86_400_000);
  const range = (failures, maxMs = 60_000) => [waitMs(1_000, failures, maxMs, 0), waitMs(1_000, failures, maxMs, 1 - 1e-12)];
  assert.deepEqual(range(1), [0, 1_000]);
  assert.deepEqual(range(2), [100, 2_000]);
  assert.deepEqual(range(5), [100, 16_000]);
  assert.deepEqual(range(7), [100, 60_000]);
  assert.deepEqual(range(1e9), [100, 60_000]);
  assert.deepEqual(range(9, 10), [10, 10]);
});

test('the backoff grows with failures in a row, and a good connection ends the row', () => {
  const machine = new Machine(0, { backoffMaxMs: 60_000, random: () => 0.999999, retryMs: 1_000 });
  let now = 0;
  const waits = [];
  for (let n = 0; n < 4; n += 1) {
    machine.handleTimeout(now);
    const { afterMs } = machine.handleError(now, LOST);
    waits.push(afterMs);
    now += afterMs;
  }
  assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000].map((ms) => Math.floor(0.999999 * (ms + 1))));
  machine.handleTimeout(now);
  machine.handleResponse(now, STREAM);
  say(machine, now, ': a comment is no event\n');
  const { afterMs } = machine.handleEnd(now);
  assert.ok(afterMs > 15_000, `${afterMs}: a stream that says nothing is no success`);
  now += afterMs;
  machine.handleTimeout(now);
  machine.handleResponse(now, STREAM);
  say(machine, now, 'id: 1\n\n');
  assert.ok(machine.handleEnd(now).afterMs <= 1_000);
});

test('attemptsMax counts attempts that came to nothing', () => {
  const machine = new Machine(0, { attemptsMax: 2, retryMs: 10, retryStatuses: transient });
  machine.handleTimeout(0);
  assert.equal(machine.handleResponse(0, { status: 503 })?.kind, 'wait');
  machine.handleTimeout(10);
  machine.handleResponse(10, STREAM);
  say(machine, 10, 'data: a\n\n');
  assert.equal(machine.handleEnd(11)?.kind, 'wait');
  machine.handleTimeout(1_000);
  assert.equal(machine.handleError(1_000, LOST)?.kind, 'wait');
  machine.handleTimeout(2_000);
  const end = machine.handleError(2_000, LOST);
  assert.deepEqual([end.kind, end.error.code, end.error.cause], ['close', 'exhausted', LOST]);
});

test('silence is measured from the last byte, whatever it was', () => {
  const machine = open({ stallTimeoutMs: 100, retryMs: 10 });
  assert.equal(machine.pollTimeout(), 100);
  say(machine, 90, ':');
  assert.equal(machine.handleTimeout(100), undefined);
  machine.handleRead(150);
  assert.equal(machine.handleTimeout(249), undefined);
  const lost = machine.handleTimeout(250);
  assert.deepEqual([lost.kind, lost.error.code], ['wait', 'stalled']);
  machine.handleTimeout(260);
  assert.equal(machine.handleTimeout(360)?.error.code, 'stalled', 'also while it waits for the answer');
});

test('a wake-up ends a wait, and a connection that was silent for long; never what the server asked for', () => {
  const machine = open({ retryStatuses: transient });
  assert.equal(machine.handleWake(10_000, 0), undefined, 'ten seconds of silence are none');
  assert.equal(machine.readyState, 1);
  const slept = machine.handleWake(10_000, 3_600_000);
  assert.deepEqual([slept.kind, slept.afterMs, slept.error.code], ['wait', 0, 'stalled']);
  machine.handleTimeout(10_000);
  machine.handleError(10_000, LOST);
  assert.equal(machine.pollTimeout(), 13_000);
  machine.handleWake(10_500, 0);
  assert.equal(machine.pollTimeout(), 10_500);
  machine.handleTimeout(10_500);
  machine.handleResponse(10_500, { status: 503, retryAfter: '60' });
  machine.handleWake(11_000, 0);
  assert.equal(machine.pollTimeout(), 70_500);
  machine.handleWake(11_000, 100_000);
  assert.equal(machine.pollTimeout(), 11_000, 'the time asleep counts');
});

test('a clock that was set back, or forward, costs a reconnect at most', () => {
  const machine = open({ stallTimeoutMs: 75_000 });
  assert.equal(machine.handleWake(1_000, -1e12), undefined);
  assert.equal(machine.readyState, 1);
  assert.equal(machine.handleWake(1_000, 1e12)?.afterMs, 0);
  assert.deepEqual(machine.handleTimeout(1_000), { kind: 'connect', lastEventId: '' });
});

test('Retry-After is seconds, and lengthens a wait', () => {
  const wait = (retryAfter) => {
    const machine = new Machine(0, { retryStatuses: transient, retryMs: 100 });
    machine.handleTimeout(0);
    return machine.handleResponse(0, { status: 503, retryAfter }).afterMs;
  };
  assert.equal(wait('2'), 2_000);
  assert.equal(wait('0'), 100);
  assert.equal(wait('99999999999999999999'), 86_400_000);
  for (const no of ['', '+5', '1.5', 'Wed, 21 Oct 2015 07:28:00 GMT', null]) assert.equal(wait(no), 100);
});

test('places of one life of the log are compared, others are not', () => {
  const order = ['e.0', 'e.1', 'e.9', 'e.a', 'e.z', 'e.10', 'e.zz', 'e.100'];
  order.forEach((a, i) => order.forEach((b, j) => assert.equal(Math.sign(compare(a, b)), Math.sign(i - j), `${a} ${b}`)));
  assert.equal(compare('e.1~x', 'e.1~y'), 0);
  assert.ok(compare('e.2~x.y~z', 'e.1') > 0);
  for (const [a, b] of [['e.1', 'f.1'], ['', 'e.1'], ['7', '8'], ['e.1 ', 'e.2'], ['e.', 'e.1']]) {
    assert.equal(compare(a, b), undefined, `${a} ${b}`);
  }
});
