/**
 * What people pressed, until the service has answered. Every action is on the device before it is
 * sent, carries its Idempotency-Key, and goes out in order within its lane (one ticket, one parcel),
 * so that a lost answer or a reload never does a thing twice and never loses it.
 */
import { type Api, ApiProblem, newKey } from "./api";
import type { DeviceDb, StoredAction } from "./db";

export type { StoredAction } from "./db";

export interface QueueListener {
  /** What waits changed (added, answered, dropped). */
  onChange?(waiting: readonly StoredAction[]): void;
  /** It is done. `answer` is undefined where an earlier try did it and its answer is kept no more:
   * the inbox tells what became of it. */
  onDone?(action: StoredAction, answer: unknown): void;
  /** The service said no; the action is gone. `late`: it waited, and came too late. */
  onRefused?(action: StoredAction, problem: ApiProblem, late: boolean): void;
  /** The session is over; what waits stays, until somebody signs in again. */
  onSignedOut?(): void;
}

export type Wish = Pick<StoredAction, "lane" | "kind" | "method" | "path" | "body" | "about">;

const PAUSE_MS_MIN = 500;
const PAUSE_MS_MAX = 10_000;

export class ActionQueue {
  #waiting: StoredAction[] = [];
  #running = new Map<string, Promise<void>>();
  #late = new Set<string>();
  #sending = new Set<string>();
  #seq = 0;
  #open = false;
  #failures = 0;
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(
    private readonly db: DeviceDb,
    private readonly api: Pick<Api, "request">,
    private readonly listener: QueueListener = {},
    private readonly now: () => number = Date.now,
    private readonly random: () => number = Math.random,
  ) {}

  get waiting(): readonly StoredAction[] {
    return this.#waiting;
  }

  /** Take up what an earlier life of the page or another window left behind. Sends nothing yet: see
   * `open`. */
  async load(): Promise<void> {
    this.#waiting = (await this.db.getAll("actions")).sort(byPressing);
    this.#seq = Math.max(this.#seq, ...this.#waiting.map((one) => one.seq));
    for (const action of this.#waiting) this.#late.add(action.key);
    this.listener.onChange?.(this.#waiting);
  }

  /** The service can be reached: send. Called again it tries again at once. */
  open(): void {
    this.#open = true;
    this.#failures = 0;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#kick();
  }

  /** The service cannot be reached: keep. */
  close(): void {
    this.#open = false;
    for (const action of this.#waiting) this.#late.add(action.key);
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** Resolves when the action is stored; its answer comes to the listener. */
  async add(wish: Wish): Promise<StoredAction> {
    this.#seq += 1;
    // A clock that was set back must not change the order.
    const at = Math.max(this.now(), this.#waiting.at(-1)?.at ?? 0);
    const action: StoredAction = { ...wish, key: newKey(), seq: this.#seq, at };
    if (!this.#open) this.#late.add(action.key);
    const replaced = this.#waiting.filter(
      (one) =>
        wish.method === "PUT" &&
        one.method === "PUT" &&
        one.path === wish.path &&
        !this.#sending.has(one.key),
    );
    this.#waiting = [...this.#waiting.filter((one) => !replaced.includes(one)), action];
    this.listener.onChange?.(this.#waiting);
    const work = this.db.transaction("actions", "readwrite", { durability: "strict" });
    await Promise.all([
      ...replaced.map((one) => work.store.delete(one.key)),
      work.store.put(structuredClone(action)),
      work.done,
    ]);
    this.#kick();
    return action;
  }

  /** Drop what waits in a lane (its ticket was cancelled). What is on its way is not stopped. */
  async drop(lane: string): Promise<void> {
    const dropped = this.#waiting.filter((one) => one.lane === lane && !this.#sending.has(one.key));
    await this.#forget(dropped);
  }

  /** Resolves when nothing is on its way any more. For tests and orderly ends. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running.values());
  }

  #kick(): void {
    if (!this.#open || this.#timer) return;
    for (const action of this.#waiting) {
      if (this.#running.has(action.lane)) continue;
      const run = this.#runLane(action.lane).finally(() => {
        this.#running.delete(action.lane);
        if (this.#waiting.some((one) => one.lane === action.lane)) this.#kick();
      });
      this.#running.set(action.lane, run);
    }
  }

  async #runLane(lane: string): Promise<void> {
    while (this.#open && !this.#timer) {
      const action = this.#waiting.find((one) => one.lane === lane);
      if (!action) return;
      this.#sending.add(action.key);
      try {
        const answer = await this.api.request(action.method, action.path, {
          body: action.body,
          key: action.key,
          attempts: 1,
        });
        await this.#done(action, answer);
      } catch (error) {
        if (!(error instanceof ApiProblem) || error.retryable) {
          this.#pause();
          return;
        }
        if (error.status === 401) {
          this.close();
          this.listener.onSignedOut?.();
          return;
        }
        if (error.code === "already-done") {
          await this.#done(action, undefined);
          continue;
        }
        const late = this.#late.has(action.key);
        await this.#forget([action]);
        this.listener.onRefused?.(action, error, late);
      } finally {
        this.#sending.delete(action.key);
      }
    }
  }

  async #done(action: StoredAction, answer: unknown): Promise<void> {
    this.#failures = 0;
    await this.#forget([action]);
    this.listener.onDone?.(action, answer);
  }

  #pause(): void {
    this.#failures += 1;
    for (const action of this.#waiting) this.#late.add(action.key);
    if (this.#timer || !this.#open) return;
    const most = Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** (this.#failures - 1));
    this.#timer = setTimeout(
      () => {
        this.#timer = null;
        this.#kick();
      },
      most * (0.5 + this.random() / 2),
    );
  }

  async #forget(actions: readonly StoredAction[]): Promise<void> {
    if (actions.length === 0) return;
    const keys = new Set(actions.map((one) => one.key));
    this.#waiting = this.#waiting.filter((one) => !keys.has(one.key));
    const work = this.db.transaction("actions", "readwrite");
    await Promise.all([...actions.map((one) => work.store.delete(one.key)), work.done]);
    for (const key of keys) this.#late.delete(key);
    this.listener.onChange?.(this.#waiting);
  }
}

function byPressing(one: StoredAction, other: StoredAction): number {
  return one.at - other.at || one.seq - other.seq;
}
