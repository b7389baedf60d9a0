/* test_base_cgroup.c: limits of control groups, read from trees that look like the kernel's. */
#include "test_cmocka.h"

#include <math.h>

#define GIB 1073741824.0

static char *top;
static struct arena arena;

static int begin(void **state)
{
    (void)state;
    arena_init(&arena);
    top = test_folder(&arena);
    return 0;
}

static int end(void **state)
{
    (void)state;
    int rc = file_remove_tree(top, NULL);
    arena_fini(&arena);
    return rc;
}

/* A file below the fake root, with the folders above it. */
static void put(const char *path, const char *text)
{
    char *full = arena_printf(&arena, "%s%s", top, path);
    char *dir = arena_strdup(&arena, full);
    *strrchr(dir, '/') = '\0';
    assert_int_equal(file_make_dirs(dir, NULL), 0);
    assert_int_equal(file_write(full, text, strlen(text), NULL), 0);
}

static void expect(double cpus, double memory_bytes)
{
    struct cgroup_limits l = cgroup_limits(top);
    if (l.cpus != cpus || l.memory_bytes != memory_bytes)
        fail_msg("%g CPUs and %g bytes, wanted %g and %g", l.cpus, l.memory_bytes, cpus,
                 memory_bytes);
}

#define MOUNT_V2                                            \
    "22 1 0:21 / /proc rw,nosuid shared:5 - proc proc rw\n" \
    "30 24 0:27 / /sys/fs/cgroup rw,nosuid,nodev shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"

static void test_nothing_there(void **state)
{
    (void)state;
    expect(INFINITY, INFINITY);
    put("/proc/self/cgroup", "0::/job\n");
    expect(INFINITY, INFINITY); /* no mountinfo */
    put("/proc/self/mountinfo", "");
    expect(INFINITY, INFINITY);
    put("/proc/self/mountinfo", "30 24\n\nnot a line\n30 24 0:27 / /sys/fs/cgroup rw\n");
    expect(INFINITY, INFINITY);
    put("/proc/self/mountinfo", MOUNT_V2);
    expect(INFINITY, INFINITY); /* no files in the group */
}

static void test_v2(void **state)
{
    (void)state;
    put("/proc/self/mountinfo", MOUNT_V2);
    put("/proc/self/cgroup", "0::/slurm/job_17/step_0\n");
    put("/sys/fs/cgroup/slurm/job_17/step_0/memory.max", "max\n");
    put("/sys/fs/cgroup/slurm/job_17/step_0/cpu.max", "max 100000\n");
    expect(INFINITY, INFINITY);
    /* of a group above */
    put("/sys/fs/cgroup/slurm/job_17/memory.max", "2147483648\n");
    put("/sys/fs/cgroup/slurm/cpu.max", "250000 100000\n");
    expect(2.5, 2 * GIB);
    /* the smallest counts, wherever it stands */
    put("/sys/fs/cgroup/slurm/job_17/step_0/memory.max", "1073741824\n");
    put("/sys/fs/cgroup/slurm/job_17/step_0/cpu.max", "400000 100000\n");
    expect(2.5, GIB);
    put("/sys/fs/cgroup/slurm/job_17/step_0/memory.max", "4294967296\n");
    put("/sys/fs/cgroup/slurm/job_17/step_0/cpu.max", "50000 100000\n");
    expect(0.5, 2 * GIB);
    /* another job's limits are not ours */
    put("/sys/fs/cgroup/slurm/job_18/memory.max", "1024\n");
    expect(0.5, 2 * GIB);
}

/* A group's name is a prefix of another's; a folder that is gone is passed over. */
static void test_v2_names(void **state)
{
    (void)state;
    put("/proc/self/mountinfo",
        "30 24 0:27 /box /sys/fs/cgroup rw shared:4 master:1 - cgroup2 cgroup2 rw\n");
    put("/sys/fs/cgroup/memory.max", "3221225472\n");
    put("/sys/fs/cgroup/inner/memory.max", "1073741824\n");
    put("/proc/self/cgroup", "0::/box/inner\n");
    expect(INFINITY, GIB);
    put("/proc/self/cgroup", "0::/box\n");
    expect(INFINITY, 3 * GIB);
    put("/proc/self/cgroup", "0::/box/gone/too\n");
    expect(INFINITY, 3 * GIB);
    put("/proc/self/cgroup", "0::/boxer/inner\n"); /* not below what is mounted */
    expect(INFINITY, 3 * GIB);
}

