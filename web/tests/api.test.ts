import { describe, expect, it } from "vitest";
import { Api, ApiProblem, Unreachable } from "../src/shared/api";

function api(...answers: (Response | Error)[]) {
  const sent: { url: string; init: RequestInit }[] = [];
  const pauses: number[] = [];
  const made = new Api("store", {
    fetch: (async (url: string, init: RequestInit) => {
      sent.push({ url, init });
      const answer = answers.shift() ?? Response.json({});
      if (answer instanceof Error) throw answer;
      return answer;
    }) as typeof fetch,
    sleep: async (ms) => void pauses.push(ms),
    random: () => 0.5,
  });
  const headers = () => sent.map(({ init }) => init.headers as Record<string, string>);
  return { api: made, sent, pauses, headers };
}

const problem = (status: number, code: string, headers: Record<string, string> = {}) =>
  new Response(JSON.stringify({ code, detail: "d", status, short: { tea: 1 } }), { status, headers });

describe("the HTTP client", () => {
  it("says for which role it comes and keeps a POST's key over repeats", async () => {
    const { api: it_, headers } = api(new TypeError("no network"), problem(503, "busy"), Response.json({ ok: 1 }));
    expect(await it_.post("/v1/x", {})).toEqual({ ok: 1 });
    const keys = headers().map((one) => one["idempotency-key"]);
    expect(keys.length).toBe(3);
    expect(new Set(keys).size).toBe(1);
    expect(headers()[0]?.["doorstep-requested-with"]).toBe("store");
  });

  it("gives a refusal with its code and facts, at once", async () => {
    const { api: it_, sent } = api(problem(422, "short-stock"));
    const error = await it_.post("/v1/x").catch((one: unknown) => one);
    expect(error).toBeInstanceOf(ApiProblem);
    expect(error).toMatchObject({ status: 422, code: "short-stock", extra: { short: { tea: 1 } } });
    expect(sent.length).toBe(1);
  });

  it("waits as long as the service asks", async () => {
    const { api: it_, pauses } = api(problem(503, "busy", { "retry-after": "3" }));
    await it_.get("/v1/x");
    expect(pauses).toEqual([3_000]);
  });

  it("gives up as unreachable after its attempts", async () => {
    const { api: it_, sent } = api(new TypeError("a"), new TypeError("b"));
    await expect(it_.get("/v1/x", { attempts: 2 })).rejects.toBeInstanceOf(Unreachable);
    expect(sent.length).toBe(2);
  });

  it("does not mistake a proxy's page for an answer", async () => {
    const { api: it_ } = api(new Response("<html>Bad request</html>", { status: 400 }));
    await expect(it_.get("/v1/x")).rejects.toMatchObject({ code: "unexpected-answer", status: 400 });
  });
});
