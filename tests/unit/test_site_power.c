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

/* An island has no grid whose voltage could sag. */
static void no_sags_on_an_island(void **state)
{
    (void)state;
    const struct site_result *r = test_live(
        test_scenario("cluster: 64 x h100\nfailures: {law: none}\ndays: 2\ngrid: {contract_w: 0}\n"
                      "gas: [{name: g, units: 1, unit_w: 1 MW, mttf: 0, on: 1}]\n"
                      "events: [{at: 9 h, what: sag_train, depth: 0.25, times: [14, 28]}]\n"),
        1);
    assert_true(r->sags == 0.0 && r->sag_trips == 0.0);
}

/* What the wave costs ends at the floor, whether the battery comes there by it or by a deficit, and
 * whatever is queued next. */
static void wave_ends_at_the_floor(void **state)
{
    (void)state;
    static const struct {
        const char *battery, *grid, *swing;
        double floor;
    } CASES[] = {
        {"power_w: 3 MW, energy_wh: 50 kWh, floor: 0 %", "6 MW", "2.5 MW", 0.0},
        {"power_w: 3 MW, energy_wh: 50 kWh, floor: 0 %, target: 0 %", "16 MW", "2.5 MW", 0.0},
        {"power_w: 5 MW, energy_wh: 5 MWh", "6 MW", "2 MW", 0.05},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct site_scenario *s = test_scenario(
            arena_printf(&test_arena,
                         ONE "days: 3\ngas: []\ngrid: {contract_w: %s}\nbattery: {%s}\n"
                             "loads: [{name: l, watts: 10 MW, swing_w: %s, period: 5 s}]\n",
                         CASES[i].grid, CASES[i].battery, CASES[i].swing));
        double low = test_figure(s, test_live(s, 1), "charge_low");
        assert_true(low >= CASES[i].floor - 1e-9 && low <= CASES[i].floor + 1e-3);
    }
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
    assert_near(r->battery_out_j / 3.6e9, 3.7074083333333334, 1e-9);
    assert_true(r->unserved_j == 0.0);
    /* it is there after 66.7 MW / (10 MW/min) = 400.2 s, and not a second before: until then the
     * battery has given P t - r t^2 / 2 */
    struct site_scenario *part = test_scenario(text);
    static const double AFTER_S[] = {100.0, 399.2, 400.2, 900.0};
    for (size_t i = 0; i < ARRAY_LEN(AFTER_S); i++) {
        double t = fmin(AFTER_S[i], 400.2);
        part->days = (3600.0 + AFTER_S[i]) / 86400.0;
        assert_near(test_live(part, 1)->battery_out_j, 66.7e6 * t - 10e6 / 60.0 * t * t / 2.0,
                    1e-7);
    }
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

/* Other steps than those of the reference: what lies within the limit over any minute is none, however
 * long; what is beyond lasts until the minute before is level again. */
static void other_ramps(void **state)
{
    (void)state;
    static const struct {
        double mw, seconds, limit; /* MW/min */
        int ramps;
        double over_s; /* of one: T + 60 - 2 (60 limit / slope) */
    } CASES[] = {{80, 240, 12, 3, 228}, {150, 300, 10, 3, 320}, {80, 401, 12, 0, 0},
                 {80, 2000, 12, 0, 0},  {50, 200, 16, 0, 0},    {60, 0, 30, 3, 60}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        double high = 9.0 + CASES[i].mw / 100.0, t = CASES[i].seconds;
        const struct site_scenario *s = test_scenario(arena_printf(
            &test_arena,
            ONE GRID "days: 0.25\ngas: []\n"
                     "grid: {contract_w: 2 GW, ramp_limit_w_per_s: %g MW/min}\n"
                     "loads: [{name: l, watts: 100 MW, ramp: %g s, by_hour: [9, %.17g, %.17g, 9,\n"
                     "  %.17g, %.17g, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]}]\n",
            CASES[i].limit, t, high, high, high, high));
        const struct site_result *r = test_live(s, 1);
        assert_int_equal(r->ramps, CASES[i].ramps);
        assert_near(r->ramp_s, 3.0 * CASES[i].over_s, 1e-6);
        bool steep = t > 0.0 && CASES[i].mw * 60.0 / t > CASES[i].limit;
        assert_near(r->steep_s, steep ? 3.0 * t : 0.0, 1e-6);
    }
}

/* Units that trip a thousand times a second: events of one microsecond, a stale one among them, do
 * not leave the load unshared (the balance is checked at every event, and ends the program). */
static void trips_without_end(void **state)
{
    (void)state;
    const struct site_result *r = test_live(
        test_scenario("cluster: 64 x h100\nfailures: {law: none}\ndays: 0.01\n"
                      "grid: {contract_w: 0}\nloads: [{name: l, watts: 10 kW}]\n"
                      "gas: [{name: t, units: 2, unit_w: 20 kW, start: 0, stop_after: 0,\n"
                      "  min_up: 0, min_down: 0, mttf: 1 ms, mttr: 0}]\n"),
        1);
    assert_true(r->gas[0].trips > 1e5);
    assert_true(r->balance_worst <= 1e-9);
}

/* A unit that just stopped must rest; another that has rested starts in its place, and nothing is
 * missing: one of two running trips after a third was stopped by an hour of less load. Where there
 * is none, the battery bridges until the third has rested. */
static void rested_units_start(void **state)
{
    (void)state;
    static const struct {
        int units;
        const char *rest;
        double bridged_s; /* 4 MW of 9 are missing from 1.5 h on; a start takes a minute */
    } CASES[] = {{6, "2 h", 60}, {3, "2 h", 1.5 * 3600 + 60}, {3, "75 min", 0.75 * 3600 + 60}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        const struct site_result *r = test_live(
            test_scenario(arena_printf(
                &test_arena,
                ONE "days: 0.25\ngrid: {contract_w: 0}\ncontrols: {pause: false}\n"
                    "gas: [{name: t, units: %d, unit_w: 5 MW, start: 1 min, stop_after: 0,\n"
                    "  min_up: 0, min_down: %s, mttf: 0, derate_per_k: 0, min_load: 0,\n"
                    "  ramp_w_per_s: 0, on: 3}]\n"
                    "battery: {power_w: 10 MW, energy_wh: 20 MWh}\n"
                    "loads: [{name: l, watts: 9 MW, by_hour: [1.5, 1, 1, 1, 1, 1, 1, 1, 1, 1,\n"
                    "  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]}]\n"
                    "events: [{at: 90 min, what: turbine_trip, units: 1, lasts: 10 h}]\n",
                CASES[i].units, CASES[i].rest)),
            1);
        assert_true(r->unserved_j == 0.0);
        assert_near(r->battery_out_j, 4e6 * CASES[i].bridged_s, 0.05 * 60.0 / CASES[i].bridged_s);
        assert_int_equal(r->caps, 0);
    }
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
    assert_near(machine_sag_missing_j(1400.0, 0.40, 1.1, 0.066), 51.744, 1e-12);
    assert_near(machine_sag_missing_j(1400.0, 0.25, 1.1, 0.066), 66.99, 1e-12);
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
        assert_near((r->stack_g[SITE_CO2] + r->grid_co2_g) / 1e3 / mwh, 566.4704, 0.002);
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
    assert_near(r->rolling_t[SITE_NOX] / 0.90718474, 165.537417, 0.001);
    double hot = 0.98326288 * 24.0 * 247.0 / 2000.0, clean = 0.07866103 * 24.0 * 247.0 / 2000.0;
    assert_int_equal(r->over_day[SITE_NOX], 30 + (int)ceil((160.0 - 30.0 * hot) / clean));
}

/* Carbon dioxide and monoxide in any twelve months, with those before; starts and hours of a unit. */
static void other_permits(void **state)
{
    (void)state;
    const char *text =
        ONE "days: 500\ngrid: {contract_w: 0}\n"
            "permits: {co2: 1e6 t/year, co2_before_t: 730000, co: 40 short-t/year, hours: 5000}\n"
            "gas: [{name: t, units: 15, unit_w: 20 MW, mttf: 0, co_ppm: 2, heat_rate: 10160,\n"
            "  derate_per_k: 0, ramp_w_per_s: 0}]\nloads: [{name: l, watts: 247 MW}]\n";
    const struct site_scenario *s = test_scenario(text);
    const struct site_result *r = test_live(s, 1);
    double co2_day = r->stack_g[SITE_CO2] / 1e6 / 500.0, co_day = r->stack_g[SITE_CO] / 1e6 / 500.0;
    assert_near(co2_day, 566.4704 * 247.0 * 24.0 / 1e3, 0.002);
    assert_near(r->rolling_t[SITE_CO2], co2_day * 365.0, 1e-6);
    assert_int_equal(r->over_day[SITE_CO2], ceil((1e6 - 730000.0) / (co2_day - 2000.0)));
    assert_near(r->rolling_t[SITE_CO], co_day * 365.0, 1e-6);
    assert_int_equal(r->over_day[SITE_CO], ceil(40.0 * 0.90718474 / co_day));
    assert_int_equal(r->gas[0].over_hours_day, ceil(5000.0 / 24.0));
    assert_true(r->over_day[SITE_NOX] < 0.0);
    /* six of thirty units start each day for 800 days: 400 of one in any 365 are never reached; where
     * 22 are allowed and then it stands still, it starts 22 times in each of three years */
    for (int i = 0; i < 2; i++) {
        s = test_scenario(arena_printf(
            &test_arena,
            ONE "days: 800\ngrid: {contract_w: 0}\npermits: {%s}\n"
                "gas: [{name: t, units: 30, unit_w: 38 MW, mttf: 0, ramp_w_per_s: 0,\n"
                "  derate_per_k: 0, min_load: 10 %%, start: 1 min}]\n"
                "loads: [{name: day, watts: 100 MW, by_hour: [6.99, 6.99, 6.99, 6.99, 6.99, 6.99, "
                "6.99, 6.99,\n"
                "  9.49, 9.49, 9.49, 9.49, 9.49, 9.49, 9.49, 9.49, 9.49, 9.49, 9.49, 9.49,\n"
                "  6.99, 6.99, 6.99, 6.99]}]\n",
            i ? "starts: 22, stops: true" : "starts: 400"));
        r = test_live(s, 1);
        assert_int_equal(r->gas[0].unit_starts_most, i ? 66 : 800);
        assert_true(r->gas[0].over_starts_day < 0.0);
    }
}

/* Of each month its own highest draw is paid: 200 MW in one hour of January, 100 MW else. */
static void demand(void **state)
{
    (void)state;
    const char *text =
        ONE GRID "days: 59\ngas: []\ngrid: {contract_w: 2 GW, usd_per_kw_month: 10}\n"
                 "loads: [{name: l, watts: 100 MW}]\n"
                 "events: [{at: 31 d, what: grid_limit, watts: 50 MW, lasts: 28 d}]\n";
    const struct site_scenario *s = test_scenario(text);
    const struct site_result *r = test_live(s, 1);
    assert_near(r->demand_usd, 10.0 * (r->grid_peak_w / 1e3 + 50e3), 1e-9);
    text = ONE GRID "days: 45.5\ngas: []\ngrid: {contract_w: 2 GW, usd_per_kw_month: 7}\n"
                    "loads: [{name: l, watts: 100 MW}]\n";
    s = test_scenario(text); /* half of February is half a month */
    r = test_live(s, 1);
    assert_near(r->demand_usd, 7.0 * r->grid_peak_w / 1e3 * (1.0 + 14.5 / 28.0), 1e-9);
}

/* Software that burns what accelerators wait for: a smaller wave, a slower job. */
static void damper(void **state)
{
    (void)state;
    const struct site_scenario *s[2];
    const struct site_result *r[2];
    for (int i = 0; i < 2; i++) {
        s[i] = test_scenario(
            arena_printf(&test_arena,
                         "cluster: 1024 x h100\nfailures: {law: none}\ndays: 2\ngas: []\n"
                         "controls: {damper: %s, damper_slows: 3 %%}\n"
                         "jobs: [{name: j, restart: 0, stall: 0, low: 1 s, step: 10 s}]\n",
                         i ? "60 %" : "0"));
        r[i] = test_live(s[i], 1);
    }
    struct machine_phase_power p;
    machine_phase_power(s[0]->cluster.pools[0].accelerator, 0.0, &p);
    assert_true(0.6 * p.cap_w > p.comm_w && 0.6 * p.cap_w < p.compute_w);
    double left = (p.compute_w - 0.6 * p.cap_w) / (p.compute_w - p.comm_w);
    assert_near(test_figure(s[1], r[1], "swing_w"), left * test_figure(s[0], r[0], "swing_w"),
                1e-9);
    assert_near(r[1]->jobs[0].part_s[SITE_PART_SLOWED] / r[1]->jobs[0].wall_s, 0.03, 1e-9);
    assert_true(r[0]->jobs[0].part_s[SITE_PART_SLOWED] == 0.0);
    assert_true(r[1]->it_j > r[0]->it_j * 1.01);
}

/* A job that begins and ends: with a ramp of 100 W/s of each accelerator an island feels nothing, and what is
 * burnt meanwhile is a triangle. */
static void ramp_of_accelerators(void **state)
{
    (void)state;
    const struct site_scenario *s = NULL;
    double it_j[2][2] = {{0}}, hz[2] = {0};
    for (int i = 0; i < 2; i++)
        for (int half = 0; half < 2; half++) {
            s = test_scenario(arena_printf(
                &test_arena,
                "cluster: 100000 x gb200\nfailures: {law: none}\ndays: %.17g\n"
                "grid: {contract_w: 0}\ncontrols: {smoothing_ramp_w_per_s: %s}\n"
                "cooling: {law: loop, pumps: 0, fans: 0, electrical: 0, chiller_share: 0}\n"
                "gas: [{name: t, units: 20, unit_w: 20 MW, mttf: 0, ramp_w_per_s: 0, on: 20,\n"
                "  min_load: 0, min_up: 24 h, derate_per_k: 0}]\n"
                "jobs: [{name: j, restart: 0, stall: 0, work: 1 h}]\n",
                half ? 1.0 / 24.0 : 2.0 / 24.0, i ? "100 W/s" : "0"));
            const struct site_result *r = test_live(s, 1);
            it_j[i][half] = r->it_j;
            if (!half) hz[i] = test_figure(s, r, "island_hz_per_s");
        }
    struct machine_phase_power p;
    machine_phase_power(s->cluster.pools[0].accelerator, 0.0, &p);
    double fall_w = (it_j[0][1] - (it_j[0][0] - it_j[0][1])) / 3600.0;
    assert_near(it_j[0][1] - it_j[1][1], 0.5 * fall_w * (p.compute_w - p.idle_w) / 100.0, 1e-4);
    assert_near(it_j[1][0], it_j[0][0], 1e-9); /* what the start saved, the end burns */
    assert_true(hz[0] > 1.0 && hz[1] < 1e-3 * hz[0]);
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
    /* fuel of 8,812 kJ a kWh, and its carbon dioxide */
    s = test_scenario(ONE
                      "days: 2\ngrid: {contract_w: 0}\n"
                      "gas: [{name: t, units: 3, unit_w: 40 MW, mttf: 0, derate_per_k: 0, on: 3,\n"
                      "  heat_rate: 8812, usd_per_mmbtu: 3.5}]\n"
                      "loads: [{name: l, watts: 90 MW}]\n");
    r = test_live(s, 1);
    assert_near(r->fuel_usd / (r->gas_j / 3.6e9), 32.40849303008293, 1e-9);
    assert_near(r->stack_g[SITE_CO2] / (r->gas_j / 3.6e6), 491.3127543360572, 0.002);
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
        cmocka_unit_test(no_sags_on_an_island),
        cmocka_unit_test(wave_ends_at_the_floor),
        cmocka_unit_test(battery_bridges_a_ramp),
        cmocka_unit_test(ramps_of_the_contract),
        cmocka_unit_test(other_ramps),
        cmocka_unit_test(trips_without_end),
        cmocka_unit_test(rested_units_start),
        cmocka_unit_test(island),
        cmocka_unit_test(sags),
        cmocka_unit_test(starts),
        cmocka_unit_test(stacks),
        cmocka_unit_test(rolling_permit),
        cmocka_unit_test(other_permits),
        cmocka_unit_test(demand),
        cmocka_unit_test(damper),
        cmocka_unit_test(ramp_of_accelerators),
        cmocka_unit_test(hot_air),
        cmocka_unit_test(forced_outages),
        cmocka_unit_test(energy_bill),
        cmocka_unit_test(deficit),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
