import { type ConnectionInit } from './index.js';
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
/** Asks for one page. @throws SourceError */
export declare function historyPage(url: URL, init: ConnectionInit, selectors: readonly string[], from: {
    readonly from: string;
} | {
    readonly last_event_id: string;
}, signal: AbortSignal, status?: number): Promise<HistoryPage>;
