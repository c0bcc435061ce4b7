/**
 * A device with an inbox at work: what it holds, what was pressed, its connection and its session,
 * joined in one way for the store's tablet and the rider's phone.
 */
import { type Ref, ref, shallowRef, type ShallowRef } from "vue";
import { type Api, type Role, segment } from "./api";
import type { ServiceClock } from "./clock";
import { type DeviceDb, deviceId, ownedBy } from "./db";
import { InboxClient, inboxOverHttp, type InboxStore } from "./inbox";
import { ActionQueue, type QueueListener, type StoredAction, type Wish } from "./queue";
import { whoAmI } from "./session";
import { followDevice, type SocketLike } from "./socket";
import { isReachable, type SocketStatus } from "./status";
import { realTimers, type Timers } from "./timers";

/** Real milliseconds until what waits is tried again when nobody could say if the session holds. */
export const ASK_AGAIN_MS = 5_000;

/** What the inbox is folded into, on the device. */
export interface DeviceKeeper extends InboxStore {
  /** Take up what an earlier life of the page or another window stored. */
  load(): Promise<void>;
}

export interface InboxDeviceOptions {
  db: DeviceDb;
  api: Api;
  clock: ServiceClock;
  role: Extract<Role, "store" | "rider">;
  /** Whose inbox it is: the store's or the rider's id. */
  subject: string;
  /** Begins the device's id: "tablet", "rider". */
  kind: string;
  keeper: DeviceKeeper;
  onDone: NonNullable<QueueListener["onDone"]>;
  onRefused: NonNullable<QueueListener["onRefused"]>;
  onStatus?: (status: SocketStatus) => void;
  /** The session is over, or speaks for somebody else. */
  onSignedOut: () => void;
  open?: (path: string) => SocketLike;
  timers?: Timers;
}

export interface InboxDevice {
  /** The device's own id, the same for ever. */
  id: string;
  status: Readonly<Ref<SocketStatus>>;
  /** Why the connection was refused, while `stopped`; else "". */
  trouble: Readonly<Ref<string>>;
  /** What was pressed and is not answered yet, in the order of pressing. */
  waiting: Readonly<ShallowRef<readonly StoredAction[]>>;
  /** Resolves when it is stored; it goes out as soon as the service can be reached. */
  press(wish: Wish): Promise<StoredAction>;
  /** Connect again, with what another window has stored meanwhile. */
  takeOver(): Promise<void>;
  /** Ends the connection; what waits stays on the device. */
  stop(): void;
}

/**
 * Open what the device holds for `subject`, and connect. In this order:
 *
 * 1. What somebody else left on the device is forgotten.
 * 2. The folded document and its position are loaded, then what was pressed: it is shown over that
 *    document, and new presses come after it. The connection's greeting tells the position.
 * 3. The clock is asked and the connection begun, neither waiting for the other: an order must be
 *    on the screen within a second, however long the clock's answer takes. It is asked again with
 *    each new connection, for the device may have slept.
 * 4. What was pressed goes out as soon as the service is there (`isReachable`): not only once the
 *    inbox has caught up, for an acceptance has a deadline and the service decides by its own state.
 *
 * A session that ended closes the queue and keeps what waits. Whether it has ended, `whoAmI` says;
 * when that cannot be reached, nothing is known and it is asked again.
 */
export async function openInboxDevice(options: InboxDeviceOptions): Promise<InboxDevice> {
  const { db, api, clock, role, subject, keeper } = options;
  const timers = options.timers ?? realTimers;
  const status = ref<SocketStatus>("connecting");
  const trouble = ref("");
  const waiting = shallowRef<readonly StoredAction[]>([]);
  let ended = false;
  let asking: unknown = null;

  await ownedBy(db, subject);
  const id = await deviceId(db, options.kind);
  const path = `/v1/${role}s/${segment(subject)}`;

  const queue = new ActionQueue(
    db,
    api,
    {
      onChange: (now) => (waiting.value = [...now]),
      onDone: options.onDone,
      onRefused: options.onRefused,
      onSignedOut: () => void askSession(),
    },
    () => clock.now(),
  );

  const inbox = new InboxClient(
    {
      path: `${path}/socket`,
      reauthenticate,
      onStatus,
      timers,
      ...(options.open && { open: options.open }),
    },
    id,
    keeper,
    inboxOverHttp(api, path, id),
  );

  function onStatus(now: SocketStatus, why?: { detail: string }): void {
    status.value = now;
    trouble.value = why?.detail ?? "";
    if (isReachable(now)) queue.open();
    else queue.close();
    if (now === "catching-up" || now === "polling") readClock();
    options.onStatus?.(now);
    if (now === "signed-out") signedOut();
  }

  function readClock(): void {
    void clock.synchronise(api).catch(() => undefined);
  }

  async function reauthenticate(): Promise<boolean> {
    const identity = await whoAmI(api);
    return identity?.role === role && identity.subject === subject;
  }

  /** An action was refused for want of a session, and the queue has closed itself. */
  async function askSession(): Promise<void> {
    try {
      if (!(await reauthenticate())) signedOut();
      else if (isReachable(status.value)) queue.open();
    } catch {
      if (ended) return;
      asking = timers.set(() => isReachable(status.value) && queue.open(), ASK_AGAIN_MS);
    }
  }

  function signedOut(): void {
    if (!ended) options.onSignedOut();
  }

  async function load(): Promise<void> {
    await keeper.load();
    await queue.load();
  }

  await load();
  readClock();
  inbox.start();
  const stops = [followDevice(inbox), clock.tick()];

  return {
    id,
    status,
    trouble,
    waiting,
    press: (wish) => queue.add(wish),
    takeOver: () => load().then(() => inbox.start()),
    stop() {
      ended = true;
      timers.clear(asking);
      for (const stop of stops) stop();
      inbox.stop();
      queue.close();
    },
  };
}
