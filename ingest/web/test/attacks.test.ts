// What a game, a server, a store and a clock may do wrong, and what the client does then.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ambient, type Event } from "../src/index.js";
import { decode } from "../src/record.js";
import { accept, isBalanced, Lab, type Answer } from "./support/lab.js";
import { Random } from "./support/random.js";

test("send never throws, whatever it is given, and counts what is no event", async () => {
  const lab = new Lab();
  const { client } = lab.start({ lossReportMs: 0 });
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  const throwing = { get data() { throw new Error("no"); }, type: "a" };
  const deep = JSON.parse("[".repeat(2_000) + "]".repeat(2_000)) as unknown;
  const wrong: unknown[] = [
    undefined, null, { get type() { throw new Error("no"); } }, 1, "text", {}, { type: "" }, { type: 7 },
    { type: "a", data: circle }, { type: "a", data: 1n },
    throwing, { type: "a", data: { toJSON() { throw new Error("no"); } } }, { type: "a", id: "mine" },
    { type: "a", playerid: {} }, { type: "a", playerid: () => 1 }, { type: "a", playerid: Symbol("s") },
    { type: "a", time: "2026-01-01T00:00:00Z" }, { type: "a", sampledrate: 2 },
  ];
  for (const event of wrong) assert.equal(client.send(event as Event), undefined);
  assert.deepEqual(client.stats().lost, { refused: wrong.length });
  const right: Event[] = [
    { type: "a", data: deep }, { type: "a", data: "\ud800 \u2028 \n" }, { type: "a", data: undefined, playerid: undefined },
    { type: "a", data: [undefined, NaN, () => 1] }, { type: "__proto__" }, { type: "constructor", constructor: "x" },
    { type: "a", flag: true, level: 7 },
  ];
  for (const event of right) assert.equal(typeof client.send(event), "string");
  client.send(JSON.parse('{"type": "a", "__proto__": "x", "data": {"__proto__": 1}}') as Event);
  void client.flush();
  await lab.world.advance(1);
  assert.equal(lab.events.length, right.length + 1);
  assert.equal(lab.events[6]!.flag, "true");
  assert.equal(lab.events[6]!.level, "7");
  assert.ok(isBalanced(client));
});

test("a hook changes events, drops them, and can't break the client", async () => {
  const lab = new Lab();
  const hooks = [
    (event: Event) => ({ ...event, data: { masked: true } }),
    () => null,
    () => undefined,
    () => { throw new Error("a bug of the game"); },
    () => "nonsense" as unknown as Event,
  ];
  const seen: Event[] = [];
  let hook = hooks[0]!;
  const { client } = lab.start({ lossReportMs: 0, beforeSend: (event) => (seen.push(event), hook(event)) });
  client.setAttribute("region", "euw");
  client.setData("build", 7);
  for (hook of hooks) client.send({ type: "a", data: { secret: 1 } });
  assert.deepEqual(seen[0], { region: "euw", type: "a", data: { build: 7, secret: 1 } });
  assert.deepEqual(client.stats().lost, { hook: 4 });
  void client.flush();
  await lab.world.advance(1);
  assert.deepEqual(lab.events.map(({ data }) => data as unknown), [{ masked: true }]);
});

test("a huge event is lost alone, and costs no time", async () => {
  const lab = new Lab();
  const { client } = lab.start({ eventBytes: 1_000, lossReportMs: 0 });
  const fits = (letters: number) => client.send({ type: "a", data: "x".repeat(letters) });
  const most = Array.from({ length: 1_000 }, (_, letters) => letters).findIndex((letters) => !fits(letters)) - 1;
  assert.ok(most > 700, `${most} letters fit`);
  assert.equal(client.send({ type: "a", data: "é".repeat(most) }), undefined, "bytes count, not letters");
  assert.equal(client.send({ type: "a", data: "x".repeat(50_000_000) }), undefined);
  assert.equal(client.stats().lost.too_large, 3);
  void client.flush();
  await lab.world.advance(1);
  const lines = lab.events.map((event) => JSON.stringify(event).length + 1);
  assert.equal(Math.max(...lines), 1_000, "the bound is met to the byte");
});

