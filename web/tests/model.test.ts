import "fake-indexeddb/auto";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { nextTick } from "vue";
import { Api } from "../src/shared/api";
import { openDevice } from "../src/shared/db";
import { openTablet } from "../src/tablet/model";
import { FakeSocket, HELLO, settle } from "./fakes";

const { ignore, rung } = vi.hoisted(() => {
  const ignore = () => undefined;
  // Asked for while modules are loaded.
  vi.stubGlobal("localStorage", { getItem: () => "en", setItem: ignore });
  vi.stubGlobal("document", {
    hidden: true, documentElement: {}, createElement: () => ({}),
    addEventListener: ignore, removeEventListener: ignore,
  });
  return { ignore, rung: [] as number[] };
});
vi.mock("../src/tablet/bell", async () => {
  const { ref } = await import("vue");
  return { ring: (count: number) => rung.push(count), soundOn: ref(true) };
});

const TICKET = {
  fulfilment_id: "o-1", order_id: "o", opened_at: "2026-03-01T12:00:00Z", accept_by: "2026-03-01T12:05:00Z",
  due_at: "2026-03-01T12:40:00Z", delivery: "delivery", lines: [],
  progress: { state: "new", escalation: 0, picked: {}, short_reasons: {} },
};
const SNAPSHOT = {
  frame: "snapshot", head: 3, epoch: "e1",
  data: { store_id: "s1", tickets: [TICKET], paused: false, paused_until: null, paused_items: {}, closed: [] },
};

class SilentApi extends Api {
  override request<T>(): Promise<T> {
    return Promise.reject(new Error("no answer"));
  }
}

const sockets: FakeSocket[] = [];

beforeEach(() => {
  vi.stubGlobal("addEventListener", ignore);
  vi.stubGlobal("removeEventListener", ignore);
  vi.stubGlobal("navigator", {});
  vi.stubGlobal("location", { href: "http://shop.example/tablet" });
  const Opened = class extends FakeSocket {
    constructor() {
      super();
      sockets.push(this);
    }
  };
  vi.stubGlobal("WebSocket", Opened);
});
afterEach(() => vi.unstubAllGlobals());

async function handled(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await settle();
  await nextTick();
}

it("a tablet that another window took over from does not ring again when it is signed out", async () => {
  const db = await openDevice("test");
  const tablet = await openTablet(db, new SilentApi("store"), "s1", () => undefined);
  await settle();
  const socket = sockets.at(-1) as FakeSocket;
  socket.onopen?.();
  socket.say(HELLO, SNAPSHOT, { frame: "caught_up", head: 3 });
  await handled();
  expect(rung.at(-1)).toBe(1);
  socket.end(4203);
  await handled();
  expect(rung.at(-1)).toBe(0);
  tablet.close();
  await handled();
  expect(rung.at(-1)).toBe(0);
});
