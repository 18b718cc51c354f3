export { type AgentAnswer, type SignedRequest, signedRequest } from './authentication.ts';
export { shiftClock } from './clock.ts';
export { fromHex, sameBytes, sha256, utf8 } from './encoding.ts';
export { latestVersion, type Migration, migrate, versionOf } from './migrations/index.ts';
export { type Action, Cluster, type InstantAction, type ReadDocument } from './object.ts';
export { timestamp } from './records.ts';
export type { Refused, Result } from './result.ts';
