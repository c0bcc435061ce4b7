/** HTTP as the service speaks it: cookie session, problem+json, Idempotency-Key, safe repeats. */
import type { components } from "./generated/api";

export type Documents = components["schemas"];
export type Role = "store" | "rider" | "ops";

/** What the service refused, and why. `code` is stable; `extra` holds the facts of the code. */
export class ApiProblem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly extra: Readonly<Record<string, unknown>> = {},
  ) {
    super(`${code}: ${detail}`);
    this.name = "ApiProblem";
  }

  /** Whether the same request may succeed later without anything else changing. */
  get retryable(): boolean {
    return this.status === 429 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

/** Nothing came back: whether the request was carried out is unknown. Repeat it with its key. */
export class Unreachable extends Error {
  constructor(cause?: unknown) {
    super("The service cannot be reached.", { cause });
    this.name = "Unreachable";
  }
}

export interface RequestOptions {
  body?: unknown;
  /** The Idempotency-Key of a POST; made anew when absent, and kept over repeats. */
  key?: string;
  /** Attempts while the outcome is unknown or the service busy. 1: no repeat. */
  attempts?: number;
  timeoutMs?: number;
  signal?: AbortSignal;
}

export interface ApiOptions {
  fetch?: typeof fetch;
  sleep?: (ms: number) => Promise<void>;
  random?: () => number;
}

const PAUSE_MS_MIN = 200;
const PAUSE_MS_MAX = 5_000;

/** Speaks for the device's session of one role. Sessions are HttpOnly cookies: see `session.ts`. */
export class Api {
  readonly #fetch: typeof fetch;
  readonly #sleep: (ms: number) => Promise<void>;
  readonly #random: () => number;

  constructor(
    readonly role: Role,
    options: ApiOptions = {},
  ) {
    this.#fetch = options.fetch ?? ((...given) => fetch(...given));
    this.#sleep = options.sleep ?? ((ms) => new Promise((done) => setTimeout(done, ms)));
    this.#random = options.random ?? Math.random;
  }

  get<T>(path: string, options: RequestOptions = {}): Promise<T> {
    return this.request<T>("GET", path, options);
  }

  post<T>(path: string, body: unknown = {}, options: RequestOptions = {}): Promise<T> {
    return this.request<T>("POST", path, { ...options, body });
  }

  put<T>(path: string, body: unknown, options: RequestOptions = {}): Promise<T> {
    return this.request<T>("PUT", path, { ...options, body });
  }

  /** Rejects with `ApiProblem` or, when no attempt got an answer, `Unreachable`. */
  async request<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    const key = method === "POST" ? (options.key ?? newKey()) : undefined;
    const attempts = options.attempts ?? 4;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#once<T>(method, path, key, options);
      } catch (error) {
        const again = error instanceof Unreachable || (error instanceof ApiProblem && error.retryable);
        if (!again || attempt >= attempts || options.signal?.aborted) throw error;
        const pause = Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** (attempt - 1));
        const asked = error instanceof ApiProblem ? Number(error.extra["retry_after_s"] ?? 0) * 1000 : 0;
        await this.#sleep(Math.max(asked, pause * (0.5 + this.#random())));
      }
    }
  }

  async #once<T>(
    method: string,
    path: string,
    key: string | undefined,
    { body, timeoutMs = 15_000, signal }: RequestOptions,
  ): Promise<T> {
    const headers: Record<string, string> = { "doorstep-requested-with": this.role };
    if (key !== undefined) headers["idempotency-key"] = key;
    if (body !== undefined) headers["content-type"] = "application/json";
    const timeout = AbortSignal.timeout(timeoutMs);
    let response: Response;
    let text: string;
    try {
      response = await this.#fetch(path, {
        method,
        headers,
        body: body === undefined ? null : JSON.stringify(body),
        credentials: "same-origin",
        cache: "no-store",
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      });
      text = await response.text();
    } catch (error) {
      throw new Unreachable(error);
    }
    if (!response.ok) throw problemOf(response, text);
    return (text ? JSON.parse(text) : undefined) as T;
  }
}

/** A new Idempotency-Key (also where `crypto.randomUUID` is missing: plain http on a LAN). */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Part of a path, its slashes and spaces escaped. */
export function segment(text: string): string {
  return encodeURIComponent(text);
}

function problemOf(response: Response, text: string): ApiProblem {
  const retry_after_s = Number(response.headers.get("retry-after")) || 0;
  try {
    const { code, detail, ...extra } = JSON.parse(text) as Record<string, unknown>;
    if (typeof code === "string") {
      return new ApiProblem(response.status, code, String(detail ?? ""), { ...extra, retry_after_s });
    }
  } catch {
    // not one of our answers: a proxy's
  }
  return new ApiProblem(response.status, "unexpected-answer", `HTTP ${response.status}`, { retry_after_s });
}
