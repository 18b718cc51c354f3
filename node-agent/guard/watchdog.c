/*
 * The watchdog device (Documentation/watchdog/watchdog-api.rst). Once it is open the kernel or the hardware resets the machine unless it is
 * petted within its time-out: to open it is to arm a reset. So what can be known without that is read from sysfs, and it is opened with the
 * first lease. It ends with the magic character alone, and with some drivers (nowayout) not even so.
 */
#include "guard.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum {
  MISC_MAJOR = 10, /* /dev/watchdog is another name of /dev/watchdog0 */
  MISC_MINOR = 130,
  /* A guard that ends although the device cannot be stopped leaves it this time-out: for its successor, or for a shutdown to finish. */
  LEFT_RUNNING_S = 60,
};

static const char *device;
static char attributes[64]; /* its directory in sysfs */
static int fd = -1;
static int timeout_set_s; /* as read back */
static struct watchdog_info info;

bool watchdog_is_open(void) { return fd >= 0; }

int watchdog_timeout_s(void) { return timeout_set_s; }

/* Returns false where there is no such attribute. */
static bool attribute(const char *name, char *text, size_t size)
{
  char path[sizeof attributes + 32];
  snprintf(path, sizeof path, "%s/%s", attributes, name);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t got = file < 0 ? -1 : read(file, text, size - 1);
  if (file >= 0)
    close(file);
  if (got <= 0)
    return false;
  text[got] = '\0';
  text[strcspn(text, "\n")] = '\0';
  return true;
}

/* -1: unknown. */
static int number(const char *name)
{
  char text[32];
  return attribute(name, text, sizeof text) ? atoi(text) : -1;
}

/* Cannot be stopped, as far as is known before it is open. */
bool watchdog_no_way_out(void) { return number("nowayout") == 1 || (fd >= 0 && !(info.options & WDIOF_MAGICCLOSE)); }

/* 0: unknown. */
int watchdog_least_s(void) { return number("min_timeout") > 0 ? number("min_timeout") : 0; }
int watchdog_most_s(void) { return number("max_timeout") > 0 ? number("max_timeout") : 0; }

/* "systemd (process 1)", or NULL: who has it open. Source: proc(5). It allocates, which is no harm: nothing is protected by it then. */
static const char *holder(void)
{
  static char text[96];
  DIR *processes = opendir("/proc");
  if (processes == NULL)
    return NULL;
  bool found = false;
  for (struct dirent *p; !found && (p = readdir(processes)) != NULL;) {
    char path[600], target[32], name[32] = "a process";
    snprintf(path, sizeof path, "/proc/%s/fd", p->d_name);
    DIR *descriptors = isdigit(p->d_name[0]) && atoi(p->d_name) != getpid() ? opendir(path) : NULL;
    for (struct dirent *d; !found && descriptors != NULL && (d = readdir(descriptors)) != NULL;) {
      ssize_t length = readlinkat(dirfd(descriptors), d->d_name, target, sizeof target);
      found = length >= 13 && strncmp(target, "/dev/watchdog", 13) == 0;
    }
    if (descriptors != NULL)
      closedir(descriptors);
    if (!found)
      continue;
    snprintf(path, sizeof path, "/proc/%s/comm", p->d_name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = file < 0 ? 0 : read(file, name, sizeof name - 1);
    if (got > 0)
      name[got - 1] = '\0';
    if (file >= 0)
      close(file);
    snprintf(text, sizeof text, "%s (process %d)", name, atoi(p->d_name));
  }
  closedir(processes);
  return found ? text : NULL;
}

static const char *in_use(char *text, size_t size)
{
  const char *who = holder();
  snprintf(text, size, "%s is in use by %s%s", device, who != NULL ? who : "something that cannot be found",
           who != NULL && strncmp(who, "systemd ", 8) == 0 ? "; RuntimeWatchdogSec=off in /etc/systemd/system.conf frees it" : "");
  return text;
}

void watchdog_start(const char *path)
{
  struct stat s;
  char text[64], problem[256];
  device = path;
  if (stat(path, &s) < 0)
    die(1, "--watchdog %s: %s; is the module of the watchdog loaded? softdog needs no hardware: modprobe softdog", path, strerror(errno));
  if (!S_ISCHR(s.st_mode))
    die(1, "--watchdog %s: not a device", path);
  if (major(s.st_rdev) == MISC_MAJOR && minor(s.st_rdev) == MISC_MINOR)
    strcpy(attributes, "/sys/class/watchdog/watchdog0");
  else
    snprintf(attributes, sizeof attributes, "/sys/dev/char/%u:%u", major(s.st_rdev), minor(s.st_rdev));
  bool active = attribute("state", text, sizeof text) && strcmp(text, "active") == 0;
  if (active && holder() != NULL)
    die(1, "%s", in_use(problem, sizeof problem));
  /* One that a guard before this one could not stop goes on, petted; one whose holder died is about to do its work. */
  const char *why = active && number("timeout") == LEFT_RUNNING_S ? watchdog_open(LEFT_RUNNING_S) : NULL;
  if (why != NULL)
    die(1, "%s", why);
  if (watchdog_no_way_out())
    fprintf(stderr, "holdfast-guard: %s cannot be stopped once it is armed (nowayout): from the first lease on, the end of this guard is a reset\n", path);
}

static bool set_timeout(int seconds)
{
  int value = seconds, taken = 0;
  if (!(info.options & WDIOF_SETTIMEOUT) || ioctl(fd, WDIOC_SETTIMEOUT, &value) < 0 || ioctl(fd, WDIOC_GETTIMEOUT, &taken) < 0)
    return false;
  timeout_set_s = taken;
  return taken == seconds;
}

void watchdog_close(void)
{
  if (fd < 0 || watchdog_no_way_out() || write(fd, "V", 1) != 1)
    return;
  close(fd);
  fd = -1;
  timeout_set_s = 0;
}

static const char *not_taken(int seconds)
{
  static char text[200];
  int has = 0;
  ioctl(fd, WDIOC_GETTIMEOUT, &has);
  snprintf(text, sizeof text, "%s (%.31s) does not take a time-out of %d s: it has %d s, and takes %d to %d s (0: unknown)",
           device, (const char *)info.identity, seconds, has, watchdog_least_s(), watchdog_most_s());
  return text;
}

const char *watchdog_open(int seconds)
{
  static char text[256];
  if (fd >= 0) {
    if (timeout_set_s == seconds || set_timeout(seconds))
      return NULL;
    return not_taken(seconds);
  }
  fd = open(device, O_WRONLY | O_CLOEXEC);
  if (fd < 0 && errno == EBUSY)
    return in_use(text, sizeof text);
  if (fd < 0) {
    snprintf(text, sizeof text, "cannot open %s: %s", device, strerror(errno));
    return text;
  }
  const char *problem = NULL;
  memset(&info, 0, sizeof info);
  if (ioctl(fd, WDIOC_GETSUPPORT, &info) < 0) {
    snprintf(text, sizeof text, "%s is not a watchdog: %s", device, strerror(errno));
    problem = text;
    info.options |= WDIOF_MAGICCLOSE;
  } else if (!set_timeout(seconds))
    problem = not_taken(seconds);
  if (problem != NULL)
    watchdog_close();
  return problem;
}

void watchdog_pet(void)
{
  ioctl(fd, WDIOC_KEEPALIVE, 0);
}

void watchdog_leave(void)
{
  watchdog_close();
  if (fd < 0)
    return;
  int longest = watchdog_most_s();
  set_timeout(longest > 0 && longest < LEFT_RUNNING_S ? longest : LEFT_RUNNING_S);
  watchdog_pet();
}
