/* test_site_run.c: what holds for any scenario: the same bits for the same seed, after a pause and at
 * any interval of reports; presets whose energy is whole; building, flaps, waves, life tables; and the
 * planner's closed forms beside the twin. */
#include "site/run/site_run_internal.h"
#include "test_site_util.h"

static char *folder;

static const char *in_folder(const char *name)
{
    return arena_printf(&test_arena, "%s/%s", folder, name);
}

static void run_with(const struct site_scenario *s, const struct site_run_options *o,
                     struct site_result *r)
{
    struct error e = {0};
    assert_ok(site_run(s, o, r, &e), e);
}

/* A scenario in which everything happens. */
static struct site_scenario *busy(double days)
{
    struct error e = {0};
    struct site_scenario *s = arena_alloc(&test_arena, sizeof(*s));
    assert_ok(site_load("heat-wave-and-trip", &test_arena, s, &e), e);
    s->days = days;
    return s;
}

static void same_bits(void **state)
{
    (void)state;
    const struct site_scenario *s = busy(16.0);
    struct site_result *a = arena_alloc(&test_arena, sizeof(*a)),
                       *b = arena_alloc(&test_arena, sizeof(*b));
    struct site_run_options o = {.seed = 5};
    run_with(s, &o, a);
    run_with(s, &o, b);
    assert_memory_equal(a, b, sizeof(*a));
    o.csv = folder; /* reports at an odd interval, windows at 10 ms, a log */
    o.csv_every_s = 777.7;
    o.events = in_folder("events.jsonl");
    run_with(s, &o, b);
    assert_memory_equal(a, b, sizeof(*a));
    o.csv_every_s = 60.0;
    o.events = NULL;
    run_with(s, &o, b);
    assert_memory_equal(a, b, sizeof(*a));
    o = (struct site_run_options){.seed = 6};
    run_with(s, &o, b);
    assert_true(a->failures != b->failures);
}

static void assert_same_file(const char *a, const char *b)
{
    struct error e = {0};
    char *x, *y;
    size_t n, m;
    assert_ok(file_read(a, 1 << 26, &x, &n, &e), e);
    assert_ok(file_read(b, 1 << 26, &y, &m, &e), e);
    if (n != m || memcmp(x, y, n) != 0) fail_msg("%s and %s differ", a, b);
    mem_free(x);
    mem_free(y);
}

/* A run that is paused goes on in the files that it has begun, also when it is resumed twice: they are
 * those of a run without a pause. A paused run tells of the time until the pause. */
static void goes_on_in_files(void **state)
{
    (void)state;
    static const char *const NAMES[] = {"site.csv", "swing.csv", "log.jsonl"};
    const struct site_scenario *s = busy(13.0);
    struct site_result *r = arena_alloc(&test_arena, sizeof(*r));
    const char *whole = in_folder("whole"), *parts = in_folder("parts");
    struct error e = {0};
    assert_ok(file_make_dirs(whole, &e), e);
    assert_ok(file_make_dirs(parts, &e), e);
    const struct site_run_options all = {
        .seed = 5, .csv = whole, .events = file_join(&test_arena, whole, "log.jsonl")};
    run_with(s, &all, r);
    static const double AT[] = {9000.0, 12.0 * 86400.0, 12.0 * 86400.0 + 20.125};
    for (size_t i = 0; i < ARRAY_LEN(AT); i++) {
        struct site_run_options o = {.seed = 5,
                                     .csv = parts,
                                     .events = file_join(&test_arena, parts, "log.jsonl"),
                                     .pause_s = AT[i],
                                     .save = in_folder("paused.site")};
        run_with(s, &o, r);
        assert_near(r->days, AT[i] / 86400.0, 1e-12);
        o.resume = o.save;
        o.save = NULL;
        o.pause_s = 0.0;
        for (int again = 0; again < 2; again++) {
            run_with(s, &o, r);
            for (size_t k = 0; k < ARRAY_LEN(NAMES); k++)
                assert_same_file(file_join(&test_arena, whole, NAMES[k]),
                                 file_join(&test_arena, parts, NAMES[k]));
        }
    }
    const char *csv = file_join(&test_arena, parts, "site.csv");
    const struct site_run_options then = {.csv = parts, .resume = in_folder("paused.site")};
    assert_ok(file_write(csv, "day,mine\n", 9, &e), e);
    assert_true(site_run(s, &then, r, &e) < 0);
    assert_contains(e.text, "of another run");
    /* what is no log of this run is left as it is */
    static const char *const FOREIGN[] = {
        "my notes\n", "{\"event\":\"site\",\"at_s\":0,\"id\":1,\"seed\":6}\n", "no end of line"};
    for (size_t i = 0; i < ARRAY_LEN(FOREIGN); i++) {
        const char *notes = in_folder("notes.txt");
        const struct site_run_options log = {.events = notes, .resume = in_folder("paused.site")};
        char *text;
        size_t size;
        assert_ok(file_write(notes, FOREIGN[i], strlen(FOREIGN[i]), &e), e);
        assert_true(site_run(s, &log, r, &e) < 0);
        assert_contains(e.text, "of another run");
        assert_ok(file_read(notes, 1000, &text, &size, &e), e);
        assert_string_equal(text, FOREIGN[i]);
        mem_free(text);
    }
}

