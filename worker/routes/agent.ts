/** The agents' side of the API. What they sign is verified by the cluster's object, which knows their keys and its nonces. */
import * as z from 'zod';
import { enrolSchema, nonceRequestSchema, PROBLEMS } from '../../schemas/api.ts';
import { MAX_AGENT_MESSAGE_BYTES } from '../../schemas/limits.ts';
import { SIGNATURE_HEADERS, successorHeader } from '../../schemas/session.ts';
import { type AgentAnswer, type AgentRequest, agentRequest, type SignedRequest } from '../cluster/index.ts';
import { readBytes, readJson } from './body.ts';
import { clusterOf, type Handlers, type RequestContext } from './context.ts';
import { ProblemException, problem, unwrap } from './problem.ts';

const refusedSchema = z.object({
  code: z.enum(Object.keys(PROBLEMS) as [keyof typeof PROBLEMS, ...(keyof typeof PROBLEMS)[]]),
  detail: z.string(),
});

export const agent = {
  'POST /v1/clusters/:cluster/agent/enrol': async (c) => {
    const request = await readJson(c, enrolSchema);
    return c.json(unwrap(await (await clusterOf(c)).agents.enrol(request)));
  },

  'POST /v1/clusters/:cluster/agent/nonce': async (c) => {
    const { node } = await readJson(c, nonceRequestSchema);
    return answer(c, await (await clusterOf(c)).agents.nonce({ ...asked(c), node }));
  },

  'POST /v1/clusters/:cluster/agent/report': async (c) => {
    return answer(c, await (await clusterOf(c)).agents.report(await signed(c)));
  },

  'POST /v1/clusters/:cluster/agent/wait': async (c) => {
    return answer(c, await (await clusterOf(c)).agents.wait(await signed(c)));
  },

  'POST /v1/clusters/:cluster/agent/rekey': async (c) => {
    return answer(c, await (await clusterOf(c)).agents.rekey(await signed(c)));
  },

  'GET /v1/clusters/:cluster/agent/socket': async (c) => {
    if (c.req.header('upgrade')?.toLowerCase() !== 'websocket') {
      throw problem('invalid-value', 'this route is for WebSocket upgrades: send upgrade: websocket');
    }
    const response = await (await clusterOf(c)).fetch(c.req.raw);
    if (response.status === 101) return response;
    const nonce = response.headers.get(SIGNATURE_HEADERS.nextNonce);
    const successor = response.headers.get(SIGNATURE_HEADERS.successor);
    throw new ProblemException(refusedSchema.parse(await response.json()), {
      ...(nonce === null ? {} : { [SIGNATURE_HEADERS.nextNonce]: nonce }),
      ...(successor === null ? {} : { [SIGNATURE_HEADERS.successor]: successor }),
    });
  },
} satisfies Handlers<
  | 'POST /v1/clusters/:cluster/agent/enrol'
  | 'POST /v1/clusters/:cluster/agent/nonce'
  | 'POST /v1/clusters/:cluster/agent/report'
  | 'POST /v1/clusters/:cluster/agent/wait'
  | 'POST /v1/clusters/:cluster/agent/rekey'
  | 'GET /v1/clusters/:cluster/agent/socket'
>;

function asked(c: RequestContext): AgentRequest {
  const { pathname } = new URL(c.req.url);
  return agentRequest({ method: c.req.method, path: pathname, header: (name) => c.req.header(name) });
}

async function signed(c: RequestContext): Promise<SignedRequest> {
  return { ...asked(c), body: await readBytes(c.req.raw, MAX_AGENT_MESSAGE_BYTES) };
}

/** A refusal becomes a problem document; what is signed of it is its code. */
function answer(c: RequestContext, { result, nextNonce, signature, successor }: AgentAnswer): Response {
  const headers = {
    ...(nextNonce === null ? {} : { [SIGNATURE_HEADERS.nextNonce]: nextNonce }),
    ...(signature === null ? {} : { [SIGNATURE_HEADERS.signature]: signature }),
    ...(successor === null ? {} : { [SIGNATURE_HEADERS.successor]: successorHeader(successor) }),
  };
  return c.body(unwrap(result, headers), 200, { ...headers, 'content-type': 'application/json' });
}
