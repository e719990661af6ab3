import { type ConnectionInit } from './index.js';
/** What is published. */
export interface PublishedEvent {
    /** Where it goes; several topics make one event. Default: `topic` of the publisher. */
    readonly topic?: string | readonly string[] | undefined;
    /** Text as it is; bytes for topics declared binary; anything else as JSON. */
    readonly data: unknown;
    /** Its type. */
    readonly event?: string | undefined;
    /** Your name for it. */
    readonly id?: string | undefined;
    readonly retry?: number | undefined;
    /** Only for readers with a grant. */
    readonly private?: boolean | undefined;
}
/** An event that the hub holds, as durably as it promises. */
export interface Published {
    readonly epoch: number;
    readonly seq: number;
}
/** A trouble that passes by itself. */
export interface Notice {
    readonly kind: 'retrying' | 'recovered' | 'new-epoch';
    readonly why: string;
    readonly afterMs: number;
}
export interface PublisherInit extends Pick<ConnectionInit, 'headers' | 'withCredentials' | 'fetch'> {
    /** The topic of events that name none. */
    readonly topic?: string | undefined;
    /** To go on with a numbering of an earlier life: all three. Default: a producer of its own, drawn by chance. */
    readonly producer?: {
        readonly id: string;
        readonly epoch: number;
        readonly seq: number;
    } | undefined;
    /** How long a request waits for more events. Default: 0, it takes what arrived while the one before was on its way. */
    readonly windowMs?: number | undefined;
    /** Events of one request. Default: 1,000. */
    readonly batchEventsMax?: number | undefined;
    /** Bytes after which a request takes no further event. Default: 256 KiB. */
    readonly batchBytesMax?: number | undefined;
    /** Events that may wait. Default: 4,096. */
    readonly queueEventsMax?: number | undefined;
    /** Bytes that they may have together. Default: 4 MiB. */
    readonly queueBytesMax?: number | undefined;
    /** For how long a batch is tried. Default: for ever. */
    readonly patienceMs?: number | undefined;
    readonly onNotice?: ((notice: Notice) => void) | undefined;
}
/**
 * Why an event was not published. `full`: too many wait; await `ready` first. `invalid`: it cannot be said in JSON, or has no
 * topic. `refused`: the hub will never take this one, the others go on. `ended`: the publisher has, and why.
 */
export declare class PublishError extends Error {
    readonly code: 'full' | 'invalid' | 'refused' | 'ended';
    readonly name = "PublishError";
    constructor(code: 'full' | 'invalid' | 'refused' | 'ended', message: string);
}
export declare class Publisher {
    #private;
    /** `url` is the hub's `/events`. */
    constructor(url: string | URL, init?: PublisherInit);
    /** The numbering so far: all before `seq` are held. */
    get producer(): {
        readonly id: string;
        readonly epoch: number;
        readonly seq: number;
    };
    /** Resolves when there is room for one more: await it before each `publish` of many. */
    get ready(): Promise<void>;
    /** Takes an event; the promise is the hub's ack. Events stand in the log in the order of the calls. */
    publish(event: PublishedEvent): Promise<Published>;
    /** Waits until all that was published before is answered. What became of each its own promise tells. */
    flush(): Promise<void>;
    /** Takes no more; what waits is still delivered. */
    close(): Promise<void>;
}
