import type { EventKind } from '../../../schemas/events.ts';
import type { Notice } from '../../../schemas/webhook.ts';

/** Pure: what one format makes of a notice. */
export interface Format {
  /** Whether a receiver of this format can make anything of this event. */
  readonly takes: (event: { readonly kind: EventKind; readonly severity: Notice['severity'] }) => boolean;
  /** The JSON that is sent. `key`: what the receiver gave to be known by, where the format has such a thing. */
  readonly body: (notice: Notice, key: string | null) => unknown;
  /** Whether its receivers verify a signature. */
  readonly signed: boolean;
}
