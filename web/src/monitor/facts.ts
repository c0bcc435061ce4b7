/** What an anomaly tells, in words: each fact by its name, reasons and amounts as people read them. */
import { money } from "@shared/format";
import { language, locale } from "@shared/i18n";
import { wordOf } from "@shared/words";
import type { Anomaly } from "./flow";
import { t } from "./texts";

type Fact = number | string | readonly string[];

/** The names of facts, and whether one is an amount in minor units of the fact `currency`. */
const FACTS: Readonly<Record<string, { money?: true }>> = {
  answer: {},
  behind: {},
  cash: { money: true },
  cash_due: { money: true },
  channel: {},
  counted: {},
  difference: {},
  documents: {},
  due: { money: true },
  limit: { money: true },
  most: { money: true },
  others: {},
  provider: {},
  reason: {},
  reasons: {},
  sellable: {},
  shard: {},
  taken: { money: true },
  tickets: {},
};

/** An anomaly's facts as one line, such as `Reason: too busy · Other stores: too little stock`. */
export function factsOf(anomaly: Pick<Anomaly, "facts">): string {
  const { currency, ...facts } = anomaly.facts as Readonly<Record<string, Fact>>;
  return Object.entries(facts)
    .filter(([, fact]) => fact !== "" && !(Array.isArray(fact) && fact.length === 0))
    .map(([name, fact]) => said(nameOf(name), valueOf(name, fact, String(currency ?? ""))))
    .join(" · ");
}

function said(name: string, value: string): string {
  return language.value === "zh" ? `${name}：${value}` : `${name}: ${value}`;
}

function nameOf(name: string): string {
  return Object.hasOwn(FACTS, name) ? t(`fact-${name}` as "fact-reason") : name.replaceAll("_", " ");
}

function valueOf(name: string, fact: Fact, currency: string): string {
  if (typeof fact === "string") return wordOf(fact, "");
  if (typeof fact !== "number") return fact.map((one) => wordOf(one, "")).join(language.value === "zh" ? "、" : ", ");
  return currency && FACTS[name]?.money ? money(fact, currency, locale.value) : fact.toLocaleString(locale.value);
}
