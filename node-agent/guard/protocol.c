/*
 * The requests of the agent: lines of text, one answer each, in order. Whatever is malformed is refused and changes
 * nothing. Only the agent's connection may change anything; every other one may read the state.
 *
 * Two rules keep the fuse honest. What the agent is about to make exclusive is registered before it acts, and it is
 * forgotten only when a look at the kernel shows that it is gone. And once an instant to fire has passed, no request can
 * move it any more, even if the guard has not come round to firing yet.
 *
 * And one rule keeps its word: a promise to the owner of a group is never shortened within an epoch and never given for
 * a group that is armed or fired here. It ends by its time, by one of a higher epoch, or when the group is armed.
 */
#include "guard.h"

#pragma GCC diagnostic ignored "-Wunused-parameter" /* the handlers of requests have one type */

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct group groups[MAX_GROUPS];
struct promise promises[MAX_GROUPS];
struct note notes[MAX_NOTES];
char incarnation[NAME_BYTES];

/* What a request returns: its answer, or NULL if it has sent it itself. */
static const char *reply(const char *format, ...) __attribute__((format(printf, 1, 2)));

static const char *reply(const char *format, ...)
{
  static char line[LINE_BYTES + 64];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  return line;
}

static const char *const malformed = "error syntax malformed request";
static const char *const unknown = "error unknown no such group";

/* The fields of a request. */

static bool is_token(const char *text, size_t limit)
{
  size_t length = strlen(text);
  return length > 0 && length < limit && strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:@+=") == length;
}

static bool is_number(const char *text, int64_t *value)
{
  size_t length = strlen(text);
  if (length == 0 || length > 15 || strspn(text, "0123456789") != length)
    return false;
  *value = strtoll(text, NULL, 10);
  return true;
}

/* `<ifname>` and `<addr>`, or `<addr>/<len>` if with_prefix. */
static bool is_vip(const char *ifname, const char *text, bool with_prefix, struct vip *v)
{
  char address[INET6_ADDRSTRLEN];
  int64_t prefix = 0;
  memset(v, 0, sizeof *v);
  size_t length = strcspn(text, "/");
  if (strlen(ifname) >= IF_NAMESIZE || strchr(ifname, '/') != NULL || strcmp(ifname, ".") == 0 ||
      strcmp(ifname, "..") == 0 || length >= sizeof address || (text[length] == '/') != with_prefix)
    return false;
  memcpy(address, text, length);
  address[length] = '\0';
  if (with_prefix && !is_number(text + length + 1, &prefix))
    return false;
  v->family = strchr(address, ':') != NULL ? AF_INET6 : AF_INET;
  v->prefix = (uint8_t)prefix;
  v->set_at_ms = -1000000;
  v->expires_at_ms = v->refresh_at_ms = NEVER;
  v->ifindex = interface_index(ifname);
  strcpy(v->ifname, ifname);
  return inet_pton(v->family, address, v->bytes) == 1 && prefix <= (v->family == AF_INET ? 32 : 128);
}

/* `<major>:<minor>` and the path, as mountinfo writes them. */
static bool is_mounted(char *number, const char *path, struct mounted *m)
{
  int64_t major, minor;
  char *colon = strchr(number, ':');
  if (colon == NULL || path[0] != '/' || strlen(path) >= sizeof m->path)
    return false;
  *colon = '\0';
  if (!is_number(number, &major) || !is_number(colon + 1, &minor) || major > UINT32_MAX || minor > UINT32_MAX)
    return false;
  m->major = (unsigned)major;
  m->minor = (unsigned)minor;
  strcpy(m->path, path);
  return true;
}

static bool is_hold(char **f, struct hold *h)
{
  memset(h, 0, sizeof *h);
  if (strcmp(f[2], "vip") == 0 && f[4] != NULL) {
    h->kind = HOLD_VIP;
    return is_vip(f[3], f[4], true, &h->vip);
  }
  if (strcmp(f[2], "mount") == 0 && f[4] != NULL) {
    h->kind = HOLD_MOUNT;
    return is_mounted(f[3], f[4], &h->mounted);
  }
  if (strcmp(f[2], "drbd") == 0 && f[4] == NULL) {
    h->kind = HOLD_DRBD;
    if (!is_token(f[3], sizeof h->resource))
      return false;
    strcpy(h->resource, f[3]);
    return true;
  }
  if (strcmp(f[2], "cgroup") != 0 || f[4] != NULL || strlen(f[3]) >= PATH_BYTES || f[3][0] != '/')
    return false;
  h->kind = HOLD_CGROUP;
  strcpy(h->path, f[3]);
  return true;
}

