# The physical limits of bench:renew on the same workerd: nothing here knows leases.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "bare", worker = .bare),
    (name = "objects", disk = (writable = true)),
    (name = "nowhere", network = (allow = [])),
  ],
  sockets = [(name = "http", http = (), service = "bare")],
);

const bare :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "bare.js")],
  compatibilityDate = "2026-11-01",
  durableObjectNamespaces = [
    (className = "GroupCommit", uniqueKey = "bench-group-commit", enableSql = true, preventEviction = true),
    (className = "Echo", uniqueKey = "bench-echo", enableSql = true, preventEviction = true),
    (className = "Checked", uniqueKey = "bench-checked", enableSql = true, preventEviction = true),
  ],
  durableObjectStorage = (localDisk = "objects"),
  bindings = [
    (name = "GROUP_COMMIT", durableObjectNamespace = "GroupCommit"),
    (name = "ECHO", durableObjectNamespace = "Echo"),
    (name = "CHECKED", durableObjectNamespace = "Checked"),
  ],
  globalOutbound = "nowhere",
);
