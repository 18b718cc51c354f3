/*
 * Telling the neighbours that an address is here now, and asking whether someone else has it. The frames are built here
 * because bare Debian has no tool for either. Sockets of type SOCK_DGRAM: the kernel writes the Ethernet header.
 */
#include "guard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_addr.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netinet/ip6.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct link {
  int ifindex;
  uint8_t mac[ETH_ALEN];
};

static struct probe {
  int fd; /* -1: free */
  struct vip vip;
  struct link link;
  char text[INET6_ADDRSTRLEN]; /* the address as it was asked for */
  uint64_t client_serial;
  int64_t again_at_ms, ends_at_ms;
} probes[MAX_PROBES];

static int send_fd;

void announce_open(void)
{
  /* Protocol 0: this socket sends only. One that listens would wake the guard at every ARP frame of the network. */
  send_fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (send_fd < 0)
    die(1, "cannot open a packet socket: %s (is this root, with CAP_NET_RAW?)", strerror(errno));
  for (struct probe *p = probes; p < probes + MAX_PROBES; p++)
    p->fd = -1;
}

int interface_index(const char *ifname)
{
  struct ifreq request = {0};
  strncpy(request.ifr_name, ifname, IF_NAMESIZE - 1);
  return ioctl(send_fd, SIOCGIFINDEX, &request) < 0 ? 0 : request.ifr_ifindex;
}

static bool link_find(const char *ifname, struct link *l)
{
  struct ifreq request = {0};
  strncpy(request.ifr_name, ifname, IF_NAMESIZE - 1);
  l->ifindex = interface_index(ifname);
  if (l->ifindex == 0 || ioctl(send_fd, SIOCGIFHWADDR, &request) < 0 || request.ifr_hwaddr.sa_family != ARPHRD_ETHER)
    return false;
  memcpy(l->mac, request.ifr_hwaddr.sa_data, ETH_ALEN);
  return true;
}

static bool send_frame(const struct link *l, uint16_t protocol, const uint8_t *to, const void *frame, size_t length)
{
  struct sockaddr_ll target = {
      .sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = l->ifindex, .sll_halen = ETH_ALEN};
  memcpy(target.sll_addr, to, ETH_ALEN);
  return sendto(send_fd, frame, length, MSG_DONTWAIT, (struct sockaddr *)&target, sizeof target) == (ssize_t)length;
}

