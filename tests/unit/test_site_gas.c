/* test_site_gas.c: which source gives how much while loads and units change, when units start and
 * stop, and what is done without them, beside closed forms. */
#include "test_site_util.h"

#define ONE  "cluster: 1 x h100\nfailures: {law: none}\n"
#define OWN  (ONE "controls: {pause: false}\n")
#define ALL  "mttf: 0, derate_per_k: 0"
#define HOUR 3600.0

/* The one accelerator that a cluster must have. */
static const double ALONE_W = 438.578947368;

/* Shares of a load by hour: the last of those given goes on. */
static const char *by_hour(const double *share, int n)
{
    const char *text = "by_hour: [";
    for (int i = 0; i < 24; i++)
        text = arena_printf(&test_arena, "%s%s%.17g", text, i ? ", " : "", share[MIN(i, n - 1)]);
    return arena_printf(&test_arena, "%s]", text);
}
#define HOURS(...) \
    by_hour((const double[]){__VA_ARGS__}, (int)ARRAY_LEN(((const double[]){__VA_ARGS__})))

static const struct site_result *live(const char *format, ...) PRINTF_LIKE(1, 2);
static const struct site_result *live(const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    assert_true(n > 0 && n < (int)sizeof text);
    return test_live(test_scenario(text), 1);
}

static double mwh(double joules)
{
    return joules / 3.6e9;
}

/* A grid that may give less all at once: it stays at what it may, gas rises at its ramp, and the
 * battery gives a triangle. */
static void grid_stays_while_gas_rises(void **state)
{
    (void)state;
    static const struct {
        double load, limit, ramp; /* MW; MW a minute of one unit */
    } CASES[] = {{90, 40, 1}, {75, 30, 0.5}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        double missing = CASES[i].load - 20.0 - CASES[i].limit,
               rise_h = missing / (2.0 * CASES[i].ramp) / 60.0;
        const struct site_result *r =
            live("%sdays: 0.25\ngrid: {contract_w: 100 MW, usd_per_kwh: 0.06}\n"
                 "gas: [{name: t, units: 2, unit_w: 40 MW, " ALL ", on: 2, min_load: 25 %%,\n"
                 "  min_up: 24 h, ramp_w_per_s: %g MW/min, usd_per_mwh: 80}]\n"
                 "loads: [{name: l, watts: %g MW}]\n"
                 "battery: {power_w: 60 MW, energy_wh: 100 MWh, start: 80 %%, target: 0,\n"
                 "  efficiency: 100 %%}\n"
                 "events: [{at: 1 h, what: curtailment, lasts: 3 h, watts: %g MW}]\n",
                 OWN, CASES[i].ramp, CASES[i].load, CASES[i].limit);
        assert_near(mwh(r->battery_out_j), 0.5 * missing * rise_h, 1e-3);
        /* as much as it may for three hours, and until gas has come down again all but that */
        assert_near(mwh(r->grid_j),
                    3.0 * CASES[i].limit + 3.0 * (CASES[i].load - 20.0) - 0.5 * missing * rise_h,
                    1e-3);
        assert_true(r->unserved_j == 0.0 && r->spilled_j == 0.0);
    }
}

/* A load that falls: what gas still gives is spilled, and nothing is bought meanwhile. */
static void grid_rests_while_gas_falls(void **state)
{
    (void)state;
    static const struct {
        double before, after, ramp;
    } CASES[] = {{90, 50, 1}, {95, 35, 2}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        double over = 80.0 - CASES[i].after, fall_h = over / (2.0 * CASES[i].ramp) / 60.0;
        const struct site_result *r =
            live("%sdays: 0.25\ngrid: {contract_w: 100 MW, last: true}\n"
                 "gas: [{name: t, units: 2, unit_w: 40 MW, " ALL ", on: 2, min_load: 25 %%,\n"
                 "  min_up: 24 h, ramp_w_per_s: %g MW/min}]\n"
                 "loads: [{name: l, watts: 1 MW, %s}]\n",
                 OWN, CASES[i].ramp, HOURS(CASES[i].before, CASES[i].after));
        assert_near(mwh(r->spilled_j), 0.5 * over * fall_h, 1e-3);
        assert_near(mwh(r->grid_j), CASES[i].before - 80.0, 1e-3);
    }
}

/* A running source does not back down for one that ramps up while load is unserved; a unit that
 * starts is at minimum load when its start is over. */
