import { describe, expect, it } from "vitest";
import { Api } from "../src/shared/api";
import { type Debt, Remittance } from "../src/shared/remittance";

const PATH = "/v1/riders/r-1/remittances";
const refusal = (status: number, code: string, extra: object = {}) =>
  new Response(JSON.stringify({ code, detail: "d", ...extra }), { status });
const away = (status = 503, code = "outcome-unknown") => Array.from({ length: 4 }, () => refusal(status, code));

/** Answers in the order of the requests; `now` is what a look at the debt shows. */
function taking(answers: (Response | Error)[], now: Debt | null = null) {
  const sent: { key: string | undefined; body: unknown }[] = [];
  const api = new Api("store", {
    fetch: (async (_url: string, init: RequestInit) => {
      const headers = init.headers as Record<string, string>;
      sent.push({ key: headers["idempotency-key"], body: JSON.parse(init.body as string) });
      const answer = answers.shift() ?? Response.json({}, { status: 201 });
      if (answer instanceof Error) throw answer;
      return answer;
    }) as typeof fetch,
    sleep: async () => undefined,
  });
  let looks = 0;
  const remittance = new Remittance(api, PATH, { owed: 900, currency: "EUR" }, async () => ((looks += 1), now));
  return { remittance, sent, keys: () => new Set(sent.map(({ key }) => key)).size, looks: () => looks };
}

describe("taking a rider's cash", () => {
  it("says what was seen as owed, and a reason only for a difference", async () => {
    const exact = taking([]);
    expect(await exact.remittance.take(900, "left over")).toEqual({ kind: "taken" });
    expect(exact.sent[0]?.body).toEqual({ amount: 900, owed: 900 });
    const short = taking([]);
    await short.remittance.take(850, " torn note ");
    expect(short.sent[0]?.body).toEqual({ amount: 850, owed: 900, reason: "torn note" });
  });

  it("is another one after a final refusal", async () => {
    const { remittance, keys, looks } = taking([refusal(422, "reason-required")]);
    expect(await remittance.take(850, "")).toMatchObject({ kind: "refused", problem: { code: "reason-required" } });
    expect(await remittance.take(850, "torn note")).toEqual({ kind: "taken" });
    expect(keys()).toBe(2);
    expect(looks()).toBe(0);
  });

  it.each([
    ["the outcome is unknown", away()],
    ["a proxy gave up", away(504, "unexpected-answer")],
    ["the service made a mistake", [refusal(500, "internal-error")]],
    ["nothing came back", Array.from({ length: 4 }, () => new TypeError("no network"))],
  ])("is the same one again when %s and as much is owed", async (_why, answers) => {
    const { remittance, sent, keys, looks } = taking(answers, { owed: 900, currency: "EUR" });
    expect(await remittance.take(900, "")).toEqual({ kind: "unknown" });
    expect([looks(), remittance.over]).toEqual([1, false]);
    expect(await remittance.take(900, "")).toEqual({ kind: "taken" });
    expect(keys()).toBe(1);
    expect(sent.at(-1)?.body).toEqual(sent[0]?.body);
  });

  it("is the same one again when what is owed cannot be read", async () => {
    const { remittance, keys } = taking(away());
    expect(await remittance.take(900, "")).toEqual({ kind: "unknown" });
    expect(remittance.debt).toEqual({ owed: 900, currency: "EUR" });
    await remittance.take(900, "");
    expect(keys()).toBe(1);
  });

  it("ends when another sum is owed after an unknown outcome: it may be booked", async () => {
    const { remittance } = taking(away(), { owed: 0, currency: "EUR" });
    expect(await remittance.take(900, "")).toEqual({ kind: "elsewhere" });
    expect([remittance.over, remittance.debt.owed]).toEqual([true, 0]);
  });

  it("ends when its key was used with another sum, and keeps the key", async () => {
    const reused = refusal(422, "idempotency-key-reused");
    const { remittance, keys, looks } = taking([...away(), reused], { owed: 900, currency: "EUR" });
    await remittance.take(900, "");
    expect(await remittance.take(850, "counted again")).toEqual({ kind: "elsewhere" });
    expect([keys(), looks(), remittance.over]).toEqual([1, 2, true]);
  });

  it("shows the new sum, and goes against that one with a key of its own", async () => {
    const { remittance, sent, keys } = taking([refusal(409, "owed-changed", { owed: 1_500, currency: "CHF" })]);
    expect(await remittance.take(900, "")).toEqual({ kind: "changed" });
    expect(remittance.debt).toEqual({ owed: 1_500, currency: "CHF" });
    expect(remittance.over).toBe(false);
    await remittance.take(1_500, "");
    expect(sent[1]?.body).toEqual({ amount: 1_500, owed: 1_500 });
    expect(keys()).toBe(2);
  });

  it("ends when nothing is owed any more: somebody else has taken it", async () => {
    const { remittance } = taking([refusal(409, "owed-changed", { owed: 0, currency: "EUR" })]);
    expect(await remittance.take(900, "")).toEqual({ kind: "changed" });
    expect([remittance.over, remittance.debt.owed]).toEqual([true, 0]);
  });
});