const garbage: Record<string, (ids: string[]) => Response> = {
  "a page of HTML": () => new Response("<html>"),
  "nothing": () => new Response(""),
  "half of an answer": () => new Response('{"results": [{"id": "'),
  "no results": () => new Response("{}"),
  "results that are none": () => new Response('{"results": 7}'),
  "results of nulls": (ids) => new Response(JSON.stringify({ results: ids.map(() => null) })),
  "too few results": (ids) => new Response(JSON.stringify({ results: [{ id: ids[0], status: 202 }] })),
  "results of other events": (ids) => new Response(JSON.stringify({ results: ids.map(() => ({ id: "?", status: 202 })) })),
  "no status": (ids) => new Response(JSON.stringify({ results: ids.map((id) => ({ id })) })),
  "404": () => new Response("not here", { status: 404 }),
  "500": () => new Response("{}", { status: 500 }),
  "a Retry-After that is none": () => new Response("{}", { status: 503, headers: { "retry-after": "soon" } }),
  "a Retry-After of the past": () => new Response("{}", { status: 503, headers: { "retry-after": "-5" } }),
  "a Retry-After of an age": () => new Response("{}", { status: 503, headers: { "retry-after": "1e99" } }),
  "a body that never ends": () => new Response(new ReadableStream({ pull: () => new Promise(() => {}) })),
  "a body that is endless": () => new Response(new ReadableStream({ pull: (to) => to.enqueue(new Uint8Array(1 << 20)) })),
  "a body that breaks off": () => new Response(new ReadableStream({ start: (to) => to.error(new Error("reset")) })),
};

for (const [what, answer] of Object.entries(garbage)) {
  test(`the server answers with ${what}: nothing is lost, nothing is taken for delivered`, async () => {
    const lab = new Lab();
    lab.answer = (events, request) => (request === 1 ? answer(events.map(({ id }) => id)) : undefined);
    const { client } = lab.start({ batchEvents: 2 });
    client.send({ type: "a" });
    client.send({ type: "b" });
    await lab.world.advance(10);
    assert.equal(client.stats().delivered, 0);
    await lab.world.advance(3_700_000);
    assert.deepEqual([client.stats().delivered, client.stats().pending, client.stats().failures], [2, 0, 1]);
    assert.deepEqual(lab.requests.map((request) => request.map(({ type }) => type)), [["a", "b"], ["a", "b"]]);
  });
}

for (const [status, isDoubt] of [[500, true], [502, true], [504, true], [404, true], [408, false], [429, false], [503, false]] as const) {
  test(`after ${status} without results events are ${isDoubt ? "in doubt" : "not in doubt"}`, async () => {
    const lab = new Lab();
    lab.config = () => new Response('{"dedupe": {"window_s": 60}}');
    lab.answer = (_, request) => {
      if (request === 1) return new Response("{}", { status });
      if (lab.world.now < 100_000) throw Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
      return undefined;
    };
    const { client } = lab.start({ batchEvents: 1, lossReportMs: 0 });
    client.send({ type: "a" });
    await lab.world.advance(1_000_000);
    assert.deepEqual([client.stats().lost, client.stats().delivered], isDoubt ? [{ expired: 1 }, 0] : [{}, 1]);
  });
}

test("a server that takes one event of each request is not waited for longer and longer", async () => {
  const lab = new Lab();
  lab.answer = (events) => {
    const results = events.map(({ id }, place) => ({ id, status: place === 0 ? 202 : 503, retry: place > 0 }));
    return new Response(JSON.stringify({ results }));
  };
  const { client } = lab.start({ batchEvents: 20, backoffFirstMs: 100 });
  for (let n = 0; n < 20; n++) client.send({ type: "a" });
  await lab.world.advance(2_000);
  assert.deepEqual([client.stats().delivered, client.stats().failures], [20, 19]);
});

test("a configuration of garbage changes nothing", async () => {
  const texts = [
    "", "null", "[]", "7", '"x"', '{"sampling": 7, "dedupe": null, "limits": []}',
    '{"sampling": {"one_in": "many", "one_in_by_type": {"a": -1, "b": null}}}',
    '{"limits": {"event_bytes": "1", "batch_events": 0, "body_decompressed_bytes": -1}, "server_time": "yesterday"}',
    '{"dedupe": {"window_s": 0, "window_s_by_type": 1}, "server_time": {}, "content_encodings": "gzip", "enabled": "no"}',
  ];
  for (const text of texts) {
    const lab = new Lab();
    lab.config = () => new Response(text);
    const { client } = lab.start();
    await lab.world.advance(0);
    for (const type of ["a", "b", "constructor", "__proto__", "toString"]) client.send({ type });
    void client.flush();
    await lab.world.advance(0);
    assert.equal(client.stats().delivered, 5, text);
    assert.equal(lab.events[0]!.time.slice(0, 19), "2026-01-01T00:00:00");
  }
});

