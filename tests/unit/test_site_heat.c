/* test_site_heat.c: weather, cooling by the hour, dies and loops beside their closed forms. */
#include "test_site_util.h"

#include <math.h>

static const char SPEC[] =
    "cluster: 20000 x h100\nfailures: {law: none}\ndays: 365\ngas: []\n"
    "cooling: {law: loop, weather: memphis-tmy3, supply_c: 32, approach_k: 8,\n"
    "  span_k: 10, pumps: 0.02, fans: 0.04, electrical: 0.04}\n"
    "jobs: [{name: j, kind: gangs, stall: 0}]\n";

/* Months of a stated specification on the same typical hours. */
static void months(void **state)
{
    (void)state;
    static const double WANT[12] = {1.0658375820, 1.0677420102, 1.0784978277, 1.1013964897,
                                    1.1709048342, 1.2538721702, 1.3035756020, 1.2864212682,
                                    1.2183746047, 1.1025847888, 1.0765128896, 1.0687513431};
    const struct site_scenario *s = test_scenario(SPEC);
    const struct site_result *r = test_live(s, 1);
    for (int m = 0; m < 12; m++)
        assert_near(r->pue_month_load_j[m] / r->pue_month_it_j[m], WANT[m], 1e-6);
    assert_near(test_figure(s, r, "pue"), 1.150069131564949, 1e-6);
    assert_int_equal(r->hours_hot[0], 680);
    assert_int_equal(r->hours_hot[1], 401);
    assert_int_equal(r->hours_hot[2], 56);
    int chilled =
        0; /* hours that are too warm for dry coolers alone, 8 K below the 32 C asked for */
    for (size_t i = 0; i < s->weather->n; i++)
        chilled += (double)s->weather->hours[i].dry_c + 8.0 > 32.0 + 1e-5;
    assert_int_equal(chilled, 2403);
    assert_near(r->dry_high_c, 38.3, 1e-6);
    assert_true(fabs(r->wet_high_c - 26.85) < 0.1);
}

static void wet_bulbs(void **state)
{
    (void)state;
    /* psychrolib 2.5 at the hour's pressure: the hottest hour of Memphis */
    const struct site_scenario *s = test_scenario(SPEC);
    size_t hottest = 0;
    for (size_t i = 0; i < s->weather->n; i++)
        if (s->weather->hours[i].dry_c > s->weather->hours[hottest].dry_c) hottest = i;
    assert_int_equal(s->weather->n, 8760);
    assert_true(fabs(s->weather->hours[hottest].wet_c - 25.70) < 0.1);
    /* ASHRAE's own example is saturated air; dry air at sea level is not */
    assert_true(fabs(machine_wet_bulb_c(20.0, 1.0, 101325.0) - 20.0) < 1e-6);
    assert_true(fabs(machine_wet_bulb_c(30.0, 0.5, 101325.0) - 22.0) < 0.1);
    assert_true(machine_wet_bulb_c(-10.0, 0.5, 101325.0) < -10.0);
    assert_true(machine_wet_bulb_c(30.0, 0.5, 85000.0) < machine_wet_bulb_c(30.0, 0.5, 101325.0));
}

/* The exact step has no step size. */
static void dies(void **state)
{
    (void)state;
    static const double STEPS[] = {0.1, 1.0, 3.0}, AT[] = {3.0, 9.0, 27.0},
                        WANT[] = {55.363898255474865, 65.40507209426247, 74.56613243100551};
    for (size_t k = 0; k < ARRAY_LEN(STEPS); k++)
        for (size_t i = 0; i < ARRAY_LEN(AT); i++) {
            double t = 47.2;
            for (int n = 0; n < (int)round(AT[i] / STEPS[k]); n++)
                t = machine_die_step(t, 40.0 + 0.03 * 1200.0, 0.03 * 300.0, STEPS[k]);
            assert_near(t, WANT[i], 1e-9);
        }
    assert_near(machine_die_alone_s(9.0, 1200.0, 300.0), 2.25, 1e-12);
    assert_near(machine_die_alone_s(15.0, 700.0, 300.0), 6.428571428571429, 1e-12);
    assert_near(machine_loop_k_per_s(132e3, 30.0), 1.0526315789473684, 1e-12);
}

