/* cmd_site.c: `colossus site`: a training site lived through, event by event; and `site compare`. */
#include "cmd/cmd.h"
#include "site/site.h"

#include <string.h>

struct site_options {
    double days;
    int64_t seed, seeds;
    bool json, keys;
    const char *csv, *csv_every, *events, *pause_at, *save, *resume;
};

#define AT(field) offsetof(struct site_options, field)
static const struct option site_rows[] = {
    CMD_REAL("days", 'd', days, "days", "0", 0, 200000, "simulate so many; 0: the scenario's"),
    CMD_INT("seed", 's', seed, NULL, "1", 0, 1e15, "whose luck; with --seeds the first"),
    CMD_INT("seeds", 'n', seeds, NULL, "0", 0, 100000,
            "at most so many, at least 16, until goodput is known to 1 %"),
    CMD_FLAG("json", 0, json, "the answer as JSON"),
    CMD_TEXT("csv", 0, csv, "DIR", NULL, "write site.csv: the site at every report"),
    CMD_TEXT("csv-every", 0, csv_every, "TIME", "1 h", "time between two reports"),
    CMD_TEXT("events", 0, events, "FILE.jsonl", NULL,
             "write what happened, a line an event; a scenario can name it as its events"),
    CMD_TEXT("pause-at", 0, pause_at, "TIME", NULL, "stop there, for --save: 12 d, 3 h"),
    CMD_TEXT("save", 0, save, "FILE", NULL, "write the state at --pause-at"),
    CMD_TEXT("resume", 0, resume, "FILE", NULL, "go on from a saved state of the same scenario"),
    CMD_FLAG("keys", 0, keys,
             "print every key of scenarios, as in docs/reference/scenario-files.md"),
};

const struct option_table cmd_site_table = {
    "site",
    "SCENARIO.yaml [options]",
    "what happens to machines, jobs, power, cooling and money of a site in time",
    "SCENARIO is a file or a name of presets/scenarios: a cluster and a site, what runs, what "
    "feeds\n"
    "it, what fails, and what happens when.\n\n"
    "  colossus site colossus-2-1m\n"
    "  colossus site colossus-2-1m --seeds 64\n"
    "  colossus site colossus-1-100k --days 10 --csv out --events out/events.jsonl\n"
    "  colossus site compare colossus-1-100k colossus-1-200k",
    site_rows,
    ARRAY_LEN(site_rows)};

static const struct option compare_rows[] = {
    CMD_REAL("days", 'd', days, "days", "0", 0, 200000, "simulate so many; 0: the scenarios'"),
    CMD_INT("seed", 's', seed, NULL, "1", 0, 1e15, "the first"),
    CMD_INT("seeds", 'n', seeds, NULL, "16", 1, 100000, "so many of each"),
    CMD_FLAG("json", 0, json, "the answer as JSON"),
};
#undef AT

const struct option_table cmd_site_compare_table = {
    "site compare",
    "A.yaml B.yaml [options]",
    "two scenarios with the same luck, side by side",
    "Draws are hashed from seed and entity, so that what differs is what was changed.\n\n"
    "  colossus site compare colossus-1-100k colossus-1-200k --seeds 4 --days 20",
    compare_rows,
    ARRAY_LEN(compare_rows)};

