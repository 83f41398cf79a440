// The client: what a game calls.

import { Timeline, type Stamp } from "./clock.js";
import { complete, lineBytes, LOSS_TYPE, write, type Common, type Entry, type Event } from "./event.js";
import { Keeper, type Legacy } from "./keeper.js";
import { Losses, type Reason } from "./losses.js";
import { check, type Options, type Settings } from "./options.js";
import { ambient, type Platform } from "./platform.js";
import { Queue } from "./queue.js";
import { Remote } from "./remote.js";
import { Sender } from "./sender.js";
import {
  readSession, SESSION_END, SESSION_NOTE_MS, SESSION_START, sessionEnd, sessionStart, type Session,
} from "./session.js";
import { BrowserStore } from "./store.js";

/** How things stand, for a debug overlay. At any moment sent + recovered = delivered + lost + pending. */
export interface Stats {
  /** Events given to `send`, and those that begin and end sessions. */
  sent: number;
  /** Events that an earlier run left in the store, damaged ones included. */
  recovered: number;
  /** Events that the server took. */
  delivered: number;
  /** Of these, those that it has on every replica: acknowledged, as the server uses the word. */
  acknowledged: number;
  /** Events that were not delivered and never will be, by reason; what never happened is missing. */
  lost: Partial<Record<Reason, number>>;
  /** Events held: in memory, in the store, or under way. */
  pending: number;
  /** Of these, those in the store; and those that are to be stored, and are not yet. */
  stored: number;
  unstored: number;
  /** Bytes of the lines of all that is held, and of those that are to be stored. */
  memoryBytes: number;
  storeBytes: number;
  /** Requests that ended, one way or other; of these, those after which something had to be sent again. */
  requests: number;
  failures: number;
  /** Bytes of their bodies as they went over the wire. */
  bodyBytes: number;
  /** How long the last request took, in ms. */
  roundTripMs: number | undefined;
  /** Whether only probes go, after many failures in a row. */
  circuitOpen: boolean;
  /** Whether the server's configuration has been read. */
  configured: boolean;
  /** What went wrong last with a request. */
  lastError: string | undefined;
  /** What is wrong with the store now. */
  storeError: string | undefined;
}

export class Client {
  private readonly settings: Settings;
  private readonly platform: Platform;
  private readonly beforeSend: Options["beforeSend"];
  private readonly timeline: Timeline;
  private readonly remote: Remote;
  private readonly losses: Losses;
  private readonly queue: Queue;
  private readonly keeper: Keeper;
  private readonly sender: Sender;
  private readonly common: Common = { attributes: {}, data: {} };
  private readonly counts = { sent: 0, recovered: 0, delivered: 0, acknowledged: 0, requests: 0, failures: 0 };
  private roundTripMs: number | undefined;
  private lastError: string | undefined;
  private readonly waiting = new Set<() => void>();
  private readonly unwatch: () => void;
  private session: Session | undefined;
  private hasConsent: boolean;
  private isClosed = false;
  private reporting: (() => void) | undefined;
  private noting: (() => void) | undefined;

  /** Starts a client. Throws a `RangeError` if a setting is out of its limits; nothing else ever throws. */
  constructor(options: Options) {
    this.settings = check(options);
    const { settings } = this;
    this.platform = options.platform ?? ambient();
    this.beforeSend = options.beforeSend;
    this.hasConsent = settings.consent;
    this.timeline = new Timeline(this.platform);
    const headers: Record<string, string> = options.key ? { authorization: `Bearer ${options.key}` } : {};
    this.remote = new Remote(this.platform, this.timeline, settings, headers);
    const { store } = options;
    const name = typeof store === "string" ? store : "";
    const kept = typeof store === "string" ? new BrowserStore(`killfeed-${store}`) : store;
    this.keeper = new Keeper(this.platform, kept, name, settings.storeTimeMs);
    this.losses = new Losses(() => this.lossChanged());
    this.queue = new Queue(settings, (entry) => this.drop(entry, entry.key === "" ? "queue_full" : "disk_full"));
    const outcomes = {
      accepted: (entry: Entry) => void (entry.report || this.counts.delivered++),
      durable: (entry: Entry) => void (entry.report || (this.counts.delivered++, this.counts.acknowledged++)),
      refused: (entry: Entry) => this.drop(entry, "refused"),
      expired: (entry: Entry) => {
        this.drop(entry, "expired");
        this.notify();
      },
      settled: (failed: boolean, error: string | undefined, began: Stamp) => this.settled(failed, error, began),
    };
    this.sender = new Sender(
      settings, headers, this.platform, this.timeline, this.remote, this.keeper, this.queue, outcomes,
    );
    this.unwatch = this.platform.watch?.({
      hidden: () => this.hasConsent && this.sender.last(false),
      ended: () => this.hasConsent && this.sender.last(true),
      back: () => this.sender.retryNow(),
    }) ?? (() => {});
    void this.start();
  }

