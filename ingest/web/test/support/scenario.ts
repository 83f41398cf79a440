// Runs one scenario file: the script of a client, of its server and of time, held against what is expected.

import assert from "node:assert/strict";
import { Client, type Options } from "../../src/index.js";
import { Random } from "./random.js";
import { Disk, EPOCH, idle, mount, World } from "./virtual.js";

type Json = Record<string, any>;
type Range = number | [number, number];

export interface Scenario {
  name: string;
  what: string;
  config?: Json;
  config_answer?: Json;
  do: Json[];
  server: Json[];
  expect: Json;
}

/** Options whose name differs by more than its spelling. */
const NAMES: Record<string, string> = { batch_ms: "batchTimeMs" };
const LOSS_TYPE = "client.loss";

interface Request {
  at: number;
  events: Json[];
}

class Run {
  private readonly world: World;
  private readonly disk = new Disk();
  private readonly requests: Request[] = [];
  private readonly taken = new Map<string, Json>();
  private readonly ids: (string | undefined)[] = [];
  private readonly ended: Client[] = [];
  private client!: Client;
  private kill = () => {};
  private answers: Json[];

  constructor(private readonly scenario: Scenario, seed: number) {
    this.world = new World(new Random(seed));
    this.answers = [...scenario.server];
  }

  async run(): Promise<void> {
    await this.start();
    for (const step of this.scenario.do) {
      await this.step(step);
      await this.world.advance(0);
    }
    this.check();
  }

  private async start(): Promise<void> {
    const { platform, kill } = this.world.process((url, init) => this.fetch(url, init));
    const { store, unmount } = mount(this.disk);
    const options = { ...this.options(), url: "http://killfeed.test", source: "/test", platform, store };
    this.client = new Client(options);
    this.kill = () => {
      kill();
      unmount();
    };
    const { attributes = {}, data = {} } = this.scenario.config?.super ?? {};
    for (const [name, value] of Object.entries(attributes)) this.client.setAttribute(name, String(value));
    for (const [name, value] of Object.entries(data)) this.client.setData(name, value);
    await this.world.advance(0);
  }

  private options(): Partial<Options> {
    const options: Json = { storeTimeMs: 0, lossReportMs: 0 };
    for (const [name, value] of Object.entries(this.scenario.config ?? {})) {
      if (name === "stored_types") options.delivery = Object.fromEntries(value.map((type: string) => [type, "stored"]));
      else if (name !== "super") options[NAMES[name] ?? camel(name)] = value;
    }
    return options;
  }

  private async step(step: Json): Promise<void> {
    if (step.send) {
      const { data_bytes, ...event } = step.send;
      if (data_bytes !== undefined) event.data = { text: "x".repeat(data_bytes) };
      for (let times = step.times ?? 1; times > 0; times--) this.ids.push(this.client.send(event));
    } else if (step.advance_ms !== undefined) {
      await this.world.advance(step.advance_ms);
    } else if (step.flush) {
      void this.client.flush();
    } else if (step.consent !== undefined) {
      this.client.setConsent(step.consent);
    } else if (step.wall_jump_ms !== undefined) {
      this.world.wallJump += step.wall_jump_ms;
    } else if (step.restart) {
      await this.restart(step.after_ms ?? 0);
    } else {
      assert.fail(`no such step: ${JSON.stringify(step)}`);
    }
  }

  private async restart(afterMs: number): Promise<void> {
    this.balance(this.client);
    this.kill();
    await this.world.advance(afterMs);
    this.ended.push(this.client);
    await this.start();
  }

  private async fetch(url: string, init: RequestInit): Promise<Response> {
    if (url.endsWith("/v1/config")) {
      if (!this.scenario.config_answer) throw new TypeError("fetch failed");
      const answer = { ...this.scenario.config_answer };
      if (answer.server_time) answer.server_time = new Date(Date.parse(answer.server_time) + this.world.now).toISOString();
      return new Response(JSON.stringify(answer));
    }
    const events = String(init.body).trimEnd().split("\n").map((line) => JSON.parse(line) as Json);
    const isReport = events.every((event) => event.type === LOSS_TYPE);
    const answer = isReport ? { status: 202 } : (this.answers.shift() ?? { status: 202 });
    if (!isReport) this.requests.push({ at: this.world.now, events });
    if (answer.takes_ms) await this.world.sleep(answer.takes_ms);
    return this.answer(answer, events);
  }

