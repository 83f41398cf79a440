// What a client takes from the world around it. Everything that a test wants to decide comes in through here.

/** Clocks, timers, chance, the network: the page's own, or a test's. */
export interface Platform {
  /** The wall clock, in ms since 1970; may jump. */
  now(): number;
  /** A clock that never goes back, in ms since some moment. */
  monotonic(): number;
  /**
   * Calls `run` once after so many ms; what it returns calls that off. A process may end before, unless somebody
   * `waits` for it.
   */
  after(ms: number, run: () => void, waits?: boolean): () => void;
  /** A number from [0, 1). */
  random(): number;
  /** A new id that nobody else has. */
  uuid(): string;
  /** As `globalThis.fetch`. */
  fetch(url: string, init: RequestInit): Promise<Response>;
  /** Whether a failed `fetch` is known to have sent nothing. Where that can't be told it is `false`. */
  wasUnsent(error: unknown): boolean;
  /** Packs a text as gzip; absent where it can't be done. */
  gzip?: ((text: string) => Promise<Uint8Array<ArrayBuffer>>) | undefined;
  /**
   * Takes the lock of this name, which one page at a time has: ready once it is taken, and what it returns gives
   * it back. Absent where there are none.
   */
  lock?: ((name: string, signal: AbortSignal) => Promise<() => void>) | undefined;
  /** A place for a short note that is written before the call returns, for the moment when a page ends. */
  notes?: Pick<Storage, "getItem" | "setItem" | "removeItem"> | undefined;
  /** Hands a body to the browser, which sends it even if the page ends; whether it took it. */
  beacon?: ((url: string, body: string) => boolean) | undefined;
  /** Whether `fetch` knows `keepalive`: a request that goes on when the page ends. */
  keepalive: boolean;
  /** Tells what happens to the page; what it returns ends that. */
  watch?: ((page: PageEvents) => () => void) | undefined;
}

/** What happens to a page. */
export interface PageEvents {
  /** It is out of sight, and may never be seen again. */
  hidden(): void;
  /** It ends, or is put aside. */
  ended(): void;
  /** It is there again, or the network is. */
  back(): void;
}

/** The page's own, or that of the process under Node. */
export function ambient(): Platform {
  return {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    after: (ms, run, waits) => {
      const timer: unknown = setTimeout(run, ms);
      // Under Node, a timer keeps the process alive unless it is told not to.
      if (!waits) (timer as { unref?: () => void }).unref?.();
      return () => clearTimeout(timer as number);
    },
    random: () => Math.random(),
    uuid,
    fetch: (url, init) => {
      const isOffline = typeof navigator !== "undefined" && navigator.onLine === false;
      // Who was offline from the start has sent nothing; who is offline now may have.
      const mark = (error: Error) => Promise.reject(isOffline ? Object.assign(error, { isOffline }) : error);
      return globalThis.fetch(url, init).catch(mark);
    },
    wasUnsent,
    gzip: typeof CompressionStream === "undefined" ? undefined : gzip,
    lock: typeof navigator !== "undefined" && navigator.locks ? lock : undefined,
    notes: localNotes(),
    beacon: typeof navigator !== "undefined" && "sendBeacon" in navigator ? sendBeacon : undefined,
    keepalive: typeof document !== "undefined" && "keepalive" in Request.prototype,
    watch: typeof document === "undefined" ? undefined : watch,
  };
}

/** Random, as RFC 9562 version 4. `crypto.randomUUID` is missing on pages that came over plain HTTP. */
function uuid(): string {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bits = crypto.getRandomValues(new Uint8Array(16));
  bits[6] = (bits[6]! & 0x0f) | 0x40;
  bits[8] = (bits[8]! & 0x3f) | 0x80;
  const hex = [...bits].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** A browser doesn't say why a request failed, except that it is offline; Node names the cause. */
function wasUnsent(error: unknown): boolean {
  const { isOffline, cause } = (error ?? {}) as { isOffline?: boolean; cause?: { code?: string } };
  const code = cause?.code ?? "";
  return isOffline === true || ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "ENETUNREACH", "EHOSTUNREACH"].includes(code);
}

async function gzip(text: string): Promise<Uint8Array<ArrayBuffer>> {
  const packed = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}

function lock(name: string, signal: AbortSignal): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const held = () => new Promise<void>((release) => resolve(release));
    navigator.locks.request(name, { signal }, held).catch(reject);
  });
}

function localNotes(): Storage | undefined {
  try {
    // Reading the property alone throws where a page may store nothing; Node warns about its own.
    return typeof document === "undefined" ? undefined : globalThis.localStorage;
  } catch {
    return undefined;
  }
}

function sendBeacon(url: string, body: string): boolean {
  // This media type alone needs no preflight, which a page that ends can't wait for.
  return navigator.sendBeacon(url, new Blob([body], { type: "text/plain" }));
}

function watch(page: PageEvents): () => void {
  const seen = () => (document.visibilityState === "hidden" ? page.hidden() : page.back());
  const ended = () => page.ended();
  const back = () => page.back();
  document.addEventListener("visibilitychange", seen);
  addEventListener("pagehide", ended);
  addEventListener("pageshow", back);
  addEventListener("online", back);
  return () => {
    document.removeEventListener("visibilitychange", seen);
    removeEventListener("pagehide", ended);
    removeEventListener("pageshow", back);
    removeEventListener("online", back);
  };
}
