/** The check-up of a node and of a cluster: facts are read, each is judged by a pure function, and every finding says what to do. */
export type { Owner } from './addresses.ts';
export { clusterFindings } from './cluster.ts';
export { type Declared, fromDocument, fromNodeConfig } from './declared.ts';
export { CHECKS, type Check, exitOf, type Finding, type Level, sayer, worst } from './finding.ts';
export { examineNode } from './node.ts';
export type { PeerFacts } from './peers.ts';
