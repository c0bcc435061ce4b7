/** Reasons, codes and channels in the reader's language. */
import { language } from "./i18n";
import { codeOf } from "./reasons";

/** What the service's codes, and those of a tablet's choices, mean: in English and Chinese. */
const WORDS: Readonly<Record<string, readonly [string, string]>> = {
  "not-in-time": ["not accepted in time", "未按时接单"],
  "all-short": ["nothing on the list was there", "所列商品全部缺货"],
  missing: ["not on the shelf", "货架缺货"],
  short: ["not on the shelf", "货架缺货"],
  substitute_refused: ["not on the shelf, substitute refused", "货架缺货，顾客拒绝替换"],
  unwanted: ["there, but not wanted", "有货，顾客不要"],
  "nothing-there": ["nothing was there", "全部缺货"],
  "stock-gone": ["the stock was gone", "库存已失效"],
  "held-back": ["held back by the store", "门店已留货"],
  "already-left": ["the goods had left", "商品已离店"],
  "lock-gone": ["its lock was gone", "库存锁定已失效"],
  "items-missing": ["items are missing", "商品缺货"],
  "too-busy": ["too much to do", "订单太多"],
  closing: ["about to close", "即将打烊"],
  trouble: ["technical trouble", "设备故障"],

  "lock-differs": ["another order holds these units", "库存已被其他锁定占用"],
  "bound-to-store": ["the customer chose this store", "顾客指定了该门店"],
  "no-store-open": ["none is open now", "目前均未营业"],
  "no-zone": ["none delivers to this address", "均不配送该地址"],
  "short-stock": ["too little stock", "库存不足"],
  "unknown-sku": ["does not know the SKU", "门店无此商品"],
  "unknown-store": ["the store is not known", "门店不存在"],

  refused: ["the customer refused it", "顾客拒收"],
  absent: ["nobody was there", "无人应答"],
  damaged: ["the goods are damaged", "商品损坏"],
  address: ["the address is wrong", "地址有误"],
  "not-held": ["not in the rider's run", "不在骑手的任务中"],

  unpaid: ["not paid in time", "逾期未付款"],
  expired: ["its time ran out", "已超时"],
  "group-not-formed": ["its group did not form", "未成团"],
  "too-few-members": ["too few members", "成团人数不足"],
  "nobody-left": ["nobody is left in the group", "团内已无成员"],
  "sold-out": ["sold out", "已售罄"],
  "lower-price": ["more members, lower price", "人数增加，价格下降"],

  cash: ["cash at the door", "上门现金"],
  "cash-difference": ["cash differs from what was due", "现金与应收不符"],
  "unknown-payment": ["no such payment was opened", "未发起过该支付"],
  "wrong-amount": ["another amount", "金额不符"],
  "wrong-currency": ["another currency", "币种不符"],
  "unclear-answer": ["unclear", "不明确"],
  pending: ["pending", "处理中"],
  failed: ["failed", "失败"],

  "blocked-address": ["address blocked", "地址已拉黑"],
  "blocked-customer": ["customer blocked", "顾客已拉黑"],
  "blocked-device": ["device blocked", "设备已拉黑"],
  "blocked-phone": ["phone number blocked", "手机号已拉黑"],
  "device-customers": ["many customers on one device", "同一设备顾客过多"],
  "expired-share": ["most orders are left unpaid", "多数订单未付款"],
  "unpaid-orders": ["many unpaid orders", "未付订单过多"],
  "unpaid-value": ["much unpaid stock", "未付占货金额过高"],

  app: ["app", "应用"],
  "mini-program": ["mini-program", "小程序"],
  marketplace: ["marketplace", "平台"],
  pos: ["till", "收银台"],
};

/** Whether a page has words for it. */
export function isCode(word: string): boolean {
  return Object.hasOwn(WORDS, word);
}

/** A reason in the reader's language, if it is a code or has one beside it; somebody's words as they are. */
export function wordOf(reason: string, code?: string | null): string {
  return WORDS[codeOf(reason, code) || reason]?.[language.value === "zh" ? 1 : 0] ?? reason;
}
