/** The device's session: an HttpOnly cookie that pairing sets. The page never sees a token. */
import { ref } from "vue";
import { type Api, ApiProblem, type Documents, type Role } from "./api";

export type Identity = Documents["Identity"];

/** Why this device was signed out, for the pairing screen: `revoked` by whoever unpaired it from
 * afar, `expired` by time; "" when it was never paired or signed out here. */
export const ended = ref<"" | "revoked" | "expired">("");

const WHY: Readonly<Record<string, typeof ended.value>> = {
  "session-ended": "revoked",
  "token-expired": "expired",
};

/** Who this device speaks for; null when it is not paired (any more). Renews an ageing session. */
export async function whoAmI(api: Api): Promise<Identity | null> {
  try {
    const identity = await api.get<Identity>("/v1/devices/me", { attempts: 2 });
    ended.value = "";
    return identity;
  } catch (error) {
    if (error instanceof ApiProblem && error.status === 401) {
      ended.value = WHY[error.code] ?? "";
      return null;
    }
    throw error;
  }
}

/** Redeem a one-time code. The same key must be used when a lost answer is asked for again. */
export function pair(api: Api, role: Role, code: string, deviceName: string, key: string): Promise<Identity> {
  const body = { code: normalCode(code), device_name: deviceName, role };
  return api.post<Identity>("/v1/devices/pair", body, { key }).then((identity) => {
    ended.value = "";
    return identity;
  });
}

/** End the session on this device. */
export async function signOut(api: Api): Promise<void> {
  await api.post("/v1/devices/unpair", {}, { attempts: 2 });
}

/** A code as it is compared: capitals and digits, what people confuse made one. */
export function normalCode(text: string): string {
  return text.toUpperCase().replace(/[^0-9A-Z]/g, "").replace(/O/g, "0").replace(/[IL]/g, "1");
}

/** The code of a pairing link (`#pair=…`), which is taken out of the address at once. */
export function codeFromLink(): string {
  const match = /[#&]pair=([^&]+)/.exec(location.hash);
  if (!match) return "";
  history.replaceState(null, "", location.pathname + location.search);
  return normalCode(decodeURIComponent(match[1] as string));
}
