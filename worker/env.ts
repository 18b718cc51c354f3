import type { Cluster } from './cluster/index.ts';
import type { Registry } from './registry/index.ts';

/** What the runtime binds to the Worker: wrangler.toml on Cloudflare, worker/config.capnp on a machine of one's own. */
export interface Env {
  readonly CLUSTER: DurableObjectNamespace<Cluster>;
  readonly REGISTRY: DurableObjectNamespace<Registry>;
  /** SHA-256 of the administrator's token, lower-case hex. */
  readonly ADMIN_TOKEN_SHA256?: string | null;
  /** `1` opens the test hooks (`POST /v1/test/clock`). Never set on Cloudflare; see worker/cluster/clock.ts. */
  readonly TEST_HOOKS?: string | null;
}