static void coolers_and_chillers(void **state)
{
    (void)state;
    const struct machine_dry_cooler c = {2.931e6, 35.0, 46.11, 40.55};
    static const double AIR[] = {25, 30, 38, 42},
                        MW[] = {5.569163816, 4.250081908, 2.139550855, 1.084285329};
    for (size_t i = 0; i < ARRAY_LEN(AIR); i++)
        assert_near(machine_dry_cooler_w(&c, 46.11, AIR[i]) / 1e6, MW[i], 1e-6);
    assert_near(machine_fan_share(11.11 / 21.11), 0.09007346009685312, 1e-9);
    assert_near(machine_coolant_rise_k(1000.0, 1.5, 992.3, 4179.0), 9.64594161354948, 1e-9);
    assert_near(machine_coolant_rise_k(1000.0, 1.5, 1009.9, 3968.6), 9.980315972512155, 1e-9);
    /* at 10 C water within the 10th to 90th percentile of 49 catalogue units above 300 kW */
    static const double BAND[][5] = {{15, 4.02, 5.11, 1.20, 1.35},
                                     {35, 3.01, 3.26, 1.085, 1.12},
                                     {43, 2.39, 2.72, 0.986, 1.025}};
    for (size_t i = 0; i < ARRAY_LEN(BAND); i++) {
        double capacity, cop;
        assert_true(machine_chiller(10.0, BAND[i][0], &capacity, &cop));
        assert_true(cop > BAND[i][1] && cop < BAND[i][2]);
        assert_true(capacity > BAND[i][3] && capacity < BAND[i][4]);
        assert_false(machine_chiller(22.0, BAND[i][0], &capacity, &cop)); /* beyond its curves */
    }
    /* colder than any chiller sees: finite, and more than 1 */
    struct machine_loop_state l;
    const struct machine_loop loop = {.supply_c = 20,
                                      .approach_k = 8,
                                      .span_k = 10,
                                      .pumps = 0.02,
                                      .fans = 0.04,
                                      .electrical = 0.04,
                                      .chiller_share = 1,
                                      .chilled_c = 10,
                                      .catalogue = true};
    for (double t = -40.0; t <= 50.0; t += 0.7) {
        machine_loop_overhead(&loop, t, &l);
        assert_true(isfinite(l.overhead) && l.overhead > 0.06 && l.overhead < 0.7);
        assert_true(l.supply_c >= 20.0 && l.supply_c < 23.0); /* hotter than 43 C it warms up */
    }
}

/* One dry cooler of the catalogue's point, 36.11 C supplied and 46.11 C back. */
static void coolers_of_a_site(void **state)
{
    (void)state;
    static const int AIR[] = {25, 30, 38, 42};
    static const double MW[] = {5.569163816, 4.250081908, 2.139550855, 1.084285329};
    for (size_t i = 0; i < ARRAY_LEN(AIR); i++) {
        const struct site_scenario *s = test_scenario(
            arena_printf(&test_arena,
                         "cluster: 1024 x h100\nfailures: {law: none}\ndays: 2\ngas: []\n"
                         "site: {like: us-average, climate: {\n"
                         "  dry_bulb_c: [%d, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20],\n"
                         "  wet_bulb_c: [15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15]}}\n"
                         "cooling: {law: coolers, coolers: 1, supply_c: 36.11, span_k: 10}\n"
                         "jobs: [{name: j, restart: 0}]\n",
                         AIR[i]));
        const struct site_result *r = test_live(s, 1);
        assert_near(test_figure(s, r, "coolers_least_w") / 1e6, MW[i], 1e-6);
        /* 1.2 MW of heat: by the cooler alone but in the hottest air, where the chillers help */
        double it = r->it_j / 86400.0 / 2.0, share = fmin(it / (1e6 * MW[i]), 1.0), capacity, cop;
        machine_chiller(10.0, AIR[i], &capacity, &cop);
        double more =
            0.06 + 117680.0 * pow(share, 3.75) / it + fmax(1.0 - 1e6 * MW[i] / it, 0.0) / cop;
        assert_near(test_figure(s, r, "pue"), 1.0 + more, 1e-3);
    }
}

