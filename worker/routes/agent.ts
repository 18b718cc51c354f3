/** The agents' side of the API. What they sign is verified by the cluster's object, which knows their keys and its nonces. */
import * as z from 'zod';
import { enrolSchema, nonceRequestSchema, PROBLEMS } from '../../schemas/api.ts';
import { MAX_AGENT_MESSAGE_BYTES } from '../../schemas/limits.ts';
import { SIGNATURE_HEADERS } from '../../schemas/wire.ts';
import { type AgentAnswer, type SignedRequest, signedRequest } from '../cluster/index.ts';
import { readBytes, readJson } from './body.ts';
import { clusterOf, type Handlers, pathPart, type RequestContext } from './context.ts';
import { ProblemException, problem, unwrap } from './problem.ts';

const refusedSchema = z.object({
  code: z.enum(Object.keys(PROBLEMS) as [keyof typeof PROBLEMS, ...(keyof typeof PROBLEMS)[]]),
  detail: z.string(),
});

export const agent = {
  'POST /v1/clusters/:cluster/agent/enrol': async (c) => {
    const request = await readJson(c, enrolSchema);
    const { history } = unwrap(await (await clusterOf(c)).enrol(request));
    return c.json({ cluster: pathPart(c, 'cluster'), node: request.node, history });
  },

  'POST /v1/clusters/:cluster/agent/nonce': async (c) => {
    const { node } = await readJson(c, nonceRequestSchema);
    const nonce = unwrap(await (await clusterOf(c)).nonce(node));
    return c.json({ nonce }, 200, { [SIGNATURE_HEADERS.nextNonce]: nonce });
  },

  'POST /v1/clusters/:cluster/agent/report': async (c) => {
    return answer(c, await (await clusterOf(c)).agentReport(await signed(c)), (reply) => reply);
  },

  'POST /v1/clusters/:cluster/agent/wait': async (c) => {
    return answer(c, await (await clusterOf(c)).agentWait(await signed(c)), (nudge) => ({ nudge }));
  },

  'GET /v1/clusters/:cluster/agent/socket': async (c) => {
    if (c.req.header('upgrade')?.toLowerCase() !== 'websocket') {
      throw problem('invalid-value', 'this route is for WebSocket upgrades: send upgrade: websocket');
    }
    const response = await (await clusterOf(c)).fetch(c.req.raw);
    if (response.status === 101) return response;
    const nonce = response.headers.get(SIGNATURE_HEADERS.nextNonce);
    throw new ProblemException(refusedSchema.parse(await response.json()), nonceHeader(nonce));
  },
} satisfies Handlers<
  | 'POST /v1/clusters/:cluster/agent/enrol'
  | 'POST /v1/clusters/:cluster/agent/nonce'
  | 'POST /v1/clusters/:cluster/agent/report'
  | 'POST /v1/clusters/:cluster/agent/wait'
  | 'GET /v1/clusters/:cluster/agent/socket'
>;

async function signed(c: RequestContext): Promise<SignedRequest> {
  const body = await readBytes(c.req.raw, MAX_AGENT_MESSAGE_BYTES);
  return signedRequest(
    { method: c.req.method, path: new URL(c.req.url).pathname, header: (name) => c.req.header(name) },
    body,
  );
}

function answer<T, B extends object>(
  c: RequestContext,
  { result, nextNonce }: AgentAnswer<T>,
  bodyOf: (value: T) => B,
): Response {
  const headers = nonceHeader(nextNonce);
  return c.json(bodyOf(unwrap(result, headers)), 200, headers);
}

function nonceHeader(nonce: string | null): Record<string, string> {
  return nonce === null ? {} : { [SIGNATURE_HEADERS.nextNonce]: nonce };
}
