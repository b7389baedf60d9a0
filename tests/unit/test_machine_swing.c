/* test_machine_swing.c: the wave of synchronous steps: its lines against a Fourier transform of the
 * wave itself, and what each remedy leaves. */
#include "test_machine_util.h"

static struct machine_swing_load load(void)
{
    return (struct machine_swing_load){.high_w = 70e6,
                                       .low_w = 30e6,
                                       .idle_w = 10e6,
                                       .beside_w = 40e6,
                                       .smooth_high_w = 70e6,
                                       .smooth_low_w = 30e6,
                                       .period_s = 4.0,
                                       .low_s = 0.8,
                                       .edge_s = 0.4};
}

/* The trapezoid in time, pulse centred. */
static double wave(const struct machine_swing_load *l, double t)
{
    double width = l->period_s - l->low_s - l->edge_s, off = fabs(t - 0.5 * l->period_s);
    double x = (0.5 * (width + l->edge_s) - off) / l->edge_s;
    return l->low_w + (l->high_w - l->low_w) * fmin(fmax(x, 0.0), 1.0);
}

static void lines_are_the_transform(void **state)
{
    (void)state;
    struct machine_swing_load l = load();
    struct machine_site site = {0};
    struct machine_swing s;
    enum { N = 20000 };
    machine_swing(&site, &l, &s);
    double mean = 0;
    for (int i = 0; i < N; i++)
        mean += wave(&l, (i + 0.5) * l.period_s / N) / N;
    assert_within(s.mean_w, mean + l.beside_w, 1e-6);
    for (int n = 1; n <= 8; n++) {
        double re = 0, im = 0, blur = exp(-2 * pow(M_PI * n * 0.015, 2));
        for (int i = 0; i < N; i++) {
            double a = 2 * M_PI * n * (i + 0.5) / N, w = wave(&l, (i + 0.5) * l.period_s / N);
            re += 2.0 / N * w * cos(a);
            im += 2.0 / N * w * sin(a);
        }
        assert_within(s.spectrum_w[n - 1] + 1.0, hypot(re, im) * blur + 1.0, 1e-3);
        assert_within(s.spectrum_hz[n - 1], n / 4.0, 1e-12);
    }
    assert_within(s.peak_w, 110e6, 1e-12);
    assert_within(s.amplitude_w, 40e6, 1e-12);
    assert_within(s.trough_w, 70e6, 1e-12);
    assert_within(s.stop_w, mean - 10e6, 1e-6);
    assert_within(s.in_band_w, s.spectrum_w[0], 1e-12);
}

static void limits(void **state)
{
    (void)state;
    struct machine_swing_load l = load();
    struct machine_site site = {0};
    struct machine_swing s;
    machine_swing(&site, &l, &s);
    assert_true(s.within_limit && s.limit_w == 0);
    site.swing_limit_w = FIGURE(10e6); /* the example of arXiv:2508.14318 */
    machine_swing(&site, &l, &s);
    assert_false(s.within_limit || s.by_batteries);
    assert_true(s.range_in_band_w > 10e6);
    site.battery_w = FIGURE(40e6);
    machine_swing(&site, &l, &s);
    assert_true(s.within_limit && s.by_batteries);
    site.battery_w = (struct figure){0};
    site.swing_limit_w = FIGURE(40e6);
    machine_swing(&site, &l, &s);
    assert_true(s.within_limit);
    /* A band above every strong line: nothing is seen in it. */
    site.swing_limit_w = FIGURE(10e6);
    site.swing_band_low_hz = FIGURE(12);
    site.swing_band_high_hz = FIGURE(20);
    machine_swing(&site, &l, &s);
    assert_true(s.within_limit);
    assert_true(s.in_band_w < 1e6);
}

static void remedies(void **state)
{
    (void)state;
    struct machine_swing_load l = load();
    struct machine_site site = {0};
    struct machine_swing s;
    site.swing_limit_w = FIGURE(10e6);
    l.smooth_high_w = 71e6; /* a floor at 63 MW, which fills gaps of the high part too */
    l.smooth_low_w = 63e6;
    site.battery_w = FIGURE(5e6);
    machine_swing(&site, &l, &s);
    assert_within(s.smoothing_left_w, 8e6, 1e-9);
    /* 33 MW more over 0.8 s and half of two edges, 1 MW over the rest. */
    assert_within(s.smoothing_energy_fraction, (33e6 * 1.2 + 1e6 * 2.8) / 4.0 / s.mean_w, 1e-9);
    double mean = s.mean_w - l.beside_w;
    assert_within(s.cap_left_w, mean - 30e6, 1e-9);
    /* 58 is the mean: 12 above, 28 below; 5 MW take 5 off either side. */
    assert_within(mean, 58e6, 1e-9);
    assert_within(s.battery_left_w, 30e6, 1e-9);
    assert_within(s.battery_needed_w, 18e6, 1e-9); /* 12 and 18 off leave 10 */
    assert_within(s.battery_needed_wh, 12e6 * 2.8 / 3600 / 0.91, 1e-9);
    assert_false(s.within_limit);
    site.battery_w = FIGURE(18e6);
    machine_swing(&site, &l, &s);
    assert_within(s.battery_left_w, 10e6, 1e-9);
    assert_true(s.within_limit);
    /* Power, not energy: a gigawatt swinging by a quarter each 5 s wants well under 1 MWh. */
    assert_true(s.battery_needed_wh < 0.1e6);
}

static void detuning(void **state)
{
    (void)state;
    struct machine_swing_load l = load();
    struct machine_site site = {0};
    struct machine_swing s, longer;
    site.swing_limit_w = FIGURE(20e6);
    machine_swing(&site, &l, &s);
    assert_true(s.period_detuned_s > l.period_s);
    l.period_s = s.period_detuned_s;
    machine_swing(&site, &l, &longer);
    assert_true(longer.within_limit);
    assert_within(longer.period_detuned_s, l.period_s, 1e-12);
    l.period_s *= 0.9;
    machine_swing(&site, &l, &longer);
    assert_false(longer.within_limit);
    site.swing_limit_w = FIGURE(1e3); /* nothing helps */
    machine_swing(&site, &l, &s);
    assert_true(s.period_detuned_s == 0);
}

static void no_swing(void **state)
{
    (void)state;
    struct machine_swing_load l = load();
    struct machine_site site = {0};
    struct machine_swing s;
    l.low_s = l.edge_s = 0; /* everything hidden */
    machine_swing(&site, &l, &s);
    assert_true(s.amplitude_w == 0 && s.in_band_w == 0 && s.peak_w == s.trough_w);
    l.period_s = 0;
    machine_swing(&site, &l, &s);
    assert_true(s.n_lines == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_the_transform),
        cmocka_unit_test(limits),
        cmocka_unit_test(remedies),
        cmocka_unit_test(detuning),
        cmocka_unit_test(no_swing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
