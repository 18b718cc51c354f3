/**
 * The one document that configures a cluster: as people write it (`documentSchema`) and as the product uses it (`Config`).
 * `document.ts` turns the first into the second and finds every problem with its line.
 *
 * Every key of the document is described here and nowhere else: editors show these texts (docs/schema/config.v1.json), and
 * docs/reference/configuration.md is made of them. What holds when a key is left out stands as `default` where it is one value,
 * else in a sentence that begins with "Left out:".
 */
import * as z from 'zod';
import { durationSchema, formatDuration } from './duration.ts';
import { FENCES, type Fence } from './fuse.ts';
import {
  DEFAULT_PROFILE,
  FAILURE_COUNT,
  FAILURE_WINDOW_MS,
  LEASE_PROFILES,
  type LeaseTiming,
  MAX_FAILURE_COUNT,
  MAX_GROUPS,
  MAX_LABELS,
  MAX_LEASE_MS,
  MAX_MONITORS_IN_A_ROW,
  MAX_NAME_LENGTH,
  MAX_NODES,
  MAX_OPERATION_MS,
  MAX_PARAMETERS,
  MAX_RESOURCES_PER_GROUP,
  MAX_VALUE_LENGTH,
  MIN_INTERVAL_MS,
  MIN_LEASE_MS,
  MIN_RENEW_MS,
  OPERATION_TIMES,
} from './limits.ts';
import { nameSchema } from './names.ts';

const line = (what: string) =>
  z
    .string()
    .min(1, `${what} is empty`)
    .max(MAX_VALUE_LENGTH, `at most ${MAX_VALUE_LENGTH} characters`)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused here
    .regex(/^[^\u0000-\u001f\u007f]*$/, 'no control characters or line breaks');

/** Value of an OCF parameter: YAML numbers and booleans are taken as they are written. */
const parameterValue = z.union([line('the value'), z.number().transform(String), z.boolean().transform(String)]);

/** What holds when a time is left out, for each kind of resource. */
function otherwise(time: keyof (typeof OPERATION_TIMES)['vip'], ofTheUnit: string): string {
  const { vip, drbd, mount, service, ocf } = OPERATION_TIMES;
  const [forVip, forDrbd, forMount, forService, forOcf] = [vip, drbd, mount, service, ocf].map((times) =>
    formatDuration(times[time]),
  );
  return `Left out: vip ${forVip}, drbd ${forDrbd}, mount ${forMount}, service ${ofTheUnit}${forService}, ocf that of the agent’s meta-data, else ${forOcf}.`;
}

const timeouts = z
  .strictObject({
    start: durationSchema
      .optional()
      .describe(`How long a start may take. ${otherwise('startMs', 'the unit’s TimeoutStartSec=, or without one ')}`),
    stop: durationSchema
      .optional()
      .describe(
        `How long a stop may take before it is forced. ${otherwise('stopMs', 'the unit’s TimeoutStopSec=, or without one ')}`,
      ),
    monitor: durationSchema.optional().describe(`How long a monitor may take. ${otherwise('monitorMs', '')}`),
  })
  .describe(
    `How long its actions may take, each at most ${formatDuration(MAX_OPERATION_MS)}; one that takes longer is killed and has failed.`,
  );

export const vipSchema = z
  .union([
    line('the address').describe('`address/prefix`'),
    z.strictObject({
      address: line('the address').describe('`address/prefix`, IPv4 or IPv6, with the prefix length of its subnet.'),
      interface: line('the interface')
        .max(15)
        .optional()
        .describe(
          'Name of the network interface on every node. Left out: the one that has another address of the subnet.',
        ),
    }),
  ])
  .describe(
    'A virtual IP. Added as /32 or /128 where the interface has another address of its subnet, looked after, and announced for as long as it is owned. An address that a stranger answers for is not taken.',
  );

const drbdName = line('the name')
  .max(48)
  .regex(/^[A-Za-z0-9_][A-Za-z0-9_.+-]*$/, 'the name of one DRBD resource, as `drbdadm sh-resources` lists them')
  .refine((name) => name !== 'all', 'name each DRBD resource; `all` would be whatever the node has');

export const drbdSchema = z
  .union([
    drbdName.describe('name of the DRBD resource'),
    z.strictObject({
      resource: drbdName.describe('Its name in the DRBD configuration of every node of the group.'),
    }),
  ])
  .describe(
    'A DRBD resource: Primary on the node that has the group, Secondary and connected on the others. Its configuration stays in /etc/drbd.d on each node. A node whose copy misses writes is not granted the group.',
  );

