/*
 * DRBD resources: the role is part of what a lease covers. Who is Primary here when the lease is over stands in the way of
 * the next owner, and could write again.
 *
 * A resource has one name and, per volume, one minor. DRBD 8.4 demotes by minor and DRBD 9 by name: a request that has
 * both is understood by both, and refused should the minor have come to belong to another resource.
 *
 * Every exchange with the module is made by a child: DRBD answers under a lock that it also holds while it waits for a disk,
 * and the guard must not wait for that. The child starts no program.
 */
#include "guard.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* include/linux/drbd_genl.h; the same numbers in 8.4 and in 9. */
enum {
  DRBD_ADM_SECONDARY = 15,
  DRBD_ADM_GET_RESOURCES = 30,
  DRBD_ADM_GET_DEVICES = 31,
  DRBD_NLA_CFG_CONTEXT = 2,
  CTX_RESOURCE_NAME = 2,
  DRBD_NLA_SET_ROLE_PARMS = 6,
  FORCE = 1, /* `assume_uptodate` in 8.4, which a demotion there does not look at */
  DRBD_NLA_RESOURCE_INFO = 15,
  RES_ROLE = 1,
  R_PRIMARY = 1, /* enum drbd_role in include/linux/drbd.h */
};

enum {
  MAX_MINORS = 64, /* volumes of one resource */
  MAX_CHILDREN = 64,
  LOOK_MS = 800,  /* a request of the agent waits so long for a look, if no fuse is due before; it takes one */
  AGAIN_MS = 50,  /* between the first children for one resource; DRBD writes three lines into the log for each refusal, so later … */
  AGAIN_MOST_MS = 1000, /* … for each eighth of the time that it goes on, and no more than this */
  STALE_MS = 1000, /* an answer counts for so long while the next one is awaited */
  ANSWER_HELD = 1, /* exit codes of a child */
  ANSWER_GONE = 0,
};

/* struct drbd_genlmsghdr in include/linux/drbd_genl_api.h */
struct drbd_header {
  uint32_t minor;
  uint32_t flags;
};

struct drbd_message {
  struct nlmsghdr header;
  struct genlmsghdr generic;
  struct drbd_header drbd;
};

/* The newest child of each resource, and what the last one that has ended found. */
static struct child {
  pid_t pid;    /* 0: none runs */
  bool overdue; /* a look that was waited for in vain */
  int answer;
  int64_t started_at_ms, answer_began_at_ms;
  char name[NAME_BYTES];
} children[MAX_CHILDREN];

/* In the child: reading. */

/* The attribute of a type in a sequence of them, or NULL; `*length` is that of its content. */
static const char *attribute(const char *at, const char *end, int type, size_t *length)
{
  while (at + NLA_HDRLEN <= end) {
    const struct nlattr *a = (const struct nlattr *)at;
    if (a->nla_len < NLA_HDRLEN || at + a->nla_len > end)
      return NULL;
    if ((a->nla_type & NLA_TYPE_MASK) == type) {
      *length = a->nla_len - NLA_HDRLEN;
      return at + NLA_HDRLEN;
    }
    at += NLA_ALIGN(a->nla_len);
  }
  return NULL;
}

/* The field of a structure of a message, or NULL. */
static const char *field(const struct nlmsghdr *m, int structure, int type, size_t *length)
{
  const char *start = (const char *)m + sizeof(struct drbd_message), *end = (const char *)m + m->nlmsg_len;
  const char *inner = start <= end ? attribute(start, end, structure, length) : NULL;
  return inner == NULL ? NULL : attribute(inner, inner + *length, type, length);
}

static bool is_about(const struct nlmsghdr *m, const char *name)
{
  size_t length;
  const char *text = field(m, DRBD_NLA_CFG_CONTEXT, CTX_RESOURCE_NAME, &length);
  return text != NULL && strnlen(text, length) == strlen(name) && memcmp(text, name, strlen(name)) == 0;
}

