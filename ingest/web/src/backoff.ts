// When to try again: exponential backoff with full jitter, and a circuit that opens.

/** The longest that a server may ask to wait, in ms; more is taken for a fault of a proxy. */
const RETRY_AFTER_MAX_MS = 3_600_000;

export class Backoff {
  private failures = 0;
  /** The moment before which nothing is sent, in ms. */
  notBefore = -Infinity;
  /** The same as far as the server asked for it. */
  asked = -Infinity;

  constructor(
    private readonly firstMs: number,
    private readonly capMs: number,
    private readonly opensAfter: number,
    private readonly random: () => number,
  ) {}

  /** Everything went well. */
  succeeded(): void {
    this.failures = 0;
    this.notBefore = this.asked = -Infinity;
  }

  /** Something has to be sent again; with `progress`, something else was taken. */
  failed(now: number, progress: boolean, retryAfterMs: number): void {
    this.failures = progress ? 1 : this.failures + 1;
    const most = Math.min(this.capMs, this.firstMs * 2 ** Math.min(this.failures - 1, 30));
    const wait = this.isOpen ? this.capMs / 2 + (this.random() * this.capMs) / 2 : this.random() * most;
    this.asked = now + Math.min(retryAfterMs, RETRY_AFTER_MAX_MS);
    // Beside the server's own wait, the jitter stands: all its clients were told the same.
    this.notBefore = this.asked + wait;
  }

  /** There is reason to hope: tries again soon, but not before the server's own wait is over, nor all at once. */
  hasten(now: number): void {
    this.notBefore = Math.min(this.notBefore, Math.max(now, this.asked) + this.random() * this.firstMs);
  }

  /** Whether only a probe may go. */
  get isOpen(): boolean {
    return this.failures >= this.opensAfter;
  }

  /** Whether the last request failed. */
  get isFailing(): boolean {
    return this.failures > 0;
  }
}
