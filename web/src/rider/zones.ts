/** The dispatch zones a rider can work in, with their stores and delivery areas, for form and map. */
import type { Api, Documents } from "@shared/api";

export type WorkZone = Documents["WorkZone"];

const KEPT = "doorstep-rider-zones";

/** From the service; without it, as they were last time. */
export async function loadZones(api: Api): Promise<WorkZone[]> {
  try {
    const { items } = await api.get<Documents["WorkZonePage"]>("/v1/dispatch", { attempts: 2 });
    localStorage.setItem(KEPT, JSON.stringify(items));
    return items;
  } catch (error) {
    const kept = localStorage.getItem(KEPT);
    if (kept) return JSON.parse(kept) as WorkZone[];
    throw error;
  }
}
