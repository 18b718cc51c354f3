/*
 * Firing. The order matters: first the agent, because an agent that is only stopped would, once resumed, see that its
 * address is gone and put it back; then the processes; then the addresses; then the file systems, which nobody uses any
 * more; then the role of DRBD resources, whose file systems have written everything; then read back until nothing is left,
 * because a return code is no proof. Afterwards the group stays watched until it is disarmed: a child of the dead agent (an
 * `ip address add` that was already started) must not bring an address back.
 */
#include "guard.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

enum {
  RETRY_MS = 3,         /* something is still held … */
  RETRY_SHARE = 2,      /* … or so often the time that a sweep takes: a slow processor is needed by what it waits for */
  RETRY_SLOW_MS = 50,   /* … and has been for RETRY_FAST_FOR_MS (a process in an uninterruptible sleep) */
  RETRY_FAST_FOR_MS = 2000,
  RECHECK_MS = 20,      /* nothing is held, for less than RECHECK_FOR_MS */
  RECHECK_FOR_MS = 300,
  WATCH_MS = 1000,      /* later: addresses report themselves, cgroups are looked at */
  TREE_DEPTH = 12,
};

struct below {
  int directory, depth;
  bool (*visit)(pid_t);
};

static bool each_process_below(const struct entry *e, void *data);

/* Calls `visit` for every process of a cgroup and of those below it, until it returns false. */
static bool each_process(int directory, int depth, bool (*visit)(pid_t))
{
  char text[4096];
  int procs = openat(directory, "cgroup.procs", O_RDONLY | O_CLOEXEC);
  if (procs >= 0) {
    size_t kept = 0;
    ssize_t got;
    while ((got = read(procs, text + kept, sizeof text - 1 - kept)) > 0) {
      text[kept + (size_t)got] = '\0';
      char *line = text;
      for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        pid_t pid = (pid_t)strtol(line, NULL, 10);
        if (pid > 0 && !visit(pid)) { /* 0: a process of another PID namespace */
          close(procs);
          return false;
        }
      }
      kept = strlen(line);
      memmove(text, line, kept);
    }
    close(procs);
  }
  return depth >= TREE_DEPTH || each_entry(directory, each_process_below, &(struct below){directory, depth, visit});
}

static bool each_process_below(const struct entry *e, void *data)
{
  const struct below *b = data;
  if (e->type != DT_DIR || strcmp(e->name, ".") == 0 || strcmp(e->name, "..") == 0)
    return true;
  int child = openat(b->directory, e->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (child < 0)
    return true;
  bool more = each_process(child, b->depth + 1, b->visit);
  close(child);
  return more;
}

static bool kill_one(pid_t pid)
{
  if (pid != getpid())
    kill(pid, SIGKILL);
  return true;
}

static bool is_not_me(pid_t pid) { return pid != getpid(); }

void leave_real_time(void)
{
  syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &(struct sched_param){0});
  setpriority(PRIO_PROCESS, 0, -20);
}

static void cgroup_kill(const char *path)
{
  int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0)
    return;
  int file = openat(directory, "cgroup.kill", O_WRONLY | O_CLOEXEC);
  /* No such file before Linux 5.14, refused in a threaded cgroup: then one by one, again at every sweep until empty. */
  if (file < 0 || write(file, "1", 1) != 1)
    each_process(directory, 0, kill_one);
  if (file >= 0)
    close(file);
  close(directory);
}

static bool cgroup_populated(const char *path)
{
  char name[PATH_BYTES + 16], text[128];
  snprintf(name, sizeof name, "%s/cgroup.events", path);
  int file = open(name, O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return errno != ENOENT && errno != ENODEV;
  ssize_t got = read(file, text, sizeof text - 1);
  bool removed = got < 0 && errno == ENODEV;
  close(file);
  if (got < 0)
    return !removed;
  text[got] = '\0';
  return strstr(text, "populated 0") == NULL;
}

const char *cgroup_problem(const char *path)
{
  if (path[0] != '/' || strstr(path, "/../") != NULL)
    return "the path is not absolute and plain";
  /* It may not exist yet: it is registered before anything is started. Then its nearest ancestor decides. */
  char ancestor[PATH_BYTES];
  struct statfs fs;
  strcpy(ancestor, path);
  while (statfs(ancestor, &fs) < 0) {
    char *slash = strrchr(ancestor, '/');
    if (slash == NULL || slash == ancestor)
      return "the path does not exist";
    *slash = '\0';
  }
  if (fs.f_type != CGROUP2_SUPER_MAGIC)
    return "the path is not in a cgroup v2 hierarchy";
  int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0)
    return NULL;
  bool safe = each_process(directory, 0, is_not_me);
  close(directory);
  return safe ? NULL : "the guard itself is in this cgroup and would die before it is done";
}

