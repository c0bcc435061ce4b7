/** Installable: the page's service worker keeps its shell for when there is no network. */
export function keepShell(page: "tablet" | "rider"): void {
  if (!("serviceWorker" in navigator) || import.meta.env.DEV) return;
  addEventListener("load", () => {
    void navigator.serviceWorker.register(`/${page}-worker.js`, { scope: `/${page}` }).catch(() => {
      // Without a secure context there is none: the page works all the same while it is open.
    });
  });
}

/** Ask the browser not to clear what the device holds, and to keep the screen on while shown. */
export function stayAwake(): void {
  void navigator.storage?.persist?.().catch(() => undefined);
  let lock: WakeLockSentinel | null = null;
  const hold = async () => {
    if (document.visibilityState !== "visible" || (lock && !lock.released)) return;
    lock = (await navigator.wakeLock?.request("screen").catch(() => null)) ?? null;
  };
  document.addEventListener("visibilitychange", () => void hold());
  addEventListener("pointerdown", () => void hold(), { once: true });
  void hold();
}
