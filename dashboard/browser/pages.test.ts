// Every page in a real browser, over a server that has played games: at both widths, in both colours, by its forms.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Chromium } from "../../ingest/web/test/support/chromium.js";
import { Killfeed } from "../../ingest/web/test/support/killfeed.js";
import { Site, WIDTHS, type Colours, type Width } from "./site.js";

let folder: string;
let killfeed: Killfeed;
let chromium: Chromium;
let site: Site;

function run(...args: string[]): string {
  return execFileSync(process.env.KILLFEED_BIN ?? "killfeed", args, { encoding: "utf8" });
}

function play(games: number, seed: number): void {
  const spoiled = ["--duplicates", "0.05", "--conflicts", "0.01", "--malformed", "0.01", "--late", "0.05"];
  run("generate", "--games", `${games}`, "--seed", `${seed}`, "--url", killfeed.url, ...spoiled);
}

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "killfeed-pages-"));
  const geo = join(folder, "geo.mmdb");
  run("generate", "--games", "1", "--geoip-out", geo);
  killfeed = await Killfeed.start("--geoip", geo);
  play(10, 7);
  // Bytes that are no text, and text that a page must not take for its own.
  const odd = { "content-type": "application/cloudevents+json" };
  const event = (id: string, more: object) => JSON.stringify({ specversion: "1.0", id, source: "/test", type: "web.odd", ...more });
  for (const body of [
    event("1", { data: { text: "<img src=x onerror=alert(1)>" } }),
    event("2", { data_base64: Buffer.from([0, 255, 1, 60]).toString("base64"), datacontenttype: "application/octet-stream" }),
  ]) {
    const answer = await fetch(`${killfeed.url}/v1/events`, { method: "POST", headers: odd, body });
    assert.ok(answer.status < 300, await answer.text());
  }
  await killfeed.audit();
  chromium = await Chromium.start();
  site = await Site.open(chromium, killfeed.url);
});

