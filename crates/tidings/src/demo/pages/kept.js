// A feed into IndexedDB, and out of it: nothing is shown that is not kept.

import { IndexedDbSink } from './client/indexeddb.js';
import { element } from './live.js';

const byId = (id) => document.getElementById(id);
const STATES = ['connecting', 'open', 'closed'];

function tell(state, text = state) {
  byId('state').textContent = text;
  byId('state').dataset.state = state;
  byId('switch').textContent = state === 'closed' ? 'Connect' : 'Disconnect';
}

async function show(sink) {
  const rows = await sink.newest(50);
  byId('events').replaceChildren(
    ...rows.map(({ id, value }) => {
      const item = document.createElement('li');
      item.append(element('span', 'id', id), element('span', 'data', value));
      return item;
    }),
  );
  byId('count').textContent = String(await sink.count());
  byId('last-id').textContent = sink.lastEventId || 'none yet';
}

async function begin() {
  const sink = await IndexedDbSink.open({ database: 'tidings demo', rowsMax: 1_000 });
  await show(sink);
  const follow = () => {
    tell('connecting');
    return sink.follow('/topics/demo/hello?from=start', {
      onState: (state, error) => tell(STATES[state], state === 2 && error ? error.message : STATES[state]),
      onWritten: () => show(sink),
    });
  };
  let connection = follow();
  byId('switch').addEventListener('click', () => {
    if (connection.readyState === 2) connection = follow();
    else {
      connection.close();
      tell('closed');
    }
  });
  byId('forget').addEventListener('click', async () => {
    await sink.clear();
    await show(sink);
  });
}

begin().catch((error) => tell('closed', error.message));
