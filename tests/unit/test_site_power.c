/* test_site_power.c: sources, battery, deficit, ramps, sags, permits and money beside their closed
 * forms. */
#include "test_site_util.h"

#define ONE  "cluster: 1 x h100\nfailures: {law: none}\n"
#define GRID "site: us-average\n"

/* A battery that takes a square wave loses a part of what passes through it, and nothing when idle. */
static void wave_through_the_battery(void **state)
{
    (void)state;
    const char *text =
        ONE "days: 2.0833333333333335\ngas: []\n"
            "battery: {power_w: 208 MW, energy_wh: 811 MWh, efficiency: 91 %, start: 50 %,\n"
            "  target: 0, floor: 10 %, ceiling: 100 %}\n"
            "loads: [{name: wave, watts: 300 MW, swing_w: 125 MW, period: 5 s}]\n";
    struct site_scenario *s = test_scenario(text);
    const struct site_result *r = test_live(s, 1);
    double way = sqrt(0.91), loss = 125e6 * (1.0 / way - way) / 2.0;
    assert_near(test_figure(s, r, "battery_loss_w"), loss, 1e-9);
    assert_near(test_figure(s, r, "charge_ripple"), 125e6 * 2.5 / way / 3600.0 / 811e6, 1e-9);
    assert_near(test_figure(s, r, "charge_end"), 0.5 - loss * 50.0 / 811e6, 1e-9);
    /* 55.01 h to the floor, and there it stays */
    s = test_scenario(text);
    s->days = 10.0;
    r = test_live(s, 1);
    assert_near(test_figure(s, r, "charge_low"), 0.1, 1e-8);
    assert_true(test_figure(s, r, "charge_low") >= 0.1 - 1e-12);
    assert_near(r->battery_loss_j / loss / 3600.0, 0.4 * 811e6 / loss, 1e-8);
    s->loads[0].swing_w = 0.0;
    assert_true(test_live(s, 1)->battery_loss_j == 0.0);
}

/* The same charge at any interval of reports is test_site_run's; here: each way, with a ramp. */
static void battery_bridges_a_ramp(void **state)
{
    (void)state;
    const char *text =
        ONE GRID "days: 0.25\ngas: []\n"
                 "grid: {contract_w: 300 MW, ramp_w_per_s: 10 MW/min}\n"
                 "battery: {power_w: 100 MW, energy_wh: 50 MWh, start: 90 %, target: 0}\n"
                 "loads: [{name: step, watts: 66.7 MW, by_hour: [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, "
                 "2, 2, 2, 2, 2,\n"
                 "  2, 2, 2, 2, 2, 2, 2, 2]}]\n";
    const struct site_scenario *s = test_scenario(text);
    const struct site_result *r = test_live(s, 1);
    assert_near(r->battery_out_j / 3.6e9, 0.5 * 66.7 * 66.7 / 10.0 / 60.0, 1e-6);
    assert_true(r->unserved_j == 0.0);
}

/* 10 MW/min are allowed; 100 MW in five minutes, each hour, are twice that: 23 times a day. */
static void ramps_of_the_contract(void **state)
{
    (void)state;
    const char *text = ONE GRID
        "days: 1\ngas: []\ngrid: {contract_w: 2 GW, ramp_limit_w_per_s: 10 MW/min}\n"
        "loads: [{name: hourly, watts: 900 MW, ramp: 300 s, by_hour: [1, 1.1111111111111112, 1,\n"
        "  1.1111111111111112, 1, 1.1111111111111112, 1, 1.1111111111111112, 1, "
        "1.1111111111111112,\n"
        "  1, 1.1111111111111112, 1, 1.1111111111111112, 1, 1.1111111111111112, 1,\n"
        "  1.1111111111111112, 1, 1.1111111111111112, 1, 1.1111111111111112, 1,\n"
        "  1.1111111111111112]}]\n";
    const struct site_scenario *s = test_scenario(text);
    const struct site_result *r = test_live(s, 1);
    assert_int_equal(r->ramps, 23);
    assert_near(r->ramp_s / 60.0, 115.0, 1e-6);
}

