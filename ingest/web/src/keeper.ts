// Keeps events in the store, behind the back of who sends, and takes over what pages that ended left there.
//
// Every client has a lane of its own, `<lane>/...`, held by a lock for as long as the page lives:
//   lanes/<lane>      that there is one, and its place among them: later ones have higher numbers
//   <lane>/e/<number> an event
//   <lane>/i          the request under way (an intent): after a crash, what it carried is in doubt
//   <lane>/losses     what no report has told yet
//   <lane>/session    the session that has not ended
// A lane whose lock is free is nobody's: the next client takes it over, and sends its events before its own. Two that
// take one over at the same time, where there are no locks, send its events twice; by their ids they count once.

import type { Stamp } from "./clock.js";
import type { Entry } from "./event.js";
import type { Platform } from "./platform.js";
import { decode, encode, mark, note, type Intent } from "./record.js";
import type { Change, Store } from "./store.js";

/** How long the store may keep a request waiting, in ms. */
const PATIENCE_MS = 2_000;
/** How long a start waits for the lanes of pages that are just ending, in ms. */
const TAKE_OVER_MS = 500;
/** After a failed write: when to try again, in ms. */
const AGAIN_MS = 5_000;

/** What an ended page left. */
export interface Legacy {
  readonly lane: string;
  entries: Entry[];
  /** Events that can't be read. */
  damaged: number;
  losses: unknown;
  session: unknown;
}

export class Keeper {
  /** Begins every key of this client's events. */
  readonly own: string;
  private readonly lane: string;
  private number = 0;
  /** Keys that have to be set or removed, in that order. */
  private readonly dirty = new Map<string, string | undefined>();
  private writing: Promise<void> | undefined;
  /** Keys of events that were never written. */
  private readonly fresh = new Set<string>();
  private scheduled = false;
  private isRegistered = false;
  /** This lane's place among all, once it is known; until then nothing is written. */
  private place: number | undefined;
  private isHanging = false;
  /** Whether there ever was a note for the end of the page. */
  private noted = false;
  /** What is wrong with the store now. */
  error: string | undefined;
  private readonly leaving = new AbortController();
  private readonly releases: (() => void)[] = [];

  constructor(
    private readonly platform: Platform,
    private readonly store: Store | undefined,
    private readonly name: string,
    private readonly delayMs: number,
  ) {
    this.lane = platform.uuid();
    this.own = `${this.lane}/e/`;
  }

  /** A key for an event that is to be stored; empty where nothing can be. */
  nextKey(): string {
    return this.store ? this.own + String(this.number++).padStart(12, "0") : "";
  }

  /** Events that have to be written yet. */
  get unstored(): number {
    return this.fresh.size;
  }

  /** Writes an event, that is new or has come into doubt. */
  put(entry: Entry): void {
    if (entry.key === "") return;
    if (!entry.doubt) this.fresh.add(entry.key);
    this.set(entry.key, encode(entry));
  }

  remove(entry: Entry): void {
    if (entry.key === "") return;
    this.fresh.delete(entry.key);
    this.set(entry.key, undefined);
  }

  /** Keeps a note of this client beside its events; `undefined` removes it. */
  note(name: "losses" | "session", value: unknown): void {
    this.set(`${this.lane}/${name}`, value === undefined ? undefined : JSON.stringify(value));
  }

  /** Notes what a request will carry that begins at `at`; ready when that stands in the store, or can't. */
  async intend(batch: readonly Entry[], at: Stamp): Promise<void> {
    const intents = this.intents(batch, at);
    if (intents.size === 0) return;
    for (const [lane, intent] of intents) this.set(`${lane}/i`, JSON.stringify(intent));
    await this.settle();
  }

  /** The same at the end of a page, when there is no time for the store. */
  intendNow(batch: readonly Entry[], at: Stamp): void {
    try {
      for (const [lane, intent] of this.intents(batch, at)) {
        this.platform.notes?.setItem(this.noteKey(lane), JSON.stringify(intent));
        this.noted = true;
      }
    } catch {
      // No room for a note: what it would have said is lost with it.
    }
  }

