/* cmd_site_study.c: `colossus site explain`, `sweep` and `fit`: what happened and why, which value of an
 * input suffices, and which rates an operator's own incidents tell. */
#include "cmd/cmd_site_internal.h"

#include <string.h>

/* ------------------------------------------------------------------ explain */

struct explain_options {
    bool json;
};
#define AT(field) offsetof(struct explain_options, field)
static const struct option explain_rows[] = {
    CMD_FLAG("json", 0, json, "the answer as JSON"),
};
#undef AT

const struct option_table cmd_site_explain_table = {
    "site explain",
    "LOG.jsonl [EVENT]",
    "why something happened at a site, what followed, and what it cost",
    "LOG.jsonl is what colossus site SCENARIO --events LOG.jsonl wrote. EVENT is the number of a "
    "line,\n"
    "a time (the nearest line: '12 d' since the beginning, or 'day 13', 'day 13, 12:00:00'), or "
    "the "
    "name\n"
    "of an event (the dearest of it); without it, what cost most.\n\n"
    "  colossus site curtailment --events log.jsonl && colossus site explain log.jsonl\n"
    "  colossus site explain log.jsonl curtailment",
    explain_rows,
    ARRAY_LEN(explain_rows)};

static int run_explain(const struct option_line *l, void *options, struct error *e)
{
    const struct explain_options *o = options;
    struct site_log log;
    struct site_explained x;
    if (l->n_rest < 1 || l->n_rest > 2) {
        error_set_code(e, ERROR_USAGE, "a log and perhaps an event are needed, %d given",
                       l->n_rest);
        return error_hint(e, "colossus site explain log.jsonl, or: colossus site explain log.jsonl "
                             "'12 d'");
    }
    TRY(site_read_story(l->rest[0], l->arena, &log, e));
    TRY(site_explain(&log, l->n_rest == 2 ? l->rest[1] : NULL, l->arena, &x, e));
    if (o->json)
        cmd_site_print_json(site_explained_to_json(&log, &x));
    else
        site_print_explained(&log, &x, stdout);
    return 0;
}

int cmd_site_explain(int argc, char **argv)
{
    return cmd_run(&cmd_site_explain_table, argc, argv, sizeof(struct explain_options),
                   run_explain);
}

/* ------------------------------------------------------------------ sweep */

struct sweep_options {
    const char *over, *until, *group, *svg;
    double days, confidence;
    int64_t seed, seeds;
    bool all, json;
};
#define AT(field) offsetof(struct sweep_options, field)
static const struct option sweep_rows[] = {
    CMD_TEXT("over", 0, over, "INPUT=A,B,...", NULL,
             "spares (accelerators more), battery_mw, turbines, checkpoint_s or crews"),
    CMD_TEXT("until", 0, until, "FIGURE>=X", NULL, "the goal: 'goodput>=90 %', 'unserved_wh<=0'"),
    CMD_TEXT("group", 0, group, "NAME", NULL,
             "of --over turbines: which gas units; default: the first"),
    CMD_REAL("confidence", 0, confidence, NULL, "0.9", 0.5, 0.9999,
             "with which the mean over seeds must reach it"),
    CMD_INT("seeds", 'n', seeds, NULL, "64", 2, 100000, "of one value, at most; 16 at once"),
    CMD_INT("seed", 's', seed, NULL, "1", 0, 1e15, "the first"),
    CMD_REAL("days", 'd', days, "days", "0", 0, 200000, "simulate so many; 0: the scenario's"),
    CMD_FLAG("all", 0, all, "try every value; else as many as halving needs"),
    CMD_TEXT("svg", 0, svg, "FILE.svg", NULL, "draw the figure over the input"),
    CMD_FLAG("json", 0, json, "the answer as JSON"),
};
#undef AT

const struct option_table cmd_site_sweep_table = {
    "site sweep",
    "SCENARIO.yaml --over INPUT=A,B,... --until FIGURE>=X [options]",
    "the least of several values of an input with which a site reaches a goal",
    "FIGURE is any that colossus site SCENARIO --json tells, X a number that may carry a unit. "
    "Values "
    "are\n"
    "taken from the least on, of checkpoint_s from the longest on; the costs of each stand beside "
    "it.\n"
    "Halving takes it that more of the input never makes it worse; --all does not.\n\n"
    "  colossus site sweep flap-storm --days 5 --over crews=1,2,4,8 --until 'goodput>=88 %'\n"
    "  colossus site sweep curtailment --over battery_mw=150,300,600 --until 'unserved_wh<=0'",
    sweep_rows,
    ARRAY_LEN(sweep_rows)};

