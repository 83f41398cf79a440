// The package as a page loads it, in a real browser, against a real server: whatever happens, each event is there once.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { Chromium, type Page } from "./support/chromium.js";
import { Killfeed } from "./support/killfeed.js";
import { Proxy } from "./support/proxy.js";

let killfeed: Killfeed;
let proxy: Proxy;
let chromium: Chromium;

before(async () => {
  killfeed = await Killfeed.start();
  proxy = await Proxy.start(killfeed.url, join(import.meta.dirname, "../.."));
  chromium = await Chromium.start();
});

beforeEach(() => {
  proxy.fault = "none";
  proxy.requests = 0;
});

after(async () => {
  await chromium?.stop();
  await proxy?.stop();
  await killfeed?.stop();
});

/** Opens the page, with a client whose events are of a type of their own. */
async function open(name: string, options = "", without: string[] = []): Promise<Page> {
  const query = without.map((feature) => `without=${feature}`).join("&");
  const page = await chromium.open(`${proxy.url}/test/page.html?${query}`);
  await start(page, name, options);
  return page;
}

/** Starts the client of a page, and gives the page a way to send numbered events. */
async function start(page: Page, name: string, options = ""): Promise<void> {
  await page.until("window.killfeed");
  await page.evaluate(`
    window.client = new killfeed.Client({
      url: location.origin, source: "/test/web", batchTimeMs: 300, backoffFirstMs: 50, backoffCapMs: 1000,
      store: "${name}", deliveryDefault: "stored", ${options}
    });
    window.send = (from, to) => {
      for (let n = from; n < to; n++) client.send({ type: "web.${name}", playerid: "p1", data: { n } });
    };
  `);
}

/** Holds the table against the numbers from 0 on: each is there once. */
async function expectOnce(name: string, events: number): Promise<void> {
  const rows = await killfeed.sql<{ n: number; times: number }>(
    `SELECT n, count(*) AS times FROM web_${name} GROUP BY n ORDER BY n`,
  );
  assert.deepEqual(rows, Array.from({ length: events }, (_, n) => ({ n, times: 1 })));
}

const stored = "client.stats().unstored === 0";
const delivered = (events: number) => `client.stats().delivered === ${events} && client.stats().pending === 0`;

test("events of a page reach their table, packed", async () => {
  const page = await open("simple");
  await page.evaluate("send(0, 1200)");
  assert.equal(await page.evaluate("client.flush(30000)"), true);
  assert.deepEqual(await page.evaluate("client.stats().lost"), {});
  await expectOnce("simple", 1200);
  assert.equal(proxy.encodings.has("gzip"), true, [...proxy.encodings].join());
  await page.close();
});

test("events that are queued when the page is loaded anew are sent by the new one", async () => {
  proxy.fault = "cut";
  const page = await open("reload");
  await page.evaluate("send(0, 700)");
  await page.until(`${stored} && client.stats().failures > 1`);
  await page.reload();
  proxy.fault = "none";
  await start(page, "reload");
  await page.evaluate("send(700, 800)");
  await page.until(delivered(800));
  await expectOnce("reload", 800);
  const { recovered } = await page.evaluate<{ recovered: number }>("client.stats()");
  assert.equal(recovered, 700);
  await page.close();
});

test("what happens offline is sent once the network is there again", async () => {
  const page = await open("offline", "requestTimeoutMs: 2000,");
  await page.evaluate("send(0, 10)");
  await page.until(delivered(10));
  await page.offline(true);
  await page.evaluate("send(10, 60)");
  await page.until("client.stats().failures > 2");
  await page.offline(false);
  await page.until(delivered(60));
  await expectOnce("offline", 60);
  await page.close();
});

test("a page that is closed hands its events to the browser, and the next start doesn't count them twice", async () => {
  const { duplicates } = await killfeed.audit();
  const page = await open("closing", "batchTimeMs: 600000,");
  await page.evaluate("send(0, 100)");
  await page.until(stored);
  await page.close();
  await until(() => proxy.requests > 0);
  await expectOnce("closing", 100);
  const next = await open("closing");
  await next.until(delivered(100));
  assert.equal(await next.evaluate("client.stats().recovered"), 100);
  await expectOnce("closing", 100);
  assert.equal((await killfeed.audit()).duplicates, duplicates + 100);
  await next.close();
});

test("a page that holds more than a browser takes at its end leaves the rest to the next start", async () => {
  const page = await open("heavy", "batchTimeMs: 600000, batchEvents: 10000,");
  await page.evaluate(`
    for (let n = 0; n < 300; n++) client.send({ type: "web.heavy", playerid: "p1", data: { n, text: "x".repeat(500) } });
  `);
  await page.until(stored);
  await page.close();
  await until(() => proxy.requests > 0);
  const [{ rows } = { rows: 0 }] = await killfeed.sql<{ rows: number }>("SELECT count(*) AS rows FROM web_heavy");
  assert.ok(rows > 50 && rows < 100, `${rows} events were handed over`);
  const next = await open("heavy");
  await next.until(delivered(300));
  await expectOnce("heavy", 300);
  await next.close();
});

