/** The monitor's document, kept by the socket, shown a few times a second at most. */
import type { Api, Documents } from "@shared/api";
import { ServiceClock } from "@shared/clock";
import { followDevice } from "@shared/socket";
import { isCurrent, type SocketStatus } from "@shared/status";
import { TopicClient } from "@shared/topic";
import { onScopeDispose, ref, shallowRef } from "vue";

/** A parcel on a rider's run. */
export interface RunStop {
  state: string;
  order_id: string;
  store_id: string;
  due_at: string;
  drop_off: { lat: number; lon: number };
}
export type Remedy = Omit<Documents["Remedy"], "body"> & { body: Readonly<Record<string, unknown>> };
export type Anomaly = Omit<Documents["Anomaly"], "remedies"> & { remedies: Remedy[] };
export type Rider = Omit<Documents["RiderFlow"], "run"> & { run: Record<string, RunStop> };
/** Without `devices` when the service does not know how many are connected. */
export type StoreFlow = Omit<Documents["StoreFlow"], "devices"> & { devices?: number | null };
export type Monitor = Omit<Documents["Monitor"], "stores" | "riders" | "anomalies"> & {
  stores: Record<string, StoreFlow>;
  riders: Record<string, Rider>;
  anomalies: Record<string, Anomaly>;
};
export type Campaign = Documents["CampaignFlow"];
export type CampaignGroup = Documents["CampaignGroup"];
export type Store = Documents["Store"];
export type Order = Documents["Order"];
export type HistoryStep = Omit<Documents["HistoryStep"], "data"> & { data: Readonly<Record<string, unknown>> };

/** One look at the flow, kept for the charts. */
export interface Sample {
  /** Service time, epoch milliseconds. */
  at: number;
  perSecond: Readonly<Record<string, number>>;
  p50: number | null;
  p99: number | null;
}

/** Real milliseconds between two renderings of the page. */
export const RENDER_MS = 500;
const SAMPLE_MS = 1_000;
const SAMPLES_MAX = 300;

export function useFlow(api: Api, signedOut: () => void, reauthenticate: () => Promise<boolean>) {
  const clock = new ServiceClock();
  const status = ref<SocketStatus>("connecting");
  /** The document as it is shown; patches change its parts in place between two renderings. */
  const frame = shallowRef<{ readonly now: Monitor } | null>(null);
  const samples = shallowRef<readonly Sample[]>([]);
  let document_: Monitor | null = null;
  let changed = false;

  const client = new TopicClient<Monitor>(
    {
      path: "/v1/monitor/socket",
      onStatus: (now) => {
        status.value = now;
        if (isCurrent(now)) void clock.synchronise(api).catch(() => undefined);
        if (now === "signed-out") signedOut();
      },
      reauthenticate,
    },
    {
      onDocument(now) {
        document_ = now;
        changed = true;
        if (!frame.value) show();
      },
    },
    () => api.get<Monitor>("/v1/monitor", { attempts: 1 }),
  );

  function show(): void {
    if (!changed || !document_ || document.hidden) return;
    changed = false;
    // A new object each time, its parts the same: what reads it computes anew.
    frame.value = { now: { ...document_ } };
    clock.shown.value = clock.now();
  }

  function sample(): void {
    if (!document_ || !isCurrent(status.value)) return;
    const at = Date.parse(document_.at);
    if (samples.value.at(-1)?.at === at) return;
    const { p50_ms, p99_ms } = document_.push;
    const one = { at, perSecond: { ...document_.per_second }, p50: p50_ms ?? null, p99: p99_ms ?? null };
    const kept = samples.value.slice(-SAMPLES_MAX + 1);
    kept.push(one);
    samples.value = kept;
  }

  const timers = [setInterval(show, RENDER_MS), setInterval(sample, SAMPLE_MS)];
  const unfollow = followDevice(client);
  document.addEventListener("visibilitychange", show);
  client.start();
  onScopeDispose(() => {
    timers.forEach(clearInterval);
    document.removeEventListener("visibilitychange", show);
    unfollow();
    client.stop();
  });
  return { clock, status, frame, samples };
}

/** All stores' profiles: their zones are drawn, and their local time is shown. */
export async function loadStores(api: Api): Promise<Map<string, Store>> {
  const found = new Map<string, Store>();
  let after = "";
  do {
    const query = new URLSearchParams({ limit: "500", ...(after ? { after } : {}) });
    const page = await api.get<Documents["StorePage"]>(`/v1/stores?${query}`);
    for (const store of page.items) found.set(store.store_id, store);
    after = page.next ?? "";
  } while (after);
  return found;
}

/** Whether orders wait at a store and, as far as is known, no tablet shows them. */
export function isDeaf({ open, devices }: Pick<StoreFlow, "open" | "devices">): boolean {
  return open > 0 && devices === 0;
}

/** How bad an anomaly is: 0 money or stock is wrong, 1 somebody waits, 2 look at it. */
export function severity(code: string): 0 | 1 | 2 {
  const moneyOrGoods = [
    "payment-flagged", "payment-without-order", "refund-refused", "negative-stock", "count-mismatch",
    "rider-over-cash-limit",
  ];
  if (moneyOrGoods.includes(code)) return 0;
  const waiting = [
    "parked", "stuck-order", "stuck-fulfilment", "uncollected", "cash-over-limits", "tablet-offline", "quota-refused",
  ];
  if (waiting.includes(code)) return 1;
  return 2;
}

export const ORDER_STATES = ["placed", "paid", "cod_confirmed", "cancelling"] as const;
export const PART_STATES = [
  "new",
  "accepted",
  "picking",
  "ready",
  "picked_up",
  "at_customer",
  "returning",
  "parked",
] as const;
export const FUNNEL = [
  "placed",
  "confirmed",
  "accepted",
  "picking",
  "ready",
  "picked_up",
  "delivered",
  "completed",
] as const;
export const RATES = ["placed", "accepted", "ready", "picked_up", "delivered", "cancelled"] as const;

/** Known states first, in their order, then whatever else the service counts. */
export function statesOf(counts: Readonly<Record<string, number>>, known: readonly string[]): string[] {
  return [...known, ...Object.keys(counts).filter((state) => !known.includes(state))];
}