bool hold_is_held(struct hold *h)
{
  struct address a;
  if (h->kind == HOLD_MOUNT)
    return mount_is_held(&h->mounted);
  if (h->kind == HOLD_DRBD)
    return drbd_is_held(h->resource);
  return h->kind == HOLD_CGROUP ? cgroup_populated(h->path) : address_read(&h->vip, &a) != 0;
}

/*
 * In order while there is time: a file system that is being unmounted still writes. When the lease is over somebody else may
 * have the group: then at once and by force, which also lets go who waits for a disk that is frozen (DRBD 9). Returns whether
 * something is still Primary.
 */
static bool demote(struct group *g, bool has_users)
{
  const bool over = boot_ms() >= g->deadline_ms;
  bool held = false;
  for (int i = 0; i < g->hold_count; i++)
    if (g->holds[i].kind == HOLD_DRBD)
      held |= (!over && has_users) || drbd_force(g->holds[i].resource, over, g->fired_at_ms);
  return held;
}

/* One pass over everything the group has: kill, delete, read back. */
static void sweep(struct group *g)
{
  const int64_t began = boot_ms();
  for (int i = 0; i < g->hold_count; i++)
    if (g->holds[i].kind == HOLD_CGROUP && cgroup_populated(g->holds[i].path))
      cgroup_kill(g->holds[i].path);
  for (int i = 0; i < g->hold_count; i++) {
    struct address a;
    /* More than once: the same address may be there with several prefix lengths. */
    for (int n = 0; g->holds[i].kind == HOLD_VIP && n < 8 && address_read(&g->holds[i].vip, &a) == 1; n++)
      address_delete(&a);
  }
  /* This and the demotion take time: children do them. */
  for (int i = 0; i < g->hold_count; i++)
    if (g->holds[i].kind == HOLD_MOUNT)
      mount_force(&g->holds[i].mounted);
  bool held = false;
  for (int i = 0; i < g->hold_count; i++)
    held |= g->holds[i].kind != HOLD_DRBD && hold_is_held(&g->holds[i]);
  held |= demote(g, held);

  int64_t now = boot_ms();
  if (held) {
    if (g->clean)
      g->held_since_ms = now;
    g->clean = false;
    const int64_t least = now - g->fired_at_ms < RETRY_FAST_FOR_MS ? RETRY_MS : RETRY_SLOW_MS;
    const int64_t share = RETRY_SHARE * (now - began);
    g->sweep_at_ms = now + (share > least ? share : least);
    return;
  }
  if (!g->clean)
    g->clean_since_ms = now;
  g->clean = true;
  g->sweep_at_ms = now + (now - g->clean_since_ms < RECHECK_FOR_MS ? RECHECK_MS : WATCH_MS);
}

void fire_due(int64_t now)
{
  bool agent_killed = false;
  for (struct group *g = groups; g < groups + MAX_GROUPS; g++) {
    if (g->state != GROUP_ARMED || now < g->fire_at_ms)
      continue;
    g->fired_at_ms = g->held_since_ms = boot_ms();
    g->lateness_us = boot_us() - g->fire_at_ms * 1000;
    if (!agent_killed)
      agent_kill();
    agent_killed = true;
    g->state = GROUP_FIRED;
    g->clean = false;
    sweep(g);
  }
}

int64_t fired_sweep(int64_t now)
{
  int64_t next = NEVER;
  for (struct group *g = groups; g < groups + MAX_GROUPS; g++) {
    if (g->state == GROUP_ARMED)
      next = earlier(next, g->fire_at_ms);
    if (g->state != GROUP_FIRED)
      continue;
    if (g->sweep_at_ms <= now)
      sweep(g);
    next = earlier(next, g->sweep_at_ms);
  }
  return next;
}

void fired_recheck(void)
{
  for (struct group *g = groups; g < groups + MAX_GROUPS; g++)
    g->sweep_at_ms = 0;
}
