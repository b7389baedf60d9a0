/* test_site_study.c: what is asked of runs afterwards: why and at what cost, which value suffices, and
 * which rates a list of incidents tells. */
#include "test_site_util.h"

#include <stdlib.h>

static char *folder;

static const char *in_folder(const char *name)
{
    return arena_printf(&test_arena, "%s/%s", folder, name);
}

static const struct site_result *run_logged(const struct site_scenario *s, struct site_log *log)
{
    struct error e = {0};
    const struct site_run_options o = {.seed = 1, .events = in_folder("log.jsonl")};
    struct site_result *r = arena_alloc(&test_arena, sizeof(*r));
    assert_ok(site_run(s, &o, r, &e), e);
    assert_ok(site_read_story(o.events, &test_arena, log, &e), e);
    return r;
}

static struct site_explained explained(const struct site_log *log, const char *event)
{
    struct error e = {0};
    struct site_explained x;
    assert_ok(site_explain(log, event, &test_arena, &x, &e), e);
    return x;
}

static int times_in(const struct site_log *log, const struct site_explained *x, const char *event)
{
    int n = 0;
    for (size_t i = 0; i < x->n_then; i++)
        n += strcmp(log->lines[x->then[i]].event, event) == 0;
    return n;
}

static const char *told(const struct site_log *log, const struct site_explained *x)
{
    enum { SIZE = 1 << 14 };
    char *text = arena_alloc(&test_arena, SIZE);
    FILE *out = fmemopen(text, SIZE - 1, "w");
    assert_non_null(out);
    site_print_explained(log, x, out);
    fclose(out);
    return text;
}

/* A curtailment: the deficit, the steps against it and their end follow from it, and cost what the run
 * says. */
static void why_power(void **state)
{
    (void)state;
    const struct site_scenario *s = test_scenario(
        "cluster: 8192 x h100\nfailures: {law: none}\ndays: 2\ngas: []\n"
        "grid: {contract_w: 20 MW}\nbattery: {power_w: 1 MW, energy_wh: 100 kWh}\n"
        "jobs: [{name: high, accelerators: 4096, priority: 2, restart: 0, stall: 0},\n"
        "  {name: low, accelerators: 4096, restart: 0, stall: 0, usd_per_hour: 3}]\n"
        "events: [{at: 10 h, what: curtailment, lasts: 3 h, watts: 1 MW},\n"
        "  {at: 30 h, what: heat_wave, lasts: 1 h, kelvin: 1}]\n");
    struct site_log log;
    const struct site_result *r = run_logged(s, &log);
    struct site_explained x = explained(&log, "curtailment");
    assert_near(log.lines[x.line].at_s, 36000.0, 1e-9);
    assert_int_equal(x.n_because, 0);
    assert_int_equal(times_in(&log, &x, "job_paused"), 2);
    assert_int_equal(times_in(&log, &x, "job_runs"), 2);
    assert_true(times_in(&log, &x, "deficit") >= 1 && times_in(&log, &x, "power_cap") >= 1);
    assert_int_equal(times_in(&log, &x, "deficit_over"), 1);
    assert_near(x.cost.unserved_wh, r->unserved_j / 3600.0, 1e-9);
    double hours[2];
    for (int i = 0; i < 2; i++)
        hours[i] = 4096.0 * r->jobs[i].part_s[SITE_PART_POWER] / 3600.0;
    assert_near(x.cost.accelerator_h, hours[0] + hours[1], 1e-9);
    assert_near(x.cost.usd, 2.0 * hours[0] + 3.0 * hours[1], 1e-9);
    assert_true(times_in(&log, &x, "interruption") == 0);
    assert_int_equal(x.cost.pauses, 2);
    /* upwards, from the end of the chain */
    x = explained(&log, "job_paused");
    assert_string_equal(log.lines[x.because[x.n_because - 1]].event, "curtailment");
    /* by its time, by its number, and what cost most */
    struct site_explained at = explained(&log, "10 h");
    assert_string_equal(log.lines[at.line].event, "curtailment");
    const char *id = arena_printf(&test_arena, "%lld", (long long)log.lines[at.line].id);
    assert_int_equal(explained(&log, id).line, at.line);
    at = explained(&log, NULL);
    assert_int_equal(at.n_ranked, 1);
    assert_string_equal(log.lines[at.ranked[0]].event, "curtailment");
    struct error e = {0};
    assert_int_equal(site_explain(&log, "curtailmint", &test_arena, &at, &e), ERROR_USAGE);
    assert_contains(e.hint, "curtailment");
    assert_int_equal(site_explain(&log, "999999", &test_arena, &at, &e), ERROR_USAGE);
}

/* What is not over when the run ends costs until then: a job that stands, a deficit that goes on, and a
 * permit that has made it. */
