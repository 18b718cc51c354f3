/**
 * The agents' hibernating WebSockets. A socket is authenticated once, by the signed upgrade; who it belongs to is attached to it and
 * survives hibernation.
 */
import type { DownMessage, Nudge, Renewals } from '../../schemas/wire.ts';
import type { Sender } from './reports.ts';

/** Close codes with a meaning of ours; 1003, 1007 and 1009 are those of RFC 6455. */
export const CLOSE = {
  replaced: 4000,
  notMember: 4401,
  versionUnsupported: 4426,
  notText: 1003,
  notUnderstood: 1007,
  tooLarge: 1009,
} as const;

/** A close reason may have 123 bytes; ours are cut well below, since some characters take several. */
const MAX_REASON_CHARACTERS = 60;

export class AgentSockets {
  readonly #ctx: DurableObjectState;

  constructor(ctx: DurableObjectState) {
    this.#ctx = ctx;
  }

  /**
   * Answers an upgrade. A newer socket of the same incarnation replaces the older; that of another incarnation stays, because
   * which of the two is rightful is for the decisions to say.
   */
  accept(sender: Sender, headers: HeadersInit): Response {
    for (const socket of this.#ctx.getWebSockets(sender.node)) {
      if (this.senderOf(socket).incarnation === sender.incarnation) socket.close(CLOSE.replaced, 'replaced');
    }
    const { 0: client, 1: server } = new WebSocketPair();
    this.#ctx.acceptWebSocket(server, [sender.node]);
    server.serializeAttachment(sender);
    return new Response(null, { status: 101, webSocket: client, headers });
  }

  senderOf(socket: WebSocket): Sender {
    return socket.deserializeAttachment() as Sender;
  }

  /** Sends to one socket; one that has closed meanwhile belongs to an agent that will ask again. */
  send(socket: WebSocket, message: DownMessage): void {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
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