  private answer(answer: Json, events: Json[]): Response {
    if (answer.cut === "connect") throw Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
    if (answer.cut === "before") throw new TypeError("fetch failed");
    if (answer.garbage) return new Response("<html>");
    const isAll = answer.status === 202 && !answer.results;
    const results = isAll || answer.cut ? events.map(() => ({ status: 202 })) : answer.results;
    const full = results?.map((result: Json, place: number) => ({
      id: events[place]?.id, retry: false, unknown: false, durability: null, error: null, ...result,
    }));
    full?.forEach((result: Json, place: number) => {
      const event = events[place]!;
      if (result.status === 202 && !this.taken.has(event.id)) this.taken.set(event.id, event);
    });
    if (answer.cut) throw new TypeError("fetch failed");
    const headers = answer.retry_after_s === undefined ? {} : { "retry-after": String(answer.retry_after_s) };
    const body = full ? { results: full } : { title: "problem" };
    return new Response(JSON.stringify(body), { status: answer.status, headers });
  }

  private check(): void {
    const { expect } = this.scenario;
    this.checkRequests(expect.requests);
    const reports = [...this.taken.values()].filter((event) => event.type === LOSS_TYPE);
    within(this.taken.size - reports.length, expect.delivered, "delivered");
    const lost = sums([...this.ended, this.client].map((client) => client.stats().lost));
    for (const reason of new Set([...Object.keys(lost), ...Object.keys(expect.lost ?? {})])) {
      within(lost[reason] ?? 0, expect.lost?.[reason] ?? 0, `lost as ${reason}`);
    }
    within(this.client.stats().pending, expect.pending ?? 0, "pending");
    if (expect.reported) {
      const told = reports.flatMap((report) => report.data.lost as Json[]);
      assert.deepEqual(sums(told.map(({ reason, events }) => ({ [reason]: events }))), expect.reported, "reported");
    }
    for (const { event, ms } of expect.times ?? []) {
      const time = Date.parse(this.taken.get(this.ids[event]!)?.time) - EPOCH;
      within(time, ms, `time of event ${event}`);
    }
    for (const { event, has } of expect.attributes ?? []) this.checkAttributes(event, has);
    this.balance(this.client);
  }

  private checkRequests(expected: { events: number[]; at_ms?: Range }[] | undefined): void {
    const known = this.ids.filter((id) => id !== undefined);
    assert.equal(new Set(known).size, known.length, "every event has an id of its own");
    const sent = this.requests.map(({ at, events }) => ({
      at, events: events.filter((event) => event.type !== LOSS_TYPE).map((event) => this.ids.indexOf(event.id)),
    }));
    const text = JSON.stringify(sent);
    if (expected) assert.deepEqual(sent.map(({ events }) => events), expected.map(({ events }) => events), text);
    expected?.forEach(({ at_ms }, place) => at_ms === undefined || within(sent[place]!.at, at_ms, `request ${place}: ${text}`));
    const serverTime = Date.parse(this.scenario.config_answer?.server_time ?? "") - EPOCH;
    for (const { at, events } of this.requests) {
      for (const event of events) {
        const sentAt = Date.parse(event.sentat) - EPOCH - at;
        const clocks = [0, this.world.wallJump, serverTime || 0];
        assert.ok(clocks.some((offset) => Math.abs(sentAt - offset) <= 2), `sentat is ${sentAt} ms off`);
      }
    }
  }

  private checkAttributes(event: number, has: Json): void {
    const id = this.ids[event];
    const sent = this.requests.flatMap(({ events }) => events).find((other) => other.id === id);
    assert.ok(sent, `event ${event} was sent`);
    for (const [name, value] of Object.entries(has)) {
      if (value === null) assert.ok(!(name in sent), `event ${event} has no ${name}`);
      else assert.deepEqual(sent[name], value, `${name} of event ${event}`);
    }
  }

  private balance(client: Client): void {
    const stats = client.stats();
    const lost = Object.values(stats.lost).reduce((a, b) => a + b, 0);
    assert.equal(stats.delivered + lost + stats.pending, stats.sent + stats.recovered, JSON.stringify(stats));
  }
}

/** Runs a scenario with the chances that `seed` gives. */
export async function run(scenario: Scenario, seed: number): Promise<void> {
  await new Run(scenario, seed).run();
  await idle();
}

function within(value: number, range: Range, what: string): void {
  const [least, most] = typeof range === "number" ? [range, range] : range;
  // What is drawn is no whole number of ms; what is expected is.
  assert.ok(value >= least - 0.5 && value <= most + 0.5, `${what}: ${value} is not in ${JSON.stringify(range)}`);
}

function sums(all: Json[]): Json {
  const sum: Json = {};
  for (const one of all) for (const [key, value] of Object.entries(one)) sum[key] = (sum[key] ?? 0) + value;
  return sum;
}

function camel(name: string): string {
  return name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}