static void why_to_the_end(void **state)
{
    (void)state;
    struct site_log log;
    const struct site_scenario *s =
        test_scenario("cluster: 1024 x h100\nfailures: {law: none}\ndays: 10\ngas: []\n"
                      "grid: {contract_w: 2 MW}\nbattery: {power_w: 0, energy_wh: 0}\n"
                      "jobs: [{name: j, accelerators: 1024, step: 5 s, restart: 0, stall: 0}]\n"
                      "events: [{at: 5 d, what: curtailment, lasts: 10 d, watts: 0.1 MW}]\n");
    const struct site_result *r = run_logged(s, &log);
    struct site_explained x = explained(&log, "curtailment");
    assert_near(x.cost.unserved_wh, r->unserved_j / 3600.0, 1e-9);
    assert_near(x.cost.accelerator_h, 1024.0 * r->jobs[0].part_s[SITE_PART_POWER] / 3600.0, 1e-9);
    assert_true(r->jobs[0].part_s[SITE_PART_POWER] > 4.9 * 86400.0);
    x = explained(&log, NULL);
    assert_int_equal(x.n_ranked, 1);
    s = test_scenario("cluster: 1 x h100\nfailures: {law: none}\ndays: 20\ngrid: {contract_w: 0}\n"
                      "battery: {power_w: 0, energy_wh: 0}\ncontrols: {pause: false}\n"
                      "gas: [{name: g, units: 2, unit_w: 10 MW, mttf: 0, derate_per_k: 0 %,\n"
                      "  ramp_w_per_s: 0, start: 10 min, min_down: 0}]\n"
                      "loads: [{name: l, watts: 9 MW}]\npermits: {hours: 100, stops: true}\n");
    r = run_logged(s, &log);
    assert_near(r->gas[0].permit_ends, 2.0, 1e-12);
    assert_near(r->gas[0].run_s, 200.0 * 3600.0, 1e-9);
    x = explained(&log, "deficit");
    assert_string_equal(log.lines[x.because[x.n_because - 1]].event, "permit_ends");
    x = explained(&log, "permit_ends");
    assert_near(x.cost.unserved_wh, r->unserved_j / 3600.0, 1e-9);
}

static int times_of(const char *text, const char *what)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, what)); p++)
        n++;
    return n;
}

/* A curtailment that units and battery take over follows through in the log: its line says its watts and
 * nothing that belongs to other kinds, units are sent for, the battery gives until they run. */