static bool same_hold(const struct hold *a, const struct hold *b)
{
  if (a->kind != b->kind)
    return false;
  if (a->kind == HOLD_CGROUP)
    return strcmp(a->path, b->path) == 0;
  if (a->kind == HOLD_DRBD)
    return strcmp(a->resource, b->resource) == 0;
  if (a->kind == HOLD_MOUNT)
    return a->mounted.major == b->mounted.major && a->mounted.minor == b->mounted.minor &&
           strcmp(a->mounted.path, b->mounted.path) == 0;
  return strcmp(a->vip.ifname, b->vip.ifname) == 0 && a->vip.family == b->vip.family &&
         a->vip.prefix == b->vip.prefix && memcmp(a->vip.bytes, b->vip.bytes, 16) == 0;
}

static struct group *group_find(const char *name)
{
  for (struct group *g = groups; g < groups + MAX_GROUPS; g++)
    if (g->state != GROUP_FREE && strcmp(g->name, name) == 0)
      return g;
  return NULL;
}

/* The requests. `f` holds the fields, f[0] the name; absent ones are NULL. */

static const char *do_hello(struct client *c, char **f)
{
  if (strcmp(f[1], "1") != 0)
    return "error version this guard speaks version 1";
  const char *problem = agent_adopt(c);
  if (problem != NULL)
    return reply("error agent %s", problem);
  char how[PATH_BYTES + 64];
  reset_describe(how, sizeof how);
  return reply("ok %d %lld %s %s", getpid(), (long long)started_at_ms, weaknesses, how);
}

/* Anyone may ask how the watchdog stands; the agent says what its time-out is to be. */
static const char *do_reset(struct client *c, char **f)
{
  int64_t seconds, milliseconds;
  if (f[1] == NULL) {
    static char text[PATH_BYTES + 160];
    reset_report(text, sizeof text);
    return text;
  }
  if (!is_number(f[1], &seconds) || !is_number(f[2], &milliseconds))
    return malformed;
  if (seconds < 1 || seconds * 1000 + milliseconds > MAX_LEASE_MS)
    return "error range a time-out is at least a second, and with the latency of the reset at most an hour";
  reset_times((int)seconds, milliseconds);
  return "ok";
}

static const char *do_incarnation(struct client *c, char **f)
{
  if (!is_token(f[1], sizeof incarnation) || strcmp(f[1], "-") == 0)
    return malformed;
  if (incarnation[0] != '\0')
    return reply("error already the incarnation is %s", incarnation);
  strcpy(incarnation, f[1]);
  return "ok";
}

static struct note *note_find(const char *key)
{
  for (struct note *n = notes; n < notes + MAX_NOTES; n++)
    if (strcmp(n->key, key) == 0)
      return n;
  return NULL;
}

static const char *do_note(struct client *c, char **f)
{
  const char *value = f[2] != NULL ? f[2] : "";
  if (!is_token(f[1], NAME_BYTES) || strlen(value) >= VALUE_BYTES)
    return malformed;
  struct note *n = note_find(f[1]);
  if (value[0] == '\0') {
    if (n != NULL)
      n->key[0] = '\0';
    return "ok";
  }
  if (n == NULL)
    n = note_find(""); /* a free one */
  if (n == NULL)
    return reply("error full %d notes are the limit", MAX_NOTES);
  strcpy(n->key, f[1]);
  strcpy(n->value, value);
  return "ok";
}

/* False if malformed. */
static bool is_lease(char **f, struct lease *l)
{
  return is_token(f[1], NAME_BYTES) && is_number(f[2], &l->epoch) && is_number(f[3], &l->deadline_ms) &&
         is_number(f[4], &l->fire_at_ms);
}

/* Returns why the group cannot be changed any more, or NULL. */
static const char *too_late(const struct group *g, int64_t now)
{
  if (g->state == GROUP_FIRED)
    return "error fired the group has fired and is not disarmed";
  if (now >= g->fire_at_ms)
    return reply("error late the instant to fire was %lld, it is %lld", (long long)g->fire_at_ms, (long long)now);
  return NULL;
}