static void start_to_minimum_load(void **state)
{
    (void)state;
    static const struct {
        double min_load, start_min, load;
    } CASES[] = {{50, 6, 50.1}, {40, 10, 46.1}, {25, 20, 45.1}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        double missing = CASES[i].load - 30.1, least = 0.4 * CASES[i].min_load,
               rest = fmax(missing - least, 0.0);
        const struct site_result *r =
            live("%sdays: 0.125\ngrid: {contract_w: 0}\n"
                 "gas: [{name: base, units: 1, unit_w: 30.1 MW, " ALL ", min_load: 0,\n"
                 "  ramp_w_per_s: 0}, {name: peaker, units: 1, unit_w: 40 MW, " ALL ",\n"
                 "  min_load: %g %%, ramp_w_per_s: 1 MW/min, start: %g min, usd_per_mwh: 50}]\n"
                 "loads: [{name: l, watts: 1 MW, %s}]\n",
                 OWN, CASES[i].min_load, CASES[i].start_min, HOURS(30.0, CASES[i].load));
        assert_near(mwh(r->unserved_j),
                    missing * CASES[i].start_min / 60.0 + 0.5 * rest * rest / 60.0, 1e-3);
        assert_true(r->spilled_j == 0.0);
    }
}

/* Units follow a load that rises slower than they can: nothing is missing, spilled or stored. */
static void gas_follows_a_load(void **state)
{
    (void)state;
    static const struct {
        double load, ramp_s;
        const char *battery;
    } CASES[] = {
        {80, 1800, ""},
        {100, 3600, ""},
        {60, 900, ""},
        {80, 1800, "battery: {power_w: 60 MW, energy_wh: 100 MWh, start: 50 %, target: 50 %}\n"}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        const struct site_result *r =
            live("%sdays: 0.25\ngrid: {contract_w: 0}\n%s"
                 "gas: [{name: t, units: 10, unit_w: 40 MW, " ALL ", min_load: 0, on: 10,\n"
                 "  min_up: 24 h}]\nloads: [{name: l, watts: %g MW, ramp: %g s, %s}]\n",
                 OWN, CASES[i].battery, CASES[i].load, CASES[i].ramp_s, HOURS(1, 2));
        assert_near(mwh(r->gas_j),
                    CASES[i].load * (11.0 - 0.5 * CASES[i].ramp_s / HOUR) + 6e-6 * ALONE_W, 1e-9);
        assert_true(r->spilled_j <= 1.0 && r->unserved_j <= 1.0);
        assert_true(r->soc_high <= r->soc_low * (1.0 + 1e-9));
    }
}

/* A grid with a ramp follows, too; where the load is faster, what is missing is two triangles. */
static void grid_follows_a_load(void **state)
{
    (void)state;
    static const struct {
        double ramp_s, unserved_mwh; /* 100 MW more at 10 MW a minute */
    } CASES[] = {{3600, 0}, {600, 0}, {300, 0.5 * 50.0 * 10.0 / 60.0}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        const struct site_result *r =
            live("%sdays: 0.25\ngas: []\ngrid: {contract_w: 1 GW, ramp_w_per_s: 10 MW/min}\n"
                 "loads: [{name: l, watts: 100 MW, ramp: %g s, %s}]\n",
                 OWN, CASES[i].ramp_s, HOURS(1, 2));
        assert_true(fabs(mwh(r->unserved_j) - CASES[i].unserved_mwh) <= 1e-6);
        assert_true(r->spilled_j <= 1.0);
    }
}

/* A load that falls through what all sources give leaves nothing over: unserved until then, and never
 * spilled, whatever a microsecond leaves. */
static void load_falls_through_the_limit(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++) {
        double near = 0.02 + 0.003 * i; /* slowly: a microsecond is as small as rounding */
        const struct site_result *r = live("%sdays: 0.25\ngas: []\ngrid: {contract_w: 50 MW}\n"
                                           "loads: [{name: l, watts: 1 MW, ramp: %d s, %s}]\n",
                                           OWN, 3000 + 37 * i, HOURS(50.0 + near, 50.0 - near));
        assert_true(r->spilled_j <= 1.0 && r->unserved_j > 0.0);
        /* and through what a battery takes with them, as fast as it can */
        r = live("%sdays: 0.125\ngas: []\ngrid: {contract_w: 50 MW}\n"
                 "battery: {power_w: 5 MW, energy_wh: 25 MWh, start: 10 %%, target: 90 %%}\n"
                 "loads: [{name: l, watts: 1 MW, ramp: %d s, %s}]\n",
                 OWN, 1500 + 37 * i, HOURS(51.0 + near, 30.0));
        assert_true(r->spilled_j <= 1.0);
    }
}

/* A battery that is charged with all its power, and a load that rises faster than a unit can follow:
 * what rounding leaves does not make events without end. */
