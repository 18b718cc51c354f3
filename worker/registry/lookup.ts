/** Which clusters there are, asked before any object of a cluster is addressed. */
import type { Env } from '../env.ts';
import type { Registry } from './object.ts';

const REGISTRY_NAME = 'registry';

/** Clusters are never deleted, so a name once seen needs no second question. Of this isolate; as many as there are clusters. */
const listed = new Set<string>();

export function registryOf(env: Env): DurableObjectStub<Registry> {
  return env.REGISTRY.get(env.REGISTRY.idFromName(REGISTRY_NAME));
}

export function rememberListed(name: string): void {
  listed.add(name);
}

/**
 * Is there a cluster of this name? A registry that fails must not cut off clusters that work: then the answer is yes, and the cluster's
 * own object says what it is.
 */
export async function isListed(env: Env, name: string): Promise<boolean> {
  if (listed.has(name)) return true;
  try {
    if (!(await registryOf(env).has(name))) return false;
  } catch {
    return true;
  }
  listed.add(name);
  return true;
}
