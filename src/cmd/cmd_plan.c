/* cmd_plan.c: `colossus plan`: what a training run needs before it is started, and its relatives:
 * `plan compare`, `plan sweep` and `plan validate`.
 *
 * A plan is a file; inputs that are often varied are options too. They are read as text and handed
 * to plan_override, which knows what each means, so that options and sweeps accept the same. */
#include "cmd/cmd_plan_internal.h"

#include <string.h>

/* ------------------------------------------------------------------ inputs on the command line */

struct plan_options {
    const char *inputs[PLAN_N_INPUTS]; /* first: rows of all commands share the offsets */
    bool json, keys;
    const char *html, *timeline, *svg, *over, *scenario;
    int64_t top;
};

#define AT(field) offsetof(struct plan_options, field)
/* clang-format off: commas of a table within a macro */
#define INPUT_ROW(id, name, unit, help) \
    CMD_TEXT(name, 0, inputs[PLAN_INPUT_##id], unit, NULL, help),
/* clang-format on */

/* A name that is no plan may be a command that somebody misspelt. */
static int not_loaded(const char *path, struct error *e)
{
    static const char *const commands[] = {"compare", "sweep", "validate"};
    const char *near = name_nearest(path, commands, ARRAY_LEN(commands));
    if (!near || file_exists(path) || strstr(e->hint, "did you mean")) return e->code;
    return error_hint(e, "did you mean 'plan %s'?", near);
}

static int load(const char *path, const struct plan_options *o, struct plan_request *r,
                struct arena *a, struct error *e)
{
    if (plan_load(path, a, r, e) < 0) return not_loaded(path, e);
    for (size_t i = 0; i < PLAN_N_INPUTS; i++)
        if (o->inputs[i]) TRY(plan_override(r, plan_input_names[i], o->inputs[i], a, e));
    return 0;
}

static void print_json(json_t *j)
{
    json_dumpf(j, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(j);
}

/* ------------------------------------------------------------------ plan */

static const struct option plan_rows[] = {
    CMD_FLAG("json", 0, json, "the answer as JSON"),
    CMD_TEXT("html", 0, html, "FILE", NULL, "write one self-contained page with plots"),
    CMD_TEXT("timeline", 0, timeline, "FILE", NULL,
             "draw one step over the pipeline's stages, as SVG"),
    CMD_TEXT("scenario", 0, scenario, "FILE", NULL,
             "write the run as a scenario of `colossus site`, which lives through it"),
    CMD_INT("top", 0, top, "layouts", "0", 0, 8, "print the best layouts of the search, too"),
    CMD_FLAG("keys", 0, keys, "print every key of plan files, as in docs/reference/plan-files.md"),
    PLAN_INPUTS(INPUT_ROW)};

const struct option_table cmd_plan_table = {
    "plan",
    "FILE.yaml [options]",
    "layout, days, failures, megawatts, dollars of a training run",
    "FILE is a plan: a model, a cluster, a site, a batch, a number of tokens.\n\n"
    "  colossus plan llama-3-405b\n"
    "  colossus plan llama-3-405b --gpus 32Ki --by cost --html plan.html\n"
    "  colossus plan compare llama-3-405b deepseek-v3\n"
    "  colossus plan sweep llama-3-405b --over gpus=8Ki,16Ki,32Ki\n"
    "  colossus plan validate",
    plan_rows,
    ARRAY_LEN(plan_rows)};

static void print_top(const struct plan_answer *a, int64_t top)
{
    static const char *const heads[] = {"", "step", "MFU", "memory", "energy", "layout"};
    if (a->search.n_best == 0) {
        puts("\nthe plan gives its layout: nothing was searched");
        return;
    }
    struct table *t = table_new(heads, ARRAY_LEN(heads), "rrrrrl");
    for (size_t i = 0; i < a->search.n_best && (int64_t)i < top; i++) {
        const struct plan_candidate *c = &a->search.best[i];
        char number[32], step[32], mfu[32], memory[32], joules[32], layout[160];
        snprintf(number, sizeof number, "%zu", i + 1);
        snprintf(mfu, sizeof mfu, "%.1f %%", 100 * c->step.mfu);
        table_row(t, number, format_duration(step, c->step.step_s), mfu,
                  format_bytes(memory, c->step.memory.total), format_si(joules, c->step_j, "J"),
                  plan_layout_text(&c->layout, layout, sizeof layout));
    }
    putchar('\n');
    table_print(t, stdout);
    table_free(t);
}

/* Nothing that is written takes the place of the plan, nor of what it is said to be of. */
static int check_files(const struct plan_request *r, const struct plan_options *o, struct error *e)
{
    const struct cmd_output out[] = {
        {"html", o->html}, {"timeline", o->timeline}, {"scenario", o->scenario}, {"svg", o->svg}};
    const char *const in[] = {r->path, o->inputs[PLAN_INPUT_model], o->inputs[PLAN_INPUT_site]};
    const struct cmd_outputs all = {out, in, ARRAY_LEN(out), ARRAY_LEN(in)};
    return cmd_check_outputs(&all, e);
}

static int plan_one(const char *path, const struct plan_options *o, struct arena *a,
                    struct error *e)
{
    struct plan_request r;
    struct plan_answer *answer = arena_alloc(a, sizeof *answer);
    TRY(load(path, o, &r, a, e));
    TRY(check_files(&r, o, e));
    TRY(plan_solve(&r, a, answer, e));
    if (o->html) TRY(plan_write_html(answer, o->html, e));
    if (o->timeline) TRY(plan_write_timeline(answer, o->timeline, e));
    if (o->scenario) TRY(cmd_plan_scenario(answer, o->scenario, e));
    if (o->json) {
        print_json(plan_to_json(answer));
        return 0;
    }
    plan_print(answer, stdout);
    if (o->top > 0) print_top(answer, o->top);
    return 0;
}

/* ------------------------------------------------------------------ plan compare */

static const struct option compare_rows[] = {
    CMD_FLAG("json", 0, json, "the answers as a JSON array"), PLAN_INPUTS(INPUT_ROW)};

const struct option_table cmd_plan_compare_table = {
    "plan compare",
    "FILE.yaml FILE.yaml... [options]",
    "several plans side by side",
    "Options change the same input of all of them.\n\n"
    "  colossus plan compare deepseek-v3 llama-3-405b",
    compare_rows,
    ARRAY_LEN(compare_rows)};

enum { MAX_COMPARED = 12 };

static int compare(char **paths, int n, const struct plan_options *o, struct arena *a,
                   struct error *e)
{
    const struct plan_answer *answers[MAX_COMPARED];
    if (n < 2 || n > MAX_COMPARED) {
        error_set_code(e, ERROR_USAGE, "2 to %d plans can be compared, %d given", MAX_COMPARED, n);
        return error_hint(e, "colossus plan compare llama-3-405b deepseek-v3");
    }
    for (int i = 0; i < n; i++) {
        struct plan_request *r = arena_alloc(a, sizeof *r);
        struct plan_answer *answer = arena_alloc(a, sizeof *answer);
        TRY(load(paths[i], o, r, a, e));
        if (plan_solve(r, a, answer, e) < 0) return error_context(e, "%s", paths[i]);
        answers[i] = answer;
    }
    if (!o->json) {
        plan_print_compare(answers, (size_t)n, stdout);
        return 0;
    }
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, plan_to_json(answers[i]));
    print_json(list);
    return 0;
}

/* ------------------------------------------------------------------ plan sweep */

static const struct option sweep_rows[] = {
    CMD_TEXT("over", 'o', over, "INPUT=A,B,...", NULL, "the input that is varied, and its values"),
    CMD_FLAG("json", 0, json, "all answers as JSON"),
    CMD_TEXT("svg", 0, svg, "FILE", NULL, "draw days, cost, MFU and power over it"),
    PLAN_INPUTS(INPUT_ROW)};

const struct option_table cmd_plan_sweep_table = {
    "plan sweep",
    "FILE.yaml --over INPUT=A,B,... [options]",
    "one plan at several values of one input",
    "INPUT is gpus, seq_len, batch, cap, tokens, generation, precision, accelerator, site, model,\n"
    "a factor of the layout, or what else the options below name.\n\n"
    "  colossus plan sweep llama-3-405b --over gpus=4Ki,8Ki,16Ki,32Ki\n"
    "  colossus plan sweep llama-3-405b --over cap=0.6,0.8,1 --svg cap.svg",
    sweep_rows,
    ARRAY_LEN(sweep_rows)};

static int sweep(const char *path, const struct plan_options *o, struct arena *a, struct error *e)
{
    struct plan_request r;
    struct plan_sweep *s = arena_alloc(a, sizeof *s);
    if (!o->over) {
        error_set_code(e, ERROR_USAGE, "--over is needed: the input that is varied");
        return error_hint(e, "colossus plan sweep %s --over gpus=8Ki,16Ki,32Ki", path);
    }
    TRY(load(path, o, &r, a, e));
    TRY(check_files(&r, o, e));
    TRY(plan_sweep(&r, o->over, a, s, e));
    if (o->svg) TRY(plan_write_sweep(s, o->svg, e));
    if (o->json)
        print_json(plan_sweep_to_json(s));
    else
        plan_print_sweep(s, stdout);
    return 0;
}

/* ------------------------------------------------------------------ plan validate */

struct validate_options {
    bool rows, json, strict, groups, constants, production;
    const char *plot, *tiers, *measured;
    int64_t recipes;
    struct option_list local;
};
#undef AT
#define AT(field) offsetof(struct validate_options, field)
static const struct option validate_rows[] = {
    CMD_FLAG("rows", 0, rows, "each row: predicted and measured"),
    CMD_FLAG("json", 0, json, "errors by group as JSON"),
    CMD_FLAG("strict", 0, strict,
             "a cell that cannot be read is an error; else its row is left out"),
    CMD_FLAG("groups", 0, groups, "errors by source, accelerator, kind of model, precision, size"),
    CMD_FLAG("constants", 0, constants, "the constants, and what each was fitted on or is from"),
    CMD_TEXT("plot", 0, plot, "FILE", NULL, "draw predicted over measured, as SVG"),
    CMD_TEXT("tiers", 0, tiers, NULL, "A",
             "rows of these tiers: A whole layouts, B single nodes and proxies, C aggregates"),
    CMD_FLAG("production", 0, production,
             "whole published runs instead: accelerator-hours, and the production factor"),
    CMD_INT("recipes", 0, recipes, "rows", "0", 0, 1000000,
            "search beside so many published layouts: is each possible, is a better one found"),
    CMD_LIST("local", 0, local, "RUN",
             "this machine instead: steps of runs of 'colossus train', predicted and measured"),
    CMD_TEXT("measured", 0, measured, "FILE.yaml", NULL,
             "what bench-machine wrote; default: ~/.config/colossus/local.yaml"),
};
#undef AT

const struct option_table cmd_plan_validate_table = {
    "plan validate",
    "[FILE.csv] [options]",
    "predictions against published training runs",
    "Without FILE: the published runs that travel with the program. The columns of FILE are those\n"
    "of docs/reference/validation-rows.md; it may be the name of one of presets/validation.\n\n"
    "  colossus plan validate\n"
    "  colossus plan validate held_out_runs --rows\n"
    "  colossus bench-machine && colossus plan validate --local runs/fortunes",
    validate_rows,
    ARRAY_LEN(validate_rows)};

static int run_validate(const struct option_line *l, void *options, struct error *e)
{
    const struct validate_options *o = options;
    struct plan_validate_options v = {.rows = o->rows,
                                      .json = o->json,
                                      .strict = o->strict,
                                      .groups = o->groups,
                                      .constants = o->constants,
                                      .plot = o->plot,
                                      .tiers = o->tiers,
                                      .recipes = o->recipes};
    if (l->n_rest > 1)
        return error_set_code(e, ERROR_USAGE, "one FILE.csv at most, %d given", l->n_rest);
    if (o->local.count > 0)
        return plan_validate_local(o->local.items, o->local.count, o->measured, o->json, stdout, e);
    if (o->production) {
        bool other = l->n_rest || o->rows || o->groups || o->constants || o->plot || o->recipes ||
                     o->strict || options_given(l, "tiers");
        if (other) {
            error_set_code(e, ERROR_USAGE, "--production is of its own table, and alone");
            return error_hint(e, "colossus plan validate --production, perhaps with --json");
        }
        return plan_validate_production(o->json, stdout, e);
    }
    const char *path = l->n_rest ? l->rest[0] : NULL;
    if (path && !file_exists(path)) {
        const char *csv = arena_printf(l->arena, "%s.csv", preset_name_of_path(l->arena, path));
        const char *preset = preset_find_file(l->arena, "validation", csv);
        path = preset ? preset : path;
    }
    const struct cmd_output out = {"plot", o->plot};
    const struct cmd_outputs all = {&out, &path, 1, 1};
    TRY(cmd_check_outputs(&all, e));
    return plan_validate(path, &v, stdout, e);
}

/* ------------------------------------------------------------------ the command */

static int one_file(const struct option_table *t, int n, struct error *e)
{
    if (n == 1) return 0;
    error_set_code(e, ERROR_USAGE, "one plan is needed, %d given", n);
    return error_hint(e, "colossus %s llama-3-405b%s", t->command,
                      t == &cmd_plan_sweep_table ? " --over gpus=8Ki,16Ki" : "");
}

static int run_plan(const struct option_line *l, void *options, struct error *e)
{
    const struct plan_options *o = options;
    if (o->keys) {
        plan_print_keys(stdout);
        return 0;
    }
    if (l->table == &cmd_plan_compare_table) return compare(l->rest, l->n_rest, o, l->arena, e);
    TRY(one_file(l->table, l->n_rest, e));
    if (l->table == &cmd_plan_sweep_table) return sweep(l->rest[0], o, l->arena, e);
    return plan_one(l->rest[0], o, l->arena, e);
}

int cmd_plan(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    size_t size = sizeof(struct plan_options);
    if (strcmp(word, "validate") == 0)
        return cmd_run(&cmd_plan_validate_table, argc - 1, argv + 1,
                       sizeof(struct validate_options), run_validate);
    if (strcmp(word, "compare") == 0)
        return cmd_run(&cmd_plan_compare_table, argc - 1, argv + 1, size, run_plan);
    if (strcmp(word, "sweep") == 0)
        return cmd_run(&cmd_plan_sweep_table, argc - 1, argv + 1, size, run_plan);
    return cmd_run(&cmd_plan_table, argc, argv, size, run_plan);
}
