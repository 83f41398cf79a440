// The client: what a game calls.

import { Timeline } from "./clock.js";
import { complete, lineBytes, LOSS_TYPE, write, type Common, type Entry, type Event } from "./event.js";
import { Keeper, type Legacy } from "./keeper.js";
import { Losses, type Reason } from "./losses.js";
import { check, type Options, type Settings } from "./options.js";
import { ambient, type Platform } from "./platform.js";
import { Queue } from "./queue.js";
import { Remote } from "./remote.js";
import { Sender } from "./sender.js";
import { boundary, readSession, SESSION_END, SESSION_NOTE_MS, SESSION_START, type Session } from "./session.js";
import { BrowserStore } from "./store.js";

/** What a client has done so far, for a debug overlay: sent + restored = acknowledged + lost + pending. */
export interface Stats {
  /** Calls of `send`, and events that begin or end sessions. */
  sent: number;
  /** Events that an earlier run had stored, damaged ones included. */
  restored: number;
  /** Events that the server has. */
  acknowledged: number;
  /** Events that nobody will get, by reason; a reason that isn't there is 0. */
  lost: Partial<Record<Reason, number>>;
  /** Events that are held, those under way included; and bytes of all that is held. */
  pending: number;
  pendingBytes: number;
  /** Events that are to be stored, and are not yet. */
  unstored: number;
  /** Requests with events that are over, and those of them after which some had to be sent again. */
  requests: number;
  failures: number;
  /** Whether the server failed so often in a row that only probes go. */
  circuitOpen: boolean;
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
  private readonly counts = { sent: 0, restored: 0, acknowledged: 0, requests: 0, failures: 0 };
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
      accepted: (entry: Entry) => void (entry.report || this.counts.acknowledged++),
      refused: (entry: Entry) => this.drop(entry, "refused"),
      expired: (entry: Entry) => {
        this.drop(entry, "expired");
        this.notify();
      },
      settled: (failed: boolean) => this.settled(failed),
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

  /** Begins a session, and ends the one before; these attributes stand on its first and its last event. Returns its id. */
  startSession(attributes: Record<string, string> = {}): string {
    this.endSession();
    const { time, raw } = this.timeline.stamp();
    const session = { id: this.platform.uuid(), endId: this.platform.uuid(), attributes, time, raw };
    this.session = session;
    this.send(boundary(SESSION_START, session));
    this.noteSession();
    return session.id;
  }

  /** Ends the session. One that isn't ended, ends at the next start, with the time at which it was last heard of. */
  endSession(): void {
    const { session } = this;
    if (!session) return;
    this.session = undefined;
    this.take(boundary(SESSION_END, session), session.endId);
    this.keeper.note("session", undefined);
  }

  /**
   * Sends what is held without waiting for more; never shortens a wait after a failure. Ready when every event sent
   * before is delivered or lost, with `true`; or after so many ms, with `false`.
   */
  flush(timeoutMs = 10_000): Promise<boolean> {
    const before = new Set(this.queue.entries);
    for (const entry of before) entry.due = -Infinity;
    this.sender.wake();
    return this.until(() => !this.queue.entries.some((entry) => before.has(entry)), timeoutMs);
  }

  /**
   * Ends the session, flushes, and stops: events that are left go with the next start if they are stored, others are
   * lost as `closed`. Says whether nothing was left.
   */
  async close(timeoutMs = 2_000): Promise<boolean> {
    if (this.isClosed) return this.queue.length === 0;
    this.endSession();
    this.report();
    this.isClosed = true;
    const isEmpty = await this.flush(timeoutMs);
    this.unwatch();
    await this.sender.stop();
    const left = this.queue.entries.filter((entry) => entry.key === "");
    this.queue.remove(new Set(left));
    for (const entry of left) this.drop(entry, "closed");
    this.reporting?.();
    this.noteLosses();
    await this.keeper.close();
    return isEmpty;
  }

  /** What became of events so far. */
  stats(): Stats {
    return {
      ...this.counts,
      lost: { ...this.losses.total },
      pending: this.queue.entries.filter((entry) => !entry.report).length,
      pendingBytes: this.queue.bytes,
      unstored: this.keeper.unstored,
      circuitOpen: this.sender.isOpen,
    };
  }

