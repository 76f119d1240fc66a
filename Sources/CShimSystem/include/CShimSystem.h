#ifndef CENTAUR_SHIM_SYSTEM_H
#define CENTAUR_SHIM_SYSTEM_H

#include <sys/types.h>

#include "CShimFiles.h"

/* What the C library offers only with _GNU_SOURCE, which `import Glibc` does not define. */

/// Starts a program that inherits the three given descriptors and nothing else: signal handlers are the default ones,
/// no signal is blocked. With `new_session` it leads a session and a process group of its own.
/// @return 0, or an errno.
int centaur_spawn(const char *path, char *const argv[], char *const envp[], const char *cwd, int in_fd, int out_fd,
                  int err_fd, int new_session, pid_t *pid);

/// Orphaned descendants become children of this process instead of init's.
/// @return 0, or an errno.
int centaur_become_subreaper(void);

/// From now on SIGCHLD, SIGTERM, SIGINT and SIGHUP arrive as bytes on the returned descriptor; SIGPIPE is ignored.
/// @return a non-blocking descriptor, or -1.
int centaur_signal_descriptor(void);

/// Opens a file and locks it for this process alone, until the descriptor is closed.
/// @return a descriptor, or -1 with an errno: EWOULDBLOCK where another process holds the lock.
int centaur_lock_file(const char *path, int shared);

/// Empties an environment variable where the system shows it (`/proc/<pid>/environ`) and where children inherit it.
/// Whoever needs the value must have copied it before.
void centaur_forget_environment(const char *name);

/// No other process of this user may look into this one: no `/proc/<pid>/environ` or `mem`, no ptrace, no core dump.
/// Root may.
void centaur_be_private(void);

/// This process is killed when the thread that started it ends.
void centaur_die_with_parent(void);

/// Sets a resource limit of this process and of all that it will start, soft and hard: `core`, `data`, `file-size`
/// (bytes), `open-files`, `processes`.
/// @return 0, or an errno.
int centaur_limit(const char *name, unsigned long value);

/// Leaves the session keyring of whoever started this process behind.
void centaur_leave_keyring(void);

#endif