static void paused_and_resumed(void **state)
{
    (void)state;
    const struct site_scenario *s = busy(16.0);
    struct site_result *a = arena_alloc(&test_arena, sizeof(*a)),
                       *b = arena_alloc(&test_arena, sizeof(*b));
    struct site_run_options o = {.seed = 5};
    const char *path = in_folder("paused.site");
    run_with(s, &o, a);
    static const double AT[] = {0.0001, 3600.0, 12.0 * 86400.0 + 7.0, 13.3 * 86400.0};
    for (size_t i = 0; i < ARRAY_LEN(AT); i++) {
        struct error e = {0};
        const struct site_run_options first = {.seed = 5, .pause_s = AT[i], .save = path};
        const struct site_run_options then = {.seed = 99, .resume = path};
        run_with(s, &first, b);
        run_with(s, &then, b);
        assert_memory_equal(a, b, sizeof(*a));
        /* another scenario, a cut and a turned bit are refused */
        struct site_scenario *other = busy(16.0);
        other->fingerprint++;
        assert_true(site_run(other, &then, b, &e) < 0);
        assert_contains(e.text, "another scenario");
    }
    char *data;
    size_t size;
    struct error e = {0};
    const struct site_run_options then = {.resume = path};
    assert_ok(file_read(path, 1 << 24, &data, &size, &e), e);
    data[size / 2] ^= 4;
    assert_ok(file_write(path, data, size, &e), e);
    assert_true(site_run(s, &then, b, &e) < 0);
    assert_contains(e.text, "damaged");
    assert_ok(file_write(path, data, size - 100, &e), e);
    assert_true(site_run(s, &then, b, &e) < 0);
    assert_contains(e.text, "cut off");
    mem_free(data);
}

/* Each preset is read, lives, and its energy is whole at every event. */
static void presets(void **state)
{
    (void)state;
    static const char *const NAMES[] = {"gigafactory-20k",    "colossus-1-100k", "colossus-1-200k",
                                        "colossus-2-550k",    "colossus-2-1m",   "stargate-abilene",
                                        "heat-wave-and-trip", "sag-train",       "curtailment",
                                        "flap-storm",         "bad-firmware",    "late-order",
                                        "llama-3-16k"};
    for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
        struct error e = {0};
        struct site_scenario *s = arena_alloc(&test_arena, sizeof(*s));
        assert_ok(site_load(NAMES[i], &test_arena, s, &e), e);
        const struct site_result *r = test_live(s, 1);
        struct site_sim x = {.s = s};
        site_battery_init(&x);
        double all = site_battery_energy_j(&x);
        print_message("%-20s goodput %.3f, balance %.1e, energy %.1e, %.0f events\n", NAMES[i],
                      site_goodput(s, r), r->balance_worst, r->energy_error, r->events);
        assert_true(site_goodput(s, r) > 0.2 && site_goodput(s, r) < 1.0);
        assert_true(r->soc_low >= s->battery.floor * all * (1.0 - 1e-9));
        assert_true(r->soc_high <= s->battery.ceiling * all * (1.0 + 1e-9) + 1.0);
    }
}

