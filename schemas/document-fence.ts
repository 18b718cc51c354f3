/** What a group demands of the fuse of its nodes: by its own word, or because a disk of it is shared. */
import { SHARED_DISK_RISK } from './config.ts';
import type { PartsOfGroup, ReportProblem } from './document-parts.ts';
import { pathText, type Source } from './document-source.ts';
import type { Fence } from './fuse.ts';

/** @returns the demand with the default filled in; words that contradict each other are reported. */
export function fenceOf({ name, rules, resources }: PartsOfGroup, source: Source, report: ReportProblem): Fence {
  const path = ['groups', name, 'fence'];
  let shared: string | undefined;
  resources.forEach((resource, index) => {
    const mount = resource?.mount;
    if (mount === undefined || typeof mount === 'string' || mount.disk !== 'shared') return;
    const at = ['groups', name, 'resources', index, 'mount'];
    if (mount.acceptRisk === undefined) shared ??= pathText(at);
    else if (rules.fence === 'watchdog')
      report(
        [...at, 'acceptRisk'],
        source.keyAt([...at, 'acceptRisk']),
        'with `fence: watchdog` the group runs only where a watchdog resets the node, so there is no risk to accept: leave one of them out',
      );
  });
  if (shared !== undefined && rules.fence === 'guard')
    report(
      path,
      source.valueAt(path),
      `the shared disk of ${shared} demands a watchdog, which resets a node that cannot let go of it: leave \`fence\` out, or write \`acceptRisk: ${SHARED_DISK_RISK}\` at the mount`,
      'watchdog',
    );
  return rules.fence ?? (shared === undefined ? 'guard' : 'watchdog');
}
