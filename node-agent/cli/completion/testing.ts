/** For the tests of completion: a cluster with names to complete. */
import type { Operation, Status } from '../../../schemas/api.ts';
import { type Stub, type StubAnswer, stubCoordinator } from '../testing.ts';

const at = '2026-11-22T11:25:31.752Z';

const group = (owner: string | null): Status['groups'][string] => ({
  state: owner === null ? 'stopped' : 'running',
  owner,
  epoch: 1,
  since: at,
  resources: [],
  candidates: [],
});

const node = (state: 'ready' | 'standby', joined = true): Status['nodes'][string] => ({
  state,
  lastSeenMs: 1,
  joined,
  agentVersion: '0.1.0',
  refusals: [],
});

/** No coordinator of ours says these: a shell would put them into the command line, and carry them out with it. */
const hostile = ['$(reboot)', 'db;reboot', 'db\nreboot', '-rf', '`reboot`'];

const status: Status = {
  schema: 'holdfast/status/v1',
  cluster: 'shop',
  at,
  revision: 1,
  groups: {
    db: group('alice'),
    web: group(null),
    ...Object.fromEntries(hostile.map((name) => [name, group(null)])),
  },
  nodes: { alice: node('ready'), bob: node('standby'), carol: node('ready', false) },
};

const operation: Operation = {
  id: 'op_5f0c2b7e91d3a648',
  kind: 'move',
  group: 'db',
  node: 'bob',
  state: 'succeeded',
  startedAt: at,
  finishedAt: at,
  progress: 'runs on bob',
};

const ANSWERS: Readonly<Record<string, unknown>> = {
  'GET /v1/clusters/shop/status': status,
  'GET /v1/clusters/shop/operations': {
    schema: 'holdfast/operations/v1',
    operations: [operation, ...hostile.map((id) => ({ ...operation, id }))],
  },
  'GET /v1/clusters': { clusters: [{ name: 'shop', createdAt: at }] },
};

export function stubCluster(): Promise<Stub> {
  return stubCoordinator((question): StubAnswer | undefined =>
    question in ANSWERS ? { body: ANSWERS[question] } : undefined,
  );
}