static void charged_with_all_power(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        const struct site_result *r = live(
            "%sdays: 0.25\ngrid: {contract_w: 0}\n"
            "battery: {power_w: 5 MW, energy_wh: 200 MWh, start: 50 %%, target: 80 %%}\n"
            "gas: [{name: t, units: 2, unit_w: 48 MW, " ALL ", min_load: 0, on: 2, min_up: 24 h,\n"
            "  ramp_w_per_s: %.17g}]\nloads: [{name: l, watts: 1 MW, ramp: 300 s, %s}]\n",
            OWN, 833.0 + 7.7 * i, HOURS(60.0 + 0.37 * i, 66.1 + 0.29 * i, 61.0));
        assert_true(r->events < 100.0);
        assert_true(r->battery_in_j > 5e6 * HOUR && r->unserved_j == 0.0);
        /* with a part of its power */
        double from = 130.7796 + 0.13 * i, to = 142.179 + 0.11 * i;
        r = live("%sdays: 0.125\ngrid: {contract_w: 0}\n"
                 "battery: {power_w: 30 MW, energy_wh: 30 MWh, start: 40 %%, target: 95 %%}\n"
                 "gas: [{name: t, units: 4, unit_w: 48 MW, " ALL ", min_load: 0, on: 4,\n"
                 "  min_up: 24 h, ramp_w_per_s: 0.05 MW/min}]\n"
                 "loads: [{name: l, watts: 1 MW, ramp: 1800 s, %s}]\n",
                 OWN, HOURS(from, to));
        assert_true(r->events < 100.0 && r->unserved_j == 0.0);
    }
}

/* All that run help while load is unserved, dear ones, too; then they make room for the cheap one. */
static void all_help_in_need(void **state)
{
    (void)state;
    const struct site_result *r =
        live("%sdays: 0.25\ngrid: {contract_w: 0}\n"
             "gas: [{name: slow, units: 1, unit_w: 60 MW, " ALL ", min_load: 0, on: 1,\n"
             "  min_up: 24 h, ramp_w_per_s: 1 MW/min}, {name: fast, units: 1, unit_w: 40 MW, " ALL
             ",\n  min_load: 0, on: 1, min_up: 24 h, ramp_w_per_s: 2 MW/min, usd_per_mwh: 50}]\n"
             "loads: [{name: l, watts: 1 MW, %s}]\n",
             OWN, HOURS(30, 60));
    assert_near(mwh(r->unserved_j), 0.5 * 30.0 * 10.0 / 60.0, 1e-3); /* 3 MW a minute */
    assert_true(r->spilled_j <= 1.0);
    /* the fast one: 0 to 20 MW in ten minutes, and back in twenty */
    assert_near(mwh(r->gas[1].energy_j), 0.5 * 20.0 * 30.0 / 60.0, 1e-3);
}

/* What falling loads leave in a battery is given back, so that it can take the next one. */
static void battery_gives_back(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        double target = i ? 0.7 : 0.5;
        const struct site_result *r = live(
            "%sdays: 1\ngrid: {contract_w: 0}\n"
            "battery: {power_w: 60 MW, energy_wh: 20 MWh, start: %g, target: %g,\n"
            "  efficiency: 100 %%}\n"
            "gas: [{name: t, units: 2, unit_w: 50 MW, " ALL ", min_load: 0, on: 2,\n"
            "  min_up: 24 h, ramp_w_per_s: 0.5 MW/min}]\nloads: [{name: l, watts: 1 MW, %s}]\n",
            OWN, target, target, HOURS(70, 40));
        /* 30 MW less, 1 MW a minute: 7.5 MWh too much */
        assert_near(r->soc_high, (20.0 * target + fmin(7.5, 20.0 * (0.95 - target))) * 3.6e9, 0.01);
        assert_near(r->soc_end, 20.0 * target * 3.6e9, 0.01);
        assert_near(mwh(r->spilled_j) + 1.0, fmax(7.5 - 20.0 * (0.95 - target), 0.0) + 1.0, 0.01);
    }
}

/* A job that was paused for a unit's trip goes on when another runs in its place, not before. */
static void paused_until_a_unit_runs(void **state)
{
    (void)state;
    static const struct {
        const char *units;
        double trip_h, resumed_h;
    } CASES[] = {{"start: 2 h, on: 2", 6, 8},
                 {"start: 1 h, on: 2", 5, 6},
                 /* the third is stopped after an hour, and must rest until the seventh */
                 {"start: 10 min, on: 3, min_down: 6 h", 2, 7.0 + 1.0 / 6.0}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        const struct site_result *r =
            live("cluster: 2048 x h100\nfailures: {law: none}\ndays: 1\ngrid: {contract_w: 0}\n"
                 "gas: [{name: t, units: 3, unit_w: 10 MW, " ALL ", min_load: 0,\n"
                 "  ramp_w_per_s: 0, %s}]\nloads: [{name: l, watts: 9 MW}]\n"
                 "jobs: [{name: a, restart: 60 s}]\n"
                 "events: [{at: %g h, what: turbine_trip, units: 1, lasts: 14 h}]\n",
                 CASES[i].units, CASES[i].trip_h);
        assert_int_equal(r->pauses, 1);
        assert_near(r->jobs[0].part_s[SITE_PART_POWER],
                    (CASES[i].resumed_h - CASES[i].trip_h) * HOUR - 10.0, 1e-5);
    }
}

