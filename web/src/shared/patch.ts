/** JSON Merge Patch ([RFC 7396](https://www.rfc-editor.org/rfc/rfc7396)), in place. */
export function mergePatch(target: Record<string, unknown>, patch: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) {
      delete target[name];
    } else if (isObject(value)) {
      const inner = target[name];
      const into = isObject(inner) ? inner : {};
      mergePatch(into, value);
      target[name] = into;
    } else {
      target[name] = value;
    }
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
