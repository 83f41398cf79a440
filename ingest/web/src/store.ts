// Where events wait for the next start: an ordered map of short texts, and the three that come along.

/**
 * Where a client keeps what must outlive the page: an ordered map of texts. A studio may bring its own, for
 * a launcher's disk for example; every method may be slow, and each may fail.
 */
export interface Store {
  /** All pairs whose key begins with `prefix`, in the order of their keys (by UTF-16 code units). */
  read(prefix: string): Promise<[key: string, value: string][]>;
  /**
   * Sets values, and removes where the value is `undefined`: all or none. Rejects if they could not be kept;
   * an error named `QuotaExceededError` says that there is no room.
   */
  write(changes: readonly Change[]): Promise<void>;
  /** Lets go of what it holds. */
  close?(): void;
}

/** A pair to set, or a key to remove. */
export type Change = readonly [key: string, value: string | undefined];

/** Keeps everything until the page ends. */
export class MemoryStore implements Store {
  protected readonly pairs = new Map<string, string>();

  async read(prefix: string): Promise<[string, string][]> {
    return [...this.pairs].filter(([key]) => key.startsWith(prefix)).sort(byKey);
  }

  async write(changes: readonly Change[]): Promise<void> {
    for (const [key, value] of changes) {
      if (value === undefined) this.pairs.delete(key);
      else this.pairs.set(key, value);
    }
  }
}

/** In a database of the browser; as much as the browser grants to the page's origin. */
export class IndexedDbStore implements Store {
  private opened: Promise<IDBDatabase> | undefined;

  /** Opens the database `name` when it is needed, and makes it if there is none. */
  constructor(private readonly name: string) {}

  async read(prefix: string): Promise<[string, string][]> {
    const table = (await this.database()).transaction(TABLE, "readonly").objectStore(TABLE);
    const range = IDBKeyRange.bound(prefix, `${prefix}\uffff`);
    const [keys, values] = await Promise.all([done(table.getAllKeys(range)), done(table.getAll(range))]);
    return keys.map((key, place) => [String(key), String(values[place])]);
  }

  async write(changes: readonly Change[]): Promise<void> {
    const transaction = (await this.database()).transaction(TABLE, "readwrite");
    const table = transaction.objectStore(TABLE);
    const written = new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error ?? new Error("the transaction was aborted"));
    });
    try {
      for (const [key, value] of changes) {
        if (value === undefined) table.delete(key);
        else table.put(value, key);
      }
    } catch (error) {
      // Else what came before would be kept.
      written.catch(() => {});
      transaction.abort();
      throw error;
    }
    return written;
  }

  close(): void {
    void this.opened?.then((database) => database.close());
  }

  private database(): Promise<IDBDatabase> {
    return (this.opened ??= this.open().catch((error: unknown) => {
      this.opened = undefined;
      throw error;
    }));
  }

  private async open(): Promise<IDBDatabase> {
    const request = indexedDB.open(this.name, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(TABLE);
    const database = await done(request);
    // Somebody deletes the database, or the browser lost it: whoever waits need not wait for this page.
    database.onversionchange = database.onclose = () => {
      database.close();
      this.opened = undefined;
    };
    return database;
  }
}

/** In `localStorage`, some 5 MB an origin: for browsers that give a page no database. */
export class LocalStore implements Store {
  constructor(private readonly name: string, private readonly storage: Storage = localStorage) {}

  async read(prefix: string): Promise<[string, string][]> {
    const start = this.key(prefix);
    const pairs: [string, string][] = [];
    for (let place = 0; place < this.storage.length; place++) {
      const key = this.storage.key(place);
      if (!key?.startsWith(start)) continue;
      pairs.push([key.slice(this.key("").length), this.storage.getItem(key) ?? ""]);
    }
    return pairs.sort(byKey);
  }

  async write(changes: readonly Change[]): Promise<void> {
    const before: Change[] = [];
    try {
      // Removals first: they make room.
      for (const [key, value] of [...changes].sort((a, b) => Number(a[1] !== undefined) - Number(b[1] !== undefined))) {
        before.push([key, this.storage.getItem(this.key(key)) ?? undefined]);
        this.set(key, value);
      }
    } catch (error) {
      for (const [key, value] of before.reverse()) this.set(key, value);
      throw error;
    }
  }

  private set(key: string, value: string | undefined): void {
    if (value === undefined) this.storage.removeItem(this.key(key));
    else this.storage.setItem(this.key(key), value);
  }

  private key(key: string): string {
    return `${this.name}/${key}`;
  }
}

/** In a database, and where the browser gives the page none, in `localStorage`. */
export class BrowserStore implements Store {
  private readonly local: LocalStore | undefined;
  private readonly database: IndexedDbStore;
  private hasDatabase: boolean | undefined;

  constructor(name: string) {
    this.database = new IndexedDbStore(name);
    this.local = localStore(name);
  }

  /** From both: what a start without a database stored is there at the next one, too. */
  async read(prefix: string): Promise<[string, string][]> {
    const stored = (await this.local?.read(prefix)) ?? [];
    if (!(await this.canUseDatabase())) return stored;
    return [...(await this.database.read(prefix)), ...stored].sort(byKey);
  }

  async write(changes: readonly Change[]): Promise<void> {
    if (!(await this.canUseDatabase())) return this.local?.write(changes) ?? Promise.reject(new Error("no storage"));
    await this.database.write(changes);
    await this.local?.write(changes.filter(([, value]) => value === undefined));
  }

  close(): void {
    this.database.close();
  }

  /** Asked once: one that breaks later is an error of its own, and may come back. */
  private async canUseDatabase(): Promise<boolean> {
    if (this.hasDatabase !== undefined) return this.hasDatabase;
    if (typeof indexedDB === "undefined") return (this.hasDatabase = false);
    return (this.hasDatabase = await this.database.read("-").then(() => true, () => false));
  }
}

function localStore(name: string): LocalStore | undefined {
  try {
    return new LocalStore(name);
  } catch {
    return undefined;
  }
}

const TABLE = "pairs";

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function byKey([a]: [string, string], [b]: [string, string]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
