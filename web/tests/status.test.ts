import { describe, expect, it } from "vitest";
import { effectScope, ref } from "vue";
import {
  GRACE_MS,
  isConnected,
  isCurrent,
  isOnlyShown,
  isReachable,
  type SocketStatus,
  useOfflineNotice,
} from "../src/shared/status";
import { ManualTimers } from "./fakes";

const ALL: readonly SocketStatus[] = [
  "connecting", "catching-up", "live", "polling", "offline", "signed-out", "superseded", "stopped",
];
const where = (holds: (status: SocketStatus) => boolean) => ALL.filter(holds);

describe("by how it is connected, a page", () => {
  it("shows what is true now only with everything here: by socket, or over HTTP a moment ago", () => {
    expect(where(isCurrent)).toEqual(["live", "polling"]);
  });

  it("is connected before it has caught up, and no longer when another window has taken over", () => {
    expect(where(isConnected)).toEqual(["catching-up", "live", "polling"]);
  });

  it("sends what was pressed while the service can be reached, also after another took over", () => {
    expect(where(isReachable)).toEqual(["catching-up", "live", "polling", "superseded"]);
  });

  it("lets nothing be pressed where what stands is old and stays so", () => {
    expect(where(isOnlyShown)).toEqual(["superseded", "stopped"]);
  });
});

describe("the notice that there is no connection", () => {
  function noticed() {
    const status = ref<SocketStatus>("connecting");
    const timers = new ManualTimers();
    const scope = effectScope();
    const notice = scope.run(() => useOfflineNotice(status, timers))!;
    const after = (...statuses: SocketStatus[]) => {
      for (const one of statuses) status.value = one;
      return notice.value;
    };
    return { after, notice, scope, timers };
  }

  it("stays while the service is tried again, until everything is here", () => {
    const { after } = noticed();
    expect(after("catching-up", "live")).toBe(false);
    expect(after("offline")).toBe(true);
    expect(after("connecting")).toBe(true);
    expect(after("offline", "connecting", "catching-up")).toBe(true);
    expect(after("live")).toBe(false);
    expect(after("offline", "polling")).toBe(false);
  });

  it("is not missed when the next try follows at once", () => {
    expect(noticed().after("live", "offline", "connecting")).toBe(true);
  });

  it("does not come on a first look before a try has failed or has taken long", () => {
    const { after, notice, timers } = noticed();
    timers.pass(GRACE_MS - 1);
    expect(notice.value).toBe(false);
    timers.pass(1);
    expect(notice.value).toBe(true);
    expect(after("live")).toBe(false);
    expect(noticed().after("offline")).toBe(true);
  });

  it("does not come while a connection that was made catches up", () => {
    const { after, notice, timers } = noticed();
    after("catching-up");
    timers.pass(GRACE_MS);
    expect(notice.value).toBe(false);
  });

  it("comes when the service has said to stay away", () => {
    expect(noticed().after("live", "stopped")).toBe(true);
  });

  it("ends with its page", () => {
    const { notice, scope, timers } = noticed();
    scope.stop();
    timers.pass(GRACE_MS);
    expect(notice.value).toBe(false);
  });
});
