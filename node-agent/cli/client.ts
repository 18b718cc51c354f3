/**
 * One request to the coordinator over node:http (not fetch: undici costs memory and start-up time), its answer checked against the
 * schema, and every way it can fail turned into what an operator can act on.
 */
import { request as httpRequest, type IncomingHttpHeaders, type RequestOptions } from 'node:http';
import type * as z from 'zod';
import { type Problem, problemSchema } from '../../schemas/api.ts';
import { nameSchema } from '../../schemas/names.ts';
import { isByDate, parseJson, readAnswer, unreachableBecause } from '../system/index.ts';
import type { Connection } from './context.ts';
import { CliError, EXIT, type ExitCode } from './exit.ts';

const CONNECT_TIMEOUT_MS = 5_000;
const ANSWER_TIMEOUT_MS = 20_000;
/** No answer of the API is anywhere near this. */
const MAX_ANSWER_BYTES = 32 * 1024 * 1024;

const CLOCK_ADVICE =
  'if the clock is wrong, set it (timedatectl set-time, or an NTP service) and run the same command again; if it is right, the certificate is to be renewed';

export interface Request {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Below the base, without a leading slash: `v1/clusters`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  /** An object goes as JSON, a text as YAML. */
  readonly body?: object | string;
  readonly headers?: Readonly<Record<string, string>>;
  /** What to do when it does not arrive, or nobody knows whether it did; left out: what fits most commands. */
  readonly advice?: { readonly unreachable: string; readonly unknown: string };
  /** On top of the usual: for a long poll. */
  readonly extraTimeMs?: number;
  readonly signal?: AbortSignal;
}

/** What came back with a 2xx: as it was sent (for --json), and as the schema knows it. */
export interface Answer<T> {
  readonly sent: unknown;
  readonly value: T;
  readonly status: number;
}

/** The coordinator refused: its problem document, kept for whoever can say more about it. */
export class Refused extends CliError {
  readonly problem: Problem;
  /** It was asked without a token. */
  readonly anonymous: boolean;
  constructor(problem: Problem, anonymous: boolean) {
    super(exitOf(problem), problem.detail, nextOf(problem));
    this.problem = problem;
    this.anonymous = anonymous;
  }
}

export class Client {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  get base(): URL {
    return this.#connection.url;
  }

  /** The cluster that commands act on. */
  get cluster(): string {
    const { cluster } = this.#connection;
    if (cluster === undefined)
      throw new CliError(EXIT.notSetUp, 'no cluster is named', {
        next: 'give --cluster, set HOLDFAST_CLUSTER, or save it: holdfast context set --cluster NAME',
      });
    if (!nameSchema.safeParse(cluster).success)
      throw new CliError(EXIT.usage, `“${cluster}” is not the name of a cluster`);
    return cluster;
  }

  /** @throws {CliError} with the exit code and the next step; {@link Refused} when the coordinator said no. */
  async call<T>(schema: z.ZodType<T>, request: Request): Promise<Answer<T>> {
    const answer = await this.#exchange(request);
    const sent = parseJson(answer.text);
    if (answer.status >= 200 && answer.status < 300) {
      const parsed = schema.safeParse(sent);
      if (parsed.success) return { sent, value: parsed.data, status: answer.status };
      throw this.#stranger(answer, parsed.error.issues[0]);
    }
    const problem = problemSchema.safeParse(sent);
    if (problem.success) throw new Refused(problem.data, this.#connection.token === undefined);
    throw this.#stranger(answer);
  }

  #stranger(answer: RawAnswer, issue?: z.core.$ZodIssue): CliError {
    const { location } = answer.headers;
    if (answer.status >= 300 && answer.status < 400 && location !== undefined)
      return new CliError(EXIT.unreachable, `${this.base.origin} sends requests on to ${location}`, {
        next: 'if that is the coordinator, give its URL; Holdfast follows no redirection',
      });
    const at = issue === undefined ? '' : ` (${issue.path.join('.') || 'the body'}: ${issue.message})`;
    const retry = answer.status === 429 || answer.status === 503;
    return new CliError(
      retry ? EXIT.tryAgain : EXIT.unreachable,
      `${this.base.origin} answered ${answer.status} in a way that this version does not understand${at}`,
      {
        next: retry
          ? 'try again in a moment'
          : 'check that the URL is that of a Holdfast coordinator, and that both are of the same version',
      },
    );
  }

