// Makes chosen calls on chosen files fail, as a disk that is full or broken does. For LD_PRELOAD.
//
// FAILING_FILES names a file with the rule, which may change at any time:
//
//   CALLS PATH ERRNO SKIP COUNT
//
// CALLS: `write`, `sync`, `open`, or several with commas. PATH: a text that the file's path contains. ERRNO: a number.
// The first SKIP such calls since the rule was written go through, the next COUNT fail, -1: all. An empty file, or none:
// nothing fails. What failed is written to FAILING_FILES.log, one line each.
//
// Of files whose path contains WRITTEN_FILES each write at an offset, and each sync, that was done is written to
// FAILING_FILES.writes: what a power loss may take is what was written since the last sync.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char last_rule[1024];
static long seen;

// Past this library: neither counted nor failing.
static int raw_open(const char *path, int flags) { return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0600); }

static int is_among(const char *call, const char *calls) {
  size_t length = strlen(call);
  for (const char *at = calls; (at = strstr(at, call)); at += length) {
    if ((at == calls || at[-1] == ',') && (at[length] == ',' || at[length] == 0)) return 1;
  }
  return 0;
}

static void note(const char *kind, const char *call, const char *path, long number) {
  char name[PATH_MAX + 8], line[PATH_MAX + 64];
  snprintf(name, sizeof name, "%s.%s", getenv("FAILING_FILES"), kind);
  int length = snprintf(line, sizeof line, "%s %ld %s\n", call, number, path);
  int file = raw_open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC);
  if (file < 0) return;
  syscall(SYS_write, file, line, length);
  syscall(SYS_close, file);
}

// The errno with which this call is to fail; 0: it is not.
static int failure(const char *call, const char *path) {
  const char *control = getenv("FAILING_FILES");
  if (!control || !path) return 0;
  int file = raw_open(control, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char rule[sizeof last_rule] = "";
  syscall(SYS_read, file, rule, sizeof rule - 1);
  syscall(SYS_close, file);
  char calls[64], text[512];
  int number;
  long skip, count;
  if (sscanf(rule, "%63s %511s %d %ld %ld", calls, text, &number, &skip, &count) != 5) return 0;
  if (!strstr(path, text) || !is_among(call, calls)) return 0;
  pthread_mutex_lock(&lock);
  if (strcmp(rule, last_rule)) {
    strcpy(last_rule, rule);
    seen = 0;
  }
  long position = seen++;
  pthread_mutex_unlock(&lock);
  if (position < skip || (count >= 0 && position >= skip + count)) return 0;
  note("log", call, path, position + 1);
  return number;
}

// Of PATH_MAX bytes; 0: it has no name.
static int name_of(int descriptor, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  if (length <= 0) return 0;
  path[length] = 0;
  return 1;
}

static int failure_of(const char *call, int descriptor) {
  char path[PATH_MAX];
  return getenv("FAILING_FILES") && name_of(descriptor, path) ? failure(call, path) : 0;
}

// Returns what the call returned.
static ssize_t done(const char *call, int descriptor, long offset, ssize_t result) {
  const char *wanted = getenv("WRITTEN_FILES");
  char path[PATH_MAX];
  if (!wanted || !getenv("FAILING_FILES") || result < 0 || !name_of(descriptor, path)) return result;
  int number = errno;
  if (strstr(path, wanted)) note("writes", call, path, offset);
  errno = number;
  return result;
}

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))
#define FAIL_IF(number) \
  do { \
    int failing = (number); \
    if (failing) { \
      errno = failing; \
      return -1; \
    } \
  } while (0)

ssize_t write(int descriptor, const void *bytes, size_t count) {
  FAIL_IF(failure_of("write", descriptor));
  return REAL(write)(descriptor, bytes, count);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset) {
  FAIL_IF(failure_of("write", descriptor));
  return done("write", descriptor, offset, REAL(pwrite)(descriptor, bytes, count, offset));
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t offset) {
  FAIL_IF(failure_of("write", descriptor));
  return done("write", descriptor, offset, REAL(pwrite64)(descriptor, bytes, count, offset));
}

int fsync(int descriptor) {
  FAIL_IF(failure_of("sync", descriptor));
  return (int)done("sync", descriptor, 0, REAL(fsync)(descriptor));
}

int fdatasync(int descriptor) {
  FAIL_IF(failure_of("sync", descriptor));
  return (int)done("sync", descriptor, 0, REAL(fdatasync)(descriptor));
}

static mode_t mode_of(int flags, va_list more) {
  return flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  mode_t mode = mode_of(flags, more);
  va_end(more);
  FAIL_IF(failure("open", path));
  return REAL(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  mode_t mode = mode_of(flags, more);
  va_end(more);
  FAIL_IF(failure("open", path));
  return REAL(open64)(path, flags, mode);
}

int openat(int directory, const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  mode_t mode = mode_of(flags, more);
  va_end(more);
  FAIL_IF(failure("open", path));
  return REAL(openat)(directory, path, flags, mode);
}
