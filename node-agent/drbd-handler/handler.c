/*
 * holdfast-drbd: what DRBD calls when a Primary has lost a peer (fence-peer), and when a peer has caught up (unfence-peer).
 *
 * With `fencing resource-and-stonith` every write waits until this program has ended, so it is small and starts in a
 * millisecond. It decides nothing: it asks the agent of this machine, over its socket in the state directory, and hands
 * DRBD the answer as the exit code that the kernel understands (docs/decisions/0016-drbd.md). Whatever it does not
 * understand is no permission.
 */
#define _GNU_SOURCE

#include "answer.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* What the kernel does after each (drbd_nl.c, conn_try_outdate_peer). Any other code is a broken handler to it: what waits goes on waiting. */
enum { PEER_IS_OUTDATED = 4, PEER_IS_PRIMARY = 6, NOBODY_COULD_SAY = 1 };

enum { EXIT_USAGE = 64 }; /* as of `holdfast` */

/* The agent looks at DRBD and then waits for the coordinator, for FENCE_ANSWER_MS (schemas/limits.ts) at most. */
#define ANSWER_WITHIN_MS 8000
#define AGAIN_MS 250
/* Tests are less patient. */
#ifndef FROZEN_PATIENCE_MS
#define FROZEN_PATIENCE_MS 600000 /* writes wait, and afterwards until the peer is back */
#endif
#ifndef PROMOTION_PATIENCE_MS
#define PROMOTION_PATIENCE_MS 2000 /* a promotion is better tried again by whoever promotes; drbdadm itself asks four times */
#endif

enum { RESOURCE_BYTES = 65, LINE_BYTES = 8192 };

static const char help[] =
    "usage: holdfast-drbd [--state-dir DIR] fence-peer|unfence-peer\n"
    "\n"
    "Handlers of DRBD, which sets DRBD_RESOURCE. In its configuration, for each resource or in `common`:\n"
    "  handlers {\n"
    "    fence-peer   \"/usr/lib/holdfast/holdfast-drbd fence-peer\";\n"
    "    unfence-peer \"/usr/lib/holdfast/holdfast-drbd unfence-peer\";\n"
    "  }\n"
    "\n"
    "  --state-dir DIR   of the node on this machine (default /var/lib/holdfast)\n"
    "  --help            print this\n"
    "\n"
    "Exit: 4 the coordinator keeps the group away from that peer, 6 another node has the lease, 1 nobody could say, 64 usage.\n";

static int64_t now_ms(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* One line of `text`, which has room for LINE_BYTES. Returns NULL, or why there is none. */
static const char *line_from(int fd, char *text, int64_t until_ms)
{
  size_t used = 0;
  while (used < LINE_BYTES - 1) {
    int64_t left = until_ms - now_ms();
    struct pollfd answered = {.fd = fd, .events = POLLIN};
    if (left <= 0 || poll(&answered, 1, (int)left) == 0)
      return "no answer in time";
    ssize_t got = read(fd, text + used, LINE_BYTES - 1 - used);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return "closed without an answer";
    used += (size_t)got;
    text[used] = '\0';
    char *end = strchr(text, '\n');
    if (end != NULL) {
      *end = '\0';
      return NULL;
    }
  }
  return "its answer is too long";
}

/* Asks the agent. Returns NULL, or why there is no answer. */
static const char *ask(const struct sockaddr_un *agent, const char *question, char *text)
{
  const int64_t until_ms = now_ms() + ANSWER_WITHIN_MS;
  const struct timeval patience = {.tv_sec = ANSWER_WITHIN_MS / 1000};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return strerror(errno);
  const char *problem = NULL;
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience); /* connect() waits so long, too */
  if (connect(fd, (const struct sockaddr *)agent, sizeof *agent) < 0 ||
      send(fd, question, strlen(question), MSG_NOSIGNAL) != (ssize_t)strlen(question))
    problem = strerror(errno);
  else
    problem = line_from(fd, text, until_ms);
  close(fd);
  return problem;
}

