/* test_plan_site.c: cooling and water by kind and climate against published bands, and who feeds
 * the load. */
#include "test_plan_run_util.h"

static struct plan_site site_of(enum plan_cooling cooling, double liquid)
{
    /* Memphis, NOAA normals 1981-2010: mean, and wet bulb at the mean. */
    static const double DRY[12] = {5.1,  7.5,  12.2, 17.2, 22.1, 26.5,
                                   28.1, 27.8, 23.9, 17.9, 11.8, 6.4};
    static const double WET[12] = {2.3,  4.3,  8.3,  12.8, 17.7, 21.8,
                                   23.7, 23.4, 20.1, 13.8, 8.4,  3.6};
    struct plan_site s = {.cooling = cooling, .has_climate = true};
    s.liquid_fraction = FIGURE(liquid);
    for (int i = 0; i < 12; i++)
        s.months[i] = (struct plan_climate_month){DRY[i], WET[i]};
    return s;
}

static struct plan_power months_of(const struct plan_site *s)
{
    struct plan_power p = {0};
    plan_site_months(s, 100e6, 120e6, 40e6, &p);
    return p;
}

static void published_bands(void **state)
{
    (void)state;
    static const struct {
        enum plan_cooling cooling;
        double liquid, supply_c, pue_low, pue_high, wue_low, wue_high;
    } BANDS[] = {
        {PLAN_COOLING_AIR_CHILLER, 0.0, 20, 1.25, 1.60, 0.0, 0.01}, /* halls: 1.4 to 1.8 */
        {PLAN_COOLING_AIR_CHILLER, 0.87, 25, 1.10, 1.25, 0.0, 0.01},
        {PLAN_COOLING_LIQUID_CHILLER, 0.75, 32, 1.10, 1.20, 0.30, 0.60},
        {PLAN_COOLING_DRY, 1.0, 40, 1.05, 1.15, 0.0, 0.30},  /* wetted: 0.15 to 0.17 */
        {PLAN_COOLING_TOWER, 0.8, 22, 1.05, 1.25, 1.3, 2.0}, /* full evaporation: 1.8 */
    };
    for (size_t i = 0; i < ARRAY_LEN(BANDS); i++) {
        struct plan_site s = site_of(BANDS[i].cooling, BANDS[i].liquid);
        s.supply_c = FIGURE(BANDS[i].supply_c);
        struct plan_power p = months_of(&s);
        print_message("%-15s liquid %.2f supply %2.0f C: PUE %.3f, %.2f L/kWh\n",
                      plan_cooling_names[BANDS[i].cooling], BANDS[i].liquid, BANDS[i].supply_c,
                      p.pue, p.wue_l_per_kwh);
        assert_between(p.pue, BANDS[i].pue_low, BANDS[i].pue_high);
        assert_between(p.wue_l_per_kwh, BANDS[i].wue_low, BANDS[i].wue_high);
        for (int m = 0; m < 12; m++)
            assert_true(p.pue_month[m] > 1.0 && p.pue_month[m] <= p.pue_month[6] + 1e-9);
    }
}

static void months_sum_to_the_year(void **state)
{
    (void)state;
    struct plan_site s = site_of(PLAN_COOLING_LIQUID_CHILLER, 0.75);
    struct plan_power p = months_of(&s);
    double litres = 0;
    for (int m = 0; m < 12; m++)
        litres += p.water_l_month[m];
    assert_within(litres, p.wue_l_per_kwh * 100e3 * 8760, 1e-9);
    assert_within(p.facility_w, 100e6 * p.pue, 1e-12);
    assert_within(p.facility_max_w, 120e6 * p.pue_month[6], 1e-9);
    assert_true(p.pue_month[6] > p.pue_month[0] + 0.01);
}

static void a_stated_pue_is_the_mean(void **state)
{
    (void)state;
    struct plan_site s = site_of(PLAN_COOLING_AIR_CHILLER, 0.87);
    s.design_pue = FIGURE(1.16);
    struct plan_power p = months_of(&s);
    assert_within(p.pue, 1.16, 1e-9);
    assert_true(p.pue_month[6] > 1.16 && p.pue_month[0] < 1.16);
}

/* Monotonic where it must be: hotter costs more, warmer water costs less, and no jumps. */
static void temperature(void **state)
{
    (void)state;
    for (int kind = 0; plan_cooling_names[kind]; kind++) {
        struct plan_site s = site_of((enum plan_cooling)kind, 0.8);
        double was = 0;
        for (double t = -20; t <= 45; t += 0.25) {
            double more, water, less, unused;
            plan_site_overhead(&s, t, t - 4, &more, &water);
            if (t > -20) assert_between(more - was, -1e-12, 0.02);
            assert_between(water, 0.0, 2.2);
            was = more;
            struct plan_site warm = s;
            warm.supply_c = FIGURE(45);
            plan_site_overhead(&warm, t, t - 4, &less, &unused);
            assert_true(less <= more + 1e-12);
        }
    }
}

static void sources_in_order(void **state)
{
    (void)state;
    struct plan_site s = site_of(PLAN_COOLING_DRY, 1.0);
    s.design_pue = FIGURE(1.2);
    s.n_sources = 2;
    s.sources[0] = (struct plan_power_source){.name = "grid", .capacity_w = FIGURE(80e6)};
    s.sources[1] = (struct plan_power_source){.name = "turbines", .capacity_w = FIGURE(30e6)};
    struct plan_power p = months_of(&s); /* 120 MW */
    assert_within(p.source_w[0], 80e6, 1e-9);
    assert_within(p.source_w[1], 30e6, 1e-9);
    assert_within(p.unserved_w, 10e6, 1e-6);
    s.sources[1].capacity_w = FIGURE(300e6);
    p = months_of(&s);
    assert_within(p.source_w[1], 40e6, 1e-6);
    assert_true(p.unserved_w == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_bands),          cmocka_unit_test(months_sum_to_the_year),
        cmocka_unit_test(a_stated_pue_is_the_mean), cmocka_unit_test(temperature),
        cmocka_unit_test(sources_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
