// What an answer says of each event of a request.

/**
 * What became of an event: taken, on every replica (`durable`) or as its type's schema asks (`accepted`); never to be
 * taken; not taken, so it goes again; or nobody knows, and it goes again.
 */
export type Verdict = "durable" | "accepted" | "refused" | "again" | "doubt";

export interface Judgement {
  verdicts: Verdict[];
  retryAfterMs: number;
  /** What went wrong, for people. */
  error?: string | undefined;
}

/** Of an answer no more than this is read, in bytes; a longer one is no answer. */
const ANSWER_BYTES_MAX = 8 << 20;
/** A request of which nothing was kept, and which will never be. */
const REFUSED = [400, 401, 403, 410, 413, 415];
/** A request of which nothing was kept this time. */
const NOT_KEPT = [408, 429, 503];

/** Judges the answer to a request that carried the events with these ids, in this order. */
export async function judge(response: Response, ids: string[]): Promise<Judgement> {
  const seconds = Number(response.headers.get("retry-after") ?? 0);
  const retryAfterMs = seconds > 0 ? seconds * 1_000 : 0;
  const body = await text(response);
  const verdicts = results(body, ids) ?? ids.map(() => overall(response.status));
  const isWell = verdicts.every((verdict) => verdict === "durable" || verdict === "accepted");
  return { verdicts, retryAfterMs, error: isWell ? undefined : `${response.status} ${body.slice(0, 200)}` };
}

function overall(status: number): Verdict {
  if (REFUSED.includes(status)) return "refused";
  return NOT_KEPT.includes(status) ? "again" : "doubt";
}

/** One verdict for each event, if the body is a whole answer to this request. */
function results(body: string, ids: string[]): Verdict[] | undefined {
  try {
    const { results } = JSON.parse(body) as { results: Result[] };
    if (!Array.isArray(results) || results.length !== ids.length) return undefined;
    const fits = results.every(({ id, status }, place) => (id ?? ids[place]) === ids[place] && status >= 100);
    return fits ? results.map(verdict) : undefined;
  } catch {
    return undefined;
  }
}

interface Result {
  id: string | null;
  status: number;
  retry?: unknown;
  unknown?: unknown;
  durability?: unknown;
}

function verdict({ status, retry, unknown, durability }: Result): Verdict {
  if (status === 202) return durability === "all" ? "durable" : "accepted";
  if (retry !== true) return "refused";
  return unknown === true ? "doubt" : "again";
}

/** The body, or nothing if it is too long. */
export async function text(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  if (!reader) return response.text();
  const decoder = new TextDecoder();
  let read = "";
  for (let bytes = 0; ; ) {
    const { done, value } = await reader.read();
    if (done) return read + decoder.decode();
    bytes += value.length;
    if (bytes > ANSWER_BYTES_MAX) {
      void reader.cancel();
      return "";
    }
    read += decoder.decode(value, { stream: true });
  }
}
