#define _GNU_SOURCE
#include "CShimFiles.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

const int centaur_o_path = O_PATH;

int centaur_open_beneath(int directory, const char *path, int flags) {
  struct open_how how;
  memset(&how, 0, sizeof how);
  how.flags = (unsigned)(flags | O_CLOEXEC);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  /* EAGAIN: something was renamed while the kernel looked; it cannot say whether the path left the directory. */
  for (int attempt = 0; attempt < 64; attempt++) {
    long descriptor = syscall(SYS_openat2, directory, path, &how, sizeof how);
    if (descriptor >= 0) return (int)descriptor;
    if (errno == ENOSYS) return centaur_open_beneath_by_steps(directory, path, flags);
    if (errno != EAGAIN && errno != EINTR) return -1;
  }
  errno = EXDEV;
  return -1;
}

int centaur_open_beneath_by_steps(int directory, const char *path, int flags) {
  int current = directory;
  const char *rest = path;
  while (1) {
    char name[256];
    size_t length = strcspn(rest, "/");
    int is_last = rest[length] == 0;
    int next = -1, error = 0;
    if (length >= sizeof name) {
      error = ENAMETOOLONG;
    } else if (length == 0 || strncmp(rest, "..", length > 2 ? length : 2) == 0) {
      error = EXDEV;
    } else {
      memcpy(name, rest, length);
      name[length] = 0;
      /* The steps on the way are only passed through: no right to read a directory is needed for that. */
      int step = is_last ? flags : O_PATH | O_DIRECTORY;
      next = openat(current, name, step | O_NOFOLLOW | O_CLOEXEC);
      error = next < 0 ? errno : 0;
      /* A link is told as such, also where a directory was asked for. */
      char target[1];
      if (error == ENOTDIR && readlinkat(current, name, target, sizeof target) >= 0) error = ELOOP;
    }
    if (current != directory) close(current);
    if (error) {
      errno = error;
      return -1;
    }
    if (is_last) {
      char target[1];
      /* With O_PATH the link itself is opened. */
      if ((flags & O_PATH) && readlinkat(next, "", target, sizeof target) >= 0) {
        close(next);
        errno = ELOOP;
        return -1;
      }
      return next;
    }
    current = next;
    rest += length + 1;
  }
}

static int copy_by_hand(int from, int to) {
  char buffer[1 << 16];
  while (1) {
    ssize_t got = read(from, buffer, sizeof buffer);
    if (got == 0) return 0;
    if (got < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    for (ssize_t done = 0; done < got;) {
      ssize_t written = write(to, buffer + done, (size_t)(got - done));
      if (written < 0) {
        if (errno == EINTR) continue;
        return errno;
      }
      done += written;
    }
  }
}

int centaur_copy_file(int from, int to) {
  if (ioctl(to, FICLONE, from) == 0) return 0;
  while (1) {
    ssize_t copied = copy_file_range(from, NULL, to, NULL, 1 << 30, 0);
    if (copied > 0) continue;
    /* The file's end, or a file system that cannot: what is left, if anything, is copied by hand. */
    if (copied < 0 && errno == EINTR) continue;
    if (copied < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO || errno == EFBIG)) return errno;
    return copy_by_hand(from, to);
  }
}
