// What the server asks of its clients: `GET /v1/config`. Nothing ever waits for it.

import { text } from "./answer.js";
import { parseTime, type Timeline } from "./clock.js";
import type { Settings } from "./options.js";
import type { Platform } from "./platform.js";

/** How long the server tells duplicates unless it says otherwise, in s: its own default. */
const WINDOW_S = 86_400;
/** After a failure: when to ask again at the earliest, in ms. */
const AGAIN_MS = 60_000;

interface Answer {
  server_time?: unknown;
  enabled?: unknown;
  dedupe?: { window_s?: unknown; window_s_by_type?: Record<string, unknown> };
  limits?: Record<string, unknown>;
  sampling?: { one_in?: unknown; one_in_by_type?: Record<string, unknown> };
  content_encodings?: unknown;
}

export class Remote {
  private answer: Answer = {};
  /** Whether the server has said anything. */
  isKnown = false;
  private asking: Promise<void> | undefined;
  /** The moment from which on it is time to ask, in ms of the monotonic clock. */
  private next = -Infinity;

  constructor(
    private readonly platform: Platform,
    private readonly timeline: Timeline,
    private readonly settings: Settings,
    private readonly headers: Record<string, string>,
  ) {}

  /** Asks, if it is time, or if the clocks may be wrong by now; ready when that is over. */
  refresh(): Promise<void> {
    const drifted = this.timeline.hasDrifted();
    if (this.asking) return this.asking;
    if (!drifted && this.platform.monotonic() < this.next) return Promise.resolve();
    return (this.asking = this.ask().finally(() => (this.asking = undefined)));
  }

  /** Whether events may be sent at all; the server may say that it wants none. */
  get isEnabled(): boolean {
    return this.answer.enabled !== false;
  }

  /** How long the server tells duplicates of this type, in ms. */
  windowMs(type: string): number {
    const { window_s, window_s_by_type } = this.answer.dedupe ?? {};
    return 1_000 * (positive(own(window_s_by_type, type)) ?? positive(window_s) ?? WINDOW_S);
  }

  /** Of how many events of this type one is to be sent. */
  oneIn(type: string): number {
    const { one_in, one_in_by_type } = this.answer.sampling ?? {};
    return Math.floor(positive(own(one_in_by_type, type)) ?? positive(one_in) ?? 1);
  }

  /** The smaller of `mine` and what the server takes. */
  limit(name: "event_bytes" | "batch_events" | "body_decompressed_bytes", mine: number): number {
    return Math.min(mine, positive(this.answer.limits?.[name]) ?? mine);
  }

  /** Whether bodies may be packed so. */
  takes(encoding: string): boolean {
    const { content_encodings } = this.answer;
    return !Array.isArray(content_encodings) || content_encodings.includes(encoding);
  }

  private async ask(): Promise<void> {
    const asked = this.platform.monotonic();
    this.next = asked + AGAIN_MS;
    try {
      const answer = await this.fetch();
      if (typeof answer !== "object" || answer === null || Array.isArray(answer)) return;
      this.answer = answer;
      this.isKnown = true;
      this.next = asked + this.settings.configTimeMs;
      const time = parseTime(answer.server_time);
      if (time !== undefined) this.timeline.measured(asked, time);
    } catch {
      // Defaults, or what it said last, go on to hold.
    }
  }

  private async fetch(): Promise<Answer | null> {
    const abort = new AbortController();
    const stop = this.platform.after(this.settings.requestTimeoutMs, () => abort.abort());
    const url = `${this.settings.url}/v1/config`;
    const init: RequestInit = { headers: this.headers, signal: abort.signal, credentials: "omit", cache: "no-store" };
    try {
      const response = await this.platform.fetch(url, init);
      return response.ok ? (JSON.parse(await text(response)) as Answer) : null;
    } finally {
      stop();
    }
  }
}

/** A member of an object that came from outside: nothing that it only inherits. */
function own(members: unknown, name: string): unknown {
  if (typeof members !== "object" || members === null || !Object.hasOwn(members, name)) return undefined;
  return (members as Record<string, unknown>)[name];
}

function positive(value: unknown): number | undefined {
  return typeof value === "number" && value >= 1 ? value : undefined;
}