static void why_no_job_stopped(void **state)
{
    (void)state;
    const struct site_scenario *s = test_scenario(
        "cluster: 8192 x h100\nfailures: {law: none}\ndays: 2\n"
        "grid: {contract_w: 20 MW, usd_per_kwh: 0.01}\n"
        "battery: {power_w: 20 MW, energy_wh: 20 MWh}\n"
        "gas: [{name: g, units: 3, unit_w: 5 MW, mttf: 0, derate_per_k: 0 %, start: 10 min}]\n"
        "jobs: [{name: j, accelerators: 8000, restart: 0, stall: 0}]\n"
        "events: [{at: 10 h, what: curtailment, lasts: 3 h, watts: 1 MW},\n"
        "  {at: 30 h, what: false_alarms, lasts: 1 h, factor: 0}]\n");
    struct site_log log;
    const struct site_result *r = run_logged(s, &log);
    assert_true(r->pauses == 0.0 && r->unserved_j == 0.0 && r->gas[0].starts == 2.0);
    struct site_explained x = explained(&log, "curtailment");
    assert_int_equal(times_in(&log, &x, "units_start"), 1);
    assert_int_equal(times_in(&log, &x, "battery_gives"), 1);
    assert_int_equal(times_in(&log, &x, "battery_rests"), 1);
    for (size_t i = 0; i < x.n_then; i++) {
        const struct site_log_line *l = &log.lines[x.then[i]];
        if (strcmp(l->event, "units_start") == 0) assert_near(l->value, 2.0, 1e-12);
        if (strcmp(l->event, "battery_rests") == 0) assert_near(l->after_s, 600.0, 1e-6);
    }
    const char *text = told(&log, &x);
    assert_contains(text, "curtailment, begins, 1.00 MW left");
    assert_contains(text, "units_start of g, 2 units");
    struct error e = {0};
    char *lines;
    size_t size;
    assert_ok(file_read(in_folder("log.jsonl"), 1 << 24, &lines, &size, &e), e);
    const char *line = strstr(lines, "\"event\":\"curtailment\"");
    assert_non_null(line);
    line = arena_strndup(&test_arena, line, strcspn(line, "\n"));
    assert_contains(line, "\"watts\":1000000");
    static const char *const others[] = {"sag_s", "l_per_min", "factor", "pool",
                                         "share", "units",     "kelvin", "hardware"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_null(strstr(line, others[i]));
    /* what a kind says is said also where it is 0, which is not the default of it */
    assert_int_equal(times_of(lines, "\"factor\":0"), 1);
    mem_free(lines);
}

static const struct site_scenario *story(const char *law, const char *mttf, const char *events)
{
    return test_scenario(arena_printf(
        &test_arena,
        "cluster: 4096 x h100\ndays: 60\n"
        "jobs: [{name: a, accelerators: 2048, step: 5 s}, {name: b, accelerators: 1024, step: 5 "
        "s}]\n"
        "grid: {contract_w: 2 MW}\nbattery: {power_w: 1 MW, energy_wh: 1 MWh}\n"
        "failures: {law: %s}\ngas: [{name: g, units: 5, unit_w: 1 MW, mttf: %s, on: 5}]\n"
        "events: %s\n",
        law, mttf, events));
}

/* The log of a run as a scenario is that run again: events of the scenario with all that they say,
 * failures of the same jobs, outages as long as they were, and none of it twice. */
static void lived_again(void **state)
{
    (void)state;
    struct site_log logs[2];
    const struct site_scenario *s =
        story("machine", "100 h",
              "[{at: 3 d, what: heat_wave, kelvin: 8, lasts: 2 d},\n"
              "  {at: 10 d, what: failure, units: 8}, {at: 12 d, what: curtailment, watts: 1 MW, "
              "lasts: 6 h},\n"
              "  {at: 20 d, what: turbine_trip, units: 2, lasts: 5 h},\n"
              "  {at: 30 d, what: leak, units: 64, share: 25 %, l_per_min: 10}]");
    const struct site_result *r = run_logged(s, &logs[0]);
    const char *kept = in_folder("kept.jsonl");
    assert_int_equal(rename(in_folder("log.jsonl"), kept), 0);
    assert_true(r->failures > 50.0 && r->gas[0].trips > 10.0);
    for (int own = 0; own < 2; own++) { /* draws its own luck, or takes that of the log */
        s = own ? story("machine", "100 h", kept) : story("none", "0", kept);
        const struct site_result *t = run_logged(s, &logs[1]);
        assert_near(t->failures, r->failures, 1e-12);
        assert_near(t->hardware, r->hardware, 1e-12);
        assert_near(t->gas[0].trips, r->gas[0].trips, 1e-12);
        assert_near(t->gas[0].out_s, r->gas[0].out_s, 1e-6);
        assert_near(t->leaked_l, r->leaked_l, 1e-12);
        assert_near(t->dry_high_c, r->dry_high_c, 1e-12);
        if (own) assert_near(site_goodput(s, t), site_goodput(s, r), 1e-9);
        size_t n[2][2] = {{0}}; /* whose accelerators failed */
        for (int k = 0; k < 2; k++)
            for (size_t i = 0; i < logs[k].n; i++)
                if (strcmp(logs[k].lines[i].event, "failure") == 0)
                    n[k][logs[k].lines[i].job[0] == 'b']++;
        /* but for those of a job that repairs of other lengths have left without any */
        assert_true(labs((long)n[0][1] - (long)n[1][1]) <= 2 && n[0][1] > 20);
    }
}

/* Later sags of a train are that train's, too. */
static void why_sags(void **state)
{
    (void)state;
    struct site_log log;
    struct error e = {0};
    struct site_scenario *s = arena_alloc(&test_arena, sizeof(*s));
    assert_ok(site_load("sag-train", &test_arena, s, &e), e);
    s->days = 6.0;
    run_logged(s, &log);
    struct site_explained x = explained(&log, "sag_train");
    assert_true(times_in(&log, &x, "interruption") > 0);
    assert_true(x.cost.accelerator_h > 1000.0);
}

/* A job without an interval of its own saves as often in a run's log as it did in the run; a leak that
 * is lived again is where it was. */
static void lived_again_as_safely(void **state)
{
    (void)state;
    static const char *const TEXT =
        "days: 3\ncluster: 1024 x h100\nsite: us-average\njobs: [{name: a, accelerators: 512}]\n"
        "failures: {law: %s, accelerator_days: 60}\ncooling: {law: loop, leak_detect: 1 h}\n"
        "events: %s\n";
    struct site_log log, again;
    const struct site_scenario *s = test_scenario(arena_printf(
        &test_arena, TEXT, "exponential", "[{at: 10 h, what: leak, units: 72, share: 50 %}]"));
    const struct site_result *r = run_logged(s, &log);
    const char *kept = in_folder("kept.jsonl");
    assert_int_equal(rename(in_folder("log.jsonl"), kept), 0);
    s = test_scenario(arena_printf(&test_arena, TEXT, "none", kept));
    const struct site_result *t = run_logged(s, &again);
    assert_near(t->failures, r->failures, 1e-12);
    assert_near(t->jobs[0].checkpoint_s, r->jobs[0].checkpoint_s, 0.1);
    assert_near(site_goodput(s, t), site_goodput(s, r), 0.01);
    double at[2] = {0.0, 0.0};
    for (size_t i = 0; i < log.n; i++)
        if (strcmp(log.lines[i].event, "leak") == 0) at[0] = log.lines[i].at_s;
    for (size_t i = 0; i < again.n; i++)
        if (strcmp(again.lines[i].event, "leak") == 0) at[1] = again.lines[i].at_s;
    assert_true(at[0] == 39600.0 && at[1] == at[0]);
}

/* What would have spared the steps against a deficit is the most that was missing in it, also where
 * that came after them: so much more, and none is taken. */
static const struct site_result *on_an_island(double more_w)
{
    return test_live(
        test_scenario(arena_printf(
            &test_arena,
            "days: 2\ncluster: 8 x h100\nfailures: {law: none}\ngrid: {contract_w: %.0f}\n"
            "battery: {power_w: 0, energy_wh: 0}\n"
            "loads: [{name: L, watts: 100 MW, ramp: 30 min, by_hour: [.3, .3, .3, .3, .3, .3, .5,\n"
            "  .5, .5, .9, .9, .9, 1, 1, 1, 1, .9, .8, .7, .6, .5, .4, .3, .3]}]\n"
            "gas: [{name: G, units: 5, unit_w: 30 MW, mttf: 0, derate_per_k: 0}]\n",
            more_w)),
        1);
}

static void what_would_have_spared(void **state)
{
    (void)state;
    /* the third unit comes ten minutes after the load has begun to rise by 40 MW in thirty */
    const struct site_result *r = on_an_island(0.0);
    assert_true(r->caps > 0.0 && r->unserved_j > 0.0);
    assert_near(r->deficit_w, 40e6 / 3.0 - 10e6, 2e-3);
    r = on_an_island(1.001 * r->deficit_w);
    assert_true(r->caps == 0.0 && r->sheds == 0.0 && r->unserved_j == 0.0);
}

/* A line that is no event, a member that no event has, and a log without lines are mistakes. */
static void wrong_logs(void **state)
{
    (void)state;
    static const char *const LINES[][3] = {
        {"{\"event\":\"failur\",\"at_s\":5}\n", "wrong.jsonl:1: there is no event 'failur'",
         "'failure'"},
        {"{\"event\":\"failure\",\"at_s\":5,\"unitz\":3}\n", "has no 'unitz'", "'units'"},
        {"\n", "has no lines", "FILE.jsonl"},
        {"{\"event\":\"failure\",\"at_s\":5,\"job\":\"zzz\"}\n", "there is no job 'zzz'", "drawn"},
        {"{\"event\":\"failure\",\"at_s\":5,\"units\":65}\n", "65 accelerators fail", "units: 8"},
        {"{\"event\":\"curtailment\",\"at_s\":5,\"id\":2,\"phase\":\"begins\"}\n",
         "how long that lasts", "run its scenario again"},
    };
    for (size_t i = 0; i < ARRAY_LEN(LINES); i++) {
        struct error e = {0};
        struct yaml_node *root;
        const char *path = in_folder("wrong.jsonl");
        const char *text = arena_printf(&test_arena, "cluster: 64 x h100\nevents: %s\n", path);
        const struct yaml_reader r = {"test.yaml", &test_arena, &e, 0};
        struct site_scenario *s = arena_alloc(&test_arena, sizeof(*s));
        assert_ok(file_write(path, LINES[i][0], strlen(LINES[i][0]), &e), e);
        assert_ok(yaml_parse(text, strlen(text), r.path, &test_arena, &root, &e), e);
        assert_int_equal(site_read_root(&r, root, s), ERROR_CONFIG);
        assert_contains(e.text, LINES[i][1]);
        assert_contains(e.hint, LINES[i][2]);
    }
}

/* Failures: what all of them cost is what the job lost to detection, restart, waiting and rollback. */
static void why_failures(void **state)
{
    (void)state;
    const struct site_scenario *s =
        test_scenario("cluster: 8192 x h100\nfailures: {law: machine}\ndays: 10\ngas: []\n"
                      "jobs: [{name: j, accelerators: 8000, detect: 60 s, restart: 300 s}]\n");
    struct site_log log;
    const struct site_result *r = run_logged(s, &log);
    const struct site_job_result *j = &r->jobs[0];
    double sum = 0.0, lost = j->part_s[SITE_PART_DETECTION] + j->part_s[SITE_PART_RESTART] +
                             j->part_s[SITE_PART_SPARES] + j->part_s[SITE_PART_ROLLBACK];
    int failures = 0;
    for (size_t i = 0; i < log.n; i++) {
        failures += strcmp(log.lines[i].event, "failure") == 0;
        sum += log.lines[i].lost_s / 8000.0;
        if (strcmp(log.lines[i].event, "interruption") != 0) continue;
        const char *id = arena_printf(&test_arena, "%lld", (long long)log.lines[i].id);
        struct site_explained x = explained(&log, id);
        assert_int_equal(x.n_because, 1);
        assert_string_equal(log.lines[x.because[0]].event, "failure");
    }
    assert_int_equal(failures, r->failures);
    assert_true(j->interruptions > 20.0);
    assert_near(sum, lost - 300.0, 1e-6);
    struct site_explained first = explained(&log, "job_runs"); /* a start is nobody's fault */
    for (size_t i = 0; i < log.n; i++)
        if (strcmp(log.lines[i].event, "job_runs") == 0) {
            first = explained(&log, arena_printf(&test_arena, "%lld", (long long)log.lines[i].id));
            break;
        }
    assert_int_equal(first.n_because, 0);
    assert_true(first.cost.accelerator_h == 0.0);
}

static void broken_logs(void **state)
{
    (void)state;
#define HEAD "{\"event\": \"site\", \"at_s\": 0, \"id\": 1}\n"
    static const struct {
        const char *text, *says, *hints;
    } CASES[] = {
        {"", "has no lines", "--events"},
        {"{\"event\": \"x\"}\n", "log.jsonl:1", "--events"},
        {HEAD "{\"event\": \"x\", \"at_s\": 1, \"id\": 1}\n", "log.jsonl:2", "rise"},
        {"{\"event\": \"x\", \"at_s\": 1, \"id\": 1}\n", "not how a log begins", "first line"},
        {"{\"event\": \"x\", \"at_s\": 1, \"id\": 1, \"by\": 1}\n", "'by'", "rise"},
        {"{\"event\": \"x\", \"at_s\": -1, \"id\": 1}\n", "'at_s'", "rise"},
        {HEAD "{\"event\": \"x\", \"at", "log.jsonl:2", "cut off"},
        {HEAD "{\"event\": \"x\", \"event\": \"y\"}\n", "duplicate", "line 2 is none of a log"},
        {"\177ELF\001\n", "log.jsonl:1", "line 1 is none of a log"},
        {HEAD "\033[31m\n", "log.jsonl:2", "line 2 is none of a log"},
        {"{\"event\": 3, \"at_s\": 1, \"id\": 1}\n", "'event'", "--events"},
        {"[1]\n", "log.jsonl:1", "--events"},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct error e = {0};
        struct site_log log;
        const char *path = in_folder("log.jsonl");
        assert_ok(file_write(path, CASES[i].text, strlen(CASES[i].text), &e), e);
        print_message("%s", CASES[i].text);
        assert_true(site_read_story(path, &test_arena, &log, &e) < 0);
        assert_contains(e.text, CASES[i].says);
        assert_contains(e.hint, CASES[i].hints);
        assert_int_equal(text_steers(e.text, strlen(e.text)), 0);
    }
#undef HEAD
}

static struct site_log parsed(const char *text)
{
    struct error e = {0};
    struct site_log log;
    const struct str all = {arena_strdup(&test_arena, text), strlen(text), 0};
    assert_ok(site_parse_story(&all, "log.jsonl", &test_arena, &log, &e), e);
    return log;
}

/* Times are taken as they are printed and as durations since the beginning; what is not exact says by how
 * much, and what is no moment of the log is refused. */
static void asked_by_time(void **state)
{
    (void)state;
    const struct site_log log =
        parsed("{\"event\":\"site\",\"at_s\":0,\"id\":1,\"scenario\":\"s\",\"days\":70}\n"
               "{\"event\":\"a\",\"at_s\":5140800,\"id\":2}\n"   /* 59.5 d */
               "{\"event\":\"b\",\"at_s\":5140860.5,\"id\":3}\n" /* and a minute */
               "{\"event\":\"c\",\"at_s\":5180000,\"id\":4}\n");
    static const struct {
        const char *asked;
        int64_t id;
        double off_s;
    } CASES[] = {{"day 60, 12:00:00", 2, 0.0}, {"day 60, 12:01:00", 3, 0.0},
                 {"59.5 d", 2, 0.0},           {"day 60, 12:01", 3, 0.0},
                 {"day 60", 2, 0.0},           {"60 d", 4, -4000.0},
                 {"day 61", 4, -4000.0},       {"day 1", 1, 0.0},
                 {"day 70", 4, -781600.0},     {"70 d", 4, -868000.0}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        print_message("%s\n", CASES[i].asked);
        struct site_explained x = explained(&log, CASES[i].asked);
        assert_int_equal(log.lines[x.line].id, CASES[i].id);
        assert_true(fabs(x.off_s - CASES[i].off_s) < 1e-3);
        assert_int_equal(strstr(told(&log, &x), "the nearest line") != NULL, CASES[i].off_s < 0.0);
        json_decref(site_explained_to_json(&log, &x));
    }
    static const char *const WRONG[][2] = {
        {"70.1 d", "after the end"},    {"day 72", "after the end"},       {"1.5", "no unit"},
        {"-1 d", "before the log"},     {"day 60, 12", "no moment"},       {"day 0", "no moment"},
        {"day 60, 24:00", "no moment"}, {"day 60, 12:00:0x", "no moment"}, {"day60", "no moment"}};
    for (size_t i = 0; i < ARRAY_LEN(WRONG); i++) {
        struct error e = {0};
        struct site_explained x;
        print_message("%s\n", WRONG[i][0]);
        assert_int_equal(site_explain(&log, WRONG[i][0], &test_arena, &x, &e), ERROR_USAGE);
        assert_contains(e.text, WRONG[i][1]);
        assert_true(e.hint[0] != '\0');
    }
}

/* What stands in a log does not steer a terminal, and a pause is no interruption. */
static void told_plainly(void **state)
{
    (void)state;
    const struct site_log log =
        parsed("{\"event\":\"site\",\"at_s\":0,\"id\":1,\"scenario\":\"s\\u001b[31m\\n\","
               "\"jobs\":[{\"name\":\"j\\u001b\",\"usd_per_hour\":2}]}\n"
               "{\"event\":\"cur\\u001b\",\"at_s\":5,\"id\":2,\"target\":\"\\u009b2J\\n\"}\n"
               "{\"event\":\"job_paused\",\"at_s\":5,\"id\":3,\"by\":2,\"job\":\"j\\u001b\"}\n"
               "{\"event\":\"job_runs\",\"at_s\":3605,\"id\":4,\"by\":3,\"job\":\"j\\u001b\","
               "\"after_s\":3600,\"accelerators\":8}\n");
    for (int i = 0; i < 2; i++) {
        struct site_explained x = explained(&log, i ? "2" : NULL);
        const char *text = told(&log, &x);
        for (const char *p = text; *p; p++)
            assert_true(*p == '\n' || text_steers(p, strlen(p)) == 0);
        assert_null(strstr(text, "\n'"));
        if (i)
            assert_contains(text,
                            "8 accelerator-hours of jobs in 1 pause for want of power, worth 16");
    }
}

/* ------------------------------------------------------------------ sweep */

static void student(void **state)
{
    (void)state;
    assert_near(site_student(0.0, 5.0), 0.5, 1e-12);
    assert_near(site_student(1.0, 1.0), 0.75, 1e-9);
    assert_near(site_student(1.7530503557, 15.0), 0.95, 1e-8);
    assert_near(site_student(-2.3263478740, 1e6), 0.01, 1e-3);
}

/* Halving finds what trying all finds; more seeds are spent only where it is close. */
static void sweep_as_all(void **state)
{
    (void)state;
#define FLEET                                                                                  \
    "cluster: 1088 x h100\ndays: 30\ngas: []\nfailures: {law: exponential, accelerator_days: " \
    "2000, "                                                                                   \
    "idle_factor: 0}\n"
#define JOB "jobs: [{name: j, accelerators: 1024, restart: 300 s}]\n"
    static const struct {
        const char *text, *over, *until;
    } CASES[] = {
        {FLEET JOB, "spares=0,8,16,32,64", "goodput>=0.9"},
        {FLEET JOB, "spares=0,8,16,32,64", "goodput>=0.999"},
        {FLEET "repair: {crews: 4}\n" JOB, "crews=1,2,3,4,8", "goodput>=90 %"},
        {FLEET "repair: {crews: 4, hands: 20 h}\n" JOB, "crews=1,2,3,5,8", "in_repair<=9"},
        {FLEET JOB, "checkpoint_s=300,1800,7200,36000", "goodput>=0.9"},
        {FLEET JOB, "checkpoint_s=10,30,100,300,1000", "goodput>=0.95"},
        {"cluster: 4096 x h100\nfailures: {law: none}\ndays: 2\ngas: []\n"
         "grid: {contract_w: 8 MW}\nbattery: {power_w: 1 MW, energy_wh: 4 MWh}\n"
         "jobs: [{name: j, restart: 0}]\ncontrols: {cap_min: 100 %, pause: false}\n"
         "events: [{at: 5 h, what: curtailment, lasts: 2 h, watts: 2 MW}]\n",
         "battery_mw=1,2,4,8,16", "unserved_wh<=0"},
        {"cluster: 4096 x h100\nfailures: {law: none}\ndays: 20\ngrid: {contract_w: 0}\n"
         "gas: [{name: t, units: 9, unit_w: 1 MW, mttf: 100 h}]\n"
         "controls: {cap_min: 100 %, pause: false}\njobs: [{name: j, restart: 0}]\n",
         "turbines=3,5,6,7,8,9,12", "unserved_share<=0.001"},
        {FLEET "repair: {crews: 2, hands: 9 h}\n" JOB, "crews=1,2,3", "repair_wait_h<=1"},
        {FLEET JOB, "spares=0,64", "goodput>=0.2"},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct error e = {0};
        const struct site_scenario *s = test_scenario(CASES[i].text);
        struct site_sweep *w[2];
        for (int all = 0; all < 2; all++) {
            const struct site_sweep_options o = {.over = CASES[i].over,
                                                 .until = CASES[i].until,
                                                 .confidence = 0.9,
                                                 .seed = 1,
                                                 .seeds = 32,
                                                 .all = all};
            w[all] = arena_alloc(&test_arena, sizeof(*w[all]));
            assert_ok(site_sweep(s, &o, &test_arena, w[all], &e), e);
        }
        double best = w[1]->best < w[1]->n ? w[1]->points[w[1]->best].value : NAN;
        print_message("%s until %s: %g\n", CASES[i].over, CASES[i].until, best);
        assert_int_equal(w[0]->best, w[1]->best);
        for (size_t k = 0; k < w[1]->n; k++)
            assert_true(w[1]->points[k].tried);
        json_decref(site_sweep_to_json(w[0]));
    }
}

static void wrong_sweeps(void **state)
{
    (void)state;
    static const struct {
        const char *over, *until, *says;
    } CASES[] = {
        {"spares", "goodput>=0.9", "INPUT=A,B"},
        {"spare=1", "goodput>=0.9", "INPUT=A,B"},
        {"spares=1.5", "goodput>=0.9", "whole"},
        {"crews=", "goodput>=0.9", "whole"},
        {"crews=1,,2", "goodput>=0.9", "whole"},
        {"battery_mw=nan", "goodput>=0.9", "numbers"},
        {"battery_mw=-3", "goodput>=0.9", "numbers"},
        {"crews=1", "goodput", "FIGURE>=X"},
        {"crews=1", "godput>=0.9", "FIGURE>=X"},
        {"crews=1", "goodput>0.9", "FIGURE>=X"},
        {"crews=1", "goodput>=high", "no bound"},
        {"crews=1", "goodput>=90", "share from 0 to 100 %"},
        {"crews=1", "unserved_wh<=1 kW", "no bound"},
        {"crews=1", "failures<=1 kWh", "no bound"},
        {"crews=1,2,1", "goodput>=0.9", "1 twice"},
        {"turbines=3", "goodput>=0.5", "no gas units"},
        {"checkpoint_s=0", "goodput>=0.5", "from 1"},
        {"spares=1,2", "island_limit_s>=1", "not known"},
    };
    const struct site_scenario *s =
        test_scenario("cluster: 64 x h100\ndays: 1\ngas: []\njobs: [{name: j}]\n");
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct error e = {0};
        struct site_sweep *w = arena_alloc(&test_arena, sizeof(*w));
        const struct site_sweep_options o = {
            .over = CASES[i].over, .until = CASES[i].until, .confidence = 0.9, .seeds = 16};
        print_message("%s %s\n", CASES[i].over, CASES[i].until);
        assert_true(site_sweep(s, &o, &test_arena, w, &e) < 0);
        assert_contains(e.text, CASES[i].says);
    }
}

