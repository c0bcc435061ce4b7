import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Plugin } from "vite";

/**
 * One service worker per installable page, made at build time: it keeps that page's shell (its HTML
 * and everything the HTML loads), so that the page opens without a network.
 *
 * @param pages page name (the HTML file's) to the address it is served at
 */
export function appShell(pages: Record<string, string>): Plugin {
  return {
    name: "doorstep-app-shell",
    apply: "build",
    enforce: "post",
    generateBundle: {
      order: "post",
      handler(_options, bundle) {
        const template = readFileSync(new URL("../src/shared/worker.js", import.meta.url), "utf8");
        for (const [page, address] of Object.entries(pages)) {
          const html = bundle[`${page}.html`];
          if (html?.type !== "asset") throw new Error(`${page}.html was not built`);
          const files = new Set<string>();
          for (const match of String(html.source).matchAll(/(?:src|href)="(\/[^"]+)"/g)) {
            files.add(match[1] as string);
          }
          for (const output of Object.values(bundle)) {
            if (output.type !== "chunk" || !files.has(`/${output.fileName}`)) continue;
            follow(bundle, output.fileName, files);
          }
          const version = createHash("sha256")
            .update(String(html.source))
            .update([...files].sort().join("\n"))
            .digest("hex")
            .slice(0, 12);
          this.emitFile({
            type: "asset",
            fileName: `${page}-worker.js`,
            source: template
              .replace("__NAME__", `doorstep-${page}`)
              .replace("__VERSION__", version)
              .replace("__PAGE__", address)
              .replace('"__FILES__"', JSON.stringify([...files].sort())),
          });
        }
      },
    },
  };
}

/** Adds a chunk, what it imports (lazily too), and its style sheets and assets. */
function follow(
  bundle: Record<string, { type: string; fileName: string }>,
  fileName: string,
  files: Set<string>,
  seen = new Set<string>(),
): void {
  if (seen.has(fileName)) return;
  seen.add(fileName);
  const output = bundle[fileName] as unknown as {
    type: string;
    imports?: string[];
    dynamicImports?: string[];
    viteMetadata?: { importedCss: Set<string>; importedAssets: Set<string> };
  };
  if (!output || output.type !== "chunk") return;
  files.add(`/${fileName}`);
  for (const css of output.viteMetadata?.importedCss ?? []) files.add(`/${css}`);
  for (const asset of output.viteMetadata?.importedAssets ?? []) files.add(`/${asset}`);
  for (const next of [...(output.imports ?? []), ...(output.dynamicImports ?? [])]) {
    follow(bundle, next, files, seen);
  }
}
