#define _GNU_SOURCE
#include "CShimSystem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int centaur_spawn(const char *path, char *const argv[], char *const envp[], const char *cwd, int in_fd, int out_fd,
                  int err_fd, int new_session, pid_t *pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  int error = posix_spawn_file_actions_init(&actions);
  if (error) return error;
  error = posix_spawnattr_init(&attributes);
  if (error) {
    posix_spawn_file_actions_destroy(&actions);
    return error;
  }
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (new_session) flags |= POSIX_SPAWN_SETSID;
  if (cwd) error = posix_spawn_file_actions_addchdir_np(&actions, cwd);
  if (!error) error = posix_spawn_file_actions_adddup2(&actions, in_fd, 0);
  if (!error) error = posix_spawn_file_actions_adddup2(&actions, out_fd, 1);
  if (!error) error = posix_spawn_file_actions_adddup2(&actions, err_fd, 2);
  if (!error) error = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  if (!error) error = posix_spawnattr_setsigmask(&attributes, &none);
  if (!error) error = posix_spawnattr_setsigdefault(&attributes, &all);
  if (!error) error = posix_spawnattr_setflags(&attributes, flags);
  if (!error) error = posix_spawn(pid, path, &actions, &attributes, argv, envp);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

int centaur_become_subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0 ? 0 : errno; }

static int signal_pipe[2] = {-1, -1};

static void on_signal(int number) {
  int saved = errno;
  unsigned char byte = (unsigned char)number;
  /* A full pipe loses nothing: the reader has as many signals of each kind to look at as it needs. */
  ssize_t ignored = write(signal_pipe[1], &byte, 1);
  (void)ignored;
  errno = saved;
}

int centaur_signal_descriptor(void) {
  if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) != 0) return -1;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGCHLD, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGHUP, &action, NULL);
  signal(SIGPIPE, SIG_IGN);
  return signal_pipe[0];
}

int centaur_lock_file(const char *path, int shared) {
  int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0) return -1;
  if (flock(descriptor, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) {
    int saved = errno;
    close(descriptor);
    errno = saved;
    return -1;
  }
  return descriptor;
}

void centaur_forget_environment(const char *name) {
  char *value = getenv(name);
  /* The bytes lie in the block that the kernel shows: `unsetenv` would only drop the pointer to them. */
  if (value != NULL) explicit_bzero(value, strlen(value));
  unsetenv(name);
}

void centaur_be_private(void) { prctl(PR_SET_DUMPABLE, 0); }

void centaur_die_with_parent(void) { prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); }

int centaur_limit(const char *name, unsigned long value) {
  static const struct {
    const char *name;
    int resource;
  } known[] = {
      {"core", RLIMIT_CORE},       {"data", RLIMIT_DATA},       {"file-size", RLIMIT_FSIZE},
      {"open-files", RLIMIT_NOFILE}, {"processes", RLIMIT_NPROC},
  };
  for (size_t index = 0; index < sizeof known / sizeof known[0]; index++) {
    if (strcmp(known[index].name, name) != 0) continue;
    struct rlimit limit;
    if (getrlimit(known[index].resource, &limit) != 0) return errno;
    /* What is below already stays: only root may raise it. */
    if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max > value) limit.rlim_max = value;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(known[index].resource, &limit) == 0 ? 0 : errno;
  }
  return EINVAL;
}

void centaur_leave_keyring(void) {
  /* A new session keyring: keys of who started this process are not for what it becomes. */
  syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, 0);
}