/* A bound may carry a unit of its figure's kind; a bare one is in the figure's own. Of checkpoints the
 * longest that holds is named, which says nothing of its price. */
static void sweep_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *until;
        double goal;
    } CASES[] = {{"goodput>=20 %", 0.2},         {"goodput>=0.2", 0.2},
                 {"unserved_wh<=2 kWh", 2000.0}, {"unserved_wh<=2", 2.0},
                 {"repair_wait_h<=90 min", 1.5}, {"repair_wait_h<=90", 90.0},
                 {"ramp_steep_min<=1 h", 60.0},  {"total_usd<=3 MUSD", 3e6},
                 {"throttled_h<=1 d", 24.0},     {"peak_w<=1 MW", 1e6}};
    const struct site_scenario *s = test_scenario(
        "cluster: 64 x h100\ndays: 1\ngas: []\njobs: [{name: j, accelerators: 56}]\n");
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct error e = {0};
        struct site_sweep *w = arena_alloc(&test_arena, sizeof(*w));
        const struct site_sweep_options o = {.over = "checkpoint_s=30,600",
                                             .until = CASES[i].until,
                                             .confidence = 0.9,
                                             .seeds = 2,
                                             .all = true};
        print_message("%s\n", CASES[i].until);
        assert_ok(site_sweep(s, &o, &test_arena, w, &e), e);
        assert_near(w->goal, CASES[i].goal, 1e-12);
        if (i > 0) continue;
        char text[4096] = {0};
        FILE *out = fmemopen(text, sizeof text - 1, "w");
        assert_non_null(out);
        site_print_sweep(w, out);
        fclose(out);
        assert_contains(text, "checkpoint_s = 600 is the longest of these that holds.");
        assert_null(strstr(text, "cheapest"));
    }
}