  async #exchange(request: Request): Promise<RawAnswer> {
    const url = new URL(request.path, this.base);
    for (const [key, value] of Object.entries(request.query ?? {}))
      if (value !== undefined) url.searchParams.set(key, String(value));
    const body = typeof request.body === 'object' ? JSON.stringify(request.body) : request.body;
    const headers: Record<string, string> = {
      accept: 'application/json, application/problem+json',
      ...request.headers,
    };
    const { token } = this.#connection;
    if (token !== undefined) headers.authorization = `Bearer ${token}`;
    if (body !== undefined) {
      headers['content-type'] = typeof request.body === 'object' ? 'application/json' : 'application/yaml';
      headers['content-length'] = String(Buffer.byteLength(body));
    }
    const { signal } = request;
    try {
      return await send(
        url,
        { method: request.method, headers, ...(signal ? { signal } : {}) },
        body,
        ANSWER_TIMEOUT_MS + (request.extraTimeMs ?? 0),
      );
    } catch (error) {
      if (signal?.aborted) throw error;
      throw transportError(error, url, request);
    }
  }
}

interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** A request that failed on its way; `connected` tells whether it may have arrived. */
class TransportFailure extends Error {
  readonly connected: boolean;
  constructor(cause: Error, connected: boolean) {
    super(cause.message, { cause });
    this.connected = connected;
  }
}

async function send(
  url: URL,
  options: RequestOptions,
  body: string | undefined,
  timeoutMs: number,
): Promise<RawAnswer> {
  const secure = url.protocol === 'https:';
  const start = secure ? (await import('node:https')).request : httpRequest;
  return new Promise((resolve, reject) => {
    let connected = false;
    const outgoing = start(url, { ...options, agent: false });
    const timer = setTimeout(() => outgoing.destroy(new Error('no connection within 5 s')), CONNECT_TIMEOUT_MS);
    const answered = setTimeout(
      () => outgoing.destroy(new Error(`no answer within ${timeoutMs / 1_000} s`)),
      timeoutMs,
    );
    const fail = (error: Error) => {
      clearTimeout(timer);
      clearTimeout(answered);
      reject(new TransportFailure(error, connected));
    };
    outgoing.on('socket', (socket) =>
      socket.once(secure ? 'secureConnect' : 'connect', () => {
        connected = true;
        clearTimeout(timer);
      }),
    );
    outgoing.on('error', fail);
    outgoing.on('response', (incoming) => {
      readAnswer(incoming, MAX_ANSWER_BYTES).then((bytes) => {
        clearTimeout(timer);
        clearTimeout(answered);
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text: bytes.toString('utf8') });
      }, fail);
    });
    outgoing.end(body);
  });
}

function transportError(error: unknown, url: URL, { method, advice }: Request): CliError {
  const failure = error instanceof TransportFailure ? error : undefined;
  const cause = failure?.cause ?? error;
  const reason = unreachableBecause(cause, url);
  if (failure?.connected && method !== 'GET')
    return new CliError(
      EXIT.outcomeUnknown,
      `${url.origin} took the request but did not answer (${reason}); whether it was carried out is unknown`,
      {
        next: advice?.unknown ?? '`holdfast status` and `holdfast events` show whether it was',
        cause,
      },
    );
  return new CliError(EXIT.unreachable, `the coordinator at ${url.origin} cannot be reached: ${reason}`, {
    next: isByDate(cause)
      ? CLOCK_ADVICE
      : (advice?.unreachable ??
        'check the URL, the network and the coordinator; a node that reaches it goes on, any other stops what it runs when its lease ends'),
    cause,
  });
}

function exitOf(problem: Problem): ExitCode {
  if (problem.code === 'invalid-configuration') return EXIT.badConfiguration;
  if (problem.code === 'revision-mismatch') return EXIT.tryAgain;
  if (problem.status === 401 || problem.status === 403) return EXIT.notAllowed;
  if (problem.status === 429 || problem.status === 503) return EXIT.tryAgain;
  if (problem.status >= 500) return EXIT.unreachable;
  return EXIT.refused;
}

function nextOf(problem: Problem): { next?: string } {
  switch (problem.code) {
    case 'unauthorized':
      return {
        next: 'give a token: --token-file FILE or HOLDFAST_TOKEN_FILE (`holdfast serve` wrote one to DIR/admin.token)',
      };
    case 'cluster-unknown':
      return { next: '`holdfast cluster list` shows the clusters, `holdfast cluster create NAME` makes one' };
    case 'revision-mismatch':
      return { next: 'look at the new configuration (`holdfast config get`) and run the command again' };
    default:
      return {};
  }
}
