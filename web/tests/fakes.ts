/** Hand-written stand-ins for what the clients of sockets speak to. */
import type { SocketLike } from "../src/shared/socket";
import type { Timers } from "../src/shared/timers";

export class FakeSocket implements SocketLike {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  sent: Record<string, unknown>[] = [];
  closed = false;

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }
  close(): void {
    this.closed = true;
  }
  say(...frames: Record<string, unknown>[]): void {
    for (const frame of frames) this.onmessage?.({ data: JSON.stringify(frame) });
  }
  end(code: number): void {
    this.onclose?.({ code, reason: "" });
  }
}

/** Time that only moves when a test says so. */
export class ManualTimers implements Timers {
  now = 0;
  #due = new Map<number, { at: number; work: () => void }>();
  #last = 0;

  set(work: () => void, ms: number): unknown {
    this.#due.set((this.#last += 1), { at: this.now + ms, work });
    return this.#last;
  }
  clear(timer: unknown): void {
    this.#due.delete(timer as number);
  }
  random(): number {
    return 1;
  }
  pass(ms: number): void {
    this.now += ms;
    for (const [id, { at, work }] of [...this.#due]) {
      if (at <= this.now && this.#due.delete(id)) work();
    }
  }
}

export const HELLO = { frame: "hello", heartbeat_ms: 1_000, epoch: "e1", head: 3 };
export const event = (offset: number) => ({ frame: "event", offset, id: `i${offset}`, type: "x", at: "t", data: {} });
export const settle = () => new Promise((done) => setTimeout(done, 0));
