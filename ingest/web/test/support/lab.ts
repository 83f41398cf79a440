// A client in virtual time, whose server answers as a test says.

import { Client, type Options, type Platform } from "../../src/index.js";
import { Random } from "./random.js";
import { Disk, mount, World } from "./virtual.js";

export interface Line {
  id: string;
  type: string;
  time: string;
  sentat: string;
  data?: any;
  [attribute: string]: unknown;
}

/** What the server says to a request; `undefined`: it takes everything. */
export type Answer = (events: Line[], request: number) => Response | Promise<Response> | undefined;

export class Lab {
  readonly world = new World(new Random(1));
  readonly requests: Line[][] = [];
  readonly disk = new Disk();
  configs = 0;
  /** Looks at requests with events. */
  sees: (init: RequestInit) => void = () => {};
  answer: Answer = () => undefined;
  config: () => Response = () => new Response("{}", { status: 404 });

  /** Starts a client; `kill` ends it as a crash does. */
  start(options: Partial<Options> = {}, more: Partial<Platform> = {}): { client: Client; kill: () => void } {
    const { platform, kill } = this.world.process((url, init) => this.fetch(url, init), more);
    const { store, unmount } = mount(this.disk);
    const client = new Client({ url: "http://killfeed.test", source: "/test", platform, store, storeTimeMs: 0, ...options });
    const end = () => {
      kill();
      unmount();
    };
    return { client, kill: end };
  }

  /** Keys of events in the store. */
  get storedEvents(): string[] {
    return [...this.disk.contents.keys()].filter((key) => key.includes("/e/"));
  }

  get events(): Line[] {
    return this.requests.flat();
  }

  /** The network. */
  async fetch(url: string, init: RequestInit): Promise<Response> {
    if (url.endsWith("/v1/config")) {
      this.configs += 1;
      return this.config();
    }
    const events = String(init.body).trimEnd().split("\n").map((line) => JSON.parse(line) as Line);
    this.requests.push(events);
    this.sees(init);
    return (await this.answer(events, this.requests.length)) ?? accept(events);
  }
}

/** Web Locks as a browser has them: a name has one holder at a time, and who dies lets go. */
export class Locks {
  private readonly held = new Map<string, Promise<void>>();

  /** For one page; `die` lets go of all that it holds. */
  page(): { lock: NonNullable<Platform["lock"]>; die: () => void } {
    const releases: (() => void)[] = [];
    let isAlive = true;
    const lock = async (name: string): Promise<() => void> => {
      while (this.held.has(name)) await this.held.get(name);
      if (!isAlive) return new Promise(() => {});
      let release = () => {};
      const over = new Promise<void>((resolve) => {
        release = () => {
          this.held.delete(name);
          resolve();
        };
      });
      this.held.set(name, over);
      releases.push(release);
      return release;
    };
    const die = () => {
      isAlive = false;
      for (const release of releases) release();
    };
    return { lock, die };
  }
}

/** The answer that takes everything. */
export function accept(events: { id: string }[]): Response {
  return new Response(JSON.stringify({ results: events.map(({ id }) => ({ id, status: 202, durability: "all" })) }));
}

/** What a client counts: everything that was sent is delivered, lost or pending. */
export function isBalanced(client: Client): boolean {
  const { sent, recovered, delivered, lost, pending } = client.stats();
  return sent + recovered === delivered + pending + Object.values(lost).reduce((a, b) => a + b, 0);
}
