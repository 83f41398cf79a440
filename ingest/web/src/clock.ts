// When an event happened, by the server's clock.

import type { Platform } from "./platform.js";

/** A clock that stood still for less than this is not set again, in ms. */
const STOOD_STILL_MS = 2_000;
/** Wall clock and monotonic clock may drift apart by so much before it is worth asking the server, in ms. */
const DRIFT_MS = 5_000;

/** A time in ms since 1970; `raw` as long as the server's clock was not known when it was taken. */
export interface Stamp {
  readonly time: number;
  readonly raw: boolean;
}

/**
 * The wall clock is read once, at the start; from then on the monotonic clock counts. So somebody who sets the wall
 * clock moves no event. The server's time, once it is known, says how far off the first reading was.
 */
export class Timeline {
  private readonly anchor: number;
  private drift: number;
  /** The last stamp's moment, in whole microseconds. */
  private last = -Infinity;
  /** What the server's clock shows beyond the first reading: as it was measured first, and last. */
  private first: number | undefined;
  private offset = 0;
  /** Whether the clocks have drifted apart since the server's time was measured. */
  isDoubtful = false;

  constructor(private readonly platform: Platform) {
    this.drift = platform.now() - platform.monotonic();
    this.anchor = Math.round(this.drift);
  }

  /** The time now, later than in any stamp before. */
  stamp(): Stamp {
    this.last = Math.max(Math.floor(this.platform.monotonic() * 1_000), this.last + 1);
    return { time: this.anchor + this.offset + this.last / 1_000, raw: this.first === undefined };
  }

  /** The time of a stamp, of an earlier run too, as far as the server's clock is known by now. */
  of({ time, raw }: Stamp): number {
    return raw ? time + (this.first ?? 0) : time;
  }

  /** The time now. */
  now(): number {
    return this.anchor + this.platform.monotonic() + this.offset;
  }

  /** The server said `serverTime` between the moment `asked` of the monotonic clock and this one. */
  measured(asked: number, serverTime: number): void {
    this.isDoubtful = false;
    const offset = Math.round(serverTime - this.anchor - (asked + this.platform.monotonic()) / 2);
    if (this.first === undefined) this.first = this.offset = offset;
    // A monotonic clock may stand still while the machine sleeps; it never runs ahead. So time only ever moves on.
    else if (offset > this.offset + STOOD_STILL_MS) this.offset = offset;
  }

  /** Whether, since it was asked last, somebody set the wall clock or the machine slept. */
  hasDrifted(): boolean {
    const drift = this.platform.now() - this.platform.monotonic();
    if (Math.abs(drift - this.drift) < DRIFT_MS) return false;
    this.drift = drift;
    this.isDoubtful = true;
    return true;
  }
}

/** A time as RFC 3339 with microseconds and Z: always 27 characters. What no year of four digits has becomes 1970. */
export function timestamp(time: number): string {
  const micros = Math.round(time * 1_000);
  if (!(micros >= 0 && micros < 253_402_300_800_000_000)) return timestamp(0);
  const text = new Date(Math.floor(micros / 1_000)).toISOString();
  return `${text.slice(0, 23)}${String(micros % 1_000).padStart(3, "0")}Z`;
}

/** Reads what the server writes as a time; `undefined` for anything else. */
export function parseTime(text: unknown): number | undefined {
  const time = typeof text === "string" && text.length < 64 ? Date.parse(text) : NaN;
  return time > 0 ? time : undefined;
}