static bool send_arp(const struct link *l, uint16_t operation, const uint8_t *sender, const uint8_t *target)
{
  static const uint8_t broadcast[ETH_ALEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  struct ether_arp arp = {.ea_hdr = {.ar_hrd = htons(ARPHRD_ETHER),
                                     .ar_pro = htons(ETHERTYPE_IP),
                                     .ar_hln = ETH_ALEN,
                                     .ar_pln = 4,
                                     .ar_op = htons(operation)}};
  memcpy(arp.arp_sha, l->mac, ETH_ALEN);
  memcpy(arp.arp_spa, sender, 4);
  if (operation == ARPOP_REPLY)
    memcpy(arp.arp_tha, broadcast, ETH_ALEN);
  memcpy(arp.arp_tpa, target, 4);
  return send_frame(l, ETHERTYPE_ARP, broadcast, &arp, sizeof arp);
}

static uint16_t icmp6_checksum(const struct in6_addr *from, const struct in6_addr *to, const void *body, size_t length)
{
  uint32_t sum = (uint32_t)length + IPPROTO_ICMPV6;
  const uint8_t *parts[] = {from->s6_addr, to->s6_addr, body};
  const size_t lengths[] = {16, 16, length};
  for (int i = 0; i < 3; i++)
    for (size_t n = 0; n < lengths[i]; n += 2)
      sum += (uint32_t)parts[i][n] << 8 | parts[i][n + 1];
  while (sum >> 16)
    sum = (sum & 0xffff) + (sum >> 16);
  return htons((uint16_t)~sum);
}

/* Sends one ICMPv6 message (of even length) from `from` to the multicast group `to`. */
static bool send_icmp6(const struct link *l, const struct in6_addr *from, const struct in6_addr *to,
                       struct icmp6_hdr *body, size_t length)
{
  struct {
    struct ip6_hdr ip;
    char body[64];
  } frame = {0};
  frame.ip.ip6_flow = htonl(6u << 28);
  frame.ip.ip6_plen = htons((uint16_t)length);
  frame.ip.ip6_nxt = IPPROTO_ICMPV6;
  frame.ip.ip6_hlim = 255; /* receivers drop anything else: it cannot have come from another network */
  frame.ip.ip6_src = *from;
  frame.ip.ip6_dst = *to;
  body->icmp6_cksum = 0;
  body->icmp6_cksum = icmp6_checksum(from, to, body, length);
  memcpy(frame.body, body, length);
  const uint8_t mac[ETH_ALEN] = {0x33, 0x33, to->s6_addr[12], to->s6_addr[13], to->s6_addr[14], to->s6_addr[15]};
  return send_frame(l, ETHERTYPE_IPV6, mac, &frame, sizeof frame.ip + length);
}

static bool forwards_ipv6(const char *ifname)
{
  char path[64], value = '0';
  snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/forwarding", ifname);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return false;
  ssize_t got = read(file, &value, 1);
  close(file);
  return got == 1 && value == '1';
}

static bool send_advertisement(const struct link *l, const struct vip *v)
{
  struct {
    struct nd_neighbor_advert na;
    struct nd_opt_hdr option;
    uint8_t mac[ETH_ALEN];
  } body = {.option = {.nd_opt_type = ND_OPT_TARGET_LINKADDR, .nd_opt_len = 1}};
  struct in6_addr self, all_nodes = {.s6_addr = {0xff, 0x02, [15] = 1}};
  memcpy(&self, v->bytes, 16);
  memcpy(body.mac, l->mac, ETH_ALEN);
  body.na.nd_na_type = ND_NEIGHBOR_ADVERT;
  /* Without the router flag a forwarding host would vanish from the default router lists of its neighbours. */
  body.na.nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE | (forwards_ipv6(v->ifname) ? ND_NA_FLAG_ROUTER : 0);
  body.na.nd_na_target = self;
  return send_icmp6(l, &self, &all_nodes, &body.na.nd_na_hdr, sizeof body);
}

const char *announce_send(const struct vip *v)
{
  struct link l;
  struct address a;
  if (!link_find(v->ifname, &l))
    return "link";
  if (address_read(v, &a) != 1)
    return "absent";
  if (a.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED))
    return "tentative"; /* not ours yet: announcing it would claim what duplicate detection is still asking about */
  /* Request and reply: some equipment learns from one of them only. */
  bool sent = v->family == AF_INET
                  ? send_arp(&l, ARPOP_REQUEST, v->bytes, v->bytes) && send_arp(&l, ARPOP_REPLY, v->bytes, v->bytes)
                  : send_advertisement(&l, v);
  return sent ? NULL : "send";
}

static bool send_probe(const struct probe *p)
{
  static const uint8_t nobody[4];
  if (p->vip.family == AF_INET)
    return send_arp(&p->link, ARPOP_REQUEST, nobody, p->vip.bytes);
  /* As in duplicate address detection: from the unspecified address to the target's solicited-node group. */
  struct nd_neighbor_solicit ns = {.nd_ns_type = ND_NEIGHBOR_SOLICIT};
  struct in6_addr group = {.s6_addr = {0xff, 0x02, [11] = 1, [12] = 0xff}};
  memcpy(&ns.nd_ns_target, p->vip.bytes, 16);
  memcpy(&group.s6_addr[13], p->vip.bytes + 13, 3);
  return send_icmp6(&p->link, &in6addr_any, &group, &ns.nd_ns_hdr, sizeof ns);
}

/* A socket that receives nothing but ARP, or nothing but neighbour advertisements, of one interface. */
static int listen_on(const struct link *l, int family)
{
  struct sock_filter advertisements[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 6), /* next header */
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMPV6, 0, 3),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 40), /* ICMPv6 type */
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ND_NEIGHBOR_ADVERT, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 256),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  struct sock_fprog filter = {.len = sizeof advertisements / sizeof *advertisements, .filter = advertisements};
  uint16_t protocol = family == AF_INET ? ETHERTYPE_ARP : ETHERTYPE_IPV6;
  struct sockaddr_ll self = {.sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = l->ifindex};
  int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return -1;
  if ((family == AF_INET6 && setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) < 0) ||
      bind(fd, (struct sockaddr *)&self, sizeof self) < 0) {
    close(fd);
    return -1;
  }
  return fd;
}

