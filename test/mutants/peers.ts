/** What agents say to each other: only what is authentic, for this node and new counts. */
import type { Mutant } from './mutant.ts';

const SESSION = 'schemas/session.ts';
const CODE = 'node-agent/agent/peer-code.ts';
const SESSIONS = 'node-agent/agent/peer-sessions.ts';
const PEERS = 'node-agent/agent/peers.ts';
const CODE_TEST = 'node-agent/agent/peer-code.test.ts';
const SESSIONS_TEST = 'node-agent/agent/peer-sessions.test.ts';
const AUTHENTIC_TEST = 'node-agent/agent/peers-authentic.test.ts';
const REPLAY_TEST = 'node-agent/agent/peers-replay.test.ts';

const AUTHENTICITY = 'transport: authenticity';
const REPLAY = 'transport: replay';

export const PEER_MESSAGES: readonly Mutant[] = [
  {
    name: 'mac',
    rule: AUTHENTICITY,
    guard: 'a message counts only with the MAC of the pair',
    file: CODE,
    find: "  if (!timingSafeEqual(datagram.subarray(MAGIC.length, BODY_AT), macOf(body, key))) return { problem: 'forged' };\n",
    replace: '',
    why: 'whoever has the LAN promises in the name of every voter',
    check: [CODE_TEST, 'is refused with any of its bits turned'],
  },
  {
    name: 'direction',
    rule: AUTHENTICITY,
    guard: 'a message counts only for the node that it is addressed to',
    file: CODE,
    find: "return parsed.data.to === node ? { message: parsed.data } : { problem: 'misdirected' };",
    replace: 'return { message: parsed.data };',
    why: 'what was said to another, by a key that two share, is taken for one’s own',
    check: [CODE_TEST, 'for another node, by the key of this pair is refused: misdirected'],
  },
  {
    name: 'direction/sender',
    rule: AUTHENTICITY,
    guard: 'a message is of the node whose key it was checked with',
    file: CODE,
    find: 'if (!parsed.success || parsed.data.from !== sender) return',
    replace: 'if (!parsed.success) return',
    why: 'one peer speaks in the name of another',
    check: [CODE_TEST, 'that names its sender twice is refused: malformed'],
  },
  {
    name: 'direction/own',
    rule: AUTHENTICITY,
    guard: 'what this node could have sent itself counts for nothing',
    file: CODE,
    find: "  if (sender === node) return { problem: 'own' };\n",
    replace: '',
    why: 'an owner is its own voter where an address of a peer is one of its own',
    check: [CODE_TEST, 'that this node could have sent itself is refused: own'],
  },
  {
    name: 'pair-key',
    rule: AUTHENTICITY,
    guard: 'the key is that of two nodes of one cluster, and of no other names',
    file: CODE,
    find: "const info = ['holdfast peer messages', PEER_MAGIC, own.cluster, ...names].join('\\0');",
    replace: "const info = ['holdfast peer messages', PEER_MAGIC].join('\\0') + names.slice(2).join();",
    why: 'what two machines say in one cluster counts in another that they share',
    check: [CODE_TEST, 'is the same for both, and another one for every pair, cluster and name'],
  },
  {
    name: 'pair-key/low-order',
    rule: AUTHENTICITY,
    guard: 'no key is made with a point whose secret everybody knows',
    file: SESSION,
    find: "  if (secret.every((byte) => byte === 0)) throw new Error('a point of low order');\n",
    replace: '',
    and: [
      {
        file: SESSION,
        find: "  const secret = diffieHellman({ privateKey, publicKey: publicKeyOf('X25519', theirs) });\n",
        replace: `  let secret: Buffer;
  try {
    secret = diffieHellman({ privateKey, publicKey: publicKeyOf('X25519', theirs) });
  } catch {
    secret = Buffer.alloc(MAC_BYTES);
  }
`,
      },
    ],
    why: 'a coordinator, or whoever writes its data, speaks for that node without its key',
    check: [CODE_TEST, 'is not made with a public key that is of order 8'],
  },
  {
    name: 'peers-only',
    rule: AUTHENTICITY,
    guard: 'only peers of the present list are heard',
    file: PEERS,
    find: '      this.#known.delete(name);\n',
    replace: '',
    why: 'a node that was removed goes on promising',
    check: [AUTHENTIC_TEST, 'is a peer that was removed'],
  },
  {
    name: 'replayed-ask',
    rule: REPLAY,
    guard: 'a question counts once, and none before it any more',
    file: SESSIONS,
    find: "    if (highest !== undefined && ask.sequence <= highest) return 'replayed';\n",
    replace: '',
    why: 'a recorded question binds a voter to an owner that is dead',
    check: [SESSIONS_TEST, 'is fresh once; then neither it nor what was sent before it is'],
  },
  {
    name: 'replayed-ask/session',
    rule: REPLAY,
    guard: 'a question counts only in a session of the one asked',
    file: SESSIONS,
    find: "    if (!this.#isOpen(ask.session, nowMs)) return 'unheard';\n",
    replace: '',
    why: 'after a restart of the voter’s agent a recorded question binds it again',
    check: [REPLAY_TEST, 'a question repeated after its listener has started again promises nothing'],
  },
  {
    name: 'replayed-ask/unheard',
    rule: REPLAY,
    guard: 'an unheard question is told the session and promised nothing',
    file: PEERS,
    find: '        this.#answer(ask, { unheard: true, promised: [], refused: [] }, source);\n',
    replace: `        this.#options.onAsk(ask, ({ promised, refused }) =>
          this.#answer(ask, { unheard: true, promised, refused }, source),
        );
`,
    why: 'a recorded question binds a voter, whose answer nobody counts',
    check: [REPLAY_TEST, 'a question repeated after its listener has started again promises nothing'],
  },
  {
    name: 'replayed-ask/term',
    rule: REPLAY,
    guard: 'a session ends after its term: a question that was held back is worth nothing',
    file: SESSIONS,
    find: 'one?.id === session && nowMs < one.drawnMs + 2 * SESSION_MS);',
    replace: 'one?.id === session && nowMs >= one.drawnMs);',
    why: 'a question of long ago binds a voter to an owner that is dead',
    check: [SESSIONS_TEST, 'that was held back while nothing else was heard is worth nothing either'],
  },
  {
    name: 'replayed-ask/forgotten',
    rule: REPLAY,
    guard: 'whoever forgets what was heard of a peer draws a new session',
    file: SESSIONS,
    find: '    if (this.#highest.has(peer)) this.#startAnew(nowMs);\n',
    replace: '    if (this.#highest.delete(peer) && nowMs < 0) this.#startAnew(nowMs);\n',
    why: 'a recorded question of a peer that was removed and came back binds the voter again',
    check: [SESSIONS_TEST, 'of a peer that was removed and came back has to name another session'],
  },
  {
    name: 'replayed-ask/incarnations',
    rule: REPLAY,
    guard: 'whoever has to forget because there are too many incarnations draws a new session',
    file: SESSIONS,
    find: `    this.#highest.clear();
    this.#before = undefined;
    this.#current = { id: this.#draw(), drawnMs: nowMs };
  }
}`,
    replace: `    this.#highest.clear();
    if (nowMs < 0) this.#current = { id: this.#draw(), drawnMs: nowMs };
  }
}`,
    why: 'recorded questions of an old incarnation are new again',
    check: [SESSIONS_TEST, 'from one incarnation too many makes everything before it worthless'],
  },
  {
    name: 'replayed-ask/sequence',
    rule: REPLAY,
    guard: 'the sequence of an incarnation grows, also over a restart of its agent',
    file: SESSIONS,
    find: 'this.#sequence = Math.max(this.#sequence + 1, nowMs * 1_000);',
    replace: 'this.#sequence += nowMs > 0 ? 1 : 0;',
    why: 'after a restart every question of the owner is taken for a replay (liveness)',
    check: [SESSIONS_TEST, 'has a higher sequence than every one before, also after the agent has started again'],
  },
  {
    name: 'replayed-answer',
    rule: REPLAY,
    guard: 'an answer counts once',
    file: SESSIONS,
    find: "    if (question.state === 'answered') return { is: 'spare' };\n",
    replace: '',
    why: 'a recorded answer moves the peer’s session back and is delivered again',
    check: [SESSIONS_TEST, 'is answered once'],
  },
  {
    name: 'replayed-answer/peer',
    rule: REPLAY,
    guard: 'an answer counts only from the peer that was asked',
    file: SESSIONS,
    find: '    const question = asked?.outstanding.get(answer.id);\n',
    replace:
      '    const question = [...this.#peers.values()].map(({ outstanding }) => outstanding.get(answer.id)).find((found) => found);\n',
    why: 'one voter answers for another',
    check: [SESSIONS_TEST, 'is not answered by another peer than the one asked'],
  },
  {
    name: 'replayed-answer/age',
    rule: REPLAY,
    guard: 'an answer counts no longer than the lease of its question',
    file: SESSIONS,
    find: "    if (nowMs >= question.sentMs + question.body.leaseMs) return { is: 'unasked' };\n",
    replace: '',
    why: 'an answer that was held back is delivered when it means nothing any more',
    check: [SESSIONS_TEST, 'is answered no later than its lease ends'],
  },
  {
    name: 'replayed-answer/unheard',
    rule: REPLAY,
    guard: 'that a question was not heard is no answer to it',
    file: SESSIONS,
    find: '    if (!answer.unheard) {\n',
    replace: '    if (!answer.unheard || nowMs > 0) {\n',
    why: 'the owner counts on voters that have looked at nothing',
    check: [SESSIONS_TEST, 'and was not heard is repeated once, in the session that was told'],
  },
];
