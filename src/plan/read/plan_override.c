/* plan_override.c: one input of a plan changed by name, as `--gpus 4096` and sweeps do.
 *
 * A change may make the plan's own layout impossible, so what divides by the old number is searched
 * again: another number of accelerators, another kind, model or batch forget the layout but for its
 * precision (and that, too, where the accelerators do not compute in it) and for what options ask
 * for; one factor that is asked for keeps the others that the plan gives, and tp, pp and cp free the
 * dp of the file; stack and generation keep the layout. The value that a plan has already changes
 * nothing. What was changed is told with the title. */
#include "plan/read/plan_read_internal.h"
#include "plan/step/plan_step_internal.h"

#include <math.h>
#include <string.h>

struct override_context {
    struct plan_request *r;
    struct arena *a;
    struct error *e;
};

struct override_key { /* one of plan_input_names */
    const char *example;
    int (*set)(const struct override_context *c, const struct override_key *key, const char *text);
    size_t offset; /* of a number, within struct plan_layout or struct plan_batch */
    double min, max;
};

static const char *name_of(const struct override_key *key);

static int bad_value(const struct override_context *c, const struct override_key *key,
                     const char *text)
{
    error_set_code(c->e, ERROR_USAGE, "'%s' is no value for %s", text, name_of(key));
    return error_hint(c->e, "for example %s=%s", name_of(key), key->example);
}

static int beyond(const struct override_context *c, const struct override_key *key,
                  const char *text)
{
    char low[32], high[32];
    error_set_code(c->e, ERROR_USAGE, "'%s' is no value for %s: it is from %s to %s", text,
                   name_of(key), format_count(low, key->min), format_count(high, key->max));
    return error_hint(c->e, "for example %s=%s", name_of(key), key->example);
}

static int read_number(const struct override_context *c, const struct override_key *key,
                       const char *text, double *x)
{
    double value;
    if (parse_number(text, &value) < 0 || !isfinite(value)) return bad_value(c, key, text);
    if (value < key->min || value > key->max) return beyond(c, key, text);
    *x = value;
    return 0;
}

static int read_name(const struct override_context *c, const struct override_key *key,
                     const char *const *names, const char *text)
{
    size_t n = 0;
    for (; names[n]; n++)
        if (strcmp(names[n], text) == 0) return (int)n;
    const char *near = name_nearest(text, names, n);
    error_set_code(c->e, ERROR_USAGE, "'%s' is no value for %s", text, name_of(key));
    if (near) return error_hint(c->e, "did you mean '%s'?", near);
    char all[160] = "";
    for (size_t i = 0, used = 0; i < n && used < sizeof all; i++)
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", i ? ", " : "", names[i]);
    return error_hint(c->e, "one of %s", all);
}

static const struct plan_layout nothing = {.zero = -1, .recompute = -1, .precision = -1};

struct plan_layout plan_layout_asked(const struct plan_request *r)
{
    struct plan_layout kept = r->asked ? *r->asked : nothing;
    if (kept.precision >= 0) return kept;
    kept.precision = r->layout.precision;
    for (int64_t i = 0; i < r->cluster.n_pools && kept.precision >= 0; i++)
        if (!(r->cluster.pools[i].accelerator->peak_flops[kept.precision].mid > 0))
            kept.precision = -1;
    return kept;
}

static void forget_layout(struct plan_request *r)
{
    r->layout = plan_layout_asked(r);
    r->search = true;
}

/* The record of what is asked for, to be written to. */
static struct plan_layout *ask(const struct override_context *c)
{
    struct plan_layout *l = arena_alloc(c->a, sizeof *l);
    *l = c->r->asked ? *c->r->asked : nothing;
    c->r->asked = l;
    return l;
}

/* ------------------------------------------------------------------ the keys */

static int set_gpus(const struct override_context *c, const struct override_key *key,
                    const char *text)
{
    struct machine_cluster *cluster = &c->r->cluster;
    double n, all = (double)machine_cluster_accelerators(cluster);
    TRY(read_number(c, key, text, &n));
    if (n != floor(n)) return bad_value(c, key, text);
    if (n == all) return 0;
    *cluster = plan_cluster_scaled(cluster, (int64_t)n);
    forget_layout(c->r);
    return 0;
}

static int set_accelerator(const struct override_context *c, const struct override_key *key,
                           const char *text)
{
    struct machine_cluster *cluster = &c->r->cluster;
    struct machine_accelerator *x = arena_alloc(c->a, sizeof *x);
    (void)key;
    TRY(machine_load_accelerator(text, c->r->path, c->a, x, c->e));
    if (cluster->n_pools == 1 && strcmp(x->name, cluster->pools[0].accelerator->name) == 0)
        return 0;
    cluster->pools[0] = (struct machine_pool){x, machine_cluster_accelerators(cluster)};
    cluster->n_pools = 1;
    forget_layout(c->r);
    return 0;
}