/* Lets the lease of the group last longer; called with nothing changed yet. */
static const char *extend(struct group *g, const struct lease *l, int64_t now)
{
  /* Never shorter: an answer that comes late to the agent must not take back what a newer one gave. */
  if (l->deadline_ms > g->deadline_ms)
    g->deadline_ms = l->deadline_ms;
  if (l->fire_at_ms > g->fire_at_ms)
    g->fire_at_ms = l->fire_at_ms;
  lifetimes_extend(g, now);
  return reply("ok %lld %lld", (long long)g->deadline_ms, (long long)g->fire_at_ms);
}

static const char *impossible(const struct lease *l, int64_t now)
{
  if (l->fire_at_ms > l->deadline_ms)
    return "error range the guard would fire after the deadline";
  if (l->deadline_ms > now + MAX_LEASE_MS)
    return "error range that is more than an hour away: it must be CLOCK_BOOTTIME in milliseconds";
  if (now >= l->fire_at_ms)
    return reply("error late it is %lld already", (long long)now);
  return NULL;
}

/* The promise for the group that still runs, or NULL. */
static struct promise *promise_find(const char *group, int64_t now)
{
  for (struct promise *p = promises; p < promises + MAX_GROUPS; p++)
    if (p->until_ms > now && strcmp(p->group, group) == 0)
      return p;
  return NULL;
}

static const char *do_promise(struct client *c, char **f)
{
  int64_t epoch, until_ms;
  if (!is_token(f[1], NAME_BYTES) || !is_number(f[2], &epoch) || !is_number(f[3], &until_ms) ||
      !is_token(f[4], NAME_BYTES))
    return malformed;
  int64_t now = boot_ms();
  if (group_find(f[1]) != NULL)
    return "error armed who has the group armed or fired promises nothing";
  struct promise *p = promise_find(f[1], now);
  if (p != NULL && epoch < p->epoch)
    return reply("error epoch a promise of epoch %lld runs", (long long)p->epoch);
  const char *problem = impossible(&(struct lease){epoch, until_ms, until_ms}, now);
  if (problem != NULL)
    return problem;
  if (p != NULL && epoch == p->epoch && until_ms < p->until_ms)
    until_ms = p->until_ms; /* the owner may rely on the longest */
  if (p == NULL) {
    for (p = promises; p < promises + MAX_GROUPS && p->until_ms > now; p++)
      ;
    if (p == promises + MAX_GROUPS)
      return reply("error full %d promises are the limit", MAX_GROUPS);
    strcpy(p->group, f[1]);
  }
  strcpy(p->owner, f[4]);
  p->epoch = epoch;
  p->until_ms = until_ms;
  return reply("ok %lld %lld", (long long)epoch, (long long)until_ms);
}

static const char *do_arm(struct client *c, char **f)
{
  struct lease l;
  if (!is_lease(f, &l) || strlen(f[5]) >= VOTERS_BYTES)
    return malformed;
  int64_t now = boot_ms();
  struct group *g = group_find(f[1]);
  if (g != NULL && l.epoch < g->epoch)
    return reply("error epoch the recorded epoch is %lld", (long long)g->epoch);
  const char *problem = g != NULL ? too_late(g, now) : NULL;
  if (problem == NULL)
    problem = impossible(&l, now);
  if (problem == NULL && (g == NULL || l.epoch > g->epoch))
    problem = reset_arm(&l, now);
  if (problem != NULL)
    return problem;
  if (g == NULL) {
    for (g = groups; g < groups + MAX_GROUPS && g->state != GROUP_FREE; g++)
      ;
    if (g == groups + MAX_GROUPS)
      return reply("error full %d groups are the limit", MAX_GROUPS);
    *g = (struct group){.state = GROUP_ARMED, .holds = g->holds, .voters = g->voters};
    strcpy(g->name, f[1]);
  }
  if (l.epoch > g->epoch)
    g->deadline_ms = g->fire_at_ms = 0; /* another lease: the times of the old one do not count */
  g->epoch = l.epoch;
  strcpy(g->voters, f[5]);
  /* The agent arms only when what it promised is over or void. */
  struct promise *p = promise_find(f[1], now);
  if (p != NULL)
    p->until_ms = 0;
  return extend(g, &l, now);
}

