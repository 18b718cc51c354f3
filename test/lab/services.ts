/** Services that hosts can run, set up so that an OCF agent, and therefore the product, can start them. */
import { readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Finished, mustRun } from './command.ts';
import type { Host } from './host.ts';
import { withLock } from './lock.ts';
import { cacheDir } from './paths.ts';

/** A resource as OCF knows it: `provider:type`, and parameters. */
export interface OcfResource {
  agent: string;
  params: Readonly<Record<string, string>>;
}

/** MariaDB with its data below /srv/mysql, so that a mounted volume can take its place. Measured: start takes 4.1 s, because the agent sleeps. */
export const mariadb = {
  agent: 'heartbeat:mysql',
  params: {
    binary: '/usr/bin/mysqld_safe',
    config: '/etc/mysql/my.cnf',
    datadir: '/srv/mysql/data',
    log: '/srv/mysql/error.log',
    pid: '/run/mysqld/mysqld.pid',
    socket: '/run/mysqld/mysqld.sock',
    additional_parameters: '--bind-address=0.0.0.0',
  },
} as const satisfies OcfResource;

/** nginx on port 80 of every address, answering with its host's name. Its `validate-all` fails though it works: do not ask. */
export const nginx = {
  agent: 'heartbeat:nginx',
  params: { configfile: '/etc/nginx/nginx.conf', port: '80' },
} as const satisfies OcfResource;

/** Agents that misbehave on demand, see `ocf/test-agent`. */
export const testAgents = ['dummy', 'daemon', 'failstart', 'hangstop', 'stubborn', 'server', 'liar'] as const;
export type TestAgent = (typeof testAgents)[number];

/**
 * A client that only reads the greeting counts as a failed connection, of which the server takes 100 before it locks the
 * client out. Small logs and buffers: a copy of the data directory per host has to be cheap.
 */
const mariadbConfig = `[mysqld]
user = mysql
skip-name-resolve
max_connect_errors = 4294967295
log_warnings = 1
innodb_log_file_size = 8M
innodb_buffer_pool_size = 16M
innodb_flush_log_at_trx_commit = 1
performance_schema = OFF
`;

/** To a client from an address that no user may come from, the server sends an error in place of its greeting. */
const mariadbUsers = `FLUSH PRIVILEGES;
CREATE DATABASE lab;
CREATE USER 'lab'@'%';
GRANT ALL ON lab.* TO 'lab'@'%';
`;

/** Gives a host a MariaDB that was never started: configuration, data directory, database and user `lab`, no password. */
export async function installMariadb(host: Host): Promise<void> {
  await host.writeFile(mariadb.params.config, mariadbConfig);
  const target = await host.path('/srv/mysql');
  const template = await mariadbTemplate(host);
  await mustRun(['cp', '-a', '--sparse=always', template, target]);
  await host.mustExec(['chown', '-R', 'mysql:mysql', '/srv/mysql']);
}

/** A fresh data directory, made once per version by the first host that needs one. */
async function mariadbTemplate(host: Host): Promise<string> {
  const version = /Ver (\S+)/.exec(await host.mustExec(['mariadbd', '--version']))?.[1] ?? 'unknown';
  const template = join(cacheDir, `mariadb-${version}`);
  const ready = async () => (await stat(template).catch(() => undefined)) !== undefined;
  if (await ready()) return template;
  await withLock('mariadb', async () => {
    if (await ready()) return;
    const building = '/srv/mysql-template';
    await host.mustExec(['install', '-d', '-o', 'mysql', '-g', 'mysql', building]);
    const options = [
      '--user=mysql',
      `--datadir=${building}/data`,
      '--auth-root-authentication-method=socket',
      '--skip-test-db',
    ];
    await host.mustExec(['mariadb-install-db', `--defaults-file=${mariadb.params.config}`, ...options]);
    const bootstrap = [
      'mariadbd',
      `--defaults-file=${mariadb.params.config}`,
      '--bootstrap',
      `--datadir=${building}/data`,
    ];
    await host.mustExec(bootstrap, { input: mariadbUsers });
    const made = await host.path(building);
    await rm(`${template}.new`, { recursive: true, force: true });
    await mustRun(['cp', '-a', '--sparse=always', made, `${template}.new`]);
    await rename(`${template}.new`, template);
    await rm(made, { recursive: true });
  });
  return template;
}

/** Gives a host an nginx that answers every request with the host's name in body and header. */
export async function installNginx(host: Host): Promise<void> {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const config = [
    'user www-data;',
    'worker_processes 1;',
    'pid /run/nginx.pid;',
    'error_log /run/nginx-error.log;',
    'events { worker_connections 512; }',
    'http {',
    '  access_log off;',
    ...temporary.map((name) => `  ${name}_temp_path /run/nginx-${name};`),
    '  server {',
    '    listen 80;',
    '    listen [::]:80;',
    `    location / { add_header X-Host ${host.name}; return 200 "${host.name}\\n"; }`,
    '  }',
    '}',
    '',
  ];
  await host.writeFile(nginx.params.configfile, config.join('\n'));
}

/** Gives a host the agents `holdfast-test:dummy` and its misbehaving sisters. */
export async function installTestAgents(host: Host): Promise<void> {
  const script = await readFile(join(import.meta.dirname, 'ocf/test-agent'), 'utf8');
  for (const name of testAgents) await host.writeFile(`/usr/lib/ocf/resource.d/holdfast-test/${name}`, script, 0o755);
}

/** Switches the fault of a test agent on, or off with `undefined`. The liar takes what its monitor is to say. */
export async function setFault(
  host: Host,
  agent: TestAgent,
  instance: string,
  fault: 'on' | 'running' | 'stopped' | 'failed' | undefined,
): Promise<void> {
  const flag = `/run/resource-agents/${agent}-${instance}.flag`;
  if (fault === undefined) await rm(await host.path(flag), { force: true });
  else await host.writeFile(flag, fault);
}

/** Calls an OCF agent by hand, as the product would. The exit code is OCF's: 0 success or running, 7 not running. */
export async function ocf(host: Host, resource: OcfResource, action: string, instance = 'by-hand'): Promise<Finished> {
  const [provider = '', type = ''] = resource.agent.split(':');
  const params = Object.entries(resource.params).map(([name, value]) => [`OCF_RESKEY_${name}`, value]);
  const env = {
    ...Object.fromEntries(params),
    OCF_ROOT: '/usr/lib/ocf',
    OCF_RA_VERSION_MAJOR: '1',
    OCF_RA_VERSION_MINOR: '1',
    OCF_RESOURCE_INSTANCE: instance,
    OCF_RESOURCE_TYPE: type,
    OCF_RESOURCE_PROVIDER: provider,
    OCF_RESKEY_CRM_meta_interval: '0',
    HA_LOGFACILITY: 'none',
  };
  const script = `/usr/lib/ocf/resource.d/${provider}/${type}`;
  return await host.exec([script, action], { env, cgroup: `system.slice/ocf-${instance}` });
}