  /** The request is over, and what is in doubt has been put. */
  fulfil(batch: readonly Entry[]): void {
    for (const lane of new Set(batch.filter((entry) => entry.key !== "").map(laneOf))) {
      this.set(`${lane}/i`, undefined);
      if (this.noted) this.forget(lane);
    }
  }

  /** Removes everything that is stored, by whichever client; ready when it is gone. */
  async purge(): Promise<void> {
    this.dirty.clear();
    this.fresh.clear();
    if (!this.store) return;
    // What comes later, if the player changes his mind, stays.
    const later = this.nextKey();
    await this.settle();
    const pairs = await this.within(this.store.read(""), PATIENCE_MS);
    for (const [key] of pairs ?? []) {
      const isLater = key.startsWith(this.own) && key >= later;
      if (!key.startsWith("lanes/") && !isLater) this.set(key, undefined);
    }
    await this.settle();
  }

  /** Hands what ended pages left to `taken`, oldest first; ready when the start need not wait for more. */
  async takeOver(taken: (legacy: Legacy) => void): Promise<void> {
    if (!this.store) return;
    await this.within(this.lock(this.lane), PATIENCE_MS);
    const pairs = (await this.within(this.store.read("lanes/"), PATIENCE_MS)) ?? [];
    const places = new Map(pairs.map(([key, place]) => [key.slice("lanes/".length), Number(place) || 0]));
    this.place = Math.max(0, ...places.values()) + 1;
    this.schedule(this.delayMs);
    const early: Legacy[] = [];
    let isEarly = true;
    const hand = (legacy: Legacy) => {
      taken(legacy);
      this.taken(legacy);
    };
    const all = [...places.keys()].map(async (lane) => {
      const legacy = await this.take(lane);
      if (isEarly) early.push(legacy);
      else hand(legacy);
    });
    await this.within(Promise.all(all.map((one) => one.catch(() => {}))), TAKE_OVER_MS);
    isEarly = false;
    const place = ({ lane }: Legacy) => places.get(lane) ?? 0;
    for (const legacy of early.sort((a, b) => place(a) - place(b))) hand(legacy);
  }

  /** Ready when everything so far stands in the store, or it is clear that it can't. */
  async settle(): Promise<void> {
    if (!this.store || this.isHanging || this.place === undefined) return;
    const writing = this.flush();
    await this.within(writing, PATIENCE_MS);
    if (this.writing !== writing) return;
    // The store doesn't answer: nobody waits for it until it does.
    this.isHanging = true;
    void writing.finally(() => (this.isHanging = false));
  }

  /** Gives the lanes back: the events in them are for whoever comes next. */
  async close(): Promise<void> {
    await this.settle();
    this.leaving.abort();
    for (const release of this.releases) release();
    this.store?.close?.();
  }

  private async take(lane: string): Promise<Legacy> {
    await this.lock(lane);
    const pairs = await this.store!.read(`${lane}/`);
    const notes = new Map(pairs.filter(([key]) => !key.startsWith(`${lane}/e/`)));
    const legacy: Legacy = {
      lane, entries: [], damaged: 0,
      losses: note(notes.get(`${lane}/losses`)),
      session: note(notes.get(`${lane}/session`)),
    };
    for (const [key, value] of pairs) {
      if (notes.has(key)) continue;
      const entry = decode(key, value);
      if (entry) legacy.entries.push(entry);
      else legacy.damaged += 1;
      if (!entry) this.set(key, undefined);
    }
    mark(legacy.entries, note<Intent>(notes.get(`${lane}/i`)));
    mark(legacy.entries, note<Intent>(this.platform.notes?.getItem(this.noteKey(lane))));
    return legacy;
  }

