/** What a rider's device holds: the inbox's document, folded as docs/protocol/socket.md says. */
import type { Frames } from "@shared/socket";

export type Snapshot = Frames["rider.Snapshot"];
export type Offer = Frames["rider.OfferDocument"];
export type Parcel = Frames["rider.ParcelDocument"];
export type RunParcel = Frames["rider.RunParcel"];
export type Stop = Frames["rider.Stop"];
export type Point = Frames["rider.Point"];

/** News that a person must hear of beside what the document shows. */
export type News =
  | { kind: "offer"; offer: Offer }
  | { kind: "offer-ended"; outcome: string; reason: string }
  | { kind: "parcel-cancelled"; parcelId: string; outcome: string; reason: string }
  | { kind: "cash-revised"; parcelId: string; cashDue: number };

/** A rider who was never heard of. */
export function emptyDocument(riderId: string): Snapshot {
  return {
    rider_id: riderId,
    shift: null,
    offer: null,
    run: { parcels: [], stops: [] },
    cash: { held: 0, headroom: 0, currency: "" },
  };
}

/** The document after one message. Pure: the given one is not changed. */
export function fold(document: Snapshot, message: Frames["rider.EventFrame"]): Snapshot {
  switch (message.type) {
    case "offer.opened":
      return { ...document, offer: message.data.offer };
    case "offer.ended":
      return document.offer?.offer_id === message.data.offer_id ? { ...document, offer: null } : document;
    case "run.changed":
      return { ...document, run: message.data.run };
    case "cash.changed":
      return { ...document, cash: message.data.cash };
    case "shift.changed":
      return {
        ...document,
        shift: message.data.shift,
        cash: { ...document.cash, held: message.data.cash_held },
      };
    default:
      return document; // the `run.changed` beside it has the result
  }
}

/** What of this message is to be said aloud; null for what the page shows anyway. */
export function newsOf(message: Frames["rider.EventFrame"]): News | null {
  switch (message.type) {
    case "offer.opened":
      return { kind: "offer", offer: message.data.offer };
    case "offer.ended":
      return message.data.outcome === "withdrawn" || message.data.outcome === "expired"
        ? { kind: "offer-ended", outcome: message.data.outcome, reason: message.data.reason }
        : null;
    case "parcel.cancelled": {
      const { parcel_id, outcome, reason } = message.data;
      return { kind: "parcel-cancelled", parcelId: parcel_id, outcome, reason };
    }
    case "parcel.revised":
      return { kind: "cash-revised", parcelId: message.data.parcel_id, cashDue: message.data.cash_due };
    default:
      return null;
  }
}

/** What a person pressed: see `projected`. */
export type ActionKind =
  | "accept"
  | "decline"
  | "arrive-at-store"
  | "pick-up"
  | "arrive-at-customer"
  | "deliver"
  | "fail"
  | "shift-start"
  | "shift-end";

export interface Pressed {
  kind: ActionKind | string;
  about: Readonly<Record<string, unknown>>;
}

const NEXT_STATE: Readonly<Record<string, string>> = {
  "arrive-at-store": "at_store",
  "pick-up": "picked_up",
  "arrive-at-customer": "at_customer",
  fail: "returning",
};

/** The document as it will be once the service has taken what was pressed. Pure. */
export function projected(document: Snapshot, pressed: readonly Pressed[]): Snapshot {
  return pressed.reduce(one, document);
}

function one(document: Snapshot, { kind, about }: Pressed): Snapshot {
  const parcelId = String(about["parcel_id"] ?? "");
  if (kind === "accept" || kind === "decline") {
    return document.offer?.offer_id === about["offer_id"] ? { ...document, offer: null } : document;
  }
  if (kind === "shift-end") return { ...document, shift: null };
  const carried = document.run.parcels.find((each) => each.parcel.parcel_id === parcelId);
  if (!carried) return document;
  if (kind === "deliver") {
    const held = document.cash.held + carried.parcel.cash_due;
    return {
      ...document,
      cash: { ...document.cash, held },
      run: {
        parcels: document.run.parcels.filter((each) => each !== carried),
        stops: document.run.stops.filter((stop) => stop.parcel_id !== parcelId),
      },
    };
  }
  const state = NEXT_STATE[kind];
  if (!state) return document;
  let stops = document.run.stops;
  if (kind === "pick-up") {
    stops = stops.filter((stop) => !(stop.parcel_id === parcelId && stop.kind === "pick_up"));
  } else if (kind === "fail") {
    stops = [
      ...stops.filter((stop) => stop.parcel_id !== parcelId),
      { kind: "return", parcel_id: parcelId, at: carried.parcel.pick_up },
    ];
  }
  const parcels = document.run.parcels.map((each) => (each === carried ? { ...each, state } : each));
  return { ...document, run: { parcels, stops } };
}

/** One place to ride to, and the parcels that are for it. */
export interface Halt {
  key: string;
  kind: "pick_up" | "drop_off" | "return";
  at: Point;
  parcels: RunParcel[];
}

/** The stops in riding order; neighbouring stops of one kind at one store are one halt. */
export function haltsOf(run: Snapshot["run"]): Halt[] {
  const carried = new Map(run.parcels.map((each) => [each.parcel.parcel_id, each]));
  const halts: Halt[] = [];
  for (const stop of run.stops) {
    const parcel = carried.get(stop.parcel_id);
    if (!parcel) continue;
    const last = halts.at(-1);
    const joins =
      last &&
      last.kind === stop.kind &&
      stop.kind !== "drop_off" &&
      last.parcels[0]?.parcel.store_id === parcel.parcel.store_id;
    if (joins) last.parcels.push(parcel);
    else {
      const kind = stop.kind as Halt["kind"];
      halts.push({ key: `${kind}:${stop.parcel_id}`, kind, at: stop.at, parcels: [parcel] });
    }
  }
  return halts;
}

/** What is pressed next at a halt; null while nothing is to be pressed (a return: the store acts). */
export function stepAt(halt: Halt): ActionKind | null {
  const states = halt.parcels.map((each) => each.state);
  if (halt.kind === "pick_up") return states.includes("accepted") ? "arrive-at-store" : "pick-up";
  if (halt.kind === "return") return null;
  return states.includes("at_customer") ? "deliver" : "arrive-at-customer";
}

/** The parcels of a halt that its step is for. */
export function parcelsFor(halt: Halt, step: ActionKind): RunParcel[] {
  return step === "arrive-at-store" ? halt.parcels.filter((each) => each.state === "accepted") : halt.parcels;
}
