// A real browser without a window, steered through the debugging pipe that Chromium opens on two descriptors.

import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";

/** How long one command or one condition may take, in milliseconds: far past what any takes. */
const PATIENCE_MS = 60_000;

type Params = Record<string, unknown>;
type Listener = (method: string, params: Params) => void;
type Waiting = { resolve: (value: Params) => void; reject: (error: Error) => void; method: string };

export class Chromium {
  private readonly waiting = new Map<number, Waiting>();
  private readonly listeners = new Map<string, Listener>();
  private next = 1;
  private rest = Buffer.alloc(0);

  private constructor(
    private readonly child: ChildProcess,
    private readonly profile: string,
    private readonly commands: Writable,
  ) {}

  /** Starts it with a profile of its own. A missing Chromium is an error. */
  static async start(): Promise<Chromium> {
    const profile = mkdtempSync(join(tmpdir(), "killfeed-chromium-"));
    const flags = [
      "--headless=new", "--remote-debugging-pipe", `--user-data-dir=${profile}`, "--no-first-run", "--disable-gpu",
      "--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
      "--disable-sync", "--no-default-browser-check", "about:blank",
    ];
    const child = spawn(process.env.CHROMIUM ?? "chromium", flags, {
      stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
    });
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", (error) => reject(new Error(`chromium is needed for these tests: ${error.message}`)));
    });
    const chromium = new Chromium(child, profile, child.stdio[3] as Writable);
    (child.stdio[4] as Readable).on("data", (bytes: Buffer) => chromium.read(bytes));
    chromium.commands.on("error", () => {});
    child.once("exit", () => chromium.fail(new Error("chromium has ended")));
    return chromium;
  }

  /** Sends a command of the DevTools protocol; `session` says to which page. */
  command(method: string, params: Params = {}, session?: string): Promise<Params> {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${method} took more than ${PATIENCE_MS} ms`)), PATIENCE_MS);
      const end = <T>(then: (value: T) => void) => (value: T) => {
        clearTimeout(timer);
        then(value);
      };
      this.waiting.set(id, { resolve: end(resolve), reject: end(reject), method });
      this.commands.write(`${JSON.stringify({ id, method, params, sessionId: session })}\0`);
    });
  }

  /** Tells of everything that happens on a page. */
  listen(session: string, listener: Listener): void {
    this.listeners.set(session, listener);
  }

  /** Opens a page of its own, and waits for what it shows unless told not to. */
  async open(url: string, goes = true): Promise<Page> {
    const { targetId } = await this.command("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.command("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, targetId as string, sessionId as string);
    await this.command("Page.enable", {}, page.session);
    await this.command("Network.enable", {}, page.session);
    if (goes) await page.go(url);
    return page;
  }

  async stop(): Promise<void> {
    const ended = new Promise<void>((resolve) => this.child.once("exit", () => resolve()));
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.command("Browser.close").catch(() => {});
      const timer = setTimeout(() => this.child.kill("SIGKILL"), 5_000);
      await ended;
      clearTimeout(timer);
    }
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }

  private read(bytes: Buffer): void {
    this.rest = Buffer.concat([this.rest, bytes]);
    for (let end = this.rest.indexOf(0); end >= 0; end = this.rest.indexOf(0)) {
      const message = JSON.parse(this.rest.subarray(0, end).toString());
      this.rest = this.rest.subarray(end + 1);
      if (message.method) this.listeners.get(message.sessionId)?.(message.method, message.params);
      const waiting = this.waiting.get(message.id);
      if (!waiting) continue;
      this.waiting.delete(message.id);
      if (message.error) waiting.reject(new Error(`${waiting.method}: ${message.error.message}`));
      else waiting.resolve(message.result);
    }
  }

  private fail(error: Error): void {
    for (const waiting of this.waiting.values()) waiting.reject(error);
    this.waiting.clear();
  }
}

export class Page {
  constructor(private readonly chromium: Chromium, private readonly target: string, readonly session: string) {}

  async go(url: string): Promise<void> {
    await this.chromium.command("Page.navigate", { url }, this.session);
    await this.until("document.readyState === 'complete' && location.href !== 'about:blank'");
  }

  /** Loads the page anew and waits until the old document is gone. */
  async reload(): Promise<void> {
    await this.evaluate("window.isOld = true");
    await this.chromium.command("Page.reload", {}, this.session);
    await this.until("document.readyState === 'complete' && !window.isOld");
  }

  /** What an expression comes to; promises are waited for. */
  async evaluate<T>(expression: string): Promise<T> {
    const options = { expression, awaitPromise: true, returnByValue: true };
    const answer = await this.chromium.command("Runtime.evaluate", options, this.session);
    const thrown = answer.exceptionDetails as { text: string; exception?: { description?: string } } | undefined;
    if (thrown) throw new Error(`${expression}: ${thrown.exception?.description ?? thrown.text}`);
    return (answer.result as { value: T }).value;
  }

  /** Waits until an expression holds. */
  async until(expression: string): Promise<void> {
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
      // While a page is on its way, there is nothing to ask.
      const holds = await this.evaluate<boolean>(`Boolean(${expression})`).catch((error: Error) => error);
      if (holds === true) return;
      if (Date.now() > end) throw new Error(`never came true: ${expression} (${String(holds)})`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async offline(offline: boolean): Promise<void> {
    const conditions = { offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1 };
    await this.chromium.command("Network.emulateNetworkConditions", conditions, this.session);
  }

  /** As a player clears the data of a site. */
  async clearData(): Promise<void> {
    const origin = await this.evaluate<string>("location.origin");
    await this.chromium.command("Storage.clearDataForOrigin", { origin, storageTypes: "all" }, this.session);
  }

  /** As a player closes a tab: the page still hears of it. */
  async close(): Promise<void> {
    await this.chromium.command("Page.close", {}, this.session);
  }

  /** As a tab dies: the page hears nothing of it. */
  async crash(): Promise<void> {
    this.chromium.command("Page.crash", {}, this.session).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 100));
    await this.chromium.command("Target.closeTarget", { targetId: this.target });
  }
}
