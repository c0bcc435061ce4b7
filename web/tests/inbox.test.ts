import { describe, expect, it } from "vitest";
import { ApiProblem, Unreachable } from "../src/shared/api";
import type { Position } from "../src/shared/db";
import { type Batch, InboxClient, type InboxOverHttp, type InboxStore } from "../src/shared/inbox";
import type { SocketStatus } from "../src/shared/status";
import { event, FakeSocket, HELLO, ManualTimers, settle } from "./fakes";

class MemoryStore implements InboxStore {
  at: Position | null = null;
  events: number[] = [];
  snapshots: number[] = [];
  gate: Promise<void> = Promise.resolve();
  fail = false;
  /** How often it was told that it has everything. */
  currents = 0;

  current(): void {
    this.currents += 1;
  }
  async position(): Promise<Position | null> {
    return this.at;
  }
  async write(batch: Batch): Promise<void> {
    await this.gate;
    if (this.fail) throw new Error("disk full");
    if (batch.snapshot) {
      this.snapshots.push(batch.snapshot.head);
      this.events = [];
    }
    this.events.push(...batch.events.map((event) => event.offset));
    this.at = batch.position;
  }
}

/** An inbox over HTTP that answers from a list, and remembers what it was asked. */
class FakeHttp implements InboxOverHttp {
  head = 0;
  failure: Error | null = null;
  asked: (number | null)[] = [];
  acknowledged: number[] = [];

  async read(after: Position | null) {
    this.asked.push(after?.offset ?? null);
    if (this.failure) throw this.failure;
    if (!after) return { epoch: "e1", head: this.head, messages: [], snapshot: {} };
    const messages = [];
    for (let offset = after.offset + 1; offset <= this.head; offset += 1) {
      messages.push({ offset, id: `i${offset}`, type: "x", at: "t", data: {} });
    }
    return { epoch: "e1", head: this.head, messages, snapshot: null };
  }
  /** When set, acknowledgements stay on their way. */
  held: Promise<void> | null = null;

  async acknowledge(offset: number) {
    this.acknowledged.push(offset);
    await this.held;
  }
}

function world(store = new MemoryStore(), reauthenticate?: () => Promise<boolean>, http?: InboxOverHttp) {
  const sockets: FakeSocket[] = [];
  const timers = new ManualTimers();
  const statuses: SocketStatus[] = [];
  const options = {
    path: "/v1/stores/s1/socket",
    open: () => {
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket;
    },
    onStatus: (status: SocketStatus) => statuses.push(status),
    timers,
    ...(reauthenticate ? { reauthenticate } : {}),
  };
  const client = new InboxClient(options, "tablet-1", store, http);
  const opened = async () => {
    await settle();
    const socket = sockets.at(-1) as FakeSocket;
    socket.onopen?.();
    return socket;
  };
  return { client, store, sockets, timers, statuses, opened };
}