static double mean_running(const char *text, double day)
{
    struct site_scenario *s = test_scenario(text);
    s->days = day;
    double before = test_live(s, 1)->running_s;
    s->days = day + 1.0;
    return (test_live(s, 1)->running_s - before) / 86400.0;
}

/* Racks that are installed one by one; blocks that wait for power. */
static void building(void **state)
{
    (void)state;
    const char *text = "cluster: 100000 x h100\nfailures: {law: none}\ndays: 90\n"
                       "blocks: [{accelerators: 100000, install_days: 19}]\n";
    assert_near(test_one(text, "accelerator_days"), 1e5 * 71.0 + 1e5 * 9.5, 0.001);
    text = "cluster: 330000 x h100\nfailures: {law: none}\ncommission_w: 2 kW\ngas: []\n"
           "grid: {contract_w: 1 GW}\n"
           "blocks: [{accelerators: 110000}, {accelerators: 110000, day: 30},\n"
           "  {accelerators: 110000, day: 60}]\n"
           "events: [{at: 0, what: grid_limit, watts: 300 MW, lasts: 45 d}]\n";
    assert_near(mean_running(text, 10.0), 110000.0, 1e-9);
    assert_near(mean_running(text, 40.0), 150000.0, 1e-9);
    assert_near(mean_running(text, 50.0), 220000.0, 1e-9);
    assert_near(mean_running(text, 70.0), 330000.0, 1e-9);
}

static void order_delayed(void **state)
{
    (void)state;
    const char *text = "cluster: 1000 x h100\nfailures: {law: none}\ndays: 20\n"
                       "blocks: [{name: late, accelerators: 1000, day: 5}]\n"
                       "events: [{at: 1 d, what: order_delayed, target: late, lasts: 10 d}]\n";
    assert_near(test_one(text, "running_days"), 1000.0 * 5.0, 1e-9);
}

/* 60,000 flaps a day of 15,000 links; a job of 1,024 that tolerates two in five minutes. */
static void flaps(void **state)
{
    (void)state;
    const struct site_scenario *s =
        test_scenario("cluster: 1024 x h100\nfailures: {law: none}\ndays: 60\n"
                      "jobs: [{name: j, accelerators: 1024, restart: 0, flaps_tolerated: 2, "
                      "flap_window: 5 min}]\n"
                      "events: [{at: 1 d, what: flap_storm, lasts: 58 d, per_day: 4}]\n");
    const struct site_result *r = test_live(s, 1);
    double mean = 4.0 * 1024.0 / 288.0, few = exp(-mean) * (1.0 + mean + mean * mean / 2.0);
    assert_near(r->jobs[0].flaps / r->jobs[0].flap_windows, mean, 0.01);
    assert_near(r->jobs[0].flap_windows_over / r->jobs[0].flap_windows, 1.0 - few, 0.001);
    assert_true(r->jobs[0].interruptions > 1000.0);
}

