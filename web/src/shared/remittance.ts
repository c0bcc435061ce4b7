/** Taking a rider's cash: booked once, and only against the sum that the person saw as owed. */
import { type Api, ApiProblem, newKey, Unreachable } from "./api";

/** What a rider owes, in minor units of `currency`. */
export interface Debt {
  readonly owed: number;
  readonly currency: string;
}

/**
 * `taken`: booked. `changed`: nothing was booked, another sum is owed. `unknown`: it may be booked;
 * the same try can be repeated. `elsewhere`: whether this one is booked cannot be told from here, so
 * that the person looks at what is owed and begins anew. `refused`: nothing was booked.
 */
export type Outcome =
  | { readonly kind: "taken" | "changed" | "unknown" | "elsewhere" }
  | { readonly kind: "refused"; readonly problem: ApiProblem };

/** What a failure tells of the booking. Only after a final answer is the next try another one. */
export function failureOf(error: ApiProblem | Unreachable): "changed" | "refused" | "unknown" | "elsewhere" {
  if (error instanceof Unreachable || error.retryable || error.status >= 500) return "unknown";
  if (error.code === "owed-changed") return "changed";
  return error.code === "idempotency-key-reused" || error.code === "already-done" ? "elsewhere" : "refused";
}

/** One person's taking of one rider's cash, from the first look to the booking. */
export class Remittance {
  #key = newKey();
  #debt: Debt;
  #over = false;

  /** `read` asks the service what is owed now; null when that cannot be known. */
  constructor(
    private readonly api: Pick<Api, "post">,
    private readonly path: string,
    debt: Debt,
    private readonly read: () => Promise<Debt | null>,
  ) {
    this.#debt = debt;
  }

  /** What is owed, as last seen: it goes with every try. */
  get debt(): Debt {
    return this.#debt;
  }

  /** Nothing more may be sent from here: what the person counted may be booked already. */
  get over(): boolean {
    return this.#over;
  }

  /** `amount` as counted; `reason` only goes with a difference. Throws what is no answer's fault. */
  async take(amount: number, reason: string): Promise<Outcome> {
    const { owed } = this.#debt;
    const body = { amount, owed, ...(amount !== owed && { reason: reason.trim() }) };
    try {
      await this.api.post(this.path, body, { key: this.#key });
      this.#over = true;
      return { kind: "taken" };
    } catch (error) {
      if (!(error instanceof ApiProblem || error instanceof Unreachable)) throw error;
      return this.#failed(error);
    }
  }

  async #failed(error: ApiProblem | Unreachable): Promise<Outcome> {
    const kind = failureOf(error);
    if (kind === "unknown" || kind === "elsewhere") return this.#lookAnew(kind);
    this.#key = newKey();
    const problem = error as ApiProblem;
    if (kind === "refused") return { kind, problem };
    const { owed, currency } = problem.extra;
    if (typeof owed === "number") {
      this.#debt = { owed, currency: typeof currency === "string" && currency ? currency : this.#debt.currency };
    }
    this.#over = this.#debt.owed === 0;
    return { kind };
  }

  async #lookAnew(kind: "unknown" | "elsewhere"): Promise<Outcome> {
    const before = this.#debt.owed;
    this.#debt = (await this.read()) ?? this.#debt;
    this.#over = kind === "elsewhere" || this.#debt.owed !== before;
    return { kind: this.#over ? "elsewhere" : "unknown" };
  }
}
