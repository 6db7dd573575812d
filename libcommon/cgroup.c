#include "cgroup.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_LEN = 4096 };

/* What a group's directory says; UINT64_MAX: no limit. */
typedef uint64_t group_limit(const char *directory, bool second);

/* -------- a group's files */

static FILE *open_file(const char *directory, const char *name)
{
	char path[PATH_LEN + 64];
	return (size_t)snprintf(path, sizeof path, "%s/%s", directory, name) < sizeof path ? fopen(path, "re") : NULL;
}

/* The first line's numbers.  How many there are; "max" and the like are none. */
static int read_numbers(const char *directory, const char *name, int64_t *first, int64_t *second)
{
	FILE *f = open_file(directory, name);
	int n = f ? fscanf(f, "%" SCNd64 " %" SCNd64, first, second) : 0;
	if (f)
		fclose(f);
	return n > 0 ? n : 0;
}

static uint64_t read_bytes(const char *directory, const char *name, uint64_t otherwise)
{
	int64_t n, ignored;
	return read_numbers(directory, name, &n, &ignored) && n >= 0 ? (uint64_t)n : otherwise;
}

/* Pages of files, of the group and those below it.  Those in use too: the kernel takes them back before it kills. */
static uint64_t read_cache(const char *directory, bool second)
{
	static const char *const wanted[2][2] = { { "total_inactive_file", "total_active_file" }, { "inactive_file", "active_file" } };
	FILE *f = open_file(directory, "memory.stat");
	char name[64];
	uint64_t n, sum = 0;
	while (f && fscanf(f, "%63s %" SCNu64, name, &n) == 2)
		if (!strcmp(name, wanted[second][0]) || !strcmp(name, wanted[second][1]))
			sum += n;
	if (f)
		fclose(f);
	return sum;
}

static uint64_t memory_left(const char *directory, bool second)
{
	uint64_t limit = read_bytes(directory, second ? "memory.max" : "memory.limit_in_bytes", UINT64_MAX);
	/* Above `high` the kernel slows its processes down without end. */
	uint64_t high = second ? read_bytes(directory, "memory.high", UINT64_MAX) : UINT64_MAX;
	limit = high < limit ? high : limit;
	if (limit == UINT64_MAX)
		return limit;
	uint64_t used = read_bytes(directory, second ? "memory.current" : "memory.usage_in_bytes", 0), cache = read_cache(directory, second);
	used -= cache < used ? cache : used;
	return used < limit ? limit - used : 0;
}

static uint64_t processors_left(const char *directory, bool second)
{
	int64_t quota, period, ignored;
	bool has = second ? read_numbers(directory, "cpu.max", &quota, &period) == 2
	                  : read_numbers(directory, "cpu.cfs_quota_us", &quota, &ignored) &&
	                    read_numbers(directory, "cpu.cfs_period_us", &period, &ignored);
	if (!has || quota <= 0 || period <= 0)
		return UINT64_MAX;
	return (uint64_t)quota / (uint64_t)period + (quota % period != 0);
}

/* -------- which groups */

/* Whether the list, with commas, has that word. */
static bool names(const char *list, const char *word)
{
	size_t len = strlen(word);
	for (const char *p = list; p; p = strchr(p, ',')) {
		p += *p == ',';
		if (!strncmp(p, word, len) && (!p[len] || p[len] == ','))
			return true;
	}
	return false;
}

/* Cuts the text at the mark, and gives what follows; NULL: it isn't there. */
static char *cut_at(char *text, const char *mark)
{
	char *at = text ? strstr(text, mark) : NULL;
	if (!at)
		return NULL;
	*at = 0;
	return at + strlen(mark);
}

/* The process's group, from the hierarchy's root: of proc/self/cgroup's "ID:CONTROLLERS:PATH".  false: it isn't told. */
static bool find_group(const char *root, const char *controller, bool second, char group[PATH_LEN])
{
	FILE *f = open_file(root, "proc/self/cgroup");
	char *line = NULL;
	size_t size = 0;
	bool found = false;
	while (f && !found && getline(&line, &size, f) > 0) {
		line[strcspn(line, "\n")] = 0;
		char *controllers = cut_at(line, ":"), *path = cut_at(controllers, ":");
		found = path && (second ? !*controllers : names(controllers, controller)) && strlen(path) < PATH_LEN;
		if (found)
			strcpy(group, path);
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

struct mount {
	char *root, *point;     /* of the hierarchy, and where it is mounted */
	bool second;
};

/* A line of proc/self/mountinfo: "ID PARENT DEVICE ROOT POINT OPTIONS ... - KIND SOURCE OPTIONS".  false: it has no such groups. */
static bool parse_mount(char *line, const char *controller, struct mount *m)
{
	char *field = line, *after = cut_at(line, " - ");
	for (int i = 0; i < 3 && field; i++)
		field = cut_at(field, " ");
	m->root = field;
	m->point = cut_at(field, " ");
	(void)cut_at(m->point, " ");
	char *source = cut_at(after, " "), *options = cut_at(source, " ");
	if (!m->point || !options)
		return false;
	options[strcspn(options, "\n")] = 0;
	m->second = !strcmp(after, "cgroup2");
	return m->second || (!strcmp(after, "cgroup") && names(options, controller));
}

/* Of a mount that begins at a group of the process, what lies below; of another one, the mount itself, as a container sees it. */
static const char *below(const struct mount *m, const char *group)
{
	size_t len = strlen(m->root);
	len -= len > 0 && m->root[len - 1] == '/';
	return !strncmp(group, m->root, len) && (group[len] == '/' || !group[len]) && strncmp(group, "/..", 3) != 0 ? group + len : "";
}

static uint64_t least_of_mount(const char *root, const struct mount *m, const char *controller, group_limit *limit)
{
	char group[PATH_LEN], directory[PATH_LEN];
	if (!find_group(root, controller, m->second, group))
		return UINT64_MAX;
	const char *path = below(m, group);
	size_t top = strlen(root) + strlen(m->point);
	if ((size_t)snprintf(directory, sizeof directory, "%s%s%s", root, m->point, path) >= sizeof directory)
		return UINT64_MAX;
	uint64_t least = UINT64_MAX;
	for (;;) {
		uint64_t n = limit(directory, m->second);
		least = n < least ? n : least;
		char *slash = strrchr(directory + top, '/');
		if (!slash)
			return least;
		*slash = 0;
	}
}

static uint64_t least(const char *root, const char *controller, group_limit *limit)
{
	FILE *f = open_file(root, "proc/self/mountinfo");
	char *line = NULL;
	size_t size = 0;
	uint64_t found = UINT64_MAX;
	struct mount m;
	while (f && getline(&line, &size, f) > 0) {
		uint64_t n = parse_mount(line, controller, &m) ? least_of_mount(root, &m, controller, limit) : UINT64_MAX;
		found = n < found ? n : found;
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

uint64_t cgroup_memory(const char *root)
{
	return least(root, "memory", memory_left);
}

size_t cgroup_processors(const char *root)
{
	uint64_t n = least(root, "cpu", processors_left);
	return n < SIZE_MAX ? (size_t)n : SIZE_MAX;
}