export const ocfSchema = z
  .strictObject({
    agent: z
      .string()
      .regex(/^[A-Za-z0-9._-]+:[A-Za-z0-9._-]+$/, 'an OCF agent is written provider:type, for example heartbeat:nginx')
      .describe('`provider:type`: the program /usr/lib/ocf/resource.d/PROVIDER/TYPE on the node.'),
    params: z
      .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'not a parameter name'), parameterValue)
      .refine((params) => Object.keys(params).length <= MAX_PARAMETERS, `at most ${MAX_PARAMETERS} parameters`)
      .optional()
      .describe(
        `Parameters of the agent, at most ${MAX_PARAMETERS}. Checked against its meta-data and against the policy of the node. Numbers and booleans are taken as they are written. Left out: the agent’s own defaults.`,
      ),
  })
  .describe('A resource run by an OCF agent (1.0 or 1.1), as Pacemaker runs them.');

/** File systems whose device number is that of their block device: what is in use can be told for certain. */
export const MOUNT_FILE_SYSTEMS = ['ext4', 'ext3', 'ext2', 'xfs', 'f2fs', 'vfat', 'exfat'] as const;
/** `auto`: what is not clean and cannot be mended by the kernel at the mount is checked first, as at boot (`e2fsck -p`). */
export const FSCK_POLICIES = ['auto', 'never'] as const;
export const SHARED_DISK_RISK = 'shared-disk-without-watchdog';
export const MOUNT_DEFAULTS = { fsck: 'auto', disk: 'local' } as const;

export const mountSchema = z
  .union([
    line('the mount').describe('`device directory fstype [options]`, as in /etc/fstab'),
    z.strictObject({
      device: line('the device').describe(
        'A block device by any name below /dev; names are compared by device number.',
      ),
      directory: line('the directory').describe('The mount point; made where it is missing.'),
      fstype: line('the file system').describe(`One of ${MOUNT_FILE_SYSTEMS.join(', ')}.`),
      options: line('the options')
        .optional()
        .describe('As in /etc/fstab: noatime,commit=5. Left out: the defaults of the file system.'),
      fsck: z.enum(FSCK_POLICIES).optional().meta({
        description:
          'auto: checked before the mount, as at boot, when it is not clean and the kernel cannot mend it; never: not at all.',
        default: MOUNT_DEFAULTS.fsck,
      }),
      disk: z.enum(['local', 'shared']).optional().meta({
        description:
          'local: a disk of the node’s own, or DRBD; shared: one disk that several nodes reach, which demands a watchdog (`fence`).',
        default: MOUNT_DEFAULTS.disk,
      }),
      acceptRisk: z
        .literal(SHARED_DISK_RISK)
        .optional()
        .describe(
          'Taken with `disk: shared` only: the group may run on nodes without a watchdog, which would reset a node that cannot let go of the disk. Left out: no risk is accepted, and the group demands a watchdog.',
        ),
    }),
  ])
  .describe('A file system on a block device, mounted on the node that has the group.');

export const serviceSchema = z
  .union([
    line('the unit').describe('name of the unit'),
    z.strictObject({ unit: line('the unit').describe('Its name; .service may be left out: mariadb, app@1.service.') }),
  ])
  .describe('A systemd service unit, started and stopped by systemd. It must not be enabled at boot.');

/** What follows when a resource has failed. */
export const ON_FAIL = ['restart', 'move', 'stop', 'ignore', 'hold'] as const;
export type OnFail = (typeof ON_FAIL)[number];

const inARow = z.int().min(1).max(MAX_MONITORS_IN_A_ROW);

/** The failure policy of a resource: one model for monitors, starts and whatever else fails. */
const failurePolicy = {
  onFail: z.enum(ON_FAIL).optional().meta({
    description:
      'What follows a failure. restart: in place, until `failures` is reached, then move; move: to another node at once; stop: stop the group and start it nowhere until a person cleans up; ignore: leave it, the group is degraded; hold: touch nothing until a person cleans up.',
    default: 'restart',
  }),
  failures: z
    .strictObject({
      count: z.int().min(1).max(MAX_FAILURE_COUNT).describe('So many failures …'),
      window: durationSchema.describe('… within so long a time.'),
    })
    .optional()
    .describe(
      `With \`onFail: restart\`: so many failures within the window and the group moves. Left out: ${FAILURE_COUNT} within ${formatDuration(FAILURE_WINDOW_MS)}.`,
    ),
  fall: inARow
    .optional()
    .meta({ description: 'So many monitors in a row must fail before the resource has failed.', default: 1 }),
  rise: inARow.optional().meta({
    description: 'So many monitors in a row must succeed before earlier failed ones are forgotten.',
    default: 1,
  }),
  critical: z.boolean().optional().meta({
    description: 'false: the group runs on without it, shown as degraded, while it is retried with a growing pause.',
    default: true,
  }),
};

