/* cmd_site.c: `colossus site`: a training site lived through, event by event; and `site compare`. */
#include "cmd/cmd_site_internal.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

struct site_options {
    double days;
    int64_t seed, seeds;
    int64_t port;
    double speed, seconds;
    bool json, keys;
    const char *csv, *csv_every, *events, *html, *pause_at, *save, *resume;
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
    CMD_TEXT("html", 0, html, "FILE.html", NULL,
             "write a page that stands alone: the run over time, what happened, what it cost; with "
             "--seeds bands of all of them"),
    CMD_INT(
        "serve", 0, port, "PORT", "-1", -1, 65535,
        "show that page at 127.0.0.1, where events can be put in, with the log and what Prometheus "
        "reads; 0: any port, which "
        "is printed; -1: no"),
    CMD_REAL("speed", 0, speed, NULL, "100000", 1, 1e9,
             "of --serve: how much faster than the clock /metrics goes"),
    CMD_REAL("for", 0, seconds, "s", "0", 0, 1e9, "of --serve: end after so long; 0: on ctrl-c"),
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
    "  colossus site curtailment --days 10 --csv out --events out/events.jsonl\n"
    "  colossus site heat-wave-and-trip --html page.html\n"
    "  colossus site colossus-2-1m --days 30 --serve 8091 --for 2\n"
    "  colossus site compare colossus-1-100k colossus-1-200k",
    site_rows,
    ARRAY_LEN(site_rows)};

static const struct option compare_rows[] = {
    CMD_REAL("days", 'd', days, "days", "0", 0, 200000, "simulate so many; 0: the scenarios'"),
    CMD_INT("seed", 's', seed, NULL, "1", 0, 1e15, "the first"),
    CMD_INT("seeds", 'n', seeds, NULL, "16", 1, 100000, "so many of each"),
    CMD_TEXT("html", 0, html, "FILE.html", NULL,
             "write both as a page that stands alone: bands of all seeds over time, figures"),
    CMD_FLAG("json", 0, json, "the answer as JSON"),
};
#undef AT

const struct option_table cmd_site_compare_table = {
    "site compare",
    "A.yaml B.yaml [options]",
    "two scenarios with the same luck, side by side",
    "Draws are hashed from seed and entity, so that what differs is what was changed.\n\n"
    "  colossus site compare colossus-1-100k colossus-1-200k --seeds 4 --days 20\n"
    "  colossus site compare curtailment colossus-1-200k --days 20 --html both.html",
    compare_rows,
    ARRAY_LEN(compare_rows)};

void cmd_site_print_json(json_t *j)
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

int cmd_site_load(const char *path, struct arena *a, struct site_scenario **out, struct error *e)
{
    *out = arena_alloc(a, sizeof(**out));
    return site_load(path, a, *out, e);
}

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

static int serve(const struct site_served *what, const struct site_options *o, struct error *e)
{
    site_server_t *server;
    signal(SIGPIPE, SIG_IGN);
    signal_catch(SIGINT, on_signal, SA_RESTART, NULL);
    signal_catch(SIGTERM, on_signal, SA_RESTART, NULL);
    TRY(site_server_new(what, "127.0.0.1", (int)o->port, &server, e));
    fprintf(stderr, "%s on http://127.0.0.1:%d/\n", what->s->name, site_server_port(server));
    double until = o->seconds > 0.0 ? time_now_s() + o->seconds : INFINITY;
    while (!stopped && time_now_s() < until)
        poll(NULL, 0, 100);
    site_server_free(server);
    return 0;
}

static int run_page(const struct site_scenario *s, const struct site_options *o,
                    const struct site_run_options *run, struct site_story *x, struct error *e)
{
    const struct site_html_options plain = {0};
    struct str page = {0};
    int rc = site_story_make(s, run, x, e);
    if (rc >= 0 && o->html) rc = site_html(x, &plain, &page, e);
    if (rc >= 0 && o->html) rc = file_write(o->html, page.data, page.len, e);
    str_fini(&page);
    if (rc >= 0 && o->events) rc = file_write(o->events, x->log.data, x->log.len, e);
    if (rc >= 0 && o->port >= 0) {
        const struct site_served what = {s, x, {.seed = run->seed, .days = run->days}, o->speed};
        rc = serve(&what, o, e);
    }
    return rc;
}

static void tell(const struct site_scenario *s, const struct site_options *o,
                 const struct site_result *r)
{
    if (o->json)
        cmd_site_print_json(site_to_json(s, r));
    else
        site_print(s, r, stdout);
}

static int run_once(const struct site_scenario *s, const struct site_options *o,
                    const struct site_run_options *run, struct error *e)
{
    struct site_story story = {0};
    struct site_result *r = NULL;
    int rc;
    if (o->html || o->port >= 0) {
        rc = run_page(s, o, run, &story, e);
    } else {
        r = mem_alloc(sizeof(*r));
        rc = site_run(s, run, r, e);
    }
    if (rc >= 0) tell(s, o, r ? r : story.result);
    site_story_free(&story);
    mem_free(r);
    return rc;
}

/* The page of one scenario or two, over many seeds. */
static int write_bands(const struct site_scenario *const *s, const struct site_seeds *x, int n,
                       const struct site_run_options *run, const char *path, struct error *e)
{
    struct str page = {0};
    int rc = site_bands_html(s, x, n, run, &page, e);
    if (rc >= 0) rc = file_write(path, page.data, page.len, e);
    str_fini(&page);
    return rc;
}

