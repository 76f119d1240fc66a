#ifndef CENTAUR_SHIM_FILES_H
#define CENTAUR_SHIM_FILES_H

#include <sys/types.h>

/// `O_PATH`: what is opened is only named, not read.
extern const int centaur_o_path;

/// Opens what lies below a directory, and nothing else: a path or a symbolic link that leads out of it is refused by the
/// kernel, whatever is changed meanwhile. `path` is relative, without `..`.
/// @return a descriptor, or -1 with an errno: EXDEV where it leads out.
int centaur_open_beneath(int directory, const char *path, int flags);

/// The same for a kernel without `openat2`: step by step, and every symbolic link is refused (ELOOP).
int centaur_open_beneath_by_steps(int directory, const char *path, int flags);

/// Makes an empty file the copy of another one: sharing its blocks where the file system can, else by copying them.
/// @return 0, or an errno.
int centaur_copy_file(int from, int to);

#endif