/* ------------------------------------------------------------------ fit */

struct planted {
    double units, days, age, accelerator_days, shape, lemons, factor, hardware, repair_h;
};

/* A fleet watched: each unit of eight has a Poisson number of incidents by its hazard, at ages drawn by
 * it. */
static void plant(const struct planted *p, uint64_t trial, struct str *csv)
{
    uint64_t at = 0;
    double from = pow(p->age, p->shape), to = pow(p->age + p->days, p->shape);
    /* accelerator_days is the mean of all, lemons with them */
    double all = 8.0 * p->days / p->accelerator_days;
    str_clear(csv);
    str_puts(csv, "unit,at_d,cause,repair_h\n");
    for (int i = 0; i < (int)p->units; i++) {
        double lemon = rng_uniform(trial, 1, at++) < p->lemons ? p->factor : 1.0;
        double left = all * lemon / (1.0 + (p->factor - 1.0) * p->lemons);
        while ((left += log(rng_uniform(trial, 1, at++) + 0x1p-54)) > 0.0) {
            double h = from + rng_uniform(trial, 1, at++) * (to - from);
            bool hard = rng_uniform(trial, 1, at++) < p->hardware;
            str_printf(csv, "node-%d,%.9g,%s,", i, pow(h, 1.0 / p->shape) - p->age,
                       hard ? "gpu" : "software");
            if (hard)
                str_printf(csv, "%.6g", -p->repair_h * log(rng_uniform(trial, 1, at++) + 0x1p-54));
            str_append_char(csv, '\n');
        }
    }
}

