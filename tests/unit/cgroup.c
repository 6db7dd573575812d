/* What control groups leave a process: made-up trees of both versions, as hosts, containers and batch systems have them. */
#include "cgroup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "memory.h"
#include "processors.h"

#define MIB ((uint64_t)1 << 20)

static char root[] = "/tmp/onelayer-cgroup.XXXXXX";

/* A file of the tree, with the directories above it. */
static void put(const char *path, const char *text)
{
	char *full = mem_format("%s/%s", root, path);
	for (char *slash = strchr(full + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(full, 0777) < 0 && errno != EEXIST)
			perror(full);
		*slash = '/';
	}
	FILE *f = fopen(full, "w");
	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		perror(full);
	free(full);
}

static void clear(void)
{
	char *command = mem_format("rm -rf %s/*", root);
	if (system(command) != 0)
		perror(command);
	free(command);
}

/* An empty tree whose process says that of itself. */
static void begin(const char *groups, const char *mounts)
{
	clear();
	put("proc/self/cgroup", groups);
	put("proc/self/mountinfo", mounts);
}

static const char second[] = "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n"
	"30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

static bool memory_is(uint64_t want)
{
	uint64_t got = cgroup_memory(root);
	if (got != want)
		printf("# %" PRIu64 ", not %" PRIu64 "\n", got, want);
	return got == want;
}

static bool processors_are(size_t want)
{
	size_t got = cgroup_processors(root);
	if (got != want)
		printf("# %zu, not %zu\n", got, want);
	return got == want;
}

static void test_second(void)
{
	begin("0::/system.slice/job.scope\n", second);
	ok(memory_is(UINT64_MAX) && processors_are(SIZE_MAX), "a group without limits");
	put("sys/fs/cgroup/system.slice/job.scope/memory.max", "max\n");
	put("sys/fs/cgroup/system.slice/job.scope/memory.high", "max\n");
	put("sys/fs/cgroup/system.slice/job.scope/cpu.max", "max 100000\n");
	ok(memory_is(UINT64_MAX) && processors_are(SIZE_MAX), "limits of 'max'");
	put("sys/fs/cgroup/system.slice/job.scope/memory.max", "1073741824\n");
	put("sys/fs/cgroup/system.slice/job.scope/memory.current", "419430400\n");
	ok(memory_is(624 * MIB), "memory.max less memory.current");
	put("sys/fs/cgroup/system.slice/job.scope/memory.stat",
	    "anon 104857600\nfile 314572800\nshmem 1048576\ninactive_anon 1048576\ninactive_file 104857600\nactive_file 52428800\nslab 4096\n");
	ok(memory_is(774 * MIB), "pages of files give way");
	put("sys/fs/cgroup/system.slice/job.scope/memory.high", "524288000\n");
	ok(memory_is(250 * MIB), "memory.high where it is lower");
	put("sys/fs/cgroup/system.slice/memory.max", "209715200\n");
	put("sys/fs/cgroup/system.slice/memory.current", "104857600\n");
	ok(memory_is(100 * MIB), "a lower limit of the group above");
	put("sys/fs/cgroup/system.slice/memory.max", "104857600\n");
	ok(memory_is(0), "a limit that is met");
	put("sys/fs/cgroup/system.slice/memory.stat", "inactive_file 999999999999\n");
	ok(memory_is(100 * MIB), "more file cache than use");
	put("sys/fs/cgroup/system.slice/memory.max", "what?\n");
	ok(memory_is(250 * MIB), "a limit that is no number is none");
}

static void test_quota(void)
{
	begin("0::/a/b\n", second);
	put("sys/fs/cgroup/a/b/cpu.max", "250000 100000\n");
	ok(processors_are(3), "2.5 processors are 3");
	put("sys/fs/cgroup/a/b/cpu.max", "200000 100000\n");
	ok(processors_are(2), "2 are 2");
	put("sys/fs/cgroup/a/cpu.max", "1000 100000\n");
	ok(processors_are(1), "a hundredth, of the group above, is 1");
	put("sys/fs/cgroup/a/cpu.max", "100000 0\n");
	ok(processors_are(2), "no period is no quota");
}

