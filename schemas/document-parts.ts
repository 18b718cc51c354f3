/** A document in parts, each of them as it was written or, where it is not well formed, left out: what the checks work on. */
import type * as z from 'zod';
import type { Config, documentSchema, groupSchema, resourceSchema } from './config.ts';
import type { Path, Position } from './document-source.ts';

export type WrittenResource = z.output<typeof resourceSchema>;
export type WrittenLease = z.output<typeof documentSchema>['lease'];
export type WrittenGroup = z.output<typeof groupSchema>;

/** What a group says of its place beside other groups. */
export type WrittenRules = Partial<
  Pick<WrittenGroup, 'after' | 'with' | 'apart' | 'prefer' | 'failback' | 'failover' | 'requires' | 'fence'>
>;

/** A document, or as much of it as is well formed; undefined stands for a part that is not. */
export interface Parts {
  readonly cluster: string | undefined;
  readonly nodes: readonly (string | undefined)[] | undefined;
  readonly labels: Config['labels'];
  readonly lease: WrittenLease;
  readonly groups: readonly PartsOfGroup[];
}
export interface PartsOfGroup {
  readonly name: string;
  /** Left out: every node. */
  readonly on: readonly (string | undefined)[] | undefined;
  readonly resources: readonly (WrittenResource | undefined)[];
  /** A part that is not well formed is left out. */
  readonly rules: WrittenRules;
}

export type ReportProblem = (path: Path, position: Position, detail: string, suggestion?: string) => void;
