/** May systemd's units be run by leases alone? The same judgement by which the agent refuses them. */
import { activatorTrouble, unitTrouble } from '../resources/index.ts';
import { shellWord, type UnitState } from '../system/index.ts';
import { aptGet, packageOfUnit } from './debian.ts';
import type { Wanted } from './declared.ts';
import { type Finding, sayer } from './finding.ts';

export interface UnitFacts {
  readonly wanted: Wanted<'service'>;
  readonly state: UnitState | { readonly unreadable: string };
  /** Sockets, timers and the like that start it and are active. */
  readonly activators: readonly string[];
}

const { ok, error, unknown } = sayer('units');

export function unitFindings(facts: readonly UnitFacts[]): Finding[] {
  return facts.map(({ wanted: { subject, resource }, state, activators }) => {
    const { unit } = resource;
    if ('unreadable' in state) return unknown(subject, `${unit} was not looked at: ${state.unreadable}`);
    const trouble = unitTrouble(unit, state);
    if (trouble !== undefined) return error(subject, trouble.what, fixOf(unit, state, trouble.fix, subject));
    const [activator] = activators;
    if (activator !== undefined) {
      const { what, fix } = activatorTrouble(unit, activator);
      return error(subject, what, fix);
    }
    return ok(subject, `${unit} is there, and nothing but a lease starts it`);
  });
}

function fixOf(unit: string, state: UnitState, usual: string, subject: string): string {
  const brings = packageOfUnit(unit);
  if (state.load === 'not-found' && brings !== undefined)
    return `${aptGet(brings)} && systemctl disable --now ${shellWord(unit)}`;
  if (state.load === 'loaded' && state.id !== unit)
    return `write \`service: ${state.id}\` for ${subject} in the document`;
  return usual;
}