static void recovered(const struct planted *p)
{
    enum { TRIALS = 100, WHAT = 7 };
    static const char *const names[WHAT] = {"accelerator_days", "shape",        "scale_days",
                                            "lemons",           "lemon_factor", "hardware_share",
                                            "repair_h"};
    int inside[WHAT] = {0}, lemons = 0, ages = 0;
    struct str csv = {0};
    struct arena a = {0};
    /* of one accelerator: (B^k - A^k) / scale^k incidents in the time */
    double per = p->days / p->accelerator_days;
    double grown = pow(p->age + p->days, p->shape) - pow(p->age, p->shape);
    double scale = pow(grown / per, 1.0 / p->shape);
    const double want[WHAT] = {p->accelerator_days, p->shape,    scale,      p->lemons,
                               p->factor,           p->hardware, p->repair_h};
    for (uint64_t trial = 1; trial <= TRIALS; trial++) {
        struct error e = {0};
        struct site_fit f;
        const struct site_fit_options o = {p->units, p->days, p->age, 8};
        plant(p, trial, &csv);
        assert_ok(site_fit_text(&csv, "planted.csv", &o, &a, &f, &e), e);
        const struct site_estimate *got[WHAT] = {
            &f.accelerator_days, &f.shape,          &f.scale_days, &f.lemons,
            &f.lemon_factor,     &f.hardware_share, &f.repair_h};
        lemons += f.has_lemons;
        ages += f.ages;
        for (int k = 0; k < WHAT; k++)
            inside[k] += got[k]->low <= want[k] && want[k] <= got[k]->high;
        json_decref(site_fit_to_json(&f));
        arena_reset(&a);
    }
    for (int k = 0; k < WHAT; k++) {
        bool lemon = k == 3 || k == 4;
        if (lemon && p->lemons <= 0.0) continue;
        print_message("%-18s %d of %d within the interval\n", names[k], inside[k], TRIALS);
        assert_true(inside[k] >= 85);
    }
    print_message("lemons told in %d, ages in %d\n", lemons, ages);
    assert_true(p->lemons > 0.0 ? lemons >= 95 : lemons <= 5);
    assert_true(p->shape == 1.0 ? ages <= 16 : ages >= 90);
    str_fini(&csv);
    arena_fini(&a);
}

