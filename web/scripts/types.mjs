// Makes src/shared/generated/ from docs/protocol: the types of HTTP documents and of socket
// messages are written once, in the service. Run by every npm script that needs them.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";
import { parse } from "yaml";

const protocol = new URL("../../docs/protocol/", import.meta.url);
const out = new URL("../src/shared/generated/", import.meta.url);
const head = (from) => `// Made by \`npm run types\` from docs/protocol/${from}. Do not edit.\n`;

const openapi = JSON.parse(await readFile(new URL("openapi.json", protocol), "utf8"));
const socket = parse(await readFile(new URL("socket.yaml", protocol), "utf8"), { maxAliasCount: -1 });

await mkdir(out, { recursive: true });
await keep("api.ts", head("openapi.json") + astToString(await openapiTS(openapi)));
await keep("socket.ts", head("socket.yaml") + astToString(await openapiTS(asOpenApi(socket))) + constants(socket));

/** AsyncAPI's schemas are JSON Schema, as OpenAPI 3.1's are. */
function asOpenApi({ components: { schemas } }) {
  for (const schema of Object.values(schemas)) {
    for (const part of schema.allOf ?? []) {
      // A frame has all its members; the parts of an `allOf` only say more about them.
      for (const one of [part, ...(part.oneOf ?? [])]) {
        if (one.properties) one.required = Object.keys(one.properties);
      }
    }
  }
  return {
    openapi: "3.1.0",
    info: { title: "Doorstep sockets", version: "1" },
    paths: {},
    components: { schemas },
  };
}

function constants(document) {
  const codes = JSON.stringify(document["x-close-codes"], null, 2);
  const limits = JSON.stringify(document["x-limits"]);
  return `
/** What a close code means, and what a client does then. */
export const CLOSE_CODES: Readonly<
  Record<number, { name: string; then: "resume" | "re-authenticate" | "fatal" }>
> = ${codes};

export const LIMITS = ${limits} as const;
`;
}

async function keep(name, text) {
  const file = new URL(name, out);
  const before = await readFile(file, "utf8").catch(() => "");
  if (before !== text) await writeFile(file, text);
}