static void print_json(json_t *j)
{
    json_dumpf(j, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    putchar('\n');
    json_decref(j);
}

static int time_of(const char *option, const char *text, double *out, struct error *e)
{
    const char *unit;
    if (!text || (unit_parse(text, UNIT_SECONDS, out, &unit) == UNIT_OK && *out > 0.0)) return 0;
    error_set_code(e, ERROR_USAGE, "--%s takes a time, not '%.60s'", option, text);
    return error_hint(e, "for example --%s '12 d', or 3 h, 10 min, 90 s", option);
}

static int load(const char *path, struct arena *a, struct site_scenario **out, struct error *e)
{
    *out = arena_alloc(a, sizeof(**out));
    return site_load(path, a, *out, e);
}

static int run_once(const struct site_scenario *s, const struct site_options *o,
                    struct site_run_options *run, struct error *e)
{
    struct site_result *r = mem_alloc(sizeof(*r));
    int rc = site_run(s, run, r, e);
    if (rc >= 0 && o->json)
        print_json(site_to_json(s, r));
    else if (rc >= 0)
        site_print(s, r, stdout);
    mem_free(r);
    return rc;
}

static int run_seeds(const struct site_scenario *s, const struct site_options *o,
                     const struct site_run_options *run, struct arena *a, struct error *e)
{
    struct site_seeds x;
    TRY(site_run_seeds(s, run, (size_t)o->seeds, a, &x, e));
    if (o->json)
        print_json(site_seeds_to_json(s, &x));
    else
        site_print_seeds(s, &x, stdout);
    return 0;
}

static int check_options(const struct site_options *o, struct error *e)
{
    if ((o->pause_at != NULL) != (o->save != NULL)) {
        error_set_code(e, ERROR_USAGE, "--pause-at and --save are given together");
        return error_hint(e, "for example --pause-at '12 d' --save paused.site");
    }
    if (o->resume && o->days > 0.0) {
        error_set_code(e, ERROR_USAGE, "--resume goes on to the end that it was begun with");
        return error_hint(e, "leave --days out, or begin anew with it");
    }
    if (o->seeds > 0 && (o->save || o->resume || o->csv || o->events)) {
        error_set_code(e, ERROR_USAGE, "--seeds writes no files and does not pause");
        return error_hint(e, "name one seed instead: --seed 1");
    }
    return 0;
}

static int run_site(const struct option_line *l, void *options, struct error *e)
{
    const struct site_options *o = options;
    struct site_scenario *s;
    struct site_run_options run = {.seed = (uint64_t)o->seed, .days = o->days};
    if (o->keys) {
        site_print_keys(stdout);
        return 0;
    }
    if (l->n_rest != 1) {
        error_set_code(e, ERROR_USAGE, "one scenario is needed, %d given", l->n_rest);
        return error_hint(e, "colossus site colossus-2-1m");
    }
    TRY(check_options(o, e));
    TRY(time_of("csv-every", o->csv_every, &run.csv_every_s, e));
    TRY(time_of("pause-at", o->pause_at, &run.pause_s, e));
    TRY(load(l->rest[0], l->arena, &s, e));
    run.csv = o->csv;
    run.events = o->events;
    run.save = o->save;
    run.resume = o->resume;
    return o->seeds > 0 ? run_seeds(s, o, &run, l->arena, e) : run_once(s, o, &run, e);
}

static int run_compare(const struct option_line *l, void *options, struct error *e)
{
    const struct site_options *o = options;
    const struct site_run_options run = {
        .seed = (uint64_t)o->seed, .days = o->days, .every_seed = true};
    const struct site_scenario *s[2];
    struct site_seeds x[2];
    if (l->n_rest != 2) {
        error_set_code(e, ERROR_USAGE, "two scenarios are compared, %d given", l->n_rest);
        return error_hint(e, "colossus site compare colossus-1-100k colossus-1-200k");
    }
    for (int i = 0; i < 2; i++) {
        struct site_scenario *loaded;
        TRY(load(l->rest[i], l->arena, &loaded, e));
        s[i] = loaded;
        TRY(site_run_seeds(s[i], &run, (size_t)o->seeds, l->arena, &x[i], e));
    }
    if (o->json)
        print_json(site_compare_to_json(s, x));
    else
        site_print_compare(s, x, stdout);
    return 0;
}

int cmd_site(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "compare") == 0)
        return cmd_run(&cmd_site_compare_table, argc - 1, argv + 1, sizeof(struct site_options),
                       run_compare);
    return cmd_run(&cmd_site_table, argc, argv, sizeof(struct site_options), run_site);
}