/* A unit that ran when the scenario began rests like any other. */
static void first_rest(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        double rest_h = i ? 3.5 : 7.0;
        const struct site_result *r =
            live("%sdays: 1\ngrid: {contract_w: 0}\n"
                 "gas: [{name: t, units: 2, unit_w: 12 MW, " ALL ", min_load: 0,\n"
                 "  ramp_w_per_s: 0, start: 0, stop_after: 0, min_up: 0, min_down: %g h}]\n"
                 "loads: [{name: l, watts: 6 MW, %s}]\n",
                 OWN, rest_h, HOURS(3, 1, 3));
        assert_near(mwh(r->unserved_j), 6.0 * (rest_h - 1.0), 1e-3);
    }
}

/* A unit that was repaired has rested, whether it ever started or not. */
static void repair_is_rest(void **state)
{
    (void)state;
    for (int on = 0; on <= 2; on++) {
        double lasts_h = 3.0 + on;
        const struct site_result *r =
            live("%sdays: 1\ngrid: {contract_w: 0}\n"
                 "gas: [{name: t, units: 2, unit_w: 12 MW, " ALL ", min_load: 0,\n"
                 "  ramp_w_per_s: 0, start: 0, min_up: 0, min_down: 8 h, on: %d}]\n"
                 "loads: [{name: l, watts: 18 MW}]\n"
                 "events: [{at: 5 h, what: turbine_trip, units: 2, lasts: %g h}]\n",
                 OWN, on, lasts_h);
        assert_near(mwh(r->unserved_j), 18.0 * lasts_h, 1e-3);
    }
}

/* Units that trip together are one step of an island; those without fuel are, too. */
static void trips_together(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        int gone;
    } CASES[] = {{"turbine_trip, units: 4", 4},
                 {"turbine_trip, units: 6", 6},
                 {"fuel_loss, share: 25 %, lasts: 1 h", 3}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        const struct site_result *r =
            live("%sdays: 0.25\ngrid: {contract_w: 0}\n"
                 "gas: [{name: t, units: 12, unit_w: 30 MW, " ALL ", min_load: 0,\n"
                 "  ramp_w_per_s: 0, on: 12, min_up: 24 h, inertia_s: 4}]\n"
                 "loads: [{name: l, watts: 240 MW}]\nevents: [{at: 1 h, what: %s}]\n",
                 OWN, CASES[i].what);
        double turning = 30.0 * 4.0 * (12 - CASES[i].gone);
        assert_near(r->frequency_hz_per_s, CASES[i].gone * 20.0 * 60.0 / (2.0 * turning), 1e-4);
    }
    /* of two kinds at once: 2 of 4 units of 20 MW and 2 of 4 of 10 MW, at two thirds and none */
    const struct site_result *r =
        live("%sdays: 0.25\ngrid: {contract_w: 0}\n"
             "gas: [{name: a, units: 4, unit_w: 20 MW, " ALL ", min_load: 0, ramp_w_per_s: 0,\n"
             "  on: 4, min_up: 24 h, inertia_s: 5}, {name: b, units: 4, unit_w: 10 MW, " ALL ",\n"
             "  min_load: 0, ramp_w_per_s: 0, on: 4, min_up: 24 h, inertia_s: 2,\n"
             "  usd_per_mwh: 9}]\nloads: [{name: l, watts: 90 MW}]\n"
             "events: [{at: 1 h, what: turbine_trip, units: 2}]\n",
             OWN);
    assert_near(r->frequency_hz_per_s, 45.0 * 60.0 / (2.0 * (40.0 * 5.0 + 20.0 * 2.0)), 1e-4);
}

