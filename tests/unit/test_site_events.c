/* test_site_events.c: events of a scenario that go on at the same time, what is put in later, and what a
 * log says of them. */
#include "test_site_util.h"

#define HEAD "cluster: 1 x h100\nfailures: {law: none}\ncontrols: {pause: false}\n"
#define BARE "gas: []\ndays: 1\n"
#define JOBS                                                                                 \
    "cluster: 1024 x h100\nfailures: {law: exponential, accelerator_days: 2000}\ndays: 20\n" \
    "repair: {triage: 0, escalates: 0}\n"

/* The end of one leaves the other in force; of two that go on the stricter one decides. */
static void overlapping_supply(void **state)
{
    (void)state;
    static const char curtailed[] =
        HEAD BARE "grid: {contract_w: 60 MW}\nloads: [{name: l, watts: 40 MW}]\nevents:\n"
                  "  - {at: 2 h, what: %s, lasts: 9 h, watts: 25 MW}\n"
                  "  - {at: 4 h, what: %s, lasts: 1 h, watts: %s}\n";
    static const char *const kinds[] = {"curtailment", "grid_limit"};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        const char *same = arena_printf(&test_arena, curtailed, kinds[i], kinds[i], "25 MW"),
                   *looser = arena_printf(&test_arena, curtailed, kinds[i], kinds[i], "35 MW"),
                   *stricter = arena_printf(&test_arena, curtailed, kinds[i], kinds[i], "5 MW");
        assert_near(test_one(same, "unserved_wh"), 135e6, 1e-4);
        assert_near(test_one(looser, "unserved_wh"), 135e6, 1e-4);
        assert_near(test_one(stricter, "unserved_wh"), 155e6, 1e-4);
    }
    assert_near(test_one(HEAD "days: 1\ngrid: {contract_w: 0}\n"
                              "gas: [{name: t, units: 5, unit_w: 10 MW, mttf: 0, derate_per_k: 0, "
                              "min_load: 0, ramp_w_per_s: 0, on: 5, start: 0, min_up: 24 h}]\n"
                              "loads: [{name: l, watts: 40 MW}]\nevents:\n"
                              "  - {at: 2 h, what: fuel_loss, share: 60 %, lasts: 6 h}\n"
                              "  - {at: 4 h, what: fuel_loss, share: 60 %, lasts: 1 h}\n",
                         "unserved_wh"),
                120e6, 1e-3);
}

static double of(const char *head, const char *events, const char *name)
{
    return test_one(arena_printf(&test_arena, "%sevents: [%s]\n", head, events), name);
}