/* Lines of a square wave: closed form, and a transform of its trace. */
static void waves(void **state)
{
    (void)state;
    static const double DUTY[] = {0.5, 0.7, 0.9};
    enum { N = 20000 }; /* 200 s at 10 ms, 100 periods */
    for (size_t d = 0; d < ARRAY_LEN(DUTY); d++) {
        const struct site_wave w = {200e6, DUTY[d], 2.0, 0.0};
        for (int n = 1; n <= 5; n++) {
            double re = 0.0, im = 0.0;
            for (int i = 0; i < N; i++) {
                double x = site_wave_at(&w, (i + 0.5) * 0.01), angle = 2.0 * M_PI * n * i / 200.0;
                re += x * cos(angle) * 2.0 / N;
                im += x * sin(angle) * 2.0 / N;
            }
            double want = 2.0 * 200e6 / (M_PI * n) * fabs(sin(M_PI * n * DUTY[d]));
            assert_near(site_wave_line(&w, n), want, 1e-12);
            assert_true(fabs(hypot(re, im) - want) <= 0.01 * want + 1.0);
        }
    }
    /* nine equal jobs without a common phase: a ninth of the mean square of one of their size */
    struct site_scenario *s = test_scenario("cluster: 9 x h100\n");
    struct site_sim x = {.s = s, .st = arena_alloc(&test_arena, sizeof(*x.st))};
    double sum = 0.0;
    s->n_jobs = 9;
    x.st->watts[0][SITE_DRAWS_RUN_COMPUTE] = 700.0;
    for (int i = 0; i < 9; i++) {
        s->jobs[i] = (struct site_job){.step_s = 10.0, .low_s = 2.0, .compute_share = 0.7};
        x.st->jobs[i] =
            (struct site_job_now){.state = SITE_STATE_RUNNING, .clock = 1.0, .alloc = {1}};
    }
    for (x.st->seed = 0; x.st->seed < 4000; x.st->seed++) {
        struct site_wave w[SITE_MAX_WAVES];
        double re = 0.0, im = 0.0, one = 0.0;
        assert_int_equal(site_waves(&x, w), 9);
        for (int i = 0; i < 9; i++) {
            re += site_wave_line(&w[i], 1) * cos(2.0 * M_PI * w[i].phase);
            im += site_wave_line(&w[i], 1) * sin(2.0 * M_PI * w[i].phase);
            one += site_wave_line(&w[i], 1);
        }
        sum += (re * re + im * im) / (one * one) / 4000.0;
    }
    assert_near(sum, 1.0 / 9.0, 0.05);
}

/* What the twin reports of a load's wave. */
static void reported_wave(void **state)
{
    (void)state;
    const struct site_scenario *s = test_scenario(
        "cluster: 1 x h100\nfailures: {law: none}\ndays: 1\ngas: []\n"
        "loads: [{name: l, watts: 500 MW, swing_w: 100 MW, period: 2 s, duty: 70 %}]\n");
    const struct site_result *r = test_live(s, 1);
    static const double WANT[] = {103.00724296, 60.54613829, 13.11508857, 18.70978558, 25.46479089};
    for (int i = 0; i < SITE_LINES; i++)
        assert_near(r->swing_line_w[i] / 1e6, WANT[i], 1e-6);
}

/* Titan's GPUs by their life table: who never failed, at each age. */
static void life_table(void **state)
{
    (void)state;
    static const char *const BATCH[] = {"new", "old"};
    for (int b = 0; b < 2; b++) {
        struct csv t;
        struct error e = {0};
        double hazard = 0.0;
        assert_ok(csv_load("tests/data/titan-gpu-life.csv", &test_arena, &t, &e), e);
        const char *text =
            arena_printf(&test_arena,
                         "cluster: 2000000 x h100\ndays: 1800\nrepair: {triage: 1e10 s}\n"
                         "failures: {law: table, table: tests/data/titan-gpu-life.csv, batch: %s,\n"
                         "  unit: 1, hardware_share: 100 %%}\n",
                         BATCH[b]);
        for (size_t i = 0; i < t.n_rows; i++) {
            double from, failed, days;
            const char *unit;
            if (strcmp(csv_field(&t, i, csv_column(&t, "batch")), BATCH[b]) != 0) continue;
            unit_parse(csv_field(&t, i, csv_column(&t, "age_from_d")), UNIT_NONE, &from, &unit);
            unit_parse(csv_field(&t, i, csv_column(&t, "removed_failed")), UNIT_NONE, &failed,
                       &unit);
            unit_parse(csv_field(&t, i, csv_column(&t, "gpu_days")), UNIT_NONE, &days, &unit);
            if (from < 1800.0) hazard += 30.0 * failed / days;
        }
        double failed = test_one(text, "failures"), want = 2e6 * (1.0 - exp(-hazard));
        assert_near(1.0 - failed / 2e6, exp(-hazard), 0.001); /* survival */
        assert_near(failed, want, 0.01);
    }
}