static const char *do_pet(struct client *c, char **f)
{
  struct lease l;
  if (!is_lease(f, &l))
    return malformed;
  int64_t now = boot_ms();
  struct group *g = group_find(f[1]);
  if (g == NULL)
    return unknown;
  if (l.epoch != g->epoch)
    return reply("error epoch the recorded epoch is %lld", (long long)g->epoch);
  const char *problem = too_late(g, now);
  if (problem == NULL)
    problem = impossible(&l, now);
  return problem != NULL ? problem : extend(g, &l, now);
}

/* The registered hold that is the same as `h`, or NULL. */
static struct hold *hold_find(struct group *g, const struct hold *h)
{
  for (int i = 0; i < g->hold_count; i++)
    if (same_hold(&g->holds[i], h))
      return &g->holds[i];
  return NULL;
}

static const char *do_hold(struct client *c, char **f)
{
  struct hold h;
  if (!is_hold(f, &h))
    return malformed;
  struct group *g = group_find(f[1]);
  if (g == NULL)
    return unknown;
  const char *problem = too_late(g, boot_ms());
  if (problem != NULL)
    return problem;
  if (hold_find(g, &h) != NULL)
    return "ok";
  problem = h.kind == HOLD_CGROUP ? cgroup_problem(h.path) : NULL;
  if (problem != NULL)
    return reply("error cgroup %s", problem);
  problem = h.kind == HOLD_MOUNT ? mount_problem(&h.mounted) : NULL;
  if (problem != NULL)
    return reply("error mount %s", problem);
  if (g->hold_count == MAX_HOLDS)
    return reply("error full %d holds per group are the limit", MAX_HOLDS);
  g->holds[g->hold_count++] = h;
  return "ok";
}

static const char *do_unhold(struct client *c, char **f)
{
  struct hold h;
  if (!is_hold(f, &h))
    return malformed;
  struct group *g = group_find(f[1]);
  if (g == NULL)
    return unknown;
  struct hold *registered = hold_find(g, &h);
  if (registered == NULL)
    return "ok"; /* as after a repeated request */
  if (hold_is_held(registered))
    return "error held it is still there";
  *registered = g->holds[--g->hold_count];
  return "ok";
}

static const char *do_disarm(struct client *c, char **f)
{
  int64_t epoch;
  struct group *g = group_find(f[1]);
  if (!is_number(f[2], &epoch))
    return malformed;
  if (g == NULL)
    return unknown;
  if (epoch != g->epoch)
    return reply("error epoch the recorded epoch is %lld", (long long)g->epoch);
  for (struct hold *h = g->holds; h < g->holds + g->hold_count; h++)
    if (hold_is_held(h))
      return h->kind == HOLD_DRBD
                 ? reply("error held DRBD resource %s is still Primary", h->resource)
                 : reply("error held %s is still there", h->kind == HOLD_VIP     ? "an address"
                                                         : h->kind == HOLD_MOUNT ? h->mounted.path
                                                                                 : h->path);
  g->state = GROUP_FREE;
  return "ok";
}

static const char *do_announce(struct client *c, char **f)
{
  struct vip v;
  const char *code = is_vip(f[1], f[2], false, &v) ? announce_send(&v) : "syntax";
  return code == NULL ? "ok" : reply("error %s cannot announce %s on %s", code, f[2], f[1]);
}

static const char *do_probe(struct client *c, char **f)
{
  struct vip v;
  int64_t timeout_ms;
  const char *code = "syntax";
  if (is_vip(f[1], f[2], false, &v) && is_number(f[3], &timeout_ms) && timeout_ms >= 20 && timeout_ms <= 10000)
    code = probe_start(&v, f[2], timeout_ms, c->serial);
  return code == NULL ? "ok" : reply("error %s cannot probe for %s on %s", code, f[2], f[1]);
}

/* Answers are put together here; a long state is sent in pieces, between which nothing can change. */
static char page[16384];
static size_t page_used;

static void page_flush(struct client *c)
{
  client_send(c, page, page_used);
  page_used = 0;
}

