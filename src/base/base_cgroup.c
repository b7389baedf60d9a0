/* base_cgroup.c: how many CPUs and how much memory the process's control groups leave it.
 *
 * A job of a cluster, a container and a systemd service all run in a control group (cgroups(7)),
 * whose limits are smaller than the machine. Which group that is stands in /proc/self/cgroup, one
 * line "ID:CONTROLLERS:PATH" per hierarchy; version 2 has one hierarchy, "0::PATH", version 1 one
 * for each set of controllers. Where a hierarchy is mounted stands in /proc/self/mountinfo (see
 * proc(5)), with the group that its mount point shows. PATH counts from the hierarchy's root, so the
 * process's own folder is the mount point and PATH without the mount's own part in front.
 *
 * A limit holds for everything below the group that has it: the smallest on the way up counts. A
 * container sees no farther up than its mount point, whose files then hold the container's limits;
 * where a namespace hides PATH ("/" or one with ".."), the mount point is all there is to read. */
#include "base/base.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Version 1 has no word for "no limit" but the largest number of whole pages, about 9.2e18. */
#define NO_LIMIT 1e18

/* A hierarchy, and which of its controllers are to be read. */
struct hierarchy {
    const char *root;  /* the group that the mount point shows */
    const char *mount; /* the mount point */
    const char *group; /* the process's group; NULL: it is in none */
    bool v2, cpu, memory;
};

/* The first number of a short file, INFINITY where there is none ("max", no such file, no limit),
 * and the second in *next (NULL: not wanted). */
static double read_limit(const char *dir, const char *name, double *next)
{
    char path[PATH_MAX], *text, *end;
    size_t size;
    double limit = INFINITY;
    int n = snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (n >= (int)sizeof(path) || file_read(path, 4096, &text, &size, NULL) < 0) return limit;
    double value = strtod(text, &end);
    if (end != text && value > 0 && value < NO_LIMIT) limit = value;
    if (next) *next = strtod(end, NULL);
    mem_free(text);
    return limit;
}

static void read_group(const struct hierarchy *h, const char *dir, struct cgroup_limits *l)
{
    double quota, period = 0;
    if (h->memory) {
        double bytes = read_limit(dir, h->v2 ? "memory.max" : "memory.limit_in_bytes", NULL);
        l->memory_bytes = fmin(l->memory_bytes, bytes);
    }
    if (!h->cpu) return;
    if (h->v2) {
        quota = read_limit(dir, "cpu.max", &period);
    } else {
        quota = read_limit(dir, "cpu.cfs_quota_us", NULL);
        period = read_limit(dir, "cpu.cfs_period_us", NULL);
    }
    if (period > 0 && period < NO_LIMIT) l->cpus = fmin(l->cpus, quota / period);
}

/* From the process's group up to the mount point. A folder on the way that is not there is passed
 * over, as its files cannot be read. */
static void read_hierarchy(const char *top, const struct hierarchy *h, struct cgroup_limits *l)
{
    char dir[PATH_MAX];
    const char *below = "";
    size_t n = strcmp(h->root, "/") == 0 ? 0 : strlen(h->root);
    if (!h->group) return;
    if (strncmp(h->group, h->root, n) == 0 && (h->group[n] == '/' || !h->group[n]) &&
        !strstr(h->group, "/.."))
        below = h->group + n;
    int mount = snprintf(dir, sizeof(dir), "%s%s", top, h->mount);
    if (mount + strlen(below) >= sizeof(dir)) return;
    snprintf(dir + mount, sizeof(dir) - (size_t)mount, "%s", below);
    for (;;) {
        read_group(h, dir, l);
        char *slash = strrchr(dir + mount, '/');
        if (!slash) return;
        *slash = '\0';
    }
}

/* Is the word one of a comma-separated list? */
static bool list_has(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *s = list; s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL)
        if (strncmp(s, word, n) == 0 && (s[n] == '\0' || s[n] == ',')) return true;
    return false;
}

/* The path of the group of a controller ("": of version 2), in *a; NULL: none. */
static const char *group_of(const char *groups, const char *controller, struct arena *a)
{
    char *rest = arena_strdup(a, groups), *line;
    while ((line = strsep(&rest, "\n"))) {
        strsep(&line, ":");
        char *list = strsep(&line, ":");
        if (line && (*controller ? list_has(list, controller) : !*list)) return line;
    }
    return NULL;
}

/* mountinfo writes a space, tab, line end and backslash of a path as three octal digits. */
static void unescape(char *path)
{
    char *to = path;
    for (const char *s = path; *s; to++) {
        bool escaped = s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3];
        *to = escaped ? (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0')) : *s;
        s += escaped ? 4 : 1;
    }
    *to = '\0';
}

/* "ID PARENT MAJOR:MINOR ROOT MOUNT OPTIONS [TAG ...] - TYPE SOURCE SUPER-OPTIONS" */
static void read_mount(const char *top, char *line, const char *groups, struct arena *a,
                       struct cgroup_limits *l)
{
    char *fields[5];
    for (int i = 0; i < 5; i++)
        if (!(fields[i] = strsep(&line, " ")) || !line) return;
    char *tail = strstr(line, " - ");
    if (!tail) return;
    tail += 3;
    const char *type = strsep(&tail, " ");
    strsep(&tail, " ");
    unescape(fields[3]);
    unescape(fields[4]);
    struct hierarchy h = {.root = fields[3], .mount = fields[4]};
    if (strcmp(type, "cgroup2") == 0) {
        h.v2 = h.cpu = h.memory = true;
        h.group = group_of(groups, "", a);
        read_hierarchy(top, &h, l);
    } else if (strcmp(type, "cgroup") == 0 && tail) {
        h.cpu = list_has(tail, "cpu");
        h.memory = list_has(tail, "memory");
        h.group = h.cpu || h.memory ? group_of(groups, h.cpu ? "cpu" : "memory", a) : NULL;
        read_hierarchy(top, &h, l);
    }
}

struct cgroup_limits cgroup_limits(const char *top)
{
    struct cgroup_limits l = {INFINITY, INFINITY};
    struct arena a = {0};
    char *groups = NULL, *mounts = NULL, *rest, *line;
    size_t size;
    const size_t most = (size_t)16 << 20;
    if (file_read(arena_printf(&a, "%s/proc/self/cgroup", top), most, &groups, &size, NULL) == 0 &&
        file_read(arena_printf(&a, "%s/proc/self/mountinfo", top), most, &mounts, &size, NULL) == 0)
        for (rest = mounts; (line = strsep(&rest, "\n"));)
            read_mount(top, line, groups, &a, &l);
    mem_free(groups);
    mem_free(mounts);
    arena_fini(&a);
    return l;
}
