import type { ProblemError } from '../../schemas/api.ts';
import type { Config } from '../../schemas/config.ts';
import type { Result } from './result.ts';

/** A document that has been read and found good. */
export interface ReadDocument {
  readonly text: string;
  readonly config: Config;
}

/** @returns the refusal of a document that names another cluster; null: it names this one. */
export function wrongCluster(cluster: string, { text, config }: ReadDocument): Result<never> | null {
  if (config.cluster === cluster) return null;
  const line = text.split('\n').findIndex((content) => /^\s*["']?cluster["']?\s*:/.test(content)) + 1;
  const error: ProblemError = {
    path: 'cluster',
    ...(line > 0 ? { line } : {}),
    detail: `the document is for cluster ${config.cluster}, this is cluster ${cluster}`,
    suggestion: cluster,
  };
  return { ok: false, problem: { code: 'invalid-configuration', detail: error.detail, errors: [error] } };
}
