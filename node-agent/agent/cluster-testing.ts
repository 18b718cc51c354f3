/** For the tests beside this file: the coordinator's half of what makes messages authentic, with a key of its own. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import {
  answerText,
  enrolledText,
  fingerprintOf,
  newSessionKey,
  publicHalf,
  Seal,
  SIGNATURE_HEADERS,
  type Successor,
  sealsOf,
  sessionText,
  sha256Hex,
  signText,
  successionText,
} from '../../schemas/session.ts';
import type { Enrolled, Enrolment } from './identity.ts';

const CLUSTER = 'shop';
const HISTORY = 'h1';

type Asked = Pick<IncomingMessage, 'headers' | 'url'>;

export class TestCluster {
  readonly #key: KeyObject = generateKeyPairSync('ed25519').privateKey;

  get clusterKey(): string {
    return publicHalf(this.#key);
  }

  /** Looks like a join token, as far as a node can tell. */
  get token(): string {
    return `hfj1_${fingerprintOf(this.clusterKey)}_0123456789ab_secret`;
  }

  enrolled({ node, publicKey }: Pick<Enrolment, 'node' | 'publicKey'>): Enrolled {
    const signature = signText(this.#key, enrolledText(CLUSTER, node, publicKey, HISTORY));
    return { history: HISTORY, clusterKey: this.clusterKey, signature };
  }

  /** Headers of an answer. @param code of a refusal. */
  signed(asked: Asked, body: string, code?: string): Record<string, string> {
    const text = answerText({
      path: new URL(asked.url ?? '', 'http://any').pathname,
      node: header(asked, 'node') || 'alice',
      request: header(asked, 'request'),
      body: code === undefined ? { sha256: sha256Hex(body) } : { refused: code },
    });
    return { [SIGNATURE_HEADERS.signature]: signText(this.#key, text) };
  }

  /** A session with whoever asks for an upgrade. @returns the first message, and what to open and to seal with. */
  session(asked: Asked): { readonly begin: string; readonly up: Seal; readonly down: Seal } {
    const own = newSessionKey();
    const nodeKey = header(asked, 'sessionKey');
    const text = sessionText({
      cluster: CLUSTER,
      node: header(asked, 'node'),
      incarnation: header(asked, 'incarnation'),
      nonce: header(asked, 'nonce'),
      nodeKey,
      coordinatorKey: own.publicKey,
    });
    const { up, down } = sealsOf(own.key, nodeKey, text);
    const begin = JSON.stringify({ type: 'session', key: own.publicKey, signature: signText(this.#key, text) });
    return { begin, up: new Seal(up), down: new Seal(down) };
  }

  /** Says that this other cluster key follows its own. */
  successor(next: TestCluster): Successor {
    const { clusterKey: publicKey } = next;
    return { publicKey, signature: signText(this.#key, successionText(CLUSTER, publicKey)) };
  }
}

function header({ headers }: Asked, name: keyof typeof SIGNATURE_HEADERS): string {
  return String(headers[SIGNATURE_HEADERS[name]] ?? '');
}

/** The cluster that the nodes of most tests belong to. */
export const testCluster = new TestCluster();
