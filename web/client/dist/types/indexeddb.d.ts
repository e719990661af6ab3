import { Connection, type ConnectionInit, SourceError } from './index.js';
/** An event as a stream tells it. */
export interface SinkEvent {
    readonly type: string;
    readonly data: string;
    readonly id: string;
}
/** What is kept of an event. `order` grows with each write. */
export interface Row {
    readonly key: IDBValidKey;
    readonly order: number;
    readonly id: string;
    readonly type: string;
    readonly value: unknown;
}
export interface SinkInit {
    readonly database: string;
    /** Default: `events`. */
    readonly store?: string | undefined;
    /**
     * The key of an event's row: a later event of the same key replaces it, one of the type `tidings.tombstone` removes it,
     * and `undefined` keeps nothing. Default: none, each event is a row of its own.
     */
    readonly key?: ((event: SinkEvent) => IDBValidKey | undefined) | undefined;
    /** What is kept of an event. Default: its data. */
    readonly value?: ((event: SinkEvent) => unknown) | undefined;
    /** So many rows are kept, those written last. Default: 10,000. */
    readonly rowsMax?: number | undefined;
}
export interface FollowInit extends ConnectionInit {
    /** Types of events that are kept. Default: all but those of the hub itself. */
    readonly types?: readonly string[] | undefined;
    /** Events were missed that are not kept any more. Awaited before anything else is written. */
    readonly onGap?: ((event: SinkEvent) => void | PromiseLike<void>) | undefined;
    readonly onState?: ((state: 0 | 1 | 2, error?: SourceError, afterMs?: number) => void) | undefined;
    /** So many rows were written, or passed over because another tab has them. */
    readonly onWritten?: ((rows: number) => void) | undefined;
}
/** `unavailable`: there is no IndexedDB here, or it is blocked. `full`: no space is left. `failed`: anything else; `cause` has it. */
export declare class SinkError extends Error {
    readonly code: 'unavailable' | 'full' | 'failed';
    readonly name = "SinkError";
    constructor(code: 'unavailable' | 'full' | 'failed', message: string, cause?: unknown);
}
export declare class IndexedDbSink {
    #private;
    private constructor();
    /** Opens the store, and makes it if it is not there. @throws SinkError */
    static open(init: SinkInit): Promise<IndexedDbSink>;
    /** All up to here is kept: where a stream resumes. */
    get lastEventId(): string;
    /** Keeps these, in order, and that all up to `lastEventId` is kept. Resolves when they are. @throws SinkError */
    write(events: readonly SinkEvent[], lastEventId?: string): Promise<void>;
    /** The rows written last, newest first. */
    newest(rowsMax: number): Promise<Row[]>;
    get(key: IDBValidKey): Promise<Row | undefined>;
    count(): Promise<number>;
    /** Forgets all rows; the place stays. */
    clear(): Promise<void>;
    close(): void;
    /** Keeps what this stream says, from where the store stands. The stream waits while a transaction is written. */
    follow(url: string | URL, init?: FollowInit): Connection;
}
