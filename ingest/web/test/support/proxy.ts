// A web server as a studio has one: pages and the SDK on one origin, the API behind it. It can break in several ways.

import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** How a request to the API fares. */
export type Fault =
  | "none"
  /** The connection is cut before anything is passed on. */
  | "cut"
  /** It is passed on, and the connection cut before the answer: in doubt. */
  | "lost"
  /** It is passed on, and the answer is no JSON: in doubt as well. */
  | "garbage"
  /** 503 with Retry-After. */
  | "busy"
  /** No answer, ever. */
  | "hang";

const TYPES: Record<string, string> = { js: "text/javascript", html: "text/html", map: "application/json" };

export class Proxy {
  fault: Fault = "none";
  /** Requests with events that the API has answered, whatever became of the answer. */
  requests = 0;
  /** How bodies were packed, and which keys came. */
  readonly encodings = new Set<string>();
  readonly keys = new Set<string>();
  /** Whose pages may send events here beside its own. */
  otherOrigin: string | undefined;
  /** What went wrong behind the proxy, one line each. */
  readonly errors: string[] = [];

  private constructor(private readonly server: Server, private readonly api: string, private readonly root: string) {}

  /** Serves the files below `root`; `/v1/` is the API's. */
  static async start(api: string, root: string): Promise<Proxy> {
    const server = createServer((incoming, answer) => void proxy.answer(incoming, answer));
    const proxy = new Proxy(server, api, root);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as { port: number }).port}`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async answer(incoming: IncomingMessage, answer: ServerResponse): Promise<void> {
    const path = incoming.url ?? "/";
    if (this.otherOrigin) this.allow(answer, this.otherOrigin);
    if (this.otherOrigin && incoming.method === "OPTIONS") return void answer.writeHead(204).end();
    if (path.startsWith("/v1/")) return this.pass(incoming, answer);
    if (path === "/favicon.ico") return void answer.writeHead(204).end();
    try {
      const file = await readFile(join(this.root, path.slice(1).split("?")[0] ?? ""));
      answer.writeHead(200, { "content-type": TYPES[path.split("?")[0]?.split(".").pop() ?? ""] ?? "text/plain" });
      answer.end(file);
    } catch {
      answer.writeHead(404).end();
    }
  }

  /** What an API has to say to pages of another origin. */
  private allow(answer: ServerResponse, origin: string): void {
    answer.setHeader("access-control-allow-origin", origin);
    answer.setHeader("access-control-allow-methods", "GET, POST");
    answer.setHeader("access-control-allow-headers", "authorization, content-type, content-encoding");
    answer.setHeader("access-control-expose-headers", "retry-after");
    answer.setHeader("access-control-max-age", "600");
  }

  private async pass(incoming: IncomingMessage, answer: ServerResponse): Promise<void> {
    const sends = incoming.method === "POST";
    this.keys.add(incoming.headers.authorization ?? "");
    if (sends) this.encodings.add(incoming.headers["content-encoding"] ?? "");
    // What a page asks for besides is never broken: it would only make tests wait.
    const fault = sends ? this.fault : this.fault === "cut" ? "cut" : "none";
    if (fault === "cut") return void incoming.socket.destroy();
    if (fault === "hang") return;
    if (fault === "busy") {
      return void answer.writeHead(503, { "content-type": "application/problem+json", "retry-after": "1" }).end("{}");
    }
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const headers = { ...incoming.headers, host: new URL(this.api).host };
    delete (headers as Record<string, unknown>).connection;
    const onward = request(this.api + incoming.url, { method: incoming.method, headers }, (result) => {
      const body: Buffer[] = [];
      result.on("data", (chunk: Buffer) => body.push(chunk));
      result.on("end", () => {
        if (sends) this.requests += 1;
        if (fault === "lost") return void incoming.socket.destroy();
        if (fault === "garbage") return void answer.writeHead(200, { "content-type": "text/html" }).end("<html>");
        answer.writeHead(result.statusCode ?? 502, result.headers).end(Buffer.concat(body));
      });
    });
    onward.on("error", (error) => {
      this.errors.push(error.message);
      if (!answer.headersSent) answer.writeHead(502).end();
    });
    onward.end(Buffer.concat(chunks));
  }
}