/* Sixteen seeds at least, then until 1 % is known. */
static void seeds(void **state)
{
    (void)state;
    const struct site_scenario *s = test_scenario("cluster: 16384 x h100\ndays: 20\ngas: []\n"
                                                  "failures: {hardware_share: 0}\n"
                                                  "jobs: [{name: j}]\n");
    const struct site_run_options o = {.seed = 1};
    struct site_seeds x;
    struct error e = {0};
    assert_ok(site_run_seeds(s, &o, 64, &test_arena, &x, &e), e);
    assert_true(x.n >= 16 && x.half_width <= 0.01);
    struct site_result *r = arena_alloc(&test_arena, sizeof(*r));
    const struct site_run_options third = {.seed = 3};
    run_with(s, &third, r);
    assert_memory_equal(&x.each[2], r, sizeof(*r));
    const struct site_run_options endless = {.seed = 1, .most_events = 50};
    assert_true(site_run_seeds(s, &endless, 64, &test_arena, &x, &e) < 0);
    assert_contains(e.text, "events in its first");
}

/* One run that deviates by 5 % takes 97 seeds to be known to 1 %; runs stop there. */
static void seeds_needed(void **state)
{
    (void)state;
    assert_int_equal(site_seeds_needed(0.05), 97);
    assert_int_equal(site_seeds_needed(0.0), 16);
    const struct site_scenario *s =
        test_scenario("cluster: 1024 x h100\ndays: 20\ngas: []\n"
                      "failures: {law: exponential, accelerator_days: 5120}\n"
                      "repair: {triage: 10 h, escalates: 0}\n"
                      "jobs: [{name: j, accelerators: 1024, restart: 1 h}]\n");
    const struct site_run_options o = {.seed = 1};
    struct site_seeds x;
    struct error e = {0};
    assert_ok(site_run_seeds(s, &o, 1000, &test_arena, &x, &e), e);
    double needed = site_seeds_needed(x.deviation);
    print_message("one seed deviates by %.2f %%: %zu seeds, %.0f needed\n", 100.0 * x.deviation,
                  x.n, needed);
    assert_true(x.deviation > 0.03 && x.n > 32 && x.n < 1000);
    assert_true((double)x.n >= needed && (double)x.n <= 1.15 * needed + 16.0);
}

/* Within a window each checkpoint is there by itself, and the mean is what it was. */
static void checkpoints_in_windows(void **state)
{
    (void)state;
    struct error e = {0};
    struct csv t;
    const struct site_scenario *s =
        test_scenario("cluster: 1024 x h100\ndays: 0.01\nfailures: {law: none}\ngas: []\n"
                      "battery: {power_w: 0, energy_wh: 0}\n"
                      "jobs: [{name: j, restart: 0, checkpoint: 18 s, stall: 2 s}]\n"
                      "events: [{at: 100 s, what: false_alarms, lasts: 1 s}]\n");
    struct site_result *r = arena_alloc(&test_arena, sizeof(*r));
    const struct site_run_options o = {.seed = 1, .csv = folder, .csv_every_s = 1.0};
    run_with(s, &o, r);
    assert_ok(csv_load(in_folder("site.csv"), &test_arena, &t, &e), e);
    const char *text = csv_field(&t, 110, csv_column(&t, "load_w")), *unit;
    double mean;
    assert_true(unit_parse(text, UNIT_NONE, &mean, &unit) == UNIT_OK);
    assert_ok(csv_load(in_folder("swing.csv"), &test_arena, &t, &e), e);
    double least = INFINITY, sum = 0.0, load;
    int low = 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < 6000; i++) {
            assert_true(unit_parse(csv_field(&t, i, csv_column(&t, "load_w")), UNIT_NONE, &load,
                                   &unit) == UNIT_OK);
            if (pass == 0) sum += load / 6000.0;
            if (pass == 0) least = fmin(least, load);
            low += pass == 1 && load < least * (1.0 + 1e-9);
        }
    assert_near(sum, mean, 1e-6);
    assert_int_equal(low, 600);
    assert_true(least < 0.9 * mean);
}

