/* test_site_scenarios.c: scenarios that are wrong: each is refused with the file, the line and what to
 * write instead; and one that begins with another. */
#include "test_site_util.h"

#define C "cluster: 64 x h100\n"

static const struct {
    const char *text;
    const char *line; /* where it points: "2:" */
    const char *says, *hint;
} WRONG[] = {
    {"days: 3\n", "1:", "'cluster' of a scenario is missing", "cluster: "},
    {"cluster: 64 x h200000\n", "1:", "there is no accelerator", ""},
    {"cluster: 64 h100\n", "1:", "written otherwise", "64 x h100"},
    {C "site: colosus-1\n", "2:", "there is no site", "colossus-1"},
    {C "dayz: 3\n", "2:", "unknown key 'dayz'", "days"},
    {C "days: 0\n", "2:", "'days'", "90"},
    {C "days: ninety\n", "2:", "'days'", "90"},
    {C "days: [1, 2]\n", "2:", "not a list", "90"},
    {C "- 3\n", "2:", "", ""},
    {C "days: 3\ndays: 4\n", "3:", "days", ""},
    {C "failures: 3\n", "2:", "'failures' is a section", "law"},
    {C "failures: {law: weibul}\n", "2:", "'failures.law'", "weibull"},
    {C "failures: {law: weibull}\n", "2:", "without scale_days", "2596"},
    {C "failures: {law: exponential}\n", "2:", "without accelerator_days", "2111"},
    {C "failures: {law: table}\n", "2:", "none is named", "titan.csv"},
    {C "failures: {law: table, table: none.csv}\n", "2:", "there is no table", "life.csv"},
    {C "failures: {lemons: 120 %}\n", "2:", "'failures.lemons'", "15 %"},
    {C "failures: {hardware_share: -1}\n", "2:", "'failures.hardware_share'", "100 %"},
    {C "repair: {crews: 1.5}\n", "2:", "'repair.crews'", "45"},
    {C "repair: {crew: 4}\n", "2:", "unknown key 'repair.crew'", "repair.crews"},
    {C "repair: {hands: 2 hours}\n", "2:", "'repair.hands'", "2.5 h"},
    {C "repair: {law: normal}\n", "2:", "'repair.law'", "exponential"},
    {C "blocks: {accelerators: 3}\n", "2:", "'blocks' is a list", "[{accelerators"},
    {C "blocks: [{day: 3}]\n", "2:", "'accelerators' of a block is missing", "110000"},
    {C "blocks: [{accelerators: 65}]\n", "2:", "the pool 64", "64"},
    {C "blocks: [{accelerators: 6, pool: 2}]\n", "2:", "of pool 2", "pool: 1"},
    {C "jobs: [{accelerators: 3}]\n", "2:", "'name' of a job is missing", "pretraining"},
    {C "jobs: [{name: a, kind: train}]\n", "2:", "'kind'", "serving"},
    {C "jobs: [{name: a, step: 1 s, low: 2 s}]\n", "2:", "longer than its step", "low: 0.25 s"},
    {C "jobs: [{name: a, pool: 3}]\n", "2:", "of pool 3", "pool: 1"},
    {C "jobs:\n  - {name: a, restart: 300 MW}\n", "3:", "'restart'", "300 s"},
    {C "jobs: [{name: a, kind: serving, by_hour: [1, 2]}]\n", "2:", "list of 24", "0.4"},
    {C "jobs: [{name: a, by_hour: [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]}]\n",
     "2:", "at most 1", ""},
    {C "jobs: [{name: a, accelerators: 65}]\n", "2:", "the cluster has 64", "64"},
    {C "jobs: [{name: a, accelerators: 60, block: 8}]\n", "2:", "no whole racks of 8", "56"},
    {C "jobs: [{name: a, kind: replay, accelerators: 8}]\n", "2:", "no trace is named", "jobs.csv"},
    {C "jobs: [{name: a, kind: replay, trace: x.csv}]\n", "2:", "no accelerators", "16384"},
    {C "jobs: [{name: a, kind: replay, trace: x.csv, accelerators: 8}]\n",
     "2:", "there is no trace", "jobs.csv"},
    {C "jobs: [{name: a, block: 72}]\n", "2:", "wants 72 accelerators, the cluster has 64", "64"},
    {C "causes: [{name: c, mtbf: 1 h, hall: west}]\n", "2:", "of hall 'west'", "hall: west"},
    {C "events: [{at: 3 d, what: maintenance, target: hall 9}]\n", "2:", "not there", "h100"},
    {C "cooling: {flow: 0}\n", "2:", "'cooling.flow'", "67 %"},
    {C "permits: {co2: 3 kg}\n", "2:", "'permits.co2'", "t/year"},
    {C "controls: {damper: 80 W}\n", "2:", "'controls.damper'", "80 %"},
    {C "gas: [{name: t}]\n", "2:", "'units' of gas units is missing", "16"},
    {C "gas: [{name: t, units: 3, unit_w: 38 GJ}]\n", "2:", "'unit_w'", "38 MW"},
    {C "gas: [{name: t, units: 3, unit_w: 38 MW, on: 4}]\n", "2:", "more than its 3 units",
     "on: 3"},
    {C "gas: [{name: a, units: 100, unit_w: 1 MW}, {name: b, units: 100, unit_w: 1 MW}]\n",
     "2:", "200 units, at most", ""},
    {C "gas: [{name: t, units: 3, unit_w: 38 MW, heat_rate: [[0.5, 1e4], [0.4, 1e4]]}]\n",
     "2:", "loads rise", "13848"},
    {C "gas: [{name: t, units: 3, unit_w: 38 MW, heat_rate: 900}]\n", "2:", "3,600 to 100,000", ""},
    {C "loads: [{name: l}]\n", "2:", "'watts' of a load is missing", "5 MW"},
    {C "loads: [{name: l, watts: 1 MW, swing_w: 1 MW}]\n", "2:", "has no period", "5 s"},
    {C "loads: [{name: l, watts: 1 MW, ramp: 2 h}]\n", "2:", "longer than an hour", "300 s"},
    {C "causes: [{name: c, mtbf: 0}]\n", "2:", "'mtbf' of 'c' is 0", "50000 h"},
    {C "causes: [{name: c, mtbf: 1 h, units: 1, needs: 2}]\n", "2:", "more than its units", ""},
    {C "battery: {start: 2 %}\n", "2:", "floor <= start <= ceiling", "50 %"},
    {C "battery: {power_w: 3 MW, energy_wh: 0}\n", "2:", "given together", ""},
    {C "battery: {power_w: 3 MW}\n", "2:", "given together", "655 MWh"},
    {C "jobs: [{name: a}, {name: a}]\n", "2:", "two entries of 'jobs' are called 'a'", "a 2"},
    {C "jobs: [{name: ''}]\n", "2:", "an entry of 'jobs' has an empty name", "pretraining"},
    {C "gas: [{name: t, units: 1, unit_w: 1 MW}, {name: t, units: 1, unit_w: 1 MW}]\n",
     "2:", "two entries of 'gas'", "t 2"},
    {C "loads: [{name: l, watts: 5 MW, swing_w: 9 MW, period: 5 s}]\n", "2:", "below 0 W", "5e+06"},
    {C "cold_spares: 65\n", "2:", "65 cold spares, the cluster has 64", "cold_spares: 1"},
    {C "gas: []\nevents: [{at: 1 h, what: turbine_trip}]\n", "3:", "the site has none", "38 MW"},
    {C "repair: {readmit_fails: 100 %, hands: 0, turnaround: 0}\n", "2:", "nothing passes", "5 %"},
    {C "cooling: {weather: nowhere}\n", "2:", "there is no weather 'nowhere'", "memphis-tmy3"},
    {C "cooling: {law: tower}\n", "2:", "'cooling.law'", "loop"},
    {C "cooling: {start_day: 400}\n", "2:", "'cooling.start_day'", "152"},
    {C "controls: {cap_min: 800 W}\n", "2:", "'controls.cap_min'", "80 %"},
    {C "events: [{at: 3 d}]\n", "2:", "'what' of an event is missing", "heat_wave"},
    {C "events: [{at: 3 d, what: heatwave}]\n", "2:", "'what'", "heat_wave"},
    {C "events: [{what: heat_wave}]\n", "2:", "'at' of an event is missing", "12 d"},
    {C "events: [{at: 3 d, what: turbine_trip, target: x}]\n", "2:", "the site has none", "38 MW"},
    {C "events: [{at: 3 d, what: sag_train, times: [3, 2]}]\n", "2:", "do not fall", "14"},
    {C "events: [{at: 3 d, what: maintenance, pool: 4}]\n", "2:", "of pool 4", "pool: 1"},
    {C "events: log.jsonl\n", "2:", "there is no log", "FILE.jsonl"},
    {C "like: colossus-2-1mm\n", "2:", "there is no scenario", "colossus-2-1m"},
    {C "money: {capital: maybe}\n", "2:", "true or false", ""},
    {C "events: [{at: 3 d, what: heat_wave}]\n", "2:", "by how much", "kelvin: 6"},
    {C "events: [{at: 3 d, what: heat_wave, kelvin: 3, watts: 1 MW}]\n",
     "2:", "does not know 'watts'", "curtailment"},
    {C "events: [{at: 3 d, what: curtailment, target: x}]\n", "2:", "takes no 'target'", "leave"},
    {C "battery: {target: 99 %}\n", "2:", "above its ceiling", "battery.target: 95 %"},
    {C "controls: {cap: 70 %, cap_min: 90 %}\n", "2:", "above controls.cap 70 %", "cap_min: 70 %"},
    {C "failures: {law: weibull, scale_days: 3, accelerator_days: 4}\n", "2:", "by both",
     "leave one"},
    {"cluster: [\n", "", "test.yaml", ""},
    {"", "", "test.yaml", ""},
};

