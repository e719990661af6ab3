// A bar over a job that goes on whether anybody looks or not. The page remembers the job's name and nothing else.

import { EventSource, patient } from './client/index.js';
import { drawId, publish, readObject, storage } from './live.js';

const KEY = 'tidings progress job';
const byId = (id) => document.getElementById(id);
let source = null;

function tell(state, text) {
  byId('state').dataset.state = state;
  byId('state').textContent = text;
}

function show({ data, lastEventId }) {
  const now = readObject(data);
  if (!now || !Number.isFinite(now.done) || !(now.of > 0)) return;
  const part = Math.min(1, Math.max(0, now.done / now.of));
  byId('bar').value = part;
  byId('percent').textContent = `${Math.floor(part * 100)} %`;
  byId('doing').textContent = String(now.doing);
  byId('last-id').textContent = lastEventId;
}

function listen(id) {
  source?.close();
  const mine = new EventSource(`/topics/demo/progress/${id}?from=last`, { ...patient });
  source = mine;
  let over = false;
  byId('start').disabled = true;
  tell('connecting', 'connecting');
  mine.onopen = () => tell('open', 'at work');
  mine.addEventListener('progress', show);
  mine.addEventListener('done', (event) => {
    over = true;
    show(event);
    mine.close();
    tell('open', 'done');
    byId('start').disabled = false;
  });
  mine.onerror = ({ error }) => {
    if (source !== mine || over) return;
    if (mine.readyState !== 2) return tell('connecting', `connecting: ${error.message}`);
    tell('closed', error.code === 'ended' ? 'the hub does not have this job any more' : `closed: ${error.message}`);
    byId('start').disabled = false;
  };
}

byId('start').addEventListener('click', async () => {
  const id = drawId();
  byId('start').disabled = true;
  byId('said').textContent = '';
  try {
    await publish('demo/jobs', { id });
    if (!storage.set(KEY, id)) byId('said').textContent = 'This browser keeps nothing for this page, so a reload will not find the job.';
    listen(id);
  } catch (error) {
    byId('said').textContent = `not begun: ${error.message}`;
    byId('start').disabled = false;
  }
});

const known = storage.get(KEY);
if (known !== null && /^[A-Za-z0-9-]{1,40}$/.test(known)) listen(known);
