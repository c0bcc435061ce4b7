/** The rider's document on the phone: written with its inbox position, whole or not at all. */
import type { DeviceDb, Position } from "@shared/db";
import type { DeviceKeeper } from "@shared/device";
import type { Batch } from "@shared/inbox";
import type { Frames } from "@shared/socket";
import { shallowRef, type ShallowRef } from "vue";
import { emptyDocument, fold, type News, newsOf, type Snapshot } from "./document";

/** What a stored batch brought. */
export interface Change {
  /** It has the run as the service holds it, with everything that was answered so far. */
  isWhole: boolean;
  news: readonly News[];
  before: Snapshot;
  after: Snapshot;
}

export class RiderKeeper implements DeviceKeeper {
  readonly document: ShallowRef<Snapshot>;
  /** Of `document`: another window may have stored a later one since. */
  #position: Position | null = null;

  constructor(
    private readonly db: DeviceDb,
    riderId: string,
    private readonly onChange: (change: Change) => void,
  ) {
    this.document = shallowRef<Snapshot>(emptyDocument(riderId));
  }

  async load(): Promise<void> {
    const facts = this.db.transaction("facts").store;
    const [kept, position] = await Promise.all([facts.get("document"), facts.get("position")]);
    if (kept !== undefined) this.document.value = kept as Snapshot;
    this.#position = (position as Position | undefined) ?? null;
  }

  async position(): Promise<Position | null> {
    return this.#position;
  }

  async write({ snapshot, events, position }: Batch): Promise<void> {
    const news: News[] = [];
    const before = this.document.value;
    let after = snapshot ? (snapshot.data as Snapshot) : before;
    for (const event of events as Frames["rider.EventFrame"][]) {
      const heard = newsOf(event);
      if (heard) news.push(heard);
      after = fold(after, event);
    }
    const work = this.db.transaction("facts", "readwrite", { durability: "strict" });
    await Promise.all([work.store.put(after, "document"), work.store.put(position, "position"), work.done]);
    this.document.value = after;
    this.#position = position;
    const isWhole = snapshot !== undefined || events.some((event) => event.type === "run.changed");
    this.onChange({ isWhole, news, before, after });
  }
}
