/** The rider's phone: its inbox on the device, what was pressed, and what is said aloud of both. */
import { tell } from "@shared/announce";
import type { Api, ApiProblem } from "@shared/api";
import { ServiceClock } from "@shared/clock";
import { forgetSubject, openDevice } from "@shared/db";
import { openInboxDevice } from "@shared/device";
import { money } from "@shared/format";
import { locale } from "@shared/i18n";
import type { StoredAction, Wish } from "@shared/queue";
import type { SocketStatus } from "@shared/status";
import { computed, type ComputedRef, type Ref, shallowRef, type ShallowRef } from "vue";
import { type News, type Pressed, projected, type Snapshot } from "./document";
import { RiderKeeper } from "./keeper";
import { ring } from "./ring";
import { t } from "./texts";

const OVERLAY_MS = 4_000;

export interface RiderDevice {
  riderId: string;
  clock: ServiceClock;
  /** As the service last said. */
  document: Readonly<ShallowRef<Snapshot>>;
  /** The same with what was pressed and is on its way. */
  shown: ComputedRef<Snapshot>;
  waiting: Readonly<ShallowRef<readonly StoredAction[]>>;
  status: Readonly<Ref<SocketStatus>>;
  /** Why the connection was refused, while `stopped`. */
  trouble: Readonly<Ref<string>>;
  isWaiting(lane: string): boolean;
  press(wish: Wish): Promise<void>;
  /** Connect again, with what another window has stored meanwhile. */
  takeOver(): Promise<void>;
  /** Forget everything of this rider on the phone. */
  forget(): Promise<void>;
  stop(): void;
}

/** Open what is kept on the phone and connect. `signedOut` is called when the session is over. */
export async function openRider(api: Api, riderId: string, signedOut: () => void): Promise<RiderDevice> {
  const db = await openDevice("rider");
  const clock = new ServiceClock();
  const answered = shallowRef<readonly Pressed[]>([]);

  const keeper = new RiderKeeper(db, riderId, ({ isWhole, news, before, after }) => {
    if (isWhole) answered.value = [];
    for (const one of news) sayNews(one, before, after);
  });

  /** Until the socket brings the result, what was answered stays shown as done. */
  function overlay(action: Pressed): void {
    answered.value = [...answered.value, action];
    setTimeout(() => (answered.value = answered.value.filter((one) => one !== action)), OVERLAY_MS);
  }

  const inbox = await openInboxDevice({
    db,
    api,
    clock,
    role: "rider",
    subject: riderId,
    kind: "rider",
    keeper,
    onDone: (action) => {
      overlay(action);
      sayDone(action);
    },
    onRefused: sayRefused,
    onSignedOut: signedOut,
  });
  const { status, trouble, waiting } = inbox;

  return {
    riderId,
    clock,
    document: keeper.document,
    shown: computed(() => projected(keeper.document.value, [...answered.value, ...waiting.value])),
    waiting,
    status,
    trouble,
    isWaiting: (lane) => waiting.value.some((one) => one.lane === lane),
    press: async (wish) => void (await inbox.press(wish)),
    takeOver: inbox.takeOver,
    forget: async () => {
      inbox.stop();
      await forgetSubject(db);
    },
    stop: () => {
      inbox.stop();
      db.close();
    },
  };
}

function sayNews(news: News, before: Snapshot, after: Snapshot): void {
  switch (news.kind) {
    case "offer":
      if (after.offer?.offer_id === news.offer.offer_id) ring();
      return;
    case "offer-ended":
      tell(t(news.outcome === "expired" ? "saidOfferExpired" : "saidOfferWithdrawn"), "warn");
      return;
    case "parcel-cancelled": {
      const about = parcelNames(before, news.parcelId);
      if (about) tell(t(news.outcome === "unassigned" ? "saidUnassigned" : "saidCancelled", about), "bad", true);
      return;
    }
    case "cash-revised": {
      const about = parcelNames(after, news.parcelId);
      if (!about) return;
      tell(t("saidRevised", { ...about, amount: money(news.cashDue, about.currency, locale.value) }), "warn", true);
    }
  }
}

function parcelNames(document: Snapshot, parcelId: string) {
  const parcel = document.run.parcels.find((one) => one.parcel.parcel_id === parcelId)?.parcel;
  return parcel && { store: parcel.store_name, name: parcel.customer_name, currency: parcel.currency };
}

function sayDone(action: StoredAction): void {
  if (action.kind === "deliver") {
    const due = Number(action.about["cash_due"] ?? 0);
    const amount = due ? money(due, String(action.about["currency"]), locale.value) : "";
    tell(due ? t("saidDeliveredCash", { amount }) : t("saidDelivered"), "good");
  } else if (action.kind === "shift-start") tell(t("saidShift"), "good");
  else if (action.kind === "shift-end") tell(t("saidShiftEnd"), "good");
}

function heldOf({ extra }: ApiProblem): string {
  return money(Number(extra["owed"]), String(extra["currency"]), locale.value);
}

function sayRefused(action: StoredAction, problem: ApiProblem, late: boolean): void {
  if (problem.code === "offer-gone") tell(t("saidOfferGone"), "warn");
  else if (problem.code === "run-not-empty") tell(t("endRun"), "warn");
  else if (problem.code === "remit-first") tell(t("remitFirst", { amount: heldOf(problem) }), "bad", true);
  else if (action.kind === "pick-up" && problem.code === "wrong-state" && !late) tell(t("notReady"), "warn");
  else tell(t(late ? "tooLate" : "refusedBy", { detail: problem.detail || problem.code }), "bad", true);
}
