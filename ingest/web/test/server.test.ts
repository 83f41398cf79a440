// The package under Node, as a launcher or a game server has it, against a real server.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Client } from "../src/index.js";
import { Killfeed } from "./support/killfeed.js";

let killfeed: Killfeed;

before(async () => (killfeed = await Killfeed.start()));
after(async () => killfeed?.stop());

test("events of a process reach their table, in order, with session and attributes", async () => {
  const client = new Client({ url: killfeed.url, source: "/test/node" });
  client.setAttribute("region", "euw");
  const session = client.startSession("p1");
  for (let n = 0; n < 3_000; n++) client.send({ type: "node.message", gameid: "g1", playerid: "p1", data: { n, text: "é" } });
  assert.equal(await client.close(30_000), true);
  const { delivered, acknowledged, lost, requests, bodyBytes, configured } = client.stats();
  assert.deepEqual({ delivered, acknowledged, lost, configured }, { delivered: 3_002, acknowledged: 3_002, lost: {}, configured: true });
  assert.ok(requests >= 7 && bodyBytes < 200_000, `${requests} requests, ${bodyBytes} bytes`);
  const rows = await killfeed.sql<{ n: number }>(`
    SELECT n FROM node_message WHERE session_id = '${session}' AND region = 'euw' AND text = 'é' ORDER BY time`);
  assert.deepEqual(rows.map(({ n }) => n), Array.from({ length: 3_000 }, (_, n) => n));
  const ends = await killfeed.sql<{ repaired: boolean }>(`SELECT repaired FROM session_end WHERE session_id = '${session}'`);
  assert.deepEqual(ends, [{ repaired: false }]);
});

test("a server that isn't there yet has kept nothing, so nothing is in doubt", async () => {
  await killfeed.kill();
  const client = new Client({ url: killfeed.url, source: "/test/node", batchTimeMs: 10, backoffFirstMs: 20, backoffCapMs: 1_000 });
  for (let n = 0; n < 100; n++) client.send({ type: "node.early", playerid: "p1", data: { n } });
  while (client.stats().failures < 3) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.match(client.stats().lastError ?? "", /fetch failed/);
  await killfeed.up();
  assert.equal(await client.close(30_000), true);
  const [row] = await killfeed.sql<{ rows: number; players: number }>("SELECT count(*) AS rows FROM node_early");
  assert.equal(row?.rows, 100);
});
