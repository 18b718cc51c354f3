/*
 * Start, connections and the event loop.
 */
#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, EXIT_RUNNING = 75, SEND_BUFFER_BYTES = 4 << 20 };

static const char help[] =
    "usage: holdfast-guard --state-dir DIR [--reset=none|watchdog|sysrq] [--watchdog DEVICE] [--foreground]\n"
    "\n"
    "The fuse of a Holdfast node: takes away what a group made exclusive here when its lease is no longer extended.\n"
    "The agent starts it; it outlives the agent and has one instance per state directory.\n"
    "\n"
    "  --state-dir DIR   where guard.lock and guard.sock are kept\n"
    "  --reset HOW       what follows when that fails: none (default); watchdog: a reset by DEVICE, also when the guard\n"
    "                    or the kernel hangs; sysrq: a reset by the guard. Never in a container\n"
    "  --watchdog DEVICE default /dev/watchdog; armed while anything is leased\n"
    "  --foreground      do not become a daemon\n"
    "  --version         print the version\n"
    "  --help            print this\n"
    "\n"
    "Exit: 0 it listens (or ended on SIGTERM with nothing armed), 1 cannot start, 2 usage, 75 another guard has DIR.\n";

int64_t started_at_ms;
char weaknesses[64] = "-";

static struct client clients[MAX_CLIENTS];
static struct client *agent;
static uint64_t last_serial;
static int ready_fd = -1; /* the waiting parent reads the exit code here */
static int listen_fd, timer_fd, signal_fd;

/*
 * The agent's process, held by a pidfd, so that a process id that was used again is never signalled. It outlasts its connection: an
 * agent that lost it but lives could still put back what is taken away, or give back a lease that its successor has taken up.
 */
static struct {
  pid_t pid;
  int pidfd;
} agent_process = {.pidfd = -1};

static void report(int code)
{
  if (ready_fd < 0)
    return;
  if (write(ready_fd, &(char){(char)code}, 1) != 1)
    exit(1);
  close(ready_fd);
  ready_fd = -1;
}

void die(int code, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "holdfast-guard: ");
  vfprintf(stderr, format, arguments);
  fprintf(stderr, "\n");
  va_end(arguments);
  report(code);
  exit(code);
}

/* Connections. */

bool client_is_agent(const struct client *c) { return c == agent; }

static void client_close(struct client *c)
{
  if (c == agent)
    agent = NULL;
  close(c->fd);
  c->fd = -1;
}

void client_send(struct client *c, const char *text, size_t length)
{
  if (c->fd >= 0 && send(c->fd, text, length, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)length)
    client_close(c);
}

struct client *client_by_serial(uint64_t serial)
{
  for (struct client *c = clients; c < clients + MAX_CLIENTS; c++)
    if (c->fd >= 0 && c->serial == serial)
      return c;
  return NULL;
}

static bool ready(int fd, short events)
{
  struct pollfd p = {.fd = fd, .events = events};
  return poll(&p, 1, 0) == 1;
}

void agent_kill(void)
{
  if (agent_process.pidfd < 0)
    return;
  syscall(SYS_pidfd_send_signal, agent_process.pidfd, SIGKILL, NULL, 0);
  close(agent_process.pidfd);
  agent_process.pidfd = -1;
}

const char *agent_adopt(struct client *c)
{
  if (agent_process.pidfd < 0 || agent_process.pid != c->pid || ready(agent_process.pidfd, POLLIN)) {
    int pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
    if (pidfd < 0)
      return "your process cannot be held by a pidfd, so it could not be stopped";
    fcntl(pidfd, F_SETFD, FD_CLOEXEC);
    /* The number can only have been used again if the peer had died; then its end of the socket would be closed. */
    struct pollfd p = {.fd = c->fd};
    if (poll(&p, 1, 0) == 1 && (p.revents & POLLHUP)) {
      close(pidfd);
      return "you are gone";
    }
    agent_kill(); /* two agents would decide about the same leases */
    agent_process.pid = c->pid;
    agent_process.pidfd = pidfd;
  }
  if (agent != NULL && agent != c)
    client_close(agent);
  agent = c;
  return NULL;
}

