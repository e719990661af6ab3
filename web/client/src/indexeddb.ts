// A sink into IndexedDB: what a stream says is kept in the browser, and read there off-line. Id and data are written in one
// transaction, so what is kept and where the stream resumes always agree; the place is read in that transaction, too, so
// that two tabs that write the same store keep each event once.

import { Connection, type ConnectionInit, SourceError, patient, resolve } from './index.js';
import { compare } from './position.js';

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
export class SinkError extends Error {
  override readonly name = 'SinkError';
  constructor(
    readonly code: 'unavailable' | 'full' | 'failed',
    message: string,
    cause?: unknown,
  ) {
    super(message, { cause });
  }
}

/** Events of one transaction. While it is written, the stream waits. */
const BATCH_EVENTS_MAX = 1_000;

export class IndexedDbSink {
  readonly #init: SinkInit;
  readonly #database: IDBDatabase;
  readonly #rows: string;
  readonly #places: string;
  #lastEventId = '';
  /** Writes follow upon one another. */
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(database: IDBDatabase, init: SinkInit, rows: string) {
    this.#database = database;
    this.#init = init;
    this.#rows = rows;
    this.#places = `${rows} place`;
    // Another tab opens a later version of the database: this one must not stand in its way.
    database.onversionchange = () => database.close();
  }

  /** Opens the store, and makes it if it is not there. @throws SinkError */
  static async open(init: SinkInit): Promise<IndexedDbSink> {
    const store = init.store ?? 'events';
    let database: IDBDatabase;
    try {
      database = await opened(init.database, undefined, store);
      if (!database.objectStoreNames.contains(store)) {
        const { version } = database;
        database.close();
        database = await opened(init.database, version + 1, store);
      }
    } catch (cause) {
      throw new SinkError('unavailable', `IndexedDB cannot be used here: ${String(cause)}`, cause);
    }
    const sink = new IndexedDbSink(database, init, store);
    const place = await sink.#transact('readonly', (_, places) => places.get('place'));
    sink.#lastEventId = (place as Place | undefined)?.lastEventId ?? '';
    return sink;
  }

  /** All up to here is kept: where a stream resumes. */
  get lastEventId(): string {
    return this.#lastEventId;
  }

  /** Keeps these, in order, and that all up to `lastEventId` is kept. Resolves when they are. @throws SinkError */
  write(events: readonly SinkEvent[], lastEventId = events[events.length - 1]?.id ?? ''): Promise<void> {
    const work = this.#tail.then(() => this.#write(events, lastEventId));
    this.#tail = work.catch(() => {});
    return work;
  }