after(async () => {
  await chromium?.stop();
  await killfeed?.stop();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

/** Pages by the name of their picture. */
async function pages(): Promise<Record<string, string>> {
  const answer = await fetch(`${killfeed.url}/v1/reports`);
  const reports = ((await answer.json()) as { name: string }[]).map(({ name }) => name);
  const found: Record<string, string> = {
    overview: "/",
    reports: "/reports",
    providers: "/providers",
    tail: "/tail",
    letters: "/dead-letters",
    sql: "/sql",
    catalogue: "/catalogue",
    table: "/catalogue/network_quality",
  };
  for (const report of reports) found[`report-${report}`] = `/reports/${report}`;
  return found;
}

/** Loads a page; it must be well in every way. */
async function look(name: string, path: string, width: Width, colours: Colours): Promise<void> {
  site.complaints.length = site.outside.length = 0;
  await site.as(width, colours);
  await site.go(path);
  assert.ok(await site.page.evaluate("document.title.endsWith('killfeed')"), `${path} is no page of ours`);
  assert.equal(await site.page.evaluate("document.querySelectorAll('.alert').length"), 0, `${path} shows an error`);
  await well(name, width, colours);
}

/** The page that is there: no complaint, nothing from elsewhere, nothing wider than the window, nothing against axe. */
async function well(name: string, width: Width, colours: Colours): Promise<void> {
  const what = `${name}, ${width}, ${colours}`;
  await site.picture(`${name}-${width}-${colours}`);
  assert.ok((await site.overflow()) <= 0, `${what} is ${await site.overflow()} px too wide`);
  assert.deepEqual(await site.findings(), [], what);
  assert.deepEqual(site.complaints, [], what);
  assert.deepEqual(site.outside, [], what);
}

for (const width of Object.keys(WIDTHS) as Width[]) {
  for (const colours of ["light", "dark"] as const) {
    test(`every page is well: ${width}, ${colours}`, async () => {
      for (const [name, path] of Object.entries(await pages())) await look(name, path, width, colours);
    });
  }
}

/** Pictures that the window's width shows; each chart has one for desktops and one for phones. */
const shownCharts = () =>
  site.page.evaluate<number>("[...document.querySelectorAll('svg.chart')].filter((chart) => chart.getClientRects().length).length");

test("every report is filled, with a table, and a chart where it says that it has one", async () => {
  const answer = await fetch(`${killfeed.url}/v1/reports`);
  const drawn = ((await answer.json()) as { name: string; chart?: object }[]).filter(({ chart }) => chart);
  assert.ok(drawn.length > 15, `${drawn.length} reports are drawn`);
  await site.as("desktop", "light");
  for (const [name, path] of Object.entries(await pages()).filter(([name]) => name.startsWith("report-"))) {
    await site.go(path);
    assert.ok(await site.page.evaluate<number>("document.querySelectorAll('tbody tr').length"), `${name} has no rows`);
    const charts = drawn.some((report) => name === `report-${report.name}`) ? 1 : 0;
    assert.equal(await shownCharts(), charts, `charts of ${name}`);
    await site.as("phone", "light");
    assert.equal(await shownCharts(), charts, `charts of ${name} on a phone`);
    await site.as("desktop", "light");
  }
});

test("a report's form changes its address, and a wrong value is told beside its field", async () => {
  await site.go("/reports/first_blood");
  await site.leave("document.querySelector('[name=min_games]').value = '3'; document.querySelector('form.params button').click()");
  assert.equal(await site.page.evaluate("location.search"), "?min_games=3");
  const download = await site.page.evaluate<string>("document.querySelector('.downloads a').href");
  const csv = await fetch(download);
  assert.match(await csv.text(), /^champion,games,first_bloods,rate/);
  assert.equal(csv.headers.get("content-disposition"), 'attachment; filename="first_blood.csv"');
  // Out of its bounds the browser doesn't send it, and the server takes it from no address.
  const isTaken = (value: string) =>
    site.page.evaluate<boolean>(`(() => { const field = document.querySelector('[name=min_games]'); field.value = '${value}'; return field.checkValidity(); })()`);
  assert.deepEqual([await isTaken("0"), await isTaken("-1"), await isTaken("0.5")], [true, false, false]);
  await site.go("/reports/first_blood?min_games=-1");
  assert.match(await site.page.evaluate<string>("document.querySelector('.error').textContent"), /of 0 or more, not "-1"/);
  await site.go("/reports/first_blood?min_games=many");
  assert.equal(await site.page.evaluate("document.querySelector('[name=min_games]').value"), "many");
  assert.match(await site.page.evaluate<string>("document.querySelector('.error').textContent"), /whole number/);
  assert.equal(await site.page.evaluate("document.querySelector('[name=min_games]').getAttribute('aria-invalid')"), "true");
  site.complaints.length = 0; // the browser notes the status 400
  await well("report-wrong", "desktop", "light");
});

test("providers are chosen by city and compared", async () => {
  await site.as("desktop", "light");
  await site.go("/providers");
  const names = await site.page.evaluate<string[]>("[...document.querySelectorAll('.board tbody th')].map((cell) => cell.textContent)");
  assert.ok(names.length >= 2, "fewer than two providers");
  const [a, b] = names.map((name) => JSON.stringify(name));
  await site.leave(`document.querySelector('#a').value = ${a}; document.querySelector('#b').value = ${b}; document.querySelector('form.params button').click()`);
  assert.equal(await site.page.evaluate("document.querySelectorAll('.compare tbody tr').length >= 6"), true);
  await well("compare", "desktop", "light");
  await site.as("phone", "dark");
  await well("compare", "phone", "dark");
  const city = "document.querySelector('#city')";
  await site.leave(`${city}.selectedIndex = 1; document.querySelector('form.params button').click()`);
  assert.notEqual(await site.page.evaluate(`${city}.value`), "");
});

test("SQL is run by Ctrl+Enter, and an error points at its place", async () => {
  await site.as("desktop", "light");
  await site.go("/sql?q=SELECT+champion_name,+count(*)+AS+games+FROM+lol_player_result+GROUP+BY+champion_name+ORDER+BY+games+DESC");
  await site.page.evaluate("window.isOld = true; document.querySelector('#q').focus()");
  await site.press("Enter", 2);
  await site.page.until("document.readyState === 'complete' && !window.isOld");
  assert.ok(await site.page.evaluate<number>("document.querySelectorAll('tbody tr').length"));
  await well("sql-answer", "desktop", "light");
  await site.as("phone", "light");
  await well("sql-answer", "phone", "light");
  await site.as("desktop", "light");
  await site.leave("document.querySelector('#q').value = 'SELECT 1,\\n  nothing FROM lol_player_result'; document.querySelector('form.sql button').click()");
  assert.match(await site.page.evaluate<string>("document.querySelector('.alert').textContent"), /line 2, column 3/);
  assert.match(await site.page.evaluate<string>("document.querySelector('.place').textContent"), /\n {2}▲$/);
  site.complaints.length = 0;
  await well("sql-wrong", "desktop", "light");
});

test("a dead letter opens by keyboard and shows its bytes", async () => {
  await site.as("desktop", "light");
  await site.go("/dead-letters");
  assert.ok(await site.page.evaluate<number>("document.querySelectorAll('.letter').length"));
  await site.page.evaluate("document.querySelector('.letter summary').focus()");
  await site.press("Enter");
  await site.page.until("document.querySelector('.letter').open");
  await well("letter", "desktop", "light");
  await site.as("phone", "light");
  await well("letter", "phone", "light");
});

test("the tail shows events as they come, and its filter holds", async () => {
  await site.as("desktop", "light");
  await site.go("/tail?type=lol.*");
  await site.page.until("document.querySelector('#counts').textContent.includes('came')");
  play(1, 1_000);
  await site.page.until("document.querySelectorAll('#events tr').length > 5");
  const types = await site.page.evaluate<string[]>("[...new Set([...document.querySelectorAll('#events tr')].map((row) => row.cells[1].textContent))]");
  assert.ok(types.every((type) => type.startsWith("lol.")), types.join());
  await well("tail-filled", "desktop", "light");
  await site.as("phone", "light");
  await well("tail-filled", "phone", "light");
  await site.page.evaluate("document.querySelector('#pause').click(); document.querySelector('#clear').click()");
  await site.page.until("document.querySelector('#counts').textContent.startsWith('Paused')");
});

test("the overview's figures move by themselves", async () => {
  await site.as("desktop", "light");
  await site.go("/");
  const accepted = "document.querySelector('.books .num').textContent";
  const before = await site.page.evaluate<string>(accepted);
  const line = "document.querySelector('.curve .line').getAttribute('points')";
  const curve = await site.page.evaluate<string>(line);
  play(2, 2_000);
  await site.page.until(`${line} !== ${JSON.stringify(curve)}`);
  await site.page.until(`${accepted} !== ${JSON.stringify(before)}`);
  await well("overview-moved", "desktop", "light");
});

test("the first stop of the keyboard leads past the navigation", async () => {
  await site.go("/reports");
  await site.press("Tab");
  assert.equal(await site.page.evaluate("document.activeElement.textContent"), "Skip to content");
  await site.press("Enter");
  await site.press("Tab");
  assert.ok(await site.page.evaluate("document.querySelector('main').contains(document.activeElement)"));
});

test("pages can be read without a script", async () => {
  await site.script(false);
  try {
    for (const [name, path] of Object.entries(await pages())) {
      await site.go(path);
      assert.ok((await site.page.evaluate<string>("document.querySelector('main').innerText")).length > 40, name);
    }
  } finally {
    await site.script(true);
  }
});

test("with keys the browser signs in by a form, and out again", async () => {
  const made = run("key", "new", "--name", "analyst", "--scopes", "query");
  const key = made.split(/\s+/).find((word) => word.startsWith("kf_")) as string;
  const config = join(folder, "killfeed.toml");
  writeFileSync(config, made);
  assert.ok(readFileSync(config, "utf8").includes("sha256"));
  const guarded = await Killfeed.start("--config", config);
  try {
    const private_ = await Site.open(chromium, guarded.url);
    await private_.as("phone", "light");
    await private_.go("/catalogue");
    assert.equal(await private_.page.evaluate("location.pathname + location.search"), "/login?next=%2Fcatalogue");
    assert.deepEqual(await private_.findings(), []);
    await private_.picture("login-phone-light");
    await private_.leave("document.querySelector('#key').value = 'kf_wrong'; document.querySelector('.primary').click()");
    assert.match(await private_.page.evaluate<string>("document.querySelector('.error').textContent"), /unknown API key/);
    await private_.leave(`document.querySelector('#key').value = ${JSON.stringify(key)}; document.querySelector('.primary').click()`);
    assert.equal(await private_.page.evaluate("location.pathname"), "/catalogue");
    assert.equal(await private_.page.evaluate("document.cookie"), "");
    await private_.leave("document.querySelector('.nav, nav a[href=\"/sql\"]').click()");
    await private_.leave("document.querySelector('form.sql button').click()");
    assert.ok(await private_.page.evaluate("document.body.textContent.includes('Answered in')"));
    await private_.picture("signed-in-phone-light");
    await private_.leave("document.querySelector('.who button').click()");
    assert.equal(await private_.page.evaluate("location.pathname"), "/login");
    assert.deepEqual(private_.outside, []);
  } finally {
    await guarded.stop();
  }
});
