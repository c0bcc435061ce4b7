import { describe, expect, it } from "vitest";
import { mergePatch } from "../src/shared/patch";
import { TopicClient } from "../src/shared/topic";
import { FakeSocket, HELLO, ManualTimers, settle } from "./fakes";

describe("a topic client", () => {
  it("keeps the document by merge patches and starts anew after a hole", async () => {
    const sockets: FakeSocket[] = [];
    const open = () => {
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket;
    };
    const options = { path: "/v1/orders/o1/socket", open, timers: new ManualTimers() };
    const seen: unknown[] = [];
    const client = new TopicClient(options, { onDocument: (document) => seen.push(structuredClone(document)) });
    client.start();
    await settle();
    const socket = sockets.at(-1) as FakeSocket;
    socket.onopen?.();
    expect(socket.sent[0]).toEqual({ frame: "auth", token: "" });
    socket.say(
      HELLO,
      { frame: "snapshot", head: 1, epoch: "e", data: { a: { b: 1, c: 2 } } },
      { frame: "delta", head: 2, data: { a: { b: null, d: 3 } } },
    );
    expect(seen.at(-1)).toEqual({ a: { c: 2, d: 3 } });
    socket.say({ frame: "delta", head: 4, data: {} });
    await settle();
    expect(socket.closed).toBe(true);
    expect(sockets.length).toBe(2);
  });

  it("patches as RFC 7396 says", () => {
    const target: Record<string, unknown> = { a: [1, 2], b: { c: "x" }, d: 1 };
    mergePatch(target, { a: [3], b: { c: null, e: { f: null, g: 1 } }, d: { h: 2 } });
    expect(target).toEqual({ a: [3], b: { e: { g: 1 } }, d: { h: 2 } });
  });
});