test("a page that is left and come back to goes on", async () => {
  const page = await open("back", "batchTimeMs: 600000,");
  await page.evaluate("send(0, 20)");
  await page.until(stored);
  await page.go(`${proxy.url}/test/page.html?another`);
  await until(() => proxy.requests > 0);
  await page.evaluate("history.back()");
  await page.until("!location.search.includes('another') && document.readyState === 'complete'");
  // Either the page was kept and is as it was, or it begins anew and finds what is stored.
  if (!(await page.evaluate<boolean>("Boolean(window.client)"))) await start(page, "back");
  await page.evaluate("send(20, 30)");
  assert.equal(await page.evaluate("client.flush(30000)"), true);
  await page.until(delivered(30));
  await expectOnce("back", 30);
  await page.close();
});

test("that a page handed events over is known at the next start, however late that is", async () => {
  const page = await open("doubtful", "batchTimeMs: 600000,");
  await page.evaluate("send(0, 10)");
  await page.until(stored);
  await page.close();
  await until(() => proxy.requests > 0);
  // A day later, by what the page takes for the time.
  const next = await chromium.open(`${proxy.url}/test/page.html`);
  await next.until("window.killfeed");
  await next.evaluate("window.platform = killfeed.ambient(); platform.now = () => Date.now() + 86400000;");
  await start(next, "doubtful", "platform: Object.assign(platform, { fetch: (url, init) => " +
    "url.endsWith('config') ? Promise.reject(new Error('none')) : fetch(url, init) }),");
  await next.until("client.stats().lost.expired === 10");
  assert.equal(await next.evaluate("client.stats().pending"), 0);
  await next.close();
});

test("a page that is closed sends what it holds in memory alone, with its key", async () => {
  const page = await open("memory", "batchTimeMs: 600000, store: undefined, key: 'kf_anything',");
  await page.evaluate("send(0, 50)");
  await page.close();
  await until(() => proxy.requests > 0);
  await expectOnce("memory", 50);
  assert.equal(proxy.keys.has("Bearer kf_anything"), true);
});

test("a page that is hidden sends what it holds, and hears the answer if it is seen again", async () => {
  const page = await open("hidden", "batchTimeMs: 600000,");
  await page.evaluate("send(0, 20)");
  const other = await chromium.open(`${proxy.url}/test/page.html`);
  await page.evaluate(`
    Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  `);
  await page.until(delivered(20));
  await expectOnce("hidden", 20);
  await other.close();
  await page.close();
});

test("where the API lets pages of another origin in, they send to it, hear what it says, and close as others do", async () => {
  const api = await Proxy.start(killfeed.url, "/nowhere");
  api.otherOrigin = proxy.url;
  const elsewhere = `url: "${api.url}", key: "kf_anything", batchTimeMs: 600000,`;
  const page = await open("abroad", elsewhere);
  api.fault = "busy";
  await page.evaluate("send(0, 100), client.flush(10)");
  await page.until("client.stats().failures === 1");
  api.fault = "none";
  const began = Date.now();
  await page.until(delivered(100));
  assert.ok(Date.now() - began > 800, "Retry-After is read");
  assert.equal(api.encodings.has("gzip"), true);
  await page.evaluate("send(100, 130)");
  await page.until(stored);
  api.requests = 0;
  await page.close();
  await until(() => api.requests > 0);
  await expectOnce("abroad", 130);
  await api.stop();
});

test("the API is killed, stays away, and comes again", async () => {
  const page = await open("outage");
  await page.evaluate("send(0, 100)");
  await page.until(delivered(100));
  await killfeed.kill();
  await page.evaluate("send(100, 900)");
  await page.until("client.stats().failures > 5 && client.stats().circuitOpen");
  await killfeed.up();
  await page.until(delivered(900));
  await expectOnce("outage", 900);
  await page.close();
});

test("answers that are lost or garbage, refusals, silence: each event once, and in order", async () => {
  const page = await open("faults", "requestTimeoutMs: 500,");
  let sent = 0;
  for (const fault of ["lost", "garbage", "busy", "hang", "cut"] as const) {
    proxy.fault = fault;
    const { failures } = await page.evaluate<{ failures: number }>("client.stats()");
    await page.evaluate(`send(${sent}, ${sent + 30})`);
    sent += 30;
    await page.until(`client.stats().failures > ${failures}`);
    proxy.fault = "none";
    await page.until(delivered(sent));
  }
  await expectOnce("faults", sent);
  const rows = await killfeed.sql<{ n: number }>("SELECT n FROM web_faults ORDER BY time");
  assert.deepEqual(rows.map(({ n }) => n), Array.from({ length: sent }, (_, n) => n));
  await page.close();
});