static int run_sweep(const struct option_line *l, void *options, struct error *e)
{
    const struct sweep_options *o = options;
    const struct site_sweep_options w = {.over = o->over,
                                         .until = o->until,
                                         .group = o->group,
                                         .confidence = o->confidence,
                                         .days = o->days,
                                         .seed = (uint64_t)o->seed,
                                         .seeds = (size_t)o->seeds,
                                         .all = o->all};
    struct site_scenario *s;
    if (l->n_rest != 1 || !o->over || !o->until) {
        error_set_code(e, ERROR_USAGE, "one scenario, --over and --until are needed");
        return error_hint(e, "colossus site sweep flap-storm --over crews=1,2,4,8 --until "
                             "'goodput>=88 %%'");
    }
    struct site_sweep *found = arena_alloc(l->arena, sizeof(*found));
    TRY(cmd_site_load(l->rest[0], l->arena, &s, e));
    const struct cmd_output out = {"svg", o->svg};
    const struct cmd_outputs all = {&out, s->files, 1, (size_t)s->n_files};
    TRY(cmd_check_outputs(&all, e));
    TRY(site_sweep(s, &w, l->arena, found, e));
    if (o->svg) TRY(site_write_sweep(found, o->svg, e));
    if (o->json) {
        cmd_site_print_json(site_sweep_to_json(found));
        return 0;
    }
    site_print_sweep(found, stdout);
    putchar('\n');
    site_plot_sweep(found, stdout);
    return 0;
}

int cmd_site_sweep(int argc, char **argv)
{
    return cmd_run(&cmd_site_sweep_table, argc, argv, sizeof(struct sweep_options), run_sweep);
}

/* ------------------------------------------------------------------ fit */

struct fit_options {
    double units, days, age;
    int64_t unit;
    bool json;
};
#define AT(field) offsetof(struct fit_options, field)
static const struct option fit_rows[] = {
    CMD_REAL("units", 'u', units, NULL, "0", 0, 1e9,
             "of the fleet that was watched, those that never failed with them"),
    CMD_REAL("days", 'd', days, "days", "0", 0, 1e6, "that it was watched"),
    CMD_REAL("age-days", 0, age, "days", "0", 0, 1e6, "how old it was before"),
    CMD_INT("unit", 0, unit, "accelerators", "8", 1, 1000000,
            "in one unit: what an incident takes"),
    CMD_FLAG("json", 0, json, "the answer as JSON"),
};
#undef AT

const struct option_table cmd_site_fit_table = {
    "site fit",
    "INCIDENTS.csv --units N --days D [options]",
    "rates of failure and repair from a list of incidents, as a part of a scenario",
    "INCIDENTS.csv has the columns unit, at_h (hours since the watch began; or at_d), and perhaps "
    "cause\n"
    "and repair_h (empty: nothing had to be repaired). Each value comes with its interval of 90 "
    "%;\n"
    "a law by age is asked of ten incidents and more, lemons of fifty.\n\n"
    "  printf 'unit,at_h,repair_h\\nn7,31,9\\nn3,210,\\nn7,900,4\\n' >incidents.csv\n"
    "  colossus site fit incidents.csv --units 2048 --days 90 >failures.yaml",
    fit_rows,
    ARRAY_LEN(fit_rows)};

static int run_fit(const struct option_line *l, void *options, struct error *e)
{
    const struct fit_options *o = options;
    const struct site_fit_options w = {o->units, o->days, o->age, o->unit};
    if (l->n_rest != 1 || o->units < 1.0 || o->days <= 0.0) {
        error_set_code(e, ERROR_USAGE, "one list of incidents, --units and --days are needed");
        return error_hint(e, "colossus site fit incidents.csv --units 2048 --days 90");
    }
    if (o->units != floor(o->units)) {
        error_set_code(e, ERROR_USAGE, "--units is a whole number, not %.12g", o->units);
        return error_hint(e, "units of the fleet that was watched, for example --units %.0f",
                          ceil(o->units));
    }
    struct site_fit *f = arena_alloc(l->arena, sizeof(*f));
    TRY(site_fit(l->rest[0], &w, l->arena, f, e));
    if (o->json)
        cmd_site_print_json(site_fit_to_json(f));
    else
        site_print_fit(f, stdout);
    return 0;
}

int cmd_site_fit(int argc, char **argv)
{
    return cmd_run(&cmd_site_fit_table, argc, argv, sizeof(struct fit_options), run_fit);
}
