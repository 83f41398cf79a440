// Sessions: from a start to an end, and the end that a page that died could not send.

import type { Stamp } from "./clock.js";
import type { Event } from "./event.js";

/** Type of the event that begins a session. */
export const SESSION_START = "session.start";
/** Type of the event that ends one. */
export const SESSION_END = "session.end";
/** How often a session under way is noted down, in ms. */
export const SESSION_NOTE_MS = 10_000;

/** A session under way, as it is noted down. */
export interface Session {
  readonly id: string;
  /** Whose it is; empty if nobody's. */
  readonly player: string;
  /** When it began, and was last known to be under way. */
  readonly began: Stamp;
  last: Stamp;
}

/** A session that an earlier run left without an end, if the note says so. */
export function readSession(note: unknown): Session | undefined {
  const { id, player, began, last } = (note ?? {}) as Partial<Session>;
  const isSound = typeof id === "string" && typeof player === "string" && isStamp(began) && isStamp(last);
  return isSound ? { id, player, began, last } : undefined;
}

export function sessionStart({ id, player }: Session): Event {
  return { type: SESSION_START, sessionid: id, playerid: player || undefined };
}

/** The event that ends a session; `repaired` if that happens at the next start. */
export function sessionEnd({ id, player, began, last }: Session, repaired: boolean): Event {
  const duration_s = Math.max(0, Math.round((last.time - began.time) * 1_000) / 1_000_000);
  return { type: SESSION_END, sessionid: id, playerid: player || undefined, data: { repaired, duration_s } };
}

function isStamp(stamp: unknown): stamp is Stamp {
  return typeof (stamp as Stamp | undefined)?.time === "number" && typeof (stamp as Stamp).raw === "boolean";
}