test("the server may say that it wants no events", async () => {
  const lab = new Lab();
  lab.config = () => new Response('{"enabled": false}');
  const { client } = lab.start({ lossReportMs: 0 });
  await lab.world.advance(0);
  client.send({ type: "a" });
  assert.deepEqual(client.stats().lost, { sampled: 1 });
});

test("stored records are damaged: what can be read is sent, the rest is counted", async () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = new Random(seed);
    const lab = new Lab();
    const first = lab.start({ deliveryDefault: "stored", batchTimeMs: 60_000 });
    first.client.startSession("p1");
    for (let n = 0; n < 20; n++) first.client.send({ type: "a", data: { n } });
    await lab.world.advance(1_000);
    first.kill();
    const keys = [...lab.disk.contents.keys()];
    for (let times = 0; times < 5; times++) {
      const key = random.pick(keys);
      const text = lab.disk.contents.get(key) ?? "";
      const at = random.below(text.length + 1);
      const damage = ["", text.slice(0, at), `${text.slice(0, at)}\u0000${text.slice(at + 1)}`, "null", "[]", "[1,2,3,4]", "{}"];
      lab.disk.contents.set(key, random.pick(damage));
    }
    lab.disk.contents.set("lanes/", "x").set("nonsense", "x").set("lanes/gone", "NaN");
    const { client } = lab.start({ deliveryDefault: "stored", lossReportMs: 0 });
    await lab.world.advance(100_000);
    const { recovered, lost, pending } = client.stats();
    assert.equal(pending, 0, `seed ${seed}`);
    assert.ok(isBalanced(client), `seed ${seed}`);
    assert.ok((lost.damaged ?? 0) <= 5 && recovered >= 21, `seed ${seed}: ${JSON.stringify(client.stats())}`);
    assert.deepEqual(lab.storedEvents, [], `seed ${seed}`);
  }
});

