/** The tablet at work: its inbox, what was pressed, and its bell. One per paired store. */
import { tell } from "@shared/announce";
import { type Api, ApiProblem, type Documents, segment } from "@shared/api";
import { ServiceClock } from "@shared/clock";
import type { DeviceDb } from "@shared/db";
import { openInboxDevice } from "@shared/device";
import { deviceZone } from "@shared/format";
import type { StoredAction, Wish } from "@shared/queue";
import { isCurrent } from "@shared/status";
import { computed, effectScope, reactive, ref, shallowRef, watch } from "vue";
import { ring, soundOn } from "./bell";
import { Keeper } from "./keeper";
import type { Rejection, ShortReason, TabletState } from "./state";
import { emptyState } from "./state";
import { t } from "./texts";
import { byUrgency, COLUMNS, type Column, groupBy, matches, number, type Shown, shown } from "./work";

export type Profile = Pick<Documents["Store"], "store_id" | "name" | "time_zone">;
export type Sku = Documents["Sku"];

export interface Refusal {
  kind: string;
  problem: ApiProblem;
}

export type Tablet = Awaited<ReturnType<typeof openTablet>>;

/** Open the store's tablet from what the device holds; then connect and keep up. */
export async function openTablet(db: DeviceDb, api: Api, storeId: string, onSignedOut: () => void) {
  const clock = new ServiceClock();
  const state = shallowRef<TabletState>(emptyState());
  const query = ref("");
  const profile = shallowRef<Profile>(await keptProfile(db, storeId));
  const refusals = reactive(new Map<string, Refusal>());
  const gone = reactive(new Set<string>());

  const keeper = new Keeper(
    db,
    (now, arrived) => {
      state.value = now;
      for (const id of gone) if (!now.tickets.has(id)) gone.delete(id);
      const fresh = arrived.filter((ticket) => ticket.progress.state === "new");
      // The board calls out by itself (column, sound, live region); the device may also shake.
      if (fresh.length > 0) navigator.vibrate?.([120, 80, 120]);
    },
    () => clock.now(),
  );

  const inbox = await openInboxDevice({
    db,
    api,
    clock,
    role: "store",
    subject: storeId,
    kind: "tablet",
    keeper,
    onDone: (action, answer) => {
      refusals.delete(action.lane);
      if (isTicket(answer)) settle(answer);
    },
    onRefused,
    onStatus: (now) => {
      if (isCurrent(now)) void readProfile().catch(() => undefined);
    },
    onSignedOut,
  });
  const { id: device, status, trouble, waiting: actions } = inbox;

  /** An answer is the newest word until the inbox says the same. */
  function settle(answer: Documents["Ticket"]): void {
    const ticket = state.value.tickets.get(answer.fulfilment_id);
    if (!ticket) return;
    if (["rejected", "cancelled", "collected", "returned", "delivered"].includes(answer.state)) {
      gone.add(answer.fulfilment_id);
      return;
    }
    if (answer.changed_at && answer.changed_at < ticket.progress.changed_at) return;
    const picked = { ...ticket.progress.picked };
    const short_reasons: Record<string, string> = {};
    for (const line of answer.lines) {
      if (line.picked !== null) picked[line.line_id] = line.picked;
      if (line.short_reason) short_reasons[line.line_id] = line.short_reason;
    }
    const progress = {
      ...ticket.progress,
      state: answer.state,
      picked,
      short_reasons,
      cash_due: answer.cash_due,
      rider_id: answer.rider_id,
      rider_at_store: answer.rider_at_store,
      cancel_asked: answer.cancel_asked,
    };
    const tickets = new Map(state.value.tickets).set(ticket.fulfilment_id, { ...ticket, progress });
    state.value = keeper.state = { ...keeper.state, tickets };
  }

  function onRefused(action: StoredAction, problem: ApiProblem, late: boolean): void {
    if (action.lane.startsWith("store")) {
      tell(t("refused_plain", { why: problem.detail }), "bad", true);
      return;
    }
    refusals.set(action.lane, { kind: action.kind, problem });
    const given = { number: number(action.lane), why: whyOf(problem) };
    if (late) tell(t("too_late", given), "warn", true);
    else tell(t("refused", given), "bad");
  }

  async function readProfile(): Promise<void> {
    const { store_id, name, time_zone } = await api.get<Documents["Store"]>(
      `/v1/stores/${segment(storeId)}`,
      { attempts: 2 },
    );
    profile.value = { store_id, name, time_zone };
    await db.put("facts", profile.value, "profile");
  }

  const all = computed(() => shown(state.value.tickets.values(), actions.value, gone));
  const columns = computed(() => {
    const found = all.value.filter((one) => matches(one.ticket, query.value)).sort(byUrgency);
    const grouped = groupBy(found, (one) => one.column);
    return new Map<Column, Shown[]>(COLUMNS.map((column) => [column, grouped.get(column) ?? []]));
  });
  const unanswered = computed(() => all.value.filter((one) => one.column === "new"));
  const escalated = computed(() => unanswered.value.some((one) => one.progress.escalation > 0));

  const bell = effectScope(true);
  bell.run(() =>
    watch(
      // When superseded, the other window rings.
      [() => (status.value === "superseded" ? 0 : unanswered.value.length), escalated, soundOn],
      ([count, urgent]) => {
        ring(count, urgent);
        document.title = count > 0 ? `(${count}) ${t("page")}` : `${profile.value.name} · Doorstep`;
      },
      { immediate: true },
    ),
  );

  const path = (id: string, step: string) =>
    `/v1/stores/${segment(storeId)}/tickets/${segment(id)}/${step}`;

  function act(id: string, kind: string, body: object = {}, about: Wish["about"] = {}): Promise<unknown> {
    refusals.delete(id);
    const sent = { ...body, device_id: device };
    return inbox.press({ lane: id, kind, method: "POST", path: path(id, kind), body: sent, about });
  }

  return {
    api, clock, device, storeId, profile, state, status, trouble, heardAt: keeper.heardAt, actions, query,
    columns, all, unanswered, escalated, refusals,
    dismiss: (id: string) => keeper.dismiss(id),
    /** Connect again, with what another window has stored meanwhile. */
    reconnect: inbox.takeOver,
    accept: (id: string, prepS: number | null = null) =>
      act(id, "accept", prepS === null ? {} : { prep_s: prepS }),
    /** `code` is that of a choice which was offered; empty for the clerk's own words. */
    reject: (id: string, reason: string, code: Rejection | "") => act(id, "reject", { reason, reason_code: code }),
    startPicking: (id: string) => act(id, "picking"),
    /** `reason` says why not all of the line is packed; null when it is. */
    pick: (id: string, lineId: string, quantity: number, reason: ShortReason | null) =>
      inbox.press({
        lane: id,
        kind: "pick",
        method: "PUT",
        path: path(id, `lines/${segment(lineId)}`),
        body: { quantity, device_id: device, ...(reason && { reason }) },
        about: { line_id: lineId, quantity, ...(reason && { reason }) },
      }),
    ready: (id: string) => act(id, "ready"),
    handOver: (id: string, riderId: string) => act(id, "hand-over", { rider_id: riderId }),
    collect: (id: string, code: string, cash: number) => act(id, "collect", { code, cash }),
    heldBack: (id: string, held: boolean) => act(id, "held-back", { held_back: held }, { held_back: held }),
    acceptReturn: (id: string, damaged: { line_id: string; quantity: number }[]) =>
      act(id, "returned", { damaged }),
    pauseStore: (paused: boolean, until: string | null, reason: string) =>
      inbox.press({
        lane: "store",
        kind: "pause",
        method: "POST",
        path: `/v1/stores/${segment(storeId)}/pause`,
        body: { paused, until, reason },
        about: { paused },
      }),
    pauseItem: (sku: string, paused: boolean, until: string | null) =>
      inbox.press({
        lane: `store/${sku}`,
        kind: "pause-item",
        method: "POST",
        path: `/v1/stores/${segment(storeId)}/items/${segment(sku)}/pause`,
        body: { paused, until },
        about: { sku, paused },
      }),
    close: () => {
      bell.stop();
      ring(0, false);
      inbox.stop();
    },
  };
}

function whyOf(problem: ApiProblem): string {
  const known: Record<string, Parameters<typeof t>[0]> = {
    "wrong-state": "why_moved",
    "unknown-ticket": "why_gone",
    "foreign-resource": "why_gone",
    "wrong-code": "why_code",
    "code-locked": "why_locked",
    "wrong-cash": "why_cash",
    "wrong-rider": "why_rider",
    "no-cancel-asked": "why_no_cancel",
  };
  const text = known[problem.code];
  return text ? t(text) : problem.detail;
}

export { whyOf };

async function keptProfile(db: DeviceDb, storeId: string): Promise<Profile> {
  const kept = (await db.get("facts", "profile")) as Profile | undefined;
  if (kept?.store_id === storeId) return kept;
  return { store_id: storeId, name: storeId, time_zone: deviceZone() };
}

function isTicket(answer: unknown): answer is Documents["Ticket"] {
  return typeof answer === "object" && answer !== null && "fulfilment_id" in answer && "lines" in answer;
}

