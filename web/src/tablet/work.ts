/** What the clerk sees of a ticket: the service's word, and over it what was pressed and waits. */
import type { StoredAction } from "@shared/queue";
import type { Progress, Ticket } from "./state";

export type Column = "new" | "accepted" | "picking" | "ready" | "out";
export const COLUMNS: readonly Column[] = ["new", "accepted", "picking", "ready", "out"];

/** Which column a state stands in. */
const COLUMN_OF: Readonly<Record<string, Column>> = {
  new: "new",
  accepted: "accepted",
  picking: "picking",
  ready: "ready",
  picked_up: "out",
  returning: "out",
};

/** What an action makes of a ticket; "" takes it off the board. A collect is not shown beforehand:
 * only the service knows whether the code is right. */
const LEADS_TO: Readonly<Record<string, string>> = {
  accept: "accepted",
  reject: "",
  picking: "picking",
  ready: "ready",
  "hand-over": "picked_up",
  returned: "",
};

export interface Shown {
  ticket: Ticket;
  progress: Progress;
  column: Column;
  /** Actions on it that the service has not answered. */
  waiting: readonly StoredAction[];
}

/** The tickets on the board, with the waiting actions already done to them. */
export function shown(
  tickets: Iterable<Ticket>,
  actions: readonly StoredAction[],
  gone: ReadonlySet<string>,
): Shown[] {
  const byLane = groupBy(actions, (action) => action.lane);
  const board: Shown[] = [];
  for (const ticket of tickets) {
    if (gone.has(ticket.fulfilment_id)) continue;
    const waiting = byLane.get(ticket.fulfilment_id) ?? [];
    const progress = ahead(ticket.progress, waiting);
    const column = progress && COLUMN_OF[progress.state];
    if (progress && column) board.push({ ticket, progress, column, waiting });
  }
  return board;
}

function ahead(now: Progress, waiting: readonly StoredAction[]): Progress | null {
  let progress = now;
  for (const action of waiting) {
    if (action.kind === "pick") {
      const { line_id, quantity, reason } = action.about as { line_id: string; quantity: number; reason?: string };
      const short_reasons = { ...progress.short_reasons };
      if (reason) short_reasons[line_id] = reason;
      else delete short_reasons[line_id];
      progress = { ...progress, picked: { ...progress.picked, [line_id]: quantity }, short_reasons };
    } else if (action.kind === "held-back") {
      if (action.about["held_back"]) return null;
      progress = { ...progress, cancel_asked: false };
    } else {
      const state = LEADS_TO[action.kind];
      if (state === "") return null;
      if (state !== undefined) progress = { ...progress, state };
    }
  }
  return progress;
}

/** Most urgent first: by the deadline that counts in the column. */
export function byUrgency(one: Shown, other: Shown): number {
  return deadline(one).localeCompare(deadline(other));
}

export function deadline({ ticket, column }: Shown): string {
  return column === "new" ? ticket.accept_by : ticket.due_at;
}

/** Whether what was typed is somewhere in the ticket. */
export function matches(ticket: Ticket, query: string): boolean {
  const wanted = query.trim().toLowerCase();
  if (!wanted) return true;
  return [
    ticket.order_id,
    ticket.fulfilment_id,
    number(ticket.fulfilment_id),
    ticket.customer_name,
    ticket.phone_ending,
    ticket.address,
    ticket.note,
    ...ticket.lines.flatMap((line) => [line.name, line.sku, line.barcode]),
  ].some((text) => text.toLowerCase().includes(wanted));
}

/** The short number that is called out: the end of the order's id, and the part if it is not the
 * first. */
export function number(fulfilmentId: string): string {
  const [order = "", part = "1"] = fulfilmentId.split(/-(?=\d+$)/);
  const short = order.slice(-4).toUpperCase();
  return part === "1" ? short : `${short}-${part}`;
}

export function units(ticket: Ticket): number {
  return ticket.lines.reduce((sum, line) => sum + line.quantity, 0);
}

export function groupBy<K, T>(all: readonly T[], key: (one: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const one of all) {
    const name = key(one);
    const group = groups.get(name);
    if (group) group.push(one);
    else groups.set(name, [one]);
  }
  return groups;
}
