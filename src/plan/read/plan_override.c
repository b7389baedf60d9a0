/* plan_override.c: one input of a plan changed by name, as `--gpus 4096` and sweeps do.
 *
 * A change may make the plan's own layout impossible, so what divides by the old number is searched
 * again: another number of accelerators, another kind, model or batch forget the layout but for its
 * precision (and that, too, where the accelerators do not compute in it) and for what options ask
 * for; another number or batch also leave the file's ZeRO, recomputation and microbatch; one factor that is asked for keeps the others that the plan gives, and tp, pp and cp free the
 * dp of the file; stack and generation keep the layout. The value that a plan has already changes
 * nothing. What was changed is told with the title. */
#include "plan/read/plan_read_internal.h"
#include "plan/step/plan_step_internal.h"

#include <string.h>

struct change {
    struct plan_request *r;
    const struct plan_request *before; /* the change */
    const struct input *input;
    const char *text; /* the new value */
    struct arena *a;
    struct error *e;
};

struct input {         /* one of plan_input_names */
    struct option row; /* what the text is: of a field of the request, or of the setter's own */
    int (*set)(const struct change *c);
};

static int read_into(const struct change *c, void *target)
{
    return options_set(&c->input->row, c->text, target, c->a, NULL, c->e);
}

/* Another value of the row's field, with nothing that follows from it. */
static int set_field(const struct change *c)
{
    return read_into(c, c->r);
}

