/** A topic on its device (docs/protocol/socket.md): one document, as snapshot and merge patches. */
import { mergePatch } from "./patch";
import { SocketClient, type SocketOptions } from "./socket";

export interface TopicListener<T> {
  /** The document as it is now; the same object is changed in place by later deltas. */
  onDocument(document: T): void;
  onLatest?(key: string, value: unknown): void;
}

/** A topic's document, kept current. */
export class TopicClient<T extends object> extends SocketClient {
  #document: Record<string, unknown> | null = null;
  #head = -1;

  constructor(
    options: SocketOptions,
    private readonly listener: TopicListener<T>,
    /** The document over HTTP, where it can be had so too. */
    private readonly read?: () => Promise<T>,
  ) {
    super(options);
  }

  protected poll(valid: () => boolean): Promise<void> | null {
    if (!this.read) return null;
    return this.read().then((document) => {
      if (valid()) this.listener.onDocument(document);
    });
  }

  protected async greeting(): Promise<Record<string, unknown>> {
    return { frame: "auth", token: "" };
  }

  protected receive(frame: Record<string, unknown>): void {
    switch (frame["frame"]) {
      case "snapshot":
        this.#document = frame["data"] as Record<string, unknown>;
        this.#head = Number(frame["head"]);
        this.listener.onDocument(this.#document as T);
        this.caughtUp();
        break;
      case "delta": {
        const head = Number(frame["head"]);
        if (!this.#document || head <= this.#head) break;
        if (head !== this.#head + 1) {
          this.restart();
          break;
        }
        this.#head = head;
        mergePatch(this.#document, frame["data"] as Record<string, unknown>);
        this.listener.onDocument(this.#document as T);
        break;
      }
      case "latest":
        this.listener.onLatest?.(String(frame["key"]), frame["data"]);
        break;
      case "heartbeat":
        this.nudge();
        break;
    }
  }

  protected nudge(): void {
    this.send({ frame: "heartbeat" });
  }

  protected lost(): void {
    this.#head = -1;
  }
}
