/* machine_cluster.c: accelerators and clusters from their description files.
 *
 * Every figure keeps its range, grade and source, because the answer's uncertainty is theirs. What
 * a file leaves out is derived from what it says (power in a phase from the cap, storage from the
 * size) and graded D or A, never left at an invisible 0. After reading, figures are held against
 * each other: a slip of a prefix nearly always breaks one of these relations. */
#include "machine/machine_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Share of a figure, with its range. */
static struct figure share_of(const struct figure *f, const struct range *share, char grade,
                              const char *source)
{
    return (struct figure){f->mid * share->mid, f->mid * share->low, f->mid * share->high, grade,
                           source};
}

/* ------------------------------------------------------------------ accelerators */

static int check_order(const struct yaml_reader *r, const struct yaml_node *map,
                       const char *small_key, const struct figure *small, const char *large_key,
                       const struct figure *large)
{
    if (small->mid <= large->mid) return 0;
    const struct option *f = section_find(&machine_accelerator_section, small_key);
    return yaml_wrong_row(r, yaml_find(map, small_key), f, "'%s' %.6g is more than '%s' %.6g",
                          small_key, small->mid, large_key, large->mid);
}

static int check_accelerator(const struct yaml_reader *r, const struct yaml_node *map,
                             const struct machine_accelerator *x)
{
    bool any = false;
    for (int i = 0; i < MACHINE_N_PRECISIONS; i++) {
        char ceiling[32], peak[32];
        snprintf(ceiling, sizeof(ceiling), "ceiling_flops.%s", machine_precision_names[i]);
        snprintf(peak, sizeof(peak), "peak_flops.%s", machine_precision_names[i]);
        any = any || x->peak_flops[i].mid > 0;
        TRY(check_order(r, map, ceiling, &x->ceiling_flops[i], peak, &x->peak_flops[i]));
    }
    if (!any) {
        const struct option *f = section_find(&machine_accelerator_section, "peak_flops.bf16");
        return yaml_wrong_row(r, map, f, "'peak_flops' has no precision");
    }
    TRY(check_order(r, map, "power_compute_w", &x->power_compute_w, "power_cap_w",
                    &x->power_cap_w));
    TRY(check_order(r, map, "power_comm_w", &x->power_comm_w, "power_compute_w",
                    &x->power_compute_w));
    TRY(check_order(r, map, "power_idle_w", &x->power_idle_w, "power_comm_w", &x->power_comm_w));
    if (x->scaleup_domain > 1 && x->scaleup_bytes_per_s.mid == 0) {
        const struct option *f = section_find(&machine_accelerator_section, "scaleup_bytes_per_s");
        return yaml_wrong_row(r, yaml_find(map, "scaleup_domain"), f,
                              "'scaleup_domain' is %lld, but 'scaleup_bytes_per_s' is not given",
                              (long long)x->scaleup_domain);
    }
    return 0;
}

static int finish_accelerator(const struct yaml_reader *r, const struct yaml_node *map,
                              void *target)
{
    struct machine_accelerator *x = target;
    const struct figure *cap = &x->power_cap_w;
    if (x->power_compute_w.mid == 0)
        x->power_compute_w = share_of(cap, &machine_compute_of_cap, 'D',
                                      "as measured on an H100 (bench/bench_power.py)");
    if (x->power_comm_w.mid == 0)
        x->power_comm_w = share_of(cap, &machine_comm_of_cap, 'D',
                                   "as measured on an H100 (bench/bench_power.py)");
    if (x->power_idle_w.mid == 0)
        x->power_idle_w =
            share_of(cap, &machine_idle_of_cap, 'S', "nvidia-smi listings, H100 and B200");
    if (x->node_other_w.mid == 0)
        x->node_other_w = share_of(cap, &machine_other_of_cap, 'A', "as in HGX H100 nodes");
    if (!*x->title) x->title = x->name;
    return check_accelerator(r, map, x);
}

/* A file beside the one that names it, whichever description begins with it. */
int machine_read_operations(const struct yaml_reader *r, const struct option *f,
                            const struct yaml_node *node, void *target)
{
    struct machine_accelerator *x = target;
    if (node->kind != YAML_KIND_SCALAR)
        return yaml_wrong_row(r, node, f, "'operations' is a file, or " MACHINE_ESTIMATED);
    bool as_it_is = !*node->text || strcmp(node->text, MACHINE_ESTIMATED) == 0;
    x->operations = arena_strdup(r->arena, node->text);
    if (as_it_is || node->text[0] == '/') return 0;
    const char *slash = strrchr(r->path, '/');
    if (!slash) return 0;
    x->operations = arena_printf(r->arena, "%.*s/%s", (int)(slash - r->path), r->path, node->text);
    return 0;
}

