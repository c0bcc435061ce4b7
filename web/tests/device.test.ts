import "fake-indexeddb/auto";
import { IDBFactory } from "fake-indexeddb";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Api, ApiProblem, Unreachable } from "../src/shared/api";
import { ServiceClock } from "../src/shared/clock";
import { type DeviceDb, openDevice, type Position } from "../src/shared/db";
import { ASK_AGAIN_MS, type DeviceKeeper, openInboxDevice } from "../src/shared/device";
import type { Batch } from "../src/shared/inbox";
import type { Wish } from "../src/shared/queue";
import { FakeSocket, HELLO, ManualTimers, settle } from "./fakes";

const CAUGHT_UP = { frame: "caught_up", head: 3 };
const SNAPSHOT = { frame: "snapshot", head: 3, epoch: "e1", data: {} };
const ACCEPT: Wish = { lane: "o-1", kind: "accept", method: "POST", path: "/o-1/accept", body: {}, about: {} };
const SESSION_OVER = new ApiProblem(401, "token-expired", "");

/** A service over HTTP: each path answers what it is told to, and is remembered. */
class FakeService extends Api {
  asked: string[] = [];
  clock: () => unknown = () => ({ now: "2026-03-01T12:00:00Z", speed: 1 });
  me: () => unknown = () => ({ role: "store", subject: "s1" });
  action: () => unknown = () => ({});

  override async request<T>(_method: string, path: string): Promise<T> {
    this.asked.push(path);
    if (path === "/v1/clock") return (await this.clock()) as T;
    if (path === "/v1/devices/me") return this.me() as T;
    return this.action() as T;
  }
  get sent(): string[] {
    return this.asked.filter((path) => !path.startsWith("/v1/"));
  }
}

class MemoryKeeper implements DeviceKeeper {
  at: Position | null = null;

  constructor(private readonly steps: string[]) {}

  async load(): Promise<void> {
    await settle();
    this.steps.push("loaded");
  }
  async position(): Promise<Position | null> {
    return this.at;
  }
  async write(batch: Batch): Promise<void> {
    this.at = batch.position;
  }
}

let db: DeviceDb;

beforeEach(async () => {
  globalThis.indexedDB = new IDBFactory();
  vi.stubGlobal("addEventListener", () => undefined);
  vi.stubGlobal("removeEventListener", () => undefined);
  const page = { hidden: true, addEventListener: () => undefined, removeEventListener: () => undefined };
  vi.stubGlobal("document", page);
  db = await openDevice("test");
});
const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
  vi.unstubAllGlobals();
});

const no = (error: Error) => () => {
  throw error;
};

async function opened(service = new FakeService("store"), subject = "s1") {
  const sockets: FakeSocket[] = [];
  const timers = new ManualTimers();
  const steps: string[] = [];
  const told = { signedOut: 0, refused: [] as string[] };
  const device = await openInboxDevice({
    db,
    api: service,
    clock: new ServiceClock(),
    role: "store",
    subject,
    kind: "tablet",
    keeper: new MemoryKeeper(steps),
    onDone: () => undefined,
    onRefused: (_action, problem) => told.refused.push(problem.code),
    onSignedOut: () => (told.signedOut += 1),
    open: () => {
      steps.push("connected");
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket;
    },
    timers,
  });
  ends.push(() => device.stop());
  /** The newest connection, greeted by the device. */
  const connected = async () => {
    await settle();
    const socket = sockets.at(-1) as FakeSocket;
    socket.onopen?.();
    return socket;
  };
  const says = async (socket: FakeSocket, ...frames: Record<string, unknown>[]) => {
    socket.say(...frames);
    for (let turn = 0; turn < 10; turn += 1) await settle();
  };
  return { connected, device, says, service, steps, timers, told };
}

