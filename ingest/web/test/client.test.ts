// What a game relies on: consent, sessions, reports, close, statistics, the page's end.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryStore, type PageEvents } from "../src/index.js";
import { isBalanced, Lab, Locks } from "./support/lab.js";
import { EPOCH } from "./support/virtual.js";

const stored = { deliveryDefault: "stored" } as const;

test("without consent nothing is stored, nothing is sent, nothing is asked for", async () => {
  const lab = new Lab();
  const { client } = lab.start({ ...stored, consent: false, lossReportMs: 1_000 });
  client.startSession("p1");
  client.send({ type: "a" });
  client.endSession();
  await lab.world.advance(100_000);
  assert.deepEqual([lab.requests.length, lab.configs, lab.disk.writes], [0, 0, 0]);
  assert.deepEqual(client.stats().lost, { no_consent: 3 });
  client.setConsent(true);
  client.send({ type: "b" });
  await lab.world.advance(10_000);
  const [b, report] = [lab.events.find(({ type }) => type === "b"), lab.events.find(({ data }) => data?.lost)];
  assert.ok(b);
  assert.deepEqual(report?.data.lost[1], { reason: "no_consent", type: "a", events: 1 });
});

test("who opts out leaves nothing behind, also of pages that ended, and of what is under way", async () => {
  const lab = new Lab();
  lab.answer = () => new Response("{}", { status: 503 });
  const first = lab.start(stored);
  for (let n = 0; n < 10; n++) first.client.send({ type: "a" });
  await lab.world.advance(10_000);
  first.kill();
  const { client } = lab.start({ ...stored, lossReportMs: 0 });
  client.startSession("p1");
  client.send({ type: "a" });
  await lab.world.advance(100);
  assert.equal(lab.storedEvents.length, 12);
  client.setConsent(false);
  await lab.world.advance(100_000);
  assert.deepEqual([...lab.disk.contents.keys()].filter((key) => !key.startsWith("lanes/")), []);
  assert.deepEqual(client.stats().lost, { no_consent: 12 });
  assert.ok(isBalanced(client));
  const requests = lab.requests.length;
  client.send({ type: "a" });
  await lab.world.advance(100_000);
  assert.equal(lab.requests.length, requests);
});

test("who opts out and in again at once keeps what comes then", async () => {
  const lab = new Lab();
  const first = lab.start({ ...stored, batchTimeMs: 60_000, lossReportMs: 0 });
  first.client.send({ type: "before" });
  lab.disk.fault = () => lab.world.sleep(100);
  await lab.world.advance(50);
  // While the store is still writing what goes.
  first.client.setConsent(false);
  first.client.setConsent(true);
  first.client.send({ type: "after" });
  await lab.world.advance(10_000);
  first.kill();
  lab.start(stored);
  await lab.world.advance(10_000);
  assert.deepEqual(lab.events.map(({ type }) => type), ["after"]);
});

test("what is under way when the player opts out is counted by its answer", async () => {
  const lab = new Lab();
  lab.answer = async () => (await lab.world.sleep(1_000), undefined as unknown as Response);
  const { client } = lab.start({ ...stored, batchEvents: 2, lossReportMs: 0 });
  for (let n = 0; n < 3; n++) client.send({ type: "a" });
  await lab.world.advance(500);
  client.setConsent(false);
  await lab.world.advance(10_000);
  assert.deepEqual([client.stats().delivered, client.stats().lost, lab.requests.length], [2, { no_consent: 1 }, 1]);
});

test("a session has a start and an end, and every event in between its id", async () => {
  const lab = new Lab();
  const { client } = lab.start();
  client.send({ type: "before" });
  const session = client.startSession("p1");
  client.send({ type: "a" });
  client.send({ type: "b", sessionid: "another" });
  await lab.world.advance(1_500);
  client.endSession();
  client.endSession();
  client.send({ type: "after" });
  void client.flush();
  await lab.world.advance(0);
  assert.deepEqual(
    lab.events.map(({ type, sessionid, playerid }) => [type, sessionid, playerid]),
    [
      ["before", undefined, undefined], ["session.start", session, "p1"], ["a", session, undefined],
      ["b", "another", undefined], ["session.end", session, "p1"], ["after", undefined, undefined],
    ],
  );
  const { repaired, duration_s } = lab.events[4]!.data;
  assert.equal(repaired, false);
  assert.ok(Math.abs(duration_s - 1.5) < 0.001, duration_s);
});

