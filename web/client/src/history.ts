// Pages of history: what a selector had before it goes live, and the place from which it does.

import { type ConnectionInit, SourceError, makeRequest, readProblem, readText, retryAfterMs } from './index.js';

/** An event, as the hub writes it in JSON. */
export interface HistoryEvent {
  readonly id: string;
  readonly topic?: string;
  readonly topics?: readonly string[];
  readonly data: string;
  readonly event?: string;
  readonly encoding?: 'base64';
}

export interface HistoryPage {
  readonly events: readonly HistoryEvent[];
  readonly next: string;
  readonly more: boolean;
  readonly closed?: boolean;
  readonly gap?: Gap;
}

/** What was missed that is not kept any more. */
export interface Gap {
  readonly reason: string;
  readonly asked?: string;
  readonly resumes_after?: string;
}

const EVENTS_MAX = 1_000;
/** A page has about a mebibyte of data, or one event; JSON writes a byte with six at most. */
const PAGE_BYTES_MAX = 128 << 20;
const ANSWER_MS_MAX = 60_000;

/** Asks for one page. @throws SourceError */
export async function historyPage(
  url: URL,
  init: ConnectionInit,
  selectors: readonly string[],
  from: { readonly from: string } | { readonly last_event_id: string },
  signal: AbortSignal,
  status?: number,
): Promise<HistoryPage> {
  const target = new URL(url);
  for (const selector of selectors) target.searchParams.append('topic', selector);
  for (const [name, value] of Object.entries(from)) target.searchParams.set(name, value);
  target.searchParams.set('format', 'json');
  target.searchParams.set('limit', String(EVENTS_MAX));
  const within = AbortSignal.any ? AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS_MAX)]) : signal;
  let request: [URL, RequestInit];
  try {
    request = await makeRequest(target, init, { status, signal: within, accept: 'application/json' });
  } catch (cause) {
    throw new SourceError('headers', `the request could not be made: ${String(cause)}`, { cause });
  }
  let response: Response;
  let text: string;
  try {
    response = await (init.fetch ?? fetch)(...request);
    if (response.status !== 200) {
      const problem = await readProblem(response);
      const said = problem?.detail ? `: ${problem.detail}` : '';
      const more = { status: response.status, problem, retryAfterMs: retryAfterMs(response.headers.get('retry-after')) };
      throw new SourceError('status', `the server answered ${response.status}${said}`, more);
    }
    text = await readText(response, PAGE_BYTES_MAX);
  } catch (cause) {
    if (cause instanceof SourceError) throw cause;
    throw new SourceError('network', `the connection failed: ${String(cause)}`, { cause });
  }
  try {
    const page = JSON.parse(text) as HistoryPage;
    if (Array.isArray(page.events) && typeof page.next === 'string') return page;
  } catch {
    // Said below.
  }
  throw new SourceError('type', 'the answer is not one of a Tidings hub; is the URL right?', { status: 200 });
}
