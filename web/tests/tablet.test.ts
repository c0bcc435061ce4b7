import { describe, expect, it } from "vitest";
import type { StoredAction } from "../src/shared/queue";
import type { Batch } from "../src/shared/inbox";
import { emptyState, type Finished, fold, type Progress, type Ticket } from "../src/tablet/state";
import { byUrgency, matches, number, shown } from "../src/tablet/work";

const progress = (state: string, more: Partial<Progress> = {}): Progress => ({
  state, changed_at: "2026-03-01T12:00:00Z", cash_due: 0, picked: {}, ready_at: null,
  accepted_by: "", rider_id: "", rider_at_store: false, cancel_asked: false, escalation: 0,
  reason: "", code_locked_until: null, uncollected: false, short_reasons: {}, reason_code: "", ...more,
});
const ticket = (id: string, state = "new", more: Partial<Progress> = {}): Ticket => ({
  fulfilment_id: id, order_id: id.split("-")[0] as string, opened_at: "2026-03-01T12:00:00Z",
  accept_by: "2026-03-01T12:05:00Z", due_at: "2026-03-01T12:40:00Z", delivery: "delivery",
  currency: "EUR", customer_name: "Ada", phone_ending: "42", address: "", note: "",
  lines: [{ line_id: `${id}/1`, sku: "tea", name: "Tea", quantity: 2, barcode: "4006", unit_price: 450 }],
  progress: progress(state, more),
});
const closed = (id: string, state: string, reason = "", code = ""): Finished => ({
  fulfilment_id: id, order_id: id, state, at: "2026-03-01T12:10:00Z", delivery: "delivery", units: 2,
  currency: "EUR", customer_name: "Ada", rider_id: "", reason, reason_code: code,
});
const batch = (...events: [string, unknown][]): Batch => ({
  events: events.map(([type, data], index) => ({
    frame: "event" as const, offset: index + 1, id: String(index), type, at: "", data,
  })),
  position: { epoch: "e", offset: events.length },
});
const snapshot = (tickets: Ticket[], finished: Finished[] = []): Batch => ({
  snapshot: {
    frame: "snapshot", head: 9, epoch: "e",
    data: {
      store_id: "s", tickets, paused: false, paused_until: null, paused_reason: "",
      paused_items: {}, closed: finished,
    },
  },
  events: [],
  position: { epoch: "e", offset: 9 },
});

describe("the tablet's state", () => {
  it("folded from messages equals a fresh snapshot", () => {
    const { state } = fold(
      emptyState(),
      batch(
        ["ticket.opened", { ticket: ticket("a-1") }],
        ["ticket.opened", { ticket: ticket("b-1") }],
        ["ticket.changed", { fulfilment_id: "a-1", progress: progress("accepted") }],
        ["ticket.closed", { closed: closed("b-1", "delivered") }],
        ["store.paused", { paused: true, until: null, reason: "fire" }],
        ["item.paused", { sku: "tea", paused: true, until: null }],
        ["item.paused", { sku: "tea", paused: false, until: null }],
      ),
    );
    const fresh = fold(emptyState(), snapshot([ticket("a-1", "accepted")], [closed("b-1", "delivered")])).state;
    expect(state.tickets).toEqual(fresh.tickets);
    expect(state.finished).toEqual(fresh.finished);
    expect(state.paused_items).toEqual({});
    expect([state.paused, state.paused_reason]).toEqual([true, "fire"]);
  });

  it("does not change the state it was given", () => {
    const before = fold(emptyState(), snapshot([ticket("a-1")])).state;
    fold(before, batch(["ticket.closed", { closed: closed("a-1", "cancelled", "why") }]));
    expect(before.tickets.size).toBe(1);
    expect(before.notices).toEqual([]);
  });

  it("says once what was cancelled, and whether goods go back to the shelf", () => {
    const picked = ticket("a-1", "accepted", { picked: { "a-1/1": 1 } });
    const before = fold(emptyState(), snapshot([picked])).state;
    const { state } = fold(before, batch(["ticket.closed", { closed: closed("a-1", "cancelled", "too slow") }]));
    expect(state.notices).toMatchObject([{ kind: "cancelled", reason: "too slow", picked: true }]);
    const again = fold(state, snapshot([], [closed("a-1", "cancelled", "too slow")])).state;
    expect(again.notices.length).toBe(1);
  });

  it("says what was cancelled while the tablet was away for so long that a snapshot came", () => {
    const before = fold(emptyState(), snapshot([ticket("a-1")])).state;
    const { state } = fold(before, snapshot([], [closed("a-1", "cancelled", "why")]));
    expect(state.notices.length).toBe(1);
  });

  it("is silent about what the clerk did and what was delivered", () => {
    const asked = ticket("a-1", "picking", { cancel_asked: true });
    const before = fold(emptyState(), snapshot([asked, ticket("b-1"), ticket("c-1"), ticket("d-1", "picking")])).state;
    const { state } = fold(
      before,
      batch(
        ["ticket.closed", { closed: closed("a-1", "cancelled") }],
        ["ticket.closed", { closed: closed("b-1", "rejected", "too busy") }],
        ["ticket.closed", { closed: closed("c-1", "delivered") }],
        ["ticket.closed", { closed: closed("d-1", "cancelled", "unwanted", "unwanted") }],
      ),
    );
    expect(state.notices).toEqual([]);
  });

  it("says that an order went to another store by the code of why, whatever the words beside it", () => {
    const before = fold(emptyState(), snapshot([ticket("a-1"), ticket("b-1"), ticket("c-1")])).state;
    const late = closed("a-1", "rejected", "reworded", "not-in-time");
    const typed = closed("b-1", "rejected", "not accepted in time");
    const { reason_code: _, ...old } = closed("c-1", "rejected", "not accepted in time");
    const told = [late, typed, old].map((one): [string, unknown] => ["ticket.closed", { closed: one }]);
    const { state } = fold(before, batch(...told));
    expect(state.notices.map((one) => [one.fulfilment_id, one.kind, one.reason_code])).toEqual([
      ["a-1", "taken-away", "not-in-time"],
      ["c-1", "taken-away", "not-in-time"],
    ]);
  });

  it("passes over messages of a later release", () => {
    expect(fold(emptyState(), batch(["ticket.sung", { song: 1 }])).state.tickets.size).toBe(0);
  });
});

