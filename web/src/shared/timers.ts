/** Time, as what waits for it asks for it: tests pass their own. */

export interface Timers {
  set(work: () => void, ms: number): unknown;
  clear(timer: unknown): void;
  random(): number;
}

/** The device's own. */
export const realTimers: Timers = {
  set: (work, ms) => setTimeout(work, ms),
  clear: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
  random: Math.random,
};
