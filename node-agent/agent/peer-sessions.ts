/**
 * Which of the authentic messages between agents are new. Whoever has the LAN can record what is said on it, hold it back and say it
 * again; an old question must not bind a voter again, and an old answer must not extend a lease.
 *
 * A question counts if it names the session of the one asked and a higher sequence than every one before of that incarnation. An answer
 * counts if it names a question that waits for one, once. Whoever forgets what it has heard draws a new session, in which no question
 * was ever asked. Clocks of two hosts are not compared.
 */
import type { PeerAnswer, PeerAsk } from '../../schemas/peer.ts';

/** Incarnations that are remembered of one peer. */
export const MAX_INCARNATIONS = 16;
/**
 * A session is told to those who ask for so long, and accepted for twice that: a question that somebody held back is worth nothing
 * afterwards, or it would keep a voter from taking over for a dead owner. Longer than the pause between two questions, so that they go on
 * without an extra message.
 */
export const SESSION_MS = 10_000;
/** Questions to one peer that wait for an answer; beyond it the oldest is forgotten. 20 for all groups, every renewal, for several leases. */
export const MAX_OUTSTANDING = 256;
/** A peer that takes longer than this to answer is tried at all of its addresses: it may have gone from the one. */
export const SILENT_MS = 100;

/** What an authentic question is worth: `unheard` ones are told the session, and nothing else. */
export type Hearing = 'fresh' | 'unheard' | 'replayed';

interface Session {
  readonly id: string;
  readonly drawnMs: number;
}

/** Of the one who is asked. */
export class HeardAsks {
  readonly #draw: () => string;
  /** Highest sequence, by peer and incarnation. */
  readonly #highest = new Map<string, Map<string, number>>();
  #current: Session;
  #before: Session | undefined;

  /** @param draw a session that nobody can guess and that never was before. */
  constructor(draw: () => string, nowMs: number) {
    this.#draw = draw;
    this.#current = { id: draw(), drawnMs: nowMs };
  }

  /** What is told to those who ask. */
  session(nowMs: number): string {
    if (nowMs >= this.#current.drawnMs + SESSION_MS) {
      this.#before = this.#current;
      this.#current = { id: this.#draw(), drawnMs: nowMs };
    }
    return this.#current.id;
  }

  /** Only a fresh question leaves a trace here: recordings from before cannot push out what is known. */
  hear(ask: Pick<PeerAsk, 'from' | 'incarnation' | 'sequence' | 'session'>, nowMs: number): Hearing {
    const heard = this.#highest.get(ask.from) ?? new Map<string, number>();
    const highest = heard.get(ask.incarnation);
    if (highest !== undefined && ask.sequence <= highest) return 'replayed';
    if (!this.#isOpen(ask.session, nowMs)) return 'unheard';
    if (highest === undefined && heard.size >= MAX_INCARNATIONS) {
      this.#startAnew(nowMs);
      return 'unheard';
    }
    heard.set(ask.incarnation, ask.sequence);
    this.#highest.set(ask.from, heard);
    return 'fresh';
  }

  /** A node that is no peer any more. Should it be one again, what was recorded of it is worth nothing. */
  forget(peer: string, nowMs: number): void {
    if (this.#highest.has(peer)) this.#startAnew(nowMs);
  }

  #isOpen(session: string | null, nowMs: number): boolean {
    return [this.#current, this.#before].some((one) => one?.id === session && nowMs < one.drawnMs + 2 * SESSION_MS);
  }

  #startAnew(nowMs: number): void {
    this.#highest.clear();
    this.#before = undefined;
    this.#current = { id: this.#draw(), drawnMs: nowMs };
  }
}

/** What is asked; who asks whom, and what makes it new, is added for every message. */
export type AskBody = Pick<PeerAsk, 'id' | 'leaseMs' | 'leases'>;

interface Outstanding {
  readonly body: AskBody;
  readonly sentMs: number;
  /** `repeated`: with the right session, once; `answered`: only so that further answers to its copies are known for what they are. */
  state: 'waiting' | 'repeated' | 'answered';
}

/** What an authentic answer is worth. */
export type Worth =
  | { readonly is: 'answer' }
  /** The question was not heard: it is to be asked again, in the session that is known now. */
  | { readonly is: 'again'; readonly body: AskBody }
  /** To a question that has been answered, or asked again, already. */
  | { readonly is: 'spare' }
  | { readonly is: 'unasked' };

interface Asked {
  /** As it last told. */
  session: string | null;
  readonly outstanding: Map<string, Outstanding>;
  /** When it was asked first since it last answered. */
  unansweredMs: number | undefined;
}

/** Of the one who asks. */
export class SentAsks {
  readonly #peers = new Map<string, Asked>();
  #sequence = 0;

  /** A question is about to leave. */
  sent(to: string, body: AskBody, nowMs: number): void {
    const asked = this.#peers.get(to) ?? { session: null, outstanding: new Map(), unansweredMs: undefined };
    this.#peers.set(to, asked);
    asked.unansweredMs ??= nowMs;
    for (const [id, { body, sentMs }] of asked.outstanding) {
      if (asked.outstanding.size < MAX_OUTSTANDING && nowMs < sentMs + body.leaseMs) break;
      asked.outstanding.delete(id);
    }
    asked.outstanding.set(body.id, { body, sentMs: nowMs, state: 'waiting' });
  }

  /**
   * What makes the next message to a peer new: every copy of a question needs its own. The sequence grows also over a restart of the
   * agent within an incarnation, since the clock has moved on by more microseconds than messages were sent.
   */
  stamp(to: string, nowMs: number): Pick<PeerAsk, 'sequence' | 'session'> {
    this.#sequence = Math.max(this.#sequence + 1, nowMs * 1_000);
    return { sequence: this.#sequence, session: this.#peers.get(to)?.session ?? null };
  }

  /** Has the peer left a question unanswered for longer than an answer takes? */
  isSilent(peer: string, nowMs: number): boolean {
    const sinceMs = this.#peers.get(peer)?.unansweredMs;
    return sinceMs !== undefined && nowMs - sinceMs >= SILENT_MS;
  }

  onAnswer(answer: Pick<PeerAnswer, 'id' | 'from' | 'session' | 'unheard'>, nowMs: number): Worth {
    const asked = this.#peers.get(answer.from);
    const question = asked?.outstanding.get(answer.id);
    if (asked === undefined || question === undefined) return { is: 'unasked' };
    if (nowMs >= question.sentMs + question.body.leaseMs) return { is: 'unasked' };
    if (question.state === 'answered') return { is: 'spare' };
    asked.session = answer.session;
    asked.unansweredMs = undefined;
    if (!answer.unheard) {
      question.state = 'answered';
      return { is: 'answer' };
    }
    if (question.state === 'repeated') return { is: 'spare' };
    question.state = 'repeated';
    return { is: 'again', body: question.body };
  }

  forget(peer: string): void {
    this.#peers.delete(peer);
  }
}
