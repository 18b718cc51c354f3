/*
 * For the tests, by LD_PRELOAD: a watchdog that only writes down what is done with it, one line each with the time (CLOCK_BOOTTIME, ms),
 * in FAKE_WATCHDOG.log. The device FAKE_WATCHDOG itself is a symbolic link to /dev/null, its attributes are files in FAKE_WATCHDOG.sys/,
 * and it takes the time-outs between those. While FAKE_WATCHDOG.busy exists somebody else has it. /proc/sysrq-trigger is FAKE_WATCHDOG.sysrq,
 * and whoever asks is in the initial PID namespace.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char attributes[] = "/sys/dev/char/1:3/"; /* those of /dev/null, which has none */
static int device_fd = -1, timeout_s = 30;

static const char *beside(const char *end)
{
  static char path[4200];
  snprintf(path, sizeof path, "%s%s", getenv("FAKE_WATCHDOG"), end);
  return path;
}

static int real_open(const char *path, int flags, mode_t mode)
{
  int (*next)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
  return next(path, flags, mode);
}

static void note(const char *what, int value)
{
  struct timespec t;
  char line[80];
  clock_gettime(CLOCK_BOOTTIME, &t);
  int length = snprintf(line, sizeof line, "%s %d %lld\n", what, value, (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000);
  int file = real_open(beside(".log"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  ssize_t (*next)(int, const void *, size_t) = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
  if (next(file, line, (size_t)length) != length)
    abort();
  close(file);
}

static int limit(const char *name, int otherwise)
{
  char text[32] = "";
  int file = real_open(beside(name), O_RDONLY | O_CLOEXEC, 0);
  if (file < 0)
    return otherwise;
  if (read(file, text, sizeof text - 1) < 0)
    abort();
  close(file);
  return atoi(text);
}

int open(const char *path, int flags, ...)
{
  va_list rest;
  va_start(rest, flags);
  mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  char end[128];
  if (strncmp(path, attributes, strlen(attributes)) == 0) {
    snprintf(end, sizeof end, ".sys/%s", path + strlen(attributes));
    return real_open(beside(end), flags, mode);
  }
  if (strcmp(path, "/proc/sysrq-trigger") == 0)
    return real_open(beside(".sysrq"), flags, mode);
  if (strcmp(path, beside("")) != 0)
    return real_open(path, flags, mode);
  if (access(beside(".busy"), F_OK) == 0) {
    errno = EBUSY;
    return -1;
  }
  device_fd = real_open(path, flags, mode);
  note("open", 0);
  return device_fd;
}

ssize_t readlink(const char *restrict path, char *restrict text, size_t size)
{
  ssize_t (*next)(const char *, char *, size_t) = (ssize_t(*)(const char *, char *, size_t))dlsym(RTLD_NEXT, "readlink");
  const char initial[] = "pid:[4026531836]";
  if (strcmp(path, "/proc/self/ns/pid") != 0 || size < strlen(initial))
    return next(path, text, size);
  memcpy(text, initial, strlen(initial));
  return (ssize_t)strlen(initial);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
  ssize_t (*next)(int, const void *, size_t) = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
  if (fd >= 0 && fd == device_fd)
    note(size == 1 && *(const char *)bytes == 'V' ? "stop" : "write", (int)size);
  return next(fd, bytes, size);
}

int ioctl(int fd, unsigned long request, ...)
{
  va_list rest;
  va_start(rest, request);
  void *argument = va_arg(rest, void *);
  va_end(rest);
  int (*next)(int, unsigned long, ...) = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
  if (fd < 0 || fd != device_fd)
    return next(fd, request, argument);
  int *value = argument;
  struct watchdog_info *info = argument;
  switch (request) {
  case WDIOC_GETSUPPORT:
    *info = (struct watchdog_info){.options = WDIOF_SETTIMEOUT | WDIOF_MAGICCLOSE | WDIOF_KEEPALIVEPING, .identity = "fake"};
    return 0;
  case WDIOC_SETTIMEOUT:
    note("timeout", *value);
    /* like a driver that takes what it can instead of refusing */
    timeout_s = *value < limit(".sys/min_timeout", 1) ? limit(".sys/min_timeout", 1) : *value;
    return 0;
  case WDIOC_GETTIMEOUT:
    *value = timeout_s;
    return 0;
  case WDIOC_KEEPALIVE:
    note("pet", 0);
    return 0;
  default:
    errno = ENOTTY;
    return -1;
  }
}
