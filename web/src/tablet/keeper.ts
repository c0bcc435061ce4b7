/** The tablet's state on the device: written with its inbox position, whole or not at all. */
import type { DeviceDb, Position } from "@shared/db";
import type { Batch, InboxStore } from "@shared/inbox";
import { ref } from "vue";
import { emptyState, type Finished, fold, type Notice, type TabletState, type Ticket } from "./state";

interface Document {
  paused: boolean;
  paused_until: string | null;
  paused_reason: string;
  paused_items: Record<string, string | null>;
  notices: Notice[];
}

const HEARD_EVERY_MS = 10_000;

export class Keeper implements InboxStore {
  state: TabletState = emptyState();
  /** Service time up to which everything is stored, epoch milliseconds; 0: not known. */
  readonly heardAt = ref(0);
  #heardAtStored = 0;
  #position: Position | null = null;

  constructor(
    private readonly db: DeviceDb,
    private readonly onChange: (state: TabletState, arrived: Ticket[]) => void,
    private readonly now: () => number,
  ) {}

  /** What an earlier life of the page or another window stored. */
  async load(): Promise<void> {
    const work = this.db.transaction(["facts", "items"]);
    const [document, position, heardAt, keys, values] = await Promise.all([
      work.objectStore("facts").get("document") as Promise<Document | undefined>,
      work.objectStore("facts").get("position") as Promise<Position | undefined>,
      work.objectStore("facts").get("heard_at") as Promise<number | undefined>,
      work.objectStore("items").getAllKeys(),
      work.objectStore("items").getAll(),
    ]);
    const state = { ...emptyState(), ...document };
    keys.forEach((key, index) => {
      if (key.startsWith("t:")) state.tickets.set(key.slice(2), values[index] as Ticket);
      else if (key.startsWith("f:")) state.finished.set(key.slice(2), values[index] as Finished);
    });
    this.state = state;
    this.#position = position ?? null;
    this.heardAt.value = this.#heardAtStored = heardAt ?? 0;
    this.onChange(state, []);
  }

  /** Of `state`: another window may have stored a later one since. */
  async position(): Promise<Position | null> {
    return this.#position;
  }

  current(): void {
    this.heardAt.value = this.now();
    // Not every second: after a reload it may be told a little too old, never too new.
    if (Math.abs(this.heardAt.value - this.#heardAtStored) < HEARD_EVERY_MS) return;
    this.#heardAtStored = this.heardAt.value;
    void this.db.put("facts", this.#heardAtStored, "heard_at").catch(() => undefined);
  }

  async write(batch: Batch): Promise<void> {
    const before = this.state;
    const { state, arrived } = fold(before, batch);
    // People see it at once; the acknowledgement waits for the disk.
    this.state = state;
    this.onChange(state, arrived);
    try {
      await this.#store(before, state, batch.position);
      this.#position = batch.position;
    } catch (error) {
      await this.load();
      throw error;
    }
  }

  /** A person has read it. */
  async dismiss(fulfilmentId: string): Promise<void> {
    const notices = this.state.notices.filter((one) => one.fulfilment_id !== fulfilmentId);
    this.state = { ...this.state, notices };
    this.onChange(this.state, []);
    await this.db.put("facts", documentOf(this.state), "document");
  }

  async #store(before: TabletState, state: TabletState, position: Position): Promise<void> {
    const work = this.db.transaction(["facts", "items"], "readwrite", { durability: "strict" });
    const items = work.objectStore("items");
    const writes: Promise<unknown>[] = [
      work.objectStore("facts").put(position, "position"),
      work.objectStore("facts").put(documentOf(state), "document"),
      ...changes("t:", before.tickets, state.tickets, items),
      ...changes("f:", before.finished, state.finished, items),
    ];
    await Promise.all([...writes, work.done]);
  }
}

interface Items {
  put(value: unknown, key: string): Promise<unknown>;
  delete(key: string): Promise<unknown>;
}

function* changes<T>(
  prefix: string,
  before: ReadonlyMap<string, T>,
  after: ReadonlyMap<string, T>,
  items: Items,
): Generator<Promise<unknown>> {
  for (const [id, value] of after) {
    if (before.get(id) !== value) yield items.put(value, prefix + id);
  }
  for (const id of before.keys()) if (!after.has(id)) yield items.delete(prefix + id);
}

function documentOf(state: TabletState): Document {
  const { paused, paused_until, paused_reason, paused_items, notices } = state;
  return { paused, paused_until, paused_reason, paused_items, notices };
}
