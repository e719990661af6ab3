// Publishing by fetch, beside a stream. What anybody posts is text: it never becomes markup, a style or a link.

import { drawId, element, follow, publish, readObject, storage } from './live.js';

const TOPIC = 'demo/wall';
const POSTS_MAX = 50;
const COLOURS = ['teal', 'green', 'ochre', 'red', 'blue', 'violet'];

const byId = (id) => document.getElementById(id);
const list = byId('posts');

/** A post as it may have been published by anything: what is not as expected is shown as it stands. */
function read(data) {
  const post = readObject(data) ?? {};
  const { name, colour, text } = post;
  return {
    name: typeof name === 'string' && name ? name.slice(0, 30) : 'somebody',
    colour: COLOURS.includes(colour) ? colour : 'teal',
    text: (typeof text === 'string' ? text : data).slice(0, 500),
  };
}

function show(event) {
  const { name, colour, text } = read(event.data);
  const item = document.createElement('li');
  item.dataset.colour = colour;
  item.append(element('strong', 'name', name), ' ', element('span', 'text', text));
  list.prepend(item);
  while (list.children.length > POSTS_MAX) list.lastElementChild.remove();
  byId('none').hidden = true;
}

follow(`/topics/${TOPIC}?from=start`, { message: show, 'tidings.gap': () => {} });

// A post has its key until the hub has it: pressed twice, or answered by nobody, it is there once.
let draft = null;

byId('form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const post = { name: byId('name').value.trim(), colour: byId('colour').value, text: byId('text').value.trim() };
  if (!post.name || !post.text) return;
  const said = JSON.stringify(post);
  if (draft?.said !== said) draft = { said, key: drawId() };
  const mine = draft;
  byId('said').textContent = 'sending';
  try {
    const { last_id: id } = await publish(TOPIC, post, { headers: { 'idempotency-key': mine.key } });
    byId('said').textContent = `posted as ${id}`;
    if (byId('text').value.trim() === post.text) byId('text').value = '';
    if (draft === mine) draft = null;
    storage.set('tidings wall name', post.name);
    storage.set('tidings wall colour', post.colour);
  } catch (error) {
    byId('said').textContent = `not posted: ${error.message}. Press Post to try again.`;
  }
});

byId('name').value = storage.get('tidings wall name') ?? '';
const colour = storage.get('tidings wall colour');
if (COLOURS.includes(colour)) byId('colour').value = colour;
