/*
 * The last word (--reset): a reset of the machine when what a lease no longer covers could not be taken away.
 *
 * watchdog: armed before the first lease, petted only while the reset that would follow from this pet is over by the deadline of every
 * lease (protocol.md O4, I2). So nothing has to be done for a reset, which is what makes it work when this process, or the kernel, does
 * nothing any more. sysrq: this process does it; it helps against what cannot be killed, not against a kernel that hangs.
 */
#include "guard.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Pets in one time-out: a few that are late do no harm. */
enum { PETS_PER_TIMEOUT = 10 };
/* /proc/PID/ns/pid of every process outside of containers. Source: include/linux/proc_ns.h, PROC_PID_INIT_INO. */
static const char initial_namespace[] = "pid:[4026531836]";

static enum reset_kind kind;
static int wanted_s = 1;         /* W of the watchdog … */
static int64_t latency_ms = 500; /* … and δ, until the agent has said what they are */
static int64_t pet_at_ms, petted_at_ms = -1;
static const char *device;

void reset_start(enum reset_kind how, const char *watchdog)
{
  char namespace[sizeof initial_namespace] = "";
  kind = how;
  device = watchdog;
  if (kind == RESET_NONE)
    return;
  ssize_t length = readlink("/proc/self/ns/pid", namespace, sizeof namespace - 1);
  if (length < 0 || strcmp(namespace, initial_namespace) != 0)
    die(1, "--reset=%s resets the whole machine, so it is refused in a container (this is not the initial PID namespace); use --reset=none here",
        kind == RESET_SYSRQ ? "sysrq" : "watchdog");
  if (kind == RESET_WATCHDOG)
    watchdog_start(device);
}

/* W: what is wanted counts with the next lease, what is set until then; the longer one is on the safe side of both. */
static int64_t timeout_ms(void)
{
  return 1000 * (int64_t)(watchdog_timeout_s() > wanted_s ? watchdog_timeout_s() : wanted_s);
}

/* I2: what a pet at `now` sets off must be over by every deadline, and nothing that has fired may still be held. */
static bool may_pet(int64_t now)
{
  for (const struct group *g = groups; g < groups + MAX_GROUPS; g++) {
    if (g->state == GROUP_ARMED && now + timeout_ms() + latency_ms > g->deadline_ms)
      return false;
    if (g->state == GROUP_FIRED && !g->clean)
      return false;
  }
  return true;
}

static bool nothing_known(void)
{
  for (const struct group *g = groups; g < groups + MAX_GROUPS; g++)
    if (g->state != GROUP_FREE)
      return false;
  return true;
}

/* What has fired and is still held δ before its deadline is ended by a reset. */
static int64_t sysrq_step(int64_t now)
{
  int64_t next = NEVER;
  for (const struct group *g = groups; g < groups + MAX_GROUPS; g++) {
    if (g->state != GROUP_FIRED || g->clean)
      continue;
    int64_t at = g->held_since_ms == g->fired_at_ms ? g->deadline_ms - latency_ms : g->held_since_ms + latency_ms;
    next = earlier(next, at);
  }
  if (now < next)
    return next;
  int file = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
  if (file >= 0) {
    if (write(file, "b", 1) == 1)
      fprintf(stderr, "holdfast-guard: reset by sysrq\n");
    close(file);
  }
  return now + latency_ms;
}

int64_t reset_step(int64_t now)
{
  if (kind == RESET_SYSRQ)
    return sysrq_step(now);
  if (kind == RESET_NONE || !watchdog_is_open())
    return NEVER;
  if (nothing_known())
    watchdog_close();
  if (!watchdog_is_open() || !may_pet(now))
    return NEVER; /* what changes that wakes the loop */
  if (now >= pet_at_ms) {
    watchdog_pet();
    petted_at_ms = now;
    pet_at_ms = now + watchdog_timeout_s() * 1000 / PETS_PER_TIMEOUT;
  }
  return pet_at_ms;
}

const char *reset_arm(const struct lease *l, int64_t now)
{
  static char text[320];
  if (kind != RESET_WATCHDOG)
    return NULL;
  if (now + timeout_ms() + latency_ms > l->deadline_ms) {
    snprintf(text, sizeof text, "error late the lease ends before the watchdog would: that takes %lld ms and %lld ms",
             (long long)timeout_ms(), (long long)latency_ms);
    return text;
  }
  if (watchdog_timeout_s() == wanted_s)
    return NULL;
  /* To open it, and to change its time-out, is to pet it. */
  if (!may_pet(now))
    return "error late the watchdog cannot get another time-out now: a lease is about to end";
  const char *problem = watchdog_open(wanted_s);
  if (problem == NULL) {
    petted_at_ms = now;
    pet_at_ms = 0;
    return NULL;
  }
  snprintf(text, sizeof text, "error watchdog %s", problem);
  return text;
}

void reset_times(int seconds, int64_t milliseconds)
{
  wanted_s = seconds;
  latency_ms = milliseconds;
}

void reset_end(void)
{
  if (kind == RESET_WATCHDOG)
    watchdog_leave();
}

void reset_describe(char *text, size_t size)
{
  if (kind != RESET_WATCHDOG)
    snprintf(text, size, "%s", kind == RESET_SYSRQ ? "sysrq" : "none");
  else
    snprintf(text, size, "watchdog:%d:%d:%s:%s", watchdog_least_s(), watchdog_most_s(),
             watchdog_no_way_out() ? "nowayout" : "-", device);
}

void reset_report(char *text, size_t size)
{
  char what[PATH_BYTES + 64];
  reset_describe(what, sizeof what);
  snprintf(text, size, "ok %s %s %d %lld %lld", what, watchdog_is_open() ? "open" : "closed",
           watchdog_timeout_s(), (long long)latency_ms,
           (long long)petted_at_ms);
}