static void client_accept(void)
{
  int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0)
    return;
  struct ucred peer;
  socklen_t length = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0 || (peer.uid != 0 && peer.uid != geteuid())) {
    close(fd);
    return;
  }
  /* When all are taken the oldest reader goes: forgotten readers must not lock the agent out. */
  struct client *slot = NULL;
  for (struct client *c = clients; c < clients + MAX_CLIENTS; c++)
    if (c != agent && (slot == NULL || c->fd < 0 || (slot->fd >= 0 && c->serial < slot->serial)))
      slot = c;
  if (slot->fd >= 0)
    client_close(slot);
  /* Room for the longest state: an answer is sent whole or the connection ends, the loop never waits for a reader. */
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &(int){SEND_BUFFER_BYTES}, sizeof(int)) < 0)
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){SEND_BUFFER_BYTES}, sizeof(int));
  *slot = (struct client){.fd = fd, .pid = peer.pid, .serial = ++last_serial};
}

static void client_read(struct client *c)
{
  ssize_t got = recv(c->fd, c->line + c->used, sizeof c->line - c->used, MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN)
    return;
  if (got <= 0) {
    client_close(c);
    return;
  }
  c->used += (size_t)got;
  char *start = c->line, *end;
  const uint64_t serial = c->serial;
  while ((end = memchr(start, '\n', (size_t)(c->line + c->used - start))) != NULL) {
    *end = '\0';
    request_handle(c, start, (size_t)(end - start));
    if (c->fd < 0 || c->serial != serial)
      return;
    start = end + 1;
  }
  c->used = (size_t)(c->line + c->used - start);
  memmove(c->line, start, c->used);
  if (c->used == sizeof c->line)
    client_close(c); /* longer than a request may be */
}

/* Start. */

/* The state directory is the working directory: its path may be of any length and need not be kept. */
static void enter_and_lock(const char *state_dir)
{
  if (chdir(state_dir) < 0)
    die(1, "cannot enter the state directory %s: %s", state_dir, strerror(errno));
  int fd = open("guard.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0)
    die(1, "cannot open %s/guard.lock: %s", state_dir, strerror(errno));
  if (flock(fd, LOCK_EX | LOCK_NB) < 0)
    die(EXIT_RUNNING, "another guard is running for %s", state_dir);
  /* The pid is there for people; the lock, kept open until the end, is what counts. */
  char pid[16];
  int length = snprintf(pid, sizeof pid, "%d\n", getpid());
  if (ftruncate(fd, 0) < 0 || write(fd, pid, (size_t)length) != length)
    die(1, "cannot write %s/guard.lock: %s", state_dir, strerror(errno));
}

static void listen_here(void)
{
  const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "guard.sock.new"};
  unlink(address.sun_path);
  umask(0177);
  listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  /* Renamed once it listens: whoever finds guard.sock can connect, and a stale one is replaced in the same step. */
  if (listen_fd < 0 || bind(listen_fd, (const struct sockaddr *)&address, sizeof address) < 0 ||
      listen(listen_fd, MAX_CLIENTS) < 0 || rename(address.sun_path, "guard.sock") < 0)
    die(1, "cannot listen on guard.sock: %s", strerror(errno));
}

/* Forks twice; only the grandchild returns. The first process waits for its report and exits with it. */
static void daemonize(void)
{
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) < 0)
    die(1, "pipe: %s", strerror(errno));
  pid_t child = fork();
  if (child < 0)
    die(1, "fork: %s", strerror(errno));
  if (child > 0) {
    char code = 1;
    close(pipe_fds[1]);
    waitpid(child, NULL, 0);
    if (read(pipe_fds[0], &code, 1) != 1)
      code = 1;
    exit(code);
  }
  close(pipe_fds[0]);
  ready_fd = pipe_fds[1];
  setsid();
  child = fork();
  if (child < 0)
    die(1, "fork: %s", strerror(errno));
  if (child > 0)
    _exit(0);
}