  /** The rows written last, newest first. */
  async newest(rowsMax: number): Promise<Row[]> {
    const rows: Row[] = [];
    await this.#transact('readonly', (store) => {
      const request = store.index('order').openCursor(null, 'prev');
      request.onsuccess = () => {
        const cursor = request.result;
        if (!cursor || rows.length >= rowsMax) return;
        rows.push(cursor.value as Row);
        if (rows.length < rowsMax) cursor.continue();
      };
      return request;
    });
    return rows;
  }

  async get(key: IDBValidKey): Promise<Row | undefined> {
    return (await this.#transact('readonly', (store) => store.get(key))) as Row | undefined;
  }

  async count(): Promise<number> {
    return (await this.#transact('readonly', (store) => store.count())) as number;
  }

  /** Forgets all rows; the place stays. */
  async clear(): Promise<void> {
    await this.#transact('readwrite', (store) => store.clear());
  }

  close(): void {
    this.#database.close();
  }

  /** Keeps what this stream says, from where the store stands. The stream waits while a transaction is written. */
  follow(url: string | URL, init: FollowInit = {}): Connection {
    const { types, onGap, onState, onWritten } = init;
    let batch: SinkEvent[] = [];
    let lastEventId = this.#lastEventId;
    let writing: Promise<void> | undefined;
    let isEnded = false;
    const write = async (): Promise<void> => {
      for (let written = this.#lastEventId; batch.length > 0 || lastEventId !== written; ) {
        const events = batch;
        batch = [];
        written = lastEventId;
        await this.write(events, written);
        if (compare(this.#lastEventId, written) === undefined) {
          // Another tab went on in a later life of the log: from there.
          batch = [];
          lastEventId = written = this.#lastEventId;
          connection.reconnectNow(lastEventId);
        }
        onWritten?.(events.length);
      }
      writing = undefined;
    };
    const begin = (): Promise<void> => {
      writing ??= Promise.resolve().then(write);
      // Whoever awaits it is told; so is `onState`, in any case.
      writing.catch((cause: unknown) => {
        if (isEnded) return;
        isEnded = true;
        connection.close();
        onState?.(2, new SourceError('handler', `what came could not be kept: ${String(cause)}`, { cause }));
      });
      return writing;
    };
    const connection = new Connection(resolve(url), { ...patient, ...init, lastEventId: this.#lastEventId || init.lastEventId }, {
      open: () => onState?.(1),
      item: (item) => {
        if (item.kind !== 'event' && item.kind !== 'id') return undefined;
        if (item.kind === 'event' && item.type === 'tidings.gap') {
          // What came before it is written first, and where it leads to last.
          return begin()
            .then(() => onGap?.(item))
            .then(() => ((lastEventId = item.id), begin()));
        }
        if (item.kind === 'event' && (types?.includes(item.type) ?? isKept(item.type))) batch.push(item);
        lastEventId = item.id;
        const work = begin();
        return batch.length >= BATCH_EVENTS_MAX ? work : undefined;
      },
      lost: (error, afterMs) => onState?.(0, error, afterMs),
      closed: (error) => {
        if (isEnded) return;
        isEnded = true;
        onState?.(2, error);
      },
    });
    return connection;
  }

  async #write(events: readonly SinkEvent[], lastEventId: string): Promise<void> {
    const { key, value = (event: SinkEvent) => event.data, rowsMax = 10_000 } = this.#init;
    // Whatever the page's own functions throw, they throw before the transaction.
    const rows = events.map((event) => ({ event, key: key?.(event), value: value(event) }));
    let place: Place = { lastEventId: '', order: 0 };
    await this.#transact('readwrite', (store, places) => {
      const request = places.get('place');
      request.onsuccess = () => {
        place = (request.result as Place | undefined) ?? place;
        // Nobody can say whether these come before or after what another tab has written meanwhile.
        if (place.lastEventId !== this.#lastEventId && compare(place.lastEventId || this.#lastEventId, lastEventId) === undefined) return;
        let { order } = place;
        for (const row of rows) {
          // Another tab was here, and has it.
          if ((compare(row.event.id, place.lastEventId) ?? 1) <= 0) continue;
          if (key && row.key === undefined) continue;
          if (key && row.event.type === 'tidings.tombstone') {
            store.delete(row.key as IDBValidKey);
            continue;
          }
          order += 1;
          const { id, type } = row.event;
          store.put({ key: row.key ?? order, order, id, type, value: row.value } satisfies Row);
        }
        const isAhead = (compare(place.lastEventId, lastEventId) ?? -1) > 0;
        place = { lastEventId: isAhead || lastEventId === '' ? place.lastEventId : lastEventId, order };
        places.put(place, 'place');
        if (order > 0) this.#trim(store, rowsMax);
      };
      return request;
    });
    this.#lastEventId = place.lastEventId;
  }

  #trim(store: IDBObjectStore, rowsMax: number): void {
    const counted = store.count();
    counted.onsuccess = () => {
      let excess = counted.result - rowsMax;
      if (excess <= 0) return;
      const oldest = store.index('order').openCursor();
      oldest.onsuccess = () => {
        const cursor = oldest.result;
        if (!cursor || excess <= 0) return;
        excess -= 1;
        cursor.delete();
        cursor.continue();
      };
    };
  }

  /** Resolves with the result of the request that `work` returns, when the transaction is complete. */
  #transact(mode: IDBTransactionMode, work: (rows: IDBObjectStore, places: IDBObjectStore) => IDBRequest): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const fail = (cause: unknown) => {
        const isFull = cause instanceof DOMException && cause.name === 'QuotaExceededError';
        const message = isFull ? 'no space is left for IndexedDB' : `IndexedDB failed: ${String(cause)}`;
        reject(new SinkError(isFull ? 'full' : 'failed', message, cause));
      };
      try {
        const transaction = this.#database.transaction([this.#rows, this.#places], mode);
        const request = work(transaction.objectStore(this.#rows), transaction.objectStore(this.#places));
        transaction.oncomplete = () => resolve(request.result);
        transaction.onabort = () => fail(transaction.error ?? request.error);
      } catch (cause) {
        fail(cause);
      }
    });
  }
}

interface Place {
  readonly lastEventId: string;
  readonly order: number;
}

const isKept = (type: string): boolean => !type.startsWith('tidings.') || type === 'tidings.tombstone';

function opened(name: string, version: number | undefined, store: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, version);
    request.onupgradeneeded = () => {
      const database = request.result;
      if (database.objectStoreNames.contains(store)) return;
      database.createObjectStore(store, { keyPath: 'key' }).createIndex('order', 'order');
      database.createObjectStore(`${store} place`);
    };
    request.onblocked = () => reject(new Error('another tab holds an older version of the database open'));
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('it did not open'));
  });
}
