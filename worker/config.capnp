# The coordinator on a machine of one's own, as `holdfast serve` starts it. Address and directory come from the command line:
#   workerd serve config.capnp --socket-addr http=ADDR:PORT --directory-path objects=DIR/objects
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "coordinator", worker = .coordinator),
    (name = "objects", disk = (writable = true)),
    (name = "nowhere", network = (allow = [])),
    # Webhooks alone go out. A name is resolved here and the address it leads to is judged then, whatever the URL looked like.
    (name = "public", network = (allow = ["public"], tlsOptions = (trustBrowserCas = true))),
    (name = "private", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [(name = "http", http = (), service = "coordinator")],
);

const coordinator :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  # As in wrangler.toml; the build compares them.
  compatibilityDate = "2026-11-01",
  # The keys name the directories of the data. Changing one loses every cluster.
  durableObjectNamespaces = [
    # Kept in memory: a cluster object that starts anew no longer knows the newest renewals and has to wait (C4), and here,
    # other than on Cloudflare, staying awake costs nothing.
    (className = "Cluster", uniqueKey = "holdfast-cluster", enableSql = true, preventEviction = true),
    (className = "Registry", uniqueKey = "holdfast-registry", enableSql = true),
    (className = "Webhooks", uniqueKey = "holdfast-webhooks", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "objects"),
  bindings = [
    (name = "CLUSTER", durableObjectNamespace = "Cluster"),
    (name = "REGISTRY", durableObjectNamespace = "Registry"),
    (name = "WEBHOOKS", durableObjectNamespace = "Webhooks"),
    (name = "PUBLIC_NETWORK", service = "public"),
    (name = "PRIVATE_NETWORK", service = "private"),
    (name = "PRIVATE_RECEIVERS", text = "1"),
    (name = "ADMIN_TOKEN_SHA256", fromEnvironment = "HOLDFAST_ADMIN_TOKEN_SHA256"),
    (name = "REQUESTS_PER_MINUTE", fromEnvironment = "HOLDFAST_REQUESTS_PER_MINUTE"),
    (name = "TEST_HOOKS", fromEnvironment = "HOLDFAST_TEST_HOOKS"),
  ],
  globalOutbound = "nowhere",
);
