/** A simulation in words: is everything served, then what changes, then what is to be thought of. Pure. */
import type { SimulatedEnd, Simulation } from '../../schemas/api.ts';
import type { Io } from './io.ts';
import { candidateTable } from './status-text.ts';
import { count, lasting, oneLine, table } from './text.ts';

type Group = Simulation['groups'][string];
type Paint = Pick<Io, 'paint'>;

/** The nodes that were asked for each group are shown for so many groups that change; `--json` has them for all. */
const EXPLAINED_GROUPS = 3;

const words: Readonly<Record<SimulatedEnd, string>> = {
  stays: 'stays',
  restarts: 'restarts',
  moves: 'moves',
  'fails-over': 'fails over',
  starts: 'starts',
  stops: 'stops',
  down: 'DOWN',
};

export function simulationText(simulation: Simulation, io: Paint): string {
  const changed = Object.entries(simulation.groups)
    .filter(([, { how }]) => how !== 'stays')
    .toSorted(([, a], [, b]) => Number(b.how === 'down') - Number(a.how === 'down'));
  const stay = Object.keys(simulation.groups).length - changed.length;
  const parts = [headline(simulation, io)];
  if (changed.length > 0) {
    const rows = changed.map(([name, group]) => [
      name,
      place(group.before),
      place(group.after),
      painted(group.how, io),
      effect(group),
    ]);
    parts.push(table(['GROUP', 'NOW', 'THEN', 'IT', 'NOT SERVED'], rows));
  }
  if (stay > 0)
    parts.push(`${count(stay, 'group')} ${stay === 1 ? 'stays' : 'stay'} as ${stay === 1 ? 'it is' : 'they are'}`);
  const decided = changed.filter(([, { candidates }]) => candidates.length > 0);
  if (decided.length <= EXPLAINED_GROUPS)
    for (const [name, { candidates }] of decided)
      parts.push(`${name} would be decided between:\n${candidateTable(name, candidates, null)}`);
  if (simulation.warnings.length > 0)
    parts.push(simulation.warnings.map((warning) => `! ${oneLine(warning)}`).join('\n'));
  return parts.join('\n\n');
}

function headline(simulation: Simulation, { paint }: Paint): string {
  const { down, groups } = simulation;
  const all = count(Object.keys(groups).length, 'group');
  const verdict =
    down.length === 0
      ? `${paint('green', 'OK')}: every group that should be served is served`
      : `${paint('red', 'DOWN')}: ${down.length} of ${all} would not be served: ${down.join(', ')}`;
  return [
    `${simulation.cluster}, if ${assumptions(simulation)} (nothing is changed)`,
    verdict,
    ...borne(simulation),
  ].join('\n');
}

/** What the absence of the coordinator means to the groups that live on promises, and to the others. */
function borne({ absence, down }: Simulation): string[] {
  if (absence === undefined) return [];
  const { goesOn = [] } = absence;
  const stopped = lasting(absence.stoppedMs);
  const lines: string[] = [];
  if (goesOn.length > 0)
    lines.push(
      `${named(goesOn)} ${goesOn.length === 1 ? 'goes' : 'go'} on while the voters see each other; when one of its voters is lost meanwhile a group stops within ${stopped}, and until the coordinator is back nobody takes over`,
    );
  if (down.length > 0 || goesOn.length === 0)
    lines.push(
      `${goesOn.length === 0 ? 'an' : 'of the others an'} absence of less than ${lasting(absence.unnoticedMs)} is not noticed; after ${stopped} at the latest ${goesOn.length === 0 ? 'everything has' : 'they have'} been stopped`,
    );
  return lines;
}

/** More names than this in one line help nobody. */
const NAMES_SHOWN = 8;

function named(names: readonly string[]): string {
  const more = names.length - NAMES_SHOWN;
  return more > 0 ? `${names.slice(0, NAMES_SHOWN).join(', ')} and ${more} more` : names.join(', ');
}

function assumptions({ assumed: { down, standby, coordinatorDown, document } }: Simulation): string {
  const list = (names: readonly string[]) => names.join(' and ');
  return [
    ...(document ? ['the document were applied'] : []),
    ...(standby.length > 0 ? [`${list(standby)} were drained`] : []),
    ...(down.length > 0 ? [`${list(down)} lost power`] : []),
    ...(coordinatorDown ? ['the coordinator went away'] : []),
  ].join(' and ');
}

function place(at: Group['before']): string {
  if (at === null) return '-';
  return at.owner === null ? at.state : `${at.state} on ${at.owner}`;
}

function painted(how: SimulatedEnd, { paint }: Paint): string {
  if (how === 'down') return paint('red', words[how]);
  return how === 'starts' ? words[how] : paint('yellow', words[how]);
}

/** For how long, and what is in it; of what is down: why. */
function effect({ how, after, interruptedMs, interruption }: Group): string {
  if (how === 'down') return `${interruption}: ${oneLine(after?.reason ?? 'no reason is known')}`;
  return interruptedMs === null ? interruption : `${lasting(interruptedMs)}: ${interruption}`;
}
