/** What goes into a report beside leases, told until the coordinator has acknowledged it (node-agent/agent/reporting.ts). */

import type { KeepState } from '../../node-agent/agent/keep.ts';
import { withCleanups } from '../../node-agent/agent/keep-orders.ts';
import type { PeerEndpoint } from '../../schemas/peer.ts';
import type { GroupReport, Refusal, Report } from '../../schemas/wire.ts';
import type { Runner } from './runner.ts';

/** As signatures: of each group, of the refusals, and of the endpoint. */
type Known = Map<string, string>;
const REFUSALS = '/refusals';
const ENDPOINT = '/endpoint';
const NOTHING: Known = new Map();

export class Telling {
  readonly #endpoint: PeerEndpoint;
  /** By request: what the coordinator knows when it has answered it. */
  readonly #told = new Map<string, Known>();
  readonly #known: Known = new Map();

  constructor(endpoint: PeerEndpoint) {
    this.#endpoint = endpoint;
  }

  /** What there is to tell with the request of this id. */
  next(
    id: string,
    held: KeepState['held'],
    runners: Iterable<Runner>,
    refusals: readonly Refusal[],
  ): Pick<Report, 'groups' | 'refusals' | 'endpoint'> {
    const groups: GroupReport[] = [];
    let told: Known | undefined;
    const tell = (key: string, signature: string) => {
      if (this.#known.get(key) === signature) return false;
      told ??= new Map();
      told.set(key, signature);
      return true;
    };
    for (const runner of runners) {
      const lease = held[runner.name];
      if (lease !== undefined && tell(runner.name, signatureOf(runner, lease)))
        groups.push(withCleanups(runner.report(), lease));
    }
    const refused = wordsOf(refusals);
    const telling: Pick<Report, 'groups' | 'refusals' | 'endpoint'> = {
      ...(groups.length === 0 ? {} : { groups }),
      ...(tell(REFUSALS, refused) ? { refusals: [...refusals] } : {}),
      ...(tell(ENDPOINT, 'told') ? { endpoint: this.#endpoint } : {}),
    };
    this.#told.set(id, told ?? NOTHING);
    return telling;
  }

  /** Requests whose answers no longer count are forgotten; what they told is told again. */
  forgetAllBut(requests: ReadonlyMap<string, unknown>): void {
    for (const id of this.#told.keys()) {
      if (requests.has(id)) return;
      this.#told.delete(id);
    }
  }

  /** @param anew by a coordinator that started anew: it may have lost what it was told. */
  answered(id: string, anew: boolean): void {
    if (anew) this.#known.clear();
    const told = this.#told.get(id);
    this.#told.delete(id);
    for (const [key, signature] of told ?? NOTHING) this.#known.set(key, signature);
  }

  refusalsAreKnown(refusals: readonly Refusal[]): boolean {
    return this.#known.get(REFUSALS) === wordsOf(refusals);
  }

  /** A change of the group's own state is told at once; a resource more or less can wait for the next renewal. */
  isUrgent(runner: Runner, held: KeepState['held'][string]): boolean {
    const known = this.#known.get(runner.name);
    const signature = signatureOf(runner, held);
    if (known === signature) return false;
    const [epoch, state] = signature.split(' ', 2);
    return known?.startsWith(`${epoch} ${state} `) !== true;
  }
}

function wordsOf(refusals: readonly Refusal[]): string {
  return refusals.length === 0 ? '[]' : JSON.stringify(refusals);
}

/** With the cleanups that a hold is told with. */
function signatureOf(runner: Runner, held: KeepState['held'][string]): string {
  const { signature } = runner;
  return held.cleanups === undefined ? signature : `${signature} ${held.cleanups}`;
}
