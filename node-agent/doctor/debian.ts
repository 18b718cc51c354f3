/** Which Debian package brings what: only what is known for certain. For anything else nothing is guessed. */

/** A program that an OCF agent runs. */
export interface AgentProgram {
  /** The parameter that names it, where there is one. */
  readonly parameter?: string;
  /** Where it is looked for when the parameter is not given: the first that is there is taken. A name alone is looked for on the PATH. */
  readonly usual: readonly string[];
  readonly package: string;
}

const AGENT_PROGRAMS: Readonly<Record<string, readonly AgentProgram[]>> = {
  'heartbeat:IPaddr2': [{ usual: ['ip'], package: 'iproute2' }],
  'heartbeat:IPsrcaddr': [{ usual: ['ip'], package: 'iproute2' }],
  'heartbeat:Filesystem': [
    { usual: ['mount'], package: 'mount' },
    { usual: ['fuser'], package: 'psmisc' },
  ],
  'heartbeat:LVM-activate': [{ usual: ['lvm'], package: 'lvm2' }],
  'heartbeat:Squid': [{ parameter: 'squid_exe', usual: [], package: 'squid' }],
  'heartbeat:apache': [
    { parameter: 'httpd', usual: ['/usr/sbin/httpd', '/usr/sbin/apache2', '/usr/sbin/httpd2'], package: 'apache2' },
  ],
  'heartbeat:docker': [{ usual: ['docker'], package: 'docker.io' }],
  'heartbeat:dovecot': [{ parameter: 'binary', usual: ['/usr/sbin/dovecot'], package: 'dovecot-core' }],
  'heartbeat:exportfs': [{ usual: ['exportfs'], package: 'nfs-kernel-server' }],
  'heartbeat:mariadb': [
    { parameter: 'binary', usual: ['/usr/bin/mysqld_safe'], package: 'mariadb-server' },
    { parameter: 'client_binary', usual: ['mysql'], package: 'mariadb-client' },
    { usual: ['bc'], package: 'bc' },
  ],
  'heartbeat:mysql': [
    { parameter: 'binary', usual: ['/usr/bin/mysqld_safe'], package: 'mariadb-server' },
    { parameter: 'client_binary', usual: ['mysql'], package: 'mariadb-client' },
  ],
  'heartbeat:named': [
    { parameter: 'named', usual: ['/usr/sbin/named'], package: 'bind9' },
    { parameter: 'rndc', usual: ['/usr/sbin/rndc'], package: 'bind9-utils' },
    { parameter: 'host', usual: ['/usr/bin/host'], package: 'bind9-host' },
  ],
  'heartbeat:nfsserver': [{ usual: ['rpc.nfsd'], package: 'nfs-kernel-server' }],
  'heartbeat:nginx': [{ parameter: 'httpd', usual: ['/usr/sbin/nginx', '/usr/local/sbin/nginx'], package: 'nginx' }],
  'heartbeat:pgsql': [
    { parameter: 'pgctl', usual: ['/usr/bin/pg_ctl'], package: 'postgresql' },
    { parameter: 'psql', usual: ['/usr/bin/psql'], package: 'postgresql-client' },
  ],
  'heartbeat:podman': [{ usual: ['podman'], package: 'podman' }],
  'heartbeat:postfix': [{ parameter: 'binary', usual: ['/usr/sbin/postfix'], package: 'postfix' }],
  'heartbeat:proftpd': [{ parameter: 'binary', usual: ['/usr/sbin/proftpd'], package: 'proftpd-core' }],
  'heartbeat:rabbitmq-cluster': [{ usual: ['rabbitmqctl'], package: 'rabbitmq-server' }],
  'heartbeat:redis': [
    { parameter: 'bin', usual: ['/usr/bin/redis-server'], package: 'redis-server' },
    { parameter: 'client_bin', usual: ['/usr/bin/redis-cli'], package: 'redis-tools' },
  ],
  'heartbeat:rsyncd': [{ parameter: 'binpath', usual: ['rsync'], package: 'rsync' }],
  'heartbeat:slapd': [{ parameter: 'slapd', usual: ['/usr/sbin/slapd'], package: 'slapd' }],
  'heartbeat:varnish': [{ parameter: 'binary', usual: ['varnishd'], package: 'varnish' }],
  'heartbeat:vsftpd': [{ parameter: 'binpath', usual: ['/usr/sbin/vsftpd'], package: 'vsftpd' }],
};

/** @returns what the agent is known to need besides itself. */
export function programsOf(agent: string): readonly AgentProgram[] {
  return AGENT_PROGRAMS[agent] ?? [];
}

const PROVIDERS: Readonly<Record<string, string>> = {
  heartbeat: 'resource-agents',
  linbit: 'drbd-utils',
  pacemaker: 'pacemaker-resource-agents',
};

/** @returns the package with the OCF agents of a provider. */
export function packageOfProvider(provider: string): string | undefined {
  return PROVIDERS[provider];
}

const UNITS: readonly (readonly [RegExp, string])[] = [
  [/^apache2(@.*)?\.service$/, 'apache2'],
  [/^haproxy\.service$/, 'haproxy'],
  [/^mariadb(@.*)?\.service$/, 'mariadb-server'],
  [/^named\.service$/, 'bind9'],
  [/^nfs-server\.service$/, 'nfs-kernel-server'],
  [/^nginx\.service$/, 'nginx'],
  [/^postfix(@.*)?\.service$/, 'postfix'],
  [/^postgresql(@.*)?\.service$/, 'postgresql'],
  [/^rabbitmq-server\.service$/, 'rabbitmq-server'],
  [/^redis-server(@.*)?\.service$/, 'redis-server'],
  [/^slapd\.service$/, 'slapd'],
  [/^squid\.service$/, 'squid'],
  [/^varnish\.service$/, 'varnish'],
];

/** @returns the package that brings a unit. */
export function packageOfUnit(unit: string): string | undefined {
  return UNITS.find(([name]) => name.test(unit))?.[1];
}

export function aptGet(...packages: readonly string[]): string {
  return `apt-get install ${packages.join(' ')}`;
}
