// What stands in the store: one text for each event, and a few notes beside them.

import type { Stamp } from "./clock.js";
import { lineBytes, type Entry } from "./event.js";
import type { Told } from "./losses.js";

/** An event in doubt or not, as a text. */
export function encode({ id, type, head, at, doubt, report }: Entry): string {
  const stamps = [at.time, at.raw, doubt?.time ?? null, doubt?.raw ?? null];
  return JSON.stringify([id, type, head, ...stamps, ...(report ? [report] : [])]);
}

/** What {@link encode} wrote under `key`; `undefined` if it is damaged. */
export function decode(key: string, value: string): Entry | undefined {
  try {
    const [id, type, head, time, raw, doubtTime, doubtRaw, report] = JSON.parse(value) as unknown[];
    if (typeof head !== "string" || typeof time !== "number") return undefined;
    // The line is read as a whole: half of one would be refused, and hold nothing up, but say nothing either.
    const event = JSON.parse(`${head}}`) as { id: unknown; type: unknown };
    if (typeof id !== "string" || event.id !== id || typeof type !== "string" || event.type !== type) return undefined;
    if (head.includes("\n")) return undefined;
    const entry: Entry = {
      key, id, type, head, bytes: lineBytes(head), due: -Infinity,
      at: { time, raw: raw === true },
      doubt: typeof doubtTime === "number" ? { time: doubtTime, raw: doubtRaw === true } : undefined,
      ...(Array.isArray(report) ? { report: report as Told[] } : {}),
    };
    return entry;
  } catch {
    return undefined;
  }
}

/** The request under way: when it began, and the first and the last key that it carried. */
export interface Intent extends Stamp {
  from: string;
  to: string;
}

/** Reads a note that is JSON; `undefined` for what is none. */
export function note<T>(value: string | null | undefined): T | undefined {
  try {
    return value ? (JSON.parse(value) as T) : undefined;
  } catch {
    return undefined;
  }
}

/** Marks what an intent names, unless it was in doubt before. */
export function mark(entries: readonly Entry[], intent: Partial<Intent> | undefined): void {
  const { from, to, time, raw } = intent ?? {};
  if (typeof from !== "string" || typeof to !== "string" || typeof time !== "number") return;
  for (const entry of entries) {
    if (entry.key >= from && entry.key <= to) entry.doubt ??= { time, raw: raw === true };
  }
}
