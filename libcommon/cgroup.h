/*
 * What the control groups of this process leave it, of version 1 and 2 (cgroups(7)): containers and batch systems limit by them,
 * and the rest of the system is told by nobody.  A group's limit holds for all below it, so every level counts, from the process's
 * own group up to the mount.
 *
 * root: "", or a directory whose proc/self and whatever is mounted there stand for the system's.
 */
#ifndef CGROUP_H
#define CGROUP_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of memory that can be taken before a limit is met; pages of files give way, as they do in MemAvailable of /proc/meminfo.
 * UINT64_MAX: there is no limit. */
uint64_t cgroup_memory(const char *root);

/* How many processors' time it may use, rounded up, at least 1; SIZE_MAX: there is no quota. */
size_t cgroup_processors(const char *root);

#endif