  /**
   * Takes an event, to be sent with others; never blocks and never throws. Returns its id, which stays the same
   * however often it is sent; nothing if the event is lost at once, which {@link stats} counts with the reason.
   */
  send(event: Event): string | undefined {
    return this.take(event, this.platform.uuid());
  }

  /** Sets an attribute that every event gets unless it has its own; `undefined` takes it away. */
  setAttribute(name: string, value: string | undefined): void {
    if (value === undefined) delete this.common.attributes[name];
    else this.common.attributes[name] = String(value);
  }

  /** The same for a member of every event's payload, where that is an object or none. */
  setData(name: string, value: unknown): void {
    if (value === undefined) delete this.common.data[name];
    else this.common.data[name] = value;
  }

  /** The player agrees, or no longer: then what is held, in memory and store, is gone, and nothing is kept or sent. */
  setConsent(consent: boolean): void {
    this.hasConsent = consent;
    if (consent) this.lossChanged();
    else this.purge();
  }

  /**
   * Begins a session: sends `session.start`, and every event from now on has its `sessionid`. Ends the one before. With a
   * store, the end of a session that a page which died could not send is sent at the next start. Returns its id.
   */
  startSession(player = ""): string {
    this.endSession();
    const began = this.timeline.stamp();
    this.session = { id: this.platform.uuid(), player, began, last: began };
    this.send(sessionStart(this.session));
    this.noteSession();
    return this.session.id;
  }

  /** Ends the session, if there is one: sends `session.end`. */
  endSession(): void {
    const { session } = this;
    if (!session) return;
    session.last = this.timeline.stamp();
    this.send(sessionEnd(session, false));
    this.session = undefined;
    if (this.hasConsent) this.keeper.note("session", undefined);
  }

  /**
   * Sends what is held without waiting for more; never shortens a wait after a failure. Ready when every event sent
   * before is delivered or lost, with `true`; or after so many ms, with `false`.
   */
  flush(timeoutMs = 10_000): Promise<boolean> {
    this.report();
    const before = new Set(this.queue.entries);
    for (const entry of before) entry.due = -Infinity;
    this.sender.wake();
    return this.until(() => !this.queue.entries.some((entry) => before.has(entry)), timeoutMs);
  }

  /**
   * Ends the session, flushes, and stops: what is left goes to the store, and with the next start; without a store it is
   * lost as `closed`. Says whether nothing was left.
   */
  async close(timeoutMs = 2_000): Promise<boolean> {
    if (this.isClosed) return this.queue.length === 0;
    this.endSession();
    const flushed = this.flush(timeoutMs);
    this.isClosed = true;
    const isEmpty = await flushed;
    this.unwatch();
    await this.sender.stop();
    const left = this.queue.entries.filter((entry) => entry.key === "");
    this.queue.remove(new Set(left));
    for (const entry of left) this.shelve(entry);
    this.reporting?.();
    this.noteLosses();
    await this.keeper.close();
    return isEmpty;
  }

  /** What became of events so far. */
  stats(): Stats {
    const held = this.queue.entries.filter((entry) => !entry.report);
    const { unstored } = this.keeper;
    return {
      ...this.counts,
      lost: { ...this.losses.total },
      pending: held.length,
      stored: Math.max(0, held.filter(({ key }) => key !== "").length - unstored),
      unstored,
      memoryBytes: this.queue.bytes,
      storeBytes: this.queue.bytesToStore,
      bodyBytes: this.sender.bodyBytes,
      roundTripMs: this.roundTripMs,
      circuitOpen: this.sender.isOpen,
      configured: this.remote.isKnown,
      lastError: this.lastError,
      storeError: this.keeper.error,
    };
  }

  private async start(): Promise<void> {
    if (this.hasConsent) void this.remote.refresh();
    await this.keeper.takeOver((legacy) => this.takeOver(legacy));
    this.sender.start();
  }

  private takeOver({ entries, damaged, losses, session }: Legacy): void {
    this.counts.recovered += entries.filter((entry) => !entry.report).length + damaged;
    if (damaged > 0) this.losses.count("damaged", "(unknown)", damaged);
    this.losses.untell(losses);
    this.queue.adopt(entries, this.keeper.own);
    const missing = readSession(session);
    // Of two pages that find the same note, each would end it: by its id, that is one event.
    if (missing) this.take(sessionEnd(missing, true), `${missing.id}-end`, missing.last);
    if (!this.hasConsent) this.purge();
    this.sender.wake();
  }