  /** What a lane's notes said is this client's matter now; that it is, is written together with its own. */
  private taken({ lane, entries }: Legacy): void {
    for (const entry of entries) if (entry.doubt) this.put(entry);
    for (const name of ["i", "losses", "session"]) this.set(`${lane}/${name}`, undefined);
    this.forget(lane);
    // Without locks the lane may have a living owner, who goes on to use it.
    if (entries.length === 0 && this.platform.lock) this.set(`lanes/${lane}`, undefined);
  }

  private intents(batch: readonly Entry[], { time, raw }: Stamp): Map<string, Intent> {
    const intents = new Map<string, Intent>();
    for (const entry of batch) {
      if (entry.key === "" || entry.doubt) continue;
      const intent = intents.get(laneOf(entry));
      if (intent) intent.to = entry.key;
      else intents.set(laneOf(entry), { time, raw, from: entry.key, to: entry.key });
    }
    return intents;
  }

  private async lock(lane: string): Promise<void> {
    if (!this.platform.lock) return;
    this.releases.push(await this.platform.lock(`killfeed/${this.name}/${lane}`, this.leaving.signal));
  }

  private set(key: string, value: string | undefined): void {
    if (!this.store) return;
    // What changes last is written last.
    this.dirty.delete(key);
    this.dirty.set(key, value);
    this.schedule(this.delayMs);
  }

  private schedule(ms: number): void {
    if (this.scheduled || this.writing || this.place === undefined || this.dirty.size === 0) return;
    this.scheduled = true;
    this.platform.after(ms, () => {
      this.scheduled = false;
      if (!this.isHanging) void this.flush();
    });
  }

  private flush(): Promise<void> {
    return (this.writing ??= this.write().then((isWhole) => {
      this.writing = undefined;
      if (this.dirty.size > 0) this.schedule(isWhole ? this.delayMs : AGAIN_MS);
    }));
  }

  /** Writes until nothing is left; says whether it came so far. */
  private async write(): Promise<boolean> {
    let isWhole = true;
    while (this.dirty.size > 0 && isWhole) {
      const changes: Change[] = [...this.dirty];
      this.dirty.clear();
      if (!this.isRegistered) changes.unshift([`lanes/${this.lane}`, String(this.place)]);
      isWhole = await this.writeAll(changes).then(() => true, (error: unknown) => {
        this.error = String(error);
        return this.writeSome(changes);
      });
      if (isWhole) this.error = undefined;
    }
    return isWhole;
  }

  /** After a failure: makes room first, then writes as much as there is room for; the rest waits. */
  private async writeSome(changes: readonly Change[]): Promise<boolean> {
    const isRemoval = ([key, value]: Change) => value === undefined && isEvent(key);
    const removals = changes.filter(isRemoval);
    const rest = [...(removals.length > 0 ? [removals] : []), ...changes.filter((c) => !isRemoval(c)).map((c) => [c])];
    try {
      for (; rest.length > 0; rest.shift()) await this.writeAll(rest[0]!);
      return true;
    } catch {
      for (const [key, value] of rest.flat()) if (!this.dirty.has(key)) this.dirty.set(key, value);
      return false;
    }
  }

  private async writeAll(changes: readonly Change[]): Promise<void> {
    await this.store!.write(changes);
    this.isRegistered = true;
    for (const [key] of changes) this.fresh.delete(key);
  }

  private forget(lane: string): void {
    try {
      this.platform.notes?.removeItem(this.noteKey(lane));
    } catch {
      // Then it stays, and names keys that no event has.
    }
  }

  private noteKey(lane: string): string {
    return `killfeed/${this.name}/${lane}/i`;
  }

  /** What a promise comes to; `undefined` if it fails, or takes longer. */
  private within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
    return new Promise((resolve) => {
      const stop = this.platform.after(ms, () => resolve(undefined));
      promise.then(resolve, () => resolve(undefined)).finally(stop);
    });
  }
}

function laneOf({ key }: Entry): string {
  return key.slice(0, key.indexOf("/"));
}

function isEvent(key: string): boolean {
  return key.includes("/e/");
}