/* Load falls away on an island. */
static void island(void **state)
{
    (void)state;
    const char *text =
        ONE "days: 0.25\ngrid: {contract_w: 0}\n"
            "gas: [{name: t, units: 25, unit_w: 50.9 MW, min_load: 0, ramp_w_per_s: 0, on: 25,\n"
            "  min_up: 24 h, mttf: 0, inertia_s: 2.8, derate_per_k: 0}]\n"
            "battery: {power_w: %s, energy_wh: %s}\n"
            "loads: [{name: job, watts: 300 MW, by_hour: [3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, "
            "2, 2, 2, 2,\n"
            "  2, 2, 2, 2, 2, 2, 2]}]\n";
    const char *const sizes[2][2] = {{"0", "0"}, {"150 MW", "100 MWh"}};
    for (int i = 0; i < 2; i++) {
        const char *a = strstr(text, "%s");
        const char *whole = arena_printf(&test_arena, "%.*s%s, energy_wh: %s%s", (int)(a - text),
                                         text, sizes[i][0], sizes[i][1], strchr(a + 4, '}'));
        const struct site_scenario *s = test_scenario(whole);
        const struct site_result *r = test_live(s, 1);
        double alone = 300.0 / (2.0 * 2.8 * 1272.5) * 60.0;
        assert_near(test_figure(s, r, "island_hz_per_s"), alone, 0.01);
        assert_near(test_figure(s, r, "island_limit_s"), 1.8 / alone, 0.01);
        assert_near(test_figure(s, r, "island_hz_per_s_with_battery"), i ? 0.5 * alone : alone,
                    0.01);
    }
}

/* Supplies with 65 J ride through 66 ms at 0.40, not at 0.25. */
static void sags(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const struct site_scenario *s = test_scenario(
            arena_printf(&test_arena,
                         "cluster: 64 x h100\nfailures: {law: none}\ndays: 1\n"
                         "jobs: [{name: j, restart: 60 s}]\nsupplies: {ups: false}\n"
                         "events: [{at: 9 h, what: sag_train, depth: %s, sag: 66 ms}]\n",
                         i ? "0.25" : "0.40"));
        const struct site_result *r = test_live(s, 1);
        assert_int_equal(r->sags_ridden, i ? 0 : 1);
        assert_int_equal(r->sag_trips, i ? 1 : 0);
        assert_int_equal(r->jobs[0].interruptions, i ? 1 : 0);
    }
    /* six in 82 s: the UPS is away from the third on, and three trip */
    const struct site_scenario *s = test_scenario(
        "cluster: 64 x h100\nfailures: {law: none}\ndays: 1\njobs: [{name: j, restart: 1 s}]\n"
        "events: [{at: 9 h, what: sag_train, depth: 0.25, times: [14, 28, 45, 62, 82]}]\n");
    const struct site_result *r = test_live(s, 1);
    assert_near(test_figure(s, r, "ups_lockout_at_s"), 9.0 * 3600.0 + 28.0, 1e-9);
    assert_int_equal(r->sags, 6);
    assert_int_equal(r->sag_trips, 3);
}

/* 700 MW by night, 950 by day, units of 38: six start each day; a limit of 22 is passed on day 23. */
static void starts(void **state)
{
    (void)state;
    const char *text =
        ONE "days: 90\ngrid: {contract_w: 0}\npermits: {starts: 22}\n"
            "gas: [{name: t, units: 30, unit_w: 38 MW, mttf: 0, ramp_w_per_s: 0, derate_per_k: 0,\n"
            "  min_load: 10 %, start: 1 min}]\n"
            "loads: [{name: day, watts: 100 MW, by_hour: [6.99, 6.99, 6.99, 6.99, 6.99, 6.99, "
            "6.99, 6.99,\n"
            "  9.49, 9.49, 9.49, 9.49, 9.49, 9.49, 9.49, 9.49, 9.49, 9.49, 9.49, 9.49,\n"
            "  6.99, 6.99, 6.99, 6.99]}]\n";
    const struct site_scenario *s = test_scenario(text);
    const struct site_result *r = test_live(s, 1);
    assert_int_equal(r->gas[0].starts, 540);
    assert_int_equal(r->gas[0].unit_starts_most, 90);
    assert_int_equal(r->gas[0].over_starts_day, 23);
}

