/** The dispatch zones a rider can work in, with their stores and delivery areas, for form and map. */
import type { Api, Documents } from "@shared/api";
import type { Point } from "./document";
import { metres } from "./place";

export type WorkZone = Documents["WorkZone"];

const KEPT = "doorstep-rider-zones";

/** As they were last time; null: this phone never heard of any. */
export function keptZones(): WorkZone[] | null {
  return JSON.parse(localStorage.getItem(KEPT) ?? "null") as WorkZone[] | null;
}

/** From the service; rejects as `Api` does. */
export async function readZones(api: Api): Promise<WorkZone[]> {
  const { items } = await api.get<Documents["WorkZonePage"]>("/v1/dispatch", { attempts: 2 });
  localStorage.setItem(KEPT, JSON.stringify(items));
  return items;
}

/**
 * The zone that a shift starts in unless the rider says otherwise: what they `chose` while there is
 * such a zone, else the only one, else the one with the store nearest to `place`. Empty while that is
 * not known: whoever starts in a zone where they are not is offered nothing, and nobody tells them.
 */
export function zoneFor(zones: readonly WorkZone[], chose: string, place: Point | null): string {
  if (zones.some((zone) => zone.zone_id === chose)) return chose;
  if (!place && zones.length > 1) return "";
  const far = ({ stores }: WorkZone) => Math.min(...stores.map((store) => (place ? metres(place, store.position) : 0)));
  return [...zones].sort((one, other) => far(one) - far(other))[0]?.zone_id ?? "";
}
