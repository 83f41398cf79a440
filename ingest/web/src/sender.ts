// When a request is made, what goes into it, and what its answer means for what is held.

import { judge, type Judgement, type Verdict } from "./answer.js";
import { Backoff } from "./backoff.js";
import type { Stamp, Timeline } from "./clock.js";
import { line, type Entry } from "./event.js";
import type { Keeper } from "./keeper.js";
import type { Settings } from "./options.js";
import type { Platform } from "./platform.js";
import type { Queue } from "./queue.js";
import type { Remote } from "./remote.js";

/** A body of fewer characters is sent as it is, packed or not it is one packet. */
const GZIP_MIN = 1_000;
/** What a browser takes from all pages of an origin for requests that outlive them is 64 KiB; some is left for others. */
const LAST_BYTES = 60_000;

/** What becomes of events, told to whoever counts. */
export interface Outcomes {
  accepted(entry: Entry): void;
  durable(entry: Entry): void;
  refused(entry: Entry): void;
  expired(entry: Entry): void;
  /** A request is over, and what has to be sent again is in the queue. */
  settled(failed: boolean, error: string | undefined, began: Stamp): void;
}

export class Sender {
  private readonly backoff: Backoff;
  private isPreparing = false;
  private isBusy = false;
  private isStarted = false;
  private isStopped = false;
  /** Calls the next request off, and the moment that it is set for. */
  private cancel: (() => void) | undefined;
  private next = Infinity;
  private abort: AbortController | undefined;
  /** When the request under way began, and when it is over. */
  private begun: Stamp = { time: 0, raw: false };
  private current: Promise<void> = Promise.resolve();
  /** Whether the request under way goes on without the page; and whether the page has ended. */
  private outlives = false;
  private isOver = false;
  /** Whether the page was hidden when nothing could be sent. */
  private isLastDue = false;
  /** Bytes of bodies as they went over the wire. */
  bodyBytes = 0;

  constructor(
    private readonly settings: Settings,
    private readonly headers: Record<string, string>,
    private readonly platform: Platform,
    private readonly timeline: Timeline,
    private readonly remote: Remote,
    private readonly keeper: Keeper,
    private readonly queue: Queue,
    private readonly outcomes: Outcomes,
  ) {
    const { backoffFirstMs, backoffCapMs, circuitFailures } = settings;
    this.backoff = new Backoff(backoffFirstMs, backoffCapMs, circuitFailures, () => platform.random());
  }

  /** Whether only probes go. */
  get isOpen(): boolean {
    return this.backoff.isOpen;
  }

  start(): void {
    this.isStarted = true;
    this.wake();
  }

  /** Makes no further request, and gives up the one under way; ready when what it carried is in doubt. */
  async stop(): Promise<void> {
    this.isStopped = true;
    this.callOff();
    this.abort?.abort();
    await this.current;
  }

  /** Something has changed: makes the next request at its time. */
  wake(): void {
    if (this.isLastDue && this.isStarted && !this.isBusy) this.last(false);
    const first = this.queue.entries[0];
    if (!this.isStarted || this.isStopped || this.isPreparing || this.isBusy || !first) return this.callOff();
    const isFull = this.queue.length >= this.eventsMax || this.queue.bytes >= this.bytesMax;
    const due = isFull || this.backoff.isFailing ? -Infinity : first.due;
    const next = Math.max(due, this.backoff.notBefore);
    if (this.cancel && next === this.next) return;
    this.callOff();
    this.next = next;
    this.cancel = this.platform.after(Math.max(0, next - this.platform.monotonic()), () => void this.request());
  }

  /** The network is there again: a wait that is no server's wish is over. */
  retryNow(): void {
    this.isOver = this.isLastDue = false;
    this.backoff.hasten(this.platform.monotonic());
    this.wake();
  }

  /**
   * The page may end at any moment: sends what fits into a last request, which goes on without it. With `isOver`, a
   * request under way ends with the page, unless it is such a one, so what it carries goes along; and only the server
   * can ask to wait.
   */
  last(isOver: boolean): void {
    const { notBefore, asked } = this.backoff;
    if (this.isStopped || this.isOver || (isOver ? asked : notBefore) > this.platform.monotonic()) return;
    this.isLastDue = !isOver && (this.isBusy || !this.isStarted);
    if (this.isLastDue) return;
    this.isOver = isOver;
    this.callOff();
    this.expire();
    const outlives = this.isBusy && this.outlives;
    // What is under way and outlives the page has its part of what the browser takes.
    const batch = first(this.queue.entries, LAST_BYTES).slice(outlives ? this.queue.length - this.queue.idle.length : 0);
    if (batch.length === 0) return;
    const canAnswer = this.platform.keepalive && (!isOver || "authorization" in this.headers);
    if (canAnswer && !this.isBusy) return void this.deliver(this.queue.take(batch.length, Infinity), true);
    const at = this.isBusy && !outlives ? this.begun : this.timeline.stamp();
    if (!this.handOver(this.body(batch, this.timeline.stamp()))) return;
    this.keeper.intendNow(batch, at);
    // Nobody will say what became of them: they are in doubt until the next request.
    for (const entry of batch) this.doubt(entry, at);
  }

  private get eventsMax(): number {
    return this.remote.limit("batch_events", this.settings.batchEvents);
  }

  private get bytesMax(): number {
    return this.remote.limit("body_decompressed_bytes", this.settings.batchBytes);
  }

  private callOff(): void {
    this.cancel?.();
    this.cancel = undefined;
  }

