/**
 * The socket protocol (docs/protocol/socket.md), for inboxes and for topics.
 *
 * An inbox client stores before it acknowledges, resumes from what it has stored, ignores what it
 * has, and never skips. A topic client holds one document, as snapshot and merge patches. Both
 * answer heartbeats, notice a silent server, and do what a close code says. Where a network lets
 * HTTP through but no WebSocket, they ask over HTTP instead and keep trying the socket.
 */
import { ApiProblem, type Documents } from "./api";
import type { Position } from "./db";
import { CLOSE_CODES, type components } from "./generated/socket";

export type Frames = components["schemas"];
type InboxPage = Pick<Documents["InboxPage"], "epoch" | "head" | "messages" | "snapshot">;

/** `live`: everything up to now is here. `polling`: no socket gets through, but everything up to a
 * moment ago is here over HTTP. `superseded`: opened elsewhere with the same device id. */
export type SocketStatus =
  | "connecting"
  | "catching-up"
  | "live"
  | "polling"
  | "offline"
  | "signed-out"
  | "superseded"
  | "stopped";

/** The part of `WebSocket` that is used. */
export interface SocketLike {
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export interface Timers {
  set(work: () => void, ms: number): unknown;
  clear(timer: unknown): void;
  random(): number;
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

/** One stored batch: a snapshot replaces everything, events follow it in offset order. */
export interface Batch {
  snapshot?: Frames["Snapshot"];
  events: Frames["Event"][];
  position: Position;
}

/** Where an inbox client keeps what it is given. */
export interface InboxStore {
  /** What is stored, null on a new device. */
  position(): Promise<Position | null>;
  /** Resolves when the batch is safe on the device, whole or not at all. */
  write(batch: Batch): Promise<void>;
  /** Everything up to this moment is stored: told again and again, with every sign of life. */
  current?(): void;
}

const PAUSE_MS_MIN = 300;
const PAUSE_MS_MAX = 15_000;
const HELLO_MS = 10_000;
/** Connections in a row over which nothing came, until HTTP is tried instead. */
const UNHEARD_MAX = 2;
const POLL_MS = 1_000;
const SILENT_HEARTBEATS = 2.5;

const realTimers: Timers = {
  set: (work, ms) => setTimeout(work, ms),
  clear: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
  random: Math.random,
};

function openWebSocket(path: string): SocketLike {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return new WebSocket(url) as SocketLike;
}

/** What every socket does; subclasses say how to begin and what frames mean. */
abstract class Client {
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
    if (["connecting", "catching-up", "live", "polling"].includes(this.status)) this.#again(false);
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

/** The device's end of a durable inbox. */
export class InboxClient extends Client {
  #position: Position | null = null;
  #waiting: Record<string, unknown>[] = [];
  #pumping = false;
  #acked = -1;

  constructor(
    options: SocketOptions,
    private readonly deviceId: string,
    private readonly store: InboxStore,
    private readonly http?: InboxOverHttp,
  ) {
    super(options);
  }

  protected async greeting(): Promise<Record<string, unknown>> {
    this.#position = await this.store.position();
    this.#acked = this.#position?.offset ?? -1;
    return {
      frame: "auth",
      token: "",
      device_id: this.deviceId,
      epoch: this.#position?.epoch ?? "",
      acked: this.#position?.offset ?? null,
    };
  }

  protected receive(frame: Record<string, unknown>): void {
    this.#waiting.push(frame);
    void this.#pump();
  }

  protected nudge(): void {
    this.send({ frame: "heartbeat", ...(this.#position ? { acked: this.#position.offset } : {}) });
  }

  protected lost(): void {
    this.#waiting = [];
  }

  protected poll(valid: () => boolean): Promise<void> | null {
    return this.http ? this.#read(this.http, valid) : null;
  }

  async #read(http: InboxOverHttp, valid: () => boolean): Promise<void> {
    const before = await this.store.position();
    const page = await http.read(before);
    // What comes over the socket and what comes over HTTP is stored one after the other.
    if (!valid() || this.#pumping) return;
    const stored = await this.#exclusively(() => this.#keep(page, before));
    if (valid() && (stored ?? before)?.offset === page.head) this.store.current?.();
    if (stored && valid()) await http.acknowledge(stored.offset);
  }

  /** The place reached when there was anything new. */
  async #keep(page: InboxPage, before: Position | null): Promise<Position | null> {
    if (page.snapshot != null) {
      const position = { epoch: page.epoch, offset: page.head };
      const snapshot = { frame: "snapshot", head: page.head, epoch: page.epoch, data: page.snapshot };
      await this.store.write({ snapshot: snapshot as Frames["Snapshot"], events: [], position });
      this.#position = position;
      return position;
    }
    const last = page.messages.at(-1);
    if (!before || !last) return null;
    const events = page.messages.map((message) => ({ frame: "event", ...message }) as Frames["Event"]);
    const position = { epoch: before.epoch, offset: last.offset };
    await this.store.write({ events, position });
    this.#position = position;
    return position;
  }

  async #exclusively<T>(work: () => Promise<T>): Promise<T> {
    this.#pumping = true;
    try {
      return await work();
    } finally {
      this.#pumping = false;
      if (this.#waiting.length > 0) void this.#pump();
    }
  }

  /** Store what waits, batch by batch, then acknowledge. One at a time, in order. */
  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (this.#waiting.length > 0) {
        const frames = this.#waiting;
        const generation = this.generation;
        this.#waiting = [];
        if (!(await this.#take(frames, generation))) return;
      }
    } finally {
      this.#pumping = false;
      if (this.#waiting.length > 0) void this.#pump();
    }
  }

  /** False when the connection is no longer the one that these frames came over. */
  async #take(frames: Record<string, unknown>[], generation: number): Promise<boolean> {
    const batch: Batch = { events: [], position: { epoch: "", offset: -1 } };
    let position = this.#position;
    let live = false;
    let beat = false;
    for (const frame of frames) {
      switch (frame["frame"]) {
        case "snapshot": {
          const snapshot = frame as unknown as Frames["Snapshot"];
          batch.snapshot = snapshot;
          batch.events = [];
          position = { epoch: snapshot.epoch, offset: snapshot.head };
          break;
        }
        case "event": {
          const event = frame as unknown as Frames["Event"];
          if (position && event.offset <= position.offset) break;
          if (!position || event.offset !== position.offset + 1) {
            this.restart(); // a hole: ask again from what is stored
            return false;
          }
          batch.events.push(event);
          position = { epoch: position.epoch, offset: event.offset };
          break;
        }
        case "caught_up":
          live = true;
          break;
        case "heartbeat":
          beat = true;
          break;
      }
    }
    if (position && (batch.snapshot || batch.events.length > 0)) {
      try {
        await this.store.write({ ...batch, position });
      } catch {
        if (generation === this.generation) this.restart();
        return false;
      }
      if (generation !== this.generation) return true;
      this.#position = position;
    }
    if (generation !== this.generation) return true;
    if (position && position.offset > this.#acked) {
      this.#acked = position.offset;
      this.send({ frame: "ack", offset: position.offset });
    }
    if (beat) this.nudge();
    if (live) this.caughtUp();
    if (this.status === "live") this.store.current?.();
    return true;
  }
}

/** The inbox without a socket: `GET …/inbox?after=`. */
export interface InboxOverHttp {
  /** What follows the position; null: a new device. */
  read(after: Position | null): Promise<InboxPage>;
  acknowledge(offset: number): Promise<void>;
}

export interface TopicListener<T> {
  /** The document as it is now; the same object is changed in place by later deltas. */
  onDocument(document: T): void;
  onLatest?(key: string, value: unknown): void;
}

/** A topic's document, kept current. */
export class TopicClient<T extends object> extends Client {
  #document: Record<string, unknown> | null = null;
  #head = -1;

  constructor(
    options: SocketOptions,
    private readonly listener: TopicListener<T>,
    /** The document over HTTP, where it can be had so too. */
    private readonly read?: () => Promise<T>,
  ) {
    super(options);
  }

  protected poll(valid: () => boolean): Promise<void> | null {
    if (!this.read) return null;
    return this.read().then((document) => {
      if (valid()) this.listener.onDocument(document);
    });
  }

  protected async greeting(): Promise<Record<string, unknown>> {
    return { frame: "auth", token: "" };
  }

  protected receive(frame: Record<string, unknown>): void {
    switch (frame["frame"]) {
      case "snapshot":
        this.#document = frame["data"] as Record<string, unknown>;
        this.#head = Number(frame["head"]);
        this.listener.onDocument(this.#document as T);
        this.caughtUp();
        break;
      case "delta": {
        const head = Number(frame["head"]);
        if (!this.#document || head <= this.#head) break;
        if (head !== this.#head + 1) {
          this.restart();
          break;
        }
        this.#head = head;
        mergePatch(this.#document, frame["data"] as Record<string, unknown>);
        this.listener.onDocument(this.#document as T);
        break;
      }
      case "latest":
        this.listener.onLatest?.(String(frame["key"]), frame["data"]);
        break;
      case "heartbeat":
        this.nudge();
        break;
    }
  }

  protected nudge(): void {
    this.send({ frame: "heartbeat" });
  }

  protected lost(): void {
    this.#head = -1;
  }
}

/** RFC 7396, in place. */
export function mergePatch(target: Record<string, unknown>, patch: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) {
      delete target[name];
    } else if (isObject(value)) {
      const inner = target[name];
      const into = isObject(inner) ? inner : {};
      mergePatch(into, value);
      target[name] = into;
    } else {
      target[name] = value;
    }
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function kindOf(code: number): "resume" | "re-authenticate" | "fatal" {
  if (code >= 4200 && code <= 4999) return "fatal";
  if (code >= 4100 && code < 4200) return "re-authenticate";
  return "resume";
}

/** Keep a client in step with the device: network back, page shown again. Returns how to stop. */
export function followDevice(client: Pick<Client, "wake" | "asleep">): () => void {
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