static void weakness(const char *name)
{
  size_t used = strcmp(weaknesses, "-") == 0 ? 0 : strlen(weaknesses);
  snprintf(weaknesses + used, sizeof weaknesses - used, "%s%s", used > 0 ? "," : "", name);
}

/* Memory, priority and the out-of-memory killer: best effort, the agent learns what failed from the answer to hello. */
static void harden(void)
{
  const struct sched_param priority = {.sched_priority = 10};
  /* What there is now is made resident: firing must not wait for a page from disk. */
  if (mlockall(MCL_CURRENT) < 0)
    weakness("no-memory-lock");
  /* The tables are large and mostly unused: their pages are locked as they are used, which is before they are needed. */
  const size_t per_group = MAX_HOLDS * sizeof(struct hold) + VOTERS_BYTES;
  char *table = mmap(NULL, MAX_GROUPS * per_group, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (table == MAP_FAILED)
    die(1, "cannot allocate the tables: %s", strerror(errno));
  syscall(SYS_mlock2, table, MAX_GROUPS * per_group, 1 /* MLOCK_ONFAULT */);
  for (int i = 0; i < MAX_GROUPS; i++) {
    groups[i].holds = (struct hold *)(table + (size_t)i * per_group);
    groups[i].voters = (char *)(groups[i].holds + MAX_HOLDS);
  }
  /* The system call, because some C libraries have only a stub for it. */
  if (syscall(SYS_sched_setscheduler, 0, SCHED_RR, &priority) < 0)
    weakness("no-realtime");
  int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (file < 0 || write(file, "-1000", 5) != 5)
    weakness("no-oom-protection");
  if (file >= 0)
    close(file);
}

static void open_timer_and_signals(void)
{
  /* Everything is blocked; only SIGTERM and SIGINT are looked at. A SIGHUP or SIGUSR1 must not end a fuse. */
  sigset_t all, looked_at;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, NULL);
  sigemptyset(&looked_at);
  sigaddset(&looked_at, SIGTERM);
  sigaddset(&looked_at, SIGINT);
  signal_fd = signalfd(-1, &looked_at, SFD_CLOEXEC | SFD_NONBLOCK);
  timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
  if (signal_fd < 0 || timer_fd < 0)
    die(1, "cannot create a timer or a signal descriptor: %s", strerror(errno));
}

/* Nothing is armed, and what has fired is gone: the guard may end. Promises do not keep it: who comes after waits longer (P3). */
static bool idle(void)
{
  for (const struct group *g = groups; g < groups + MAX_GROUPS; g++)
    if (g->state == GROUP_ARMED || (g->state == GROUP_FIRED && !g->clean))
      return false;
  return true;
}

