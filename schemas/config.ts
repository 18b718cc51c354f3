/**
 * The one document that configures a cluster: as people write it (`documentSchema`) and as the product uses it (`Config`).
 * `document.ts` turns the first into the second and finds every problem with its line.
 */
import * as z from 'zod';
import { durationSchema } from './duration.ts';
import {
  LEASE_PROFILES,
  type LeaseTiming,
  MAX_NODES,
  MAX_PARAMETERS,
  MAX_RESOURCES_PER_GROUP,
  MAX_VALUE_LENGTH,
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

const timeouts = z
  .strictObject({
    start: durationSchema.optional(),
    stop: durationSchema.optional(),
    monitor: durationSchema.optional(),
  })
  .describe('Time-outs of the actions; left out: those of the OCF agent’s own meta-data, or of the systemd unit');

export const vipSchema = z.union([
  line('the address').describe('address/prefix, the interface is found by its subnet'),
  z.strictObject({ address: line('the address'), interface: line('the interface').max(15).optional() }),
]);

export const ocfSchema = z.strictObject({
  agent: z
    .string()
    .regex(/^[A-Za-z0-9._-]+:[A-Za-z0-9._-]+$/, 'an OCF agent is written provider:type, for example heartbeat:nginx'),
  params: z
    .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'not a parameter name'), parameterValue)
    .refine((params) => Object.keys(params).length <= MAX_PARAMETERS, `at most ${MAX_PARAMETERS} parameters`)
    .optional(),
});

/** File systems whose device number is that of their block device: what is in use can be told for certain. */
export const MOUNT_FILE_SYSTEMS = ['ext4', 'ext3', 'ext2', 'xfs', 'f2fs', 'vfat', 'exfat'] as const;
/** `auto`: what is not clean and cannot be mended by the kernel at the mount is checked first, as at boot (`e2fsck -p`). */
export const FSCK_POLICIES = ['auto', 'never'] as const;
export const SHARED_DISK_RISK = 'shared-disk-without-watchdog';

export const mountSchema = z.union([
  line('the mount').describe('device directory fstype [options], as in /etc/fstab'),
  z.strictObject({
    device: line('the device'),
    directory: line('the directory'),
    fstype: line('the file system'),
    options: line('the options').optional().describe('As in /etc/fstab: noatime,commit=5'),
    fsck: z
      .enum(FSCK_POLICIES)
      .optional()
      .describe('auto (the default): checked before the mount, as at boot, when it is not clean; never: not at all'),
    disk: z
      .enum(['local', 'shared'])
      .optional()
      .describe('local (the default): a disk of the node’s own, or DRBD; shared: one disk that several nodes reach'),
    acceptRisk: z
      .literal(SHARED_DISK_RISK)
      .optional()
      .describe('Taken only with `disk: shared`: no watchdog resets a node that cannot let go of the disk'),
  }),
]);

export const serviceSchema = z.union([
  line('the unit').describe('Name of a systemd unit; .service may be left out'),
  z.strictObject({ unit: line('the unit') }),
]);

export const resourceSchema = z.strictObject({
  vip: vipSchema.optional(),
  mount: mountSchema.optional(),
  service: serviceSchema.optional(),
  ocf: ocfSchema.optional(),
  id: nameSchema.optional().describe('Name of the resource in status and events; left out: made from its kind'),
  timeouts: timeouts.optional(),
  interval: durationSchema.optional().describe('Pause between two monitors'),
});

export const groupSchema = z.strictObject({
  on: z.array(nameSchema).min(1, 'name at least one node, or leave `on` out for every node').optional(),
  resources: z
    .array(resourceSchema)
    .min(1, 'a group needs at least one resource')
    .max(MAX_RESOURCES_PER_GROUP, `at most ${MAX_RESOURCES_PER_GROUP} resources`),
});

const profileNames = Object.keys(LEASE_PROFILES) as [keyof typeof LEASE_PROFILES];

export const documentSchema = z
  .strictObject({
    cluster: nameSchema,
    nodes: z.array(nameSchema).min(1, 'name at least one node').max(MAX_NODES, `at most ${MAX_NODES} nodes`),
    lease: z
      .union([z.enum(profileNames), z.strictObject({ ttl: durationSchema, renew: durationSchema })])
      .optional()
      .describe('Timing of leases: fast, default, wan, or ttl and renew'),
    groups: z.record(nameSchema, groupSchema).default({}),
  })
  .describe('One Holdfast cluster');

export type Document = z.output<typeof documentSchema>;

/** Kinds of resource that the document will know in later versions, so that naming one gives an honest answer. */
export const PLANNED_RESOURCE_KINDS = ['drbd'] as const;
export const RESOURCE_KINDS = ['vip', 'mount', 'service', 'ocf'] as const;
export type ResourceKind = (typeof RESOURCE_KINDS)[number];

export const timesSchema = z.strictObject({
  startMs: z.int().positive().optional(),
  stopMs: z.int().positive().optional(),
  monitorMs: z.int().positive().optional(),
  monitorIntervalMs: z.int().positive().optional(),
});
export type DeclaredTimes = z.infer<typeof timesSchema>;

const declared = { id: nameSchema, times: timesSchema };

/** A resource as coordinator and agent know it. It names what is to run, never how to run it. */
export const declarationSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('vip'), ...declared, address: z.string(), interface: z.string().optional() }),
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
}

export interface Config {
  readonly cluster: string;
  readonly nodes: readonly string[];
  readonly timing: LeaseTiming;
  readonly groups: Readonly<Record<string, GroupConfig>>;
}
