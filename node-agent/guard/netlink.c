/*
 * Addresses, by rtnetlink.
 *
 * Both changes made here (delete, set the lifetime) send the kernel's own description of the address back to it with one
 * thing changed, so that label, metric, prefix length and flags are exactly those that are there.
 */
#include "guard.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int request_fd, watch_fd;
static uint32_t sequence;
static _Alignas(8) char buffer[32768];

static int open_route(unsigned multicast_groups)
{
  struct sockaddr_nl self = {.nl_family = AF_NETLINK, .nl_groups = multicast_groups};
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0 || bind(fd, (struct sockaddr *)&self, sizeof self) < 0)
    die(1, "cannot open a netlink socket: %s", strerror(errno));
  return fd;
}

void netlink_open(void)
{
  request_fd = open_route(0);
  watch_fd = open_route(RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR);
  /* The kernel answers before send() returns; the time-out only keeps a surprise from stopping the event loop. */
  struct timeval timeout = {.tv_usec = 100000};
  setsockopt(request_fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
}

int netlink_watch_fd(void) { return watch_fd; }

void netlink_watch_drain(void)
{
  /* What changed does not matter, not even when messages were dropped (ENOBUFS): the fired groups are read back anyway. */
  while (recv(watch_fd, buffer, sizeof buffer, MSG_DONTWAIT) >= 0 || errno == ENOBUFS)
    ;
  fired_recheck();
}

int netlink_exchange(int fd, struct nlmsghdr *request, void (*visit)(struct nlmsghdr *, void *), void *context)
{
  request->nlmsg_seq = ++sequence;
  if (send(fd, request, request->nlmsg_len, 0) < 0)
    return -errno;
  bool interrupted = false;
  for (;;) {
    ssize_t received = recv(fd, buffer, sizeof buffer, MSG_TRUNC);
    if (received < 0)
      return -errno;
    if (received > (ssize_t)sizeof buffer)
      return -EMSGSIZE;
    int left = (int)received;
    for (struct nlmsghdr *m = (struct nlmsghdr *)buffer; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
      if (m->nlmsg_seq != sequence)
        continue; /* late answer to a request that timed out */
      interrupted |= (m->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
      if (m->nlmsg_type == NLMSG_ERROR)
        return ((struct nlmsgerr *)NLMSG_DATA(m))->error;
      if (m->nlmsg_type == NLMSG_DONE)
        return interrupted ? -EINTR : 0;
      if (visit != NULL)
        visit(m, context);
    }
  }
}

struct search {
  const struct vip *vip;
  int ifindex;
  struct address *found;
  bool present;
};

static void compare(struct nlmsghdr *m, void *context)
{
  struct search *s = context;
  struct ifaddrmsg *ifa = NLMSG_DATA(m);
  if (s->present || m->nlmsg_type != RTM_NEWADDR || ifa->ifa_family != s->vip->family)
    return;
  if ((int)ifa->ifa_index != s->ifindex && (int)ifa->ifa_index != s->vip->ifindex)
    return;

  struct nlmsghdr *copy = (struct nlmsghdr *)s->found->message;
  char *end = s->found->message + NLMSG_SPACE(sizeof *ifa);
  memcpy(NLMSG_DATA(copy), ifa, sizeof *ifa);
  s->found->flags = ifa->ifa_flags;
  const void *local = NULL;
  int left = (int)IFA_PAYLOAD(m);
  for (struct rtattr *a = IFA_RTA(ifa); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
    if (a->rta_type == IFA_CACHEINFO)
      continue;
    /* Where both are there (IPv4, point-to-point) LOCAL is ours and ADDRESS the peer's. */
    if (a->rta_type == IFA_LOCAL || (a->rta_type == IFA_ADDRESS && local == NULL))
      local = RTA_DATA(a);
    if (a->rta_type == IFA_FLAGS)
      memcpy(&s->found->flags, RTA_DATA(a), sizeof s->found->flags);
    if (end + RTA_ALIGN(a->rta_len) > s->found->message + sizeof s->found->message)
      continue;
    memcpy(end, a, a->rta_len);
    end += RTA_ALIGN(a->rta_len);
  }
  copy->nlmsg_len = (uint32_t)(end - s->found->message);
  s->present = local != NULL && memcmp(local, s->vip->bytes, s->vip->family == AF_INET ? 4 : 16) == 0;
}

int address_read(const struct vip *v, struct address *a)
{
  /* The prefix length is not compared: an address that someone added with another one is just as much held. */
  for (int attempt = 0; attempt < 4; attempt++) {
    struct {
      struct nlmsghdr header;
      struct ifaddrmsg ifa;
    } request = {
        .header = {.nlmsg_len = sizeof request, .nlmsg_type = RTM_GETADDR, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .ifa = {.ifa_family = v->family},
    };
    struct search s = {.vip = v, .ifindex = interface_index(v->ifname), .found = a};
    int error = netlink_exchange(request_fd, &request.header, compare, &s);
    if (s.present)
      return 1;
    if (error == 0)
      return 0;
    /* -EINTR: the table changed during the dump, which may then have missed an entry. */
    if (error != -EINTR)
      return -1;
  }
  return -1;
}

int address_delete(struct address *a)
{
  struct nlmsghdr *m = (struct nlmsghdr *)a->message;
  m->nlmsg_type = RTM_DELADDR;
  m->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  return netlink_exchange(request_fd, m, NULL, NULL);
}

static int address_set_lifetime(struct address *a, uint32_t seconds)
{
  struct nlmsghdr *m = (struct nlmsghdr *)a->message;
  if (m->nlmsg_len + RTA_SPACE(sizeof(struct ifa_cacheinfo)) > sizeof a->message)
    return -EMSGSIZE;
  struct rtattr *attribute = (struct rtattr *)(a->message + m->nlmsg_len);
  struct ifa_cacheinfo lifetime = {.ifa_valid = seconds, .ifa_prefered = seconds};
  attribute->rta_type = IFA_CACHEINFO;
  attribute->rta_len = RTA_LENGTH(sizeof lifetime);
  memcpy(RTA_DATA(attribute), &lifetime, sizeof lifetime);
  m->nlmsg_len += RTA_SPACE(sizeof lifetime);
  m->nlmsg_type = RTM_NEWADDR;
  m->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_REPLACE;
  return netlink_exchange(request_fd, m, NULL, NULL);
}

/*
 * Lifetimes. The kernel removes an address whose lifetime is over, even if agent and guard are both gone. It counts
 * whole seconds, so a lifetime set at any moment ends up to a second early; only one that is set a whole number of
 * seconds ahead ends at the instant that is meant. Therefore: set one on the pet, once more at such an instant, and in
 * between early enough that the address never runs out while the lease is good (leases may be as short as 1.5 s).
 *
 * The instant meant is the one to fire, not the deadline: the kernel rounds its timers up (10 to 320 ms late measured,
 * net/ipv4/devinet.c check_lifetime allows about a second), and the address is not needed for longer anyway.
 */
enum {
  MIN_PAUSE_MS = 900,
  REFRESH_BEFORE_MS = 400,
  WAKE_BEFORE_MS = 5, /* a wake-up this late still finds the whole number of seconds */
  CLOSE_ENOUGH_MS = 10,
};

static void plan_refresh(struct vip *v, const struct group *g, int64_t now)
{
  int64_t left = g->fire_at_ms - now;
  v->refresh_at_ms = NEVER;
  if (v->expires_at_ms < g->fire_at_ms - CLOSE_ENOUGH_MS && left >= 1000)
    v->refresh_at_ms =
        earlier(g->fire_at_ms - left / 1000 * 1000 - WAKE_BEFORE_MS, v->expires_at_ms - REFRESH_BEFORE_MS);
}

static void set_lifetime(struct vip *v, const struct group *g, int64_t now)
{
  struct address a;
  int64_t seconds = (g->fire_at_ms - now) / 1000;
  if (seconds < 1)
    seconds = 1; /* 0 is refused */
  /* RTM_NEWADDR creates what is absent, whatever its flags say, hence the look. Should the address go in between, it
   * is back for a lifetime at most, and unhold and disarm read back. */
  if (address_read(v, &a) != 1 || address_set_lifetime(&a, (uint32_t)seconds) != 0) {
    v->refresh_at_ms = NEVER; /* the next pet tries again */
    return;
  }
  v->set_at_ms = now;
  v->expires_at_ms = now + seconds * 1000;
  plan_refresh(v, g, now);
}

void lifetimes_extend(struct group *g, int64_t now)
{
  for (int i = 0; i < g->hold_count; i++) {
    struct vip *v = &g->holds[i].vip;
    if (g->holds[i].kind != HOLD_VIP)
      continue;
    /* With less than a second left no instant comes that is a whole number of seconds ahead: only a pet can set it then. */
    const bool last_chance = g->fire_at_ms - now < 1000 && v->expires_at_ms < g->fire_at_ms;
    if (now - v->set_at_ms >= MIN_PAUSE_MS || last_chance)
      set_lifetime(v, g, now);
    else
      plan_refresh(v, g, now);
  }
}

int64_t lifetimes_refresh(int64_t now)
{
  int64_t next = NEVER;
  for (struct group *g = groups; g < groups + MAX_GROUPS; g++) {
    for (int i = 0; g->state == GROUP_ARMED && i < g->hold_count; i++) {
      struct vip *v = &g->holds[i].vip;
      if (g->holds[i].kind != HOLD_VIP)
        continue;
      if (v->refresh_at_ms <= now) {
        if (now + (g->fire_at_ms - now) / 1000 * 1000 > v->expires_at_ms)
          set_lifetime(v, g, now);
        else
          plan_refresh(v, g, now); /* woken so late that it would only get shorter */
      }
      next = earlier(next, v->refresh_at_ms);
    }
  }
  return next;
}
