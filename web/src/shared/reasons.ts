/** The codes of reasons, by which the pages go; `words.ts` has what they mean. Pure. */

/** The code of a reason, given the `reason_code` beside it: `""` says that it has none. */
export function codeOf(reason: string, code?: string | null): string {
  return code ?? (Object.hasOwn(BEFORE_CODES, reason) ? BEFORE_CODES[reason]! : "");
}

/** What the service and tablets said before there were codes, still in old records and on old tablets. These
 * words are history, never reworded; this table and `parkedBefore` are all that understands them. */
const BEFORE_CODES: Readonly<Record<string, string>> = {
  "not accepted in time": "not-in-time",
  "nothing on the list was there": "all-short",
  "all short": "nothing-there",
  "stock was gone": "stock-gone",
  "held back": "held-back",
  "not in the rider's run": "not-held",
  unwanted: "unwanted",
  "Items are missing": "items-missing",
  "Too much to do": "too-busy",
  "We are closing": "closing",
  "Technical trouble": "trouble",
  商品缺货: "items-missing",
  订单太多: "too-busy",
  即将打烊: "closing",
  设备故障: "trouble",
  "its group did not form": "group-not-formed",
  "too few members": "too-few-members",
  "nobody left": "nobody-left",
  "sold out": "sold-out",
  "more members, lower price": "lower-price",
  "unclear answer": "unclear-answer",
};

/** The reason of a parked part held two sentences then: only the first is what its store said. */
export function parkedBefore(reason: string): string {
  return reason.includes("; ") ? reason.slice(0, reason.lastIndexOf("; ")) : reason;
}