  private async request(): Promise<void> {
    this.cancel = undefined;
    this.isPreparing = true;
    const refreshed = this.remote.refresh();
    // An event in doubt is judged by its age and the server's window: it waits for the answer, once, be there one or not.
    const isUnsure = this.timeline.isDoubtful || !this.remote.isKnown;
    if (isUnsure && this.queue.entries.some(({ doubt }) => doubt)) await refreshed;
    this.isPreparing = false;
    if (this.isBusy || this.isStopped) return;
    this.expire();
    const batch = this.backoff.isOpen ? this.queue.take(1, 0) : this.queue.take(this.eventsMax, this.bytesMax);
    if (batch.length > 0) await this.deliver(batch, false);
  }

  private deliver(batch: Entry[], isLast: boolean): Promise<void> {
    this.isBusy = true;
    this.begun = this.timeline.stamp();
    this.outlives = isLast;
    return (this.current = this.attempt(batch, isLast, this.begun));
  }

  private async attempt(batch: Entry[], isLast: boolean, at: Stamp): Promise<void> {
    if (isLast) this.keeper.intendNow(batch, at);
    else await this.keeper.intend(batch, at);
    const judgement = await this.post(batch, isLast);
    this.isBusy = false;
    this.settle(batch, judgement, at);
    this.wake();
  }

  private settle(batch: Entry[], { verdicts, retryAfterMs, error }: Judgement, at: Stamp): void {
    const gone = new Set<Entry>();
    batch.forEach((entry, place) => {
      const verdict = verdicts[place] ?? "doubt";
      if (verdict === "doubt") this.doubt(entry, at);
      entry.due = -Infinity;
      if (verdict === "doubt" || verdict === "again") return;
      gone.add(entry);
      this.keeper.remove(entry);
      this.outcomes[verdict](entry);
    });
    this.queue.release(gone);
    this.keeper.fulfil(batch);
    const failed = gone.size < batch.length;
    const progress = verdicts.includes("durable") || verdicts.includes("accepted");
    if (failed) this.backoff.failed(this.platform.monotonic(), progress, retryAfterMs);
    else this.backoff.succeeded();
    this.outcomes.settled(failed, error, at);
  }

  private doubt(entry: Entry, at: Stamp): void {
    if (entry.doubt) return;
    entry.doubt = at;
    this.keeper.put(entry);
  }

  /** Lets go of what was in doubt for so long that the server may have forgotten it. */
  private expire(): void {
    const now = this.timeline.now();
    const margin = this.settings.requestTimeoutMs;
    const isOld = ({ doubt, type }: Entry) =>
      doubt !== undefined && now - this.timeline.of(doubt) > this.remote.windowMs(type) - margin;
    const old = this.queue.idle.filter(isOld);
    this.queue.remove(new Set(old));
    for (const entry of old) {
      this.keeper.remove(entry);
      this.outcomes.expired(entry);
    }
  }

  private async post(batch: Entry[], isLast: boolean): Promise<Judgement> {
    const abort = (this.abort = new AbortController());
    const stop = this.platform.after(this.settings.requestTimeoutMs, () => abort.abort());
    const tooLate = new Promise<never>((_, reject) => {
      abort.signal.addEventListener("abort", () => reject(new Error("no answer")));
    });
    try {
      const ids = batch.map(({ id }) => id);
      const answered = this.fetch(batch, isLast, abort.signal).then((response) => judge(response, ids));
      return await Promise.race([answered, tooLate]);
    } catch (error) {
      const verdict = this.platform.wasUnsent(error) ? "again" : "doubt";
      return { verdicts: batch.map((): Verdict => verdict), retryAfterMs: 0, error: String(error) };
    } finally {
      stop();
    }
  }

  private async fetch(batch: Entry[], isLast: boolean, signal: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { ...this.headers, "content-type": "application/x-ndjson" };
    const text = this.body(batch, this.timeline.stamp());
    let body: string | Uint8Array<ArrayBuffer> = text;
    const packs = this.settings.compression === "gzip" && !isLast && text.length >= GZIP_MIN;
    if (packs && this.platform.gzip && this.remote.takes("gzip")) {
      body = await this.platform.gzip(text);
      headers["content-encoding"] = "gzip";
    }
    this.bodyBytes += typeof body === "string" ? batch.reduce((sum, entry) => sum + entry.bytes, 0) : body.length;
    const init: RequestInit = { method: "POST", headers, body, signal, credentials: "omit", cache: "no-store" };
    return this.platform.fetch(this.url, isLast ? { ...init, keepalive: true } : init);
  }

  private get url(): string {
    return `${this.settings.url}/v1/batch`;
  }

  private body(batch: readonly Entry[], at: Stamp): string {
    const now = this.timeline.of(at);
    return batch.map((entry) => line(entry, this.timeline, now)).join("");
  }

  /** Gives a body to the browser, to be sent whatever becomes of the page; says whether it took it. */
  private handOver(body: string): boolean {
    if (!("authorization" in this.headers) && this.platform.beacon) return this.platform.beacon(this.url, body);
    if (!this.platform.keepalive) return false;
    const headers = { ...this.headers, "content-type": "text/plain" };
    const init: RequestInit = { method: "POST", headers, body, keepalive: true, credentials: "omit" };
    this.platform.fetch(this.url, init).catch(() => {});
    return true;
  }
}

/** The first of these events that have so many bytes together. */
function first(entries: readonly Entry[], bytesMax: number): Entry[] {
  let bytes = 0;
  const past = entries.findIndex((entry) => (bytes += entry.bytes) > bytesMax);
  return entries.slice(0, past < 0 ? undefined : past);
}
