/** The tables of bench:failover, from what was measured. */
import { figure, type Summary, spread, summarize, table } from './summary.ts';

export interface Measured {
  readonly outageMs: number;
  /** The resources' own starts of that takeover, by their ids, where the stack reports them. */
  readonly startsMs?: Readonly<Record<string, number>>;
  /** How long two living hosts had the address, by the kernel's own events. */
  readonly overlapMs?: number;
  readonly note?: string;
}

/** Contender, scenario → measurements. */
export type Results = Record<string, Record<string, Measured[]>>;

/** What nginx's OCF agent takes by itself, by hand on an idle host. */
export interface OwnTimes {
  readonly start: Summary;
  readonly stop: Summary;
}

export const titles = {
  'holdfast-default': 'Holdfast default',
  'holdfast-fast': 'Holdfast fast',
  keepalived: 'keepalived 1 s',
  'pacemaker-2': 'Pacemaker 2 nodes',
  'pacemaker-3': 'Pacemaker 3 nodes',
} as const;
export type ContenderName = keyof typeof titles;

const scenarios = {
  power: 'power loss → service answers',
  move: 'planned move',
  kill: 'web server killed → answers',
  cold: 'cold start → service answers',
  cable: 'LAN cable pulled for 15 s',
  'all-cables': 'all cables pulled for 15 s',
} as const;
type ScenarioName = keyof typeof scenarios;

const contenderNames = Object.keys(titles) as ContenderName[];
const scenarioNames = Object.keys(scenarios) as ScenarioName[];
const timed: readonly ScenarioName[] = ['power', 'move', 'kill', 'cold'];

const seconds = (values: readonly number[]) =>
  `${spread(summarize(values.map((ms) => ms / 1_000)))} s, n ${values.length}`;

const present = (results: Results) => contenderNames.filter((name) => name in results);
const outagesMs = (results: Results, contender: string, scenario: string) =>
  results[contender]?.[scenario]?.map(({ outageMs }) => outageMs);

/** What the client saw, and below it for how long two hosts had the address. */
export function overview(results: Results): string {
  const outage = (contender: string, scenario: string) => {
    const found = outagesMs(results, contender, scenario);
    return found === undefined ? '–' : seconds(found);
  };
  const overlap = (contender: string, scenario: string) => {
    const found = (results[contender]?.[scenario] ?? []).flatMap(({ overlapMs }) => overlapMs ?? []);
    if (found.length === 0) return '–';
    return Math.max(...found) === 0 ? `never, n ${found.length}` : seconds(found);
  };
  const names = present(results);
  const rows = [
    ...scenarioNames.map((scenario) => [scenarios[scenario], ...names.map((name) => outage(name, scenario))]),
    ...scenarioNames
      .filter((scenario) => scenario !== 'kill')
      .map((scenario) => [`${scenarios[scenario]}: two owners`, ...names.map((name) => overlap(name, scenario))]),
  ];
  return table(['median (min – max)', ...names.map((name) => titles[name])], rows);
}

/** Ours over theirs, by the medians of this run; empty without both. */
export function ratios(results: Results): string {
  const isOurs = (name: ContenderName) => name.startsWith('holdfast');
  const peers = present(results).filter((name) => !isOurs(name));
  const rows = present(results)
    .filter(isOurs)
    .flatMap((ours) =>
      timed.map((scenario) => {
        const own = outagesMs(results, ours, scenario);
        const cells = peers.map((peer) => {
          const theirs = outagesMs(results, peer, scenario);
          if (own === undefined || theirs === undefined) return '–';
          return `${(summarize(own).median / summarize(theirs).median).toFixed(2)} ×`;
        });
        return [titles[ours], scenarios[scenario], ...cells];
      }),
    );
  if (peers.length === 0 || rows.length === 0) return '';
  return table(['ours ÷ theirs', '', ...peers.map((name) => titles[name])], rows);
}

/**
 * What is left of an outage without the resources' own times: nginx's by hand, the same for all, and for a stack that reports the starts
 * of its resources also all of these. A move contains nginx's stop, too.
 */
export function beyond(results: Results, own: OwnTimes): string {
  const rows = present(results)
    .filter((name) => name !== 'keepalived')
    .flatMap((name) =>
      timed.flatMap((scenario) => {
        const found = results[name]?.[scenario];
        if (found === undefined) return [];
        const stopMs = scenario === 'move' ? own.stop.median : 0;
        const withoutNginx = found.map(({ outageMs }) => outageMs - own.start.median - stopMs);
        const reported = found.map(({ startsMs = {} }) => {
          const counts = Object.entries(startsMs).filter(([id]) => scenario !== 'kill' || id === 'nginx');
          return counts.reduce((sum, [, ms]) => sum + ms, 0);
        });
        const reports = reported.every((ms) => ms > 0);
        const withoutAll = found.map(({ outageMs }, run) => outageMs - (reported[run] ?? 0) - stopMs);
        const startsS = reports ? `${figure(summarize(reported).median / 1_000)} s` : '–';
        return [
          [titles[name], scenarios[scenario], seconds(withoutNginx), reports ? seconds(withoutAll) : '–', startsS],
        ];
      }),
    );
  const head = ['', '', 'beyond nginx’s own', 'beyond all resources’ own', 'their starts, as reported'];
  const { start, stop } = own;
  const byHand = `nginx by its OCF agent, by hand on an idle host: start ${seconds(start.values)}; stop ${seconds(stop.values)}.`;
  return `${table(head, rows)}\n\n${byHand}`;
}