/* Each unit runs on so long after it was last needed itself. */
static void each_runs_on(void **state)
{
    (void)state;
    /* the second that was spare may be needed again after an hour, and be spare again after two */
    const char *const shares[] = {HOURS(5, 4, 3, 1), HOURS(5, 4, 3, 4, 3)};
    static const double RUN_H[] = {3.5 + 4.5 + 5.5 + 5.5 + 24.0, 3.5 + 6.5 + 3.0 * 24.0};
    for (size_t i = 0; i < ARRAY_LEN(RUN_H); i++) {
        const struct site_result *r =
            live("%sdays: 1\ngrid: {contract_w: 0}\n"
                 "gas: [{name: t, units: 5, unit_w: 10 MW, " ALL ", min_load: 0,\n"
                 "  ramp_w_per_s: 0, on: 5, min_up: 0, stop_after: 2.5 h}]\n"
                 "loads: [{name: l, watts: 9.9 MW, %s}]\n",
                 OWN, shares[i]);
        assert_near(r->gas[0].run_s / HOUR, RUN_H[i], 1e-9);
    }
}

/* Where the hours of a unit end is known: another has started by then, and none runs too long. */
static void hours_that_end(void **state)
{
    (void)state;
    static const struct {
        int hours;
        const char *start;
        double load; /* MW, of units of 10 */
        int at_once;
    } CASES[] = {{100, "10 min", 9, 1}, {90, "2 h", 8, 1}, {70, "0", 15, 2}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        const struct site_result *r =
            live(ONE "grid: {contract_w: 0}\ndays: 20\npermits: {hours: %d, stops: true}\n"
                     "gas: [{name: t, units: 4, unit_w: 10 MW, " ALL ", start: %s}]\n"
                     "loads: [{name: l, watts: %g MW}]\n",
                 CASES[i].hours, CASES[i].start, CASES[i].load);
        double whole_h = 4.0 * CASES[i].hours;
        assert_near(r->gas[0].run_s / HOUR, whole_h, 1e-9);
        assert_true(r->gas[0].over_hours_day < 0.0);
        assert_near(mwh(r->unserved_j), (480.0 - whole_h / CASES[i].at_once) * CASES[i].load, 1e-3);
        assert_int_equal(r->gas[0].starts, 4 - CASES[i].at_once);
    }
}

/* What is kept free in gas units is the grid's to give, as far as that goes. */
static void reserve_beside_the_grid(void **state)
{
    (void)state;
    static const struct {
        double load, grid, reserve, grid_gives;
    } CASES[] = {{50, 50, 20, 10}, {55, 50, 10, 5}, {58, 6, 20, 6}, {30, 50, 20, 0}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        const struct site_result *r =
            live(ONE "days: 1\ngrid: {contract_w: %g MW, last: true}\n"
                     "controls: {pause: false, spinning_w: %g MW}\n"
                     "gas: [{name: t, units: 3, unit_w: 20 MW, " ALL "}]\n"
                     "loads: [{name: l, watts: %g MW}]\n",
                 CASES[i].grid, CASES[i].reserve, CASES[i].load);
        assert_true(fabs(mwh(r->grid_j) - 24.0 * CASES[i].grid_gives) <= 0.02);
        assert_true(r->unserved_j == 0.0);
    }
}

/* No unit runs whose minimum load would be spilled, where others can do without. */
static void minimum_load_that_nobody_wants(void **state)
{
    (void)state;
    static const struct {
        double load, gas_mwh, grid_mwh;
    } CASES[] = {{41, 960, 24}, {30, 720, 0}, {20, 0, 480}, {60, 1440, 0}, {90, 1920, 240}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        bool low = CASES[i].load < 48.0; /* two units at 60 % */
        const struct site_result *r =
            live("%sdays: 1\ngrid: {contract_w: 100 MW, usd_per_kwh: 0.078}\n"
                 "gas: [{name: t, units: %d, unit_w: 40 MW, " ALL ", min_load: 60 %%,\n"
                 "  ramp_w_per_s: 0}]\nloads: [{name: l, watts: %g MW}]\n",
                 OWN, low ? 4 : 2, CASES[i].load);
        assert_true(r->spilled_j == 0.0);
        assert_true(fabs(mwh(r->gas_j) - CASES[i].gas_mwh) <= 0.02);
        assert_true(fabs(mwh(r->grid_j) - CASES[i].grid_mwh) <= 0.02);
    }
    /* an island: small units instead of the cheap large one; alone, that spills what it must */
    for (int small = 2; small >= 0; small -= 2) {
        const struct site_result *r =
            live("%sdays: 1\ngrid: {contract_w: 0}\n"
                 "gas: [{name: big, units: 1, unit_w: 100 MW, " ALL ", min_load: 50 %%,\n"
                 "  ramp_w_per_s: 0}, {name: small, units: 2, unit_w: %g MW, " ALL ",\n"
                 "  ramp_w_per_s: 0, usd_per_mwh: 30}]\nloads: [{name: l, watts: 30 MW}]\n",
                 OWN, small ? 20.0 : 10.0);
        assert_true(fabs(mwh(r->spilled_j) - (small ? 0.0 : 480.0)) <= 0.02);
        assert_true(r->unserved_j == 0.0);
    }
}

