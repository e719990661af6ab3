// The last id over reloads. Storage that is blocked, full or absent is as good as none: nothing is kept then.

/** Where the last id is kept. */
export interface Remember {
  readonly key: string;
  /** Default: the tab's own `sessionStorage`. Asked once; it may throw. */
  readonly storage?: (() => Pick<Storage, 'getItem' | 'setItem'>) | undefined;
}

/** Storage is slow: at ten thousand events a second not each id is written. What comes again after a crash is no more. */
const WRITE_MS_MIN = 250;

/** An id that is kept under a name. */
export class Memory {
  readonly #key: string;
  readonly #storage: Pick<Storage, 'getItem' | 'setItem'>;
  #id = '';
  #written = '';
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(key: string, storage: Pick<Storage, 'getItem' | 'setItem'>) {
    this.#key = `tidings:${key}`;
    this.#storage = storage;
    this.#written = storage.getItem(this.#key) ?? '';
    globalThis.addEventListener?.('pagehide', this.#write);
  }

  get(): string {
    return this.#written;
  }

  set(id: string): void {
    this.#id = id;
    if (id !== this.#written) this.#timer ??= setTimeout(this.#write, WRITE_MS_MIN);
  }

  end(): void {
    globalThis.removeEventListener?.('pagehide', this.#write);
    this.#write();
  }

  #write = (): void => {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#id === '' || this.#id === this.#written) return;
    try {
      this.#storage.setItem(this.#key, this.#id);
      this.#written = this.#id;
    } catch {
      // Full or forbidden: the page works, it only does not remember.
    }
  };
}

export function remembered(remember: string | Remember | undefined): Memory | undefined {
  if (remember === undefined) return undefined;
  const { key, storage = () => sessionStorage } = typeof remember === 'string' ? { key: remember } : remember;
  try {
    return new Memory(key, storage());
  } catch {
    return undefined;
  }
}