/* What units give off grows between events too: with a steady load each report adds the same. */
static void reported_nox(void **state)
{
    (void)state;
    struct error e = {0};
    struct csv t;
    const struct site_scenario *s =
        test_scenario("cluster: 1024 x h100\ndays: 1\nfailures: {law: none}\n"
                      "battery: {power_w: 0, energy_wh: 0}\ngrid: {contract_w: 0}\n"
                      "gas: [{name: g, units: 1, unit_w: 10 MW, mttf: 0, on: 1}]\n"
                      "loads: [{name: l, watts: 5 MW}]\n");
    struct site_result *r = arena_alloc(&test_arena, sizeof(*r));
    const struct site_run_options o = {.seed = 1, .csv = folder, .csv_every_s = 600.0};
    run_with(s, &o, r);
    assert_ok(csv_load(in_folder("site.csv"), &test_arena, &t, &e), e);
    double nox, all = r->stack_g[SITE_NOX] / 1e6;
    assert_true(all > 0.0);
    for (int i = 0; i < 144; i++) {
        const char *unit, *text = csv_field(&t, (size_t)i, csv_column(&t, "nox_t"));
        assert_true(unit_parse(text, UNIT_NONE, &nox, &unit) == UNIT_OK);
        assert_near(nox / all, i / 144.0, 1e-3);
    }
}

static const struct site_scenario *with_trace(const char *csv, int n, const char *more, double days)
{
    struct error e = {0};
    const char *path = in_folder("jobs.csv");
    assert_ok(file_write(path, csv, strlen(csv), &e), e);
    return test_scenario(
        arena_printf(&test_arena,
                     "cluster: %d x h100\ndays: %.9g\n%s"
                     "jobs: [{name: t, kind: replay, accelerators: %d, trace: %s,\n"
                     "  restart: 0}]\n",
                     n, days, more, n, path));
}

/* Backfill: c begins before b, which waits for all eight; d would make b wait, and does not. */
static void backfill(void **state)
{
    (void)state;
    const struct site_scenario *s = with_trace("submit_s,accelerators,duration_s,state\n"
                                               "0,6,100,COMPLETED\n1,8,100,FAILED\n"
                                               "2,2,50,COMPLETED\n3,2,200,COMPLETED\n",
                                               8, "failures: {law: none}\n", 0.01);
    const struct site_job_result *j = &test_live(s, 1)->jobs[0];
    assert_int_equal(j->small_done, 4);
    assert_near(j->small_wait_s, 0.0 + 99.0 + 0.0 + 197.0, 1e-6);
    assert_near(j->part_s[SITE_PART_PRODUCTIVE], (600.0 + 800.0 + 100.0 + 400.0) / 8.0, 1e-6);
    assert_near(j->small_failed_s / j->small_s, 800.0 / 1900.0, 1e-9);
}

/* Jobs of one accelerator that come and last at random: each waits until the first of eight is free
 * (Kiefer and Wolfowitz, 1955), in the mean as long as Erlang's C says. */
static void queue_of_jobs(void **state)
{
    (void)state;
    enum { JOBS = 200000, SERVERS = 8 };
    struct str csv = {0};
    double at = 0.0, free_at[SERVERS] = {0}, waited = 0.0;
    str_puts(&csv, "submit_s,accelerators,duration_s\n");
    for (uint64_t i = 0; i < JOBS; i++) {
        double lasts = floor(-1e8 * log(rng_uniform(7, 2, i) + 0x1p-54)) * 1e-6;
        at += floor(-1e8 / 6.4 * log(rng_uniform(7, 1, i) + 0x1p-54)) * 1e-6;
        str_printf(&csv, "%.6f,1,%.6f\n", at, lasts);
        int first = 0;
        for (int k = 1; k < SERVERS; k++)
            if (free_at[k] < free_at[first]) first = k;
        waited += fmax(free_at[first] - at, 0.0);
        free_at[first] = fmax(free_at[first], at) + lasts;
    }
    const struct site_scenario *s =
        with_trace(csv.data, SERVERS, "failures: {law: none}\n", at / 86400.0 + 0.1);
    str_fini(&csv);
    const struct site_job_result *j = &test_live(s, 1)->jobs[0];
    double b = 1.0;
    for (int k = 1; k <= SERVERS; k++)
        b = 6.4 * b / (k + 6.4 * b);
    double waits = b / (1.0 - 0.8 * (1.0 - b));
    assert_int_equal(j->small_done, JOBS);
    assert_near(j->small_wait_s, waited, 1e-5);
    assert_near(j->small_wait_s / JOBS, waits * 100.0 / (SERVERS - 6.4), 0.1);
}