/* Fuel of a unit whose load goes across the points of its heat rate, beside a fine sum. */
static void fuel_across_points(void **state)
{
    (void)state;
    static const double LOAD[4] = {0.4, 0.5, 0.6, 1.0}, KJ[4] = {20000, 11000, 10500, 10000};
    static const double ENDS[2][2] = {{40, 99}, {20, 55}};
    for (int i = 0; i < 2; i++) {
        double a = ENDS[i][0], b = ENDS[i][1], sum = 0.0;
        const struct site_result *r = live(
            "%sdays: 0.125\ngrid: {contract_w: 0}\n"
            "gas: [{name: t, units: 1, unit_w: 100 MW, " ALL ", ramp_w_per_s: 0, min_load: 0,\n"
            "  heat_rate: [[0.4, 20000], [0.5, 11000], [0.6, 10500], [1, 10000]]}]\n"
            "loads: [{name: l, watts: 1 MW, ramp: 3600 s, %s}]\n",
            OWN, HOURS(a, b, a));
        enum { N = 100000 };
        for (int n = 0; n < N; n++) {
            double w = a + (b - a) * (n + 0.5) / N + 1e-6 * ALONE_W;
            sum += w * machine_gas_heat_rate(LOAD, KJ, 4, w / 100.0) / N;
        }
        a += 1e-6 * ALONE_W;
        sum = 2.0 * sum + a * machine_gas_heat_rate(LOAD, KJ, 4, a / 100.0); /* MJ */
        assert_near(r->fuel_usd, sum / 0.902 / 1055.06 * 3.5, 1e-7);
    }
}

/* A site that is partly in the dark works so much less. */
static void no_work_in_the_dark(void **state)
{
    (void)state;
    static const double CONTRACT_MW[] = {3, 5.5};
    for (size_t i = 0; i < ARRAY_LEN(CONTRACT_MW); i++) {
        const struct site_result *r =
            live("cluster: 8192 x h100\nfailures: {law: none}\ngas: []\ndays: 4\n"
                 "grid: {contract_w: %g MW}\ncontrols: {pause: false, cap_min: 100 %%}\n"
                 "jobs: [{name: j, restart: 0, stall: 0}]\n"
                 "events: [{at: 2 d, what: grid_limit, watts: 1 MW, lasts: 1 d}]\n",
                 CONTRACT_MW[i]);
        double work = r->jobs[0].part_s[SITE_PART_PRODUCTIVE] / r->jobs[0].wall_s;
        assert_near(work, 1.0 - r->unserved_j / r->load_j, 1e-3);
        assert_true(r->unserved_j > 0.3 * r->load_j);
    }
}

/* Paused at any moment and resumed, all of this is the same to the bit. */
static void paused_and_resumed(void **state)
{
    (void)state;
    const struct site_scenario *s = test_scenario(
        "cluster: 2048 x h100\nfailures: {law: none}\ndays: 2\ngrid: {contract_w: 4 MW}\n"
        "permits: {hours: 20, stops: true}\ncontrols: {spinning_w: 2 MW, cap_min: 90 %}\n"
        "battery: {power_w: 3 MW, energy_wh: 4 MWh, target: 50 %}\n"
        "gas: [{name: a, units: 3, unit_w: 5 MW, mttf: 30 h, mttr: 3 h, start: 20 min,\n"
        "  stop_after: 1 h}, {name: b, units: 2, unit_w: 4 MW, min_load: 60 %, min_down: 3 h,\n"
        "  ramp_w_per_s: 0.1 MW/min}]\n"
        "loads: [{name: l, watts: 8 MW, ramp: 1500 s, by_hour: [1, 0.5, 1.4, 1, 0.2, 1, 1, 1.5,\n"
        "  1, 1, 0.5, 1, 1.2, 1, 1, 0.4, 1, 1, 0.9, 1, 1, 1.3, 1, 1]}]\n"
        "jobs: [{name: j, restart: 60 s}]\n"
        "events: [{at: 9.3 h, what: turbine_trip, units: 1, lasts: 2 h},\n"
        "  {at: 20 h, what: curtailment, watts: 1 MW, lasts: 3 h}]\n");
    const struct site_result *whole = test_live(s, 7);
    assert_true(whole->pauses > 0.0 && whole->gas[0].starts > 0.0);
    const char *dir = getenv("TMPDIR");
    const char *path = arena_printf(&test_arena, "%s/test_site_gas.save", dir ? dir : "/tmp");
    for (int i = 1; i < 24; i++) {
        struct error e = {0};
        struct site_result first, second;
        struct site_run_options o = {.seed = 7, .pause_s = 7013.0 * i, .save = path};
        assert_ok(site_run(s, &o, &first, &e), e);
        o = (struct site_run_options){.seed = 7, .resume = path};
        assert_ok(site_run(s, &o, &second, &e), e);
        assert_true(second.gas_j == whole->gas_j && second.grid_j == whole->grid_j);
        assert_true(second.unserved_j == whole->unserved_j && second.soc_end == whole->soc_end);
        assert_true(second.spilled_j == whole->spilled_j && second.fuel_usd == whole->fuel_usd);
        assert_true(second.events == whole->events && second.pauses == whole->pauses);
        for (int p = 0; p < SITE_N_PARTS; p++)
            assert_true(second.jobs[0].part_s[p] == whole->jobs[0].part_s[p]);
    }
    remove(path);
}

