import "fake-indexeddb/auto";
import { IDBFactory } from "fake-indexeddb";
import { openDB } from "idb";
import { beforeEach, describe, expect, it } from "vitest";
import { ApiProblem, Unreachable } from "../src/shared/api";
import { openDevice } from "../src/shared/db";
import { ActionQueue, type QueueListener, type Wish } from "../src/shared/queue";

interface Sent {
  method: string;
  path: string;
  key: string | undefined;
}

class FakeApi {
  sent: Sent[] = [];
  answers: (() => unknown)[] = [];

  async request<T>(method: string, path: string, options: { key?: string } = {}): Promise<T> {
    this.sent.push({ method, path, key: options.key });
    return (this.answers.shift() ?? (() => ({})))() as T;
  }
}

const no = (error: Error) => () => {
  throw error;
};
const wish = (lane: string, kind: string, more: Partial<Wish> = {}): Wish => ({
  lane, kind, method: "POST", path: `/${lane}/${kind}`, body: {}, about: {}, ...more,
});

beforeEach(() => {
  globalThis.indexedDB = new IDBFactory();
});

async function made(api: FakeApi, listener: QueueListener = {}, now = () => 5) {
  const db = await openDevice("test");
  const queue = new ActionQueue(db, api, listener, now, () => 1);
  await queue.load();
  return { db, queue };
}

describe("the queue of actions", () => {
  it("keeps what is pressed offline and sends it once, in order, on return", async () => {
    const api = new FakeApi();
    const { queue } = await made(api);
    await queue.add(wish("a", "accept"));
    await queue.add(wish("a", "picking"));
    expect(api.sent).toEqual([]);
    queue.open();
    await queue.settled();
    expect(api.sent.map((one) => one.path)).toEqual(["/a/accept", "/a/picking"]);
    queue.open();
    await queue.settled();
    expect(api.sent.length).toBe(2);
    expect(queue.waiting).toEqual([]);
  });

  it("survives a reload with the same keys", async () => {
    const api = new FakeApi();
    const { queue } = await made(api);
    const action = await queue.add(wish("a", "accept"));
    const later = await made(api);
    expect(later.queue.waiting.map((one) => one.key)).toEqual([action.key]);
    later.queue.open();
    await later.queue.settled();
    expect(api.sent[0]?.key).toBe(action.key);
    expect((await made(api)).queue.waiting).toEqual([]);
  });

  it("repeats with the same key when the outcome is unknown", async () => {
    const api = new FakeApi();
    api.answers = [no(new Unreachable()), no(new ApiProblem(503, "busy", "")), () => ({ ok: true })];
    const done: unknown[] = [];
    const { queue } = await made(api, { onDone: (_action, answer) => done.push(answer) });
    queue.open();
    await queue.add(wish("a", "accept"));
    for (let turn = 0; turn < 3; turn += 1) {
      await queue.settled();
      queue.open();
    }
    await queue.settled();
    expect(new Set(api.sent.map((one) => one.key)).size).toBe(1);
    expect(api.sent.length).toBe(3);
    expect(done).toEqual([{ ok: true }]);
  });

  it("says of a refused action whether it had waited", async () => {
    const api = new FakeApi();
    api.answers = [no(new ApiProblem(409, "wrong-state", "")), no(new ApiProblem(409, "wrong-state", ""))];
    const late: boolean[] = [];
    const { queue } = await made(api, { onRefused: (_action, _problem, was) => late.push(was) });
    await queue.add(wish("a", "accept"));
    queue.open();
    await queue.settled();
    await queue.add(wish("b", "accept"));
    await queue.settled();
    expect(late).toEqual([true, false]);
    expect(queue.waiting).toEqual([]);
  });

  it("takes for done what an earlier try did whose answer was lost and is kept no more", async () => {
    const api = new FakeApi();
    api.answers = [no(new Unreachable()), no(new ApiProblem(409, "already-done", ""))];
    const said: unknown[] = [];
    const { queue } = await made(api, {
      onDone: (action, answer) => said.push([action.kind, answer]),
      onRefused: (action, problem) => said.push([action.kind, problem.code]),
    });
    queue.open();
    await queue.add(wish("a", "accept"));
    await queue.settled();
    await queue.add(wish("a", "picking"));
    queue.open();
    await queue.settled();
    expect(said).toEqual([["accept", undefined], ["picking", {}]]);
    expect(queue.waiting).toEqual([]);
  });

  it("lets one ticket's trouble not hold up another's, and keeps order within a ticket", async () => {
    const api = new FakeApi();
    let open = (_: unknown) => {};
    api.answers = [() => new Promise((done) => (open = done))];
    const { queue } = await made(api);
    queue.open();
    await queue.add(wish("a", "accept"));
    await queue.add(wish("a", "picking"));
    await queue.add(wish("b", "accept"));
    await new Promise((done) => setTimeout(done, 5));
    expect(api.sent.map((one) => one.path)).toEqual(["/a/accept", "/b/accept"]);
    open({});
    await queue.settled();
    expect(api.sent.map((one) => one.path)).toEqual(["/a/accept", "/b/accept", "/a/picking"]);
  });

  it("sends only the last value of a line that was set again before it was sent", async () => {
    const api = new FakeApi();
    const { queue } = await made(api);
    const put = { method: "PUT" as const, path: "/a/lines/1" };
    await queue.add(wish("a", "pick", { ...put, body: { quantity: 2 } }));
    await queue.add(wish("a", "pick", { ...put, body: { quantity: 1 } }));
    expect(queue.waiting.map((one) => one.body)).toEqual([{ quantity: 1 }]);
    queue.open();
    await queue.settled();
    expect(api.sent.length).toBe(1);
  });

  it("keeps everything when the session is over", async () => {
    const api = new FakeApi();
    api.answers = [no(new ApiProblem(401, "token-expired", ""))];
    let told = 0;
    const { queue } = await made(api, { onSignedOut: () => (told += 1) });
    queue.open();
    await queue.add(wish("a", "accept"));
    await queue.settled();
    expect(told).toBe(1);
    expect(queue.waiting.length).toBe(1);
  });
});