static int set_model(const struct override_context *c, const struct override_key *key,
                     const char *text)
{
    const char *before = c->r->model.name;
    (void)key;
    TRY(plan_load_model(text, c->r->path, c->a, &c->r->model, c->e));
    if (before && strcmp(before, c->r->model.name) == 0) return 0;
    forget_layout(c->r);
    c->r->title = NULL;
    return 0;
}

static int set_cluster(const struct override_context *c, const struct override_key *key,
                       const char *text)
{
    const char *before = c->r->cluster.name;
    int64_t n = machine_cluster_accelerators(&c->r->cluster);
    (void)key;
    TRY(machine_load_cluster(text, c->r->path, c->a, &c->r->cluster, c->e));
    if (before && strcmp(before, c->r->cluster.name) == 0 &&
        machine_cluster_accelerators(&c->r->cluster) == n)
        return 0;
    forget_layout(c->r);
    c->r->title = NULL;
    return 0;
}

static int set_site(const struct override_context *c, const struct override_key *key,
                    const char *text)
{
    (void)key;
    return machine_load_site(text, c->r->path, c->a, &c->r->site, c->e);
}

static int set_tokens(const struct override_context *c, const struct override_key *key,
                      const char *text)
{
    double n = 0;
    if (strcmp(text, "optimal") != 0) TRY(read_number(c, key, text, &n));
    if (c->r->tokens.mid == n) return 0;
    c->r->tokens = (struct figure){.mid = n, .low = n, .high = n, .grade = 'A', .source = ""};
    return 0;
}

/* Whole numbers of the batch: another one forgets the layout. */
static int set_count(const struct override_context *c, const struct override_key *key,
                     const char *text)
{
    double n;
    int64_t *count = (int64_t *)(void *)((char *)&c->r->batch + key->offset);
    TRY(read_number(c, key, text, &n));
    if (n != floor(n)) return bad_value(c, key, text);
    if (*count == (int64_t)n) return 0;
    *count = (int64_t)n;
    forget_layout(c->r);
    return 0;
}

static int set_cap(const struct override_context *c, const struct override_key *key,
                   const char *text)
{
    double x = 0; /* not lowered */
    if (strcmp(text, "0") != 0 && (strchr(text, '%') || read_number(c, key, text, &x) < 0)) {
        error_set_code(c->e, ERROR_USAGE, "'%s' is no value for cap: a share from 0.4 to 1", text);
        return error_hint(c->e,
                          "for example cap=0.8: 80 %% of the accelerators' own; 0 lowers nothing");
    }
    c->r->power_cap = x == 1 ? 0 : x;
    return 0;
}

static int set_generation(const struct override_context *c, const struct override_key *key,
                          const char *text)
{
    double year;
    TRY(read_number(c, key, text, &year));
    if (plan_generation_check(year, c->e) < 0) {
        if (c->e) c->e->code = ERROR_USAGE;
        return ERROR_USAGE;
    }
    c->r->software.generation = year;
    return 0;
}

/* All that the plan gives; what options ask for holds. */
static int set_layout(const struct override_context *c, const struct override_key *key,
                      const char *text)
{
    if (strcmp(text, "auto") != 0) return bad_value(c, key, text);
    c->r->layout.precision = -1;
    forget_layout(c->r);
    return 0;
}

static int set_stack(const struct override_context *c, const struct override_key *key,
                     const char *text)
{
    int i = read_name(c, key, plan_stack_names, text);
    if (i < 0) return i;
    c->r->software.stack = i;
    return 0;
}

static int set_objective(const struct override_context *c, const struct override_key *key,
                         const char *text)
{
    int i = read_name(c, key, plan_objective_names, text);
    if (i < 0) return i;
    c->r->objective = i;
    return 0;
}

static int set_precision(const struct override_context *c, const struct override_key *key,
                         const char *text)
{
    int i = read_name(c, key, machine_precision_names, strcmp(text, "fp16") ? text : "bf16");
    if (i < 0) return i;
    ask(c)->precision = i;
    if (c->r->layout.precision != i) forget_layout(c->r);
    return 0;
}

static int set_recompute(const struct override_context *c, const struct override_key *key,
                         const char *text)
{
    int i = read_name(c, key, plan_recompute_names, text);
    if (i < 0) return i;
    c->r->layout.recompute = ask(c)->recompute = i;
    return 0;
}

/* What dp was chosen beside: another product of these leaves room for another number of replicas. */
static bool releases_dp(const struct override_key *key)
{
    return key->offset == offsetof(struct plan_layout, tp) ||
           key->offset == offsetof(struct plan_layout, pp) ||
           key->offset == offsetof(struct plan_layout, cp);
}

static int set_factor(const struct override_context *c, const struct override_key *key,
                      const char *text)
{
    double n;
    struct plan_layout *l = &c->r->layout;
    TRY(read_number(c, key, text, &n));
    if (n != floor(n)) return bad_value(c, key, text);
    int32_t before, now = (int32_t)n;
    memcpy(&before, (const char *)l + key->offset, sizeof before);
    memcpy((char *)ask(c) + key->offset, &now, sizeof now);
    if (before == now) return 0;
    if (releases_dp(key)) l->dp = c->r->asked->dp;
    memcpy((char *)l + key->offset, &now, sizeof now);
    c->r->search = true;
    return 0;
}

