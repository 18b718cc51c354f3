/** RFC 9457 problem documents: the one shape of every error of the API. */
import { PROBLEMS, type Problem, type ProblemCode, type ProblemError } from '../../schemas/api.ts';
import type { Refused, Result } from '../cluster/index.ts';

const titles: Readonly<Record<ProblemCode, string>> = {
  'malformed-body': 'The body could not be read',
  'invalid-configuration': 'The configuration was refused',
  'invalid-value': 'A value was refused',
  unauthorized: 'Not authenticated',
  'not-found': 'There is nothing here',
  'method-not-allowed': 'Not with this method',
  'body-too-large': 'The body is too large',
  'unsupported-media-type': 'The content type is not supported',
  'cluster-exists': 'The cluster exists',
  'cluster-unknown': 'Unknown cluster',
  'node-unknown': 'Unknown node',
  'group-unknown': 'Unknown group',
  'operation-unknown': 'Unknown operation',
  'webhook-unknown': 'Unknown webhook',
  'incident-unknown': 'Unknown incident',
  'revision-mismatch': 'The configuration has changed meanwhile',
  'if-match-required': 'If-Match is required',
  forbidden: 'Not allowed',
  'token-exists': 'The token exists',
  'token-unknown': 'Unknown token',
  'token-invalid': 'The join token is not valid',
  'token-used': 'The join token was used',
  'token-expired': 'The join token has expired',
  'token-wrong-node': 'The join token is for another node',
  'node-exists': 'The node exists',
  'too-many-nodes': 'Too many nodes',
  'node-owns-groups': 'The node runs groups',
  'node-alive': 'The node is alive',
  'not-possible': 'Not possible now',
  'too-many-requests': 'Too many requests',
  'key-unknown': 'The node knows the cluster by another key',
  'nonce-stale': 'The nonce is not good (any more)',
  'signature-invalid': 'The signature does not fit',
  'version-unsupported': 'The protocol version is not served',
  internal: 'The coordinator failed',
};

/** Ends a request with a problem document; thrown by handlers, rendered in worker/index.ts. */
export class ProblemException extends Error {
  override name = 'ProblemException';
  readonly refused: Refused;
  readonly headers: Readonly<Record<string, string>>;

  constructor(refused: Refused, headers: Readonly<Record<string, string>> = {}) {
    super(refused.detail);
    this.refused = refused;
    this.headers = headers;
  }
}

export function problem(
  code: ProblemCode,
  detail: string,
  errors?: readonly ProblemError[],
  headers?: Readonly<Record<string, string>>,
): ProblemException {
  return new ProblemException({ code, detail, ...(errors === undefined ? {} : { errors }) }, headers);
}

/** The value of a call of an object, or its refusal thrown. */
export function unwrap<T>(result: Result<T>, headers?: Readonly<Record<string, string>>): T {
  if (result.ok) return result.value;
  throw new ProblemException(result.problem, headers);
}

export function problemResponse({ refused, headers }: ProblemException): Response {
  const { code, detail, errors } = refused;
  const status = PROBLEMS[code];
  const body: Problem = {
    type: `urn:holdfast:problem:${code}`,
    title: titles[code],
    status,
    code,
    detail,
    ...(errors === undefined ? {} : { errors: [...errors] }),
  };
  return new Response(`${JSON.stringify(body)}\n`, {
    status,
    headers: { 'content-type': 'application/problem+json', ...headers },
  });
}
