/** Where the last id is kept. */
export interface Remember {
    readonly key: string;
    /** Default: the tab's own `sessionStorage`. Asked once; it may throw. */
    readonly storage?: (() => Pick<Storage, 'getItem' | 'setItem'>) | undefined;
}
/** An id that is kept under a name. */
export declare class Memory {
    #private;
    constructor(key: string, storage: Pick<Storage, 'getItem' | 'setItem'>);
    get(): string;
    set(id: string): void;
    end(): void;
}
export declare function remembered(remember: string | Remember | undefined): Memory | undefined;
