/*
 * File systems. Unmounting can take as long as the disk takes to write what was not yet written, and for ever if it is
 * gone; so a child does it, and the guard goes on. The child starts no program: it kills who uses the file system and
 * unmounts it, until the guard, which looks for itself, finds it gone.
 *
 * Never a lazy unmount: the name would go and the writers would stay, and the guard would report what is not true.
 */
#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  POINT_BYTES = 4096,
  MAX_POINTS = 16,     /* mount points of one file system that are looked at in one pass */
  MAX_NAMESPACES = 64, /* mount namespaces that are looked into */
  CHILD_PASSES = 200,  /* then it ends and the guard starts another */
  CHILD_PAUSE_MS = 5,
  CHILD_PATIENCE_MS = 1500, /* one that hangs over another file system's server is killed, and the next one asks no server */
};

/* The children, by device. */
static struct child {
  pid_t pid; /* 0: free */
  unsigned major, minor;
  int64_t started_at_ms;
  int started; /* how many so far for this device */
} children[MAX_UNMOUNTERS];

struct mount_line {
  unsigned major, minor;
  char point[POINT_BYTES]; /* as the kernel writes it: blank, tab, line feed and backslash as \ooo */
};

/* Calls `visit` for every line of a mountinfo file until it returns false. False if the file cannot be read. */
static bool each_mount(int at, const char *file, bool (*visit)(const struct mount_line *, void *), void *data)
{
  static struct mount_line line;
  static char text[8192];
  char number[32];
  size_t used = 0, number_used = 0;
  int field = 1;
  ssize_t got;
  int fd = openat(at, file, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return false;
  bool more = true;
  while (more && (got = read(fd, text, sizeof text)) > 0) {
    for (ssize_t i = 0; more && i < got; i++) {
      if (text[i] == '\n') {
        number[number_used] = line.point[used] = '\0';
        if (sscanf(number, "%u:%u", &line.major, &line.minor) == 2)
          more = visit(&line, data);
        field = 1;
        used = number_used = 0;
      } else if (text[i] == ' ') {
        field++;
      } else if (field == 3 && number_used < sizeof number - 1) {
        number[number_used++] = text[i];
      } else if (field == 5 && used < sizeof line.point - 1) {
        line.point[used++] = text[i];
      }
    }
  }
  close(fd);
  return got >= 0;
}

static bool same_device(const struct mount_line *l, const struct mounted *m)
{
  return l->major == m->major && l->minor == m->minor;
}

struct sight {
  const struct mounted *mounted;
  bool here, anywhere;
};

static bool note_sight(const struct mount_line *l, void *data)
{
  struct sight *s = data;
  if (!same_device(l, s->mounted))
    return true;
  s->anywhere = true;
  s->here = s->here || strcmp(l->point, s->mounted->path) == 0;
  return !s->here;
}

struct superblock {
  int sys_fs;
  const char *device;
  bool active;
};

static bool note_superblock(const struct entry *fstype, void *data)
{
  struct superblock *s = data;
  char path[600];
  snprintf(path, sizeof path, "%s/%s", fstype->name, s->device);
  s->active = fstype->name[0] != '.' && faccessat(s->sys_fs, path, F_OK, 0) == 0;
  return !s->active;
}

/* Does the kernel have a file system on the device, mounted in whatever namespace or not yet written out? (ext4, xfs, f2fs) */
static bool superblock_active(const struct mounted *m)
{
  char link[64], target[512];
  snprintf(link, sizeof link, "/sys/dev/block/%u:%u", m->major, m->minor);
  ssize_t length = readlink(link, target, sizeof target - 1);
  if (length < 0)
    return false;
  target[length] = '\0';
  struct superblock s = {.device = strrchr(target, '/') != NULL ? strrchr(target, '/') + 1 : target};
  s.sys_fs = open("/sys/fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (s.sys_fs < 0)
    return false;
  each_entry(s.sys_fs, note_superblock, &s);
  close(s.sys_fs);
  return s.active;
}

/* The child of the device, reaped if it has ended; NULL if none runs. */
static struct child *child_running(const struct mounted *m)
{
  for (struct child *c = children; c < children + MAX_UNMOUNTERS; c++) {
    if (c->pid == 0 || c->major != m->major || c->minor != m->minor)
      continue;
    if (waitpid(c->pid, NULL, WNOHANG) == 0)
      return c;
    c->pid = 0;
  }
  return NULL;
}

bool mount_is_held(struct mounted *m)
{
  struct sight s = {.mounted = m};
  if (!each_mount(AT_FDCWD, "/proc/self/mountinfo", note_sight, &s))
    return true;
  m->seen = m->seen || s.here;
  if (child_running(m) != NULL || s.here)
    return true;
  /* Elsewhere only: ours if it was at its place, else somebody else's, and the agent refuses to start it. */
  return m->seen && (s.anywhere || superblock_active(m));
}

const char *mount_problem(const struct mounted *m)
{
  static const char *const own[] = {"/", ".", "/proc/self/exe"}; /* "." is the state directory */
  if (strstr(m->path, "/../") != NULL)
    return "the path is not plain";
  for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
    struct stat s;
    if (stat(own[i], &s) == 0 && major(s.st_dev) == m->major && minor(s.st_dev) == m->minor)
      return "the guard itself lives on this device";
  }
  struct sight s = {.mounted = m};
  if (!each_mount(AT_FDCWD, "/proc/self/mountinfo", note_sight, &s))
    return "the mounts cannot be read";
  return s.anywhere && !s.here ? "the device is mounted at another place" : NULL;
}

/* From here on: in the child. */

static int proc_fd, own_namespace;
static bool ask_no_server;
static struct mounted victim;
static char points[MAX_POINTS][POINT_BYTES];
static int point_count;

static bool lies_on(const char *path, const char *directory)
{
  size_t length = strlen(directory);
  return strncmp(path, directory, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

static bool note_point(const struct mount_line *l, void *data)
{
  (void)data;
  if (same_device(l, &victim) && point_count < MAX_POINTS)
    strcpy(points[point_count++], l->point);
  return true;
}

/* Keeps the deepest mount that is one of ours or lies on one: it has to go first. Of several at one place the last is on top. */
static bool note_deepest(const struct mount_line *l, void *data)
{
  char *deepest = data;
  bool ours = false;
  for (int i = 0; i < point_count && !ours; i++)
    ours = lies_on(l->point, points[i]);
  if (ours && strlen(l->point) >= strlen(deepest))
    strcpy(deepest, l->point);
  return true;
}

static void unescape(char *path)
{
  char *to = path;
  for (const char *from = path; *from != '\0'; to++) {
    if (from[0] == '\\' && from[1] != '\0' && from[2] != '\0' && from[3] != '\0') {
      *to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
      from += 4;
    } else {
      *to = *from++;
    }
  }
  *to = '\0';
}

/* Unmounts it in the mount namespace that `mountinfo` is of, and that this process is in. True when nothing of it is left there. */
static bool unmount_here(const char *mountinfo)
{
  static char deepest[POINT_BYTES];
  for (int n = 0; n < 64; n++) {
    point_count = 0;
    deepest[0] = '\0';
    each_mount(proc_fd, mountinfo, note_point, NULL);
    if (point_count == 0)
      return true;
    each_mount(proc_fd, mountinfo, note_deepest, deepest);
    unescape(deepest);
    if (umount2(deepest, UMOUNT_NOFOLLOW) < 0)
      return false;
  }
  return false;
}

/* Does this link of a process lead to the file system? By its name as this process sees it, else by its device. */
static bool link_is_on(int directory, const char *name)
{
  char target[POINT_BYTES];
  ssize_t length = readlinkat(directory, name, target, sizeof target - 1);
  if (length <= 0 || target[0] != '/')
    return false;
  target[length] = '\0';
  for (int i = 0; i < point_count; i++) {
    char point[POINT_BYTES];
    strcpy(point, points[i]);
    unescape(point);
    if (lies_on(target, point))
      return true;
  }
  struct statx s;
  return !ask_no_server && statx(directory, name, AT_STATX_DONT_SYNC, STATX_TYPE, &s) == 0 &&
         s.stx_dev_major == victim.major && s.stx_dev_minor == victim.minor;
}

struct files {
  int directory;
  bool on;
};

static bool note_file(const struct entry *e, void *data)
{
  struct files *f = data;
  f->on = e->name[0] != '.' && link_is_on(f->directory, e->name);
  return !f->on;
}

static bool uses_it(int process)
{
  if (link_is_on(process, "cwd") || link_is_on(process, "root") || link_is_on(process, "exe"))
    return true;
  struct files f = {.directory = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (f.directory < 0)
    return false;
  each_entry(f.directory, note_file, &f);
  close(f.directory);
  return f.on;
}

static ino_t namespaces[MAX_NAMESPACES];
static int namespace_count;

/* Another mount namespace may have a mount of its own, which no unmount here reaches. */
static void unmount_in_namespace_of(int process, const char *pid)
{
  struct stat s;
  char mountinfo[300];
  if (fstatat(process, "ns/mnt", &s, 0) < 0)
    return;
  for (int i = 0; i < namespace_count; i++)
    if (namespaces[i] == s.st_ino)
      return;
  if (namespace_count == MAX_NAMESPACES)
    return;
  namespaces[namespace_count++] = s.st_ino;
  snprintf(mountinfo, sizeof mountinfo, "%s/mountinfo", pid);
  struct sight sight = {.mounted = &victim};
  each_mount(proc_fd, mountinfo, note_sight, &sight);
  if (!sight.anywhere)
    return;
  int namespace = openat(process, "ns/mnt", O_RDONLY | O_CLOEXEC);
  if (namespace < 0)
    return;
  if (setns(namespace, CLONE_NEWNS) == 0) {
    unmount_here(mountinfo);
    if (setns(own_namespace, CLONE_NEWNS) < 0)
      _exit(1);
  }
  close(namespace);
}

/* By a pidfd that was opened before it was looked at: a process id that was used again is never signalled. */
static bool deal_with(const struct entry *e, void *data)
{
  (void)data;
  pid_t pid = (pid_t)strtol(e->name, NULL, 10);
  if (pid <= 1 || pid == getpid() || pid == getppid())
    return true;
  int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
  int process = pidfd < 0 ? -1 : openat(proc_fd, e->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (process >= 0) {
    if (uses_it(process))
      syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    else
      unmount_in_namespace_of(process, e->name);
    close(process);
  }
  if (pidfd >= 0)
    close(pidfd);
  return true;
}

_Noreturn static void unmount_and_exit(const struct mounted *m, bool no_server)
{
  /* Also the lock of the state directory: a child that hangs must not keep the next guard from starting. */
  syscall(SYS_close_range, 3, ~0U, 0);
  /* It waits for processes that were killed, and for the disk. */
  leave_real_time();
  victim = *m;
  ask_no_server = no_server;
  proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  own_namespace = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
  struct stat s;
  if (proc_fd < 0 || own_namespace < 0 || fstat(own_namespace, &s) < 0)
    _exit(1);
  for (int pass = 0; pass < CHILD_PASSES; pass++) {
    if (unmount_here("self/mountinfo") && !superblock_active(&victim))
      _exit(0);
    namespaces[0] = s.st_ino;
    namespace_count = 1;
    lseek(proc_fd, 0, SEEK_SET);
    each_entry(proc_fd, deal_with, NULL);
    nanosleep(&(struct timespec){.tv_nsec = CHILD_PAUSE_MS * 1000000L}, NULL);
  }
  _exit(1);
}

void mount_force(struct mounted *m)
{
  int64_t now = boot_ms();
  struct child *running = child_running(m);
  if (running != NULL) {
    if (now - running->started_at_ms > CHILD_PATIENCE_MS)
      kill(running->pid, SIGKILL); /* of no effect while it waits for the disk; then it is the unmount that takes so long */
    return;
  }
  if (!mount_is_held(m))
    return;
  struct child *slot = NULL;
  for (struct child *c = children; c < children + MAX_UNMOUNTERS; c++)
    if (c->pid == 0 && (slot == NULL || (c->major == m->major && c->minor == m->minor)))
      slot = c;
  if (slot == NULL)
    return; /* the next sweep finds a free one */
  int started = slot->major == m->major && slot->minor == m->minor ? slot->started : 0;
  pid_t pid = fork();
  if (pid == 0)
    unmount_and_exit(m, started % 2 == 1);
  if (pid > 0)
    *slot = (struct child){pid, m->major, m->minor, now, started + 1};
}
