// What a game says happened, and the line that it becomes in a request.

import { timestamp, type Stamp, type Timeline } from "./clock.js";
import type { Told } from "./losses.js";

/** Type of the event by which a client tells what it lost. */
export const LOSS_TYPE = "client.loss";

/**
 * One event: a type, a payload, and attributes that say of whom it is. A value of an attribute is a text of 1 to
 * 2,048 bytes; numbers and booleans become their text, and `undefined` or `null` leaves it out.
 */
export interface Event {
  /** What happened: `chat.message`. */
  type: string;
  /** The payload: anything that can be written as JSON. */
  data?: unknown;
  /** The player it is about. Events of a player without a game keep their order. */
  playerid?: string | undefined;
  /** The game (match) it happened in. Events of a game keep their order. */
  gameid?: string | undefined;
  /** The session; the client's own if it began one. */
  sessionid?: string | undefined;
  region?: string | undefined;
  subject?: string | undefined;
  /** An absolute URI that ends in the type and the version of its schema. */
  dataschema?: string | undefined;
  traceparent?: string | undefined;
  partitionkey?: string | undefined;
  /** Any other attribute: a name of `a-z0-9`, at most 64 characters. */
  [attribute: string]: unknown;
}

/** What every event gets unless it has its own. */
export interface Common {
  attributes: Record<string, string>;
  data: Record<string, unknown>;
}

/** An event on its way. */
export interface Entry {
  /** Its key in the store; empty if it is held in memory alone. */
  readonly key: string;
  readonly id: string;
  readonly type: string;
  /** Its line up to the members that are known only when it is sent. */
  readonly head: string;
  /** Of its whole line, in UTF-8. */
  readonly bytes: number;
  /** When it happened. */
  readonly at: Stamp;
  /** The moment from which on it waits for no other, in ms of the monotonic clock. */
  due: number;
  /** When the first request began that left it in doubt. */
  doubt: Stamp | undefined;
  /** What a loss report tells; no other event has it. */
  readonly report?: Told[];
}

/** Members that the client writes itself. */
const OWN = ["specversion", "id", "source", "time", "sentat", "datacontenttype", "sampledrate"];
const encoder = new TextEncoder();
const TAIL_BYTES = tail(0, 0).length;

/** The event with what is common to all; throws if it is none. */
export function complete(event: Event, common: Common): Event {
  const whole: Event = { ...common.attributes, ...event };
  if (typeof whole.type !== "string" || whole.type === "") throw new Error("an event has a type");
  if (OWN.some((name) => name in event)) throw new Error(`${OWN.join(", ")} are written by the client`);
  if (Object.keys(common.data).length > 0) {
    if (event.data === undefined) whole.data = { ...common.data };
    else if (isPlain(event.data)) whole.data = { ...common.data, ...event.data };
  }
  return whole;
}

/** The line of an event up to its times. Throws if it can't be written. */
export function write(event: Event, id: string, source: string, oneIn: number): string {
  const { type, data, ...attributes } = event;
  const members: Record<string, unknown> = { specversion: "1.0", id, source, type };
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null) continue;
    if (!["string", "number", "boolean"].includes(typeof value)) throw new Error(`attribute ${name} is no text`);
    members[name] = String(value);
  }
  if (oneIn > 1) members.sampledrate = String(oneIn);
  if (data !== undefined) members.data = data;
  return JSON.stringify(members).slice(0, -1);
}

/** Bytes of the whole line, its end included, if it begins with `head`. */
export function lineBytes(head: string): number {
  return encoder.encode(head).length + TAIL_BYTES;
}

/** The line of an event in a request that is made at `now`, in ms since 1970. */
export function line(entry: Entry, timeline: Timeline, now: number): string {
  return entry.head + tail(timeline.of(entry.at), now);
}

function tail(time: number, sentAt: number): string {
  return `,"time":"${timestamp(time)}","sentat":"${timestamp(sentAt)}"}\n`;
}

function isPlain(data: unknown): data is Record<string, unknown> {
  return typeof data === "object" && data !== null && !Array.isArray(data) && !("toJSON" in data);
}
