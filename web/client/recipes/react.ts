// A React hook: the state that the events of a topic make. `reduce` and `initial` must be the same at each render (defined
// outside of the component, or memoized); a change of the selector begins anew.

import { useEffect, useState } from 'react';
import type { TopicEvent, Topics } from 'tidings/topics';

/** Many events make one render: React need not hear of each. */
const EVERY_MS = 50;

export function useTopic<S>(topics: Topics, selector: string, reduce: (state: S, event: TopicEvent) => S, initial: S): S {
  const [state, setState] = useState(initial);
  useEffect(() => {
    let now = initial;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const show = () => {
      timer = undefined;
      setState(now);
    };
    show();
    const subscription = topics.subscribe(
      selector,
      (event) => {
        now = reduce(now, event);
        timer ??= setTimeout(show, EVERY_MS);
      },
      { from: 'last' },
    );
    return () => {
      clearTimeout(timer);
      subscription.close();
    };
  }, [topics, selector, reduce, initial]);
  return state;
}