static int run_seeds(const struct site_scenario *s, const struct site_options *o,
                     const struct site_run_options *run, struct arena *a, struct error *e)
{
    struct site_seeds x;
    TRY(site_run_seeds(s, run, (size_t)o->seeds, a, &x, e));
    if (o->html) TRY(write_bands(&s, &x, 1, run, o->html, e));
    if (o->json)
        cmd_site_print_json(site_seeds_to_json(s, &x));
    else
        site_print_seeds(s, &x, stdout);
    return 0;
}

static int check_options(const struct option_line *l, const struct site_options *o, struct error *e)
{
    if ((o->pause_at != NULL) != (o->save != NULL)) {
        error_set_code(e, ERROR_USAGE, "--pause-at and --save are given together");
        return error_hint(e, "for example --pause-at '12 d' --save paused.site");
    }
    if (options_given(l, "csv-every") && !o->csv) {
        error_set_code(e, ERROR_USAGE, "--csv-every is of --csv, which is not there");
        return error_hint(e, "for example --csv out --csv-every '10 min'");
    }
    if ((options_given(l, "speed") || options_given(l, "for")) && o->port < 0) {
        error_set_code(e, ERROR_USAGE, "--speed and --for are of --serve, which is not there");
        return error_hint(e, "for example --serve 8091 --for 60");
    }
    if (o->resume && options_given(l, "seed")) {
        error_set_code(e, ERROR_USAGE, "--resume goes on with the luck that it was begun with");
        return error_hint(e, "leave --seed out, or begin anew with it");
    }
    if (o->resume && o->days > 0.0) {
        error_set_code(e, ERROR_USAGE, "--resume goes on to the end that it was begun with");
        return error_hint(e, "leave --days out, or begin anew with it");
    }
    if ((o->html || o->port >= 0) && (o->save || o->resume)) {
        error_set_code(e, ERROR_USAGE, "--html and --serve are of a whole run");
        return error_hint(e, "leave --pause-at, --save and --resume out");
    }
    if (o->seeds > 0 && (o->save || o->resume || o->csv || o->events || o->port >= 0)) {
        error_set_code(e, ERROR_USAGE, "--seeds writes no files but --html, and does not pause");
        return error_hint(e, "name one seed instead: --seed 1");
    }
    return 0;
}

/* What is written must not be what is read, the saved state with it. */
static int check_files(const struct site_scenario *s, const struct site_options *o, struct arena *a,
                       struct error *e)
{
    const char *in[SITE_MAX_FILES + 1], *csv = o->csv;
    memcpy(in, s->files, sizeof(s->files));
    in[s->n_files] = o->resume;
    const struct cmd_output out[] = {{"html", o->html},
                                     {"events", o->events},
                                     {"save", o->save},
                                     {"csv", csv ? file_join(a, csv, "site.csv") : NULL},
                                     {"csv", csv ? file_join(a, csv, "swing.csv") : NULL}};
    const struct cmd_outputs all = {out, in, ARRAY_LEN(out), (size_t)s->n_files + 1};
    return cmd_check_outputs(&all, e);
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
    TRY(check_options(l, o, e));
    TRY(time_of("csv-every", o->csv_every, &run.csv_every_s, e));
    TRY(time_of("pause-at", o->pause_at, &run.pause_s, e));
    TRY(cmd_site_load(l->rest[0], l->arena, &s, e));
    TRY(check_files(s, o, l->arena, e));
    double days = o->days > 0.0 ? o->days : s->days, most_rows = 1e7;
    if (o->csv && run.csv_every_s > 0.0 && days * 86400.0 / run.csv_every_s > most_rows) {
        error_set_code(e, ERROR_USAGE, "--csv-every '%.60s' would write more than %.0e reports",
                       o->csv_every, most_rows);
        return error_hint(e, "for example --csv-every '%.3g s'",
                          ceil(days * 86400.0 / most_rows * 10.0));
    }
    if (!o->resume && run.pause_s > days * 86400.0) {
        error_set_code(e, ERROR_USAGE, "--pause-at '%.60s' lies after the end, day %.6g",
                       o->pause_at, days);
        return error_hint(e, "for example --pause-at '%.6g d'", 0.5 * days);
    }
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
        const struct cmd_output out = {"html", o->html};
        TRY(cmd_site_load(l->rest[i], l->arena, &loaded, e));
        const struct cmd_outputs all = {&out, loaded->files, 1, (size_t)loaded->n_files};
        TRY(cmd_check_outputs(&all, e));
        s[i] = loaded;
    }
    for (int i = 0; i < 2; i++) {
        TRY(site_run_seeds(s[i], &run, (size_t)o->seeds, l->arena, &x[i], e));
    }
    if (o->html) TRY(write_bands(s, x, 2, &run, o->html, e));
    if (o->json)
        cmd_site_print_json(site_compare_to_json(s, x));
    else
        site_print_compare(s, x, stdout);
    return 0;
}

int cmd_site(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    if (strcmp(word, "compare") == 0)
        return cmd_run(&cmd_site_compare_table, argc - 1, argv + 1, sizeof(struct site_options),
                       run_compare);
    if (strcmp(word, "explain") == 0) return cmd_site_explain(argc - 1, argv + 1);
    if (strcmp(word, "sweep") == 0) return cmd_site_sweep(argc - 1, argv + 1);
    if (strcmp(word, "fit") == 0) return cmd_site_fit(argc - 1, argv + 1);
    return cmd_run(&cmd_site_table, argc, argv, sizeof(struct site_options), run_site);
}
