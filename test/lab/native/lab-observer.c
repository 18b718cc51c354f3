// Watches hosts from outside. Commands on stdin: "add NAME PID CGROUP" (PID 1 of the host), "remove NAME",
// "sync NUMBER" (answered when all that happened before is told). One JSON object a line on stdout; every time is CLOCK_MONOTONIC in milliseconds.
//
//   lab-observer events
//     Subscribes to address changes in each host's network namespace. `t` is when the change was read, `after` the last
//     moment before at which it had not happened yet: the true time lies between the two.
//   lab-observer samples INTERVAL_MS COMM,COMM,… MOUNTPREFIX
//     Looks at addresses, processes (by cgroup) and mounts again and again. A line is written when something changed,
//     with `before`, the time of the look before this one.
//
// A host ends with its PID 1 (watched by pidfd), whatever its namespaces still hold.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_HOSTS 64
#define MAX_COMMS 32
#define IDLE_MS 5  // at most this long ago a quiet host was last seen to be quiet
#define STATE_SIZE 16384

struct host {
  char name[64];
  char cgroup[512];
  int pid;
  int pidfd;
  int route;           // rtnetlink socket inside the host's network namespace
  double empty_at;     // when the socket was last seen to hold no event
  double sampled_at;
  char state[STATE_SIZE];
};

static struct host hosts[MAX_HOSTS];
static int host_count, own_netns, events_mode;
static char *comms[MAX_COMMS];
static int comm_count;
static const char *mount_prefix = "";
static long samples;

static void die(const char *what) {
  fprintf(stderr, "lab-observer: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static int route_socket(int pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
  int ns = open(path, O_RDONLY | O_CLOEXEC);
  if (ns < 0) return -1;
  if (setns(ns, CLONE_NEWNET)) die("setns");
  close(ns);
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) die("socket");
  struct sockaddr_nl self = {.nl_family = AF_NETLINK};
  if (events_mode) self.nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
  int size = 8 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  if (bind(fd, (struct sockaddr *)&self, sizeof self)) die("bind");
  if (setns(own_netns, CLONE_NEWNET)) die("setns back");
  return fd;
}