static void wake_at(int64_t at_ms)
{
  struct itimerspec when = {0};
  if (at_ms != NEVER) {
    at_ms = at_ms > 0 ? at_ms : 1; /* 0 would disarm the timer */
    when.it_value.tv_sec = at_ms / 1000;
    when.it_value.tv_nsec = at_ms % 1000 * 1000000;
  }
  timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

_Noreturn static void run(void)
{
  for (;;) {
    int64_t now = boot_ms();
    fire_due(now);
    int64_t due = earlier(earlier(fired_sweep(now), lifetimes_refresh(now)), probes_step(now));
    wake_at(earlier(due, reset_step(boot_ms()))); /* last: a pet goes by what firing has found */

    struct pollfd fds[4 + MAX_CLIENTS + MAX_PROBES] = {{.fd = timer_fd, .events = POLLIN},
                                                       {.fd = netlink_watch_fd(), .events = POLLIN},
                                                       {.fd = signal_fd, .events = POLLIN},
                                                       {.fd = listen_fd, .events = POLLIN}};
    for (int i = 0; i < MAX_CLIENTS; i++)
      fds[4 + i] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
    int probe_count = probes_poll(fds + 4 + MAX_CLIENTS);
    if (poll(fds, (nfds_t)(4 + MAX_CLIENTS + probe_count), -1) < 0)
      continue;

    if (fds[0].revents) {
      uint64_t expirations;
      if (read(timer_fd, &expirations, sizeof expirations) < 0 && errno != EAGAIN)
        continue;
    }
    fire_due(boot_ms()); /* before any request is read */
    if (fds[1].revents)
      netlink_watch_drain();
    struct signalfd_siginfo signal_info;
    if (fds[2].revents && read(signal_fd, &signal_info, sizeof signal_info) > 0 && idle()) {
      unlink("guard.sock");
      reset_end();
      exit(0);
    }
    probes_receive(fds + 4 + MAX_CLIENTS, probe_count);
    for (int i = 0; i < MAX_CLIENTS; i++)
      if (fds[4 + i].revents && clients[i].fd == fds[4 + i].fd)
        client_read(&clients[i]);
    if (fds[3].revents)
      client_accept(); /* last: it may reuse a slot that was polled */
  }
}

static enum reset_kind reset_named(const char *name, const char *watchdog)
{
  static const char *const names[] = {[RESET_NONE] = "none", [RESET_WATCHDOG] = "watchdog", [RESET_SYSRQ] = "sysrq"};
  for (int kind = RESET_NONE; kind <= RESET_SYSRQ; kind++) {
    if (strcmp(name, names[kind]) != 0)
      continue;
    if (watchdog != NULL && kind != RESET_WATCHDOG)
      die(EXIT_USAGE, "--watchdog %s needs --reset=watchdog: with --reset=%s it would not be used", watchdog, name);
    if (watchdog != NULL && (watchdog[0] != '/' || strlen(watchdog) >= PATH_BYTES || strchr(watchdog, ' ') != NULL))
      die(EXIT_USAGE, "--watchdog %s: it must be the absolute path of a device, without blanks", watchdog);
    return kind;
  }
  die(EXIT_USAGE, "--reset=%s: it must be none, watchdog or sysrq", name);
}

int main(int argc, char **argv)
{
  static const struct option options[] = {{"state-dir", required_argument, NULL, 's'},
                                          {"reset", required_argument, NULL, 'r'},
                                          {"watchdog", required_argument, NULL, 'w'},
                                          {"foreground", no_argument, NULL, 'f'},
                                          {"version", no_argument, NULL, 'v'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
  const char *state_dir = NULL, *reset = "none", *watchdog = NULL;
  bool foreground = false;
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (option == 's')
      state_dir = optarg;
    else if (option == 'r')
      reset = optarg;
    else if (option == 'w')
      watchdog = optarg;
    else if (option == 'f')
      foreground = true;
    else if (option == 'v' || option == 'h') {
      fputs(option == 'v' ? "holdfast-guard " GUARD_VERSION "\n" : help, stdout);
      return 0;
    } else
      return EXIT_USAGE; /* getopt has said why */
  }
  if (state_dir == NULL || optind < argc) {
    fputs(help, stderr);
    return EXIT_USAGE;
  }
  const enum reset_kind how = reset_named(reset, watchdog);

  syscall(SYS_close_range, 3, ~0U, 0); /* whatever the caller left open would stay open as long as the guard lives */
  if (!foreground)
    daemonize();
  started_at_ms = boot_ms();
  for (int i = 0; i < MAX_CLIENTS; i++)
    clients[i].fd = -1;
  enter_and_lock(state_dir);
  reset_start(how, watchdog != NULL ? watchdog : "/dev/watchdog");
  announce_open();
  netlink_open();
  open_timer_and_signals();
  harden();
  listen_here();
  if (!foreground) {
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3; fd++)
      dup2(null, fd);
    report(0);
  }
  run();
}
