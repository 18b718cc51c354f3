/*
 * The guard: the fuse of a Holdfast node.
 *
 * The agent tells it, ahead of time, until when each group may run here and what the group makes exclusive (addresses,
 * cgroups). As long as the agent keeps extending that instant the guard does nothing. When the instant passes, whatever
 * the reason (agent hung, killed, stopped in a debugger, cut off from its coordinator), the guard takes everything away
 * with its own system calls: it starts no program and reads no disk, because a hung disk may be what stopped the agent.
 *
 *   main.c      start, connections, event loop
 *   protocol.c  the requests of the agent
 *   force.c     firing: kill, delete, read back, repeat
 *   mount.c     file systems: unmount them, and kill who keeps them
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
  VOTERS_BYTES = 1100, /* 16 names of 63 */
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
  enum { HOLD_VIP, HOLD_CGROUP, HOLD_MOUNT } kind;
  union {
    struct vip vip;
    char path[PATH_BYTES];
    struct mounted mounted;
  };
};

struct group {
  enum { GROUP_FREE, GROUP_ARMED, GROUP_FIRED } state;
  char name[NAME_BYTES];
  int64_t epoch, deadline_ms, fire_at_ms;
  int64_t fired_at_ms, lateness_us, clean_since_ms, sweep_at_ms;
  bool clean; /* fired: the last read-back found nothing */
  int hold_count;
  struct hold *holds;
  char *voters;
};

struct note {
  char key[NAME_BYTES], value[VALUE_BYTES];
};

extern struct group groups[MAX_GROUPS];
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
/* True also when it cannot be told: what is not known to be gone counts as held. */
bool hold_is_held(struct hold *h);
/* Returns NULL, or why this path cannot be given to the guard to kill. */
const char *cgroup_problem(const char *path);
void fire_due(int64_t now);
/* Does what is due for fired groups; returns when there is more to do. */
int64_t fired_sweep(int64_t now);
/* An address changed somewhere: look at the fired groups now. */
void fired_recheck(void);

/* mount.c */
bool mount_is_held(struct mounted *m);
/* Returns NULL, or why this file system cannot be given to the guard to unmount. */
const char *mount_problem(const struct mounted *m);
/* Sees to it that a child unmounts it and kills who uses it; does not wait for it. */
void mount_force(struct mounted *m);

/* netlink.c */
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
