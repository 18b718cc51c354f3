/*
 * The guard: the fuse of a Holdfast node.
 *
 * The agent tells it, ahead of time, until when each group may run here and what the group makes exclusive (addresses,
 * cgroups, file systems, the Primary role of DRBD resources). As long as the agent keeps extending that instant the guard does nothing. When the instant passes, whatever
 * the reason (agent hung, killed, stopped in a debugger, cut off from its coordinator), the guard takes everything away
 * with its own system calls: it starts no program and reads no disk, because a hung disk may be what stopped the agent.
 * Where that fails, or the guard itself does not run any more, a watchdog resets the machine (--reset=watchdog).
 *
 * It also keeps what must outlive the agent: leases, voters, promises to other nodes, the incarnation and the agent's notes.
 *
 *   main.c      start, connections, event loop
 *   protocol.c  the requests of the agent
 *   force.c     firing: kill, delete, read back, repeat
 *   reset.c     the last word: when a watchdog is petted, and a reset by sysrq
 *   watchdog.c  the watchdog device
 *   directory.c  the names in a directory
 *   mount.c     file systems: unmount them, and kill who keeps them
 *   drbd.c      DRBD resources: demote them
 *   drbd-module.c  the way to DRBD's kernel module
 *   netlink.c   addresses: look up, delete, limit their lifetime
 *   announce.c  telling the neighbours (ARP, neighbour advertisement) and asking them (conflict probe)
 *
 * One thread and no allocation after start. All times are CLOCK_BOOTTIME, which goes on during suspend.
 */
#pragma once

#define _GNU_SOURCE /* this header comes first in every file */

#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define GUARD_VERSION "0.1.0"

enum {
  LINE_BYTES = 2048, /* longest request, its newline included */
  MAX_CLIENTS = 8,
  MAX_GROUPS = 200,
  MAX_HOLDS = 40, /* per group: 32 resources and the group's own cgroup */
  MAX_NOTES = 64,
  MAX_PROBES = 16,
  MAX_UNMOUNTERS = 64,
  NAME_BYTES = 64,
  VOTERS_BYTES = 1100, /* a version of 16 digits and 16 names of 63; the guard does not look into it */
  PATH_BYTES = 400,
  VALUE_BYTES = 440,
};

/* A deadline further away than this is a mistake (a wall clock, microseconds) and would disable the fuse. */
#define MAX_LEASE_MS 3600000
#define NEVER INT64_MAX

