/** A node as far as the coordinator can tell: a key, signatures and reports. It decides nothing and runs nothing. */
import { generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto';
import { LEASE_PROFILES, PROTOCOL_MAJOR, PROTOCOL_MINOR } from '../../schemas/limits.ts';
import {
  fingerprintOf,
  joinText,
  newSessionKey,
  publicHalf,
  requestText,
  SIGNATURE_HEADERS,
  sha256Hex,
  signText,
} from '../../schemas/session.ts';
import type { Report } from '../../schemas/wire.ts';
import type { Handshake } from './socket.ts';

export class BenchNode {
  readonly name: string;
  readonly incarnation = randomUUID();
  readonly publicKey: string;
  readonly #privateKey: KeyObject;

  constructor(name: string) {
    this.name = name;
    this.#privateKey = generateKeyPairSync('ed25519').privateKey;
    this.publicKey = publicHalf(this.#privateKey);
  }

  /** The body of a request to join. */
  enrolment(cluster: string, token: string): Record<string, string> {
    const proof = signText(this.#privateKey, joinText(cluster, this.name, this.publicKey, token));
    return { token, node: this.name, publicKey: this.publicKey, proof };
  }

  /** What opens a WebSocket and begins its session. @param clusterKey public key of the cluster. */
  upgrade(cluster: string, clusterKey: string, path: string, nonce: string): Handshake {
    const own = newSessionKey();
    const who = { node: this.name, incarnation: this.incarnation, nonce };
    const trusted = fingerprintOf(clusterKey);
    const bodySha256 = sha256Hex(own.publicKey);
    const text = requestText({ ...who, method: 'GET', path, clusterKey: trusted, bodySha256 });
    const headers = {
      [SIGNATURE_HEADERS.node]: this.name,
      [SIGNATURE_HEADERS.incarnation]: this.incarnation,
      [SIGNATURE_HEADERS.nonce]: nonce,
      [SIGNATURE_HEADERS.clusterKey]: trusted,
      [SIGNATURE_HEADERS.sessionKey]: own.publicKey,
      [SIGNATURE_HEADERS.signature]: signText(this.#privateKey, text),
    };
    return { headers, own, who: { ...who, cluster }, clusterKey };
  }

  report(change: Partial<Report> & { readonly id: string }): Report {
    return {
      type: 'report',
      version: [PROTOCOL_MAJOR, PROTOCOL_MINOR],
      node: this.name,
      incarnation: this.incarnation,
      agentVersion: '0.0.0-bench',
      history: null,
      revision: 0,
      quarantineMs: 0,
      leaseMs: LEASE_PROFILES.default.leaseMs,
      leases: [],
      claims: [],
      releases: [],
      ...change,
    };
  }
}
