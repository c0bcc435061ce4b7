/** The rider's phone: its inbox on the device, what was pressed, its socket, its place on earth. */
import { tell } from "@shared/announce";
import { type Api, type ApiProblem, segment } from "@shared/api";
import { ServiceClock } from "@shared/clock";
import { deviceId, forgetSubject, openDevice, type Position as Stored } from "@shared/db";
import { money } from "@shared/format";
import { locale } from "@shared/i18n";
import { type Batch, InboxClient, inboxOverHttp } from "@shared/inbox";
import { ActionQueue, type StoredAction, type Wish } from "@shared/queue";
import { followDevice, type Frames } from "@shared/socket";
import type { SocketStatus } from "@shared/status";
import { computed, type ComputedRef, ref, type Ref, shallowRef, type ShallowRef } from "vue";
import { emptyDocument, fold, type News, newsOf, type Pressed, projected, type Snapshot } from "./document";
import { ring } from "./ring";
import { t } from "./texts";

const OVERLAY_MS = 4_000;

export interface RiderDevice {
  riderId: string;
  clock: ServiceClock;
  /** As the service last said. */
  document: ShallowRef<Snapshot>;
  /** The same with what was pressed and is on its way. */
  shown: ComputedRef<Snapshot>;
  waiting: ShallowRef<readonly StoredAction[]>;
  status: Ref<SocketStatus>;
  /** Why the connection was refused, while `stopped`. */
  trouble: Ref<string>;
  known: Ref<boolean>;
  isWaiting(lane: string): boolean;
  press(wish: Wish): Promise<void>;
  /** Connect again, with what another window has stored meanwhile. */
  takeOver(): Promise<void>;
  /** Forget everything of this rider on the phone. */
  forget(): Promise<void>;
  stop(): void;
}

/** Open what is kept on the phone and connect. `signedOut` is called when the session is over. */
export async function openRider(
  api: Api,
  riderId: string,
  signedOut: () => void,
  reauthenticate: () => Promise<boolean>,
): Promise<RiderDevice> {
  const db = await openDevice("rider");
  if ((await db.get("facts", "subject")) !== riderId) await forgetSubject(db);
  await db.put("facts", riderId, "subject");
  const id = await deviceId(db, "rider");

  const clock = new ServiceClock();
  const document = shallowRef<Snapshot>(emptyDocument(riderId));
  /** Of `document`: another window may have stored a later one since. */
  let position: Stored | null = null;
  const known = ref(false);
  const waiting = shallowRef<readonly StoredAction[]>([]);
  const answered = shallowRef<readonly Pressed[]>([]);
  const status = ref<SocketStatus>("connecting");
  const trouble = ref("");

  const queue = new ActionQueue(
    db,
    api,
    {
      onChange: (now) => (waiting.value = [...now]),
      onDone: (action) => {
        overlay(action);
        sayDone(action);
      },
      onRefused: sayRefused,
      onSignedOut: () => void reauthenticate().then((good) => (good ? queue.open() : signedOut()), signedOut),
    },
    () => clock.now(),
  );

  /** Until the socket brings the result, what was answered stays shown as done. */
  function overlay(action: Pressed): void {
    answered.value = [...answered.value, action];
    setTimeout(() => (answered.value = answered.value.filter((one) => one !== action)), OVERLAY_MS);
  }

  const client = new InboxClient(
    {
      path: `/v1/riders/${segment(riderId)}/socket`,
      onStatus: (now, why) => {
        status.value = now;
        trouble.value = why?.detail ?? "";
        if (now === "live" || now === "polling") {
          queue.open();
          void clock.synchronise(api).catch(() => undefined);
        } else if (now === "superseded") queue.open(); // what was pressed in this window still goes out
        else if (now === "offline" || now === "stopped") queue.close();
        else if (now === "signed-out") signedOut();
      },
      reauthenticate,
    },
    id,
    { position: async () => position, write },
    inboxOverHttp(api, `/v1/riders/${segment(riderId)}`, id),
  );

  /** What an earlier life of the page or another window stored. */
  async function load(): Promise<void> {
    const facts = db.transaction("facts").store;
    const [kept, at] = await Promise.all([facts.get("document"), facts.get("position")]);
    if (kept !== undefined) document.value = kept as Snapshot;
    known.value = kept !== undefined;
    position = (at as Stored | undefined) ?? null;
    await queue.load();
  }

  async function write(batch: Batch): Promise<void> {
    const heard: News[] = [];
    let next = batch.snapshot ? (batch.snapshot.data as Snapshot) : document.value;
    for (const event of batch.events as Frames["rider.EventFrame"][]) {
      const news = newsOf(event);
      if (news) heard.push(news);
      next = fold(next, event);
    }
    const work = db.transaction("facts", "readwrite", { durability: "strict" });
    await Promise.all([work.store.put(next, "document"), work.store.put(batch.position, "position"), work.done]);
    const before = document.value;
    document.value = next;
    position = batch.position;
    known.value = true;
    if (batch.snapshot || batch.events.some((event) => event.type === "run.changed")) answered.value = [];
    for (const news of heard) sayNews(news, before, next);
  }

  await load();
  client.start();
  void clock.synchronise(api).catch(() => undefined);
  const unfollow = followDevice(client);
  const untick = clock.tick(1_000);

  const shown = computed(() => projected(document.value, [...answered.value, ...waiting.value]));
  return {
    riderId,
    clock,
    document,
    shown,
    waiting,
    status,
    trouble,
    known,
    isWaiting: (lane) => waiting.value.some((one) => one.lane === lane),
    press: async (wish) => void (await queue.add(wish)),
    takeOver: () => load().then(() => client.start()),
    forget: async () => {
      client.stop();
      await forgetSubject(db);
    },
    stop: () => {
      unfollow();
      untick();
      client.stop();
      queue.close();
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