for (const when of ["online", "offline"]) {
  test(`a session without an end is ended by the next start, when it was last heard of ${when}`, async () => {
    const lab = new Lab();
    if (when === "offline") lab.answer = () => new Response("{}", { status: 503, headers: { "retry-after": "3600" } });
    const first = lab.start({ ...stored, batchTimeMs: 1_000 });
    const session = first.client.startSession("p1");
    for (let second = 0; second < 60; second++) {
      first.client.send({ type: "a" });
      await lab.world.advance(1_000);
    }
    first.kill();
    lab.answer = () => undefined;
    await lab.world.advance(3_600_000);
    lab.start(stored);
    await lab.world.advance(100_000);
    const [end, ...others] = lab.events.filter(({ type }) => type === "session.end");
    assert.deepEqual([end?.sessionid, end?.playerid, end?.data.repaired, others.length], [session, "p1", true, 0]);
    const seen = (Date.parse(end!.time) - EPOCH) / 1_000;
    assert.ok(seen > 49 && seen <= 60, `ended after ${seen} s`);
    lab.start(stored);
    await lab.world.advance(100_000);
    assert.equal(lab.events.filter(({ type }) => type === "session.end").length, 1);
  });
}

test("a report that the server refuses is told again, one that may have arrived is not", async () => {
  for (const [status, told] of [[400, 2], [503, 2], [504, 1]] as const) {
    const lab = new Lab();
    lab.config = () => new Response('{"dedupe": {"window_s": 20}}');
    const isReport = (events: { type: string }[]) => events.some(({ type }) => type === "client.loss");
    let answers = 0;
    lab.answer = (events) => (isReport(events) && answers++ === 0 ? new Response("{}", { status, headers: { "retry-after": "30" } }) : undefined);
    const { client } = lab.start({ eventBytes: 300 });
    client.send({ type: "big", data: "x".repeat(300) });
    await lab.world.advance(1_000_000);
    const reports = lab.requests.filter(isReport).map(([report]) => report!.data.lost as unknown);
    assert.deepEqual(reports, Array(told).fill([{ reason: "too_large", type: "big", events: 1 }]), `after ${status}`);
    assert.deepEqual(client.stats().lost, { too_large: 1 });
  }
});

test("an event in doubt waits for what the server says of its window, and no other event does", async () => {
  const lab = new Lab();
  lab.answer = () => new Response("{}", { status: 504 });
  const first = lab.start({ deliveryDefault: "stored", batchEvents: 1 });
  first.client.send({ type: "a" });
  await lab.world.advance(10);
  first.kill();
  await lab.world.advance(100_000);
  lab.answer = () => undefined;
  lab.config = () => new Response('{"dedupe": {"window_s": 60}}');
  const late = async (url: string, init: RequestInit) => {
    if (url.endsWith("/v1/config")) await lab.world.sleep(3_000);
    return lab.fetch(url, init);
  };
  const second = lab.start({ deliveryDefault: "stored", lossReportMs: 0 }, { fetch: late });
  await lab.world.advance(10_000);
  assert.deepEqual([second.client.stats().lost, second.client.stats().delivered], [{ expired: 1 }, 0]);
  const third = lab.start({ batchEvents: 1 }, { fetch: late });
  third.client.send({ type: "b" });
  await lab.world.advance(10);
  assert.equal(third.client.stats().delivered, 1);
});

test("an event that was surely not kept doesn't expire, over restarts neither", async () => {
  const lab = new Lab();
  lab.answer = () => new Response("{}", { status: 503 });
  for (let starts = 0; starts < 3; starts++) {
    const { client, kill } = lab.start({ ...stored, batchEvents: 1, lossReportMs: 0 });
    if (starts === 0) client.send({ type: "a" });
    await lab.world.advance(10_000);
    kill();
    await lab.world.advance(100_000_000);
  }
  lab.answer = () => undefined;
  const { client } = lab.start({ ...stored, lossReportMs: 0 });
  await lab.world.advance(10_000);
  assert.deepEqual([client.stats().delivered, client.stats().lost], [1, {}]);
});