/* With failures, a lack of power and a pause in between. */
static void trace_that_is_hit(void **state)
{
    (void)state;
    struct str csv = {0};
    str_puts(&csv, "submit_s,accelerators,duration_s\n");
    for (uint64_t i = 0; i < 2000; i++)
        str_printf(&csv, "%.3f,%d,%.3f\n", 500.0 * (double)i, 1 << rng_u64(3, 1, i) % 9,
                   6000.0 * rng_uniform(3, 2, i));
    const struct site_scenario *s =
        with_trace(csv.data, 512,
                   "failures: {law: exponential, accelerator_days: 100}\ngas: []\n"
                   "grid: {contract_w: 2 MW}\nevents:\n"
                   "  - {at: 3 d, what: curtailment, lasts: 5 h, watts: 100 kW}\n"
                   "  - {at: 5 d, what: sag_train, depth: 0.1, times: [3, 5, 9, 12]}\n",
                   12.0);
    str_fini(&csv);
    const struct site_result *r = test_live(s, 1);
    const struct site_job_result *j = &r->jobs[0];
    assert_true(j->small_done > 1500 && j->small_done <= 2000);
    assert_true(j->part_s[SITE_PART_ROLLBACK] > 0.0 && j->part_s[SITE_PART_POWER] > 3600.0);
    assert_true(j->part_s[SITE_PART_IDLE] > 0.0 && j->interruptions > 15.0);
    struct site_result *b = arena_alloc(&test_arena, sizeof(*b));
    const char *path = in_folder("paused.site");
    const struct site_run_options first = {.seed = 1, .pause_s = 3.07 * 86400.0, .save = path};
    const struct site_run_options then = {.resume = path};
    run_with(s, &first, b);
    run_with(s, &then, b);
    assert_memory_equal(r, b, sizeof(*r));
}

/* Where the assumptions are the planner's, so are the answers. */
static void closed_forms_of_plans(void **state)
{
    (void)state;
    const struct site_scenario *s = test_scenario(
        "cluster: 16384 x h100\nsite: colossus-1\ngas: []\ngrid: {contract_w: 1 GW}\ndays: 365\n"
        "failures: {law: none}\n"
        "jobs: [{name: j, accelerators: 16384, restart: 0, stall: 0, checkpoint: 3600 s,\n"
        "  compute_share: 70 %}]\n");
    const struct site_result *r = test_live(s, 1);
    const int64_t used[MACHINE_MAX_POOLS] = {16384};
    struct machine_draw d;
    struct machine_cooling_year year;
    machine_draw(&s->cluster, used, 0.0, 0.7, &d);
    machine_cooling_year(&s->site, &year);
    double it = machine_it_w(d.accelerators_w + d.other_w, d.network_w);
    assert_near(r->it_j / 365.0 / 86400.0, it, 1e-6);
    assert_near(r->load_j / r->it_j, year.mean_pue, 1e-6);
    assert_near(r->water_l / (r->it_j / 3.6e6), year.mean_l_per_kwh, 1e-6);
    struct machine_checkpoint c; /* a storm of a million: 14 s at 2 TB/s */
    const struct machine_cluster storage = {
        .storage_write_bytes_per_s = {.mid = 2e12, .grade = 'A'}};
    machine_checkpoint(&storage, 2e12, 1e6, &c);
    assert_near(c.write_s, 14.0, 1e-12);
}

/* Accelerators that wait for a checkpoint draw less: so much that sources must take in. By the
 * specification's figures, 0.95 to 0.25 of 1.2 kW of a million in 14 s, 3.2667 MWh; by this chip's own
 * watts, of each checkpoint of a run. */