static int fence(const struct sockaddr_un *agent, const char *resource, const char *question)
{
  static char text[LINE_BYTES];
  static struct answer answer;
  const int64_t started_at_ms = now_ms();
  bool frozen = true;
  for (;;) {
    const char *problem = ask(agent, question, text);
    bool understood = problem == NULL && answer_read(text, &answer);
    if (problem == NULL)
      problem = answer.why[0] != '\0' ? answer.why : "its answer is not understood";
    if (understood && answer.frozen != UNSAID)
      frozen = answer.frozen == YES;
    switch (understood ? answer.verdict : PENDING) {
    case OUTDATED:
      fprintf(stderr, "the peer's copy of %s is outdated: the coordinator does not grant its group there\n", resource);
      return PEER_IS_OUTDATED;
    case OWNED:
      fprintf(stderr, "another node has the lease of %s\n", resource);
      return PEER_IS_PRIMARY;
    case NONE:
      fprintf(stderr, "%s\n", answer.why[0] != '\0' ? answer.why : "this node has no lease");
      return NOBODY_COULD_SAY;
    case PENDING:
      break;
    }
    if (now_ms() - started_at_ms >= (frozen ? FROZEN_PATIENCE_MS : PROMOTION_PATIENCE_MS)) {
      fprintf(stderr, "%s%s\n", understood ? "" : "the agent on this machine gives no answer: ", problem);
      return NOBODY_COULD_SAY;
    }
    nanosleep(&(struct timespec){.tv_nsec = AGAIN_MS * 1000000L}, NULL);
  }
}

/* Nothing is left behind that had to be removed: what the peers have is told anew, a moment sooner than without this. */
static int unfence(const struct sockaddr_un *agent, const char *resource, const char *question)
{
  static char text[LINE_BYTES];
  const char *problem = ask(agent, question, text);
  if (problem != NULL)
    fprintf(stderr, "the agent gives no answer (%s); it tells of %s when it runs again\n", problem, resource);
  return 0;
}

/* As the configuration of Holdfast takes them (schemas/config.ts); nothing of it has to be escaped in a question. */
static bool is_resource(const char *name)
{
  size_t length = strlen(name);
  return length > 0 && length < RESOURCE_BYTES &&
         strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-") == length;
}

int main(int argc, char **argv)
{
  static const struct option options[] = {{"state-dir", required_argument, NULL, 's'}, {"help", no_argument, NULL, 'h'}, {0}};
  const char *state_dir = "/var/lib/holdfast";
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (option == 's')
      state_dir = optarg;
    else if (option == 'h') {
      fputs(help, stdout);
      return 0;
    } else
      return EXIT_USAGE; /* getopt has said why */
  }
  const char *handler = optind + 1 == argc ? argv[optind] : "";
  const bool fences = strcmp(handler, "fence-peer") == 0;
  if (!fences && strcmp(handler, "unfence-peer") != 0) {
    fputs(help, stderr);
    return EXIT_USAGE;
  }
  const char *resource = getenv("DRBD_RESOURCE");
  if (resource == NULL || !is_resource(resource)) {
    fprintf(stderr, "holdfast-drbd: DRBD_RESOURCE %s: this is a handler that DRBD calls, --help shows its configuration\n",
            resource == NULL ? "is not set" : "is not the name of a resource");
    return EXIT_USAGE;
  }
  struct sockaddr_un agent = {.sun_family = AF_UNIX};
  char question[128];
  if (snprintf(agent.sun_path, sizeof agent.sun_path, "%s/agent.sock", state_dir) >= (int)sizeof agent.sun_path) {
    fprintf(stderr, "holdfast-drbd: --state-dir %s is too long for a socket\n", state_dir);
    return EXIT_USAGE;
  }
  snprintf(question, sizeof question, "{\"query\":\"%s\",\"resource\":\"%s\"}\n", handler, resource);
  return fences ? fence(&agent, resource, question) : unfence(&agent, resource, question);
}