static bool is_new(const struct change *c, size_t size)
{
    size_t at = c->input->row.offset;
    return memcmp((const char *)c->before + at, (const char *)c->r + at, size) != 0;
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

/* Another size: how memory is saved, and what a microbatch is, stay the file's where that divides. */
static void forget_numbers(struct plan_request *r)
{
    const struct plan_layout file = r->layout;
    struct plan_layout *l = &r->layout;
    forget_layout(r);
    if (l->zero < 0) l->zero = file.zero;
    if (l->recompute < 0) l->recompute = file.recompute;
    if (l->micro_batch == 0 && file.micro_batch > 0 &&
        r->batch.global_batch % file.micro_batch == 0)
        l->micro_batch = file.micro_batch;
}

/* The record of what is asked for, to be written to. */
static struct plan_layout *ask(const struct change *c)
{
    struct plan_layout *l = arena_alloc(c->a, sizeof *l);
    *l = c->r->asked ? *c->r->asked : nothing;
    c->r->asked = l;
    return l;
}

/* ------------------------------------------------------------------ the inputs */

static int set_gpus(const struct change *c)
{
    struct machine_cluster *cluster = &c->r->cluster;
    int64_t n;
    TRY(read_into(c, &n));
    if (n == machine_cluster_accelerators(cluster)) return 0;
    *cluster = plan_cluster_scaled(cluster, n);
    c->r->title = NULL; /* it names the number of the file */
    forget_numbers(c->r);
    return 0;
}

static int set_accelerator(const struct change *c)
{
    struct machine_cluster *cluster = &c->r->cluster;
    struct machine_accelerator *x = arena_alloc(c->a, sizeof *x);
    TRY(machine_load_accelerator(c->text, c->r->path, c->a, x, c->e));
    if (cluster->n_pools == 1 && strcmp(x->name, cluster->pools[0].accelerator->name) == 0)
        return 0;
    cluster->pools[0] = (struct machine_pool){x, machine_cluster_accelerators(cluster)};
    cluster->n_pools = 1;
    c->r->title = NULL;
    forget_layout(c->r);
    return 0;
}

static int set_model(const struct change *c)
{
    const char *before = c->r->model.name;
    TRY(plan_load_model(c->text, c->r->path, c->a, &c->r->model, c->e));
    if (before && strcmp(before, c->r->model.name) == 0) return 0;
    forget_layout(c->r);
    c->r->title = NULL;
    return 0;
}

static int set_cluster(const struct change *c)
{
    const char *before = c->r->cluster.name;
    int64_t n = machine_cluster_accelerators(&c->r->cluster);
    TRY(machine_load_cluster(c->text, c->r->path, c->a, &c->r->cluster, c->e));
    if (before && strcmp(before, c->r->cluster.name) == 0 &&
        machine_cluster_accelerators(&c->r->cluster) == n)
        return 0;
    forget_layout(c->r);
    c->r->title = NULL;
    return 0;
}

static int set_site(const struct change *c)
{
    return machine_load_site(c->text, c->r->path, c->a, &c->r->site, c->e);
}

static int set_tokens(const struct change *c)
{
    struct figure tokens = {.grade = 'A', .source = ""};
    if (strcmp(c->text, "optimal") != 0) TRY(read_into(c, &tokens));
    if (c->r->tokens.mid != tokens.mid) c->r->tokens = tokens;
    return 0;
}

/* Whole numbers of the batch: another one forgets the layout. */
static int set_count(const struct change *c)
{
    TRY(set_field(c));
    if (is_new(c, sizeof(int64_t))) forget_numbers(c->r);
    return 0;
}

static int set_stack(const struct change *c)
{
    TRY(set_field(c));
    c->r->stack_asked = true;
    return 0;
}

static int set_cap(const struct change *c)
{
    double x = 0; /* not lowered */
    if (strcmp(c->text, "0") != 0 && read_into(c, &x) < 0)
        return error_hint(c->e,
                          "for example cap=0.8: 80 %% of the accelerators' own; 0 lowers nothing");
    c->r->power_cap = x == 1 ? 0 : x;
    return 0;
}

static int set_generation(const struct change *c)
{
    TRY(set_field(c));
    if (plan_generation_check(c->r->software.generation, c->e) >= 0) return 0;
    if (c->e) c->e->code = ERROR_USAGE;
    return ERROR_USAGE;
}

/* All that the plan gives; what options ask for holds. */
static int set_layout(const struct change *c)
{
    int only;
    TRY(read_into(c, &only));
    c->r->layout.precision = -1;
    forget_layout(c->r);
    return 0;
}

static int set_precision(const struct change *c)
{
    const char *text = strcmp(c->text, "fp16") ? c->text : "bf16";
    TRY(options_set(&c->input->row, text, c->r, c->a, NULL, c->e));
    ask(c)->precision = c->r->layout.precision;
    if (is_new(c, sizeof(int32_t))) forget_layout(c->r);
    return 0;
}

static int set_recompute(const struct change *c)
{
    TRY(set_field(c));
    ask(c)->recompute = c->r->layout.recompute;
    return 0;
}

static const struct input inputs[PLAN_N_INPUTS];

/* What dp was chosen beside: another product of these leaves room for another number of replicas. */
static bool releases_dp(const struct input *input)
{
    ptrdiff_t id = input - inputs;
    return id == PLAN_INPUT_tp || id == PLAN_INPUT_pp || id == PLAN_INPUT_cp;
}

static int set_factor(const struct change *c)
{
    struct plan_layout *l = &c->r->layout, *asked = ask(c);
    size_t at = c->input->row.offset - offsetof(struct plan_request, layout);
    TRY(set_field(c));
    memcpy((char *)asked + at, (const char *)l + at, sizeof(int32_t));
    if (!is_new(c, sizeof(int32_t))) return 0;
    if (releases_dp(c->input)) l->dp = asked->dp;
    c->r->search = true;
    return 0;
}

static const char *const layout_words[] = {"auto", NULL};

/* clang-format off */
#define R struct plan_request
#define APART(kind, k, ...) {.name = k, .type = kind, __VA_ARGS__}
#define WORD(k, m, words) ROW_ENUM(R, k, m, NULL, words, NULL, NULL)
#define FACTOR(m, k) {ROW_INT32(R, k, layout.m, 1, 1 << 30, "8", NULL), set_factor}
/* In APART the value is read into the setter's own variable, or the setter reads the text itself. */
static const struct input inputs[PLAN_N_INPUTS] = {
    [PLAN_INPUT_gpus] =
        {APART(OPTION_INT, "gpus", .min = 1, .max = 1e9, .example = "16Ki"), set_gpus},
    [PLAN_INPUT_accelerator] = {APART(OPTION_CUSTOM, "accelerator"), set_accelerator},
    [PLAN_INPUT_model] = {APART(OPTION_CUSTOM, "model"), set_model},
    [PLAN_INPUT_cluster] = {APART(OPTION_CUSTOM, "cluster"), set_cluster},
    [PLAN_INPUT_site] = {APART(OPTION_CUSTOM, "site"), set_site},
    [PLAN_INPUT_tokens] =
        {APART(OPTION_FIGURE, "tokens", .min = 1, .max = 1e18, .example = "15T"), set_tokens},
    [PLAN_INPUT_batch] =
        {ROW_INT(R, "batch", batch.global_batch, NULL, NULL, 1, 1e9, "2048", NULL), set_count},
    [PLAN_INPUT_seq_len] =
        {ROW_INT(R, "seq-len", batch.seq_len, NULL, NULL, 1, 1e8, "8192", NULL), set_count},
    [PLAN_INPUT_cap] = {APART(OPTION_REAL, "cap", .measures = UNIT_SHARE, .min = 0.4, .max = 1), set_cap},
    [PLAN_INPUT_headroom] =
        {{ROW_(R, "headroom", headroom, OPTION_REAL, NULL, "0.05", NULL),
          .measures = UNIT_SHARE, .min = 0, .max = 0.9},
         set_field},
    [PLAN_INPUT_generation] =
        {ROW_REAL(R, "generation", software.generation, NULL, NULL, 0, 1e4, "2025.5", NULL),
         set_generation},
    [PLAN_INPUT_stack] = {WORD("stack", software.stack, plan_stack_names), set_stack},
    [PLAN_INPUT_by] = {WORD("by", objective, plan_objective_names), set_field},
    [PLAN_INPUT_layout] = {APART(OPTION_ENUM, "layout", .choices = layout_words), set_layout},
    [PLAN_INPUT_precision] =
        {WORD("precision", layout.precision, machine_precision_names), set_precision},
    [PLAN_INPUT_recompute] =
        {WORD("recompute", layout.recompute, plan_recompute_names), set_recompute},
    [PLAN_INPUT_tp] = FACTOR(tp, "tp"),
    [PLAN_INPUT_pp] = FACTOR(pp, "pp"),
    [PLAN_INPUT_cp] = FACTOR(cp, "cp"),
    [PLAN_INPUT_ep] = FACTOR(ep, "ep"),
    [PLAN_INPUT_etp] = FACTOR(etp, "etp"),
    [PLAN_INPUT_dp] = FACTOR(dp, "dp"),
    [PLAN_INPUT_vp] = FACTOR(vp, "vp"),
    [PLAN_INPUT_micro_batch] = FACTOR(micro_batch, "micro-batch"),
    [PLAN_INPUT_zero] = {ROW_INT32(R, "zero", layout.zero, 0, 3, "1", NULL), set_factor},
};
/* clang-format on */

#define PLAN_INPUT_NAME(id, name, unit, help) #id,
const char *const plan_input_names[PLAN_N_INPUTS] = {PLAN_INPUTS(PLAN_INPUT_NAME)};

const char *const *plan_input_choices(enum plan_input input)
{
    return inputs[input].row.choices;
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
    for (size_t i = 0; i < PLAN_N_INPUTS; i++) {
        const char *known = plan_input_names[i];
        size_t k = 0;
        while (name[k] && (name[k] == known[k] || (name[k] == '-' && known[k] == '_')))
            k++;
        if (name[k] != known[k]) continue;
        const struct plan_request before = *r;
        TRY(inputs[i].set(&(struct change){r, &before, &inputs[i], text, a, e}));
        TRY(plan_settle(r, a, e));
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