/* A generation that computes in other formats is another one, unless the file says which. */
static void forget_family(const struct yaml_node *map, void *target)
{
    if (yaml_get(map, "peak_flops"))
        ((struct machine_accelerator *)target)->family = MACHINE_FAMILY_BY_PRECISION;
}

static const struct preset_kind accelerator_kind = {.section = &machine_accelerator_section,
                                                    .size = sizeof(struct machine_accelerator),
                                                    .changed = forget_family,
                                                    .finish = finish_accelerator};

int machine_read_accelerator(const struct yaml_reader *r, const struct yaml_node *node,
                             struct machine_accelerator *out)
{
    return preset_read(r, &accelerator_kind, node, out, NULL);
}

int machine_load_accelerator(const char *name, const char *from, struct arena *a,
                             struct machine_accelerator *out, struct error *e)
{
    return preset_load(&accelerator_kind, name, from, a, out, e);
}

/* ------------------------------------------------------------------ clusters */

static int read_pool(const struct yaml_reader *r, const struct yaml_node *map,
                     struct machine_pool *pool)
{
    TRY(yaml_bind(r, &machine_pool_section, map, false, pool, NULL));
    struct machine_accelerator *x = arena_alloc(r->arena, sizeof(*x));
    TRY(machine_read_accelerator(r, yaml_get(map, "accelerator"), x));
    pool->accelerator = x;
    return 0;
}

int machine_read_pools(const struct yaml_reader *r, const struct option *f,
                       const struct yaml_node *node, void *target)
{
    struct machine_cluster *c = target;
    if (node->kind != YAML_KIND_LIST || node->count < 1 || node->count > MACHINE_MAX_POOLS)
        return yaml_wrong_row(r, node, f, "'pools' is a list of 1 to %d pools", MACHINE_MAX_POOLS);
    c->n_pools = 0;
    for (size_t i = 0; i < node->count; i++) {
        memset(&c->pools[i], 0, sizeof(c->pools[i]));
        TRY(read_pool(r, node->items[i], &c->pools[i]));
        c->n_pools++;
    }
    return 0;
}

static int finish_cluster(const struct yaml_reader *r, const struct yaml_node *map, void *target)
{
    (void)r, (void)map;
    struct machine_cluster *c = target;
    double n = (double)machine_cluster_accelerators(c);
    /* radix-128 switches: k^2/2 hosts in two layers, k^3/4 in three */
    if (c->fabric_tiers == 0) c->fabric_tiers = n <= 8192 ? 2 : 3;
    if (c->storage_read_bytes_per_s.mid == 0)
        c->storage_read_bytes_per_s = c->storage_write_bytes_per_s;
    if (!*c->title) c->title = c->name;
    return 0;
}

/* Another size: what followed from it follows anew. */
static void resize_cluster(const struct yaml_node *map, void *target)
{
    struct machine_cluster *c = target;
    if (!yaml_get(map, "pools")) return;
    c->storage_write_bytes_per_s.mid = c->storage_read_bytes_per_s.mid = 0;
    c->fabric_tiers = 0;
}

static const struct preset_kind cluster_kind = {.section = &machine_cluster_section,
                                                .size = sizeof(struct machine_cluster),
                                                .changed = resize_cluster,
                                                .finish = finish_cluster};

/* "1024 x h100": a cluster of one kind, everything else at its default. */
static bool split_shorthand(const char *text, int64_t *count, const char **name)
{
    double value = 0;
    const char *s = text;
    if (!isdigit((unsigned char)text[0])) return false;
    for (; isdigit((unsigned char)*s) || *s == ',' || *s == '_'; s++)
        if (isdigit((unsigned char)*s)) value = 10 * value + (*s - '0');
    s += strspn(s, " ");
    if (*s++ != 'x') return false;
    s += strspn(s, " ");
    *count = value >= 1 && value <= 1e8 ? (int64_t)value : 0;
    *name = s;
    return *s != 0;
}

