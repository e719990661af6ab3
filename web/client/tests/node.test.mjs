// The suite in Node.

import { after, before, describe, test } from 'node:test';
import { Hub } from '../../../tests/browser/hub.mjs';
import { startServer } from './server.mjs';
import { cases as hubCases } from './suite/hub.mjs';
import { cases as sourceCases } from './suite/source.mjs';

const limit = { timeout: 60_000 };

/** From now on what is thrown by nobody's caller is counted; the function that is given ends it, and says how much it was. */
function throws() {
  const others = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  let count = 0;
  const counted = () => (count += 1);
  process.on('uncaughtException', counted);
  return () => {
    process.off('uncaughtException', counted);
    for (const other of others) process.on('uncaughtException', other);
    return count;
  };
}

describe('in Node', () => {
  let server;
  let hub;

  before(async () => {
    server = await startServer();
    hub = await Hub.start();
    server.setHub(hub.url);
  }, limit);

  after(async () => {
    await hub?.remove();
    server?.close();
  }, limit);

  for (const [name, run] of [...sourceCases, ...hubCases]) {
    test(name, limit, () => run({ base: server.url, hub: hub.url, throws }));
  }
});