/* clang-format off: a table is read by its columns */
#define FACTOR(field)                                                    \
    {                                                                    \
        "8", set_factor, offsetof(struct plan_layout, field), 1, 1 << 30 \
    }
static const struct override_key keys[PLAN_N_INPUTS] = {
    [PLAN_INPUT_gpus] = {"16Ki", set_gpus, 0, 1, 1e9},
    [PLAN_INPUT_accelerator] = {"h200", set_accelerator, 0, 0, 0},
    [PLAN_INPUT_model] = {"grok-1", set_model, 0, 0, 0},
    [PLAN_INPUT_cluster] = {"colossus-1-100k", set_cluster, 0, 0, 0},
    [PLAN_INPUT_site] = {"colossus-1", set_site, 0, 0, 0},
    [PLAN_INPUT_tokens] = {"15T", set_tokens, 0, 1, 1e18},
    [PLAN_INPUT_batch] = {"2048", set_count, offsetof(struct plan_batch, global_batch), 1, 1e9},
    [PLAN_INPUT_seq_len] = {"8192", set_count, offsetof(struct plan_batch, seq_len), 1, 1e8},
    [PLAN_INPUT_cap] = {"0.8", set_cap, 0, 0.4, 1},
    [PLAN_INPUT_generation] = {"2025.5", set_generation, 0, 0, 1e4},
    [PLAN_INPUT_stack] = {"megatron", set_stack, 0, 0, 0},
    [PLAN_INPUT_by] = {"time", set_objective, 0, 0, 0},
    [PLAN_INPUT_layout] = {"auto", set_layout, 0, 0, 0},
    [PLAN_INPUT_precision] = {"bf16", set_precision, 0, 0, 0},
    [PLAN_INPUT_recompute] = {"selective", set_recompute, 0, 0, 0},
    [PLAN_INPUT_tp] = FACTOR(tp),
    [PLAN_INPUT_pp] = FACTOR(pp),
    [PLAN_INPUT_cp] = FACTOR(cp),
    [PLAN_INPUT_ep] = FACTOR(ep),
    [PLAN_INPUT_etp] = FACTOR(etp),
    [PLAN_INPUT_dp] = FACTOR(dp),
    [PLAN_INPUT_vp] = FACTOR(vp),
    [PLAN_INPUT_micro_batch] = FACTOR(micro_batch),
    [PLAN_INPUT_zero] = {"1", set_factor, offsetof(struct plan_layout, zero), 0, 3},
};
/* clang-format on */

#define PLAN_INPUT_NAME(id, name, unit, help) #id,
const char *const plan_input_names[PLAN_N_INPUTS] = {PLAN_INPUTS(PLAN_INPUT_NAME)};

static const char *name_of(const struct override_key *key)
{
    return plan_input_names[key - keys];
}

/* A description that is loaded again by its own name is no change. */
static bool differ(const struct plan_request *before, const struct plan_request *now)
{
    struct plan_request x = *before;
    x.asked = now->asked;
    bool same_size =
        machine_cluster_accelerators(&x.cluster) == machine_cluster_accelerators(&now->cluster);
    if (x.model.name && strcmp(x.model.name, now->model.name) == 0) x.model = now->model;
    if (x.site.name && strcmp(x.site.name, now->site.name) == 0) x.site = now->site;
    if (x.cluster.name && strcmp(x.cluster.name, now->cluster.name) == 0 && same_size &&
        strcmp(x.cluster.pools[0].accelerator->name, now->cluster.pools[0].accelerator->name) == 0)
        x.cluster = now->cluster;
    return memcmp(&x, now, sizeof x) != 0;
}

int plan_override(struct plan_request *r, const char *name, const char *text, struct arena *a,
                  struct error *e)
{
    const struct override_context c = {r, a, e};
    for (size_t i = 0; i < PLAN_N_INPUTS; i++) {
        const char *known = plan_input_names[i];
        size_t k = 0;
        while (name[k] && (name[k] == known[k] || (name[k] == '-' && known[k] == '_')))
            k++;
        if (name[k] != known[k]) continue;
        const struct plan_request before = *r;
        TRY(keys[i].set(&c, &keys[i], text));
        if (differ(&before, r))
            r->changed = r->changed ? arena_printf(a, "%s, %s %s", r->changed, known, text)
                                    : arena_printf(a, "%s %s", known, text);
        return 0;
    }
    const char *near = name_nearest(name, plan_input_names, PLAN_N_INPUTS);
    error_set_code(e, ERROR_USAGE, "'%s' is not an input that can be changed", name);
    if (near) return error_hint(e, "did you mean '%s'?", near);
    return error_hint(e, "for example gpus=16Ki, seq_len=32Ki, batch=2048, cap=0.8");
}
