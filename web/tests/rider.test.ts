import { describe, expect, it } from "vitest";
import { emptyDocument, fold, haltsOf, projected, type RunParcel, type Snapshot, stepAt } from "../src/rider/document";
import type { Frames } from "../src/shared/socket";

const at = { lat: 52.5, lon: 13.4 };

function carried(id: string, state: string, cash_due = 0, store_id = "s1"): RunParcel {
  const parcel = {
    parcel_id: id, order_id: id, store_id, store_name: store_id, pick_up: at, drop_off: at, address: "Door",
    customer_name: "Ada", phone_ending: "42", ready_at: "2026-03-01T12:00:00Z", due_at: "2026-03-01T12:40:00Z",
    cash_due, currency: "EUR",
  };
  return { parcel, state, reason: "" };
}

function withRun(parcels: RunParcel[], stops: [string, string][]): Snapshot {
  const run = { parcels, stops: stops.map(([kind, parcel_id]) => ({ kind, parcel_id, at })) };
  return { ...emptyDocument("r1"), cash: { held: 100, headroom: 900, currency: "EUR" }, run };
}

function message(type: string, data: unknown): Frames["rider.EventFrame"] {
  return { frame: "event", offset: 1, id: "1", at: "", type, data } as unknown as Frames["rider.EventFrame"];
}

describe("the folded document", () => {
  it("clears only the offer that ended", () => {
    const offer = { offer_id: "of-2", parcels: [], expires_at: "", distance_m: 1, pay: 1 };
    const offered = fold(emptyDocument("r1"), message("offer.opened", { offer }));
    expect(fold(offered, message("offer.ended", { offer_id: "of-1", outcome: "expired", reason: "" }))).toBe(offered);
    const ended = fold(offered, message("offer.ended", { offer_id: "of-2", outcome: "expired", reason: "" }));
    expect(ended.offer).toBeNull();
  });

  it("takes over run, cash and shift whole and leaves the one before as it was", () => {
    const before = emptyDocument("r1");
    const run = withRun([carried("p1", "accepted")], [["pick_up", "p1"]]).run;
    const after = fold(before, message("run.changed", { run }));
    expect(after.run).toEqual(run);
    expect(before.run.parcels).toEqual([]);
    expect(fold(after, message("shift.changed", { shift: null, cash_held: 700 })).cash.held).toBe(700);
  });
});

describe("what was pressed and is on its way", () => {
  it("shows the parcel one step further, and counts the cash", () => {
    const document = withRun([carried("p1", "accepted", 500)], [["pick_up", "p1"], ["drop_off", "p1"]]);
    const about = { parcel_id: "p1" };
    const picked = projected(document, [{ kind: "arrive-at-store", about }, { kind: "pick-up", about }]);
    expect(picked.run.parcels[0]?.state).toBe("picked_up");
    expect(picked.run.stops.map((stop) => stop.kind)).toEqual(["drop_off"]);
    const done = projected(picked, [{ kind: "deliver", about }]);
    expect(done.run).toEqual({ parcels: [], stops: [] });
    expect(done.cash.held).toBe(600);
    expect(document.run.parcels[0]?.state).toBe("accepted");
  });

  it("sends a failed parcel back as the last stop", () => {
    const document = withRun(
      [carried("p1", "at_customer"), carried("p2", "picked_up")],
      [["drop_off", "p1"], ["drop_off", "p2"]],
    );
    const failed = projected(document, [{ kind: "fail", about: { parcel_id: "p1" } }]);
    expect(failed.run.stops.map((stop) => `${stop.kind} ${stop.parcel_id}`)).toEqual(["drop_off p2", "return p1"]);
  });

  it("ignores what is about a parcel or an offer that is gone", () => {
    const document = emptyDocument("r1");
    expect(projected(document, [{ kind: "deliver", about: { parcel_id: "p9" } }])).toBe(document);
    expect(projected(document, [{ kind: "accept", about: { offer_id: "of-9" } }])).toBe(document);
  });
});

describe("halts", () => {
  it("joins neighbouring pick-ups of one store, and never two doors", () => {
    const document = withRun(
      [carried("p1", "accepted"), carried("p2", "accepted"), carried("p3", "accepted", 0, "s2")],
      [["pick_up", "p1"], ["pick_up", "p2"], ["pick_up", "p3"], ["drop_off", "p1"], ["drop_off", "p2"]],
    );
    expect(haltsOf(document.run).map((halt) => [halt.kind, halt.parcels.length])).toEqual([
      ["pick_up", 2], ["pick_up", 1], ["drop_off", 1], ["drop_off", 1],
    ]);
  });

  it("asks for the next step only: arrive, pick up, arrive, deliver, nothing on a return", () => {
    const step = (state: string, kind: string) => stepAt(haltsOf(withRun([carried("p1", state)], [[kind, "p1"]]).run)[0]!);
    expect(step("accepted", "pick_up")).toBe("arrive-at-store");
    expect(step("at_store", "pick_up")).toBe("pick-up");
    expect(step("picked_up", "drop_off")).toBe("arrive-at-customer");
    expect(step("at_customer", "drop_off")).toBe("deliver");
    expect(step("returning", "return")).toBeNull();
  });
});
