import vue from "@vitejs/plugin-vue";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { appShell } from "./plugins/app-shell";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Three pages, one build into the Python package; see orchestrator/pages.py for how it is served. */
export default defineConfig({
  base: "/",
  plugins: [vue(), appShell({ tablet: "/tablet", rider: "/rider" })],
  resolve: { alias: { "@shared": here("./src/shared") } },
  build: {
    outDir: here("../orchestrator/static"),
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: {
        tablet: here("./tablet.html"),
        rider: here("./rider.html"),
        monitor: here("./monitor.html"),
      },
    },
  },
  server: {
    proxy: { "/v1": { target: "http://127.0.0.1:8080", ws: true }, "/readyz": "http://127.0.0.1:8080" },
  },
  test: { include: ["tests/**/*.test.ts"], environment: "node" },
});
