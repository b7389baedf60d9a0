/* plan_read.c: a plan: which model, cluster, site, software, batch, tokens and layout.
 *
 * Each part is a name, a file, or written out in place, so that one file can say everything. A run
 * file of `colossus train` is a plan too: its model, batch and tokens, on this machine where it was
 * measured, else on the laptop of the presets.
 * The batch and tokens of a run file also serve a plan that names it as its model. */
#include "plan/read/plan_read_internal.h"
#include "plan/step/plan_local_internal.h"

#include <string.h>

static void add_note(const struct yaml_reader *r, struct plan_request *out, const char *note)
{
    if (note && out->n_notes < PLAN_MAX_NOTES)
        out->notes[out->n_notes++] = arena_strdup(r->arena, note);
}

static int read_batch(const struct yaml_reader *r, const struct yaml_node *root,
                      const struct plan_model_extra *extra, struct plan_batch *out)
{
    const struct yaml_node *node = yaml_get(root, "batch");
    bool based = extra->batch.global_batch > 0;
    *out = extra->batch;
    if (node) return yaml_bind(r, &plan_batch_section, node, based, out, NULL);
    if (based) return 0;
    return yaml_wrong_row(r, root, section_find(&plan_request_section, "batch"),
                          "'batch' is missing");
}

int plan_read_tokens(const struct yaml_reader *r, const struct option *f,
                     const struct yaml_node *node, void *target)
{
    struct plan_request *out = target;
    if (node->kind == YAML_KIND_SCALAR && strcmp(node->text, "compute-optimal") == 0) return 0;
    TRY(yaml_bind_figure(r, f, node, &out->tokens));
    if (out->tokens.mid < 1 || out->tokens.low < 1)
        return yaml_wrong_row(r, node, f, "'tokens' must be at least 1");
    out->tokens_from = "given";
    return 0;
}

static int unknown_module(const struct yaml_reader *r, const struct option *f,
                          const struct yaml_node *at)
{
    const char *names[PLAN_MODULE_NAMES], *text = at->kind == YAML_KIND_SCALAR ? at->text : "";
    size_t n = 0;
    for (; n < ARRAY_LEN(names) && plan_module_names[n].name; n++)
        names[n] = plan_module_names[n].name;
    const char *near = name_nearest(text, names, n);
    yaml_wrong_row(r, at, f, "'recompute_modules' knows no module '%.60s'", text);
    return near ? error_hint(r->e, "did you mean '%s'?", near) : r->e->code;
}

int plan_read_modules(const struct yaml_reader *r, const struct option *f,
                      const struct yaml_node *node, void *target)
{
    struct plan_software *out = target;
    out->modules = 0;
    if (node->kind == YAML_KIND_SCALAR) {
        out->modules = plan_modules_parse(node->text);
        if (out->modules) return 0;
    }
    for (size_t i = 0; node->kind == YAML_KIND_LIST && i < node->count; i++) {
        const struct yaml_node *item = node->items[i];
        unsigned one = item->kind == YAML_KIND_SCALAR ? plan_modules_parse(item->text) : 0;
        if (!one) return unknown_module(r, f, item);
        out->modules |= one;
    }
    if (node->kind == YAML_KIND_SCALAR && *node->text) return unknown_module(r, f, node);
    if (out->modules) return 0;
    return yaml_wrong_row(r, node, f, "'recompute_modules' is a list of modules");
}

/* Those of a run file, where the plan has none of its own. */
static void take_tokens(const struct plan_model_extra *extra, struct plan_request *out)
{
    double n = extra->tokens;
    if (n <= 0) return;
    out->tokens = (struct figure){n, n, n, 'A', "run file"};
    out->tokens_from = "given";
}

/* Numbers that are not given stay free for the search: 0, and -1 where 0 is a choice. */
static int read_layout(const struct yaml_reader *r, const struct yaml_node *root,
                       struct plan_request *out)
{
    const struct option *f = section_find(&plan_request_section, "layout");
    const struct yaml_node *node = yaml_get(root, "layout");
    out->layout = (struct plan_layout){.zero = -1, .recompute = -1, .precision = -1};
    out->search = true;
    if (!node || yaml_is_null(node)) return 0;
    if (node->kind == YAML_KIND_SCALAR) {
        if (strcmp(node->text, "auto") == 0) return 0;
        return yaml_wrong_row(r, node, f, "'layout' is auto or a section, not '%.40s'", node->text);
    }
    TRY(yaml_bind(r, &plan_layout_section, node, true, &out->layout, NULL));
    out->search = false;
    for (size_t i = 0; i < plan_layout_section.n_rows; i++)
        if (!yaml_get(node, plan_layout_section.rows[i].name)) out->search = true;
    return 0;
}