/* At two thirds of the flow the pumps draw 8/27; the coolant rises by half more. */
static void pumps(void **state)
{
    (void)state;
    assert_near(machine_pump_share(2.0 / 3.0), 0.2962962962962962, 1e-9);
    double pue[2];
    for (int i = 0; i < 2; i++) /* cold air: no chiller runs, and no fan */
        pue[i] = test_one(arena_printf(&test_arena,
                                       "cluster: 1024 x h100\nfailures: {law: none}\ndays: 1\n"
                                       "gas: []\n"
                                       "cooling: {law: loop, pumps: 9 %%, fans: 0, electrical: 0,\n"
                                       "  flow: %s}\njobs: [{name: j, restart: 0}]\n",
                                       i ? "0.6666666666666666" : "1"),
                          "pue");
    assert_near(pue[0], 1.09, 1e-3); /* cooling begins with what idles */
    assert_near((pue[1] - 1.0) / (pue[0] - 1.0), 8.0 / 27.0, 1e-9);
}

/* Hot coolant lowers the clock; the same without chillers. */
static void throttling(void **state)
{
    (void)state;
    const char *text = "cluster: 64 x gb200\nfailures: {law: none}\ndays: 30\ngas: []\n"
                       "cooling: {law: loop, weather: memphis-tmy3, start_day: 190, supply_c: 32,\n"
                       "  chiller_share: %s}\n"
                       "jobs: [{name: j, restart: 1 s}]\n"
                       "events: [{at: 10 d, what: heat_wave, lasts: 5 d, kelvin: 12}]\n";
    const char *a = strstr(text, "%s");
    const struct site_scenario *whole =
        test_scenario(arena_printf(&test_arena, "%.*s1%s", (int)(a - text), text, a + 2));
    const struct site_scenario *none =
        test_scenario(arena_printf(&test_arena, "%.*s0%s", (int)(a - text), text, a + 2));
    const struct site_result *r = test_live(whole, 1), *hot = test_live(none, 1);
    assert_true(r->throttled_s == 0.0 && r->jobs[0].part_s[SITE_PART_SLOWED] == 0.0);
    print_message("without chillers throttled for %.1f h, %.3f %% slower\n",
                  hot->throttled_s / 3600.0,
                  100.0 * hot->jobs[0].part_s[SITE_PART_SLOWED] / hot->jobs[0].wall_s);
    assert_true(hot->throttled_s > 5.0 * 3600.0 && hot->die_high_c <= 85.0 + 1e-6);
    assert_true(hot->jobs[0].part_s[SITE_PART_SLOWED] > 0.0);
}

static void broken_weather(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } CASES[] = {
        {"", "weather.csv"},
        {"dry_bulb_c\n20\n", "no column wet_bulb_c or rh_pct"},
        {"wet_bulb_c\n20\n", "no column dry_bulb_c"},
        {"dry_bulb_c,wet_bulb_c\n", "0 hours"},
        {"dry_bulb_c,wet_bulb_c\n20,25\n", "above dry_bulb_c"},
        {"dry_bulb_c,wet_bulb_c\n20,x\n", "weather.csv:2"},
        {"dry_bulb_c,wet_bulb_c\n20,10\n99,10\n", "weather.csv:3"},
        {"dry_bulb_c,rh_pct\n20,101\n", "from 0 to 100"},
        {"dry_bulb_c,rh_pct,pressure_mbar\n20,50,101325\n", "from 300 to 1100"},
        {"dry_bulb_c,wet_bulb_c,month\n20,10,13\n", "from 1 to 12"},
        {"dry_bulb_c,wet_bulb_c\n20\n", "weather.csv:2"},
        {"dry_bulb_c,wet_bulb_c\nnan,nan\n", "weather.csv:2"},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct error e = {0};
        struct site_weather w;
        int rc = site_parse_weather(CASES[i].text, strlen(CASES[i].text), "weather.csv",
                                    &test_arena, &w, &e);
        assert_int_equal(rc, ERROR_CONFIG);
        assert_contains(e.text, CASES[i].says);
    }
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
        cmocka_unit_test(months),         cmocka_unit_test(wet_bulbs),
        cmocka_unit_test(dies),           cmocka_unit_test(coolers_and_chillers),
        cmocka_unit_test(throttling),     cmocka_unit_test(pumps),
        cmocka_unit_test(broken_weather), cmocka_unit_test(coolers_of_a_site),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