test("what a closed client had not told is told by the next start", async () => {
  const lab = new Lab();
  const { client } = lab.start({ eventBytes: 300, lossReportMs: 0 });
  client.send({ type: "big", data: "x".repeat(300) });
  const closing = client.close();
  await lab.world.advance(5_000);
  await closing;
  lab.start();
  await lab.world.advance(100_000);
  assert.deepEqual(lab.events.map(({ data }) => data.lost as unknown), [[{ reason: "too_large", type: "big", events: 1 }]]);
});

test("losses that no report has told are told by the next start", async () => {
  const lab = new Lab();
  const first = lab.start({ ...stored, eventBytes: 300 });
  for (let n = 0; n < 3; n++) first.client.send({ type: "big", data: "x".repeat(300) });
  await lab.world.advance(100);
  first.kill();
  const second = lab.start(stored);
  await lab.world.advance(100);
  second.kill();
  const { client } = lab.start(stored);
  client.send({ type: "a" });
  await lab.world.advance(100_000);
  const reports = lab.events.filter(({ type }) => type === "client.loss");
  assert.deepEqual(reports.map(({ data }) => data.lost as unknown), [[{ reason: "too_large", type: "big", events: 3 }]]);
  assert.deepEqual(client.stats().lost, {}, "they were another run's");
});

test("closing ends the session, sends what there is, keeps what is stored, and counts the rest", async () => {
  const lab = new Lab();
  const { client } = lab.start({ delivery: { kept: "stored" } });
  client.startSession();
  client.send({ type: "kept" });
  client.send({ type: "a" });
  const closing = client.close();
  await lab.world.advance(5_000);
  assert.equal(await closing, true);
  assert.deepEqual(lab.events.map(({ type }) => type), ["session.start", "kept", "a", "session.end"]);
  assert.equal(client.send({ type: "late" }), undefined);
  assert.deepEqual(client.stats().lost, { closed: 1 });
  assert.equal(await client.close(), true);

  lab.answer = () => new Response("{}", { status: 503 });
  const down = lab.start({ delivery: { kept: "stored" } });
  down.client.send({ type: "kept" });
  down.client.send({ type: "a" });
  const failing = down.client.close(1_000);
  await lab.world.advance(5_000);
  assert.equal(await failing, false);
  assert.deepEqual([down.client.stats().lost, down.client.stats().stored], [{}, 2]);
  assert.ok(isBalanced(down.client));
  const nowhere = lab.start({ store: undefined });
  nowhere.client.send({ type: "a" });
  const hopeless = nowhere.client.close(1_000);
  await lab.world.advance(5_000);
  assert.equal(await hopeless, false);
  assert.deepEqual(nowhere.client.stats().lost, { closed: 1 });
  const requests = lab.requests.length;
  await lab.world.advance(1_000_000);
  assert.equal(lab.requests.length, requests, "nothing is sent by a client that is closed");
  lab.answer = () => undefined;
  const next = lab.start({ delivery: { kept: "stored" } });
  await lab.world.advance(100_000);
  assert.equal(next.client.stats().delivered, 2);
});

test("flush is ready when everything before it is, or when its time is over", async () => {
  const lab = new Lab();
  const { client } = lab.start();
  assert.equal(await client.flush(), true, "there is nothing to wait for");
  lab.answer = (_, request) => (request < 3 ? new Response("{}", { status: 503 }) : undefined);
  client.send({ type: "a" });
  const early = client.flush(100);
  const late = client.flush(100_000);
  client.send({ type: "b" });
  await lab.world.advance(100_000);
  assert.deepEqual([await early, await late], [false, true]);
});

