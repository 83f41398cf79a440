// The events that are held, in order, within bounds. Pure: it knows no clock, no store and no network.

import type { Entry } from "./event.js";

/** What a queue may hold. Events that stand in the store are bound by its bytes, others by their own number and bytes. */
export interface Bounds {
  queueEvents: number;
  queueBytes: number;
  storeBytes: number;
  onFull: "oldest" | "newest";
}

/** The events of the request under way are the first `busy` ones. */
export class Queue {
  private items: Entry[] = [];
  private busy = 0;
  /** Events and bytes in all, reports included. */
  private totalBytes = 0;
  private memoryEvents = 0;
  private memoryBytes = 0;
  private storedBytes = 0;

  /** `dropped` hears of each event that had to go for room. */
  constructor(private readonly bounds: Bounds, private readonly dropped: (entry: Entry) => void) {}

  get length(): number {
    return this.items.length;
  }

  get bytes(): number {
    return this.totalBytes;
  }

  /** Of these, those of events that are stored. */
  get bytesToStore(): number {
    return this.storedBytes;
  }

  /** The events that are held, the oldest first. */
  get entries(): readonly Entry[] {
    return this.items;
  }

  /** Adds an event behind all others; says whether it stayed. */
  push(entry: Entry): boolean {
    this.items.push(entry);
    this.weigh(entry, 1);
    const newest = this.bounds.onFull === "newest";
    while (this.isOver(entry)) {
      if (this.drop(newest ? this.items.length - 1 : this.oldest(entry)) === entry) return false;
    }
    return true;
  }

  /** Takes events of an earlier run in, before those of this one, whose keys begin with `own`. */
  adopt(entries: readonly Entry[], own: string): void {
    let place = this.busy;
    while (place < this.items.length && !this.isOwn(this.items[place]!, own)) place += 1;
    this.items = [...this.items.slice(0, place), ...entries, ...this.items.slice(place)];
    for (const entry of entries) this.weigh(entry, 1);
    const stored = entries[0];
    while (stored && this.isOver(stored)) {
      const victim = this.bounds.onFull === "newest" ? this.newest(stored) : this.oldest(stored);
      if (victim < 0) return;
      this.drop(victim);
    }
  }

  /** The first events that fit into a request together, and at least one: from now on they are under way. */
  take(eventsMax: number, bytesMax: number): Entry[] {
    let bytes = 0;
    let events = 0;
    for (const entry of this.items) {
      bytes += entry.bytes;
      if (events >= eventsMax || (events > 0 && bytes > bytesMax)) break;
      events += 1;
    }
    this.busy = events;
    return this.items.slice(0, events);
  }

  /** The request is over: what it carried waits again, except `gone`. */
  release(gone: ReadonlySet<Entry>): void {
    this.busy = 0;
    this.remove(gone);
  }

  /** Takes events out, wherever they are, but not out of the request under way. */
  remove(gone: ReadonlySet<Entry>): void {
    if (gone.size === 0) return;
    this.items = this.items.filter((entry, place) => {
      const stays = place < this.busy || !gone.has(entry);
      if (!stays) this.weigh(entry, -1);
      return stays;
    });
  }

  /** Those that are in no request. */
  get idle(): Entry[] {
    return this.items.slice(this.busy);
  }

  private drop(place: number): Entry {
    const [entry] = this.items.splice(place, 1) as [Entry];
    this.weigh(entry, -1);
    this.dropped(entry);
    return entry;
  }

  private weigh(entry: Entry, sign: 1 | -1): void {
    const bytes = sign * entry.bytes;
    this.totalBytes += bytes;
    // A report is one, and small; it must not fall to what it tells of.
    if (entry.report) return;
    if (entry.key !== "") {
      this.storedBytes += bytes;
    } else {
      this.memoryEvents += sign;
      this.memoryBytes += bytes;
    }
  }

  private isOver(entry: Entry): boolean {
    if (entry.report) return false;
    if (entry.key !== "") return this.storedBytes > this.bounds.storeBytes;
    return this.memoryEvents > this.bounds.queueEvents || this.memoryBytes > this.bounds.queueBytes;
  }

  private isLike(entry: Entry, other: Entry): boolean {
    return !other.report && (entry.key === "") === (other.key === "");
  }

  /** Where the oldest of its kind is that is in no request; -1 if there is none. */
  private oldest(entry: Entry): number {
    for (let place = this.busy; place < this.items.length; place++) {
      if (this.isLike(entry, this.items[place]!)) return place;
    }
    return -1;
  }

  private newest(entry: Entry): number {
    for (let place = this.items.length - 1; place >= this.busy; place--) {
      if (this.isLike(entry, this.items[place]!)) return place;
    }
    return -1;
  }

  private isOwn(entry: Entry, own: string): boolean {
    return entry.key === "" || entry.key.startsWith(own);
  }
}
