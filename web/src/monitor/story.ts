/** What operations may do with an order, and how its story tells why. Pure. */
import { segment } from "@shared/api";
import { wordOf } from "@shared/words";
import type { Order, Remedy } from "./flow";

const CANCELLABLE = ["placed", "paid", "cod_confirmed"];

/** What operations may do with any order, beside the remedies of its anomalies. Cash is given back
 * from a till: the service refunds only what a provider took. */
export function actionsOn(order: Pick<Order, "order_id" | "state" | "payments">): Remedy[] {
  const path = `/v1/orders/${segment(order.order_id)}`;
  const list: Remedy[] = [];
  if (CANCELLABLE.includes(order.state)) {
    list.push({ name: "cancel", method: "POST", path: `${path}/cancel`, body: {}, asks: ["reason"], optional: [] });
  }
  if (order.payments.some((payment) => payment.state === "captured")) {
    list.push({ name: "refund", method: "POST", path: `${path}/refunds`, body: { units: [] }, asks: ["reason"], optional: [] });
  }
  return list;
}

/** A step's `reason` and `why` in words. The reason of a parked part ends with a sentence that says in
 * English what the code beside it says in any language. */
export function reasonsOf(reason: string, why: string): string[] {
  const said = wordOf(why) !== why && reason.includes("; ") ? reason.slice(0, reason.lastIndexOf("; ")) : reason;
  return [said, why].filter((one) => one !== "").map(wordOf);
}
