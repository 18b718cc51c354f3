import type { Cluster } from './cluster/index.ts';
import type { Registry } from './registry/index.ts';
import type { Webhooks } from './webhooks/index.ts';

/** What the runtime binds to the Worker: wrangler.toml on Cloudflare, worker/config.capnp on a machine of one's own. */
export interface Env {
  readonly CLUSTER: DurableObjectNamespace<Cluster>;
  readonly REGISTRY: DurableObjectNamespace<Registry>;
  readonly WEBHOOKS: DurableObjectNamespace<Webhooks>;
  /** SHA-256 of the administrator's token, lower-case hex. */
  readonly ADMIN_TOKEN_SHA256?: string | null;
  /** How often one token may ask; 0: as often as it likes. Left out: REQUESTS_PER_MINUTE of schemas/limits.ts. */
  readonly REQUESTS_PER_MINUTE?: string | null;
  /** `1` opens the test hooks (`POST /v1/test/clock`). Never set on Cloudflare; see worker/cluster/clock.ts. */
  readonly TEST_HOOKS?: string | null;
  /** `1` on a machine of one's own: webhooks may be asked to go to private addresses. */
  readonly PRIVATE_RECEIVERS?: string | null;
  /** By which webhooks are sent on a machine of one's own; on Cloudflare there is one network, the public one. */
  readonly PUBLIC_NETWORK?: Fetcher;
  readonly PRIVATE_NETWORK?: Fetcher;
}