  private async start(): Promise<void> {
    if (this.hasConsent) void this.remote.refresh();
    await this.keeper.takeOver((legacy) => this.takeOver(legacy));
    if (!this.isClosed || this.queue.length > 0) this.sender.start();
  }

  private takeOver({ entries, damaged, losses, session }: Legacy): void {
    this.counts.restored += entries.filter((entry) => !entry.report).length + damaged;
    if (damaged > 0) this.losses.count("damaged", "(unknown)", damaged);
    this.losses.untell(losses);
    this.queue.adopt(entries, this.keeper.own);
    const missing = readSession(session);
    if (missing) this.take(boundary(SESSION_END, missing, { repaired: "true" }), missing.endId, missing);
    if (!this.hasConsent) this.purge();
    this.sender.wake();
  }

  private take(event: Event, id: string, at = this.timeline.stamp()): string | undefined {
    this.counts.sent += 1;
    const type = typeof event?.type === "string" ? event.type : "(unknown)";
    const lose = (reason: Reason) => void this.losses.count(reason, type);
    if (this.isClosed) return lose("closed");
    if (!this.hasConsent) return lose("no_consent");
    try {
      const whole = this.hooked(event);
      if (!whole) return lose("hook");
      const oneIn = this.remote.oneIn(whole.type);
      if (!this.remote.isEnabled || (oneIn > 1 && this.platform.random() * oneIn >= 1)) return lose("sampled");
      const head = write(whole, id, this.settings.source, oneIn);
      const most = this.remote.limit("event_bytes", this.settings.eventBytes);
      const bytes = head.length > most ? head.length : lineBytes(head);
      if (bytes > most) return lose("too_large");
      const isStored = (this.settings.delivery[whole.type] ?? this.settings.deliveryDefault) === "stored";
      const due = this.platform.monotonic() + this.settings.batchTimeMs;
      const key = isStored ? this.keeper.nextKey() : "";
      const entry: Entry = { key, id, type: whole.type, head, bytes, at, due, doubt: undefined };
      return this.hold(entry) ? id : undefined;
    } catch {
      return lose("refused");
    }
  }

  private hooked(event: Event): Event | null | undefined {
    const own = this.session && event.sessionid === undefined ? { sessionid: this.session.id } : {};
    const whole = complete({ ...own, ...event }, this.common);
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
    if (session && entry.at.time - session.time > SESSION_NOTE_MS) this.noteSession();
    this.sender.wake();
    return true;
  }

  private noteSession(): void {
    if (this.session && this.hasConsent) this.keeper.note("session", Object.assign(this.session, this.timeline.stamp()));
  }

  /** Takes an event off the books: it is out of the queue, or about to be. */
  private drop(entry: Entry, reason: Reason): void {
    this.keeper.remove(entry);
    // A report that was not delivered is told by the next one; refused once, it would be refused for ever.
    if (!entry.report) this.losses.count(reason, entry.type);
    else if (reason !== "refused") this.losses.untell(entry.report);
  }

  private purge(): void {
    const { idle } = this.queue;
    this.queue.remove(new Set(idle));
    for (const entry of idle) this.drop(entry, "no_consent");
    this.session = undefined;
    void this.keeper.purge();
    this.notify();
  }

  private settled(failed: boolean): void {
    this.counts.requests += 1;
    if (failed) this.counts.failures += 1;
    if (!this.hasConsent) this.purge();
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
    this.keeper.note("losses", this.losses.isTold ? undefined : this.losses.lines);
  }

  /** Tells the server what was lost, if no report has. */
  private report(): void {
    this.reporting?.();
    this.reporting = undefined;
    if (!this.hasConsent || this.isClosed || this.losses.isTold || this.settings.lossReportMs === 0) return;
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
      const stop = this.platform.after(timeoutMs, () => end(false));
      this.waiting.add(look);
    });
  }

  private notify(): void {
    for (const look of [...this.waiting]) look();
  }
}