static int read_shorthand(const struct yaml_reader *r, const struct yaml_node *node, int64_t count,
                          const char *name, struct machine_cluster *out)
{
    if (count == 0) {
        yaml_wrong(r, node, "cluster '%.80s': the count must be 1 to 1e8", node->text);
        return error_hint(r->e, "for example cluster: 1024 x h100");
    }
    struct yaml_node named = *node;
    named.text = arena_strdup(r->arena, name);
    struct machine_accelerator *x = arena_alloc(r->arena, sizeof(*x));
    TRY(machine_read_accelerator(r, &named, x));
    memset(out, 0, sizeof(*out));
    section_defaults(&machine_cluster_section, out);
    out->pools[0] = (struct machine_pool){x, count};
    out->n_pools = 1;
    out->name = arena_strdup(r->arena, node->text);
    out->title = arena_printf(r->arena, "%lld %s", (long long)count, x->title);
    out->domains_as_needed = machine_cluster_counts_used(out);
    return finish_cluster(r, node, out);
}

/* "16k x h100": the count as a number of another form. */
static bool split_prefixed(const char *text, double *count, const char **name)
{
    const char *times = strstr(text, " x ");
    char prefix[32];
    if (!times || !isdigit((unsigned char)*text) || !isalpha((unsigned char)times[3])) return false;
    if (times - text >= (ptrdiff_t)sizeof(prefix)) return false;
    snprintf(prefix, sizeof(prefix), "%.*s", (int)(times - text), text);
    *name = times + 3;
    return parse_number(prefix, count) >= 0;
}

/* "1024 h200", "1024*h200", "h200 x 1024", "1024": nearly the shorthand. NULL: nothing like it. */
static const char *near_shorthand(struct arena *a, const char *text)
{
    size_t digits = strspn(text, "0123456789,_"), n = strlen(text), tail = n;
    const char *of;
    double count;
    if (split_prefixed(text, &count, &of)) return arena_printf(a, "%.0f x %s", count, of);
    if (digits > 0) {
        const char *name = text + digits;
        name += strspn(name, " \t");
        if ((name[0] == 'x' || name[0] == 'X') && (name[1] == ' ' || !name[1])) name++;
        name += strspn(name, " *");
        if (!isalpha((unsigned char)*name))
            return arena_printf(a, "%.*s x h100", (int)digits, text);
        return arena_printf(a, "%.*s x %s", (int)digits, text, name);
    }
    while (tail > 0 && isdigit((unsigned char)text[tail - 1]))
        tail--;
    for (digits = tail; tail > 0 && text[tail - 1] == ' ';)
        tail--;
    if (digits == n || tail < 3 || strncmp(text + tail - 2, " x", 2) != 0) return NULL;
    return arena_printf(a, "%s x %.*s", text + digits, (int)tail - 2, text);
}

static int not_shorthand(const struct yaml_reader *r, const struct yaml_node *node,
                         const char *near)
{
    yaml_wrong(r, node, "there is no cluster '%.80s', and COUNT x ACCELERATOR is written otherwise",
               node->text);
    return error_hint(r->e, "did you mean '%.80s'? for example cluster: %.80s", near, near);
}

int machine_read_cluster(const struct yaml_reader *r, const struct yaml_node *node,
                         struct machine_cluster *out)
{
    int64_t count;
    double written;
    const char *name;
    if (node->kind != YAML_KIND_SCALAR) return preset_read(r, &cluster_kind, node, out, NULL);
    if (split_shorthand(node->text, &count, &name))
        return read_shorthand(r, node, count, name, out);
    if (split_prefixed(node->text, &written, &name) && !(written >= 1 && written <= 1e8))
        return read_shorthand(r, node, 0, name, out);
    const char *near = near_shorthand(r->arena, node->text);
    if (near && !strchr(node->text, '/') && !strstr(node->text, ".y") &&
        !preset_exists(r, "clusters", node->text))
        return not_shorthand(r, node, near);
    return preset_read(r, &cluster_kind, node, out, NULL);
}

bool machine_cluster_counts_used(const struct machine_cluster *c)
{
    for (int64_t i = 0; i < c->n_pools; i++)
        if (c->pools[i].count % MAX(c->pools[i].accelerator->scaleup_domain, 1)) return true;
    return false;
}

int64_t machine_cluster_accelerators(const struct machine_cluster *c)
{
    int64_t n = 0;
    for (int64_t i = 0; i < c->n_pools; i++)
        n += c->pools[i].count;
    return n;
}

int machine_load_cluster(const char *name, const char *from, struct arena *a,
                         struct machine_cluster *out, struct error *e)
{
    struct error local;
    struct yaml_reader r = yaml_reader_from(from, a, e, &local);
    struct yaml_node node = YAML_SCALAR(name);
    int64_t count;
    const char *kind;
    if (split_shorthand(name, &count, &kind)) return read_shorthand(&r, &node, count, kind, out);
    return preset_load(&cluster_kind, name, from, a, out, e);
}