describe("two windows of one device", () => {
  const kinds = (queue: ActionQueue) => queue.waiting.map((one) => one.kind);

  it("keep both what was pressed in each, and forget only what was answered", async () => {
    const api = new FakeApi();
    const [first, second] = [await made(api), await made(api)];
    await first.queue.add(wish("a", "accept"));
    await second.queue.add(wish("b", "accept"));
    first.queue.open();
    await first.queue.settled();
    expect(api.sent.map((one) => one.path)).toEqual(["/a/accept"]);
    const later = await made(api);
    expect(later.queue.waiting.map((one) => one.lane)).toEqual(["b"]);
  });

  it("send in the order of pressing, whichever window it was in", async () => {
    const api = new FakeApi();
    let now = 1;
    const [first, second] = [await made(api, {}, () => now), await made(api, {}, () => now)];
    await second.queue.add(wish("a", "accept"));
    now = 2;
    await first.queue.add(wish("a", "picking"));
    await first.queue.add(wish("a", "ready"));
    now = 3;
    await second.queue.add(wish("a", "hand-over"));
    await first.queue.load();
    expect(kinds(first.queue)).toEqual(["accept", "picking", "ready", "hand-over"]);
  });

  it("leave the order as it was when the clock is set back", async () => {
    const api = new FakeApi();
    let now = 10;
    const { queue } = await made(api, {}, () => now);
    await queue.add(wish("a", "accept"));
    now = 4;
    await queue.add(wish("a", "picking"));
    expect(kinds((await made(api)).queue)).toEqual(["accept", "picking"]);
  });
});

describe("the database of a device", () => {
  it("carries over what was stored by number", async () => {
    const old = await openDB("doorstep-test", 1, {
      upgrade(db) {
        db.createObjectStore("facts");
        db.createObjectStore("items");
        db.createObjectStore("actions", { keyPath: "seq" }).createIndex("key", "key", { unique: true });
      },
    });
    await old.put("facts", "tablet-1", "device_id");
    await old.put("actions", { ...wish("a", "accept"), key: "k1", seq: 7, at: 1 });
    old.close();
    const { db, queue } = await made(new FakeApi());
    expect(await db.get("facts", "device_id")).toBe("tablet-1");
    expect(queue.waiting.map((one) => one.key)).toEqual(["k1"]);
    expect((await queue.add(wish("a", "picking"))).seq).toBe(8);
  });
});
