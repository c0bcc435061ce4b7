import "fake-indexeddb/auto";
import { IDBFactory } from "fake-indexeddb";
import { beforeEach, describe, expect, it } from "vitest";
import { forgetSubject, openDevice } from "../src/shared/db";
import type { Batch } from "../src/shared/inbox";
import { Keeper } from "../src/tablet/keeper";

const paused = (offset: number, reason: string): Batch => ({
  events: [{
    frame: "event", offset, id: `i${offset}`, type: "store.paused", at: "",
    data: { paused: true, until: null, reason },
  }],
  position: { epoch: "e", offset },
});

let now = 0;

async function made() {
  const db = await openDevice("test");
  const keeper = new Keeper(db, () => undefined, () => now);
  await keeper.load();
  return { db, keeper };
}

beforeEach(() => {
  globalThis.indexedDB = new IDBFactory();
});

describe("since when what the tablet holds may be old", () => {
  it("is not known on a new device", async () => {
    expect((await made()).keeper.heardAt.value).toBe(0);
  });

  it("is the last sign of life, not the first", async () => {
    const { keeper } = await made();
    for (now of [1_000, 2_000, 28_800_000]) keeper.current();
    expect(keeper.heardAt.value).toBe(28_800_000);
  });

  it("is known after a reload: a few seconds too old at most, never too new", async () => {
    const { keeper } = await made();
    for (now = 100_000; now <= 200_000; now += 1_000) keeper.current();
    const { keeper: reloaded } = await made();
    expect(reloaded.heardAt.value).toBeGreaterThan(190_000);
    expect(reloaded.heardAt.value).toBeLessThanOrEqual(200_000);
  });

  it("is forgotten with the store", async () => {
    const { db, keeper } = await made();
    now = 50_000;
    keeper.current();
    await forgetSubject(db);
    expect((await made()).keeper.heardAt.value).toBe(0);
  });
});

describe("what another window has stored", () => {
  it("is taken up as a whole: the state and the position it belongs to", async () => {
    const [first, second] = [(await made()).keeper, (await made()).keeper];
    await first.write(paused(1, "fire"));
    await second.load();
    await second.write(paused(2, "flood"));
    expect([first.state.paused_reason, (await first.position())?.offset]).toEqual(["fire", 1]);
    await first.load();
    expect([first.state.paused_reason, (await first.position())?.offset]).toEqual(["flood", 2]);
  });
});
