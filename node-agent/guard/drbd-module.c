/*
 * The way to DRBD's kernel module: generic netlink, family "drbd" (include/linux/drbd_genl_api.h; DRBD 8.4 and 9 alike).
 * For the tests another file stands in for this one.
 */
#include "guard.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void note_family(struct nlmsghdr *m, void *context)
{
  uint16_t *family = context;
  char *at = (char *)NLMSG_DATA(m) + GENL_HDRLEN, *end = (char *)m + m->nlmsg_len;
  while (at + NLA_HDRLEN <= end) {
    const struct nlattr *a = (const struct nlattr *)at;
    if (a->nla_len < NLA_HDRLEN || at + a->nla_len > end)
      return;
    if ((a->nla_type & NLA_TYPE_MASK) == CTRL_ATTR_FAMILY_ID && a->nla_len >= NLA_HDRLEN + sizeof *family)
      memcpy(family, at + NLA_HDRLEN, sizeof *family);
    at += NLA_ALIGN(a->nla_len);
  }
}

int drbd_module_open(uint16_t *family)
{
  /* Asked for a family that it does not know the kernel looks for a module on disk; so this comes first. */
  if (access("/proc/drbd", F_OK) < 0 && errno == ENOENT)
    return -ENOENT;
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
  if (fd < 0)
    return -errno;
  struct {
    struct nlmsghdr header;
    struct genlmsghdr generic;
    struct nlattr attribute;
    char name[8];
  } request = {
      .header = {.nlmsg_len = sizeof request, .nlmsg_type = GENL_ID_CTRL, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
      .generic = {.cmd = CTRL_CMD_GETFAMILY, .version = 1},
      .attribute = {.nla_len = NLA_HDRLEN + sizeof "drbd", .nla_type = CTRL_ATTR_FAMILY_NAME},
      .name = "drbd",
  };
  *family = 0;
  int error = netlink_exchange(fd, &request.header, note_family, family);
  if (error == 0 && *family != 0)
    return fd;
  close(fd);
  return error != 0 ? error : -EPROTO;
}

int drbd_module_ask(int fd, struct nlmsghdr *request, void (*visit)(struct nlmsghdr *, void *), void *context)
{
  return netlink_exchange(fd, request, visit, context);
}