describe("a device with an inbox, opened", () => {
  it("begins where it was: what it holds and what was pressed first, then the connection", async () => {
    const { device } = await opened();
    await device.press(ACCEPT);
    device.stop();
    const again = await opened();
    expect(again.device.waiting.value.map((one) => one.kind)).toEqual(["accept"]);
    const socket = await again.connected();
    expect(again.steps).toEqual(["loaded", "connected"]);
    expect(socket.sent[0]).toMatchObject({ frame: "auth", device_id: device.id });
  });

  it("is connected however long the clock's answer takes", async () => {
    const service = new FakeService("store");
    service.clock = () => new Promise(() => undefined);
    const { connected, device, says } = await opened(service);
    await says(await connected(), HELLO, SNAPSHOT, CAUGHT_UP);
    expect(device.status.value).toBe("live");
  });

  it("asks the clock with each new connection", async () => {
    const { connected, says, service, timers } = await opened();
    const clocks = () => service.asked.filter((path) => path === "/v1/clock").length;
    const socket = await connected();
    const before = clocks();
    await says(socket, HELLO, SNAPSHOT, CAUGHT_UP);
    expect(clocks()).toBe(before + 1);
    socket.end(1006);
    timers.pass(1_000);
    await says(await connected(), HELLO, CAUGHT_UP);
    expect(clocks()).toBe(before + 2);
  });

  it("forgets what it held of another store", async () => {
    const { device } = await opened();
    await device.press(ACCEPT);
    device.stop();
    const other = await opened(new FakeService("store"), "s2");
    expect(other.device.waiting.value).toEqual([]);
    expect(other.device.id).toBe(device.id);
  });
});

describe("what was pressed", () => {
  it("waits for the service, and not for the inbox to catch up: an acceptance has a deadline", async () => {
    const { connected, device, says, service } = await opened();
    const socket = await connected();
    await device.press(ACCEPT);
    expect(service.sent).toEqual([]);
    await says(socket, HELLO);
    expect(device.status.value).toBe("catching-up");
    expect(service.sent).toEqual(["/o-1/accept"]);
    expect(device.waiting.value).toEqual([]);
  });

  it("still goes out of a window that another one has taken over from", async () => {
    const { connected, device, says, service } = await opened();
    const socket = await connected();
    await says(socket, HELLO, SNAPSHOT, CAUGHT_UP);
    socket.end(4203);
    await settle();
    expect(device.status.value).toBe("superseded");
    await device.press(ACCEPT);
    await says(socket);
    expect(service.sent).toEqual(["/o-1/accept"]);
  });

  it("stays on the device while there is no connection", async () => {
    const { connected, device, says, service } = await opened();
    const socket = await connected();
    await says(socket, HELLO, SNAPSHOT, CAUGHT_UP);
    socket.end(1006);
    await device.press(ACCEPT);
    await says(socket);
    expect(service.sent).toEqual([]);
    expect(device.waiting.value).toHaveLength(1);
  });
});

describe("a session that an action was refused for", () => {
  async function refused(me: () => unknown) {
    const made = await opened();
    made.service.me = me;
    made.service.action = no(SESSION_OVER);
    const socket = await made.connected();
    await made.says(socket, { ...HELLO, heartbeat_ms: 60_000 }, SNAPSHOT, CAUGHT_UP);
    await made.device.press(ACCEPT);
    await made.says(socket);
    return { ...made, socket };
  }

  it("has ended when the service says so; what was pressed stays for when it is back", async () => {
    const { device, told } = await refused(no(SESSION_OVER));
    expect(told).toEqual({ signedOut: 1, refused: [] });
    expect(device.waiting.value).toHaveLength(1);
  });

  it("has ended for this device when it speaks for another store by now", async () => {
    const { told } = await refused(() => ({ role: "store", subject: "s2" }));
    expect(told.signedOut).toBe(1);
  });

  it("is not held to have ended while that cannot be asked: it is tried again", async () => {
    const { device, says, service, socket, timers, told } = await refused(no(new Unreachable()));
    expect(told.signedOut).toBe(0);
    expect(service.sent).toHaveLength(1);
    service.action = () => ({});
    timers.pass(ASK_AGAIN_MS);
    await says(socket);
    expect(service.sent).toHaveLength(2);
    expect(device.waiting.value).toEqual([]);
  });

  it("is nobody's business after the device was closed", async () => {
    let answer: (identity: unknown) => void = () => undefined;
    const { device, says, socket, told } = await refused(() => new Promise((done) => (answer = done)));
    device.stop();
    answer({ role: "store", subject: "s2" });
    await says(socket);
    expect(told.signedOut).toBe(0);
  });
});