describe("an inbox client", () => {
  it("begins as a new device with a snapshot and acknowledges its head", async () => {
    const { client, store, opened, statuses } = world();
    client.start();
    const socket = await opened();
    expect(socket.sent[0]).toEqual({
      frame: "auth", token: "", device_id: "tablet-1", epoch: "", acked: null,
    });
    socket.say(HELLO, { frame: "snapshot", head: 7, epoch: "e1", data: {} }, { frame: "caught_up", head: 7 });
    await settle();
    expect(store.at).toEqual({ epoch: "e1", offset: 7 });
    expect(socket.sent.at(-1)).toEqual({ frame: "ack", offset: 7 });
    expect(statuses.at(-1)).toBe("live");
  });

  it("resumes from what is stored and ignores what it has", async () => {
    const store = new MemoryStore();
    store.at = { epoch: "e1", offset: 4 };
    const { client, opened } = world(store);
    client.start();
    const socket = await opened();
    expect(socket.sent[0]).toMatchObject({ epoch: "e1", acked: 4 });
    socket.say(HELLO, event(3), event(4), event(5), event(6));
    await settle();
    expect(store.events).toEqual([5, 6]);
    expect(socket.sent.at(-1)).toEqual({ frame: "ack", offset: 6 });
  });

  it("acknowledges nothing before it is stored", async () => {
    const store = new MemoryStore();
    store.at = { epoch: "e1", offset: 0 };
    let open = () => {};
    store.gate = new Promise((done) => (open = done));
    const { client, opened } = world(store);
    client.start();
    const socket = await opened();
    socket.say(HELLO, event(1), { frame: "heartbeat", head: 1 });
    await settle();
    expect(socket.sent.slice(1)).toEqual([]);
    open();
    await settle();
    expect(socket.sent.slice(1)).toEqual([
      { frame: "ack", offset: 1 },
      { frame: "heartbeat", acked: 1 },
    ]);
  });

  it("stores nothing past a hole and asks again", async () => {
    const store = new MemoryStore();
    store.at = { epoch: "e1", offset: 1 };
    const { client, opened, sockets } = world(store);
    client.start();
    const socket = await opened();
    socket.say(HELLO, event(3));
    await settle();
    expect(store.events).toEqual([]);
    expect(socket.closed).toBe(true);
    const again = await opened();
    expect(sockets.length).toBe(2);
    expect(again.sent[0]).toMatchObject({ acked: 1 });
  });

  it("does not acknowledge what could not be stored and asks again", async () => {
    const store = new MemoryStore();
    store.at = { epoch: "e1", offset: 0 };
    store.fail = true;
    const { client, opened } = world(store);
    client.start();
    const socket = await opened();
    socket.say(HELLO, event(1));
    await settle();
    expect(socket.sent.filter((frame) => frame["frame"] === "ack")).toEqual([]);
    store.fail = false;
    const again = await opened();
    again.say(HELLO, event(1));
    await settle();
    expect(store.events).toEqual([1]);
  });

  it("says with every frame that everything is stored, but not before it has caught up", async () => {
    const store = new MemoryStore();
    store.at = { epoch: "e1", offset: 0 };
    const { client, opened } = world(store);
    client.start();
    const socket = await opened();
    socket.say(HELLO, event(1), event(2));
    await settle();
    expect(store.currents).toBe(0);
    for (const frame of [{ frame: "caught_up", head: 2 }, { frame: "heartbeat", head: 2 }, event(3)]) {
      const before = store.currents;
      socket.say(frame);
      await settle();
      expect(store.currents).toBe(before + 1);
    }
    socket.end(1006);
    await settle();
    expect(store.currents).toBe(3);
  });

  it("comes back by itself after a resumable close, with longer pauses", async () => {
    const { client, sockets, timers, opened, statuses } = world();
    client.start();
    (await opened()).end(1006);
    await settle();
    expect(statuses.at(-1)).toBe("offline");
    timers.pass(299);
    await settle();
    expect(sockets.length).toBe(1);
    timers.pass(1);
    (await opened()).end(4001);
    timers.pass(599);
    await settle();
    expect(sockets.length).toBe(2);
    timers.pass(1);
    await settle();
    expect(sockets.length).toBe(3);
  });

  it("stays away after a fatal close: a newer connection has won", async () => {
    const { client, sockets, timers, opened, statuses } = world();
    client.start();
    (await opened()).end(4203);
    timers.pass(1_000_000);
    await settle();
    expect(statuses.at(-1)).toBe("superseded");
    expect(sockets.length).toBe(1);
    client.start();
    await settle();
    expect(sockets.length).toBe(2);
  });

  it("asks for the session at a re-authenticate close, and gives up when it is over", async () => {
    const answers = [true, false];
    const { client, timers, opened, statuses } = world(new MemoryStore(), async () => answers.shift() as boolean);
    client.start();
    (await opened()).end(4102);
    await settle();
    expect(statuses.at(-1)).toBe("offline");
    timers.pass(1_000);
    (await opened()).end(4101);
    await settle();
    expect(statuses.at(-1)).toBe("signed-out");
  });

  it("notices a server that has gone silent", async () => {
    const { client, timers, opened, statuses } = world();
    client.start();
    const socket = await opened();
    socket.say(HELLO, { frame: "snapshot", head: 1, epoch: "e1", data: {} }, { frame: "caught_up", head: 1 });
    await settle();
    timers.pass(2_499);
    expect(statuses.at(-1)).toBe("live");
    timers.pass(1);
    expect(statuses.at(-1)).toBe("offline");
    expect(socket.closed).toBe(true);
  });

  it("takes nothing more from a connection that was replaced", async () => {
    const store = new MemoryStore();
    store.at = { epoch: "e1", offset: 0 };
    const { client, opened } = world(store);
    client.start();
    const socket = await opened();
    client.asleep();
    socket.say(HELLO, event(1));
    await settle();
    expect(store.events).toEqual([]);
  });
});