static void page_add(struct client *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void page_add(struct client *c, const char *format, ...)
{
  if (page_used > sizeof page - 2 * LINE_BYTES)
    page_flush(c);
  va_list arguments;
  va_start(arguments, format);
  page_used += (size_t)vsnprintf(page + page_used, sizeof page - page_used, format, arguments);
  va_end(arguments);
}

static const char *do_state(struct client *c, char **f)
{
  page_add(c, "incarnation %s\n", incarnation[0] != '\0' ? incarnation : "-");
  for (struct note *n = notes; n < notes + MAX_NOTES; n++)
    if (n->key[0] != '\0')
      page_add(c, "note %s %s\n", n->key, n->value);
  for (struct group *g = groups; g < groups + MAX_GROUPS; g++) {
    if (g->state == GROUP_FREE)
      continue;
    page_add(c, "group %s %lld %lld %lld %s %s\n", g->name, (long long)g->epoch, (long long)g->deadline_ms,
             (long long)g->fire_at_ms, g->state == GROUP_FIRED ? "fired" : "armed", g->voters);
    for (struct hold *h = g->holds; h < g->holds + g->hold_count; h++) {
      char address[INET6_ADDRSTRLEN];
      if (h->kind == HOLD_CGROUP)
        page_add(c, "hold %s cgroup %s\n", g->name, h->path);
      else if (h->kind == HOLD_DRBD)
        page_add(c, "hold %s drbd %s\n", g->name, h->resource);
      else if (h->kind == HOLD_MOUNT)
        page_add(c, "hold %s mount %u:%u %s\n", g->name, h->mounted.major, h->mounted.minor, h->mounted.path);
      else
        page_add(c, "hold %s vip %s %s/%d\n", g->name, h->vip.ifname,
                 inet_ntop(h->vip.family, h->vip.bytes, address, sizeof address), h->vip.prefix);
    }
    if (g->state == GROUP_FIRED)
      page_add(c, "fired %s %lld %lld %lld %s\n", g->name, (long long)g->epoch, (long long)g->fired_at_ms,
               (long long)g->lateness_us, g->clean ? "clean" : "held");
  }
  const int64_t now = boot_ms();
  for (struct promise *p = promises; p < promises + MAX_GROUPS; p++)
    if (p->until_ms > now)
      page_add(c, "promise %s %lld %lld %s\n", p->group, (long long)p->epoch, (long long)p->until_ms, p->owner);
  page_add(c, "end\n");
  page_flush(c);
  return NULL;
}

static const struct request {
  const char *name;
  int fewest, most; /* fields, its name included */
  bool agent_only;
  const char *(*handle)(struct client *, char **);
} requests[] = {
    {"pet", 5, 5, true, do_pet},
    {"state", 1, 1, false, do_state},
    {"hello", 2, 2, false, do_hello},
    {"reset", 1, 1, false, do_reset},
    {"reset", 3, 3, true, do_reset},
    {"incarnation", 2, 2, true, do_incarnation},
    {"note", 2, 3, true, do_note}, /* the value is the rest of the line */
    {"promise", 5, 5, true, do_promise},
    {"arm", 6, 6, true, do_arm},
    {"hold", 4, 5, true, do_hold},
    {"unhold", 4, 5, true, do_unhold},
    {"disarm", 3, 3, true, do_disarm},
    {"announce", 3, 3, true, do_announce},
    {"probe", 4, 4, true, do_probe},
};

void request_handle(struct client *c, char *line, size_t length)
{
  char *fields[8] = {line};
  int count = 1;
  const bool is_note = strncmp(line, "note ", 5) == 0;
  bool valid = true;
  for (char *p = line; p < line + length; p++) {
    if (*p < ' ' || *p > '~')
      valid = false;
    if (*p != ' ' || (is_note && count == 3))
      continue;
    *p = '\0';
    if (count == 7)
      valid = false;
    else
      fields[count++] = p + 1;
  }
  for (int i = 0; i < count; i++)
    valid = valid && (fields[i][0] != '\0' || (is_note && i == 2));

  const char *text = malformed;
  for (const struct request *r = requests; valid && r < requests + sizeof requests / sizeof *requests; r++)
    if (strcmp(r->name, fields[0]) == 0 && count >= r->fewest && count <= r->most)
      text = r->agent_only && !client_is_agent(c) ? "error agent only the agent may do this: say hello first"
                                                  : r->handle(c, fields);
  if (text == NULL)
    return;
  page_add(c, "%s\n", text);
  page_flush(c);
}