/* An event with a shorter one of its kind inside is what it is alone. */
static void overlapping_others(void **state)
{
    (void)state;
    static const struct {
        const char *head, *longer, *inside, *figure;
    } cases[] = {
        {HEAD
         "days: 1\ngrid: {contract_w: 0}\ngas: [{name: t, units: 2, unit_w: 30 MW, nox_ppm: 5}]\n"
         "loads: [{name: l, watts: 40 MW}]\n",
         "{at: 2 h, what: emissions, lasts: 20 h, nox_ppm: 25}",
         "{at: 4 h, what: emissions, lasts: 1 h, nox_ppm: 25}", "nox_t"},
        {JOBS, "{at: 1 d, what: bad_firmware, lasts: 15 d, factor: 20, per_day: 0.5}",
         "{at: 3 d, what: bad_firmware, lasts: 1 d, factor: 10, per_day: 0.1}", "failures"},
        {JOBS, "{at: 1 d, what: false_alarms, lasts: 15 d, factor: 20}",
         "{at: 3 d, what: false_alarms, lasts: 1 d, factor: 10}", "false_alarms"},
        {JOBS "jobs: [{name: a, accelerators: 512}]\n",
         "{at: 1 d, what: flap_storm, lasts: 15 d, per_day: 2}",
         "{at: 3 d, what: flap_storm, lasts: 1 d, per_day: 1}", "interruptions"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *both = arena_printf(&test_arena, "%s, %s", cases[i].longer, cases[i].inside);
        double alone = of(cases[i].head, cases[i].longer, cases[i].figure);
        assert_true(of(cases[i].head, cases[i].inside, cases[i].figure) < 0.7 * alone);
        assert_near(of(cases[i].head, both, cases[i].figure), alone, 1e-9);
    }
}

static void put_in(void **state)
{
    (void)state;
    struct error e = {0};
    const char *text =
        HEAD BARE "grid: {contract_w: 60 MW}\nloads: [{name: l, watts: 40 MW}]\n"
                  "events: [{at: 2 h, what: curtailment, lasts: 1 h, watts: 25 MW}]\n";
    const struct site_scenario *s = test_scenario(text);
    struct site_scenario *more = arena_alloc(&test_arena, sizeof(*more));
    assert_ok(site_inject(s, "[{at: 1 h, what: curtailment, lasts: 2 h, watts: 10 MW}]",
                          &test_arena, more, &e),
              e);
    assert_int_equal(more->n_events, 2);
    assert_true(more->events[0].at_s == 3600.0 && s->n_events == 1);
    assert_true(more->fingerprint != s->fingerprint);
    assert_near(test_figure(s, test_live(s, 1), "unserved_wh"), 15e6, 1e-4);
    assert_near(test_figure(more, test_live(more, 1), "unserved_wh"), 60e6, 1e-4);
    static const struct {
        const char *text, *says;
    } wrong[] = {{"{at: 1 h}", "a list of events"},
                 {"[{at: 1 h, what: turbine_trip}]", "the site has none"},
                 {"[{at: 1 h, what: heat_wave}]", "by how much"},
                 {"[{at: 1 h, what: heatwave}]", "heatwave"},
                 {"[{at: 1 h, what: leak, pool: 3}]", "of pool 3"}};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(site_inject(s, wrong[i].text, &test_arena, more, &e), ERROR_CONFIG);
        assert_contains(e.text, wrong[i].says);
        assert_contains(e.text, "event:1:");
    }
}

/* A whole month, and what follows from the day where a file of weather has no months. */
static void months_of_weather(void **state)
{
    (void)state;
    struct error e = {0};
    struct site_weather w;
    const char *text = "dry_bulb_c,wet_bulb_c\n20,10\n21,11\n", *half =
                                                                    "dry_bulb_c,wet_bulb_c,month\n"
                                                                    "20,10,1.5\n";
    assert_ok(site_parse_weather(text, strlen(text), "w.csv", &test_arena, &w, &e), e);
    assert_int_equal(w.hours[1].month, 0);
    assert_int_equal(site_parse_weather(half, strlen(half), "w.csv", &test_arena, &w, &e),
                     ERROR_CONFIG);
    assert_contains(e.text, "w.csv:2: 'month' 1.5");
}

/* What the twin cannot count any more ends the run, and is not left out. */
static void too_many_down(void **state)
{
    (void)state;
    struct error e = {0};
    const struct site_run_options o = {.seed = 1};
    const struct site_scenario *s = test_scenario(
        "cluster: 100000 x h100\nfailures: {law: none}\ndays: 3\n"
        "causes: [{name: node, instances: 100000, mtbf: 100 h, mttr: 10 h, takes: 1}]\n");
    struct site_result *r = arena_alloc(&test_arena, sizeof(*r));
    assert_int_equal(site_run(s, &o, r, &e), ERROR_FAILED);
    assert_contains(e.text, "of 'node' are down at once");
    assert_near(test_one("cluster: 64 x h100\nfailures: {law: none}\ndays: 2\n"
                         "causes: [{name: hall, mtbf: 1 s, mttr: 20000000 h}]\n",
                         "common_cause_h"),
                48.0, 1e-3); /* also what still stands at the end */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overlapping_supply), cmocka_unit_test(overlapping_others),
        cmocka_unit_test(put_in), cmocka_unit_test(months_of_weather),
        cmocka_unit_test(too_many_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