static void checkpoint_storm(void **state)
{
    (void)state;
    assert_near(1e6 * 1200.0 * (0.95 - 0.25) * 14.0 / 3.6e9, 3.2666666666666666, 1e-12);
    const char *text =
        "cluster: 1024 x h100\nfailures: {law: none}\ndays: 10\ngas: []\n"
        "jobs: [{name: j, accelerators: 1024, checkpoint: 1 h, stall: %s, restart: 0,\n"
        "  compute_share: 1}]\n";
    const struct site_scenario *s[2];
    const struct site_result *r[2];
    const char *a = strstr(text, "%s");
    for (int i = 0; i < 2; i++) {
        s[i] = test_scenario(
            arena_printf(&test_arena, "%.*s%s%s", (int)(a - text), text, i ? "14 s" : "0", a + 2));
        r[i] = test_live(s[i], 1);
    }
    struct machine_phase_power p;
    machine_phase_power(s[0]->cluster.pools[0].accelerator, 0.0, &p);
    double waits = r[1]->jobs[0].part_s[SITE_PART_CHECKPOINT];
    assert_near(waits, 14.0 * r[1]->jobs[0].checkpoints, 1e-9);
    assert_true(r[1]->jobs[0].checkpoints > 200.0);
    /* power is the mean of a whole interval, of the last one, which does not end, as well */
    double less = machine_it_w(1024.0 * (p.compute_w - p.comm_w), 0.0) * 864000.0 * 14.0 / 3614.0;
    print_message("a checkpoint of 14 s draws %.4g MWh less of a million of these\n",
                  (r[0]->it_j - r[1]->it_j) / 3.6e9 / r[1]->jobs[0].checkpoints * 1e6 / 1024.0);
    assert_near(r[0]->it_j - r[1]->it_j, less, 1e-6);
}

/* A job of which only a name is stated has spares, in whole nodes, and lives through failures; one that
 * goes on with less, needs none, or stands on a node or two takes all. */
static void sizes_by_default(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double wants;
    } CASES[] = {{"cluster: 16384 x h100\njobs: [{name: j}]\n", 16384.0 - 62.0 * 8.0},
                 {"cluster: 16384 x h100\njobs: [{name: j, accelerators: 16384}]\n", 16384.0},
                 {"cluster: 64 x h100\njobs: [{name: j}]\n", 56.0},
                 {"cluster: 16 x h100\njobs: [{name: j}]\n", 16.0},
                 {"cluster: 1 x h100\njobs: [{name: j}]\n", 1.0},
                 {"cluster: 1024 x h100\njobs: [{name: j, elastic_min: 50 %}]\n", 1024.0},
                 {"cluster: 1024 x h100\njobs: [{name: j, kind: serving}]\n", 1024.0},
                 {"cluster: 7200 x gb200\njobs: [{name: j, block: 72}]\n", 7200.0 - 3.0 * 72.0}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        const struct site_scenario *s = test_scenario(CASES[i].text);
        print_message("%s", CASES[i].text);
        assert_near(site_job_wants(s, 0), CASES[i].wants, 1e-12);
    }
    /* the smallest scenario of docs/site.md, ninety days of it */
    const struct site_scenario *s = test_scenario(CASES[0].text);
    const struct site_result *r = test_live(s, 1);
    assert_true(site_goodput(s, r) > 0.9);
    char text[8192] = {0};
    FILE *out = fmemopen(text, sizeof text - 1, "w");
    assert_non_null(out);
    site_print(s, r, out);
    fclose(out);
    assert_non_null(strstr(text, "j states no size: it wants 15888 accelerators and leaves 496"));
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
        cmocka_unit_test(checkpoint_storm),
        cmocka_unit_test(same_bits),
        cmocka_unit_test(paused_and_resumed),
        cmocka_unit_test(goes_on_in_files),
        cmocka_unit_test(presets),
        cmocka_unit_test(building),
        cmocka_unit_test(order_delayed),
        cmocka_unit_test(flaps),
        cmocka_unit_test(waves),
        cmocka_unit_test(reported_wave),
        cmocka_unit_test(life_table),
        cmocka_unit_test(seeds),
        cmocka_unit_test(seeds_needed),
        cmocka_unit_test(backfill),
        cmocka_unit_test(queue_of_jobs),
        cmocka_unit_test(trace_that_is_hit),
        cmocka_unit_test(checkpoints_in_windows),
        cmocka_unit_test(reported_nox),
        cmocka_unit_test(closed_forms_of_plans),
        cmocka_unit_test(sizes_by_default),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