/* A deficit that only waits for a ramp takes no step, whatever the cap may still do; work is less by what
 * is unserved meanwhile. */
static void ramps_that_suffice(void **state)
{
    (void)state;
    static const char *const controls[] = {"cap: 80 %",      "cap: 81 %",
                                           "cap_min: 100 %", "cap: 85 %, cap_min: 85 %",
                                           "cap_min: 80 %",  "cap_min: 100 %, pause: false"};
    for (size_t i = 0; i < ARRAY_LEN(controls); i++) {
        const struct site_scenario *s = test_scenario(arena_printf(
            &test_arena,
            "cluster: 8192 x h100\nfailures: {law: none}\ndays: 0.25\ngrid: {contract_w: 0}\n"
            "controls: {%s}\ngas: [{name: t, units: 1, unit_w: 12 MW, mttf: 0, derate_per_k: 0,\n"
            "  min_load: 0, on: 1, min_up: 24 h, ramp_w_per_s: 0.05 MW/min}]\n"
            "jobs: [{name: j, start: 1 h, restart: 0, stall: 0}]\n",
            controls[i]));
        const struct site_result *r = test_live(s, 1);
        const struct site_job_result *j = &r->jobs[0];
        assert_true(r->caps == 0.0 && r->pauses == 0.0 && r->sheds == 0.0);
        /* told anew at every fiftieth of the load, so up to a fiftieth more than what was unserved */
        assert_near(j->part_s[SITE_PART_SLOWED], r->unserved_j / r->peak_w, 0.06);
    }
}

/* Below its reserve a battery bridges no ramps, from that moment on, whatever else happens. */
static void reserve_is_crossed(void **state)
{
    (void)state;
    static const char *const more[] = {
        "", "events: [{at: 76 min, what: emissions, target: g1, nox_ppm: 2.5, lasts: 1 h}]\n"};
    for (size_t i = 0; i < ARRAY_LEN(more); i++)
        assert_near(
            test_one(
                arena_printf(
                    &test_arena,
                    "cluster: 1 x h100\nfailures: {law: none}\ndays: 0.25\n"
                    "controls: {pause: false, cap_min: 100 %%}\ngrid: {contract_w: 0}\ngas:\n"
                    "  - {name: g0, units: 1, unit_w: 40 MW, mttf: 0, derate_per_k: 0,\n"
                    "     min_load: 0, on: 1, min_up: 24 h, ramp_w_per_s: 2 MW/min}\n"
                    "  - {name: g1, units: 1, unit_w: 40 MW, mttf: 0, derate_per_k: 0,\n"
                    "     min_load: 0, on: 1, min_up: 24 h, ramp_w_per_s: 0.5 MW/min,\n"
                    "     usd_per_mwh: 50}\n"
                    "battery: {power_w: 60 MW, energy_wh: 60 MWh, start: 40 %%,\n"
                    "  efficiency: 100 %%, reserve: 30 %%, target: 0}\n"
                    "loads: [{name: l, watts: 1 MW, by_hour: [20, 60, 60, 60, 60, 60, 60, 60,\n"
                    "  60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60]}]\n%s",
                    more[i]),
                "battery_wh"),
            10.583e6, 1e-3);
}