/* In a namespace of its own a container sees "/" and its limits at the mount point. */
static void test_namespace(void **state)
{
    (void)state;
    put("/proc/self/mountinfo", MOUNT_V2);
    put("/sys/fs/cgroup/memory.max", "1073741824\n");
    put("/sys/fs/cgroup/cpu.max", "150000 100000\n");
    put("/proc/self/cgroup", "0::/\n");
    expect(1.5, GIB);
    put("/proc/self/cgroup", "0::/../../elsewhere\n");
    expect(1.5, GIB);
    put("/proc/self/mountinfo",
        "30 24 0:27 /../.. /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n");
    put("/proc/self/cgroup", "0::/\n");
    expect(1.5, GIB);
}

#define MOUNTS_V1                                                                             \
    "31 30 0:28 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,xattr,name=systemd\n" \
    "33 30 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:11 - cgroup cgroup rw,cpu,cpuacct\n"   \
    "34 30 0:31 / /sys/fs/cgroup/cpuset rw shared:12 - cgroup cgroup rw,cpuset\n"             \
    "35 30 0:32 / /sys/fs/cgroup/memory rw shared:13 - cgroup cgroup rw,memory\n"             \
    "36 30 0:33 / /sys/fs/cgroup/unified rw shared:14 - cgroup2 cgroup2 rw\n"

static void test_v1(void **state)
{
    (void)state;
    put("/proc/self/mountinfo", MOUNTS_V1);
    put("/proc/self/cgroup", "7:cpuset:/other\n5:memory:/pbs/job\n4:cpu,cpuacct:/pbs\n"
                             "1:name=systemd:/system.slice\n0::/system.slice\n");
    put("/sys/fs/cgroup/memory/pbs/job/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/cpu,cpuacct/pbs/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/pbs/cpu.cfs_period_us", "100000\n");
    expect(INFINITY, INFINITY);
    put("/sys/fs/cgroup/memory/pbs/memory.limit_in_bytes", "1073741824\n");
    put("/sys/fs/cgroup/cpu,cpuacct/pbs/cpu.cfs_quota_us", "300000\n");
    expect(3, GIB);
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "100000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "50000\n");
    expect(2, GIB);
    /* version 2 beside it, as on machines in between */
    put("/sys/fs/cgroup/unified/system.slice/memory.max", "536870912\n");
    expect(2, GIB / 2);
}

/* Both controllers in one hierarchy; a mount point with a space; no period. */
static void test_v1_together(void **state)
{
    (void)state;
    put("/proc/self/mountinfo", "33 30 0:30 / /my\\040groups rw - cgroup none rw,cpu,memory\n");
    put("/proc/self/cgroup", "4:cpu,memory:/a/b\n");
    put("/my groups/a/b/memory.limit_in_bytes", "1073741824\n");
    put("/my groups/a/cpu.cfs_quota_us", "100000\n");
    expect(INFINITY, GIB);
    put("/my groups/a/cpu.cfs_period_us", "100000\n");
    expect(1, GIB);
}

/* Whatever this machine's own groups say, the readings above it are within the machine. */
static void test_here(void **state)
{
    (void)state;
    struct cgroup_limits l = cgroup_limits("");
    assert_true(l.cpus > 0 && l.memory_bytes > 0);
    assert_true(mem_limit_bytes() > 0 && mem_limit_bytes() <= l.memory_bytes);
    assert_true(pool_available_cpus() >= 1);
    assert_true(pool_available_cpus() <= ceil(l.cpus));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_there), TEST(test_v2), TEST(test_v2_names),
        TEST(test_namespace),     TEST(test_v1), TEST(test_v1_together),
        TEST(test_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