/* A container that sees its own group as the root. */
static void test_container(void)
{
	begin("0::/\n", second);
	put("sys/fs/cgroup/memory.max", "104857600\n");
	put("sys/fs/cgroup/memory.current", "52428800\n");
	put("sys/fs/cgroup/cpu.max", "150000 100000\n");
	ok(memory_is(50 * MIB) && processors_are(2), "version 2, the root of a container's namespace");
	begin("0::/../other\n", second);
	put("sys/fs/cgroup/memory.max", "104857600\n");
	ok(memory_is(100 * MIB), "a group outside the namespace: what is mounted counts");
	begin("5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/docker/abc\n",
	      "40 22 0:30 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
	      "41 22 0:31 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n");
	put("sys/fs/cgroup/memory/memory.limit_in_bytes", "104857600\n");
	put("sys/fs/cgroup/memory/memory.usage_in_bytes", "20971520\n");
	put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n");
	put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
	ok(memory_is(80 * MIB) && processors_are(1), "version 1, a container's group mounted, named from the host's root");
	begin("0::/docker/abc\n", "40 22 0:30 /docker/a /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
	put("sys/fs/cgroup/memory.max", "104857600\n");
	put("sys/fs/cgroup/bc/memory.max", "1\n");
	ok(memory_is(100 * MIB), "the mount's root is compared name by name");
}

static void test_first(void)
{
	begin("9:cpuset:/\n4:memory:/slurm/uid_1/job_7\n3:cpu,cpuacct:/slurm\n1:name=systemd:/x\n0::/x\n",
	      "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
	      "36 31 0:33 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
	      "37 31 0:34 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpuacct,cpu\n"
	      "38 31 0:35 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n");
	put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
	put("sys/fs/cgroup/memory/slurm/uid_1/job_7/memory.limit_in_bytes", "9223372036854771712\n");
	put("sys/fs/cgroup/cpu,cpuacct/slurm/cpu.cfs_quota_us", "-1\n");
	put("sys/fs/cgroup/cpu,cpuacct/slurm/cpu.cfs_period_us", "100000\n");
	put("sys/fs/cgroup/cpuset/cpu.cfs_quota_us", "1\n");
	ok(cgroup_memory(root) > (uint64_t)1 << 62 && processors_are(SIZE_MAX), "version 1 without limits");
	put("sys/fs/cgroup/memory/slurm/uid_1/memory.limit_in_bytes", "1073741824\n");
	put("sys/fs/cgroup/memory/slurm/uid_1/memory.usage_in_bytes", "536870912\n");
	put("sys/fs/cgroup/memory/slurm/uid_1/memory.stat", "inactive_file 1\ntotal_inactive_file 104857600\ntotal_active_file 0\n");
	put("sys/fs/cgroup/cpu,cpuacct/slurm/cpu.cfs_quota_us", "400000\n");
	ok(memory_is(612 * MIB) && processors_are(4), "version 1, a limit of a group above, beside version 2 without controllers");
	put("sys/fs/cgroup/unified/x/memory.max", "1048576\n");
	put("sys/fs/cgroup/unified/x/cpu.max", "100000 100000\n");
	ok(memory_is(MIB) && processors_are(1), "both versions");
}

static void test_odd(void)
{
	clear();
	ok(memory_is(UINT64_MAX) && processors_are(SIZE_MAX), "no /proc");
	begin("", "");
	ok(memory_is(UINT64_MAX), "nothing in it");
	begin("0::/x\n", "a b c\n\n - \n1 2 3 - cgroup2 x y\n1 2 3 / /m rw - cgroup2\n30 22 0:26 / /sys/fs/cgroup rw - cgroup2 c rw\n");
	put("sys/fs/cgroup/x/memory.max", "1048576");
	ok(memory_is(MIB), "lines that are no mounts, a file without a line's end");
	begin("nonsense\n0:\n::\n", second);
	ok(memory_is(UINT64_MAX), "lines that are no groups");
	char *deep = mem_zero(3, 4096), *line;
	memset(deep, '/', 3 * 4096 - 1);
	line = mem_format("0::%s\n", deep);
	begin(line, second);
	ok(memory_is(UINT64_MAX), "a path longer than any");
	free(line);
	free(deep);
}

/* Bytes of that column of statm. */
static uint64_t own_size(int column)
{
	unsigned long long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	for (int i = 0; f && i <= column; i++)
		if (fscanf(f, "%llu", &pages) != 1)
			pages = 0;
	if (f)
		fclose(f);
	return pages * (unsigned long long)sysconf(_SC_PAGESIZE);
}

static void test_limit(int resource, int column, const char *name)
{
	struct rlimit was, now;
	uint64_t before = mem_available(), left = 200 * MIB;
	getrlimit(resource, &was);
	now = was;
	now.rlim_cur = own_size(column) + left;
	if (before <= left || now.rlim_cur > was.rlim_max || setrlimit(resource, &now) < 0) {
		ok(true, "%s # SKIP there is no room for one", name);
		return;
	}
	uint64_t after = mem_available();
	setrlimit(resource, &was);
	ok(after <= left && after > left / 2 && mem_available() > left, "%s", name);
}

int main(void)
{
	if (!mkdtemp(root)) {
		perror(root);
		return 1;
	}
	test_second();
	test_quota();
	test_container();
	test_first();
	test_odd();
	clear();
	ok(remove(root) == 0, "all is removed");
	ok(mem_available() / 2 <= cgroup_memory("") && processors_count() <= cgroup_processors(""), "the process's own groups count");
	test_limit(RLIMIT_AS, 0, "the limit of its address space counts");
	test_limit(RLIMIT_DATA, 5, "the limit of its data counts");
	return done();
}
