// Sessions: a start, an end, and the end of one that had none.

import type { Event } from "./event.js";

export const SESSION_START = "killfeed.session_start";
export const SESSION_END = "killfeed.session_end";

/** How old the note of a session may be, in ms: a session that is never ended ends there at the latest. */
export const SESSION_NOTE_MS = 10_000;

/** A session as it stands in the store. */
export interface Session {
  /** Its `sessionid`. */
  readonly id: string;
  /** Id of the event that ends it: fixed from the start, so that two that end it count once. */
  readonly endId: string;
  /** Attributes of its first and its last event. */
  readonly attributes: Record<string, string>;
  /** When something last happened in it, in ms since 1970, and whether that is the local clock's. */
  time: number;
  raw: boolean;
}

/** A session that an earlier run left, if the note says so. */
export function readSession(note: unknown): Session | undefined {
  const { id, endId, attributes, time, raw } = (note ?? {}) as Partial<Session>;
  if (typeof id !== "string" || typeof endId !== "string" || typeof time !== "number") return undefined;
  const isPlain = typeof attributes === "object" && attributes !== null && !Array.isArray(attributes);
  return { id, endId, attributes: isPlain ? attributes : {}, time, raw: raw === true };
}

/** The event that begins or ends a session. It has no payload: the same end told twice is one. */
export function boundary(type: string, { id, attributes }: Session, more: Partial<Event> = {}): Event {
  return { ...attributes, ...more, type, sessionid: id };
}