/* What the stack leaves at 2, 9 and 25 ppm; tonnes a year; carbon dioxide; fuel's price. */
static void stacks(void **state)
{
    (void)state;
    static const struct {
        double mw, ppm, kj, lb_per_mwh, short_t;
    } CASES[] = {{247, 2, 10160, 0.07866103, 85.1002},
                 {421, 25, 10160, 0.98326288, 1813.117},
                 {100, 9, 10160, 0.3539746, 155.04}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        const struct site_scenario *s = test_scenario(
            arena_printf(&test_arena,
                         ONE "days: 365\ngrid: {contract_w: 0}\n"
                             "gas: [{name: t, units: 10, unit_w: %.9g MW, mttf: 0, nox_ppm: %g,\n"
                             "  heat_rate: %g, derate_per_k: 0, ramp_w_per_s: 0}]\n"
                             "loads: [{name: l, watts: %.9g MW}]\n",
                         CASES[i].mw / 8.0, CASES[i].ppm, CASES[i].kj, CASES[i].mw));
        const struct site_result *r = test_live(s, 1);
        double mwh = r->gas[0].energy_j / 3.6e9;
        assert_near(r->gas[0].nox_g / 453.59237 / mwh, CASES[i].lb_per_mwh, 1e-4);
        assert_near(r->gas[0].nox_g / 907184.74, CASES[i].short_t, 1e-3);
        assert_near(r->co2_g / 1e3 / mwh, 566.4704, 0.002);
        assert_near(r->fuel_usd / mwh, CASES[i].kj / 0.902 / 1055.06 * 3.5, 1e-9);
    }
}

/* Twelve months that do not begin in January: 25 ppm for thirty days, then 2. */
static void rolling_permit(void **state)
{
    (void)state;
    const char *text =
        ONE "days: 500\ngrid: {contract_w: 0}\npermits: {nox: 160 short-t/year}\n"
            "gas: [{name: t, units: 15, unit_w: 20 MW, mttf: 0, nox_ppm: 2, heat_rate: 10160,\n"
            "  derate_per_k: 0, ramp_w_per_s: 0}]\n"
            "loads: [{name: l, watts: 247 MW}]\n"
            "events: [{at: 0, what: emissions, nox_ppm: 25, lasts: 30 d}]\n";
    const struct site_scenario *s = test_scenario(text);
    const struct site_result *r = test_live(s, 1);
    assert_near(r->nox_rolling_t / 0.90718474, 165.537417, 0.001);
    double hot = 0.98326288 * 24.0 * 247.0 / 2000.0, clean = 0.07866103 * 24.0 * 247.0 / 2000.0;
    assert_int_equal(r->nox_over_day, 30 + (int)ceil((160.0 - 30.0 * hot) / clean));
}

static void hot_air(void **state)
{
    (void)state;
    const double air[2] = {36.0, 42.0}, want[2] = {1098.80375, 1049.17625};
    for (int i = 0; i < 2; i++) /* what an island lacks at a load of 1,272.5 MW */
        assert_near(1272.5 * machine_gas_derated(0.0065, 15.0, air[i]), want[i], 1e-9);
    const char *text =
        ONE "days: 1\ngrid: {contract_w: 0}\n"
            "site: {like: us-average, climate: {dry_bulb_c: [36, 36, 36, 36, 36, 36, 36, 36, 36, "
            "36, 36, 36],\n"
            "  wet_bulb_c: [20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20]}}\n"
            "gas: [{name: t, units: 25, unit_w: 50.9 MW, mttf: 0, ramp_w_per_s: 0, on: 25}]\n"
            "loads: [{name: l, watts: 1272.5 MW}]\n";
    const struct site_scenario *s = test_scenario(text);
    const struct site_result *r = test_live(s, 1);
    assert_near(r->gas_j / 86400.0 / 1e6, 1098.80375, 1e-9);
}

