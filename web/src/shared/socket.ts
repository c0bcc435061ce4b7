/**
 * A connection of the socket protocol (docs/protocol/socket.md), whatever comes over it.
 *
 * It answers heartbeats, notices a silent server, and does what a close code says. Where a network
 * lets HTTP through but no WebSocket, it asks over HTTP instead and keeps trying the socket. What
 * frames mean is said by `InboxClient` (inbox.ts) and `TopicClient` (topic.ts).
 */
import { ApiProblem } from "./api";
import { CLOSE_CODES, type components } from "./generated/socket";
import { isConnected, type SocketStatus } from "./status";
import { realTimers, type Timers } from "./timers";

export type Frames = components["schemas"];

/** The part of `WebSocket` that is used. */
export interface SocketLike {
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export interface SocketOptions {
  /** Path such as `/v1/stores/s1/socket`. */
  path: string;
  onStatus?: (status: SocketStatus, why?: { code: string; detail: string }) => void;
  /** Asked at close codes 4100 to 4199. True: the session is good again, connect. */
  reauthenticate?: () => Promise<boolean>;
  open?: (path: string) => SocketLike;
  timers?: Timers;
}

const PAUSE_MS_MIN = 300;
const PAUSE_MS_MAX = 15_000;
const HELLO_MS = 10_000;
/** Connections in a row over which nothing came, until HTTP is tried instead. */
const UNHEARD_MAX = 2;
const POLL_MS = 1_000;
const SILENT_HEARTBEATS = 2.5;

/** What every socket does; subclasses say how to begin and what frames mean. */
export abstract class SocketClient {
  status: SocketStatus = "stopped";
  #socket: SocketLike | null = null;
  #timer: unknown = null;
  #watchdog: unknown = null;
  #silentMs = HELLO_MS;
  #failures = 0;
  #generation = 0;
  #problem: { code: string; detail: string } | undefined;
  #heard = false;
  #unheard = 0;
  #pollTimer: unknown = null;
  #polls = 0;
  #polling = false;
  /** An acknowledgement over HTTP may still be on its way, and would count as a newer connection. */
  #overtaking = false;
  protected readonly timers: Timers;

  constructor(protected readonly options: SocketOptions) {
    this.timers = options.timers ?? realTimers;
  }

