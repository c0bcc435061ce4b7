import { describe, expect, it } from "vitest";
import type { Order } from "../src/monitor/flow";
import { merged, queriesFor } from "../src/monitor/search";

describe("the monitor's search", () => {
  it("asks for phones and riders when an id is all digits", () => {
    expect(queriesFor("100234")).toEqual({ phoneEnding: "0234", riderId: "100234" });
    expect(queriesFor("0234")).toEqual({ phoneEnding: "0234", riderId: "0234" });
  });

  it("asks for one of them when what was typed can only be that", () => {
    expect(queriesFor("…0234")).toEqual({ phoneEnding: "0234", riderId: "" });
    expect(queriesFor("+573001230234")).toEqual({ phoneEnding: "0234", riderId: "" });
    expect(queriesFor(" rider-12 ")).toEqual({ phoneEnding: "", riderId: "rider-12" });
    expect(queriesFor("123")).toEqual({ phoneEnding: "", riderId: "123" });
  });

  it("lists an order that both know once, newest first", () => {
    const order = (order_id: string, placed_at: string) => ({ order_id, placed_at }) as Order;
    const old = order("a", "2026-03-01T12:00:00.000000Z");
    const fresh = order("b", "2026-03-01T13:00:00.000000Z");
    expect(merged([[old], [fresh, old]])).toEqual([fresh, old]);
  });
});