static void fit_constant(void **state)
{
    (void)state;
    recovered(&(struct planted){.units = 1000,
                                .days = 180,
                                .accelerator_days = 2000,
                                .shape = 1.0,
                                .factor = 1.0,
                                .hardware = 0.78,
                                .repair_h = 6.0});
}

static void fit_lemons(void **state)
{
    (void)state;
    recovered(&(struct planted){.units = 2000,
                                .days = 180,
                                .accelerator_days = 800,
                                .shape = 1.0,
                                .lemons = 0.10,
                                .factor = 6.0,
                                .hardware = 0.6,
                                .repair_h = 2.0});
}

static void fit_infancy(void **state)
{
    (void)state;
    recovered(&(struct planted){.units = 1000,
                                .days = 120,
                                .accelerator_days = 2000,
                                .shape = 0.6,
                                .factor = 1.0,
                                .hardware = 0.9,
                                .repair_h = 3.0});
}

static void fit_wear(void **state)
{
    (void)state;
    recovered(&(struct planted){.units = 3000,
                                .days = 365,
                                .age = 200,
                                .accelerator_days = 9000,
                                .shape = 2.64,
                                .factor = 1.0,
                                .hardware = 0.5,
                                .repair_h = 3.0});
}

/* What is fitted is a scenario, and lives through as many incidents as were seen. */
static void fit_is_a_scenario(void **state)
{
    (void)state;
    struct str csv = {0};
    struct error e = {0};
    struct site_fit f;
    const struct planted p = {.units = 1000,
                              .days = 180,
                              .accelerator_days = 900,
                              .shape = 0.7,
                              .lemons = 0.15,
                              .factor = 6.0,
                              .hardware = 0.78,
                              .repair_h = 20.0};
    const struct site_fit_options o = {p.units, p.days, p.age, 8};
    plant(&p, 7, &csv);
    assert_ok(site_fit_text(&csv, "planted.csv", &o, &test_arena, &f, &e), e);
    assert_true(f.ages && f.has_lemons);
    const char *path = in_folder("failures.yaml");
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs("cluster: 8000 x h100\ndays: 180\ngas: []\n", out);
    site_print_fit(&f, out);
    fclose(out);
    struct site_scenario *s = arena_alloc(&test_arena, sizeof(*s));
    assert_ok(site_load(path, &test_arena, s, &e), e);
    const struct site_result *r = test_live(s, 1);
    assert_near(r->failures, (double)f.n, 0.06);
    assert_near(test_figure(s, r, "lemon_share"), 0.15 * 6.0 / (1.0 + 5.0 * 0.15), 0.15);
    assert_near(r->hardware / r->failures, 0.78, 0.05);
    str_fini(&csv);
}