/* A load beyond what all can give moves no set-point before it is back: a few events, not thousands. */
static void load_beyond_all(void **state)
{
    (void)state;
    static const char *const ramps[][2] = {
        {"0.01", "49.995"}, {"0.001", "49.9995"}, {"0.0001", "49.99995"}};
    for (size_t i = 0; i < ARRAY_LEN(ramps); i++) {
        const struct site_scenario *s = test_scenario(arena_printf(
            &test_arena,
            "cluster: 1 x h100\nfailures: {law: none}\ndays: 0.1\ngas: []\n"
            "grid: {contract_w: 50 MW, ramp_w_per_s: %s MW/min}\ncontrols: {pause: false}\n"
            "loads: [{name: l, watts: 100 MW, ramp: 60 s, by_hour: [1, 0.4, 0.4, 0.4, 0.4, 0.4,\n"
            "  0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4,\n"
            "  0.4, 0.4]}]\n"
            "events: [{at: 59 min, what: curtailment, watts: %s MW, lasts: 60 s}]\n",
            ramps[i][0], ramps[i][1]));
        assert_true(test_live(s, 1)->events < 100.0);
    }
    /* and the cap of a site short for days is found once */
    const struct site_scenario *s = test_scenario(
        "cluster: 8192 x h100\nfailures: {law: none}\ndays: 5\ngrid: {contract_w: 20 MW}\n"
        "gas: [{name: t, units: 1, unit_w: 6 MW, mttf: 0, derate_per_k: 0, min_load: 0, on: 1,\n"
        "  min_up: 300 h, usd_per_mwh: 200, ramp_w_per_s: 0.05 MW/min}]\n"
        "jobs: [{name: j, restart: 0, stall: 0}]\n"
        "events: [{at: 2 h, what: curtailment, watts: 3 MW, lasts: 96 h}]\n");
    assert_true(test_live(s, 1)->caps <= 2.0);
}

/* Units with a ramp stop like those without: each is unloaded first, the last one to nothing. */
static void units_unload(void **state)
{
    (void)state;
    static const char *const ramps[] = {"0", "5 MW/min", "1000 MW/min"};
    for (size_t i = 0; i < ARRAY_LEN(ramps); i++) {
        /* the grid suffices and costs less: it runs for as long as it must */
        const struct site_result *r =
            live("%sdays: 10\ngrid: {contract_w: 50 MW, usd_per_kwh: 0.03}\n"
                 "gas: [{name: t, units: 1, unit_w: 5 MW, " ALL ", on: 1, min_load: 50 %%,\n"
                 "  min_up: 1 h, ramp_w_per_s: %s, usd_per_mwh: 100}]\n"
                 "battery: {power_w: 0, energy_wh: 0}\nloads: [{name: l, watts: 9 MW}]\n",
                 OWN, ramps[i]);
        double unload_s = i == 0 ? 0.0 : i == 1 ? 30.0 : 0.15;
        assert_near(r->gas[0].run_s, HOUR + unload_s, 1e-6);
        assert_near(mwh(r->gas_j), 2.5 * (1.0 + 0.5 * unload_s / HOUR), 1e-6);
        /* on an island one of two stops at night, whose minimum load would be spilled */
        r = live("%sdays: 10\ngrid: {contract_w: 0}\n"
                 "gas: [{name: t, units: 2, unit_w: 10 MW, " ALL ", on: 2, min_load: 60 %%,\n"
                 "  start: 10 min, stop_after: 0, min_up: 0, min_down: 0, ramp_w_per_s: %s}]\n"
                 "battery: {power_w: 0, energy_wh: 0}\nloads: [{name: l, watts: 17 MW, %s}]\n",
                 OWN, ramps[i],
                 HOURS(.5, .5, .5, .5, .5, .5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, .5));
        assert_true(r->gas[0].starts == 10.0);
        assert_true(mwh(r->spilled_j) < 2.0);
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
        cmocka_unit_test(ramps_that_suffice),
        cmocka_unit_test(units_unload),
        cmocka_unit_test(reserve_is_crossed),
        cmocka_unit_test(load_beyond_all),
        cmocka_unit_test(grid_stays_while_gas_rises),
        cmocka_unit_test(grid_rests_while_gas_falls),
        cmocka_unit_test(start_to_minimum_load),
        cmocka_unit_test(gas_follows_a_load),
        cmocka_unit_test(grid_follows_a_load),
        cmocka_unit_test(load_falls_through_the_limit),
        cmocka_unit_test(charged_with_all_power),
        cmocka_unit_test(all_help_in_need),
        cmocka_unit_test(battery_gives_back),
        cmocka_unit_test(paused_until_a_unit_runs),
        cmocka_unit_test(first_rest),
        cmocka_unit_test(repair_is_rest),
        cmocka_unit_test(trips_together),
        cmocka_unit_test(each_runs_on),
        cmocka_unit_test(hours_that_end),
        cmocka_unit_test(reserve_beside_the_grid),
        cmocka_unit_test(minimum_load_that_nobody_wants),
        cmocka_unit_test(fuel_across_points),
        cmocka_unit_test(no_work_in_the_dark),
        cmocka_unit_test(paused_and_resumed),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
