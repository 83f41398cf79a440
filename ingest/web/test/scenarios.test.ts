// The wire behaviour that every SDK shares: all files of ../client/scenarios, each with several seeds.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { run, type Scenario } from "./support/scenario.js";

const folder = process.env.KILLFEED_SCENARIOS ?? join(import.meta.dirname, "../../../client/scenarios");
const files = readdirSync(folder).filter((name) => name.endsWith(".json"));

test("there are scenarios", () => assert.ok(files.length > 10, `${files.length} in ${folder}`));

for (const file of files) {
  const scenario = JSON.parse(readFileSync(join(folder, file), "utf8")) as Scenario;
  test(`${scenario.name}: ${scenario.what}`, async () => {
    for (let seed = 1; seed <= 20; seed++) await run(scenario, seed);
  });
}
