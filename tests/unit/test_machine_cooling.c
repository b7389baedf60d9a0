/* test_machine_cooling.c: cooling and water by kind and climate against published bands, and who feeds
 * the load. */
#include "test_machine_util.h"

static struct machine_site site_of(enum machine_cooling cooling, double liquid)
{
    /* Memphis, NOAA normals 1981-2010: mean, and wet bulb at the mean. */
    static const double DRY[12] = {5.1,  7.5,  12.2, 17.2, 22.1, 26.5,
                                   28.1, 27.8, 23.9, 17.9, 11.8, 6.4};
    static const double WET[12] = {2.3,  4.3,  8.3,  12.8, 17.7, 21.8,
                                   23.7, 23.4, 20.1, 13.8, 8.4,  3.6};
    struct machine_site s = {.cooling = cooling, .has_climate = true};
    s.liquid_fraction = FIGURE(liquid);
    for (int i = 0; i < 12; i++)
        s.months[i] = (struct machine_climate_month){DRY[i], WET[i]};
    return s;
}

static struct machine_cooling_year months_of(const struct machine_site *s)
{
    struct machine_cooling_year y;
    machine_cooling_year(s, &y);
    return y;
}

static void published_bands(void **state)
{
    (void)state;
    static const struct {
        enum machine_cooling cooling;
        double liquid, supply_c, pue_low, pue_high, wue_low, wue_high;
    } BANDS[] = {
        {MACHINE_COOLING_AIR_CHILLER, 0.0, 20, 1.25, 1.60, 0.0, 0.01}, /* halls: 1.4 to 1.8 */
        {MACHINE_COOLING_AIR_CHILLER, 0.87, 25, 1.10, 1.25, 0.0, 0.01},
        {MACHINE_COOLING_LIQUID_CHILLER, 0.75, 32, 1.10, 1.20, 0.30, 0.60},
        {MACHINE_COOLING_DRY, 1.0, 40, 1.05, 1.15, 0.0, 0.30},  /* wetted: 0.15 to 0.17 */
        {MACHINE_COOLING_TOWER, 0.8, 22, 1.05, 1.25, 1.3, 2.0}, /* full evaporation: 1.8 */
    };
    for (size_t i = 0; i < ARRAY_LEN(BANDS); i++) {
        struct machine_site s = site_of(BANDS[i].cooling, BANDS[i].liquid);
        s.supply_c = FIGURE(BANDS[i].supply_c);
        struct machine_cooling_year p = months_of(&s);
        print_message("%-15s liquid %.2f supply %2.0f C: PUE %.3f, %.2f L/kWh\n",
                      machine_cooling_names[BANDS[i].cooling], BANDS[i].liquid, BANDS[i].supply_c,
                      p.mean_pue, p.mean_l_per_kwh);
        assert_between(p.mean_pue, BANDS[i].pue_low, BANDS[i].pue_high);
        assert_between(p.mean_l_per_kwh, BANDS[i].wue_low, BANDS[i].wue_high);
        for (int m = 0; m < 12; m++)
            assert_true(p.pue[m] > 1.0 && p.pue[m] <= p.pue[6] + 1e-9);
    }
}

static void months_sum_to_the_year(void **state)
{
    (void)state;
    struct machine_site s = site_of(MACHINE_COOLING_LIQUID_CHILLER, 0.75);
    struct machine_cooling_year p = months_of(&s);
    double litres = 0;
    for (int m = 0; m < 12; m++)
        litres += p.l_per_kwh[m] * machine_month_days[m];
    assert_within(litres, p.mean_l_per_kwh * 365, 1e-9);
    assert_within(p.worst_pue, p.pue[6], 1e-12);
    assert_true(p.pue[6] > p.pue[0] + 0.01);
}

static void a_stated_pue_is_the_mean(void **state)
{
    (void)state;
    struct machine_site s = site_of(MACHINE_COOLING_AIR_CHILLER, 0.87);
    s.design_pue = FIGURE(1.16);
    struct machine_cooling_year p = months_of(&s);
    assert_within(p.mean_pue, 1.16, 1e-9);
    assert_true(p.pue[6] > 1.16 && p.pue[0] < 1.16);
}

/* Monotonic where it must be: hotter costs more, warmer water costs less, and no jumps. */
static void temperature(void **state)
{
    (void)state;
    for (int kind = 0; machine_cooling_names[kind]; kind++) {
        struct machine_site s = site_of((enum machine_cooling)kind, 0.8);
        double was = 0;
        for (double t = -20; t <= 45; t += 0.25) {
            double more, water, less, unused;
            machine_cooling_overhead(&s, t, t - 4, &more, &water);
            if (t > -20) assert_between(more - was, -1e-12, 0.02);
            assert_between(water, 0.0, 2.2);
            was = more;
            struct machine_site warm = s;
            warm.supply_c = FIGURE(45);
            machine_cooling_overhead(&warm, t, t - 4, &less, &unused);
            assert_true(less <= more + 1e-12);
        }
    }
}

static void sources_in_order(void **state)
{
    (void)state;
    struct machine_site s = site_of(MACHINE_COOLING_DRY, 1.0);
    s.n_sources = 2;
    s.sources[0] = (struct machine_power_source){.name = "grid", .capacity_w = FIGURE(80e6)};
    s.sources[1] = (struct machine_power_source){.name = "turbines", .capacity_w = FIGURE(30e6)};
    double source_w[MACHINE_MAX_SOURCES];
    assert_within(machine_supply(&s, 120e6, source_w), 10e6, 1e-6);
    assert_within(source_w[0], 80e6, 1e-9);
    assert_within(source_w[1], 30e6, 1e-9);
    s.sources[1].capacity_w = FIGURE(300e6);
    assert_true(machine_supply(&s, 120e6, source_w) == 0);
    assert_within(source_w[1], 40e6, 1e-6);
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