test("tabs take over what is nobody's, at their start or when a tab dies that they found there, and leave nothing behind", async () => {
  const lab = new Lab();
  const locks = new Locks();
  lab.answer = () => new Response("{}", { status: 503 });
  const open = () => {
    const { lock, die } = locks.page();
    const { client, kill } = lab.start({ ...stored, batchTimeMs: 1_000 }, { lock });
    return { client, kill: () => (kill(), die()) };
  };
  const first = open();
  first.client.send({ type: "a" });
  await lab.world.advance(100);
  const second = open();
  second.client.send({ type: "b" });
  await lab.world.advance(10_000);
  assert.deepEqual([second.client.stats().recovered, second.client.stats().pending], [0, 1], "the first lives");
  first.kill();
  await lab.world.advance(10_000);
  assert.deepEqual([second.client.stats().recovered, second.client.stats().pending], [1, 2]);
  second.kill();
  lab.answer = () => undefined;
  for (let starts = 0; starts < 5; starts++) {
    const next = open();
    await lab.world.advance(100_000);
    assert.equal(next.client.stats().recovered, starts === 0 ? 2 : 0);
    next.kill();
  }
  assert.deepEqual(lab.requests.at(-1)!.map(({ type }) => type), ["a", "b"]);
  const keys = [...lab.disk.contents.keys()];
  assert.deepEqual(keys.filter((key) => !key.startsWith("lanes/")), []);
  assert.ok(keys.length <= 2, keys.join());
});

test("one report is on its way at a time, and the next tells the rest", async () => {
  const lab = new Lab();
  lab.answer = () => (lab.world.now < 1_000_000 ? new Response("{}", { status: 503 }) : undefined);
  const { client } = lab.start({ eventBytes: 300 });
  for (let minute = 0; minute < 15; minute++) {
    client.send({ type: "big", data: "x".repeat(300) });
    await lab.world.advance(61_000);
  }
  await lab.world.advance(1_000_000);
  const reports = lab.requests.slice(-2).flat().map(({ data }) => data.lost[0].events as number);
  assert.deepEqual(reports, [1, 14]);
});

test("two clients that take the same lane over send its events twice, under the same ids", async () => {
  const lab = new Lab();
  const first = lab.start({ ...stored, batchTimeMs: 60_000 });
  for (let n = 0; n < 5; n++) first.client.send({ type: "a" });
  await lab.world.advance(100);
  first.kill();
  lab.start(stored);
  lab.start(stored);
  await lab.world.advance(100_000);
  assert.equal(lab.events.length, 10);
  assert.equal(new Set(lab.events.map(({ id }) => id)).size, 5);
});

test("a page that ends hands over 64 KB at most, and tells what was under way from what wasn't", async () => {
  const lab = new Lab();
  let page!: PageEvents;
  const bodies: string[] = [];
  const texts = new Map<string, string>();
  const notes = {
    getItem: (key: string) => texts.get(key) ?? null,
    setItem: (key: string, value: string) => void texts.set(key, value),
    removeItem: (key: string) => void texts.delete(key),
  };
  const { client, kill } = lab.start({ ...stored, batchTimeMs: 60_000 }, {
    watch: (events) => ((page = events), () => {}),
    beacon: (url, body) => (assert.equal(url, "http://killfeed.test/v1/batch"), bodies.push(body), true),
    notes,
  });
  for (let n = 0; n < 100; n++) client.send({ type: "a", data: "x".repeat(1_000) });
  await lab.world.advance(100);
  page.ended();
  page.hidden();
  assert.equal(bodies.length, 1, "it ends once");
  // The store has no time to hear of it.
  kill();
  const bytes = new TextEncoder().encode(bodies[0]).length;
  assert.ok(bytes > 50_000 && bytes <= 60_000, `${bytes} bytes`);
  const handedOver = bodies[0]!.trimEnd().split("\n").length;
  await lab.world.advance(86_400_000);
  const next = lab.start({ ...stored, lossReportMs: 0 }, { notes });
  await lab.world.advance(100_000);
  assert.deepEqual(next.client.stats().lost, { expired: handedOver });
  assert.equal(texts.size, 0, "notes are taken away");
  assert.equal(next.client.stats().delivered, 100 - handedOver);
});