  /** Connect, and stay connected until `stop`, a fatal close, or a session that is over. */
  start(): void {
    if (this.#socket || this.#timer) return;
    void this.#connect();
  }

  /** Close for good; `start` begins again. */
  stop(): void {
    this.#endPolling();
    this.#drop();
    this.#tell("stopped");
  }

  /** The network is back or the device woke: do not wait out the pause; doubt an old connection. */
  wake(): void {
    if (this.#polling) {
      this.timers.clear(this.#pollTimer);
      void this.#look(this.#polls);
    } else if (this.status === "offline") {
      this.#failures = 0;
      this.#drop();
      void this.#connect();
    } else if (this.#socket && this.status === "live") {
      this.nudge();
      this.#watch(3_000);
    }
  }

  /** The network is gone: say so at once. */
  asleep(): void {
    this.#endPolling();
    if (this.status === "connecting" || isConnected(this.status)) this.#again(false);
  }

  protected abstract greeting(): Promise<Record<string, unknown>>;
  protected abstract receive(frame: Record<string, unknown>): void;
  protected abstract nudge(): void;
  protected abstract lost(): void;

  /** One look over HTTP at what a socket would bring, taken in while `valid()`; rejects as `Api`
   * does. Null where there is no such way. */
  protected abstract poll(valid: () => boolean): Promise<void> | null;

  protected send(frame: Record<string, unknown>): void {
    this.#socket?.send(JSON.stringify(frame));
  }

  /** Connect anew at once: what came does not fit what is stored. */
  protected restart(): void {
    this.#drop();
    void this.#connect();
  }

  protected caughtUp(): void {
    this.#failures = 0;
    this.#tell("live");
  }

  protected get generation(): number {
    return this.#generation;
  }

  async #connect(): Promise<void> {
    const generation = ++this.#generation;
    this.#timer = null;
    this.#problem = undefined;
    this.#tell("connecting");
    let greeting: Record<string, unknown>;
    try {
      greeting = await this.greeting();
    } catch {
      // What is stored cannot be read now; the device's database may be busy.
      if (generation === this.#generation) this.#again(true);
      return;
    }
    if (generation !== this.#generation) return;
    const socket = (this.options.open ?? openWebSocket)(this.options.path);
    this.#socket = socket;
    this.#silentMs = HELLO_MS;
    this.#heard = false;
    this.#watch();
    socket.onopen = () => {
      if (generation === this.#generation) socket.send(JSON.stringify(greeting));
    };
    socket.onmessage = ({ data }) => {
      if (generation !== this.#generation || typeof data !== "string") return;
      this.#watch();
      this.#onFrame(JSON.parse(data) as Record<string, unknown>);
    };
    socket.onclose = ({ code }) => {
      if (generation === this.#generation) void this.#onClose(code);
    };
  }

  #onFrame(frame: Record<string, unknown>): void {
    this.#heard = true;
    this.#unheard = 0;
    switch (frame["frame"]) {
      case "hello":
        this.#endPolling();
        this.#silentMs = Number(frame["heartbeat_ms"]) * SILENT_HEARTBEATS;
        this.#watch();
        if (this.status !== "live") this.#tell("catching-up");
        break;
      case "heartbeat":
        this.#overtaking = false;
        break;
      case "problem":
        this.#problem = { code: String(frame["code"]), detail: String(frame["detail"]) };
        return;
    }
    this.receive(frame);
  }

  async #onClose(code: number): Promise<void> {
    const then = CLOSE_CODES[code]?.then ?? kindOf(code);
    const problem = this.#problem;
    if (code === 4203 && this.#overtaking) {
      this.#overtaking = false;
      this.#again(true);
      return;
    }
    this.#drop();
    if (then === "fatal") {
      this.#endPolling();
      const name = CLOSE_CODES[code]?.name ?? String(code);
      this.#tell(
        code === 4203 ? "superseded" : code === 4200 ? "signed-out" : "stopped",
        problem ?? { code: name, detail: "" },
      );
      return;
    }
    if (then === "re-authenticate") {
      const generation = this.#generation;
      let good: boolean | null;
      try {
        good = (await this.options.reauthenticate?.()) ?? false;
      } catch {
        good = null; // not reachable: neither good nor bad
      }
      if (generation !== this.#generation) return;
      if (good === false) {
        this.#endPolling();
        this.#tell("signed-out", problem);
        return;
      }
    }
    this.#again(true);
  }

  /** No socket gets through, it seems: look over HTTP from now on, until one does. */
  #startPolling(): void {
    if (this.#polling) return;
    this.#polling = true;
    this.#polls += 1;
    void this.#look(this.#polls);
  }

  async #look(turn: number): Promise<void> {
    const valid = () => this.#polling && turn === this.#polls;
    try {
      // From here on an acknowledgement of ours may overtake a socket that opens meanwhile.
      this.#overtaking = true;
      const looked = this.poll(valid);
      if (!looked) return;
      await looked;
    } catch (error) {
      if (!valid()) return;
      this.#endPolling();
      if (error instanceof ApiProblem && (error.status === 401 || error.status === 403)) {
        await this.#onClose(error.status === 401 ? 4101 : 4200);
      } else if (this.status === "polling") {
        this.#tell("offline");
      }
      return;
    }
    if (!valid()) return;
    this.#tell("polling");
    this.#pollTimer = this.timers.set(() => void this.#look(turn), POLL_MS);
  }

  #endPolling(): void {
    this.#polling = false;
    this.timers.clear(this.#pollTimer);
    this.#pollTimer = null;
  }

  #again(counts: boolean, hung = false): void {
    if (counts && !this.#heard) {
      this.#unheard += 1;
      if (hung || this.#unheard >= UNHEARD_MAX) this.#startPolling();
    }
    this.#drop();
    if (counts) this.#failures += 1;
    const most = Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** Math.max(0, this.#failures - 1));
    this.#tell("offline");
    this.#timer = this.timers.set(() => void this.#connect(), most * (0.5 + this.timers.random() / 2));
  }

  #drop(): void {
    this.#generation += 1;
    this.timers.clear(this.#timer);
    this.timers.clear(this.#watchdog);
    this.#timer = this.#watchdog = null;
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(1000);
    }
    this.lost();
  }

  #watch(ms = this.#silentMs): void {
    this.timers.clear(this.#watchdog);
    this.#watchdog = this.timers.set(() => this.#again(true, !this.#heard), ms);
  }

  #tell(status: SocketStatus, why?: { code: string; detail: string }): void {
    if (status === this.status && !why) return;
    // The socket is tried behind what works.
    if (this.status === "polling" && this.#polling && (status === "connecting" || status === "offline")) return;
    this.status = status;
    this.options.onStatus?.(status, why);
  }
}

/** Keep a client in step with the device: network back, page shown again. Returns how to stop. */
export function followDevice(client: Pick<SocketClient, "wake" | "asleep">): () => void {
  const wake = () => client.wake();
  const asleep = () => client.asleep();
  const shown = () => document.visibilityState === "visible" && client.wake();
  addEventListener("online", wake);
  addEventListener("offline", asleep);
  addEventListener("pageshow", wake);
  document.addEventListener("visibilitychange", shown);
  return () => {
    removeEventListener("online", wake);
    removeEventListener("offline", asleep);
    removeEventListener("pageshow", wake);
    document.removeEventListener("visibilitychange", shown);
  };
}

function openWebSocket(path: string): SocketLike {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return new WebSocket(url) as SocketLike;
}

function kindOf(code: number): "resume" | "re-authenticate" | "fatal" {
  if (code >= 4200 && code <= 4999) return "fatal";
  if (code >= 4100 && code < 4200) return "re-authenticate";
  return "resume";
}
