/* test_plan_money.c: dollars against published totals, tonnes against permits, and the arithmetic
 * of ranges. */
#include "test_plan_run_util.h"

struct world {
    struct machine_accelerator h100;
    struct plan_request r;
    struct plan_answer a;
};

/* 100,000 H100 for 50 days on 150 MW of grid and 100 MW of turbines. */
static struct world *world_new(void)
{
    struct world *w = mem_calloc(1, sizeof(*w));
    w->h100 = test_h100();
    w->r.cluster = test_cluster(&w->h100, 100000);
    w->r.site.n_sources = 2;
    w->r.site.sources[0] = (struct machine_power_source){.name = "grid",
                                                         .grid = true,
                                                         .capacity_w = FIGURE(60e6),
                                                         .usd_per_kwh = RANGE(0.061, 0.065, 0.067),
                                                         .co2_g_per_kwh = FIGURE(283),
                                                         .nox_g_per_kwh = FIGURE(0.3)};
    w->r.site.sources[1] =
        (struct machine_power_source){.name = "turbines",
                                      .capacity_w = FIGURE(100e6),
                                      .usd_per_kwh = RANGE(0.10, 0.12, 0.165),
                                      .co2_g_per_kwh = FIGURE(566),
                                      .nox_g_per_kwh = FIGURE(0.080 * 453.6 / 1e3)};
    struct plan_step step = {.step_s = 5, .compute_share = 0.8, .tokens_per_s = 1e7};
    w->a.request = &w->r;
    plan_power(&w->r, &step, &w->a.power);
    w->a.tokens = range_exact(40e12);
    w->a.days = (struct range){45, 50, 60};
    w->a.gpu_hours = range_exact(50 * 24 * 1e5);
    w->a.mwh = range_exact(w->a.power.facility_w / 1e6 * 24 * 50);
    plan_money_and_emissions(&w->a);
    return w;
}

static void published_capex(void **state)
{
    (void)state;
    struct world *w = world_new();
    const struct plan_money *m = &w->a.money;
    double it = (m->accelerators_usd.mid + m->servers_usd.mid + m->network_usd.mid) / 1e5;
    double per_w = m->capex_usd.mid / w->a.power.facility_max_w;
    print_message("%.0f USD of computers per H100, %.1f USD/W all in, %.2f USD an hour\n", it,
                  per_w, m->usd_per_accelerator_hour.mid);
    assert_within(it, 50e3, 0.08); /* 47 to 52 thousand by tiers of fabric */
    assert_between(per_w, 30, 60); /* 35 (Bernstein), 38 (Epoch), 50 to 60 (NVIDIA) */
    assert_within(m->usd_per_accelerator_hour.mid, 1.65, 0.35); /* break-even of an owner */
    assert_between(1.65, m->usd_per_accelerator_hour.low, m->usd_per_accelerator_hour.high);
    mem_free(w);
}

static void a_run_is_the_sum(void **state)
{
    (void)state;
    struct world *w = world_new();
    const struct plan_money *m = &w->a.money;
    assert_within(m->run_usd.mid, m->capital_usd.mid + m->upkeep_usd.mid + m->energy_usd.mid, 1e-9);
    assert_within(m->usd_per_million_tokens.mid, m->run_usd.mid / 40e6, 1e-9);
    double grid = 60e6 / w->a.power.facility_w, price = grid * 0.065 + (1 - grid) * 0.12;
    assert_within(m->energy_usd.mid, w->a.mwh.mid * 1e3 * price, 1e-9);
    /* An hour of one, times the hours, is the run. */
    assert_within(m->usd_per_accelerator_hour.mid * w->a.gpu_hours.mid, m->run_usd.mid, 0.01);
    assert_ordered(m->capex_usd);
    assert_ordered(m->run_usd);
    mem_free(w);
}

static void permits(void **state)
{
    (void)state;
    struct world *w = world_new();
    const struct plan_emissions *e = &w->a.emissions;
    double turbines_w = w->a.power.facility_w - 60e6;
    double grid = 60e6 / w->a.power.facility_w;
    assert_within(e->co2_t.mid, w->a.mwh.mid / 1e3 * (grid * 283 + (1 - grid) * 566), 1e-9);
    assert_within(e->nox_t_per_year, turbines_w / 1e6 * 8766 * 0.080 * 0.4536e-3, 1e-3);
    assert_true(e->within_permit);
    /* 2 ppm at 247 MW all year is the permit of 87 short tons. */
    w->r.site.permit_nox_t_per_year = FIGURE(87 * 0.9072);
    w->a.power.source_w[1] = 246e6;
    plan_money_and_emissions(&w->a);
    assert_within(e->nox_t_per_year, 87 * 0.9072, 0.01);
    assert_true(e->within_permit);
    w->a.power.source_w[1] = 260e6;
    plan_money_and_emissions(&w->a);
    assert_false(e->within_permit);
    /* Water. */
    w->a.power.source_w[1] = 100e6;
    w->a.power.wue_l_per_kwh = 0.43;
    w->r.site.permit_water_l_per_day = FIGURE(0.43 * w->a.power.it_w / 1e3 * 24 * 1.01);
    plan_money_and_emissions(&w->a);
    assert_true(e->within_permit);
    w->r.site.permit_water_l_per_day.mid *= 0.95;
    plan_money_and_emissions(&w->a);
    assert_false(e->within_permit);
    mem_free(w);
}

static void ranges(void **state)
{
    (void)state;
    struct range a = {50, 100, 200}, b = {5, 10, 20}, c = range_mul(a, b);
    assert_within(c.mid, 1000, 1e-12);
    assert_within(c.high, 1000 * exp(hypot(log(2), log(2))), 1e-9);
    assert_within(c.low, 1000 / exp(hypot(log(2), log(2))), 1e-9);
    c = range_div(a, range_exact(10));
    assert_within(c.low, 5, 1e-9);
    assert_within(c.high, 20, 1e-9);
    c = range_div(range_exact(10), b);
    assert_within(c.low, 0.5, 1e-9);
    c = range_add(a, b);
    assert_within(c.low, 110 - hypot(50, 5), 1e-9);
    assert_true(range_mul(a, range_exact(0)).high == 0);
    assert_true(range_div(a, range_exact(0)).mid == 0);
    /* Not given; given alone; bounds the wrong way round. */
    struct figure f = {0};
    assert_true(figure_range(&f, (struct range){1, 2, 3}).high == 3);
    f = (struct figure){.mid = 7, .grade = 'A'};
    assert_true(figure_range(&f, (struct range){1, 2, 3}).low == 7);
    f = (struct figure){.mid = 7, .low = 9, .high = 4};
    assert_ordered(figure_range(&f, (struct range){1, 2, 3}));
    assert_true(figure_mid(&f, 2) == 7);
    f = (struct figure){.mid = 0, .grade = 'P'}; /* a stated nought is not "not given" */
    assert_true(figure_mid(&f, 2) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_capex),
        cmocka_unit_test(a_run_is_the_sum),
        cmocka_unit_test(permits),
        cmocka_unit_test(ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
