/** Can the agent here and those of the other nodes make each other promises (protocol.md O2, P1), so that services outlive the coordinator? */
import type { Declared } from './declared.ts';
import { type Finding, sayer } from './finding.ts';

/** Where the agent is to listen; no address: every one. */
export interface ListenAt {
  readonly address?: string | undefined;
  readonly port: number;
}

export interface PeerFacts {
  readonly node: string;
  readonly stateDir: string;
  readonly listen: ListenAt;
  /** The machine has the address; also where none is named. */
  readonly addressHere: boolean;
  /** Who has the port: the agent, nobody, or a program and its process. */
  readonly port: 'agent' | 'free' | { readonly taken: string };
  /** It answers on its socket. */
  readonly agentRuns: boolean;
  /** The nodes that the agent knows as peers, and where they listen; undefined: it has not been told of any. */
  readonly known: ReadonlyMap<string, string> | undefined;
  /** By peer, how long ago it was last heard, as the agent says; null: not since it started. Undefined: the agent does not say. */
  readonly heardMs: Readonly<Record<string, number | null>> | undefined;
  /** By node, the groups for which promises are asked and given now. */
  readonly exchanges: ReadonlyMap<string, readonly string[]>;
  /** The coordinator knows where this node listens; undefined: it was not asked. */
  readonly told: boolean | undefined;
}

const { ok, warning, error, unknown } = sayer('peers');

/** Questions go out about every second, also while the coordinator answers. */
const HEARD_WITHIN_MS = 10_000;
const AT_STAKE = 'what runs here stops when the coordinator is away for longer than a lease';

/** Nothing is said of a machine whose groups run nowhere else: nobody has to promise anything. */
export function peerFindings(facts: PeerFacts, declared: Declared): Finding[] {
  const { node, agentRuns, known } = facts;
  const groups = declared.groups.filter(({ requiresUplink }) => !requiresUplink);
  const others = [...new Set(groups.flatMap(({ on }) => on))].filter((name) => name !== node);
  if (others.length === 0) return [ok('peers', 'no group here needs the promise of another node')];
  const found = portFindings(facts);
  if (!agentRuns)
    return [...found, unknown('peers', 'the agent does not run, so whether it hears the other nodes is not known')];
  if (known === undefined)
    return [
      ...found,
      warning(
        'peers',
        `the agent has not been told of any: ${AT_STAKE}`,
        'the coordinator tells it with its first answer: see that the agent reaches it',
      ),
    ];
  return [...found, ...others.map((peer) => peerFinding(peer, facts, known))];
}

function portFindings({ listen, addressHere, port, agentRuns, stateDir, told }: PeerFacts): Finding[] {
  const subject = `UDP port ${listen.port}`;
  const file = `${stateDir}/node.json`;
  const restart = 'systemctl restart holdfast';
  if (!addressHere)
    return [
      error(
        subject,
        `is to be listened on at ${listen.address}, which this machine does not have: ${AT_STAKE}`,
        `give the machine that address, or correct \`lan\` in ${file}; then: ${restart}`,
      ),
    ];
  if (typeof port === 'object')
    return [
      error(
        subject,
        `${port.taken} has it, so the agent cannot listen: ${AT_STAKE}`,
        `end that program, or give the agent another port, "lan": {"port": ${listen.port + 1}} in ${file}; then: ${restart}`,
      ),
    ];
  if (port === 'free')
    return agentRuns
      ? [
          error(
            subject,
            `the agent does not listen there: ${AT_STAKE}`,
            `journalctl -u holdfast says why; then: ${restart}`,
          ),
        ]
      : [ok(subject, 'is free for the agent')];
  if (told === false)
    return [
      warning(
        subject,
        'the agent listens there, and the coordinator does not know it: nobody asks it for promises',
        'see that the agent reaches the coordinator, and that both are of this version or newer',
      ),
    ];
  return [ok(subject, `the agent listens there, at ${listen.address ?? 'every address'}`)];
}

function peerFinding(peer: string, { heardMs, exchanges }: PeerFacts, known: ReadonlyMap<string, string>): Finding {
  const groups = exchanges.get(peer) ?? [];
  const where = known.get(peer);
  if (where === undefined)
    return warning(
      peer,
      'has told nobody where it listens, so it promises nothing',
      `on ${peer}: holdfast doctor; its agent has to run, be of this version or newer, and listen`,
    );
  if (heardMs === undefined) return unknown(peer, 'the agent does not say when it was last heard');
  const agoMs = heardMs[peer] ?? null;
  const heard =
    agoMs === null ? 'was not heard since the agent started' : `was heard ${(agoMs / 1_000).toFixed(1)} s ago`;
  if (agoMs !== null && agoMs <= HEARD_WITHIN_MS) return ok(peer, heard);
  if (groups.length === 0) return ok(peer, 'nothing is exchanged with it now');
  return warning(
    peer,
    `${heard}: an outage of the coordinator would stop ${groups.join(', ')}`,
    `let UDP through between the two nodes, both ways, to the port of each (${peer}: ${where}); where an address is not the one to use: \`lan\` in node.json there`,
  );
}