/* A layout of one number, everything else as it suits that number best. */
static void alone(const char *key, int32_t value, struct plan_layout *l, struct plan_batch *b)
{
    *l = (struct plan_layout){1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0};
    const struct option *f = section_find(&plan_layout_section, key);
    *(int32_t *)(void *)((char *)l + f->offset) = value;
    if (strcmp(key, "vp") == 0 && value > 1) l->pp = 2;
    if (strcmp(key, "ep") == 0 || strcmp(key, "etp") == 0)
        l->dp = value; /* ranks for the experts */
    if (strcmp(key, "dp") != 0 && strcmp(key, "micro_batch") != 0)
        b->global_batch = (int64_t)l->dp * l->pp;
}

/* The hint of another error, which may say "for example" already. */
static int hint_searched(const struct yaml_reader *r, const struct error *why, const char *more)
{
    size_t n = strlen("for example ");
    const char *what = why->hint + (strncmp(why->hint, "for example ", n) ? 0 : n);
    return error_hint(r->e, "for example %s; %s", what, more);
}

/* Numbers that are given must leave the search a layout: each by itself, and what multiplies. */
static int check_given(const struct yaml_reader *r, const struct yaml_node *root,
                       const struct plan_request *p)
{
    static const char *const keys[] = {"tp", "pp", "cp", "ep", "etp", "dp", "micro_batch", "vp"};
    const struct yaml_node *layout = yaml_find(root, "layout");
    const struct plan_layout *given = &p->layout;
    const int64_t n = machine_cluster_accelerators(&p->cluster);
    struct error local = {0};
    struct plan_layout l;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const struct option *f = section_find(&plan_layout_section, keys[i]);
        int32_t value = *(const int32_t *)(const void *)((const char *)given + f->offset);
        struct plan_batch b = p->batch;
        if (value < 1 || (strcmp(keys[i], "etp") == 0 && p->model.n_experts <= 1)) continue;
        alone(keys[i], value, &l, &b);
        if (plan_layout_check(&l, &p->model, &b, n, &local) >= 0) continue;
        yaml_wrong(r, yaml_find(layout, keys[i]), "'%s' of layout: %s", keys[i], local.text);
        return hint_searched(r, &local, "left out, it is searched");
    }
    l = (struct plan_layout){.ep = 1, .etp = 1, .vp = 1};
    l.tp = MAX(given->tp, 1);
    l.pp = MAX(given->pp, 1);
    l.cp = MAX(given->cp, 1);
    l.dp = MAX(given->dp, 1);
    l.micro_batch = MAX(given->micro_batch, 1);
    int rc = plan_layout_check(&l, &p->model, &p->batch, n, &local);
    l.zero = MAX(given->zero, 0);
    l.vp = MAX(given->vp, 1);
    if (rc >= 0) rc = plan_layout_check_stack(&l, &p->batch, &p->software, &local);
    if (rc >= 0) return 0;
    yaml_wrong(r, layout, "layout: %s", local.text);
    return hint_searched(r, &local, "what is left out is searched");
}

/* A layout that is wholly given must be one; of what is given in part, the search finds the rest. */
static int check_layout(const struct yaml_reader *r, const struct yaml_node *root,
                        const struct plan_request *p)
{
    struct error local = {0};
    if (p->search) return check_given(r, root, p);
    int64_t n = machine_cluster_accelerators(&p->cluster);
    if (plan_layout_check(&p->layout, &p->model, &p->batch, n, &local) >= 0 &&
        plan_layout_check_stack(&p->layout, &p->batch, &p->software, &local) >= 0)
        return 0;
    yaml_wrong(r, yaml_find(root, "layout"), "layout: %s", local.text);
    return error_hint(r->e, "%s", local.hint[0] ? local.hint : "for example layout: auto");
}

/* What is asked of the software, and what of it a step does not know. */
static int check_software(const struct yaml_reader *r, const struct yaml_node *root,
                          struct plan_request *out)
{
    const struct plan_software *s = &out->software;
    const int recompute = out->layout.recompute;
    if (s->modules && recompute >= 0 && recompute != PLAN_RECOMPUTE_SELECTIVE)
        return yaml_wrong_row(r, yaml_find(root, "layout.recompute"),
                              section_find(&plan_layout_section, "recompute"),
                              "'recompute_modules' are those of selective recomputation");
    if (s->token_drop == PLAN_DROP_YES)
        add_note(r, out, "token_drop: the step is that of an even load without it");
    if (s->fp8_recipe == PLAN_FP8_BLOCK)
        add_note(r, out, "fp8_recipe block: the step is that of tensorwise scales");
    return 0;
}

