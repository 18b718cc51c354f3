import type { CoordinatorEvent } from '../decide/index.ts';

/** What people may ask for, as events without the ids that the object makes. */
export type Action =
  | { readonly type: 'move'; readonly group: string; readonly to: string | null }
  | { readonly type: 'group-stop' | 'group-start'; readonly group: string }
  | { readonly type: 'node-standby'; readonly node: string };
export type InstantAction = Extract<
  CoordinatorEvent,
  {
    type:
      | 'cleanup'
      | 'pause'
      | 'resume'
      | 'node-maintenance'
      | 'node-ready'
      | 'node-remove'
      | 'confirm-dead'
      | 'confirm-history';
  }
>;
