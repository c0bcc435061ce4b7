import { beforeEach, describe, expect, it, vi } from "vitest";
import type { Anomaly } from "../src/monitor/flow";

// The page's language lives in the page; Vue must be read before there is one.
await import("vue");
vi.stubGlobal("document", { documentElement: { lang: "" } });
vi.stubGlobal("localStorage", { getItem: () => "en", setItem: () => undefined });
vi.stubGlobal("navigator", { languages: ["en-GB"], language: "en-GB" });
const { language } = await import("../src/shared/i18n");
const { factsOf } = await import("../src/monitor/facts");

const told = (facts: Anomaly["facts"]) => factsOf({ facts });

describe("what an anomaly tells", () => {
  beforeEach(() => {
    language.value = "en";
  });

  it("names each fact and puts codes into words", () => {
    const facts = { reason: "not-in-time", others: "bound-to-store" };
    expect(told(facts)).toBe("Reason: not accepted in time · Other stores: the customer chose this store");
    language.value = "zh";
    expect(told(facts)).toBe("原因：未按时接单 · 其他门店：顾客指定了该门店");
  });

  it("writes amounts in their currency, and as they are where it is not known", () => {
    const facts = { cash_due: 90_050, most: 50_000, currency: "CNY" };
    expect(told(facts)).toBe("Cash to collect: ¥900.50 · Most that one rider may collect: ¥500.00");
    language.value = "zh";
    expect(told(facts)).toBe("应收现金：¥900.50 · 单个骑手最多可收：¥500.00");
    expect(told({ cash_due: 900, currency: "" })).toBe("应收现金：900");
  });

  it("tells a choice that a tablet offered by its code, and leaves a person's own words", () => {
    expect(told({ reason: "items-missing" })).toBe("Reason: items are missing");
    expect(told({ reason: "We are closing" })).toBe("Reason: We are closing");
    expect(told({ reason: "oven broken" })).toBe("Reason: oven broken");
    language.value = "zh";
    expect(told({ reason: "closing" })).toBe("原因：即将打烊");
  });

  it("lists reasons, counts and documents, and leaves out what is empty", () => {
    const facts = { channel: "pos", reasons: ["blocked-device", "unpaid-orders"], sellable: -2, documents: [] };
    expect(told(facts)).toBe("Channel: till · Reasons: device blocked, many unpaid orders · Sellable: -2");
    language.value = "zh";
    expect(told(facts)).toBe("渠道：收银台 · 原因：设备已拉黑、未付订单过多 · 可售数：-2");
    expect(told({})).toBe("");
  });

  it("shows a fact of a newer service by its own name", () => {
    expect(told({ new_fact: "some-code", constructor: 3 })).toBe("new fact: some-code · constructor: 3");
  });
});
