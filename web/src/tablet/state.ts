/** What the tablet knows: a snapshot and every later message folded into it. Pure. */
import type { Batch } from "@shared/inbox";
import { codeOf } from "@shared/reasons";
import type { Frames } from "@shared/socket";

export type Ticket = Frames["store.TicketDocument"];
export type Line = Frames["store.Line"];
export type Progress = Frames["store.Progress"];
export type Finished = Frames["store.FinishedTicket"];
/** Why not all of a line is packed. */
export type ShortReason = "missing" | "substitute_refused" | "unwanted";
/** What a clerk who rejects a ticket is offered as a reason. */
export type Rejection = "items-missing" | "too-busy" | "closing" | "trouble";
type StoreEvent = Frames["store.EventFrame"];
type Snapshot = Frames["store.Snapshot"];

/** Something that left the work without the clerk's doing; shown until it is dismissed. */
export interface Notice {
  fulfilment_id: string;
  kind: "cancelled" | "taken-away";
  customer_name: string;
  reason: string;
  /** Missing in what an older page has kept. */
  reason_code?: string;
  at: string;
  /** Units that were already picked: they go back to the shelf. */
  picked: boolean;
}

export interface TabletState {
  tickets: Map<string, Ticket>;
  finished: Map<string, Finished>;
  paused: boolean;
  paused_until: string | null;
  paused_reason: string;
  paused_items: Record<string, string | null>;
  notices: Notice[];
}

/** Finished tickets kept on the device; the service's snapshot holds fewer. */
export const FINISHED_KEPT = 1_000;
export const NOTICES_KEPT = 50;
export const NOT_IN_TIME = "not-in-time";
/** In the order of their buttons. Only units that are `unwanted` stay in stock. */
export const SHORT_REASONS: readonly ShortReason[] = ["missing", "substitute_refused", "unwanted"];
const UNWANTED: ShortReason = "unwanted";

export function emptyState(): TabletState {
  return {
    tickets: new Map(),
    finished: new Map(),
    paused: false,
    paused_until: null,
    paused_reason: "",
    paused_items: {},
    notices: [],
  };
}

/** A new state with the batch in it; the old one is not changed. Says which tickets are new. */
export function fold(before: TabletState, batch: Batch): { state: TabletState; arrived: Ticket[] } {
  const state: TabletState = {
    ...before,
    tickets: new Map(before.tickets),
    finished: new Map(before.finished),
    paused_items: { ...before.paused_items },
    notices: [...before.notices],
  };
  const arrived: Ticket[] = [];
  if (batch.snapshot) replace(state, batch.snapshot.data as Snapshot, arrived);
  for (const event of batch.events) apply(state, event as StoreEvent, arrived);
  trim(state);
  return { state, arrived };
}

function replace(state: TabletState, snapshot: Snapshot, arrived: Ticket[]): void {
  const known = state.tickets;
  state.tickets = new Map(snapshot.tickets.map((ticket) => [ticket.fulfilment_id, ticket]));
  for (const closed of snapshot.closed) state.finished.set(closed.fulfilment_id, closed);
  for (const [id, ticket] of known) {
    const closed = state.finished.get(id);
    if (!state.tickets.has(id) && closed) notice(state, ticket, closed);
  }
  for (const [id, ticket] of state.tickets) if (!known.has(id)) arrived.push(ticket);
  state.paused = snapshot.paused;
  state.paused_until = snapshot.paused_until;
  state.paused_reason = snapshot.paused_reason;
  state.paused_items = { ...snapshot.paused_items };
}

function apply(state: TabletState, event: StoreEvent, arrived: Ticket[]): void {
  switch (event.type) {
    case "ticket.opened":
      state.tickets.set(event.data.ticket.fulfilment_id, event.data.ticket);
      arrived.push(event.data.ticket);
      break;
    case "ticket.closed": {
      const { closed } = event.data;
      const ticket = state.tickets.get(closed.fulfilment_id);
      if (ticket) notice(state, ticket, closed);
      state.tickets.delete(closed.fulfilment_id);
      state.finished.set(closed.fulfilment_id, closed);
      break;
    }
    case "store.paused":
      state.paused = event.data.paused;
      state.paused_until = event.data.until;
      state.paused_reason = event.data.reason;
      break;
    case "item.paused":
      if (event.data.paused) state.paused_items[event.data.sku] = event.data.until;
      else delete state.paused_items[event.data.sku];
      break;
    case "ticket.changed":
    case "ticket.cancelled":
    case "ticket.cancel_asked":
    case "ticket.escalated":
    case "return.announced": {
      const ticket = state.tickets.get(event.data.fulfilment_id);
      if (ticket) {
        state.tickets.set(ticket.fulfilment_id, { ...ticket, progress: event.data.progress });
      }
      break;
    }
    default:
      break; // a message of a later release
  }
}

function notice(state: TabletState, ticket: Ticket, closed: Finished): void {
  const { fulfilment_id } = closed;
  if (state.notices.some((one) => one.fulfilment_id === fulfilment_id)) return;
  // A cancel that somebody here confirmed, or that follows from what they packed, is no news.
  const code = codeOf(closed.reason, closed.reason_code);
  const own = ticket.progress.cancel_asked || code === UNWANTED;
  const cancelled = closed.state === "cancelled" && !own;
  const taken = closed.state === "rejected" && code === NOT_IN_TIME;
  if (!cancelled && !taken) return;
  state.notices.push({
    fulfilment_id,
    kind: cancelled ? "cancelled" : "taken-away",
    customer_name: closed.customer_name,
    reason: closed.reason,
    reason_code: code,
    at: closed.at,
    picked: Object.values(ticket.progress.picked).some((units) => units > 0),
  });
}

function trim(state: TabletState): void {
  if (state.finished.size > FINISHED_KEPT) {
    const oldest = [...state.finished.values()].sort((a, b) => a.at.localeCompare(b.at));
    for (const one of oldest.slice(0, state.finished.size - FINISHED_KEPT)) {
      state.finished.delete(one.fulfilment_id);
    }
  }
  state.notices.splice(0, Math.max(0, state.notices.length - NOTICES_KEPT));
}
