// What the types promise: both sources can stand wherever a browser's own does, and say more to who asks.

import { EventSource } from 'tidings';
import { EventSource as SharedSource } from 'tidings/shared';

export const own: globalThis.EventSource = new EventSource('/topics/news');
export const shared: globalThis.EventSource = new SharedSource('/topics/news');

export function more(source: EventSource | SharedSource): void {
  source.onmessage = ({ data, lastEventId }) => console.log(data.length, lastEventId.length);
  source.onerror = ({ error, afterMs }) => console.log(error.code, error.status, afterMs);
  source.addEventListener('flash', ({ data }) => console.log(data.length));
  source.addEventListener('error', ({ error }) => console.log(error.problem?.detail));
  source.addEventListener('message', { handleEvent: () => {} });
}
