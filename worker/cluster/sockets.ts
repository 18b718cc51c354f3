/**
 * The agents' hibernating WebSockets. A socket is authenticated by the signed upgrade; whose it is and how what goes over it is sealed
 * (schemas/session.ts) is attached to it and survives hibernation.
 */
import {
  newSessionKey,
  SEAL_LENGTH,
  Seal,
  type SealState,
  type SessionBegin,
  sealsOf,
  sessionText,
} from '../../schemas/session.ts';
import type { DownMessage, Nudge, Renewals } from '../../schemas/wire.ts';
import type { AgentRequest } from './authentication.ts';
import type { ClusterKeys } from './cluster-keys.ts';
import { isTooLarge, type Sender } from './reports.ts';
import { done, type Result, refuse } from './result.ts';

/** Close codes with a meaning of ours; 1003, 1007 and 1009 are those of RFC 6455. */
export const CLOSE = {
  replaced: 4000,
  notMember: 4401,
  /** A message was not the next one of the session. */
  notAuthentic: 4403,
  /** The node has another key now: the next upgrade is signed with that. */
  rekeyed: 4409,
  versionUnsupported: 4426,
  notText: 1003,
  notUnderstood: 1007,
  tooLarge: 1009,
} as const;

/** A close reason may have 123 bytes; ours are cut well below, since some characters take several. */
const MAX_REASON_CHARACTERS = 60;

/** What is attached to a socket. */
interface Attachment {
  readonly sender: Sender;
  /** Of the node, whose signature the upgrade bore. */
  readonly publicKey: string;
  /** Fingerprint of the key that the node trusts. */
  readonly clusterKey: string;
  readonly up: SealState;
  readonly down: SealState;
}

export type Received =
  | ({ readonly kind: 'text'; readonly text: string } & Pick<Attachment, 'sender' | 'publicKey' | 'clusterKey'>)
  | { readonly kind: 'not-text' | 'too-large' | 'not-authentic' };

export class AgentSockets {
  readonly #ctx: DurableObjectState;

  constructor(ctx: DurableObjectState) {
    this.#ctx = ctx;
  }

  /**
   * Answers a verified upgrade; the first message proves who answers. A newer socket of the same incarnation replaces the older; that of
   * another incarnation stays, because which of the two is rightful is for the decisions to say.
   */
  accept(
    cluster: string,
    asked: AgentRequest,
    publicKey: string,
    keys: Pick<ClusterKeys, 'sign'>,
    headers: HeadersInit,
  ): Result<Response> {
    const { node, incarnation, nonce, sessionKey, clusterKey } = asked;
    const own = newSessionKey();
    const text = sessionText({ cluster, node, incarnation, nonce, nodeKey: sessionKey, coordinatorKey: own.publicKey });
    let seals: ReturnType<typeof sealsOf>;
    try {
      seals = sealsOf(own.key, sessionKey, text);
    } catch {
      return refuse('invalid-value', 'the session key is no X25519 public key');
    }
    const sender = { node, incarnation };
    for (const socket of this.#ctx.getWebSockets(node))
      if (attachedTo(socket).sender.incarnation === incarnation) this.closeOne(socket, CLOSE.replaced, 'replaced');
    const { 0: client, 1: server } = new WebSocketPair();
    this.#ctx.acceptWebSocket(server, [node]);
    server.serializeAttachment({ sender, publicKey, clusterKey, ...seals } satisfies Attachment);
    const begin: SessionBegin = { type: 'session', key: own.publicKey, signature: keys.sign(text) };
    server.send(JSON.stringify(begin));
    return done(new Response(null, { status: 101, webSocket: client, headers }));
  }

  /** What has come in on a socket; whatever was not sent on it by the node, now, is not looked at. */
  receive(socket: WebSocket, message: string | ArrayBuffer): Received {
    if (typeof message !== 'string') return { kind: 'not-text' };
    if (isTooLarge(message.slice(SEAL_LENGTH))) return { kind: 'too-large' };
    const attached = attachedTo(socket);
    const up = new Seal(attached.up);
    const text = up.open(message);
    if (text === undefined) return { kind: 'not-authentic' };
    socket.serializeAttachment({ ...attached, up: up.state } satisfies Attachment);
    const { sender, publicKey, clusterKey } = attached;
    return { kind: 'text', text, sender, publicKey, clusterKey };
  }

  /** Sends to one socket; one that has closed meanwhile belongs to an agent that will ask again. */
  send(socket: WebSocket, message: DownMessage): void {
    this.sendText(socket, JSON.stringify(message));
  }

  sendText(socket: WebSocket, text: string): void {
    if (socket.readyState !== WebSocket.OPEN) return;
    const attached = attachedTo(socket);
    const down = new Seal(attached.down);
    const sealed = down.seal(text);
    socket.serializeAttachment({ ...attached, down: down.state } satisfies Attachment);
    socket.send(sealed);
  }

  tell(node: string, message: Renewals): void {
    for (const socket of this.#ctx.getWebSockets(node)) this.send(socket, message);
  }

  /** @returns how many sockets of the node were nudged. */
  nudge(node: string): number {
    const nudge: Nudge = { type: 'nudge' };
    const open = this.#ctx.getWebSockets(node).filter((socket) => socket.readyState === WebSocket.OPEN);
    for (const socket of open) this.send(socket, nudge);
    return open.length;
  }

  close(node: string, code: number, reason: string): void {
    for (const socket of this.#ctx.getWebSockets(node)) this.closeOne(socket, code, reason);
  }

  closeOne(socket: WebSocket, code: number, reason: string): void {
    if (socket.readyState === WebSocket.OPEN) socket.close(code, reason.slice(0, MAX_REASON_CHARACTERS));
  }
}

function attachedTo(socket: WebSocket): Attachment {
  return socket.deserializeAttachment() as Attachment;
}
