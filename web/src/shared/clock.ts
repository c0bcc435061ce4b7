/** The service's clock on this device: service time may run faster than real time (a demo). */
import { ref, type Ref } from "vue";
import type { Api } from "./api";

interface Reading {
  now: string;
  speed: number;
}

interface Kept {
  service: number;
  real: number;
  speed: number;
}

const KEPT = "doorstep-clock";

export class ServiceClock {
  /** Service time, epoch milliseconds, for what is shown; renewed by `tick`. */
  readonly shown: Ref<number> = ref(Date.now());
  speed = 1;
  #base = Date.now();
  #readAt = performance.now();

  /** Until `synchronise`, an earlier reading (before a reload without network) is carried on. */
  constructor() {
    try {
      const kept = JSON.parse(localStorage.getItem(KEPT) ?? "null") as Kept | null;
      if (!kept || Date.now() < kept.real) return;
      this.speed = kept.speed;
      this.#base = kept.service + (Date.now() - kept.real) * kept.speed;
      this.shown.value = this.now();
    } catch {
      // nothing usable was kept
    }
  }

  /** Service time now, epoch milliseconds. */
  now(): number {
    return this.#base + (performance.now() - this.#readAt) * this.speed;
  }

  /** Real milliseconds until a service time; negative when it has passed. */
  realMsUntil(at: number): number {
    return (at - this.now()) / this.speed;
  }

  /** Read it anew (at start, after sleep). Half the way there and back is taken off. */
  async synchronise(api: Api): Promise<void> {
    const sent = performance.now();
    const reading = await api.get<Reading>("/v1/clock", { attempts: 1, timeoutMs: 5_000 });
    const received = performance.now();
    this.speed = reading.speed;
    this.#base = Date.parse(reading.now) + ((received - sent) / 2) * reading.speed;
    this.#readAt = received;
    const kept: Kept = { service: this.#base, real: Date.now(), speed: this.speed };
    localStorage.setItem(KEPT, JSON.stringify(kept));
    this.shown.value = this.now();
  }

  /** Renew `shown` while the page is visible. Returns how to stop. */
  tick(everyMs = 1_000): () => void {
    const timer = setInterval(() => {
      if (!document.hidden) this.shown.value = this.now();
    }, everyMs);
    return () => clearInterval(timer);
  }
}