export const resourceSchema = z.strictObject({
  vip: vipSchema.optional(),
  drbd: drbdSchema.optional(),
  mount: mountSchema.optional(),
  service: serviceSchema.optional(),
  ocf: ocfSchema.optional(),
  id: nameSchema
    .optional()
    .describe(
      'Name of the resource in status and events, unique in its group. Left out: made from what it is, such as vip-192.0.2.10, drbd-r0, mount-srv-mysql, mariadb or nginx.',
    ),
  timeouts: timeouts.optional(),
  interval: durationSchema
    .optional()
    .describe(
      `Pause between two monitors, ${formatDuration(MIN_INTERVAL_MS)} to ${formatDuration(MAX_OPERATION_MS)}. What the kernel or systemd tell by themselves is seen without one. ${otherwise('monitorIntervalMs', '')}`,
    ),
  ...failurePolicy,
});

/** `key=value`, as a node carries it. */
export const labelSchema = z
  .string()
  .max(2 * MAX_NAME_LENGTH + 1)
  .regex(
    /^[a-z0-9]([a-z0-9._-]*[a-z0-9])?=[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/,
    'write a label as key=value, for example disk=ssd',
  );

const groupNames = z.union([nameSchema.transform((name) => [name]), z.array(nameSchema).max(MAX_GROUPS)]);

export const groupSchema = z.strictObject({
  on: z
    .array(nameSchema)
    .min(1, 'name at least one node, or leave `on` out for every node')
    .optional()
    .describe('Nodes that may run it, best first. Left out: every node, in the order of `nodes`.'),
  resources: z
    .array(resourceSchema)
    .describe(
      'What it consists of, started in this order and stopped in reverse; each item is exactly one of `vip`, `drbd`, `mount`, `service` and `ocf`.',
    )
    .min(1, 'a group needs at least one resource')
    .max(MAX_RESOURCES_PER_GROUP, `at most ${MAX_RESOURCES_PER_GROUP} resources`),
  after: groupNames
    .optional()
    .describe(
      'Groups that must be up, on whatever node, before this one starts; stopped together, this one stops first. Left out: it waits for none.',
    ),
  with: groupNames
    .optional()
    .describe(
      'Groups on whose node this one runs: it starts where they are, and follows them when they move. Left out: it follows none.',
    ),
  apart: groupNames
    .optional()
    .describe(
      'Groups on whose node this one never starts; it waits rather than share a node with them. Left out: it shares with any.',
    ),
  prefer: z
    .union([z.string().transform((entry) => [entry]), z.array(z.string()).max(MAX_NODES)])
    .optional()
    .describe(
      'Nodes, or labels of nodes (`disk=ssd`), that are better than the others of `on`, best first. Left out: the order of `on` alone.',
    ),
  failback: durationSchema
    .optional()
    .describe('Move back once a better node has been able to run it for so long. Left out: it stays put.'),
  failover: z.enum(['automatic', 'manual']).optional().meta({
    description: 'manual: after a failure of its node or of the group only `holdfast move` starts it on another node.',
    default: 'automatic',
  }),
  fence: z
    .enum(FENCES)
    .optional()
    .describe(
      'What has to end it on a node that cannot let go of it. guard: the guard of the node is enough; watchdog: it starts only on nodes whose guard has a watchdog (`holdfast join --reset=watchdog`), which resets the machine. Left out: guard, and watchdog where a mount has `disk: shared` without `acceptRisk`.',
    ),
  requires: z
    .literal('uplink')
    .optional()
    .describe(
      'uplink: stop the group when its node loses the coordinator, although the other nodes promise to keep out; for what is of no use without the uplink. Left out: it goes on while the other voters promise to keep out.',
    ),
});

/** Nodes by name, or as a mapping from name to what is special about each. */
const nodesSchema = z.union([
  z.array(nameSchema).min(1, 'name at least one node').max(MAX_NODES, `at most ${MAX_NODES} nodes`),
  z
    .record(
      nameSchema,
      z.union([
        z.null(),
        z.strictObject({
          labels: z
            .array(labelSchema)
            .max(MAX_LABELS)
            .optional()
            .describe('`key=value`, for the `prefer` of groups. Left out: none.'),
        }),
      ]),
    )
    .refine((nodes) => Object.keys(nodes).length >= 1, 'name at least one node')
    .refine((nodes) => Object.keys(nodes).length <= MAX_NODES, `at most ${MAX_NODES} nodes`),
]);

const profileNames = Object.keys(LEASE_PROFILES) as [keyof typeof LEASE_PROFILES];
const profiles = profileNames.map((name) => `${name} ${formatDuration(LEASE_PROFILES[name].leaseMs)}`).join(', ');

export const documentSchema = z
  .strictObject({
    cluster: nameSchema.describe('The name of the cluster that this document is for.'),
    nodes: nodesSchema.describe(
      'Its machines, by the names with which they join, before or after they are named here: a list of names, or a mapping from each name to what is special about it (`alice: { labels: [disk=ssd] }`).',
    ),
    lease: z
      .union([
        z.enum(profileNames),
        z.strictObject({
          ttl: durationSchema.describe(
            `How long a lease lasts, ${formatDuration(MIN_LEASE_MS)} to ${formatDuration(MAX_LEASE_MS)}. A lost node is replaced soon after that.`,
          ),
          renew: durationSchema.describe(
            `Pause between renewals, at least ${formatDuration(MIN_RENEW_MS)}. Must leave room in \`ttl\` for two repetitions and the forced stop; what does not fit is refused with the sum.`,
          ),
        }),
      ])
      .optional()
      .meta({
        description: `Timing of the leases, and with it of takeovers: a profile (${profiles}), or times of one’s own. See safety.md.`,
        default: DEFAULT_PROFILE,
      }),
    groups: z
      .record(nameSchema, groupSchema)
      .default({})
      .describe(
        `What the cluster runs: groups by their names, at most ${MAX_GROUPS}. A group lives together on one node: it is the unit of placement and of the lease. Left out: none.`,
      ),
  })
  .describe('One Holdfast cluster');

export type Document = z.output<typeof documentSchema>;

export const RESOURCE_KINDS = ['vip', 'drbd', 'mount', 'service', 'ocf'] as const;
export type ResourceKind = (typeof RESOURCE_KINDS)[number];

const operationMs = z.int().positive().max(MAX_OPERATION_MS).optional();
export const timesSchema = z.strictObject({
  startMs: operationMs,
  stopMs: operationMs,
  monitorMs: operationMs,
  monitorIntervalMs: operationMs,
});
export type DeclaredTimes = z.infer<typeof timesSchema>;

/** The failure policy of a resource with every default filled in. */
export const policySchema = z.strictObject({
  onFail: z.enum(ON_FAIL),
  failureCount: z.int().positive(),
  failureWindowMs: z.int().positive(),
  fall: z.int().positive(),
  rise: z.int().positive(),
  critical: z.boolean(),
});
export type FailurePolicy = z.infer<typeof policySchema>;
export const DEFAULT_POLICY: FailurePolicy = {
  onFail: 'restart',
  failureCount: FAILURE_COUNT,
  failureWindowMs: FAILURE_WINDOW_MS,
  fall: 1,
  rise: 1,
  critical: true,
};

/** `policy` is absent from what was stored before it existed. */
const declared = { id: nameSchema, times: timesSchema, policy: policySchema.default(DEFAULT_POLICY) };

/** A resource as coordinator and agent know it. It names what is to run, never how to run it. */
export const declarationSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('vip'), ...declared, address: z.string(), interface: z.string().optional() }),
  z.strictObject({ type: z.literal('drbd'), ...declared, resource: z.string() }),
  z.strictObject({
    type: z.literal('mount'),
    ...declared,
    device: z.string(),
    directory: z.string(),
    fstype: z.enum(MOUNT_FILE_SYSTEMS),
    options: z.string().optional(),
    fsck: z.enum(FSCK_POLICIES),
    disk: z.enum(['local', 'shared']),
  }),
  z.strictObject({ type: z.literal('service'), ...declared, unit: z.string() }),
  z.strictObject({ type: z.literal('ocf'), ...declared, agent: z.string(), params: z.record(z.string(), z.string()) }),
]);
export type ResourceDeclaration = z.infer<typeof declarationSchema>;

