// For Svelte 5: the state that the events of a topic make. It subscribes while something on the page reads `current`.

import { createSubscriber } from 'svelte/reactivity';
import type { TopicEvent, Topics } from 'tidings/topics';

export class Topic<S> {
  #state: S;
  readonly #subscribe: () => void;

  constructor(topics: Topics, selector: string, reduce: (state: S, event: TopicEvent) => S, initial: S) {
    this.#state = initial;
    this.#subscribe = createSubscriber((update) => {
      this.#state = initial;
      const subscription = topics.subscribe(
        selector,
        (event) => {
          this.#state = reduce(this.#state, event);
          update();
        },
        { from: 'last' },
      );
      return () => subscription.close();
    });
  }

  /** The state now. Whatever reads it in an effect or in markup runs again when it changes. */
  get current(): S {
    this.#subscribe();
    return this.#state;
  }
}
