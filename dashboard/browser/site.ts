// A page of the dashboard as somebody looks at it: its width, its colours, and what the browser complains of.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { Chromium, type Page } from "../../ingest/web/test/support/chromium.js";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** How wide the window is. */
export const WIDTHS = { phone: [390, 844], desktop: [1280, 900] } as const;
export type Width = keyof typeof WIDTHS;
export type Colours = "light" | "dark";

/** What axe has found. */
type Violation = { id: string; impact: string; help: string; nodes: { target: string[]; failureSummary: string }[] };

export class Site {
  /** What the browser said of the pages: errors on the console, exceptions, requests that failed. */
  readonly complaints: string[] = [];
  /** Requests to anywhere but the dashboard. */
  readonly outside: string[] = [];

  private constructor(private readonly chromium: Chromium, readonly page: Page, readonly origin: string) {}

  static async open(chromium: Chromium, origin: string): Promise<Site> {
    const page = await chromium.open("about:blank", false);
    const site = new Site(chromium, page, origin);
    chromium.listen(page.session, (method, params) => site.hear(method, params));
    for (const domain of ["Runtime", "Log"]) await chromium.command(`${domain}.enable`, {}, page.session);
    return site;
  }

  private hear(method: string, params: Record<string, any>): void {
    if (method === "Network.requestWillBeSent") {
      const { url } = params.request as { url: string };
      if (!url.startsWith(`${this.origin}/`) && !url.startsWith("about:")) this.outside.push(url);
    }
    if (method === "Runtime.exceptionThrown") this.complaints.push(JSON.stringify(params.exceptionDetails));
    if (method === "Runtime.consoleAPICalled" && ["error", "warning", "assert"].includes(params.type)) {
      this.complaints.push(JSON.stringify(params.args));
    }
    if (method === "Log.entryAdded" && params.entry.level === "error") {
      this.complaints.push(`${params.entry.text} ${params.entry.url ?? ""}`);
    }
  }

  async as(width: Width, colours: Colours): Promise<void> {
    const [w, h] = WIDTHS[width];
    const metrics = { width: w, height: h, deviceScaleFactor: 1, mobile: width === "phone" };
    await this.chromium.command("Emulation.setDeviceMetricsOverride", metrics, this.page.session);
    const features = [{ name: "prefers-color-scheme", value: colours }];
    await this.chromium.command("Emulation.setEmulatedMedia", { features }, this.page.session);
  }

  async script(runs: boolean): Promise<void> {
    await this.chromium.command("Emulation.setScriptExecutionDisabled", { value: !runs }, this.page.session);
  }

  async go(path: string): Promise<void> {
    await this.page.go(this.origin + path);
  }

  /** Does something that loads another page, and waits for that page. */
  async leave(expression: string): Promise<void> {
    await this.page.evaluate(`window.isOld = true; ${expression}; undefined`);
    await this.page.until("document.readyState === 'complete' && !window.isOld");
  }

  async press(key: string, modifiers = 0): Promise<void> {
    const codes: Record<string, number> = { Tab: 9, Enter: 13, Space: 32 };
    const text = key === "Enter" ? "\r" : key === "Space" ? " " : undefined;
    const event = { key, code: key, windowsVirtualKeyCode: codes[key], modifiers, ...(text ? { text } : {}) };
    await this.chromium.command("Input.dispatchKeyEvent", { type: "keyDown", ...event }, this.page.session);
    await this.chromium.command("Input.dispatchKeyEvent", { type: "keyUp", key, code: key, modifiers }, this.page.session);
  }

  /** Findings of axe that are serious or worse, a line each. */
  async findings(): Promise<string[]> {
    await this.page.evaluate(`${axe}; undefined`);
    const found = await this.page.evaluate<Violation[]>("axe.run(document).then((result) => result.violations)");
    return found
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => `${node.target} ${node.failureSummary}`).join("; ")}`);
  }

  /** How far the page is wider than its window, or what a card, a chart's frame or the tail holds wider than that. */
  async overflow(): Promise<number> {
    const parts = "[document.documentElement, ...document.querySelectorAll('.card, .tile, .params, .drawn, .scroll:has(> .tail)')]";
    return this.page.evaluate<number>(`Math.max(...${parts}.map((part) => part.scrollWidth - part.clientWidth))`);
  }

  /** A picture of the whole page, where KILLFEED_SCREENSHOTS says. */
  async picture(name: string): Promise<void> {
    const folder = process.env.KILLFEED_SCREENSHOTS;
    if (!folder) return;
    mkdirSync(folder, { recursive: true });
    const options = { format: "png", captureBeyondViewport: true };
    const { data } = await this.chromium.command("Page.captureScreenshot", options, this.page.session);
    writeFileSync(join(folder, `${name}.png`), Buffer.from(data as string, "base64"));
  }
}
