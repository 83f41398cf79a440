// Random lives of a client: sends, faults of the server and the store, kills at any moment, and starts on what is left.
// A failing run says its seed; KILLFEED_SEED runs that one alone, KILLFEED_SEEDS so many.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, type Options } from "../src/index.js";
import { Random } from "./support/random.js";
import { Disk, EPOCH, mount, World } from "./support/virtual.js";

const { KILLFEED_SEED, KILLFEED_SEEDS = "300" } = process.env;
const SEEDS = KILLFEED_SEED ? [Number(KILLFEED_SEED)] : Array.from({ length: Number(KILLFEED_SEEDS) }, (_, n) => n + 1);
const WINDOW_MS = 60_000;
const TIMEOUT_MS = 5_000;
const QUEUE_EVENTS = 40;

interface Sent {
  number: number;
  id: string | undefined;
  isStored: boolean;
}

/** A server that tells duplicates for as long as it says, and breaks in every way. */
class Server {
  readonly taken = new Map<string, number>();
  readonly order: string[] = [];
  /** Events that came when the server had forgotten that it had them. */
  readonly twice: string[] = [];
  readonly refused = new Set<string>();
  isWell = false;
  private underWay = 0;
  private connections = 0;

  constructor(private readonly world: World, private readonly random: Random) {}

  async fetch(url: string, init: RequestInit): Promise<Response> {
    if (url.endsWith("/v1/config")) {
      const server_time = new Date(EPOCH + 3_600_000 + this.world.now).toISOString();
      return new Response(JSON.stringify({ server_time, dedupe: { window_s: WINDOW_MS / 1_000 } }));
    }
    const { connections } = this;
    this.underWay += 1;
    assert.ok(this.underWay <= 1, "one request is in flight at a time");
    try {
      return await this.batch(String(init.body).trimEnd().split("\n").map((line) => JSON.parse(line) as { id: string }));
    } finally {
      if (connections === this.connections) this.underWay -= 1;
    }
  }

  /** Whoever was connected is dead. */
  forgetConnections(): void {
    this.connections += 1;
    this.underWay = 0;
  }

  private async batch(events: { id: string }[]): Promise<Response> {
    const { random, connections } = this;
    if (!this.isWell && random.chance(0.5)) await this.world.sleep(random.below(TIMEOUT_MS - 1));
    // Whoever was there is dead, and the rest of the request never came.
    if (connections !== this.connections) throw new TypeError("fetch failed");
    const fault = this.isWell ? "" : random.pick(["", "", "before", "after", "503", "500", "garbage", "mixed", "connect"]);
    if (fault === "before") throw new TypeError("fetch failed");
    if (fault === "connect") throw Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
    if (fault === "503") return new Response("{}", { status: 503, headers: { "retry-after": "1" } });
    if (fault === "garbage") return new Response("<html>");
    const from = fault === "mixed" ? random.below(events.length) : events.length;
    const results = events.map(({ id }, place) => this.event(id, place >= from));
    if (fault === "after" || fault === "500") throw new TypeError("fetch failed");
    return new Response(JSON.stringify({ results }), { status: 200 });
  }

  private event(id: string, isPut: boolean): object {
    if (isPut) return { id, status: 503, retry: true, unknown: false };
    if (this.refused.has(id) || (!this.isWell && this.random.chance(0.02) && !this.taken.has(id))) {
      this.refused.add(id);
      return { id, status: 400, retry: false, unknown: false };
    }
    const taken = this.taken.get(id);
    if (taken === undefined) this.order.push(id);
    else if (this.world.now - taken > WINDOW_MS) this.twice.push(id);
    if (taken === undefined || this.world.now - taken > WINDOW_MS) this.taken.set(id, this.world.now);
    return { id, status: 202, retry: false, unknown: false, durability: "all" };
  }
}

class Life {
  private readonly random: Random;
  private readonly world: World;
  private readonly server: Server;
  private readonly disk = new Disk();
  private readonly sent: Sent[] = [];
  /** Numbers of stored events that stood in the store when the process was killed, or were delivered by then. */
  private readonly safe = new Set<number>();
  private readonly lost: Record<string, number> = {};
  /** Events that were sent before this process. */
  private born = 0;
  private client!: Client;
  private kill = () => {};

  constructor(seed: number, private readonly more: Partial<Options>, private readonly faults: boolean) {
    this.random = new Random(seed);
    this.world = new World(this.random);
    this.server = new Server(this.world, this.random);
    if (faults) this.disk.fault = () => this.diskFault();
  }

