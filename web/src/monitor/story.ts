/** What operations may do with an order, and how its story tells why. Pure. */
import { segment } from "@shared/api";
import { parkedBefore } from "@shared/reasons";
import { isCode, wordOf } from "@shared/words";
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

/** A step's `reason` and `why` in words, the former by the code beside it. `detail` says in English what
 * `why` says as a code: it is for codes of a newer service. */
export function reasonsOf(reason: string, why: string, code?: string | null, detail = ""): string[] {
  const said = code == null && isCode(why) ? parkedBefore(reason) : reason;
  return [wordOf(said, code), isCode(why) ? "" : detail, wordOf(why, "")].filter((one) => one !== "");
}