static inline int64_t boot_us(void)
{
  struct timespec t;
  clock_gettime(CLOCK_BOOTTIME, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static inline int64_t boot_ms(void) { return boot_us() / 1000; }

static inline int64_t earlier(int64_t a, int64_t b) { return a < b ? a : b; }

struct vip {
  char ifname[IF_NAMESIZE];
  int ifindex; /* when it was registered: finds the address after the interface was renamed */
  uint8_t family, prefix, bytes[16];
  int64_t set_at_ms, expires_at_ms, refresh_at_ms; /* the lifetime that the kernel was given */
};

struct mounted {
  unsigned major, minor;
  bool seen; /* it was at its path at some time */
  char path[PATH_BYTES]; /* as mountinfo writes it, blanks as \040 */
};

struct hold {
  enum { HOLD_VIP, HOLD_CGROUP, HOLD_MOUNT, HOLD_DRBD } kind;
  union {
    struct vip vip;
    char path[PATH_BYTES];
    char resource[NAME_BYTES]; /* of DRBD */
    struct mounted mounted;
  };
};

struct group {
  enum { GROUP_FREE, GROUP_ARMED, GROUP_FIRED } state;
  char name[NAME_BYTES];
  int64_t epoch, deadline_ms, fire_at_ms;
  int64_t fired_at_ms, lateness_us, clean_since_ms, held_since_ms, sweep_at_ms;
  bool clean; /* fired: the last read-back found nothing */
  int hold_count;
  struct hold *holds;
  char *voters;
};

/* The three numbers that `arm` and `pet` share. */
struct lease {
  int64_t epoch, deadline_ms, fire_at_ms;
};

/* Until then this node takes the group over from nobody: its owner may live on that (protocol.md P1). */
struct promise {
  char group[NAME_BYTES], owner[NAME_BYTES];
  int64_t epoch, until_ms; /* once it has passed, the entry is free */
};

struct note {
  char key[NAME_BYTES], value[VALUE_BYTES];
};

extern struct group groups[MAX_GROUPS];
extern struct promise promises[MAX_GROUPS];
extern struct note notes[MAX_NOTES];
extern char incarnation[NAME_BYTES]; /* empty: none yet */

/* main.c */
struct client {
  int fd; /* -1: free */
  pid_t pid;
  uint64_t serial; /* grows with every connection */
  size_t used;
  char line[LINE_BYTES];
};
extern int64_t started_at_ms;
extern char weaknesses[64]; /* which protections could not be had, comma separated; "-" if none */
_Noreturn void die(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool client_is_agent(const struct client *c);
/* Makes `c` the agent's connection, in place of the one before. Returns NULL, or why not. */
const char *agent_adopt(struct client *c);
/* SIGKILLs every process that was the agent since the start and still lives, and closes its connection. */
void agent_kill(void);
/* Sends all of it, or closes the connection: who does not read its answers is not served. */
void client_send(struct client *c, const char *text, size_t length);
struct client *client_by_serial(uint64_t serial);

/* protocol.c */
void request_handle(struct client *c, char *line, size_t length);

/* force.c */
/* For a child that waits for others, whom it must not keep from a processor that is slow or the only one. */
void leave_real_time(void);
/* True also when it cannot be told: what is not known to be gone counts as held. */
bool hold_is_held(struct hold *h);
/* Returns NULL, or why this path cannot be given to the guard to kill. */
const char *cgroup_problem(const char *path);
void fire_due(int64_t now);
/* Does what is due for fired groups; returns when there is more to do. */
int64_t fired_sweep(int64_t now);
/* An address changed somewhere: look at the fired groups now. */
void fired_recheck(void);

/* reset.c */
enum reset_kind { RESET_NONE, RESET_WATCHDOG, RESET_SYSRQ };
/* Dies where that cannot be had. */
void reset_start(enum reset_kind how, const char *watchdog);
/* W of the watchdog and δ, from the next lease on. */
void reset_times(int seconds, int64_t milliseconds);
/* Before a lease counts. Returns NULL, or the answer that refuses it. */
const char *reset_arm(const struct lease *l, int64_t now);
/* Pets if it may, closes if it can, resets if it must; returns when there is more to do. */
int64_t reset_step(int64_t now);
/* The guard ends, and guards nothing. */
void reset_end(void);
void reset_describe(char *text, size_t size);
void reset_report(char *text, size_t size);

/* watchdog.c */
void watchdog_start(const char *path);
bool watchdog_is_open(void);
bool watchdog_no_way_out(void);
/* The one it has; 0 while it is closed. */
int watchdog_timeout_s(void);
int watchdog_least_s(void);
int watchdog_most_s(void);
/* Opens it with this time-out, or gives it that one. Returns NULL, or why not; it is not armed then, if it can be stopped. */
const char *watchdog_open(int seconds);
void watchdog_pet(void);
/* Stops and closes it, if it can be stopped. */
void watchdog_close(void);
/* The same; one that cannot be stopped gets a long time-out. */
void watchdog_leave(void);

/* directory.c */
/* As getdents64 writes it. */
struct entry {
  uint64_t inode;
  int64_t offset;
  uint16_t length;
  uint8_t type; /* DT_DIR and the like */
  char name[];
};
/* Calls `visit` for what is in a directory until it returns false; then it is false as well. */
bool each_entry(int directory, bool (*visit)(const struct entry *, void *), void *data);

/* mount.c */
bool mount_is_held(struct mounted *m);
/* Returns NULL, or why this file system cannot be given to the guard to unmount. */
const char *mount_problem(const struct mounted *m);
/* Sees to it that a child unmounts it and kills who uses it; does not wait for it. */
void mount_force(struct mounted *m);

/* drbd.c */
/* True while the resource is Primary here, and when it cannot be told. */
bool drbd_is_held(const char *resource);
/*
 * Sees to it that a child demotes it, by force whoever has it open (DRBD 9), and does not wait for it. False when one that began
 * since then has found that it is not Primary.
 */
bool drbd_force(const char *resource, bool by_force, int64_t since_ms);

/* drbd-module.c */
struct nlmsghdr;
/* Returns a descriptor and the number of DRBD's messages, -ENOENT if the module is not loaded, or another negative errno. */
int drbd_module_open(uint16_t *family);
int drbd_module_ask(int fd, struct nlmsghdr *request, void (*visit)(struct nlmsghdr *, void *), void *context);

/* netlink.c */
/* Sends one request and hands every message of the answer to `visit`. Returns 0 or a negative errno. */
int netlink_exchange(int fd, struct nlmsghdr *request, void (*visit)(struct nlmsghdr *, void *), void *context);
struct address {
  _Alignas(8) char message[512]; /* the kernel's own description, without the lifetime */
  uint32_t flags;
};
void netlink_open(void);
int netlink_watch_fd(void);
void netlink_watch_drain(void);
/* 1 present, 0 absent, -1 unknown. */
int address_read(const struct vip *v, struct address *a);
int address_delete(struct address *a);
/* The lease of the group was extended: let the addresses it has live as long, and no longer. */
void lifetimes_extend(struct group *g, int64_t now);
/* Renews the lifetimes that are due; returns when the next one is. */
int64_t lifetimes_refresh(int64_t now);

/* announce.c */
void announce_open(void);
int interface_index(const char *ifname);
/* Both return NULL, or the error code to answer. */
const char *announce_send(const struct vip *v);
const char *probe_start(const struct vip *v, const char *text, int64_t timeout_ms, uint64_t client_serial);
int64_t probes_step(int64_t now);
/* Adds the descriptors of the running probes; returns how many. */
int probes_poll(struct pollfd *into);
void probes_receive(const struct pollfd *from, int count);
