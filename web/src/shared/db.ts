/** What a page keeps on its device, in IndexedDB: its place in the inbox, what it folded, its queue. */
import { type DBSchema, type IDBPDatabase, openDB } from "idb";

export interface Position {
  epoch: string;
  /** The last offset whose message is stored here. */
  offset: number;
}

/** One action of a person, kept until the service has answered it. */
export interface StoredAction {
  /** Its Idempotency-Key. */
  key: string;
  /** Order of pressing within one life of a page; after `at`, which orders those of all. */
  seq: number;
  /** Actions of one lane go out one after the other, in order. */
  lane: string;
  kind: string;
  method: "POST" | "PUT";
  path: string;
  body: unknown;
  /** Service time when it was pressed, epoch milliseconds. */
  at: number;
  /** What the page needs to show it: which ticket, which line. */
  about: Record<string, unknown>;
}

interface DeviceSchema extends DBSchema {
  facts: { key: string; value: unknown };
  items: { key: string; value: unknown };
  actions: { key: string; value: StoredAction };
}

export type DeviceDb = IDBPDatabase<DeviceSchema>;

/** The device's database for one page ("tablet", "rider"). */
export function openDevice(page: string): Promise<DeviceDb> {
  return openDB<DeviceSchema>(`doorstep-${page}`, 2, {
    async upgrade(db, from, _to, work) {
      if (from < 1) {
        db.createObjectStore("facts");
        db.createObjectStore("items");
      }
      // They were kept by `seq`, which two windows of one device both count.
      const kept = from < 1 ? [] : await work.objectStore("actions").getAll();
      if (from === 1) db.deleteObjectStore("actions");
      const actions = db.createObjectStore("actions", { keyPath: "key" });
      await Promise.all(kept.map((action) => actions.put(action)));
    },
  });
}

/** The id of this device, the same for ever; the service knows a device by it. */
export async function deviceId(db: DeviceDb, prefix: string): Promise<string> {
  const kept = await db.get("facts", "device_id");
  if (typeof kept === "string") return kept;
  const bytes = crypto.getRandomValues(new Uint8Array(6));
  const made = `${prefix}-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  await db.put("facts", made, "device_id");
  return made;
}

/** The device is `subject`'s from now on: what it held of anybody else is forgotten. */
export async function ownedBy(db: DeviceDb, subject: string): Promise<void> {
  if ((await db.get("facts", "subject")) !== subject) await forgetSubject(db);
  await db.put("facts", subject, "subject");
}

/** Forget everything that belongs to the subject (signed out, or paired with another store). */
export async function forgetSubject(db: DeviceDb): Promise<void> {
  const work = db.transaction(["facts", "items", "actions"], "readwrite");
  await Promise.all([
    work.objectStore("facts").delete("position"),
    work.objectStore("facts").delete("subject"),
    work.objectStore("facts").delete("document"),
    work.objectStore("facts").delete("heard_at"),
    work.objectStore("items").clear(),
    work.objectStore("actions").clear(),
    work.done,
  ]);
}
