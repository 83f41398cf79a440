// What can be set, with defaults and limits.

import type { Event } from "./event.js";
import type { Platform } from "./platform.js";
import type { Store } from "./store.js";

/** How hard the client tries: `memory` until the page ends, `stored` until the server has it. */
export type Delivery = "memory" | "stored";

/** Settings of a client; {@link Client} checks them against the limits that each one states. */
export interface Options {
  /** Where killfeed is, without a path: `https://events.example.com`; or a page's own `location.origin`. */
  url: string;
  /** `source` of every event: a URI reference that names the game and its part, `/my-game/web`. 1 to 2,048 bytes. */
  source: string;
  /** API key with scope `ingest`, sent as a bearer token. Whoever has the page has the key. */
  key?: string | undefined;
  /** Events in a request. 1 to 10,000; 500. */
  batchEvents?: number;
  /** NDJSON in a request, in bytes. 1,000 to 8,000,000; 475,000. A single event may be larger. */
  batchBytes?: number;
  /** How long an event waits for others, in ms. 10 to 600,000; 8,000. */
  batchTimeMs?: number;
  /** One event, as its line in the request, in bytes. 256 to 1,000,000; 32,768. */
  eventBytes?: number;
  /** Events in memory that are not stored, those under way included. 1 to 1,000,000; 10,000. */
  queueEvents?: number;
  /** Bytes of those events. 10,000 to 1 GiB; 4 MiB. */
  queueBytes?: number;
  /** What is dropped when memory or the store is full: what is held longest, or what comes. `oldest`. */
  onFull?: "oldest" | "newest";
  /** The first wait after a failure, in ms; doubles with each. 1 to 60,000; 1,000. */
  backoffFirstMs?: number;
  /** The longest wait, in ms. `backoffFirstMs` to 3,600,000; 60,000. */
  backoffCapMs?: number;
  /** Failures in a row that open the circuit: then only probes of one event go. 1 or more; 5. */
  circuitFailures?: number;
  /** A request is given up after this, in ms. 10 to 300,000; 15,000. Ingest answers within 10 s. */
  requestTimeoutMs?: number;
  /** How bodies are packed. `gzip`, where the browser can. */
  compression?: "gzip" | "none";
  /** How hard to try, by type. */
  delivery?: Record<string, Delivery>;
  /** The same for all other types. `memory`. */
  deliveryDefault?: Delivery;
  /**
   * Where events are stored: a name, for a database of the browser (two clients of one page need two); or a
   * {@link Store} of your own. Without it nothing is stored.
   */
  store?: string | Store | undefined;
  /** Stored events, in bytes; they are held in memory, too. 10,000 to 1 GiB; 16 MiB. */
  storeBytes?: number;
  /** How long an event may wait before it is written to the store, in ms; it saves writes. 0 to 1,000; 20. */
  storeTimeMs?: number;
  /** Whether the player has agreed to telemetry. Without it nothing is kept and nothing is sent. `true`. */
  consent?: boolean;
  /** How often the configuration of the server is asked for again, in ms. 60,000 or more; 3,600,000. */
  configTimeMs?: number;
  /** How long after the first untold loss a report is sent, in ms; 0: never. 1,000 or more; 60,000. */
  lossReportMs?: number;
  /**
   * Sees each event before it is taken, with what is common to all: returns it, changed or not, or nothing to drop it.
   * If it throws, the event is dropped as well.
   */
  beforeSend?: ((event: Event) => Event | null | undefined) | undefined;
  /** Clocks, timers, network: for tests. */
  platform?: Platform;
}

/** Options with every default. */
export type Settings = Required<Omit<Options, "key" | "store" | "beforeSend" | "platform">>;

const DEFAULTS = {
  batchEvents: 500,
  batchBytes: 475_000,
  batchTimeMs: 8_000,
  eventBytes: 32_768,
  queueEvents: 10_000,
  queueBytes: 4 << 20,
  onFull: "oldest" as const,
  backoffFirstMs: 1_000,
  backoffCapMs: 60_000,
  circuitFailures: 5,
  requestTimeoutMs: 15_000,
  compression: "gzip" as const,
  delivery: {},
  deliveryDefault: "memory" as const,
  storeBytes: 16 << 20,
  storeTimeMs: 20,
  consent: true,
  configTimeMs: 3_600_000,
  lossReportMs: 60_000,
};

/** With defaults, once every limit is kept; throws a `RangeError` that names the first that isn't. */
export function check(options: Options): Settings {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const settings = { ...DEFAULTS, ...given } as Settings;
  const { url, source } = settings;
  if (!/^https?:\/\/[^\s/]+\/?$/.test(url)) throw new RangeError(`url is ${url}, allowed is http:// or https:// and a host`);
  if (typeof source !== "string" || source === "" || source.length > 2_048) {
    throw new RangeError(`source is ${String(source).length} characters, allowed is 1 to 2048`);
  }
  const within = (name: keyof Settings, least: number, most: number) => {
    const value = settings[name] as number;
    if (typeof value === "number" && value >= least && value <= most) return;
    throw new RangeError(`${name} is ${String(value)}, allowed is ${least} to ${most}`);
  };
  within("batchEvents", 1, 10_000);
  within("batchBytes", 1_000, 8_000_000);
  within("batchTimeMs", 10, 600_000);
  within("eventBytes", 256, 1_000_000);
  within("queueEvents", 1, 1_000_000);
  within("queueBytes", 10_000, 2 ** 30);
  within("backoffFirstMs", 1, 60_000);
  within("backoffCapMs", settings.backoffFirstMs, 3_600_000);
  within("circuitFailures", 1, 2 ** 31);
  within("requestTimeoutMs", 10, 300_000);
  within("storeBytes", 10_000, 2 ** 30);
  within("storeTimeMs", 0, 1_000);
  within("configTimeMs", 60_000, Number.MAX_VALUE);
  if (settings.lossReportMs !== 0) within("lossReportMs", 1_000, 2 ** 31 - 1);
  return { ...settings, url: url.replace(/\/$/, "") };
}
