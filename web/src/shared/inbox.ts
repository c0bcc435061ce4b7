/**
 * A durable inbox on its device (docs/protocol/socket.md). The client stores before it
 * acknowledges, resumes from what it has stored, ignores what it has, and never skips.
 */
import type { Api, Documents } from "./api";
import type { Position } from "./db";
import { type Frames, SocketClient, type SocketOptions } from "./socket";

type InboxPage = Pick<Documents["InboxPage"], "epoch" | "head" | "messages" | "snapshot">;

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

/** The inbox without a socket: `GET …/inbox?after=`. */
export interface InboxOverHttp {
  /** What follows the position; null: a new device. */
  read(after: Position | null): Promise<InboxPage>;
  acknowledge(offset: number): Promise<void>;
}

const MESSAGES_MAX = 500;
/** To be asked with no epoch that any inbox has: the answer is a snapshot. */
const NO_EPOCH = "none";

/** The device's end of a durable inbox. */
export class InboxClient extends SocketClient {
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

/** For networks that block WebSockets. `path`: of the owner, such as `/v1/stores/s1`. */
export function inboxOverHttp(api: Api, path: string, deviceId: string): InboxOverHttp {
  return {
    read(after) {
      const query = new URLSearchParams({
        after: String(after?.offset ?? 0),
        epoch: after?.epoch ?? NO_EPOCH,
        limit: String(MESSAGES_MAX),
      });
      return api.get<Documents["InboxPage"]>(`${path}/inbox?${query}`, { attempts: 1 });
    },
    async acknowledge(offset) {
      const body = { device_id: deviceId, offset };
      await api.post(`${path}/inbox/acknowledgements`, body, { attempts: 1 });
    },
  };
}
