/**
 * What a page may say and do by how it is connected: one answer for all pages.
 *
 * | status         | `isCurrent` | `isConnected` | `isReachable` | `isOnlyShown` |
 * | -------------- | ----------- | ------------- | ------------- | ------------- |
 * | `live`         | yes         | yes           | yes           |               |
 * | `polling`      | yes         | yes           | yes           |               |
 * | `catching-up`  |             | yes           | yes           |               |
 * | `superseded`   |             |               | yes           | yes           |
 * | `stopped`      |             |               |               | yes           |
 * | `connecting`, `offline`, `signed-out` | |        |               |               |
 */
import { onScopeDispose, type Ref, ref, watch } from "vue";
import { realTimers, type Timers } from "./timers";

/** `live`: everything up to now is here. `polling`: no socket gets through, but everything up to a
 * moment ago is here over HTTP. `superseded`: opened elsewhere with the same device id. */
export type SocketStatus =
  | "connecting"
  | "catching-up"
  | "live"
  | "polling"
  | "offline"
  | "signed-out"
  | "superseded"
  | "stopped";

/** Real milliseconds of a first try to connect until the page says that there is no connection. */
export const GRACE_MS = 2_500;

/** What stands on the screen is true now: what a person reads off it (an order's state, the cash to
 * take) can be acted on. */
export function isCurrent(status: SocketStatus): boolean {
  return status === "live" || status === "polling";
}

/** This window has a connection; what it shows may not have caught up yet. */
export function isConnected(status: SocketStatus): boolean {
  return isCurrent(status) || status === "catching-up";
}

/** The service can be reached: what was pressed is on its way. Also in a window that another one
 * has taken over from: what was pressed here still goes out. */
export function isReachable(status: SocketStatus): boolean {
  return isConnected(status) || status === "superseded";
}

/** What stands here may be old and does not come back by itself: it is shown, not for pressing. */
export function isOnlyShown(status: SocketStatus): boolean {
  return status === "superseded" || status === "stopped";
}

/** Whether to say that there is no connection and what is shown may be old. True from when one is
 * lost until everything is here again, however often it is tried in between; on a first look only
 * once a try has failed or has taken `GRACE_MS`. */
export function useOfflineNotice(
  status: Readonly<Ref<SocketStatus>>,
  timers: Timers = realTimers,
): Readonly<Ref<boolean>> {
  const told = ref(false);
  let grace: unknown = null;
  watch(
    status,
    (now) => {
      timers.clear(grace);
      if (now === "offline" || now === "stopped") told.value = true;
      else if (isCurrent(now)) told.value = false;
      else if (now === "connecting") grace = timers.set(() => (told.value = true), GRACE_MS);
    },
    // At once: a loss and the next try may be told in one go.
    { immediate: true, flush: "sync" },
  );
  onScopeDispose(() => timers.clear(grace));
  return told;
}
