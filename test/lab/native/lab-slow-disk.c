/*
 * Preloaded into the programs of a laboratory machine: every sync takes SYNC_MS longer, as on a rotating disk, or on one that others
 * write to as well. The disks below laboratories are often so fast that what waits for them is never seen to wait.
 */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SYNC_MS 20

static void turn(void)
{
    struct timespec left = {0, SYNC_MS * 1000000L};
    while (nanosleep(&left, &left) != 0)
        ;
}

int fsync(int fd)
{
    turn();
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    turn();
    return (int)syscall(SYS_fdatasync, fd);
}
