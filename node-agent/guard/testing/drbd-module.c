/*
 * For the tests, in place of ../drbd-module.c: a kernel module whose resources are files. The directory FAKE_DRBD has one
 * `NAME` per resource with its role and the minors of its volumes (`Primary 0 1`); without the directory the module is not
 * loaded. `deaf`: it does not answer. `hangs`: not as long as that is there. `NAME.busy`: a demotion is refused, except by force.
 * What it is asked to change is in `log`.
 */
#include "../guard.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SECONDARY = 15, GET_RESOURCES = 30, GET_DEVICES = 31, CONTEXT = 2, NAME = 2, ROLE_PARMS = 6, INFO = 15 };

struct drbd {
  uint32_t minor, flags;
};

static struct {
  struct nlmsghdr header;
  struct genlmsghdr generic;
  struct drbd drbd;
  char attributes[512];
} answer;

static char *put(char *at, uint16_t type, const void *content, size_t length)
{
  struct nlattr a = {.nla_type = type, .nla_len = (uint16_t)(NLA_HDRLEN + length)};
  memcpy(at, &a, sizeof a);
  memcpy(at + NLA_HDRLEN, content, length);
  return at + NLA_ALIGN(a.nla_len);
}

/* The only attribute of a structure, which is marked as one: where its content begins. NULL is refused. */
static const char *only(const char *at, const char *end, int structure)
{
  while (at < end) {
    struct nlattr a;
    memcpy(&a, at, sizeof a);
    if (a.nla_type == (structure | NLA_F_NESTED))
      return at + 2 * NLA_HDRLEN;
    at += NLA_ALIGN(a.nla_len);
  }
  return NULL;
}

static bool exists(const char *name)
{
  return access(name, F_OK) == 0;
}

int drbd_module_open(uint16_t *family)
{
  const char *directory = getenv("FAKE_DRBD");
  if (directory == NULL || chdir(directory) < 0)
    return -ENOENT;
  while (exists("hangs"))
    usleep(10000);
  *family = 28;
  return exists("deaf") ? -EIO : open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void tell(const char *name, uint32_t minor, const char *role, void (*visit)(struct nlmsghdr *, void *), void *context)
{
  char inner[128];
  memset(&answer, 0, sizeof answer);
  answer.drbd.minor = minor;
  char *end = put(inner, NAME | 1 << 14, name, strlen(name) + 1); /* as DRBD marks what has to be understood */
  char *at = put(answer.attributes, CONTEXT, inner, (size_t)(end - inner));
  uint32_t number = strcmp(role, "Primary") == 0 ? 1 : strcmp(role, "Secondary") == 0 ? 2 : 0;
  if (strcmp(role, "Silent") != 0) {
    end = put(inner, 1, &number, sizeof number);
    at = put(at, INFO, inner, (size_t)(end - inner));
  }
  answer.header.nlmsg_len = (uint32_t)(at - (char *)&answer);
  visit(&answer.header, context);
}

static void secondary(const char *name, uint32_t minor, bool by_force)
{
  char busy[NAME_BYTES + 8];
  FILE *log = fopen("log", "a");
  fprintf(log, "secondary %s %u%s\n", name, minor, by_force ? " by force" : "");
  fclose(log);
  snprintf(busy, sizeof busy, "%s.busy", name);
  if (exists(busy) && !by_force)
    return;
  FILE *file = fopen("new", "w");
  fprintf(file, "Secondary %u\n", minor);
  fclose(file);
  rename("new", name);
}

int drbd_module_ask(int fd, struct nlmsghdr *request, void (*visit)(struct nlmsghdr *, void *), void *context)
{
  (void)fd;
  const struct genlmsghdr *generic = NLMSG_DATA(request);
  const char *start = (const char *)(generic + 1), *end = (const char *)request + request->nlmsg_len;
  struct drbd drbd;
  memcpy(&drbd, start, sizeof drbd);
  start += sizeof drbd;
  if (generic->cmd == SECONDARY) {
    const char *name = only(start, end, CONTEXT), *force = only(start, end, ROLE_PARMS);
    if (name == NULL || force == NULL)
      return -EINVAL;
    secondary(name, drbd.minor, *force == 1);
    return 0;
  }
  DIR *directory = opendir(".");
  for (struct dirent *e; (e = readdir(directory)) != NULL;) {
    char line[128] = "";
    FILE *file = e->d_type == DT_REG && strchr(e->d_name, '.') == NULL ? fopen(e->d_name, "r") : NULL;
    if (file == NULL || fgets(line, sizeof line, file) == NULL || strcmp(e->d_name, "log") == 0)
      continue;
    fclose(file);
    char *word = strtok(line, " \n"), *minor;
    if (generic->cmd == GET_RESOURCES)
      tell(e->d_name, UINT32_MAX, word, visit, context);
    while (generic->cmd == GET_DEVICES && (minor = strtok(NULL, " \n")) != NULL)
      tell(e->d_name, (uint32_t)atoi(minor), word, visit, context);
  }
  closedir(directory);
  return 0;
}
