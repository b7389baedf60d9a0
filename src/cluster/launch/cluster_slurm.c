/* cluster_slurm.c: what Slurm says of an allocation, by its environment alone.
 *
 * The nodes come as a list that is folded together: "n[1-3,07-09],login2". A number with leading zeros
 * keeps its width. */
#include "cluster/cluster_internal.h"

#include <stdlib.h>
#include <string.h>

#define NODES_MAX     65536
#define NODE_NAME_MAX 256 /* bytes of a name */

struct hosts {
    struct arena *arena;
    const char **names;
    size_t n, cap;
};

static int add_host(struct hosts *h, const char *name, struct error *e)
{
    if (h->n == NODES_MAX || strlen(name) >= NODE_NAME_MAX)
        return error_set(e, "a list of nodes is too long");
    if (h->n == h->cap) {
        const char **more = arena_alloc(h->arena, MAX(2 * h->cap, (size_t)16) * sizeof(*more));
        if (h->n) memcpy(more, h->names, h->n * sizeof(*more));
        h->cap = MAX(2 * h->cap, (size_t)16);
        h->names = more;
    }
    h->names[h->n++] = name;
    return 0;
}

/* Digits of a number below 10^9; their count, 0: none. */
static size_t read_number(const char *text, int64_t *out)
{
    size_t n = strspn(text, "0123456789");
    *out = 0;
    if (n > 9) return 0;
    for (size_t i = 0; i < n; i++)
        *out = 10 * *out + (text[i] - '0');
    return n;
}

/* "1-3,07" between brackets, each behind `before` and in front of what stands behind the bracket. */
static int expand_ranges(struct hosts *h, const char *before, size_t n_before, const char **at,
                         struct error *e)
{
    const char *close = strchr(*at, ']');
    if (!close) return error_set(e, "a '[' of a list of nodes is not closed");
    size_t n_after = strcspn(close + 1, ",[");
    if (close[1 + n_after] == '[')
        return error_set(e, "a node with two numbers in its name is not understood");
    for (const char *p = *at; p < close;) {
        int64_t first, last;
        size_t width = read_number(p, &first);
        if (width == 0) return error_set(e, "'%.20s' of a list of nodes is no number", p);
        p += width;
        last = first;
        if (*p == '-') {
            size_t n = read_number(p + 1, &last);
            if (n == 0 || last < first || last - first >= NODES_MAX)
                return error_set(e, "'%.20s' of a list of nodes is no range", p);
            p += 1 + n;
        }
        if (p < close && *p++ != ',') return error_set(e, "'%.20s' is no list of nodes", p - 1);
        for (int64_t i = first; i <= last; i++)
            TRY(add_host(h,
                         arena_printf(h->arena, "%.*s%0*lld%.*s", (int)n_before, before, (int)width,
                                      (long long)i, (int)n_after, close + 1),
                         e));
    }
    *at = close + 1 + n_after;
    return 0;
}

int cluster_expand_nodes(const char *list, struct arena *a, const char ***names, size_t *n,
                         struct error *e)
{
    struct hosts h = {.arena = a};
    for (const char *at = list; *at;) {
        size_t name = strcspn(at, ",[");
        const char *before = at;
        at += name;
        if (*at == '[') {
            at++;
            TRY(expand_ranges(&h, before, MIN(name, (size_t)NODE_NAME_MAX), &at, e));
        } else {
            if (name == 0) return error_set(e, "'%.20s' is no list of nodes", before);
            TRY(add_host(&h, arena_strndup(a, before, name), e));
        }
        if (*at == ',' && !*++at) return error_set(e, "a list of nodes ends in a comma");
    }
    *names = h.names;
    *n = h.n;
    return h.n ? 0 : error_set(e, "a list of nodes is empty");
}

static int64_t env_number(const char *name, int64_t fallback)
{
    int64_t x;
    const char *text = getenv(name);
    return text && parse_int(text, &x) == 0 && x > 0 ? x : fallback;
}

int cluster_find_allocation(struct cluster_allocation *out, struct arena *a, struct error *e)
{
    const char *job = getenv("SLURM_JOB_ID"), *nodes = getenv("SLURM_JOB_NODELIST");
    *out = (struct cluster_allocation){.job = NULL};
    if (!job || !*job || !nodes || !*nodes) return 0;
    if (cluster_expand_nodes(nodes, a, &out->nodes, &out->n_nodes, e) < 0)
        return error_context(e, "SLURM_JOB_NODELIST '%.100s'", nodes);
    out->job = arena_strdup(a, job);
    out->tasks_per_node = (int)MIN(env_number("SLURM_NTASKS_PER_NODE", 1), (int64_t)4096);
    return 1;
}