struct look {
  const char *name;
  bool primary; /* not, if the kernel knows no such resource */
  int minor_count;
  uint32_t minors[MAX_MINORS];
};

static void note_role(struct nlmsghdr *m, void *context)
{
  struct look *l = context;
  if (!is_about(m, l->name))
    return;
  size_t length;
  uint32_t role = R_PRIMARY; /* one that says nothing of its role counts as Primary */
  const char *value = field(m, DRBD_NLA_RESOURCE_INFO, RES_ROLE, &length);
  if (value != NULL && length == sizeof role)
    memcpy(&role, value, sizeof role);
  l->primary = role == R_PRIMARY;
}

static void note_minor(struct nlmsghdr *m, void *context)
{
  struct look *l = context;
  if (is_about(m, l->name) && l->minor_count < MAX_MINORS)
    l->minors[l->minor_count++] = ((struct drbd_message *)m)->drbd.minor;
}

static int dump(int fd, uint16_t family, uint8_t command, void (*visit)(struct nlmsghdr *, void *), struct look *l)
{
  struct drbd_message request = {
      .header = {.nlmsg_len = sizeof request, .nlmsg_type = family, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
      .generic = {.cmd = command, .version = 1},
      .drbd = {.minor = UINT32_MAX},
  };
  return drbd_module_ask(fd, &request.header, visit, l);
}

/* In the child: demoting. */

static char *put(char *at, uint16_t type, const void *content, size_t length)
{
  struct nlattr *a = (struct nlattr *)at;
  a->nla_type = type;
  a->nla_len = (uint16_t)(NLA_HDRLEN + length);
  memcpy(at + NLA_HDRLEN, content, length);
  return at + NLA_ALIGN(a->nla_len);
}

static void demote(int fd, uint16_t family, const char *name, uint32_t minor, bool by_force)
{
  struct {
    struct drbd_message message;
    char attributes[NAME_BYTES + 64];
  } request = {
      .message =
          {
              .header = {.nlmsg_type = family, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
              .generic = {.cmd = DRBD_ADM_SECONDARY, .version = 1},
              .drbd = {.minor = minor},
          },
  };
  _Alignas(4) char inner[NAME_BYTES + 8] = {0};
  char *end = put(inner, CTX_RESOURCE_NAME, name, strlen(name) + 1);
  /* Since Linux 5.2 a structure has to be marked as one. */
  char *at = put(request.attributes, DRBD_NLA_CFG_CONTEXT | NLA_F_NESTED, inner, (size_t)(end - inner));
  end = put(inner, FORCE, &(uint8_t){by_force}, 1);
  at = put(at, DRBD_NLA_SET_ROLE_PARMS | NLA_F_NESTED, inner, (size_t)(end - inner));
  request.message.header.nlmsg_len = (uint32_t)(at - (char *)&request);
  /* What it answers does not matter: the role is read back. */
  drbd_module_ask(fd, &request.message.header, NULL, NULL);
}

enum task { LOOK, DEMOTE, DEMOTE_BY_FORCE };

_Noreturn static void carry_out(enum task task, const char *name)
{
  /* Also the lock of the state directory: a child that hangs must not keep the next guard from starting. */
  syscall(SYS_close_range, 3, ~0U, 0);
  /* A demotion waits for threads of DRBD. */
  if (task != LOOK)
    leave_real_time();
  uint16_t family;
  struct look l = {.name = name};
  int fd = drbd_module_open(&family);
  if (fd == -ENOENT)
    _exit(ANSWER_GONE); /* the module is not loaded: no resource has a role */
  if (fd < 0 || dump(fd, family, DRBD_ADM_GET_RESOURCES, note_role, &l) != 0)
    _exit(ANSWER_HELD);
  if (task == LOOK || !l.primary)
    _exit(l.primary ? ANSWER_HELD : ANSWER_GONE);
  dump(fd, family, DRBD_ADM_GET_DEVICES, note_minor, &l);
  for (int i = 0; i < l.minor_count; i++)
    demote(fd, family, name, l.minors[i], task == DEMOTE_BY_FORCE);
  l.primary = false;
  int error = dump(fd, family, DRBD_ADM_GET_RESOURCES, note_role, &l);
  _exit(error != 0 || l.primary ? ANSWER_HELD : ANSWER_GONE);
}

/* In the guard. */

/* Whether it runs; if it has ended, what it found is kept. */
static bool child_runs(struct child *c)
{
  int status;
  if (c->pid == 0 || waitpid(c->pid, &status, WNOHANG) == 0)
    return c->pid != 0;
  c->pid = 0;
  c->overdue = false;
  c->answer = WIFEXITED(status) ? WEXITSTATUS(status) : ANSWER_HELD;
  c->answer_began_at_ms = c->started_at_ms;
  return false;
}

static struct child *child_of(const char *name)
{
  for (struct child *c = children; c < children + MAX_CHILDREN; c++)
    if (strcmp(c->name, name) == 0)
      return c;
  return NULL;
}

/* NULL if there is no room for one more. Called when none runs for the resource. */
static struct child *child_start(enum task task, const char *name)
{
  struct child *c = child_of(name);
  for (struct child *other = children; c == NULL && other < children + MAX_CHILDREN; other++)
    if (!child_runs(other))
      c = other;
  if (c == NULL)
    return NULL;
  pid_t pid = fork();
  if (pid == 0)
    carry_out(task, name);
  if (pid < 0)
    return NULL;
  if (strcmp(c->name, name) != 0)
    *c = (struct child){.answer = ANSWER_HELD};
  c->pid = pid;
  c->started_at_ms = boot_ms();
  strcpy(c->name, name);
  return c;
}

/* A look that hangs is one for all resources: the lock is that of the module. */
static bool module_hangs(void)
{
  for (struct child *c = children; c < children + MAX_CHILDREN; c++)
    if (c->overdue && child_runs(c))
      return true;
  return false;
}

/* A look may keep the guard from everything else, though not from firing. */
static int64_t look_until(int64_t now)
{
  int64_t until = now + LOOK_MS;
  for (const struct group *g = groups; g < groups + MAX_GROUPS; g++)
    if (g->state == GROUP_ARMED)
      until = earlier(until, g->fire_at_ms);
  return until;
}

/* Waits for it, though never for long. Returns its exit code; while it has none, what counts then. */
static int look_answer(struct child *c)
{
  int pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
  if (pidfd < 0)
    return ANSWER_HELD;
  struct pollfd ended = {.fd = pidfd, .events = POLLIN};
  const int64_t left = look_until(boot_ms()) - boot_ms();
  poll(&ended, 1, left > 0 ? (int)left : 0);
  close(pidfd);
  c->overdue = child_runs(c);
  return c->overdue ? ANSWER_HELD : c->answer;
}

bool drbd_is_held(const char *name)
{
  struct child *c = child_of(name);
  if ((c != NULL && child_runs(c)) || module_hangs())
    return true;
  struct child *look = child_start(LOOK, name);
  return look == NULL || look_answer(look) != ANSWER_GONE;
}

bool drbd_force(const char *name, bool by_force, int64_t since_ms)
{
  const int64_t now = boot_ms();
  struct child *c = child_of(name);
  const bool runs = c != NULL && child_runs(c);
  const bool fresh = !runs || now - c->started_at_ms < STALE_MS;
  const bool gone = c != NULL && fresh && c->answer == ANSWER_GONE && c->answer_began_at_ms >= since_ms;
  const int64_t pause_ms = earlier(AGAIN_MOST_MS, (now - since_ms) / 8);
  if (!runs && (c == NULL || now - c->started_at_ms >= (pause_ms > AGAIN_MS ? pause_ms : AGAIN_MS)))
    child_start(by_force ? DEMOTE_BY_FORCE : DEMOTE, name);
  return !gone;
}
