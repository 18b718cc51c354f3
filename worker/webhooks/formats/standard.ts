/** Standard Webhooks 1.0: `{type, timestamp, data}`, signed. Types have no hyphens there: `group.lease-expired` is `group.lease_expired`. */
import type { Format } from './format.ts';

export const standard: Format = {
  takes: () => true,
  body: (notice) => ({ type: notice.kind.replaceAll('-', '_'), timestamp: notice.at, data: notice }),
  signed: true,
};
