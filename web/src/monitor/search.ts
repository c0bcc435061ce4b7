/** What a search of the monitor asks for, and how its answers become one list. Pure. */
import type { Order } from "./flow";

/** A rider's id may look like a phone number: then both are asked for. */
export function queriesFor(text: string): { phoneEnding: string; riderId: string } {
  const typed = text.trim();
  const digits = typed.replace(/^[….\s+-]+/, "");
  const phone = /^\d{4,15}$/.test(digits);
  const onlyPhone = phone && digits !== typed;
  return { phoneEnding: phone ? digits.slice(-4) : "", riderId: onlyPhone ? "" : typed };
}

/** Orders of several answers, each once, newest first. */
export function merged(answers: readonly (readonly Order[])[]): Order[] {
  const byId = new Map(answers.flat().map((order) => [order.order_id, order]));
  return [...byId.values()].sort((one, other) => other.placed_at.localeCompare(one.placed_at));
}
