// The server that all of this is for: `killfeed up`, given by KILLFEED_BIN.

import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Counts of events, as `GET /v1/audit` gives them. */
export interface Audit {
  balanced: boolean;
  duplicates: number;
  conflicts: number;
  dead: number;
}

export class Killfeed {
  private child?: ChildProcess;
  private said = "";
  readonly folder = mkdtempSync(join(tmpdir(), "killfeed-web-"));

  private constructor(private readonly program: string, readonly port: number, private readonly more: string[]) {}

  /** Starts it on a free port, which it keeps over restarts, with further options. */
  static async start(...options: string[]): Promise<Killfeed> {
    const program = process.env.KILLFEED_BIN;
    if (!program) throw new Error("set KILLFEED_BIN to the built killfeed: these tests send to a real one");
    const killfeed = new Killfeed(program, await freePort(), options);
    await killfeed.up();
    return killfeed;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async up(): Promise<void> {
    const options = ["up", "--data-dir", join(this.folder, "data"), "--listen", `127.0.0.1:${this.port}`];
    const child = spawn(this.program, [...options, "--flush-interval", "1s", ...this.more], { stdio: ["ignore", "ignore", "pipe"] });
    this.child = child;
    child.stderr.on("data", (text) => (this.said += text));
    child.on("error", (error) => (this.said += error.message));
    for (let tries = 0; tries < 1_200; tries++) {
      if (await fetch(`${this.url}/readyz`).then((answer) => answer.ok, () => false)) return;
      if (child.exitCode !== null) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`killfeed did not start:\n${this.said}`);
  }

  /** Ends it at once, as a fault would. */
  async kill(): Promise<void> {
    const child = this.child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** What the books say, once everything acknowledged before is in them. */
  async audit(): Promise<Audit> {
    await fetch(`${this.url}/v1/flush`, { method: "POST" });
    const answer = await fetch(`${this.url}/v1/audit`);
    if (!answer.ok) throw new Error(`audit: ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as Audit;
  }

  /** Rows of a query, once everything acknowledged before can be seen. */
  async sql<Row>(query: string): Promise<Row[]> {
    const flushed = await fetch(`${this.url}/v1/flush`, { method: "POST" });
    if (!flushed.ok) throw new Error(`flush: ${flushed.status} ${await flushed.text()}`);
    const answer = await fetch(`${this.url}/v1/sql`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ sql: query }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${query}: ${answer.status} ${text}`);
    return rows<Row>(text);
  }
}

function rows<Row>(text: string): Row[] {
  return JSON.parse(text) as Row[];
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
