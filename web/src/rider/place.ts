/** Where the rider is: the phone's own position, or a tap on the map; sent while on shift. */
import { type Api, segment } from "@shared/api";
import { ref, shallowRef, watch } from "vue";
import type { Point } from "./document";

export type PlaceSource = "gps" | "map";

const KEPT = "doorstep-rider-place";
const SEND_MS = 5_000;
const RENEW_MS = 30_000;
const MOVED_M = 10;

export function usePlace(api: Api, riderId: string) {
  const kept = read();
  const source = ref<PlaceSource>(kept.source ?? ("geolocation" in navigator && isSecureContext ? "gps" : "map"));
  // What GPS said in an earlier life of the page is not where the rider is now.
  const place = shallowRef<Point | null>(source.value === "map" ? (kept.place ?? null) : null);
  const denied = ref(false);
  let watching: number | null = null;
  let timer: ReturnType<typeof setTimeout> | null = null;
  let sent: { at: number; place: Point } | null = null;
  let onShift = false;

  function put(next: Point): void {
    place.value = next;
    keep();
    plan();
  }

  function plan(): void {
    if (!onShift || timer || !place.value) return;
    const since = sent ? Date.now() - sent.at : Infinity;
    const moved = !sent || metres(sent.place, place.value) >= MOVED_M;
    timer = setTimeout(send, Math.max(0, (moved ? SEND_MS : RENEW_MS) - since));
  }

  function send(): void {
    timer = null;
    const now = place.value;
    if (!onShift || !now) return;
    sent = { at: Date.now(), place: now };
    // It may be lost: only the latest counts, and the next one comes soon.
    const path = `/v1/riders/${segment(riderId)}/position`;
    void api.put(path, { position: now }, { attempts: 1, timeoutMs: 5_000 }).catch(() => undefined);
    plan();
  }

  function follow(): void {
    if (watching !== null) navigator.geolocation.clearWatch(watching);
    watching = null;
    if (source.value !== "gps" || !("geolocation" in navigator)) return;
    watching = navigator.geolocation.watchPosition(
      ({ coords }) => put({ lat: coords.latitude, lon: coords.longitude }),
      (error) => {
        if (error.code !== error.PERMISSION_DENIED) return;
        denied.value = true;
        source.value = "map";
      },
      { enableHighAccuracy: true, maximumAge: 5_000, timeout: 20_000 },
    );
  }

  function keep(): void {
    localStorage.setItem(KEPT, JSON.stringify({ source: source.value, place: place.value }));
  }

  watch(source, () => {
    keep();
    follow();
  });
  follow();

  return {
    source,
    place,
    denied,
    put,
    /** Whether positions are sent. */
    report(on: boolean): void {
      onShift = on;
      if (on) plan();
      else if (timer) {
        clearTimeout(timer);
        timer = null;
      }
    },
    stop(): void {
      onShift = false;
      if (timer) clearTimeout(timer);
      if (watching !== null) navigator.geolocation.clearWatch(watching);
    },
  };
}

/** Metres between two points, straight. Good for the few kilometres of a city. */
export function metres(one: Point, other: Point): number {
  const rad = Math.PI / 180;
  const x = (other.lon - one.lon) * rad * Math.cos(((one.lat + other.lat) / 2) * rad);
  const y = (other.lat - one.lat) * rad;
  return Math.hypot(x, y) * 6_371_000;
}

function read(): { source?: PlaceSource; place?: Point | null } {
  try {
    return JSON.parse(localStorage.getItem(KEPT) ?? "{}") as { source?: PlaceSource; place?: Point };
  } catch {
    return {};
  }
}