  async live(): Promise<void> {
    this.start();
    for (let steps = 10 + this.random.below(60); steps > 0; steps--) await this.step();
    this.server.isWell = true;
    this.disk.fault = () => {};
    await this.die();
    this.start();
    await this.world.advance(300_000);
    this.check();
  }

  private async step(): Promise<void> {
    const { random } = this;
    const what = random.below(10);
    if (what < 5) for (let times = 1 + random.below(8); times > 0; times--) this.send();
    else if (what < 8) await this.world.advance(random.pick([0, 1, 20, 300, 2_000, 10_000, 30_000, 70_000]));
    else if (what < 9) this.world.wallJump += random.pick([-100_000_000, -1_000, 1_000, 100_000_000]);
    else await this.restart();
    const { pending, stored, unstored } = this.client.stats();
    assert.ok(pending - stored - unstored <= QUEUE_EVENTS, `${pending - stored} events in memory`);
    this.balance();
  }

  private send(): void {
    const isStored = this.random.chance(0.6);
    const number = this.sent.length;
    const id = this.client.send({ type: isStored ? "stored" : "memory", playerid: "p1", data: { number } });
    this.sent.push({ number, id, isStored });
  }

  private start(): void {
    const { platform, kill } = this.world.process((url, init) => this.server.fetch(url, init));
    const { store, unmount } = mount(this.disk);
    this.client = new Client({
      url: "http://killfeed.test", source: "/test", platform, store, delivery: { stored: "stored" },
      batchEvents: 7, batchTimeMs: 500, backoffFirstMs: 100, backoffCapMs: 2_000, requestTimeoutMs: TIMEOUT_MS,
      queueEvents: QUEUE_EVENTS, lossReportMs: 0, storeTimeMs: 5, ...this.more,
    });
    this.kill = () => {
      kill();
      unmount();
    };
  }

  private async restart(): Promise<void> {
    if (this.random.chance(0.5)) await this.world.advance(this.random.below(50));
    await this.die();
    await this.world.advance(this.random.pick([0, 10, 1_000, 70_000]));
    this.start();
    await this.world.advance(0);
  }

  private async die(): Promise<void> {
    this.balance();
    if (this.client.stats().unstored === 0) {
      for (const { number, isStored, id } of this.sent.slice(this.born)) if (isStored && id) this.safe.add(number);
    }
    this.born = this.sent.length;
    for (const [reason, events] of Object.entries(this.client.stats().lost)) {
      this.lost[reason] = (this.lost[reason] ?? 0) + events;
    }
    this.kill();
    this.server.forgetConnections();
  }

  private diskFault(): Promise<void> | void {
    if (this.random.chance(0.2)) throw new Error("the disk says no");
    if (this.random.chance(0.1)) return this.world.sleep(this.random.below(10_000));
  }

  private balance(): void {
    const stats = this.client.stats();
    const lost = Object.values(stats.lost).reduce((a, b) => a + b, 0);
    assert.equal(stats.delivered + lost + stats.pending, stats.sent + stats.recovered, JSON.stringify(stats));
  }

  private check(): void {
    const { pending, lost } = this.client.stats();
    assert.equal(pending, 0, "everything is settled in the end");
    const numbers = new Map(this.sent.map(({ id, number }) => [id, number]));
    const order = this.server.order.map((id) => numbers.get(id)!);
    assert.deepEqual(order, [...order].sort((a, b) => a - b), "what comes later was sent later");
    const missing = [...this.safe].filter((number) => {
      const id = this.sent[number]!.id!;
      return !this.server.taken.has(id) && !this.server.refused.has(id);
    });
    // An event in doubt that the server never had expires like one that it had: nobody can tell them apart.
    const expired = (this.lost.expired ?? 0) + (lost.expired ?? 0);
    assert.ok(missing.length <= expired, `${missing.length} stored events are missing, ${expired} have expired`);
    if (!this.faults) assert.deepEqual(this.server.twice, [], "nothing is sent again when the server has forgotten it");
  }
}

async function live(more: Partial<Options>, faults: boolean): Promise<void> {
  for (const seed of SEEDS) {
    await new Life(seed, more, faults).live().catch((cause: unknown) => {
      throw new Error(`KILLFEED_SEED=${seed}`, { cause });
    });
  }
}

test("whatever breaks: in order, none lost that is stored, none sent when it could count twice", () => live({}, false));

test("the same with a store that fails and hangs", () => live({}, true));
