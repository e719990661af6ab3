// An answer is a topic. Its name stands in the address, so whoever has the address has the answer.

import { EventSource, patient } from './client/index.js';
import { drawId, publish, readObject } from './live.js';

const AT_ONCE_MS = 150;
const WORDS_MAX = 20_000;

const byId = (id) => document.getElementById(id);
let source = null;
let last = '';
let words = 0;
let over = false;

function tell(state, text = state) {
  byId('state').dataset.state = state;
  byId('state').textContent = text;
  byId('last-id').textContent = last || 'none yet';
  byId('stop').disabled = source === null || over;
  byId('stop').textContent = state === 'closed' && !over ? 'Resume' : 'Stop';
  byId('again').disabled = source === null;
  byId('words').textContent = `${words} word${words === 1 ? '' : 's'}`;
  byId('answer').setAttribute('aria-busy', String(state === 'open' && !over));
}

/** Reads the answer, behind the last word that is here. */
function listen(id) {
  source?.close();
  const mine = new EventSource(`/topics/demo/answers/${id}?from=start`, { ...patient, lastEventId: last });
  source = mine;
  const had = words;
  let began = 0;
  tell('connecting');
  mine.onopen = () => {
    began = performance.now();
    tell('open', 'the answer is being written');
  };
  mine.onmessage = ({ data, lastEventId }) => {
    if (source !== mine || words >= WORDS_MAX) return;
    last = lastEventId;
    words += 1;
    byId('answer').append(data);
    if (performance.now() - began < AT_ONCE_MS) byId('at-once').textContent = `, ${words - had} of them at once`;
    tell('open', 'the answer is being written');
  };
  mine.addEventListener('done', ({ data, lastEventId }) => {
    last = lastEventId;
    over = true;
    mine.close();
    tell('open', 'the answer is complete');
    const wanted = readObject(data)?.words;
    if (wanted !== words) byId('said').textContent = `${wanted} words were written, ${words} came`;
  });
  mine.addEventListener('tidings.gap', () => {
    // What was there is not kept any more, or this is another hub.
    byId('said').textContent = 'the hub has not kept all of this answer';
  });
  mine.onerror = ({ error }) => {
    if (source !== mine || over) return;
    if (mine.readyState !== 2) tell('connecting', `connecting: ${error.message}`);
    else tell('closed', error.code === 'ended' ? 'the hub does not have this answer any more' : `closed: ${error.message}`);
  };
}

/** The name of the answer in the address, if it is one. */
const named = () => /^#([A-Za-z0-9-]{1,40})$/.exec(location.hash)?.[1] ?? null;

function begin() {
  const id = named();
  [last, words, over] = ['', 0, false];
  byId('answer').textContent = '';
  byId('at-once').textContent = '';
  byId('said').textContent = '';
  byId('link').hidden = id === null;
  source?.close();
  source = null;
  if (id === null) return tell('idle', 'nothing asked yet');
  byId('link').href = `#${id}`;
  listen(id);
}

byId('form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const id = drawId();
  try {
    await publish('demo/questions', { id, question: Number(byId('question').value) });
    location.hash = id;
  } catch (error) {
    byId('said').textContent = `not asked: ${error.message}`;
  }
});

byId('stop').addEventListener('click', () => {
  if (source.readyState === 2) listen(named());
  else {
    source.close();
    tell('closed', 'stopped here; it is being written on');
  }
});
byId('again').addEventListener('click', begin);
addEventListener('hashchange', begin);
begin();