static int read_part_names(const struct yaml_reader *r, const struct yaml_node *root,
                           struct plan_request *out)
{
    const char *name = preset_name_of_path(r->arena, r->path);
    if (!*out->name) out->name = name;
    if (!*out->title)
        out->title = arena_printf(r->arena, "%s on %s", out->model.name, out->cluster.title);
    out->path = arena_strdup(r->arena, r->path);
    TRY(check_software(r, root, out));
    return check_layout(r, root, out);
}

static int read_site_of(const struct yaml_reader *r, const struct yaml_node *root,
                        struct plan_request *out)
{
    struct yaml_node fallback = YAML_SCALAR(section_find(&plan_request_section, "site")->fallback);
    const struct yaml_node *site = yaml_get(root, "site");
    if (!site) add_note(r, out, "no site is given: the mean of the United States, us-average");
    return machine_read_site(r, site ? site : &fallback, &out->site);
}

static int read_software(const struct yaml_reader *r, const struct yaml_node *node,
                         struct plan_software *out)
{
    struct error local = {0};
    TRY(yaml_bind(r, &plan_software_section, node, false, out, NULL));
    if (plan_generation_check(out->generation, &local) >= 0) return 0;
    return yaml_wrong_row(r, yaml_find(node, "generation"),
                          section_find(&plan_software_section, "generation"), "%s", local.text);
}

static int read_plan(const struct yaml_reader *r, const struct yaml_node *root,
                     struct plan_request *out)
{
    struct plan_model_extra extra = {0};
    memset(out, 0, sizeof(*out));
    section_defaults(&plan_request_section, out);
    section_defaults(&plan_software_section, &out->software);
    out->tokens_from = "";
    TRY(yaml_bind(r, &plan_request_section, root, false, out, NULL));
    TRY(plan_read_model(r, yaml_get(root, "model"), &out->model, &extra));
    TRY(machine_read_cluster(r, yaml_get(root, "cluster"), &out->cluster));
    TRY(read_site_of(r, root, out));
    const struct yaml_node *software = yaml_get(root, "software");
    if (software) TRY(read_software(r, software, &out->software));
    TRY(read_batch(r, root, &extra, &out->batch));
    if (!yaml_get(root, "tokens")) take_tokens(&extra, out);
    out->software.muon_steps = extra.run.muon_steps;
    out->stack_asked = software && yaml_get(software, "stack");
    TRY(plan_settle(out, r->arena, r->e));
    TRY(read_layout(r, root, out));
    if (out->power_cap > 0 && out->power_cap < 0.4) /* below it the model of the clock is a guess */
        return yaml_wrong_row(
            r, yaml_find(root, "power_cap"), section_find(&plan_request_section, "power_cap"),
            "'power_cap' is %.3g, but must be 0 or from 0.4 to 1", out->power_cap);
    add_note(r, out, extra.note);
    return read_part_names(r, root, out);
}

static int check_run_batch(const struct yaml_reader *r, const struct yaml_node *root,
                           const struct plan_model_extra *extra)
{
    if (extra->batch.global_batch > 0) return 0;
    return yaml_wrong_row(r, root, section_find(&plan_request_section, "batch"),
                          "'batch' is missing: this is a model, not a plan");
}

/* As `colossus train` will cut it: nothing is left to a search. `precision: auto` is bf16 where the
 * processor multiplies it at full speed and it was measured. */
static void take_run_layout(const struct plan_model_extra *extra, struct plan_request *out,
                            struct arena *a)
{
    const struct plan_local *l = out->software.local;
    struct plan_layout *asked = arena_alloc(a, sizeof *asked);
    bool fast = !l->estimated && compute_has_fast_bf16() && plan_local_check(l, true, NULL) >= 0;
    out->layout = (struct plan_layout){.tp = 1, .pp = 1, .cp = 1, .ep = 1, .etp = 1, .dp = 1};
    out->layout.vp = 1;
    out->layout.micro_batch = (int32_t)extra->run.micro_batch;
    out->layout.recompute = extra->run.recompute;
    /* The laptop that stands in computes in fp32 only; add_run_notes says so. */
    out->layout.precision = l->estimated                ? MACHINE_FP32
                            : extra->run.precision >= 0 ? extra->run.precision
                            : fast                      ? MACHINE_BF16
                                                        : MACHINE_FP32;
    out->search = false;
    *asked = (struct plan_layout){.micro_batch = out->layout.micro_batch, .zero = -1};
    asked->recompute = asked->precision = -1;
    out->asked = asked; /* another batch is cut as this one */
}