test("of a tab that dies another one sends the events, once it is dead", async () => {
  const { duplicates } = await killfeed.audit();
  proxy.fault = "cut";
  const page = await open("tabs");
  const other = await open("tabs");
  await page.evaluate("send(0, 40)");
  await other.evaluate("send(40, 80)");
  await page.until(stored);
  await other.until(stored);
  proxy.fault = "none";
  await page.until(delivered(40));
  await other.until(delivered(40));
  assert.equal((await killfeed.audit()).duplicates, duplicates, "no tab sends what is another's");
  proxy.fault = "cut";
  await page.evaluate("send(80, 120)");
  await page.until(stored);
  await page.crash();
  proxy.fault = "none";
  // It began later than the first, so it doesn't wait for that one's lane; a third tab does.
  const third = await open("tabs");
  await third.until(delivered(40));
  await expectOnce("tabs", 120);
  await other.close();
  await third.close();
});

test("without a database events are kept in localStorage; without locks and gzip they come just as well", async () => {
  proxy.fault = "cut";
  const without = ["indexedDB", "locks", "CompressionStream"];
  const page = await open("local", "", without);
  await page.evaluate("send(0, 200)");
  await page.until(`${stored} && client.stats().failures > 0`);
  assert.ok(await page.evaluate<number>("localStorage.length") > 200);
  await page.reload();
  proxy.fault = "none";
  // The next start has a database, and takes what stands elsewhere.
  await start(page, "local");
  await page.until(delivered(200));
  await expectOnce("local", 200);
  await page.until("!Object.keys(localStorage).some((key) => key.startsWith('killfeed-local/') && key.includes('/e/'))");
  await page.close();
});

test("where nothing can be stored, or no more, events are sent from memory", async () => {
  const nowhere = await open("nowhere", "", ["indexedDB", "localStorage"]);
  await nowhere.evaluate("send(0, 30)");
  await nowhere.until(delivered(30));
  await expectOnce("nowhere", 30);
  await nowhere.close();

  // What localStorage takes is some 5 MB, so some of these 6 MB stay out.
  proxy.fault = "cut";
  const page = await open("quota", "eventBytes: 1000000, batchBytes: 8000000,", ["indexedDB"]);
  await page.evaluate(`
    const text = "x".repeat(600000);
    for (let n = 0; n < 10; n++) client.send({ type: "web.quota", playerid: "p1", data: { n, text } });
  `);
  await page.until("client.stats().unstored < 5 && client.stats().failures > 1");
  assert.ok(await page.evaluate<number>("client.stats().unstored") > 0);
  await page.reload();
  await start(page, "quota", "eventBytes: 1000000, batchBytes: 8000000,");
  await page.until("client.stats().recovered > 5");
  proxy.fault = "none";
  const { recovered } = await page.evaluate<{ recovered: number }>("client.stats()");
  await page.until(delivered(recovered));
  await expectOnce("quota", recovered);
  await page.close();
});

test("a database that takes nothing more holds nothing up, and takes what is left once it does again", async () => {
  proxy.fault = "cut";
  const page = await open("full");
  await page.evaluate(`
    const put = IDBObjectStore.prototype.put;
    IDBObjectStore.prototype.put = function (...pair) {
      if (window.isFull) throw new DOMException("no room", "QuotaExceededError");
      return put.apply(this, pair);
    };
    send(0, 10);
  `);
  await page.until(stored);
  await page.evaluate("window.isFull = true; send(10, 30)");
  await page.until("client.stats().failures > 3 && client.stats().storeError");
  assert.equal(await page.evaluate("client.stats().unstored"), 20);
  await page.evaluate("window.isFull = false");
  await page.until(stored);
  await page.reload();
  proxy.fault = "none";
  await start(page, "full");
  await page.until(delivered(30));
  await expectOnce("full", 30);
  await page.close();
});

test("a player clears the site's data in the midst of it", async () => {
  proxy.fault = "cut";
  const page = await open("cleared");
  await page.evaluate("send(0, 50)");
  await page.until(stored);
  await page.clearData();
  await page.evaluate("send(50, 60)");
  await page.until(`${stored} && client.stats().failures > 1`);
  proxy.fault = "none";
  await page.until(delivered(60));
  await expectOnce("cleared", 60);
  await page.close();
});

test("the books of the server balance after all of this", async () => {
  const audit = await killfeed.audit();
  assert.equal(audit.balanced, true, JSON.stringify(audit));
  assert.equal(audit.conflicts, 0);
  assert.equal(audit.dead, 0);
});

async function until(holds: () => boolean): Promise<void> {
  for (let tries = 0; tries < 3_000; tries++) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`never came true: ${holds.toString()}`);
}
