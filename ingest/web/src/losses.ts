// What was not delivered, by reason and type.

/** Why an event was not delivered. */
export const REASONS = [
  /** Memory held as much as it may. */
  "queue_full",
  /** The store held as much as it may. */
  "disk_full",
  /** In doubt for longer than the server tells duplicates. */
  "expired",
  /** The server refused it for good, or it was no event to begin with. */
  "refused",
  /** Left out on purpose, as the server asked. */
  "sampled",
  /** The player has not agreed, or no longer. */
  "no_consent",
  /** Larger than an event may be. */
  "too_large",
  /** What stood in the store can't be read any more. */
  "damaged",
  /** The hook said no. */
  "hook",
  /** Still in memory when the client was closed, with no store to keep it. */
  "closed",
] as const;

export type Reason = (typeof REASONS)[number];

/** One line of a report. */
export interface Told {
  reason: Reason;
  type: string;
  events: number;
}

/** Types that are counted by name; what comes beyond is counted as `(other)`, so that memory stays bounded. */
const TYPES_MAX = 256;

/** Counts by reason and type; those that no report has told are kept apart. */
export class Losses {
  readonly total: Partial<Record<Reason, number>> = {};
  private untold = new Map<string, Told>();

  /** `changed` is called after each count. */
  constructor(private readonly changed: () => void) {}

  count(reason: Reason, type: string, events = 1): void {
    this.total[reason] = (this.total[reason] ?? 0) + events;
    this.note({ reason, type, events });
    this.changed();
  }

  get isTold(): boolean {
    return this.untold.size === 0;
  }

  /** What no report has told yet. */
  get lines(): Told[] {
    return [...this.untold.values()];
  }

  /** The same, and from now on it counts as told. */
  tell(): Told[] {
    const lines = this.lines;
    this.untold = new Map();
    return lines;
  }

  /** A report that did not arrive, or what an earlier run left untold; lines that are none are passed over. */
  untell(lines: unknown): void {
    if (!Array.isArray(lines)) return;
    for (const line of lines) {
      const { reason, type, events } = (line ?? {}) as Partial<Told>;
      const sound = REASONS.includes(reason as Reason) && typeof type === "string" && Number.isSafeInteger(events);
      if (sound && (events as number) > 0) this.note(line as Told);
    }
    this.changed();
  }

  private note({ reason, type, events }: Told): void {
    let key = `${reason} ${type}`;
    if (!this.untold.has(key) && this.untold.size >= TYPES_MAX) [key, type] = [`${reason} `, "(other)"];
    const line = this.untold.get(key);
    if (line) line.events += events;
    else this.untold.set(key, { reason, type, events });
  }
}