test("a page that is hidden sends what it holds: at once, once it has begun, and once the request under way is over", async () => {
  const lab = new Lab();
  let page!: PageEvents;
  const keepalive: unknown[] = [];
  lab.answer = async () => (await lab.world.sleep(1_000), undefined as unknown as Response);
  const watched = { keepalive: true, watch: (events: PageEvents) => ((page = events), () => {}) };
  const { client } = lab.start({ batchTimeMs: 60_000 }, watched);
  lab.sees = (init) => keepalive.push(init.keepalive);
  client.send({ type: "a" });
  page.hidden();
  await lab.world.advance(500);
  client.send({ type: "b" });
  page.hidden();
  await lab.world.advance(5_000);
  assert.equal(client.stats().delivered, 2);
  page.back();
  client.send({ type: "c" });
  await lab.world.advance(5_000);
  assert.equal(client.stats().delivered, 2);
  page.hidden();
  await lab.world.advance(5_000);
  assert.deepEqual(lab.requests.map((request) => request.map(({ type }) => type)), [["a"], ["b"], ["c"]]);
  assert.deepEqual(keepalive, [true, true, true]);
});

test("a page that is hidden and then ends hands over no more than a browser takes of both", async () => {
  const lab = new Lab();
  let page!: PageEvents;
  const bodies: string[] = [];
  lab.answer = async () => (await lab.world.sleep(1_000), undefined as unknown as Response);
  const { client } = lab.start({ batchTimeMs: 60_000 }, {
    keepalive: true,
    watch: (events) => ((page = events), () => {}),
    beacon: (_, body) => (bodies.push(body), true),
  });
  for (let n = 0; n < 20; n++) client.send({ type: "a", data: "x".repeat(1_000) });
  await lab.world.advance(100);
  page.hidden();
  for (let n = 0; n < 100; n++) client.send({ type: "b", data: "x".repeat(1_000) });
  page.ended();
  const events = bodies.flatMap((body) => body.trimEnd().split("\n")).map((line) => JSON.parse(line) as { type: string });
  assert.deepEqual([lab.events.length, bodies.length, new Set(events.map(({ type }) => type))], [20, 1, new Set(["b"])]);
  const bytes = JSON.stringify(lab.events).length + bodies.join("").length;
  assert.ok(bytes > 55_000 && bytes < 64_000, `${bytes} bytes`);
});

test("a page that comes back goes on, and the network's return ends a wait, but not the server's", async () => {
  const lab = new Lab();
  let page!: PageEvents;
  lab.answer = (_, request) => (request < 5 ? new Response("{}", { status: 502 }) : undefined);
  const { client } = lab.start({ backoffFirstMs: 10, backoffCapMs: 3_600_000, circuitFailures: 1, batchEvents: 1 }, {
    watch: (events) => ((page = events), () => {}), beacon: () => true,
  });
  client.send({ type: "a" });
  for (let times = 0; times < 10; times++) {
    page.hidden();
    page.ended();
    page.back();
    await lab.world.advance(10);
  }
  assert.equal(client.stats().delivered, 1);
  lab.answer = (_, request) => (request < 7 ? new Response("{}", { status: 503, headers: { "retry-after": "60" } }) : undefined);
  client.send({ type: "b" });
  await lab.world.advance(100);
  const requests = lab.requests.length;
  for (let times = 0; times < 50; times++) {
    page.back();
    await lab.world.advance(1_000);
  }
  assert.equal(lab.requests.length, requests);
});

test("a setting out of its limits is named", () => {
  const lab = new Lab();
  const wrong: [object, RegExp][] = [
    [{ batchEvents: 0 }, /^batchEvents is 0, allowed is 1 to 10000$/],
    [{ eventBytes: 2_000_000 }, /^eventBytes is 2000000, allowed is 256 to 1000000$/],
    [{ backoffCapMs: 10 }, /^backoffCapMs is 10, allowed is 1000 to 3600000$/],
    [{ batchTimeMs: NaN }, /^batchTimeMs is NaN/],
    [{ lossReportMs: 10 }, /^lossReportMs is 10/],
    [{ url: "ftp://x" }, /^url is ftp:\/\/x, allowed is http:\/\/ or https:\/\/ and a host$/],
    [{ url: "https://x/path" }, /^url is/],
    [{ source: "" }, /^source is 0 characters, allowed is 1 to 2048$/],
  ];
  for (const [options, message] of wrong) {
    assert.throws(() => lab.start(options), (error: Error) => error instanceof RangeError && message.test(error.message));
  }
  lab.start({ url: "https://x/", batchEvents: undefined as unknown as number, store: new MemoryStore() });
});
