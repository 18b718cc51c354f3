// What a power cut does to a disk, for the disks of the laboratory: EXT4_IOC_SHUTDOWN without flushing the log. The kernel would
// otherwise write a dying host's file system out in good order, and what was never synced would survive.
//
//   lab-disk cut PATH     PATH is on the mounted file system
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#define EXT4_IOC_SHUTDOWN _IOR('X', 125, uint32_t)
#define EXT4_GOING_FLAGS_NOLOGFLUSH 2

int main(int argc, char **argv) {
  if (argc != 3 || strcmp(argv[1], "cut")) {
    fprintf(stderr, "usage: lab-disk cut PATH\n");
    return 2;
  }
  uint32_t flags = EXT4_GOING_FLAGS_NOLOGFLUSH;
  int fd = open(argv[2], O_RDONLY | O_CLOEXEC);
  if (fd < 0 || ioctl(fd, EXT4_IOC_SHUTDOWN, &flags)) {
    fprintf(stderr, "lab-disk: %s: %s\n", argv[2], strerror(errno));
    return 1;
  }
  return 0;
}
