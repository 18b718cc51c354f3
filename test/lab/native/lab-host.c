// Makes and enters the hosts of the laboratory. It has no policy: what a host looks like is decided in host.ts.
//
//   lab-host hold                               a network namespace and nothing else; "ready" on stdout
//   lab-host boot CGROUP HOSTNAME [INIT ARG…]   a host: new namespaces and a PID 1 that reaps, or the program INIT in its
//                                               place. Its file systems are set up by the plan on stdin; "ready PID" on
//                                               stdout when PID 1 is up (or is about to become INIT)
//   lab-host enter PID CGROUP CWD PROGRAM ARG…  runs a program in the host with that PID 1, its cgroup being CGROUP;
//                                               writes the program's pid, as seen out here, to file descriptor 3
//
// Everything dies with its parent (PR_SET_PDEATHSIG): the test process, this program, PID 1 of the host, its processes.
//
// A plan is one operation a line, fields separated by tabs: dir PATH | file PATH | node PATH TYPE MAJOR MINOR |
// link TARGET PATH | mount TYPE SOURCE PATH OPTIONS | bind SOURCE PATH rw|ro | write PATH TEXT | pivot PATH
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAMESPACES (CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC)
#define MAX_FIELDS 6

static _Noreturn void die(const char *what, const char *detail) {
  fprintf(stderr, "lab-host: %s %s: %s\n", what, detail, strerror(errno));
  exit(125);
}

static void die_with_parent(void) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL)) die("prctl", "PR_SET_PDEATHSIG");
}

static void write_text(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) die("open", path);
  if (write(fd, text, strlen(text)) != (ssize_t)strlen(text)) die("write", path);
  close(fd);
}

static void make_dirs(const char *path) {
  char copy[PATH_MAX];
  if (strlen(path) >= sizeof copy) errno = ENAMETOOLONG, die("mkdir", path);
  strcpy(copy, path);
  for (char *slash = copy + 1;; slash++) {
    char end = *slash;
    if (end != '/' && end != 0) continue;
    *slash = 0;
    if (mkdir(copy, 0755) && errno != EEXIST) die("mkdir", copy);
    *slash = end;
    if (end == 0) return;
  }
}

static void bind_mount(const char *source, const char *path, int read_only) {
  if (mount(source, path, NULL, MS_BIND, NULL)) die("bind", path);
  if (read_only && mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL)) die("remount read-only", path);
}

static void pivot(const char *path) {
  if (chdir(path)) die("chdir", path);
  if (syscall(SYS_pivot_root, ".", ".")) die("pivot_root", path);
  if (umount2(".", MNT_DETACH)) die("umount", "the old root");
  if (chdir("/")) die("chdir", "/");
}

static void apply(char **field, int count) {
  const char *op = field[0];
  if (!strcmp(op, "dir") && count == 2) {
    make_dirs(field[1]);
  } else if (!strcmp(op, "file") && count == 2) {
    int fd = open(field[1], O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) die("create", field[1]);
    close(fd);
  } else if (!strcmp(op, "node") && count == 5) {
    mode_t type = field[2][0] == 'b' ? S_IFBLK : S_IFCHR;
    if (mknod(field[1], type | 0666, makedev(atoi(field[3]), atoi(field[4])))) die("mknod", field[1]);
    if (chmod(field[1], 0666)) die("chmod", field[1]);
  } else if (!strcmp(op, "link") && count == 3) {
    if (symlink(field[1], field[2])) die("symlink", field[2]);
  } else if (!strcmp(op, "mount") && count == 5) {
    if (mount(field[2], field[3], field[1], 0, field[4])) die("mount", field[3]);
  } else if (!strcmp(op, "bind") && count == 4) {
    bind_mount(field[1], field[2], !strcmp(field[3], "ro"));
  } else if (!strcmp(op, "write") && count == 3) {
    write_text(field[1], field[2]);
  } else if (!strcmp(op, "pivot") && count == 2) {
    pivot(field[1]);
  } else {
    errno = EINVAL;
    die("plan", op);
  }
}

static void apply_plan(FILE *plan) {
  char *line = NULL;
  size_t size = 0;
  ssize_t length;
  while ((length = getline(&line, &size, plan)) > 0) {
    if (line[length - 1] == '\n') line[length - 1] = 0;
    char *field[MAX_FIELDS], *rest = line;
    int count = 0;
    while (count < MAX_FIELDS && rest) field[count++] = strsep(&rest, "\t");
    apply(field, count);
  }
  free(line);
}

static void to_null(int from, int to) {
  int fd = open("/dev/null", O_RDWR);
  if (fd < 0) die("open", "/dev/null");
  for (int i = from; i <= to; i++) dup2(fd, i);
  if (fd > to) close(fd);
}

// PID 1: orphans become its children, and a daemon's stop script waits until they are gone, so it must reap at once.
static _Noreturn void reap_for_ever(void) {
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, NULL);
  for (;;) {
    while (waitpid(-1, NULL, WNOHANG) > 0) {}
    sigwaitinfo(&child, NULL);
  }
}