  private take(event: Event, id: string, at = this.timeline.stamp()): string | undefined {
    this.counts.sent += 1;
    let type = "(unknown)";
    const lose = (reason: Reason) => void this.losses.count(reason, type);
    try {
      if (typeof event.type === "string") type = event.type;
      if (this.isClosed) return lose("closed");
      if (!this.hasConsent) return lose("no_consent");
      const whole = this.hooked(event);
      if (!whole) return lose("hook");
      const isSession = whole.type === SESSION_START || whole.type === SESSION_END;
      const oneIn = isSession ? 1 : this.remote.oneIn(whole.type);
      if (!this.remote.isEnabled || (oneIn > 1 && this.platform.random() * oneIn >= 1)) return lose("sampled");
      const head = write(whole, id, this.settings.source, oneIn);
      const most = this.remote.limit("event_bytes", this.settings.eventBytes);
      const bytes = head.length > most ? head.length : lineBytes(head);
      if (bytes > most) return lose("too_large");
      const isStored = isSession || (this.settings.delivery[whole.type] ?? this.settings.deliveryDefault) === "stored";
      const due = this.platform.monotonic() + this.settings.batchTimeMs;
      const key = isStored ? this.keeper.nextKey() : "";
      const entry: Entry = { key, id, type: whole.type, head, bytes, at, due, doubt: undefined };
      return this.hold(entry) ? id : undefined;
    } catch {
      return lose("refused");
    }
  }

  private hooked(event: Event): Event | null | undefined {
    const { attributes, data } = this.common;
    const session: Record<string, string> = this.session ? { sessionid: this.session.id } : {};
    const whole = complete(event, { attributes: { ...attributes, ...session }, data });
    if (!this.beforeSend) return whole;
    try {
      const seen = this.beforeSend(whole);
      return seen && complete(seen, { attributes: {}, data: {} });
    } catch {
      return undefined;
    }
  }

  private hold(entry: Entry): boolean {
    if (!this.queue.push(entry)) return false;
    this.keeper.put(entry);
    const { session } = this;
    if (session && entry.at.time - session.last.time > SESSION_NOTE_MS) this.noteSession();
    this.sender.wake();
    return true;
  }

  private noteSession(): void {
    const { session } = this;
    if (!session || !this.hasConsent) return;
    session.last = this.timeline.stamp();
    this.keeper.note("session", session);
  }

  /** Takes an event off the books: it is out of the queue, or about to be. */
  private drop(entry: Entry, reason: Reason): void {
    this.keeper.remove(entry);
    if (!entry.report) this.losses.count(reason, entry.type);
    // A report that was not delivered is told by the next one. One in doubt may have been.
    else if (reason !== "expired") this.losses.untell(entry.report);
  }

  /** Puts an event that was held in memory into the store, behind those that are there. */
  private shelve(entry: Entry): void {
    const key = this.keeper.nextKey();
    if (key === "") return this.drop(entry, "closed");
    const shelved = { ...entry, key };
    if (this.queue.push(shelved)) this.keeper.put(shelved);
  }

  private purge(): void {
    const { idle } = this.queue;
    this.queue.remove(new Set(idle));
    for (const entry of idle) this.drop(entry, "no_consent");
    this.session = undefined;
    void this.keeper.purge();
    this.notify();
  }

  private settled(failed: boolean, error: string | undefined, began: Stamp): void {
    this.counts.requests += 1;
    if (failed) this.counts.failures += 1;
    this.lastError = error ?? this.lastError;
    this.roundTripMs = this.timeline.now() - this.timeline.of(began);
    if (!this.hasConsent) this.purge();
    this.lossChanged();
    this.noteSession();
    this.notify();
  }

  private lossChanged(): void {
    if (!this.hasConsent || this.isClosed || this.losses.isTold) return;
    const { lossReportMs, storeTimeMs } = this.settings;
    this.noting ??= this.platform.after(storeTimeMs, () => this.noteLosses());
    if (lossReportMs > 0) this.reporting ??= this.platform.after(lossReportMs, () => this.report());
  }

  /** So that the next start can tell what this one did not. */
  private noteLosses(): void {
    this.noting?.();
    this.noting = undefined;
    if (this.hasConsent) this.keeper.note("losses", this.losses.isTold ? undefined : this.losses.lines);
  }

  /** Tells the server what was lost, if no report has. */
  private report(): void {
    this.reporting?.();
    this.reporting = undefined;
    if (!this.hasConsent || this.isClosed || this.losses.isTold || this.settings.lossReportMs === 0) return;
    // One at a time: what is lost in the meantime is the next one's.
    if (this.queue.entries.some((entry) => entry.report)) return;
    const report = this.losses.tell();
    const event = { ...this.common.attributes, type: LOSS_TYPE, data: { lost: report } };
    const id = this.platform.uuid();
    const head = write(event, id, this.settings.source, 1);
    const key = this.keeper.nextKey();
    const at = this.timeline.stamp();
    this.hold({ key, id, type: LOSS_TYPE, head, bytes: lineBytes(head), at, due: -Infinity, doubt: undefined, report });
    this.noteLosses();
  }

  /** Ready with `true` when something holds, with `false` after so many ms. */
  private until(holds: () => boolean, timeoutMs: number): Promise<boolean> {
    if (holds()) return Promise.resolve(true);
    return new Promise((resolve) => {
      const end = (holding: boolean) => {
        stop();
        this.waiting.delete(look);
        resolve(holding);
      };
      const look = () => void (holds() && end(true));
      const stop = this.platform.after(timeoutMs, () => end(false), true);
      this.waiting.add(look);
    });
  }

  private notify(): void {
    for (const look of [...this.waiting]) look();
  }
}
