/** What a cluster looks like to Prometheus: the text format, version 0.0.4. */
import { groupStates, nodeStates, type Status } from '../../schemas/api.ts';
import type { Webhook } from '../../schemas/webhook.ts';
import { resourceStates } from '../../schemas/wire.ts';
import { clusterOf, type Handlers } from './context.ts';
import { unwrap } from './problem.ts';
import { webhooksOf } from './webhooks.ts';

export const metrics = {
  'GET /v1/clusters/:cluster/metrics': async (c) => {
    const cluster = await clusterOf(c);
    const [status, newest, hooks] = await Promise.all([
      cluster.status(),
      cluster.events(null, 1, 0),
      (await webhooksOf(c)).list(),
    ]);
    const text = metricsText(unwrap(status), unwrap(newest).at(-1)?.seq ?? 0, hooks);
    return c.body(text, 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
  },
} satisfies Handlers<'GET /v1/clusters/:cluster/metrics'>;

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [labels: Labels, value: number];

/** Of a name in a URL and of states nothing needs escaping; a resource's id and a URL may. */
function sampleText(name: string, [labels, value]: Sample): string {
  const escaped = (text: string) => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
  return `${name}{${pairs.join(',')}} ${value}\n`;
}

const bit = (is: boolean) => (is ? 1 : 0);
const seconds = (at: string) => Date.parse(at) / 1_000;

/** One series for each state that there is, 1 for the one that it is in. */
function oneOf(states: readonly string[], is: string, labels: Labels): Sample[] {
  return states.map((state) => [{ ...labels, state }, bit(state === is)]);
}

/**
 * @param newestEvent sequence number of the newest event: events are counted from 1 and never renumbered.
 * @returns a text for Prometheus; a metric of which there is nothing is left out.
 */
export function metricsText(status: Status, newestEvent: number, webhooks: readonly Webhook[]): string {
  const { cluster } = status;
  const groups = Object.entries(status.groups).map(([group, shown]) => ({ labels: { cluster, group }, shown }));
  const nodes = Object.entries(status.nodes).map(([node, shown]) => ({ labels: { cluster, node }, shown }));
  const hooks = webhooks.map((shown) => ({ labels: { cluster, webhook: shown.id }, shown }));
  const families: readonly (readonly [name: string, type: 'gauge' | 'counter', help: string, samples: Sample[]])[] = [
    [
      'holdfast_group_state',
      'gauge',
      'The state of a group: 1 for the one that it is in.',
      groups.flatMap(({ labels, shown }) => oneOf(groupStates, shown.state, labels)),
    ],
    [
      'holdfast_group_state_since_timestamp_seconds',
      'gauge',
      'Since when a group is in its state.',
      groups.map(({ labels, shown }) => [labels, seconds(shown.since)]),
    ],
    [
      'holdfast_group_owner_info',
      'gauge',
      'The node that holds the lease of a group.',
      groups.flatMap(({ labels, shown: { owner } }): Sample[] =>
        owner === null ? [] : [[{ ...labels, node: owner }, 1]],
      ),
    ],
    [
      'holdfast_group_epoch',
      'gauge',
      'The epoch of the newest grant of a group: it rises with every change of owner.',
      groups.map(({ labels, shown }) => [labels, shown.epoch]),
    ],
    [
      'holdfast_group_paused',
      'gauge',
      'Whether a group is paused.',
      groups.map(({ labels, shown }) => [labels, bit(shown.paused !== undefined)]),
    ],
    [
      'holdfast_group_takeover_possible',
      'gauge',
      'Whether another node would be granted a group that lost its owner now.',
      groups.flatMap(({ labels, shown: { outage } }): Sample[] =>
        outage === undefined ? [] : [[labels, bit(outage.takeover)]],
      ),
    ],
    [
      'holdfast_group_survives_coordinator_outage',
      'gauge',
      'Whether an outage of the coordinator that began now would cost a group nothing.',
      groups.flatMap(({ labels, shown: { outage } }): Sample[] =>
        outage === undefined ? [] : [[labels, bit(outage.survives)]],
      ),
    ],
    [
      'holdfast_resource_state',
      'gauge',
      'The state of a resource, by the word of the owner of its group: 1 for the one that it is in.',
      groups.flatMap(({ labels, shown }) =>
        shown.resources.flatMap(({ id, state }) => oneOf(resourceStates, state, { ...labels, resource: id })),
      ),
    ],
    [
      'holdfast_node_state',
      'gauge',
      'The state of a node: 1 for the one that it is in.',
      nodes.flatMap(({ labels, shown }) => oneOf(nodeStates, shown.state, labels)),
    ],
    [
      'holdfast_node_maintenance',
      'gauge',
      'Whether a node is in maintenance.',
      nodes.map(({ labels, shown }) => [labels, bit(shown.maintenance !== undefined)]),
    ],
    [
      'holdfast_node_silence_seconds',
      'gauge',
      'For how long a node has not reported.',
      nodes.flatMap(({ labels, shown: { lastSeenMs } }): Sample[] =>
        lastSeenMs === null ? [] : [[labels, lastSeenMs / 1_000]],
      ),
    ],
    ['holdfast_config_revision', 'gauge', 'The revision in force.', [[{ cluster }, status.revision]]],
    ['holdfast_events_total', 'counter', 'Events since the cluster was made.', [[{ cluster }, newestEvent]]],
    [
      'holdfast_webhook_active',
      'gauge',
      'Whether a webhook delivers; 0: it was disabled.',
      hooks.map(({ labels, shown }) => [labels, bit(shown.state === 'active')]),
    ],
    [
      'holdfast_webhook_pending',
      'gauge',
      'Notices that a webhook has not delivered yet.',
      hooks.map(({ labels, shown }) => [labels, shown.pending]),
    ],
    [
      'holdfast_webhook_dropped_total',
      'counter',
      'Notices that had to make room for newer ones.',
      hooks.map(({ labels, shown }) => [labels, shown.dropped]),
    ],
  ];
  return families
    .filter(([, , , samples]) => samples.length > 0)
    .map(
      ([name, type, help, samples]) =>
        `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${samples.map((sample) => sampleText(name, sample)).join('')}`,
    )
    .join('');
}