static void wrong_scenarios(void **state)
{
    (void)state;
    int bad = 0;
    for (size_t i = 0; i < ARRAY_LEN(WRONG); i++) {
        struct error e = {0};
        struct yaml_node *root;
        const struct yaml_reader r = {"test.yaml", &test_arena, &e, 0};
        struct site_scenario *s = arena_alloc(&test_arena, sizeof(*s));
        int rc = yaml_parse(WRONG[i].text, strlen(WRONG[i].text), r.path, &test_arena, &root, &e);
        if (rc >= 0) rc = site_read_root(&r, root, s);
        const char *where = arena_printf(&test_arena, "test.yaml:%s", WRONG[i].line);
        bool good = rc == ERROR_CONFIG && strstr(e.text, WRONG[i].line[0] ? where : "test.yaml") &&
                    strstr(e.text, WRONG[i].says) && strstr(e.hint, WRONG[i].hint);
        if (good) continue;
        bad++;
        print_message("%s-> %d %s | %s\n", WRONG[i].text, rc, e.text, e.hint);
    }
    assert_int_equal(bad, 0);
    assert_true(ARRAY_LEN(WRONG) >= 50);
}

static void like_another(void **state)
{
    (void)state;
    const struct site_scenario *s =
        test_scenario("like: colossus-1-200k\ndays: 3\ncluster: 200000 x h200\nrepair: {crews: 3}\n"
                      "jobs: [{name: only, accelerators: 1024}]\n");
    assert_int_equal(s->n_jobs, 1);
    assert_int_equal(s->repair.crews, 3);
    assert_int_equal(s->repair.night_crews, 20); /* the other's */
    assert_int_equal(s->cluster.n_pools, 1);
    assert_int_equal(s->n_blocks, 1); /* of its own cluster */
    assert_int_equal(s->blocks[0].accelerators, 200000);
    assert_int_equal(s->n_gas, 1);
    assert_string_equal(s->site.name, "colossus-1");
    assert_string_equal(s->name, "test");
    s = test_scenario("like: sag-train\ngas: []\n");
    assert_int_equal(s->n_gas, 0);
    assert_int_equal(s->n_events, 1);
}

