/** One node as the product's code sees it: its agent, and the newest that it has said to everybody. */
import { compose, composeAsks, type KeepState } from '../../../../node-agent/agent/keep.ts';
import type { Report } from '../../../../schemas/wire.ts';
import { Agent, type Ask } from './agent.ts';
import { GROUP } from './guard.ts';

/** Something under way, and when it was sent. */
export interface Sent<What> {
  readonly what: What;
  readonly atMs: number;
  /** Which process of the agent sent it: no other knows its id. */
  readonly process: number;
}

interface Said {
  /** By the version of the voters that they name. */
  readonly renewals: ReadonlyMap<number, Sent<Report>>;
  readonly claim: Sent<Report> | undefined;
  /** Of an incarnation that has ended. */
  readonly oldClaim: Sent<Report> | undefined;
  readonly release: Sent<Report> | undefined;
  /** By the one who is asked. */
  readonly asks: ReadonlyMap<string, Sent<Ask>>;
}

const NOTHING: Said = {
  renewals: new Map(),
  claim: undefined,
  oldClaim: undefined,
  release: undefined,
  asks: new Map(),
};

export class CodeNode extends Agent {
  #messages = 0;
  said: Said = NOTHING;
  /** It claims whenever it may; otherwise only when it is told to. */
  wants = false;

  override save(): () => void {
    const restore = super.save();
    const { said, wants } = this;
    return () => {
      restore();
      this.said = said;
      this.wants = wants;
    };
  }

  endAgent(nowMs: number): void {
    this.sendAll(nowMs);
    this.killed();
  }

  override killed(): void {
    super.killed();
    this.said = { ...this.said, asks: new Map() };
  }

  /** The host or its guard is lost. */
  endIncarnation(nowMs: number): void {
    this.claimNow(nowMs);
    this.endAgent(nowMs);
    this.group = 'down';
    this.guard.begin(0);
    this.said = { ...this.said, claim: undefined, oldClaim: this.said.claim ?? this.said.oldClaim };
  }

  /**
   * Nobody tells whom it keeps out for, so that the coordinator, which would then grant nothing, has to do without.
   * @param claim whether it may claim: which node is best is not the model's affair.
   */
  #compose(state: KeepState, claim: boolean, nowMs: number): Report {
    const seen = state.observed[GROUP];
    const told =
      seen === undefined ? {} : { [GROUP]: { ...seen, claim: claim ? ('now' as const) : ('never' as const) } };
    this.#messages += 1;
    const id = `${this.incarnation}.${this.#messages}`;
    const composed = compose({ ...state, observed: told }, id, '0.1.0', {}, nowMs);
    const { promises, quarantineEndMs, releases, observed } = this.keep ?? state;
    this.keep = { ...composed.state, promises, quarantineEndMs, releases, observed };
    const { promised: _untold, ...report } = composed.report;
    return report;
  }

  /** A report that renews, releases and claims nothing. */
  hello(nowMs: number): Report | undefined {
    if (this.keep === undefined) return undefined;
    return { ...this.#compose(this.keep, false, nowMs), leases: [], claims: [], releases: [] };
  }

  /** What a renewal would say now. Nothing is changed. */
  renewal(nowMs: number): Report['leases'][number] | undefined {
    return this.keep === undefined ? undefined : compose(this.keep, 'never sent', '0.1.0', {}, nowMs).report.leases[0];
  }

  /** Sends whatever it has to say now. */
  sendAll(nowMs: number): void {
    if (!this.runs || this.keep === undefined) return;
    const report = this.#compose(this.keep, this.wants, nowMs);
    const sent = <What>(what: What): Sent<What> => ({ what, atMs: nowMs, process: this.process });
    const part = (some: Partial<Report>) => sent({ ...report, leases: [], claims: [], releases: [], ...some });
    const [lease] = report.leases;
    if (lease !== undefined)
      this.said = {
        ...this.said,
        renewals: new Map([...this.said.renewals, [lease.voters ?? 0, part({ leases: report.leases })]]),
      };
    if (report.claims.length > 0) this.said = { ...this.said, claim: part({ claims: report.claims }) };
    if (report.releases.length > 0) this.said = { ...this.said, release: part({ releases: report.releases }) };
    const composed = composeAsks(this.keep, () => `${this.incarnation}.${++this.#messages}`, nowMs);
    this.keep = composed.state;
    const asks = composed.questions.map(
      ({ to, id, leaseMs, leases }) => [to, sent({ id, from: this.name, leaseMs, leases: [...leases] })] as const,
    );
    this.said = { ...this.said, asks: new Map([...this.said.asks, ...asks]) };
  }

  /**
   * Claims now, whatever it has promised, in its quarantine, and while a release is unanswered. That an agent claims nothing then (P4) is
   * for liveness; what keeps the group from running twice is what it does with a grant.
   */
  claimNow(nowMs: number): void {
    if (!this.runs || this.keep === undefined) return;
    const report = this.#compose({ ...this.keep, promises: {}, releases: {}, quarantineEndMs: 0 }, true, nowMs);
    if (report.claims.length === 0) return;
    const what = { ...report, leases: [], releases: [] };
    this.said = { ...this.said, claim: { what, atMs: nowMs, process: this.process } };
  }
}
