/** A node as far as the coordinator can tell: a key, signatures and reports. It decides nothing and runs nothing. */
import { createHash, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto';
import { joinText } from '../../schemas/api.ts';
import { LEASE_PROFILES, PROTOCOL_MAJOR, PROTOCOL_MINOR } from '../../schemas/limits.ts';
import { type Report, SIGNATURE_HEADERS, signedText } from '../../schemas/wire.ts';

export class BenchNode {
  readonly name: string;
  readonly incarnation = randomUUID();
  readonly publicKey: string;
  readonly #privateKey: KeyObject;

  constructor(name: string) {
    this.name = name;
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    this.#privateKey = privateKey;
    this.publicKey = String(publicKey.export({ format: 'jwk' }).x);
  }

  #sign(text: string): string {
    return sign(null, Buffer.from(text), this.#privateKey).toString('base64url');
  }

  /** The body of a request to join. */
  enrolment(cluster: string, token: string): Record<string, string> {
    const proof = this.#sign(joinText(cluster, this.name, this.publicKey, token));
    return { token, node: this.name, publicKey: this.publicKey, proof };
  }

  /** Headers of an upgrade. */
  upgrade(path: string, nonce: string): Record<string, string> {
    const bodySha256 = createHash('sha256').digest('hex');
    const text = signedText({ method: 'GET', path, node: this.name, incarnation: this.incarnation, nonce, bodySha256 });
    return {
      [SIGNATURE_HEADERS.node]: this.name,
      [SIGNATURE_HEADERS.incarnation]: this.incarnation,
      [SIGNATURE_HEADERS.nonce]: nonce,
      [SIGNATURE_HEADERS.signature]: this.#sign(text),
    };
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
