// Virtual time: clocks that stand until a test moves them, and processes that can be killed in between.

import { MemoryStore, type Change, type Platform } from "../../src/index.js";
import { Random } from "./random.js";

interface Timer {
  at: number;
  number: number;
  run: () => void;
}

/** When virtual time begins, by the wall clock. */
export const EPOCH = Date.parse("2026-01-01T00:00:00Z");

/** Time itself, and what is due in it. */
export class World {
  /** Since it began, in ms. */
  now = 0;
  /** What somebody has set the wall clock on by, in ms. */
  wallJump = 0;
  private timers: Timer[] = [];
  private number = 0;

  constructor(readonly random: Random) {}

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.now + Math.max(0, ms), number: this.number++, run };
    this.timers.push(timer);
    return () => void (this.timers = this.timers.filter((other) => other !== timer));
  }

  /** Ready after so many ms. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  /** Lets time pass, from one due moment to the next, in order; at each, everything happens that can. */
  async advance(ms: number): Promise<void> {
    const end = this.now + ms;
    for (;;) {
      await idle();
      const next = this.timers.reduce<Timer | undefined>((a, b) => (!a || before(b, a) ? b : a), undefined);
      if (!next || next.at > end) break;
      this.timers = this.timers.filter((timer) => timer !== next);
      this.now = Math.max(this.now, next.at);
      next.run();
    }
    this.now = end;
  }

  /** A process: what it is given stops working when it is killed. */
  process(fetch: Platform["fetch"], more: Partial<Platform> = {}): { platform: Platform; kill: () => void } {
    let isAlive = true;
    const never = new Promise<never>(() => {});
    const platform: Platform = {
      now: () => EPOCH + this.now + this.wallJump,
      monotonic: () => this.now + 12_345,
      after: (ms, run) => this.after(ms, () => isAlive && run()),
      random: () => this.random.next(),
      uuid: () => this.random.uuid(),
      fetch: async (url, init) => {
        const answer = await fetch(url, init).then((value) => ({ value }), (error: unknown) => ({ error }));
        if (!isAlive) return never;
        if ("error" in answer) throw answer.error;
        return answer.value;
      },
      wasUnsent: (error) => (error as { code?: string }).code === "ECONNREFUSED",
      keepalive: false,
      ...more,
    };
    return { platform, kill: () => void (isAlive = false) };
  }
}

/** A store whose writes of a killed process do nothing any more, and which can be made to fail. */
export class Disk extends MemoryStore {
  /** Bytes that it takes; a write past them fails as a whole. */
  quota = Infinity;
  /** Called before each write; throws to make it fail, or waits. */
  fault: (changes: readonly Change[]) => Promise<void> | void = () => {};
  writes = 0;

  override async write(changes: readonly Change[], isAlive = () => true): Promise<void> {
    this.writes += 1;
    await this.fault(changes);
    // Who died before it was begun has written nothing.
    if (!isAlive()) return new Promise(() => {});
    const bytes = new Map([...this.pairs].map(([key, value]) => [key, key.length + value.length]));
    for (const [key, value] of changes) bytes.set(key, value === undefined ? 0 : key.length + value.length);
    if ([...bytes.values()].reduce((a, b) => a + b, 0) > this.quota) {
      throw Object.assign(new Error("no room"), { name: "QuotaExceededError" });
    }
    await super.write(changes);
  }

  get contents(): Map<string, string> {
    return this.pairs;
  }
}

/** The disk as one process sees it, until it is killed. */
export function mount(disk: Disk): { store: Pick<Disk, "read" | "write">; unmount: () => void } {
  let isAlive = true;
  const never = new Promise<never>(() => {});
  return {
    store: {
      read: (prefix) => (isAlive ? disk.read(prefix) : never),
      write: (changes) => (isAlive ? disk.write(changes, () => isAlive) : never),
    },
    unmount: () => void (isAlive = false),
  };
}

/** Ready when nothing happens any more that needs no time. */
export async function idle(): Promise<void> {
  for (let round = 0; round < 6; round++) await new Promise((resolve) => setImmediate(resolve));
}

function before(a: Timer, b: Timer): boolean {
  return a.at < b.at || (a.at === b.at && a.number < b.number);
}
