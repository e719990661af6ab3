// Named events, the state for who comes late, and a tunnel. Each event says all of its match.

import { EventSource, patient } from './client/index.js';
import { EventList, element, follow, readObject } from './live.js';

const TYPES = ['kickoff', 'goal', 'half', 'clock', 'end'];
const TUNNEL_MS = 6_000;
/** What was missed comes at once: what comes later than this is new. */
const AT_ONCE_MS = 400;
const MATCHES_MAX = 12;

const byId = (id) => document.getElementById(id);
const list = new EventList(byId('events'));
const cards = new Map();
let tunnel = null;

/** A match as an event tells it, or null: anybody may publish to these topics. */
function read(data) {
  const match = readObject(data);
  const texts = match && ['id', 'home', 'away', 'phase'].every((name) => typeof match[name] === 'string');
  const numbers = texts && Array.isArray(match.score) && [match.minute, ...match.score].every(Number.isSafeInteger);
  return numbers && match.score.length === 2 && Array.isArray(match.goals) ? match : null;
}

function cardOf(id) {
  if (!cards.has(id) && cards.size < MATCHES_MAX) {
    const item = element('li', 'card', '');
    const parts = ['teams', 'value', 'soft', 'soft scorers'].map((name) => item.appendChild(element('div', name, '')));
    const after = [...cards].filter(([other]) => other < id).length;
    byId('matches').insertBefore(item, byId('matches').children[after] ?? null);
    cards.set(id, { item, parts });
  }
  return cards.get(id);
}

function show(type, { data }) {
  const match = read(data);
  if (!match) return;
  const card = cardOf(match.id);
  if (!card) return;
  const [teams, score, phase, scorers] = card.parts;
  teams.textContent = `${match.home} – ${match.away}`;
  score.textContent = match.score.join(' : ');
  phase.textContent = `${match.phase}, minute ${match.minute}`;
  const goals = match.goals.slice(-20).map((goal) => `${goal?.who} ${goal?.minute}′`);
  scorers.textContent = goals.join(', ') || 'no goal yet';
  card.item.dataset.phase = match.phase;
  if (type === 'goal') {
    // The animation begins anew with each goal.
    card.item.classList.remove('scored');
    requestAnimationFrame(() => card.item.classList.add('scored'));
  }
  if (type !== 'clock') {
    const goal = match.goals.at(-1);
    const said = type === 'goal' ? `${goal?.who} scores: ${teams.textContent} ${score.textContent}` : `${type}: ${teams.textContent} ${score.textContent}`;
    list.add(`${match.minute}′`, said);
  }
  if (tunnel) {
    tunnel.events += 1;
    tunnel.goals += type === 'goal' ? 1 : 0;
  }
}

const make = (target, lastEventId) => new EventSource(target, { ...patient, lastEventId });
const handlers = Object.fromEntries(TYPES.map((type) => [type, (event) => show(type, event)]));
const plural = (count, what) => `${count} ${what}${count === 1 ? '' : 's'}`;

/** Counts from when there is a connection again, however long that took. */
function outOfTunnel() {
  if (!tunnel) return;
  setTimeout(() => {
    if (!tunnel) return;
    const { events, goals } = tunnel;
    tunnel = null;
    byId('said').textContent = `After the tunnel ${plural(events, 'event')} came at once, ${plural(goals, 'goal')} among them.`;
    byId('tunnel').disabled = false;
  }, AT_ONCE_MS);
}

const stream = follow(
  '/events?topic=demo/scores/*&from=last',
  { ...handlers, 'tidings.gap': (event) => list.add('a gap', event.data, 'data gap'), open: outOfTunnel },
  make,
);

byId('tunnel').addEventListener('click', () => {
  const button = byId('tunnel');
  button.disabled = true;
  stream.close();
  const end = performance.now() + TUNNEL_MS;
  const count = () => {
    byId('said').textContent = `In the tunnel: nothing comes for ${Math.max(1, Math.ceil((end - performance.now()) / 1_000))} s.`;
  };
  count();
  const counting = setInterval(count, 1_000);
  setTimeout(() => {
    clearInterval(counting);
    tunnel = { events: 0, goals: 0 };
    byId('said').textContent = 'Out of the tunnel.';
    stream.open();
  }, TUNNEL_MS);
});
