// What a page loads: small, and said.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

/** Bytes of the whole package, minified, with gzip. */
const LIMIT = 12 * 1_024;

test(`the package takes at most ${LIMIT} bytes, minified and packed`, (context) => {
  const file = readFileSync(join(import.meta.dirname, "../../dist/killfeed.min.js"));
  const packed = gzipSync(file, { level: 9 }).length;
  context.diagnostic(`killfeed.min.js: ${file.length} bytes, ${packed} with gzip, of ${LIMIT}`);
  assert.ok(packed <= LIMIT, `${packed} bytes`);
});

test("the package needs nothing at run time", () => {
  const manifest = JSON.parse(readFileSync(join(import.meta.dirname, "../../package.json"), "utf8")) as object;
  assert.ok(!("dependencies" in manifest) && !("peerDependencies" in manifest));
});
