// A Vue composable: the state that the events of a topic make. It ends with the component, and begins anew when the
// selector changes.

import { type MaybeRefOrGetter, type ShallowRef, shallowRef, toValue, watchEffect } from 'vue';
import type { TopicEvent, Topics } from 'tidings/topics';

export function useTopic<S>(
  topics: Topics,
  selector: MaybeRefOrGetter<string>,
  reduce: (state: S, event: TopicEvent) => S,
  initial: S,
): Readonly<ShallowRef<S>> {
  const state = shallowRef(initial) as ShallowRef<S>;
  watchEffect((onCleanup) => {
    state.value = initial;
    const subscription = topics.subscribe(toValue(selector), (event) => (state.value = reduce(state.value, event)), { from: 'last' });
    onCleanup(() => subscription.close());
  });
  return state;
}