describe("the board", () => {
  const action = (lane: string, kind: string, about: Record<string, unknown> = {}) => ({
    key: kind, seq: 1, lane, kind, method: "POST" as const, path: "", body: {}, at: 0, about,
  });

  it("shows what was pressed as if it were done, and takes off what leads away", () => {
    const tickets = [ticket("a-1"), ticket("b-1"), ticket("c-1", "picking")];
    const board = shown(
      tickets,
      [
        action("a-1", "accept"),
        action("b-1", "reject"),
        action("c-1", "pick", { line_id: "c-1/1", quantity: 1 }),
        action("c-1", "ready"),
      ],
      new Set(),
    );
    expect(board.map((one) => [one.ticket.fulfilment_id, one.column])).toEqual([
      ["a-1", "accepted"],
      ["c-1", "ready"],
    ]);
    expect(board[1]?.progress.picked).toEqual({ "c-1/1": 1 });
    expect(tickets[0]?.progress.state).toBe("new");
  });

  it("shows why a line is short before the service has heard of it, and forgets it when found", () => {
    const pick = (quantity: number, reason?: string) =>
      action("c-1", "pick", { line_id: "c-1/1", quantity, ...(reason && { reason }) });
    const reasons = (...actions: StoredAction[]) =>
      shown([ticket("c-1", "picking")], actions, new Set())[0]?.progress.short_reasons;
    for (const reason of ["missing", "substitute_refused", "unwanted"]) {
      expect(reasons(pick(1, reason))).toEqual({ "c-1/1": reason });
      expect(reasons(pick(1, reason), pick(1, "missing"))).toEqual({ "c-1/1": "missing" });
      expect(reasons(pick(1, reason), pick(2))).toEqual({});
    }
  });

  it("puts the most urgent first: by acceptance when new, by promise after", () => {
    const early = { ...ticket("a-1"), accept_by: "2026-03-01T12:01:00Z", due_at: "2026-03-01T13:00:00Z" };
    const late = ticket("b-1");
    expect(shown([late, early], [], new Set()).sort(byUrgency)[0]?.ticket).toBe(early);
  });

  it("finds by number, customer, phone ending, item and barcode", () => {
    const one = ticket("oabcdwxyz-2");
    for (const query of ["WXYZ", "ada", "42", "tea", "4006", " "]) expect(matches(one, query)).toBe(true);
    expect(matches(one, "coffee")).toBe(false);
    expect(number("oabcdwxyz-2")).toBe("WXYZ-2");
    expect(number("oabcdwxyz-1")).toBe("WXYZ");
  });
});
