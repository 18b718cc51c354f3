/** The DRBD configuration of a node, as `drbdadm dump-xml` shows it: every file included, every default of `common` still apart. Pure. */
import { createHash } from 'node:crypto';
import { CONFIG_PARTS, type ConfigPart } from '../../schemas/copies.ts';

export interface DrbdVolume {
  readonly number: number;
  readonly minor: number | undefined;
  /** `/dev/drbd0` */
  readonly device: string;
}

export interface DrbdHost {
  readonly name: string;
  /** Without the port. */
  readonly addresses: readonly string[];
  readonly volumes: readonly DrbdVolume[];
}

export interface DrbdConfig {
  readonly name: string;
  readonly hosts: readonly DrbdHost[];
  /** By section and name, those of the resource before those of `common`: `net`, `disk`, `options`, `handlers`, `startup`. */
  readonly options: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Alike on nodes that are configured alike, in each of its parts (`CONFIG_PARTS`). */
  readonly digest: string;
}

interface Element {
  readonly tag: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: Element[];
  text: string;
}

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** @throws {Error} when it is not what drbdadm writes. */
export function parseDrbdConfig(xml: string): Map<string, DrbdConfig> {
  const root = parseXml(xml);
  const common = sectionsOf(root.children.find(({ tag }) => tag === 'common'));
  const found = new Map<string, DrbdConfig>();
  for (const element of root.children) {
    const name = element.attributes.name;
    if (element.tag !== 'resource' || name === undefined) continue;
    const hosts = element.children.filter(({ tag }) => tag === 'host').map(hostOf);
    const options = merged(common, sectionsOf(element));
    found.set(name, { name, hosts, options, digest: digestOf({ name, hosts, options }) });
  }
  return found;
}

/** @returns the value of an option, wherever the version has it: `fencing` is of `disk` in 8.4 and of `net` in 9. */
export function optionOf(
  { options }: Pick<DrbdConfig, 'options'>,
  name: string,
  ...sections: readonly string[]
): string | undefined {
  for (const section of sections) {
    const value = options[section]?.[name];
    if (value !== undefined) return value;
  }
  return undefined;
}

/**
 * The machine at the other end of a connection: by its address, or by its name, which 9 gives the connection. 8.4 tells neither, and has
 * one peer only.
 */
export function hostAt(
  { hosts }: DrbdConfig,
  self: string,
  { address, name }: { readonly address: string | undefined; readonly name: string },
): string {
  const others = hosts.filter((host) => host.name !== self);
  const found =
    others.find(({ addresses }) => address !== undefined && addresses.includes(address)) ??
    others.find((host) => host.name === name);
  const [only] = others;
  return found?.name ?? (others.length === 1 && only !== undefined ? only.name : name);
}

/** `ipv4:10.0.0.1:7789`, `ipv6:[2001:db8::1]:7789` */
export function addressOf(endpoint: string | undefined): string | undefined {
  return endpoint === undefined ? undefined : /^(?:[a-z0-9]+:)?\[?([0-9A-Fa-f.:]+?)\]?:\d+$/.exec(endpoint)?.[1];
}

function hostOf(element: Element): DrbdHost {
  const volumes = element.children
    .filter(({ tag }) => tag === 'volume')
    .map((volume) => {
      const device = volume.children.find(({ tag }) => tag === 'device');
      const minor = Number(device?.attributes.minor);
      return {
        number: Number(volume.attributes.vnr),
        minor: Number.isInteger(minor) ? minor : undefined,
        device: device?.text.trim() ?? '',
      };
    });
  const addresses = element.children.filter(({ tag }) => tag === 'address').map(({ text }) => text.trim());
  return { name: element.attributes.name ?? '', addresses, volumes };
}

type Sections = Record<string, Record<string, string>>;

/** Also of volumes, where 8.4 may have options of the disk. */
function sectionsOf(element: Element | undefined): Sections {
  const found: Sections = {};
  const walk = (part: Element) => {
    for (const child of part.children) {
      if (child.tag !== 'section') {
        if (child.tag === 'host' || child.tag === 'volume') walk(child);
        continue;
      }
      const section = child.attributes.name ?? '';
      const values = found[section] ?? {};
      for (const { tag, attributes } of child.children)
        if (tag === 'option' && attributes.name !== undefined) values[attributes.name] ??= attributes.value ?? 'yes';
      found[section] = values;
    }
  };
  if (element !== undefined) walk(element);
  return found;
}

function merged(common: Sections, own: Sections): Sections {
  const names = new Set([...Object.keys(common), ...Object.keys(own)]);
  return Object.fromEntries([...names].map((name) => [name, { ...common[name], ...own[name] }]));
}

/**
 * What both sides must agree on: who takes part with which volumes and where, and how the connection works. Not the disks, which may be
 * named differently on each, nor what a node does at its own start. An option that is left out is the same as its default.
 */
function digestOf(config: Omit<DrbdConfig, 'digest'>): string {
  const hosts = config.hosts.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const effective = (otherwise: string, name: string, ...sections: readonly string[]) =>
    optionOf(config, name, ...sections) ?? otherwise;
  const rest = (section: string, ...named: readonly string[]) =>
    Object.entries(config.options[section] ?? {})
      .filter(([name]) => !named.includes(name))
      .toSorted(([a], [b]) => (a < b ? -1 : 1));
  const parts: Record<ConfigPart, unknown> = {
    hosts: [config.name, ...hosts.map(({ name, addresses }) => [name, addresses])],
    volumes: hosts.map(({ volumes }) => volumes.map(({ number, minor, device }) => [number, minor, device])),
    protocol: effective('C', 'protocol', 'net'),
    fencing: effective('dont-care', 'fencing', 'net', 'disk'),
    'auto-promote': effective('yes', 'auto-promote', 'options'),
    handlers: rest('handlers'),
    net: rest('net', 'protocol', 'fencing'),
    disk: rest('disk', 'fencing'),
    options: rest('options', 'auto-promote'),
  };
  return CONFIG_PARTS.map((part) =>
    createHash('sha256').update(JSON.stringify(parts[part])).digest('hex').slice(0, 6),
  ).join('.');
}

/** As much of XML as drbdadm writes: elements, attributes in quotes, text, the five entities. */
function parseXml(xml: string): Element {
  const root: Element = { tag: '', attributes: {}, children: [], text: '' };
  const open: Element[] = [root];
  for (const [, closing, tag = '', rest = '', self, text] of xml.matchAll(
    /<(\/)?([\w-]+)((?:\s+[\w-]+="[^"]*")*)\s*(\/)?>|([^<]+)/g,
  )) {
    const parent = open.at(-1);
    if (parent === undefined) throw new Error('drbdadm dump-xml: an element is closed that was not opened');
    if (text !== undefined) {
      parent.text += unescaped(text);
      continue;
    }
    if (closing !== undefined) {
      if (open.pop()?.tag !== tag) throw new Error(`drbdadm dump-xml: </${tag}> does not close what is open`);
      continue;
    }
    const attributes = Object.fromEntries(
      [...rest.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, name = '', value = '']) => [name, unescaped(value)]),
    );
    const element: Element = { tag, attributes, children: [], text: '' };
    parent.children.push(element);
    if (self === undefined) open.push(element);
  }
  const config = root.children.find(({ tag }) => tag === 'config');
  if (open.length !== 1 || config === undefined) throw new Error('drbdadm dump-xml wrote no whole configuration');
  return config;
}

function unescaped(text: string): string {
  return text.replaceAll(/&(\w+);/g, (whole, name: string) => ENTITIES[name] ?? whole);
}
