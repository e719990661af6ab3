// All topics in one connection. Events with a type of their own (prices, scores) are not even sent: `event=message`.
// Names have up to three parts here; deeper ones are the inboxes of users, which need a key.

import { EventList, follow } from './live.js';

document.getElementById('curl').textContent = `curl -d 'hello' ${location.origin}/topics/news`;

const list = new EventList(document.getElementById('events'));

follow('/events?topic=*&topic=*/*&topic=*/*/*&event=message&label', {
  message(event) {
    const { topic, data } = JSON.parse(event.data);
    list.add(topic, data);
  },
  'tidings.gap': (event) => list.add('a gap', event.data, 'data gap'),
});
