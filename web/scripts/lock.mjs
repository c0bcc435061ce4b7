// `npm run lock`: writes package-lock.json for every platform, without naming a registry.
import { execSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync, mkdtempSync, copyFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

// In an empty folder: what happens to be installed here must not decide what is in the lock.
const folder = mkdtempSync(join(tmpdir(), "doorstep-lock-"));
try {
  for (const name of ["package.json", ".npmrc"]) copyFileSync(name, join(folder, name));
  execSync("npm install --package-lock-only", { cwd: folder, stdio: "inherit" });
  const lock = JSON.parse(readFileSync(join(folder, "package-lock.json"), "utf8"));
  for (const entry of Object.values(lock.packages)) delete entry.resolved;
  addPlatforms(lock.packages);
  lock.packages = Object.fromEntries(
    Object.entries(lock.packages).sort(([one], [other]) => (one < other ? -1 : 1)),
  );
  writeFileSync("package-lock.json", `${JSON.stringify(lock, null, 2)}\n`);
} finally {
  rmSync(folder, { recursive: true });
}

/** A registry (a mirror) may lack builds for other platforms; npm then leaves them out of the lock,
 * and refuses it elsewhere. Their version is known, and their names say what they are for. */
function addPlatforms(packages) {
  const platform = /-(android|darwin|freebsd|linux|openbsd|openharmony|win32)-(arm64|arm|ia32|loong64|ppc64|riscv64|s390x|x64)(?:-(\w+))?$/;
  for (const entry of Object.values(packages)) {
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      const key = `node_modules/${name}`;
      const [, os, cpu, kind] = platform.exec(name) ?? [];
      if (packages[key] || !os || !/^\d/.test(version)) continue;
      const libc = os === "linux" ? { libc: [kind?.startsWith("musl") ? "musl" : "glibc"] } : {};
      packages[key] = { version, cpu: [cpu], dev: true, ...libc, optional: true, os: [os] };
    }
  }
}
