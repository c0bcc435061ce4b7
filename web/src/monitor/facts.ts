/** What an anomaly tells, in words: each fact by its name, reasons and amounts as people read them. */
import { money } from "@shared/format";
import { language, locale } from "@shared/i18n";
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

/** Codes, and words that the service or a tablet gives by itself; what a person typed stays as it is. */
const WORDS: Readonly<Record<string, readonly [string, string]>> = {
  "not accepted in time": ["not accepted in time", "未按时接单"],
  "nothing on the list was there": ["nothing on the list was there", "所列商品全部缺货"],
  missing: ["not on the shelf", "货架缺货"],
  short: ["not on the shelf", "货架缺货"],
  substitute_refused: ["not on the shelf, substitute refused", "货架缺货，顾客拒绝替换"],
  unwanted: ["there, but not wanted", "有货，顾客不要"],
  "all short": ["nothing was there", "全部缺货"],
  "Items are missing": ["items are missing", "商品缺货"],
  "Too much to do": ["too much to do", "订单太多"],
  "We are closing": ["about to close", "即将打烊"],
  "Technical trouble": ["technical trouble", "设备故障"],
  "商品缺货": ["items are missing", "商品缺货"],
  "订单太多": ["too much to do", "订单太多"],
  "即将打烊": ["about to close", "即将打烊"],
  "设备故障": ["technical trouble", "设备故障"],

  "lock-differs": ["another order holds these units", "库存已被其他锁定占用"],
  "bound-to-store": ["the customer chose this store", "顾客指定了该门店"],
  "no-store-open": ["none is open now", "目前均未营业"],
  "no-zone": ["none delivers to this address", "均不配送该地址"],
  "short-stock": ["too little stock", "库存不足"],
  "unknown-sku": ["does not know the SKU", "门店无此商品"],
  "unknown-store": ["the store is not known", "门店不存在"],

  cash: ["cash at the door", "上门现金"],
  "cash-difference": ["cash differs from what was due", "现金与应收不符"],
  "unknown-payment": ["no such payment was opened", "未发起过该支付"],
  "wrong-amount": ["another amount", "金额不符"],
  "wrong-currency": ["another currency", "币种不符"],
  "unclear answer": ["unclear", "不明确"],
  pending: ["pending", "处理中"],
  failed: ["failed", "失败"],

  "blocked-address": ["address blocked", "地址已拉黑"],
  "blocked-customer": ["customer blocked", "顾客已拉黑"],
  "blocked-device": ["device blocked", "设备已拉黑"],
  "blocked-phone": ["phone number blocked", "手机号已拉黑"],
  "device-customers": ["many customers on one device", "同一设备顾客过多"],
  "expired-share": ["most orders expire unpaid", "多数订单超时未付"],
  "unpaid-orders": ["many unpaid orders", "未付订单过多"],
  "unpaid-value": ["much unpaid stock", "未付占货金额过高"],

  app: ["app", "应用"],
  "mini-program": ["mini-program", "小程序"],
  marketplace: ["marketplace", "平台"],
  pos: ["till", "收银台"],
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
  if (typeof fact === "string") return wordOf(fact);
  if (typeof fact !== "number") return fact.map(wordOf).join(language.value === "zh" ? "、" : ", ");
  return currency && FACTS[name]?.money ? money(fact, currency, locale.value) : fact.toLocaleString(locale.value);
}

/** A reason that the service gives by itself in the reader's language; any other as it is. */
export function wordOf(word: string): string {
  return WORDS[word]?.[language.value === "zh" ? 1 : 0] ?? word;
}