static void ask_for_addresses(int fd) {
  struct { struct nlmsghdr header; struct ifaddrmsg body; } request = {
      .header = {.nlmsg_len = sizeof request, .nlmsg_type = RTM_GETADDR, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
  };
  if (send(fd, &request, sizeof request, 0) < 0) die("send");
}

// Address as text, its flags and prefix, from one RTM_NEWADDR or RTM_DELADDR.
static int parse_address(struct nlmsghdr *message, char *text, unsigned *flags, struct ifaddrmsg **info) {
  *info = NLMSG_DATA(message);
  *flags = (*info)->ifa_flags;
  void *address = NULL, *local = NULL;
  int left = IFA_PAYLOAD(message);
  for (struct rtattr *a = IFA_RTA(*info); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
    if (a->rta_type == IFA_ADDRESS) address = RTA_DATA(a);
    if (a->rta_type == IFA_LOCAL) local = RTA_DATA(a);
    if (a->rta_type == IFA_FLAGS) *flags = *(unsigned *)RTA_DATA(a);
  }
  if (local == NULL) local = address;
  return local != NULL && inet_ntop((*info)->ifa_family, local, text, INET6_ADDRSTRLEN) != NULL;
}

// An IPv6 address that is still being probed, or that lost, is not answered for.
static const char *usable(unsigned flags) {
  return flags & IFA_F_DADFAILED || (flags & IFA_F_TENTATIVE && !(flags & IFA_F_OPTIMISTIC)) ? "false" : "true";
}

static void report_change(struct host *host, struct nlmsghdr *message, double t) {
  char text[INET6_ADDRSTRLEN];
  unsigned flags;
  struct ifaddrmsg *info;
  if (!parse_address(message, text, &flags, &info)) return;
  printf("{\"kind\":\"address\",\"host\":\"%s\",\"change\":\"%s\",\"address\":\"%s\",\"link\":%u,\"usable\":%s,"
         "\"t\":%.4f,\"after\":%.4f}\n",
         host->name, message->nlmsg_type == RTM_NEWADDR ? "add" : "remove", text, info->ifa_index, usable(flags), t,
         host->empty_at);
}

// Returns whether there was anything.
static int drain_events(struct host *host) {
  static char buffer[1 << 17];
  int found = 0;
  for (;;) {
    double t = now_ms();
    ssize_t got = recv(host->route, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && errno == ENOBUFS) {
      printf("{\"kind\":\"lost\",\"host\":\"%s\",\"t\":%.4f}\n", host->name, t);
      ask_for_addresses(host->route);
      continue;
    }
    if (got < 0) {
      host->empty_at = t;
      return found;
    }
    t = now_ms();
    found = 1;
    int left = got;
    for (struct nlmsghdr *m = (struct nlmsghdr *)buffer; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
      if (m->nlmsg_type == RTM_NEWADDR || m->nlmsg_type == RTM_DELADDR) report_change(host, m, t);
      if (m->nlmsg_type == NLMSG_DONE) printf("{\"kind\":\"known\",\"host\":\"%s\",\"t\":%.4f}\n", host->name, t);
    }
  }
}

// Until a whole round finds nothing: then every host is known to have been quiet after the last event of any of them,
// and the order of that event and the next one is certain.
static void drain_all(void) {
  for (int found = 1; found;) {
    found = 0;
    for (int i = 0; i < host_count; i++) found |= drain_events(&hosts[i]);
  }
}

struct text { char *to; size_t left; };

static void put(struct text *text, const char *piece) {
  size_t length = strlen(piece);
  if (length >= text->left) errno = E2BIG, die("state of a host");
  memcpy(text->to, piece, length + 1);
  text->to += length;
  text->left -= length;
}

static void sample_addresses(struct host *host, struct text *out) {
  static char buffer[1 << 17];
  const char *comma = "";
  ask_for_addresses(host->route);
  for (int done = 0; !done;) {
    ssize_t got = recv(host->route, buffer, sizeof buffer, 0);
    if (got < 0) die("recv");
    int left = got;
    for (struct nlmsghdr *m = (struct nlmsghdr *)buffer; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
      char text[INET6_ADDRSTRLEN], item[INET6_ADDRSTRLEN + 8];
      unsigned flags;
      struct ifaddrmsg *info;
      if (m->nlmsg_type == NLMSG_DONE || m->nlmsg_type == NLMSG_ERROR) done = 1;
      if (m->nlmsg_type != RTM_NEWADDR || !parse_address(m, text, &flags, &info)) continue;
      if (usable(flags)[0] == 'f') continue;
      snprintf(item, sizeof item, "%s\"%s\"", comma, text);
      put(out, item);
      comma = ",";
    }
  }
}

static void count_comm(int pid, int *counts) {
  char path[64], comm[64];
  snprintf(path, sizeof path, "/proc/%d/comm", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ssize_t got = read(fd, comm, sizeof comm - 1);
  close(fd);
  if (got <= 0) return;
  comm[got] = 0;
  comm[strcspn(comm, "\n")] = 0;
  for (int i = 0; i < comm_count; i++) counts[i] += !strcmp(comm, comms[i]);
}

static void count_processes(const char *cgroup, int *counts) {
  char path[1024];
  snprintf(path, sizeof path, "%s/cgroup.procs", cgroup);
  FILE *procs = fopen(path, "re");
  if (!procs) return;
  int pid;
  while (fscanf(procs, "%d", &pid) == 1) count_comm(pid, counts);
  fclose(procs);
  DIR *dir = opendir(cgroup);
  if (!dir) return;
  for (struct dirent *entry; (entry = readdir(dir));) {
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "%s/%s", cgroup, entry->d_name);
    count_processes(path, counts);
  }
  closedir(dir);
}

static void sample_processes(struct host *host, struct text *out) {
  int counts[MAX_COMMS] = {0};
  const char *comma = "";
  if (comm_count > 0) count_processes(host->cgroup, counts);
  for (int i = 0; i < comm_count; i++) {
    char item[128];
    if (counts[i] == 0) continue;
    snprintf(item, sizeof item, "%s\"%s\":%d", comma, comms[i], counts[i]);
    put(out, item);
    comma = ",";
  }
}

static void sample_mounts(struct host *host, struct text *out) {
  char path[64], *line = NULL;
  size_t size = 0;
  const char *comma = "";
  if (!*mount_prefix) return;
  snprintf(path, sizeof path, "/proc/%d/mountinfo", host->pid);
  FILE *mounts = fopen(path, "re");
  if (!mounts) return;
  while (getline(&line, &size, mounts) > 0) {
    char *rest = line, *field = NULL;
    for (int i = 0; i < 5 && rest; i++) field = strsep(&rest, " ");
    if (!field || strncmp(field, mount_prefix, strlen(mount_prefix)) || strpbrk(field, "\"\\")) continue;
    put(out, comma), put(out, "\""), put(out, field), put(out, "\"");
    comma = ",";
  }
  free(line);
  fclose(mounts);
}

static void sample(struct host *host) {
  char state[STATE_SIZE];
  struct text out = {state, sizeof state};
  double t = now_ms();
  put(&out, "\"addresses\":[");
  sample_addresses(host, &out);
  put(&out, "],\"processes\":{");
  sample_processes(host, &out);
  put(&out, "},\"mounts\":[");
  sample_mounts(host, &out);
  put(&out, "]");
  if (strcmp(state, host->state)) {
    printf("{\"kind\":\"sample\",\"host\":\"%s\",%s,\"t\":%.4f,\"before\":%.4f}\n", host->name, state, t, host->sampled_at);
    strcpy(host->state, state);
  }
  host->sampled_at = t;
}

static void drop(struct host *host) {
  if (events_mode) drain_events(host);
  printf("{\"kind\":\"off\",\"host\":\"%s\",\"t\":%.4f,\"before\":%.4f}\n", host->name, now_ms(),
         events_mode ? host->empty_at : host->sampled_at);
  close(host->pidfd);
  close(host->route);
  memmove(host, host + 1, (hosts + --host_count - host) * sizeof *host);
}

static void add(const char *name, int pid, const char *cgroup) {
  if (host_count == MAX_HOSTS) errno = E2BIG, die("add");
  struct host *host = &hosts[host_count];
  memset(host, 0, sizeof *host);
  snprintf(host->name, sizeof host->name, "%s", name);
  snprintf(host->cgroup, sizeof host->cgroup, "%s", cgroup);
  host->pid = pid;
  host->pidfd = syscall(SYS_pidfd_open, pid, 0);
  host->route = host->pidfd < 0 ? -1 : route_socket(pid);
  double t = now_ms();
  host->empty_at = host->sampled_at = t;
  printf("{\"kind\":\"on\",\"host\":\"%s\",\"t\":%.4f}\n", name, t);
  host_count++;
  if (host->route < 0) {
    host->route = host->pidfd = -1;
    host_count--;
    printf("{\"kind\":\"off\",\"host\":\"%s\",\"t\":%.4f,\"before\":%.4f}\n", name, t, t);
    return;
  }
  if (events_mode) ask_for_addresses(host->route);
}

static int read_commands(void) {
  static char buffer[65536];
  static size_t used;
  ssize_t got = read(0, buffer + used, sizeof buffer - 1 - used);
  if (got <= 0) return 0;
  used += got;
  buffer[used] = 0;
  char *line = buffer, *end;
  for (; (end = strchr(line, '\n')); line = end + 1) {
    char name[64], cgroup[512];
    int pid;
    *end = 0;
    if (sscanf(line, "add %63s %d %511s", name, &pid, cgroup) == 3) add(name, pid, cgroup);
    else if (sscanf(line, "sync %63s", name) == 1) printf("{\"kind\":\"sync\",\"token\":%d}\n", atoi(name));
    else if (sscanf(line, "remove %63s", name) == 1)
      for (int i = host_count - 1; i >= 0; i--)
        if (!strcmp(hosts[i].name, name)) drop(&hosts[i]);
  }
  used -= line - buffer;
  memmove(buffer, line, used);
  return 1;
}

static void be_prompt(void) {
  struct sched_param highest = {.sched_priority = 20};
  syscall(SYS_sched_setscheduler, 0, SCHED_RR, &highest);  // without the right to it, times are only less exact
  mlockall(MCL_CURRENT | MCL_FUTURE);
}

static int wait_for_something(int timeout_ms) {
  struct pollfd fds[1 + 2 * MAX_HOSTS] = {{.fd = 0, .events = POLLIN}};
  for (int i = 0; i < host_count; i++) {
    fds[1 + 2 * i] = (struct pollfd){.fd = hosts[i].pidfd, .events = POLLIN};
    fds[2 + 2 * i] = (struct pollfd){.fd = events_mode ? hosts[i].route : -1, .events = POLLIN};
  }
  int known = host_count;
  if (poll(fds, 1 + 2 * known, timeout_ms) < 0 && errno != EINTR) die("poll");
  if (events_mode) drain_all();
  for (int i = known - 1; i >= 0; i--) if (fds[1 + 2 * i].revents) drop(&hosts[i]);
  return !fds[0].revents || read_commands();
}

static void watch_events(void) {
  be_prompt();
  do fflush(stdout); while (wait_for_something(IDLE_MS));
}

static void watch_samples(double interval_ms) {
  double next = now_ms(), second = next + 1000;
  for (;;) {
    double left;
    while ((left = next - now_ms()) > 0)
      if (!wait_for_something((int)left + (left > (int)left))) return;
    next = now_ms() + interval_ms;
    if (!wait_for_something(0)) return;
    for (int i = 0; i < host_count; i++) sample(&hosts[i]);
    samples++;
    if (now_ms() >= second) {
      second += 1000;
      printf("{\"kind\":\"tick\",\"samples\":%ld,\"t\":%.4f}\n", samples, now_ms());
    }
    fflush(stdout);
  }
}

int main(int argc, char **argv) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL)) die("prctl");
  own_netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (own_netns < 0) die("/proc/self/ns/net");
  if (argc == 2 && !strcmp(argv[1], "events")) {
    events_mode = 1;
    watch_events();
  } else if (argc == 5 && !strcmp(argv[1], "samples")) {
    for (char *rest = argv[3], *comm; (comm = strsep(&rest, ","));)
      if (*comm && comm_count < MAX_COMMS) comms[comm_count++] = comm;
    mount_prefix = argv[4];
    watch_samples(atof(argv[2]));
  } else {
    fprintf(stderr, "usage: lab-observer events | samples INTERVAL_MS COMM,COMM,... MOUNTPREFIX\n");
    return 2;
  }
  return 0;
}
