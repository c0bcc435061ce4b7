import { readFileSync } from "node:fs";
import { beforeEach, describe, expect, it, vi } from "vitest";

// The page's language lives in the page; Vue must be read before there is one.
await import("vue");
vi.stubGlobal("document", { documentElement: { lang: "" } });
vi.stubGlobal("localStorage", { getItem: () => "en", setItem: () => undefined });
vi.stubGlobal("navigator", { languages: ["en-GB"], language: "en-GB" });
const { language } = await import("../src/shared/i18n");
const { wordOf } = await import("../src/shared/words");
const { isDeaf } = await import("../src/monitor/flow");
const { actionsOn, reasonsOf } = await import("../src/monitor/story");
const { STEPS, stepText } = await import("../src/monitor/texts");

/** What the service itself says of its names: its source. */
function source(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
}

function found(path: string, ...patterns: RegExp[]): string[] {
  const text = source(path);
  return patterns.flatMap((pattern) => [...text.matchAll(pattern)].flatMap((match) => match.slice(1)));
}

const EVENTS = found("domain/order/events.py", /tag="(order\.\w+)\.v\d+"/g);
const MONEY = found(
  "adapters/ledger/postings.py",
  /_(?:document|of_part)\(\s*account, "(\w+)"/g,
  /kind = "(\w+)" if .* else "(\w+)"/g,
);
/** The documents of stock that a fulfilment causes. */
const STOCK = found(
  "adapters/ledger/stock.py",
  /inventory\.(?:Lock\w+|Released|Deducted|Sold|Returned|ShortCorrected|KeptOnShelf): \("(\w+)"/g,
);

beforeEach(() => {
  language.value = "en";
});

describe("an order's story", () => {
  it("has a text in both languages for every event of an order, and for none that there is not", () => {
    expect(EVENTS.length).toBeGreaterThan(20);
    // What moved is told by its state.
    const told = EVENTS.filter((name) => name !== "order.fulfilment_moved");
    expect(Object.keys(STEPS).filter((name) => name.startsWith("order.")).sort()).toEqual(told.sort());
    language.value = "zh";
    for (const name of told) expect(stepText(`${name}.v1`, {}), name).toMatch(/\p{Script=Han}/u);
  });

  it("has a text in both languages for every document that an order can lead to", () => {
    const expected = ["payment_not_usable", "payment_flagged", "refund_paid", "refund_refused", "delivery"];
    expect(MONEY).toEqual(expect.arrayContaining(expected));
    expect(STOCK).toEqual(expect.arrayContaining(["lock", "release", "sale", "return", "short"]));
    for (const kind of [...MONEY, ...STOCK]) {
      expect(STEPS[`document.${kind}`], kind).toEqual([expect.any(String), expect.stringMatching(/\p{Script=Han}/u)]);
    }
  });

  it("tells why by the code where a sentence says the same", () => {
    const reason = "not accepted in time; No further store can serve this order.";
    expect(reasonsOf(reason, "short-stock")).toEqual(["not accepted in time", "too little stock"]);
    language.value = "zh";
    expect(reasonsOf(reason, "short-stock")).toEqual(["未按时接单", "库存不足"]);
    expect(reasonsOf("", "called the bank; it is theirs")).toEqual(["called the bank; it is theirs"]);
    expect(reasonsOf("too hot; too far", "some-new-code")).toEqual(["too hot; too far", "some-new-code"]);
  });

  it("tells what a parked part's store said by its code, and the sentence of a code it does not know", () => {
    const detail = "No further store can serve this order.";
    expect(reasonsOf("too hot; closed", "short-stock", "", detail)).toEqual(["too hot; closed", "too little stock"]);
    expect(reasonsOf("too hot", "some-new-code", "", detail)).toEqual(["too hot", detail, "some-new-code"]);
    language.value = "zh";
    expect(reasonsOf("nobody came", "short-stock", "not-in-time", detail)).toEqual(["未按时接单", "库存不足"]);
  });
});

describe("words", () => {
  it("has every reason for which a rider brings a parcel back", () => {
    const [failures] = found("domain/rider/rules.py", /^FAILURES = \((.*)\)$/gm);
    const codes = [...(failures ?? "").matchAll(/"(\w+)"/g)].map((match) => String(match[1]));
    expect(codes).toContain("absent");
    language.value = "zh";
    for (const code of codes) expect(wordOf(code), code).toMatch(/\p{Script=Han}/u);
    language.value = "en";
    expect(wordOf("absent")).toBe("nobody was there");
  });

  it("has what a store's service says by itself, and leaves what a person typed", () => {
    const codes = found("domain/reasons.py", /^(?:NOT_IN_TIME|ALL_SHORT|NOT_HELD) = "(.+)"$/gm);
    expect(codes).toHaveLength(3);
    language.value = "zh";
    for (const code of codes) expect(wordOf("whatever it is called now", code)).toMatch(/\p{Script=Han}/u);
    expect(wordOf("changed my mind")).toBe("changed my mind");
  });

  it("takes nobody's typed words for the service's, and reads what was said before there were codes", () => {
    language.value = "zh";
    expect(wordOf("not accepted in time", "")).toBe("not accepted in time");
    expect(wordOf("not accepted in time")).toBe("未按时接单");
    expect(wordOf("its group did not form", null)).toBe("未成团");
    expect(wordOf("Items are missing")).toBe("商品缺货");
  });
});

describe("what operations may do with an order", () => {
  type Given = Parameters<typeof actionsOn>[0];
  const order = (more: Partial<Given>): Given => ({ order_id: "o1", state: "completed", payments: [], ...more });
  const paid = (state: string): Given["payments"] => [
    { payment_id: "p1", provider: "sandbox", amount: 100, currency: "EUR", state },
  ];
  const names = (given: Given) => actionsOn(given).map((one) => one.name);

  it("is a refund only when a provider took the money: cash is given back from a till", () => {
    expect(names(order({}))).toEqual([]);
    expect(names(order({ payments: paid("failed") }))).toEqual([]);
    expect(names(order({ payments: paid("captured") }))).toEqual(["refund"]);
  });

  it("is a cancel while it goes on and nobody has asked yet", () => {
    expect(names(order({ state: "cod_confirmed" }))).toEqual(["cancel"]);
    expect(names(order({ state: "paid", payments: paid("captured") }))).toEqual(["cancel", "refund"]);
    expect(names(order({ state: "cancelling" }))).toEqual([]);
  });
});

describe("a store on the monitor", () => {
  it("is deaf when orders wait and no tablet is connected, not when that is unknown", () => {
    expect(isDeaf({ open: 2, devices: 0 })).toBe(true);
    expect(isDeaf({ open: 0, devices: 0 })).toBe(false);
    expect(isDeaf({ open: 2, devices: 1 })).toBe(false);
    expect(isDeaf({ open: 2, devices: null })).toBe(false);
    expect(isDeaf({ open: 2 })).toBe(false);
  });
});