describe("where no WebSocket gets through", () => {
  /** Sockets that end before a word came over them. */
  async function blocked(http = new FakeHttp(), reauthenticate?: () => Promise<boolean>) {
    const made = world(new MemoryStore(), reauthenticate, http);
    made.client.start();
    for (let turn = 0; turn < 2; turn += 1) {
      await settle();
      made.sockets.at(-1)?.end(1006);
      await settle();
      made.timers.pass(500);
    }
    await settle();
    return { ...made, http };
  }

  it("asks over HTTP: a snapshot first, then what follows, each stored before it is acknowledged", async () => {
    const http = new FakeHttp();
    http.head = 4;
    const { statuses, store, timers } = await blocked(http);
    expect(statuses.at(-1)).toBe("polling");
    expect(store.snapshots).toEqual([4]);
    http.head = 6;
    timers.pass(1_000);
    await settle();
    expect(store.events).toEqual([5, 6]);
    expect(store.at).toEqual({ epoch: "e1", offset: 6 });
    expect(http.acknowledged).toEqual([4, 6]);
    expect(statuses.at(-1)).toBe("polling");
  });

  it("says with every look that everything is stored, and not of one that failed", async () => {
    const { http, store, timers } = await blocked();
    expect(store.currents).toBe(1);
    timers.pass(1_000);
    await settle();
    expect(store.currents).toBe(2);
    http.failure = new Unreachable();
    timers.pass(1_000);
    await settle();
    expect(store.currents).toBe(2);
  });

  it("tries the socket all the while, and goes back to it for good when it opens", async () => {
    const { client, http, opened, statuses, store, timers } = await blocked();
    http.head = 2;
    timers.pass(1_000);
    await settle();
    expect(client.status).toBe("polling");
    timers.pass(1_000);
    const socket = await opened();
    socket.say(HELLO, event(3), { frame: "caught_up", head: 3 });
    await settle();
    expect(statuses.slice(-2)).toEqual(["catching-up", "live"]);
    expect(store.events).toEqual([1, 2, 3]);
    const asked = http.asked.length;
    timers.pass(2_000);
    await settle();
    expect(http.asked).toHaveLength(asked);
  });

  it("is not fooled by its own late acknowledgement: that supersedes a socket once, not for ever", async () => {
    const { client, opened, sockets, timers } = await blocked();
    timers.pass(1_000);
    const socket = await opened();
    socket.say(HELLO, { frame: "caught_up", head: 0 });
    await settle();
    socket.end(4203);
    await settle();
    expect(client.status).toBe("offline");
    timers.pass(1_000);
    (await opened()).say(HELLO, { frame: "caught_up", head: 0 });
    await settle();
    sockets.at(-1)?.end(4203);
    await settle();
    expect(client.status).toBe("superseded");
  });

  it("knows that an acknowledgement still on its way may supersede the socket that opened", async () => {
    const http = new FakeHttp();
    http.held = new Promise(() => undefined);
    const { client, opened, timers } = await blocked(http);
    expect(http.acknowledged).toEqual([0]);
    timers.pass(1_000);
    const socket = await opened();
    socket.say(HELLO, { frame: "caught_up", head: 0 });
    await settle();
    socket.end(4203);
    await settle();
    expect(client.status).not.toBe("superseded");
  });

  it("says that there is no connection when HTTP does not get through either", async () => {
    const http = new FakeHttp();
    http.failure = new Unreachable();
    const { statuses } = await blocked(http);
    expect(statuses).not.toContain("polling");
    expect(statuses.at(-1)).not.toBe("live");
    http.failure = null;
  });

  it("ends when the device was unpaired meanwhile", async () => {
    const { http, statuses, timers } = await blocked(new FakeHttp(), async () => false);
    http.failure = new ApiProblem(401, "session-ended", "unpaired");
    timers.pass(1_000);
    await settle();
    expect(statuses.at(-1)).toBe("signed-out");
  });

  it("does not wait for a second try when a handshake hangs", async () => {
    const http = new FakeHttp();
    const made = world(new MemoryStore(), undefined, http);
    made.client.start();
    await settle();
    made.timers.pass(10_000);
    await settle();
    expect(made.statuses.at(-1)).toBe("polling");
  });
});