export interface GroupConfig {
  readonly name: string;
  /** Where it may run, best first. */
  readonly on: readonly string[];
  readonly resources: readonly ResourceDeclaration[];
  /** Must be up before it starts. */
  readonly after: readonly string[];
  /** It runs on their node. */
  readonly with: readonly string[];
  /** It never starts on their node. */
  readonly apart: readonly string[];
  /** Names of nodes and labels, best first. */
  readonly prefer: readonly string[];
  /** Null: it stays put. */
  readonly failbackMs: number | null;
  readonly failover: 'automatic' | 'manual';
  /** `uplink`: it does not outlive its owner's contact with the coordinator. Null: it may live on the promises of its voters. */
  readonly requires: 'uplink' | null;
  /** `watchdog`: it starts only where one would reset the node. */
  readonly fence: Fence;
}

/** A group without any rule of placement. */
export const NO_RULES = {
  after: [],
  with: [],
  apart: [],
  prefer: [],
  failbackMs: null,
  failover: 'automatic',
  requires: null,
  fence: 'guard',
} as const satisfies Partial<GroupConfig>;

export interface Config {
  readonly cluster: string;
  readonly nodes: readonly string[];
  /** Of each node that has any. */
  readonly labels: Readonly<Record<string, readonly string[]>>;
  readonly timing: LeaseTiming;
  readonly groups: Readonly<Record<string, GroupConfig>>;
}