static void join_cgroup(const char *cgroup) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/cgroup.procs", cgroup);
  write_text(path, "0");
}

// `program`: what to become, or an empty list. It keeps the parent's death as its own (prctl(2): cleared only by set-id programs).
static _Noreturn void be_init(const char *cgroup, const char *hostname, char **program, int up) {
  die_with_parent();
  join_cgroup(cgroup);
  if (unshare(CLONE_NEWCGROUP)) die("unshare", "cgroup namespace");
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) die("mount", "/ private");
  if (sethostname(hostname, strlen(hostname))) die("sethostname", hostname);
  apply_plan(stdin);
  prctl(PR_SET_NAME, "init");
  if (write(up, "u", 1) != 1) die("write", "readiness");
  close(up);
  to_null(0, 2);
  if (*program) {
    setsid();
    execv(program[0], program);
    _exit(125);
  }
  reap_for_ever();
}

static pid_t init_pid;

static void kill_init(int signal) {
  (void)signal;
  kill(init_pid, SIGKILL);
}

// Stays as the parent of PID 1, to reap it: a zombie left to somebody else would keep its cgroup busy.
static int boot(char **argv) {
  die_with_parent();
  if (unshare(NAMESPACES)) die("unshare", "namespaces");
  int up[2];
  if (pipe2(up, O_CLOEXEC)) die("pipe", "");
  pid_t init = fork();
  if (init < 0) die("fork", "");
  if (init == 0) {
    close(up[0]);
    be_init(argv[0], argv[1], argv + 2, up[1]);
  }
  close(up[1]);
  init_pid = init;
  signal(SIGTERM, kill_init);
  char byte;
  if (read(up[0], &byte, 1) != 1) {  // PID 1 has said why
    waitpid(init, NULL, 0);
    return 125;
  }
  printf("ready %d\n", init);
  fflush(stdout);
  to_null(0, 2);
  while (waitpid(init, NULL, 0) < 0 && errno == EINTR) {}
  return 0;
}

static _Noreturn void hold(void) {
  die_with_parent();
  if (unshare(CLONE_NEWNET)) die("unshare", "network");
  printf("ready %d\n", getpid());
  fflush(stdout);
  to_null(0, 2);
  for (;;) pause();
}

// Ends as the program did, so that the caller sees its exit code or its signal.
static int end_like(int status) {
  if (!WIFSIGNALED(status)) return WEXITSTATUS(status);
  struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  signal(WTERMSIG(status), SIG_DFL);
  kill(getpid(), WTERMSIG(status));
  return 128 + WTERMSIG(status);
}

static int enter(char **argv) {
  die_with_parent();
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/cgroup.procs", argv[1]);
  int procs = open(path, O_WRONLY | O_CLOEXEC);
  if (procs < 0) die("open", path);
  int host = syscall(SYS_pidfd_open, atoi(argv[0]), 0);
  if (host < 0) die("pidfd_open", argv[0]);
  if (setns(host, NAMESPACES | CLONE_NEWCGROUP)) die("setns", argv[0]);
  close(host);
  if (chdir(argv[2])) die("chdir", argv[2]);
  int alive[2], replaced[2];
  if (pipe2(alive, O_CLOEXEC) || pipe2(replaced, O_CLOEXEC)) die("pipe", "");
  pid_t program = fork();
  if (program < 0) die("fork", "");
  if (program == 0) {
    die_with_parent();
    close(alive[1]);
    close(replaced[0]);
    close(3);
    setsid();
    if (write(procs, "0", 1) != 1) die("join cgroup", argv[1]);
    char byte;
    if (read(alive[0], &byte, 1) != 1) _exit(125);  // the parent died before it could take us along
    execvp(argv[3], argv + 3);
    fprintf(stderr, "lab-host: %s: %s\n", argv[3], strerror(errno));
    _exit(127);
  }
  close(procs);
  close(replaced[1]);
  if (write(alive[1], "a", 1) != 1) die("write", "the program");
  char byte;
  if (read(replaced[0], &byte, 1) < 0) die("read", "the program");  // returns when exec has closed the other end
  dprintf(3, "%d\n", program);
  close(3);
  to_null(0, 2);
  int status;
  while (waitpid(program, &status, 0) < 0) {
    if (errno != EINTR) die("wait", argv[3]);
  }
  return end_like(status);
}

int main(int argc, char **argv) {
  if (argc == 2 && !strcmp(argv[1], "hold")) hold();
  if (argc >= 4 && !strcmp(argv[1], "boot")) return boot(argv + 2);
  if (argc >= 6 && !strcmp(argv[1], "enter")) return enter(argv + 2);
  fprintf(stderr, "usage: lab-host hold | boot CGROUP HOSTNAME [INIT ARG...] | enter PID CGROUP CWD PROGRAM ARG...\n");
  return 2;
}
