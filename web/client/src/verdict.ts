// What an answer to a publish means: done, again, or never. Pure; the same rules as the Rust client's.

import { transient } from './index.js';

export type Verdict =
  /** All are held. */
  | { readonly kind: 'done'; readonly held: number; readonly lastId: string | undefined }
  /** The same under the same numbers, later. */
  | { readonly kind: 'again'; readonly why: string }
  /** One will never be taken; those before it are held. */
  | { readonly kind: 'item'; readonly item: number; readonly why: string }
  /** The hub does not know the producer (any more): `expected` is next. */
  | { readonly kind: 'ahead'; readonly expected: number; readonly why: string }
  /** A later epoch has begun elsewhere. */
  | { readonly kind: 'replaced'; readonly why: string }
  /** Nothing of it will ever be taken. */
  | { readonly kind: 'never'; readonly why: string };

/** Problems of one event, whatever stands beside it. */
const OF_THE_EVENT = ['event-too-large', 'invalid-event', 'invalid-encoding', 'invalid-topic', 'too-many-topics', 'not-text', 'topic-closed', 'forbidden'];

interface Answer {
  readonly type?: string;
  readonly detail?: string;
  readonly item?: number;
  readonly expected?: number;
  readonly count?: number;
  readonly held?: number;
  readonly last_id?: string | null;
}

/** Judges an answer to `events` events. */
export function judge(status: number, body: string, events: number): Verdict {
  let answer: Answer = {};
  try {
    answer = (JSON.parse(body) as Answer | null) ?? {};
  } catch {
    // A proxy's page: the status says enough.
  }
  const why = typeof answer.detail === 'string' ? `${answer.detail} (${status})` : `the hub answered ${status}`;
  if (status >= 200 && status < 300) {
    if (answer.count === events) return { kind: 'done', held: answer.held ?? 0, lastId: answer.last_id ?? undefined };
    // A body that broke off on its way ends where it ended: the rest is not lost, it is sent again.
    if (typeof answer.count === 'number') return { kind: 'again', why: `the hub took ${answer.count} of ${events} events` };
    return { kind: 'never', why: 'the answer is not one of a Tidings hub; is the URL right?' };
  }
  if (transient(status)) return { kind: 'again', why };
  const problem = typeof answer.type === 'string' ? (answer.type.split(':').pop() ?? '') : '';
  if (problem === 'stale-epoch') return { kind: 'replaced', why };
  if (problem === 'producer-out-of-order' && typeof answer.expected === 'number') return { kind: 'ahead', expected: answer.expected, why };
  if (OF_THE_EVENT.includes(problem)) {
    const item = answer.item ?? (events === 1 ? 0 : undefined);
    if (item !== undefined && item >= 0 && item < events) return { kind: 'item', item, why };
  }
  return { kind: 'never', why };
}