static void add_run_notes(const struct yaml_reader *r, const struct plan_model_extra *extra,
                          bool measured, struct plan_request *out)
{
    const struct plan_local *l = out->software.local;
    const int64_t vocab = out->model.vocab_size;
    int threads = l->machine[out->layout.precision == MACHINE_BF16].threads;
    add_note(r, out,
             measured ? "a run file of `colossus train`: planned on this machine, as measured"
                      : "this machine is not measured: planned on the laptop of the presets, by "
                        "estimates that may be off by a factor of two; `colossus bench-machine` "
                        "measures it in a minute");
    if (extra->run.precision == MACHINE_BF16 && out->layout.precision == MACHINE_FP32)
        add_note(r, out, "the run computes in bf16, which that laptop does not: planned in fp32");
    if (extra->run.dp * extra->run.tp * extra->run.pp > 1)
        add_note(
            r, out,
            "the run is of several ranks and this page of one process: `colossus plan validate "
            "--local RUN` predicts its ranks");
    add_note(r, out, plan_read_measured(extra->run.folder, extra->note != NULL, out, r->arena));
    if (out->model.vocab_size == vocab) add_note(r, out, extra->note);
    if (measured && extra->run.threads > 0 && extra->run.threads != threads)
        add_note(r, out,
                 arena_printf(r->arena, "the run is given %lld threads, and %d were measured",
                              (long long)extra->run.threads, threads));
}

/* `colossus train` runs on the machine at hand: an accelerator `local` where `colossus bench-machine`
 * has described it, else the laptop. */
static int read_run_as_plan(const struct yaml_reader *r, const struct yaml_node *root,
                            struct plan_request *out)
{
    struct plan_model_extra extra;
    struct yaml_node laptop = YAML_SCALAR("laptop"), local = YAML_SCALAR("1 x local");
    memset(out, 0, sizeof(*out));
    section_defaults(&plan_request_section, out);
    section_defaults(&plan_software_section, &out->software);
    out->tokens_from = "";
    TRY(plan_read_run_file(r, root, &out->model, &extra));
    TRY(check_run_batch(r, root, &extra));
    bool measured = preset_exists(r, "accelerators", "local");
    TRY(machine_read_cluster(r, measured ? &local : &laptop, &out->cluster));
    TRY(machine_read_site(r, &laptop, &out->site));
    out->software.muon_steps = extra.run.muon_steps;
    TRY(plan_settle(out, r->arena, r->e));
    if (!out->software.local) {
        error_set_code(r->e, ERROR_CONFIG, "the accelerator 'local' does not say its operations");
        return error_hint(r->e, "colossus bench-machine measures this machine anew");
    }
    out->batch = extra.batch;
    take_tokens(&extra, out);
    take_run_layout(&extra, out, r->arena);
    add_run_notes(r, &extra, measured, out);
    const char *name = preset_name_of_path(r->arena, r->path);
    if (!*out->name) out->name = name;
    out->title =
        arena_printf(r->arena, "%s on %s", out->model.name, measured ? "this machine" : "a laptop");
    out->path = arena_strdup(r->arena, r->path);
    TRY(plan_local_check(out->software.local, out->layout.precision == MACHINE_BF16, r->e));
    return 0;
}

int plan_read_root(const struct yaml_reader *r, const struct yaml_node *root,
                   struct plan_request *out)
{
    const struct yaml_node *nested;
    TRY(yaml_nested(r, root, &nested));
    if (plan_is_run_file(nested)) return read_run_as_plan(r, nested, out);
    return read_plan(r, root, out);
}

int plan_load(const char *path, struct arena *a, struct plan_request *out, struct error *e)
{
    struct error local;
    struct yaml_reader r = yaml_reader_from(NULL, a, e, &local), child;
    struct yaml_node *root;
    if (file_exists(path) && !file_is_dir(path)) {
        child = (struct yaml_reader){arena_strdup(a, path), a, r.e, 1};
        TRY(preset_read_yaml(path, a, &root, r.e));
    } else {
        TRY(preset_open(&r, &plan_request_section, path, NULL, &child, &root));
    }
    return plan_read_root(&child, root, out);
}