/* A site of the planner feeds a scenario that says nothing of its sources. */
static void sources_of_the_site(void **state)
{
    (void)state;
    const struct site_scenario *s = test_scenario("cluster: 1000 x h100\nsite: colossus-1\n");
    assert_int_equal(s->n_gas, 1);
    assert_int_equal(s->gas[0].units, 5);
    assert_near((double)s->gas[0].units * s->gas[0].unit_w, 247e6, 1e-12);
    double mwh_lb = machine_gas_nox_g_per_kwh(s->gas[0].nox_ppm, s->gas[0].heat_kj_per_kwh[0]);
    assert_near(mwh_lb, 0.08 * 0.45359237, 1e-9);
    assert_near(machine_gas_co2_g_per_kwh(s->gas[0].heat_kj_per_kwh[0]), 566.0, 1e-9);
}

/* Ends of the scale: a laptop's worth and an hour; a hundred million and nothing that runs. */
static void extremes(void **state)
{
    (void)state;
    const struct site_result *r =
        test_live(test_scenario("cluster: 1 x h100\ndays: 0.04\njobs: [{name: j}]\n"), 1);
    assert_true(r->load_j > 0.0);
    r = test_live(test_scenario("cluster: 100000000 x gb300\ndays: 0.01\n"), 1);
    assert_true(r->failures > 100.0);
    /* an island without a source: all of it is unserved */
    r = test_live(test_scenario(C "site: us-average\ngas: []\ngrid: {contract_w: 0}\ndays: 1\n"
                                  "jobs: [{name: j}]\n"),
                  1);
    assert_near(r->unserved_j, r->load_j, 1e-9);
    assert_true(r->served_j <= 1e-9 * r->load_j && r->jobs[0].part_s[SITE_PART_POWER] > 80000.0);
}

static int start(void **state)
{
    (void)state;
    arena_init(&test_arena);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    arena_fini(&test_arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_scenarios),
        cmocka_unit_test(like_another),
        cmocka_unit_test(sources_of_the_site),
        cmocka_unit_test(extremes),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