/* RTS-GMLC: 27 combustion turbines of 55 MW, 969 h up and 31 h down; all 49 units together. */
static void forced_outages(void **state)
{
    (void)state;
    const char *text =
        ONE "days: 20000\n"
            "gas:\n"
            "  - {name: CT 55, units: 27, unit_w: 55 MW, mttf: 969 h, mttr: 31 h, on: 27}\n"
            "  - {name: CT 20, units: 12, unit_w: 20 MW, mttf: 450 h, mttr: 50 h, on: 12}\n"
            "  - {name: CC, units: 10, unit_w: 355 MW, mttf: 967 h, mttr: 33 h, on: 10}\n"
            "grid: {last: true}\nloads: [{name: l, watts: 9 GW}]\n";
    const struct site_scenario *s = test_scenario(text);
    const struct site_result *r = test_live(s, 1);
    const struct site_gas_result *g = &r->gas[0];
    assert_near(g->out_s / (g->out_s + g->run_s), 0.031, 0.03);
    print_message("all 49 units: %.4f\n", test_figure(s, r, "gas_outage_share"));
    double all = (27 * 0.031 + 12 * 0.1 + 10 * 0.033) / 49.0;
    assert_near(test_figure(s, r, "gas_outage_share"), all, 0.05);
}

/* 1 GW for 90 days at 0.065 a kWh; storms and all, nothing else was drawn. */
static void energy_bill(void **state)
{
    (void)state;
    const char *text = ONE "days: 90\ngas: []\ngrid: {contract_w: 2 GW, usd_per_kwh: 0.065}\n"
                           "loads: [{name: l, watts: 1 GW}]\n";
    const struct site_scenario *s = test_scenario(text);
    const struct site_result *r = test_live(s, 1);
    assert_near(r->other_j / 3.6e6 * 0.065, 140400000.0, 1e-9);
    assert_near(r->grid_usd, r->load_j / 3.6e6 * 0.065, 1e-12);
}

/* Sources do not suffice: first a cap, then the job of lower priority, and what is shed is a line. */
static void deficit(void **state)
{
    (void)state;
    const char *text =
        "cluster: 8192 x h100\nfailures: {law: none}\ndays: 2\ngas: []\n"
        "grid: {contract_w: 20 MW}\n"
        "jobs: [{name: high, accelerators: 4096, priority: 2}, {name: low, accelerators: 4096}]\n"
        "events: [{at: 10 h, what: curtailment, lasts: 3 h, watts: %s MW}]\n";
    static const struct {
        const char *left;
        int caps, pauses, sheds;
    } CASES[] = {{"12", 0, 0, 0}, {"8.6", 1, 0, 0}, {"7.4", 1, 1, 0}, {"1", 1, 2, 1}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        const char *a = strstr(text, "%s");
        const struct site_scenario *s = test_scenario(
            arena_printf(&test_arena, "%.*s%s%s", (int)(a - text), text, CASES[i].left, a + 2));
        const struct site_result *r = test_live(s, 1);
        print_message("%s MW left: %g caps, %g pauses, %g sheds, %.3g MWh unserved\n",
                      CASES[i].left, r->caps, r->pauses, r->sheds, r->unserved_j / 3.6e9);
        assert_true((r->caps > 0) == (CASES[i].caps > 0));
        assert_int_equal(r->pauses, CASES[i].pauses);
        assert_int_equal(r->sheds, CASES[i].sheds);
        if (i == 0) assert_true(r->unserved_j == 0.0);
        if (CASES[i].pauses) /* three hours, and until it is taken back */
            assert_near(r->jobs[1].part_s[SITE_PART_POWER], 3.0 * 3600.0, 0.2);
        if (CASES[i].pauses < 2) assert_true(r->jobs[0].part_s[SITE_PART_POWER] == 0.0);
        if (CASES[i].sheds) assert_true(r->unserved_j > 3600.0 * 3e6);
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
        cmocka_unit_test(wave_through_the_battery),
        cmocka_unit_test(battery_bridges_a_ramp),
        cmocka_unit_test(ramps_of_the_contract),
        cmocka_unit_test(island),
        cmocka_unit_test(sags),
        cmocka_unit_test(starts),
        cmocka_unit_test(stacks),
        cmocka_unit_test(rolling_permit),
        cmocka_unit_test(hot_air),
        cmocka_unit_test(forced_outages),
        cmocka_unit_test(energy_bill),
        cmocka_unit_test(deficit),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