test("on a page that came over plain HTTP ids are random, too", () => {
  Object.defineProperty(crypto, "randomUUID", { value: undefined, configurable: true });
  const ids = Array.from({ length: 1_000 }, () => ambient().uuid());
  delete (crypto as Partial<Crypto>).randomUUID;
  assert.equal(new Set(ids).size, 1_000);
  for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

test("of a stored record everything is looked at", () => {
  const head = '{"specversion":"1.0","id":"i","source":"/s","type":"t"';
  const whole = ["i", "t", head, 1, true, null, null];
  assert.equal(decode("k", JSON.stringify(whole))?.id, "i");
  const wrong: unknown[] = [
    [7, "t", head, 1, true], ["j", "t", head, 1, true], ["i", "u", head, 1, true], ["i", 7, head, 1, true],
    ["i", "t", head.slice(0, -1), 1, true], ["i", "t", 7, 1, true], ["i", "t", head, "1", true], ["i", "t", head],
    ["i", "t", "null", 1, true], ["i", "t", `${head}\n`, 1, true], {}, 7, null, "", [],
  ];
  for (const record of wrong) assert.equal(decode("k", JSON.stringify(record)), undefined, JSON.stringify(record));
});

test("a store that never answers holds up the first event for seconds, and no other", async () => {
  const lab = new Lab();
  lab.disk.fault = () => new Promise(() => {});
  const { client } = lab.start({ deliveryDefault: "stored", batchTimeMs: 100 });
  client.send({ type: "a" });
  await lab.world.advance(3_000);
  assert.equal(client.stats().delivered, 1);
  client.send({ type: "b" });
  await lab.world.advance(101);
  assert.equal(client.stats().delivered, 2);
});

test("a store that can't be read is none", async () => {
  const lab = new Lab();
  for (const read of [() => new Promise<never>(() => {}), () => Promise.reject(new Error("no"))]) {
    const store = { read, write: () => Promise.reject(new Error("no")) };
    const { client } = lab.start({ deliveryDefault: "stored", batchTimeMs: 100, store });
    client.send({ type: "a" });
    await lab.world.advance(10_000);
    assert.equal(client.stats().delivered, 1);
    assert.equal(await close(lab, client.close(100)), true);
  }
});

test("clocks jump, stand still and go back: times only grow, by the server's clock", async () => {
  const lab = new Lab();
  lab.config = () => new Response(JSON.stringify({ server_time: new Date(Date.UTC(2030, 0, 1) + lab.world.now).toISOString() }));
  const { client } = lab.start({ batchEvents: 10_000 });
  await lab.world.advance(0);
  for (const jump of [0, -1e12, 1e12, 3_000, -3_000, Infinity, NaN]) {
    lab.world.wallJump = jump;
    for (let times = 0; times < 50; times++) client.send({ type: "a" });
    await lab.world.advance(1);
  }
  void client.flush();
  await lab.world.advance(0);
  const times = lab.events.map(({ time }) => time);
  assert.deepEqual(times, [...new Set(times)].sort(), "each time is later than the one before");
  assert.equal(times.length, 350);
  assert.ok(times.every((time) => time.startsWith("2030-01-01T00:00:00.0")), times.at(-1));
});

test("times that were taken before the server's was known are set right, of an earlier run, too", async () => {
  const lab = new Lab();
  const serverTime = () => new Date(Date.UTC(2030, 0, 1) + lab.world.now).toISOString();
  const first = lab.start({ deliveryDefault: "stored" });
  first.client.send({ type: "a" });
  await lab.world.advance(1_000);
  first.kill();
  lab.config = () => new Response(JSON.stringify({ server_time: serverTime() }));
  const late = async (url: string, init: RequestInit) => {
    if (!url.endsWith("/v1/config")) return lab.fetch(url, init);
    await lab.world.sleep(1_000);
    const response = await lab.fetch(url, init);
    await lab.world.sleep(1_000);
    return response;
  };
  lab.answer = () => (lab.world.now < 5_000 ? new Response("{}", { status: 503 }) : undefined);
  const { client } = lab.start({ deliveryDefault: "stored" }, { fetch: late });
  client.send({ type: "b" });
  await lab.world.advance(100_000);
  const taken = lab.requests.at(-1)!.map(({ type, time }) => [type, time.slice(0, 23)]);
  assert.deepEqual(taken, [["a", "2030-01-01T00:00:00.000"], ["b", "2030-01-01T00:00:01.000"]]);
});

test("the server's clock is set back: times still only grow", async () => {
  const lab = new Lab();
  let hour = 2;
  lab.config = () => new Response(JSON.stringify({ server_time: new Date(Date.UTC(2030, 0, 1, hour) + lab.world.now).toISOString() }));
  const { client } = lab.start({ batchEvents: 1, configTimeMs: 60_000 });
  for (hour of [2, 1, 0, 4, 3]) {
    await lab.world.advance(61_000);
    client.send({ type: "a" });
    await lab.world.advance(1_000);
    client.send({ type: "a" });
  }
  await lab.world.advance(61_000);
  const times = lab.events.map(({ time }) => time);
  assert.deepEqual(times, [...times].sort());
  assert.deepEqual([times.length, lab.configs, times[0]?.slice(0, 13), times.at(-1)?.slice(0, 13)], [10, 6, "2030-01-01T02", "2030-01-01T04"]);
});

test("a wait of years is a wait of an hour, and timers don't overflow", async () => {
  const lab = new Lab();
  const waits: number[] = [];
  lab.answer = (_, request) =>
    request > 3 ? undefined : new Response("{}", { status: 429, headers: { "retry-after": "999999999999" } });
  const after = (ms: number, run: () => void) => (waits.push(ms), lab.world.after(ms, run));
  const { client } = lab.start({ batchEvents: 1 }, { after });
  client.send({ type: "a" });
  await lab.world.advance(20_000_000);
  assert.equal(client.stats().delivered, 1);
  assert.ok(waits.every((ms) => ms >= 0 && ms < 2 ** 31), String(Math.max(...waits)));
});

test("events come faster than they can be sent: memory stays within its bound, and order holds", async () => {
  const lab = new Lab();
  const slow: Answer = async (events) => (await lab.world.sleep(1_000), accept(events));
  lab.answer = slow;
  const { client } = lab.start({ queueEvents: 1_000, queueBytes: 100_000, batchEvents: 50, lossReportMs: 0 });
  for (let second = 0; second < 20; second++) {
    for (let n = 0; n < 2_000; n++) client.send({ type: "a", data: { n: second * 2_000 + n } });
    assert.ok(client.stats().memoryBytes <= 100_000);
    assert.ok(client.stats().pending <= 1_000);
    await lab.world.advance(1_000);
  }
  await lab.world.advance(100_000);
  const numbers = lab.events.map(({ data }) => data.n as number);
  assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b));
  assert.ok(isBalanced(client));
  assert.equal(client.stats().pending, 0);
});

async function close<T>(lab: Lab, closing: Promise<T>): Promise<T> {
  await lab.world.advance(60_000);
  return closing;
}