static struct site_fit fitted(const char *csv, double units, double days)
{
    struct error e = {0};
    struct site_fit f;
    const struct str text = {arena_strdup(&test_arena, csv), strlen(csv), 0};
    const struct site_fit_options o = {units, days, 0.0, 8};
    assert_ok(site_fit_text(&text, "short.csv", &o, &test_arena, &f, &e), e);
    return f;
}

/* What is printed of a list is read as a scenario; its text. */
static const char *accepted(const struct site_fit *f)
{
    struct error e = {0};
    char *text;
    size_t size;
    const char *path = in_folder("short.yaml");
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs("cluster: 16384 x h100\n", out);
    site_print_fit(f, out);
    fclose(out);
    struct site_scenario *s = arena_alloc(&test_arena, sizeof(*s));
    assert_ok(site_load(path, &test_arena, s, &e), e);
    assert_ok(file_read(path, 1 << 20, &text, &size, &e), e);
    const char *kept = arena_strdup(&test_arena, text);
    mem_free(text);
    return kept;
}

static void holds_itself(const struct site_estimate *v)
{
    assert_true(!isfinite(v->value) || !(v->value < v->low || v->value > v->high));
}

/* Short lists: what is printed is accepted by `site`, is said to be too short for age and lemons, and no
 * value lies outside its own interval. */
static void fit_of_short_lists(void **state)
{
    (void)state;
    static const int lengths[] = {1, 2, 3, 5, 10, 49, 50, 60};
    for (size_t k = 0; k < ARRAY_LEN(lengths); k++) {
        for (int same = 0; same < 3; same++) { /* each its own unit; all one; all soon after 0 */
            struct str csv = {0};
            str_puts(&csv, "unit,at_h,repair_h\n");
            for (int i = 0; i < lengths[k]; i++)
                str_printf(&csv, "n%d,%.9g,%s\n", same == 1 ? 7 : i,
                           same == 2 ? 1e-6 * (i + 1) : 31.0 + 35.0 * i, i % 2 ? "" : "9");
            print_message("%d incidents, case %d\n", lengths[k], same);
            const struct site_fit f = fitted(csv.data, 2048.0, 90.0);
            const struct site_estimate *all[] = {
                &f.accelerator_days, &f.shape,          &f.scale_days, &f.lemons,
                &f.lemon_factor,     &f.hardware_share, &f.repair_h};
            for (size_t i = 0; i < ARRAY_LEN(all); i++)
                holds_itself(all[i]);
            const char *text = accepted(&f);
            assert_int_equal(strstr(text, "to ask for a law by age") != NULL, lengths[k] < 10);
            assert_int_equal(strstr(text, "to ask for lemons") != NULL, lengths[k] < 50);
            if (lengths[k] < 50) assert_contains(text, "  lemons: 0 ");
            if (same == 1 && lengths[k] >= 50) /* all that happens is one unit's */
                assert_true(f.has_lemons && f.lemon_factor.high <= 1000.0);
            str_fini(&csv);
        }
    }
    /* the example of site fit --help */
    const struct site_fit f =
        fitted("unit,at_h,repair_h\nn7,31,9\nn3,210,\nn7,900,4\n", 2048.0, 90.0);
    const char *text = accepted(&f);
    assert_null(strstr(text, "not told from"));
    assert_null(strstr(text, "lemon_factor"));
}

static void wrong_incidents(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } CASES[] = {
        {"", "x.csv"},
        {"unit\na\n", "no column at_h"},
        {"at_h\n3\n", "no column unit"},
        {"unit,at_h\n", "no incident in it"},
        {"unit,at_h,at_d\na,3,3\n", "both at_h and at_d"},
        {"unit,at_h\na,2026-01-04\n", "'at_h' must be a number"},
        {"unit,at_h\na,3\nb,-1\n", "x.csv:3"},
        {"unit,at_h\na,3\nb,nan\n", "x.csv:3"},
        {"unit,at_h\na,3\nb,2401\n", "x.csv:3"},
        {"unit,at_h\na,3\n,5\n", "no unit is named"},
        {"unit,at_h,repair_h\na,3,x\nb,3,1\n", "x.csv:2"},
        {"unit,at_h\na,3\nb,3\nc,3\nd,3\n", "--units"},
    };
    const struct site_fit_options o = {3.0, 100.0, 0.0, 8};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct error e = {0};
        struct site_fit f;
        const struct str text = {arena_strdup(&test_arena, CASES[i].text), strlen(CASES[i].text),
                                 0};
        print_message("%s", CASES[i].text);
        assert_true(site_fit_text(&text, "x.csv", &o, &test_arena, &f, &e) < 0);
        assert_contains(e.text, CASES[i].says);
    }
}

static int start(void **state)
{
    (void)state;
    arena_init(&test_arena);
    folder = test_folder(&test_arena);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    file_remove_tree(folder, NULL);
    arena_fini(&test_arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(why_to_the_end),
        cmocka_unit_test(lived_again),
        cmocka_unit_test(why_sags),
        cmocka_unit_test(lived_again_as_safely),
        cmocka_unit_test(what_would_have_spared),
        cmocka_unit_test(wrong_logs),
        cmocka_unit_test(why_power),
        cmocka_unit_test(why_no_job_stopped),
        cmocka_unit_test(why_failures),
        cmocka_unit_test(broken_logs),
        cmocka_unit_test(asked_by_time),
        cmocka_unit_test(told_plainly),
        cmocka_unit_test(student),
        cmocka_unit_test(sweep_as_all),
        cmocka_unit_test(wrong_sweeps),
        cmocka_unit_test(sweep_bounds),
        cmocka_unit_test(fit_constant),
        cmocka_unit_test(fit_lemons),
        cmocka_unit_test(fit_infancy),
        cmocka_unit_test(fit_wear),
        cmocka_unit_test(fit_is_a_scenario),
        cmocka_unit_test(fit_of_short_lists),
        cmocka_unit_test(wrong_incidents),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