const char *probe_start(const struct vip *v, const char *text, int64_t timeout_ms, uint64_t client_serial)
{
  struct probe *free_slot = NULL;
  for (struct probe *p = probes; p < probes + MAX_PROBES; p++) {
    if (p->fd < 0)
      free_slot = p;
    else if (strcmp(p->text, text) == 0 && strcmp(p->vip.ifname, v->ifname) == 0)
      return "already";
  }
  if (free_slot == NULL)
    return "full";
  struct probe probe = {.vip = *v, .client_serial = client_serial};
  if (!link_find(v->ifname, &probe.link))
    return "link";
  probe.fd = listen_on(&probe.link, v->family);
  if (probe.fd < 0)
    return "link";
  if (!send_probe(&probe)) {
    close(probe.fd);
    return "send";
  }
  int64_t now = boot_ms();
  strcpy(probe.text, text);
  probe.again_at_ms = now + timeout_ms / 2;
  probe.ends_at_ms = now + timeout_ms;
  *free_slot = probe;
  return NULL;
}

/* Ends the probe; `mac` is that of the stranger, NULL if none answered. */
static void probe_end(struct probe *p, const uint8_t *mac)
{
  char line[LINE_BYTES], owner[18] = "-";
  if (mac != NULL)
    snprintf(owner, sizeof owner, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
  int length = snprintf(line, sizeof line, "event probed %s %s %s %s\n", p->vip.ifname, p->text,
                        mac != NULL ? "taken" : "free", owner);
  close(p->fd);
  p->fd = -1;
  struct client *c = client_by_serial(p->client_serial);
  if (c != NULL)
    client_send(c, line, (size_t)length);
}

int64_t probes_step(int64_t now)
{
  int64_t next = NEVER;
  for (struct probe *p = probes; p < probes + MAX_PROBES; p++) {
    if (p->fd < 0)
      continue;
    if (p->again_at_ms <= now) {
      send_probe(p);
      p->again_at_ms = NEVER;
    }
    if (p->ends_at_ms <= now)
      probe_end(p, NULL);
    else
      next = earlier(next, earlier(p->again_at_ms, p->ends_at_ms));
  }
  return next;
}

int probes_poll(struct pollfd *into)
{
  int count = 0;
  for (struct probe *p = probes; p < probes + MAX_PROBES; p++)
    if (p->fd >= 0)
      into[count++] = (struct pollfd){.fd = p->fd, .events = POLLIN};
  return count;
}

/* The MAC of a stranger who claims the probed address in this frame, or NULL. */
static const uint8_t *claimed_by(const struct probe *p, const uint8_t *frame, size_t length, const struct sockaddr_ll *from)
{
  const uint8_t *mac = NULL;
  if (from->sll_pkttype == PACKET_OUTGOING || from->sll_halen != ETH_ALEN)
    return NULL;
  if (p->vip.family == AF_INET) {
    const struct ether_arp *arp = (const struct ether_arp *)frame;
    if (length >= sizeof *arp && arp->ea_hdr.ar_hln == ETH_ALEN && memcmp(arp->arp_spa, p->vip.bytes, 4) == 0)
      mac = arp->arp_sha;
  } else {
    const size_t target = sizeof(struct ip6_hdr) + offsetof(struct nd_neighbor_advert, nd_na_target);
    if (length >= target + 16 && memcmp(frame + target, p->vip.bytes, 16) == 0)
      mac = from->sll_addr;
  }
  return mac != NULL && memcmp(mac, p->link.mac, ETH_ALEN) != 0 ? mac : NULL;
}

void probes_receive(const struct pollfd *from, int count)
{
  _Alignas(8) uint8_t frame[256];
  for (int i = 0; i < count; i++) {
    struct probe *p = probes;
    while (p < probes + MAX_PROBES && p->fd != from[i].fd)
      p++;
    if (from[i].revents == 0 || p == probes + MAX_PROBES)
      continue;
    /* Bounded: a flood of frames must not keep the event loop from its deadlines. */
    for (int n = 0; n < 32 && p->fd >= 0; n++) {
      struct sockaddr_ll sender;
      socklen_t sender_length = sizeof sender;
      ssize_t got = recvfrom(p->fd, frame, sizeof frame, 0, (struct sockaddr *)&sender, &sender_length);
      if (got < 0)
        break;
      const uint8_t *mac = claimed_by(p, frame, (size_t)got, &sender);
      if (mac != NULL)
        probe_end(p, mac);
    }
  }
}
