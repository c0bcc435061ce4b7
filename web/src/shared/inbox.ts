/** An inbox over HTTP, for networks that block WebSockets. */
import type { Api, Documents } from "./api";
import type { InboxOverHttp } from "./socket";

const MESSAGES_MAX = 500;
/** To be asked with no epoch that any inbox has: the answer is a snapshot. */
const NO_EPOCH = "none";

/** `path`: of the owner, such as `/v1/stores/s1`. */
export function inboxOverHttp(api: Api, path: string, deviceId: string): InboxOverHttp {
  return {
    read(after) {
      const query = new URLSearchParams({
        after: String(after?.offset ?? 0),
        epoch: after?.epoch ?? NO_EPOCH,
        limit: String(MESSAGES_MAX),
      });
      return api.get<Documents["InboxPage"]>(`${path}/inbox?${query}`, { attempts: 1 });
    },
    async acknowledge(offset) {
      const body = { device_id: deviceId, offset };
      await api.post(`${path}/inbox/acknowledgements`, body, { attempts: 1 });
    },
  };
}
