/* Collectives against measured ones, and how a group lies over domains. */
#include "plan/step/plan_step_internal.h"

#include <math.h>

#include "test_cmocka.h"

static struct machine_accelerator machine(double scaleup, int64_t domain, double nic)
{
    struct machine_accelerator a = {.name = "test", .scaleup_domain = domain};
    a.scaleup_bytes_per_s.mid = scaleup;
    a.nic_bytes_per_s.mid = nic;
    return a;
}

static double collective(const struct machine_accelerator *a, const struct machine_cluster *c,
                         int kind, int64_t group, int64_t near, double bytes)
{
    const struct plan_work w = {.a = a,
                                .c = c,
                                .k = &plan_constants_own,
                                .a2a_share = plan_constants_own.value[PLAN_K_A2A_SHARE_HYBRID]};
    return plan_collective_s(&w, kind, group, near, bytes);
}

/* collectives.csv: A100 (vTrain's table) and H100 with 400 Gb/s (arXiv:2411.13055, digitised). */
static void all_reduce_is_near_what_was_measured(void **state)
{
    (void)state;
    struct machine_cluster c = {.n_pools = 0};
    struct machine_accelerator a100 = machine(300e9, 8, 25e9);
    assert_within(collective(&a100, &c, PLAN_ALL_REDUCE, 8, 8, 134.2e6), 1162e-6, 0.15);
    assert_within(collective(&a100, &c, PLAN_ALL_REDUCE, 8, 8, 1073.7e6), 8193e-6, 0.10);
    struct machine_accelerator h100 = machine(450e9, 8, 50e9);
    double fit = 39e-6 + 62e-6 * 6 + 2 * 511.0 / 512 * 1e9 / 364.5e9 + 4.0e-6 * sqrt(1000.0) * 6;
    assert_within(collective(&h100, &c, PLAN_ALL_REDUCE, 512, 8, 1e9), fit, 0.15);
}

/* DeepSeek-V3-like layer, 4,096 tokens to 8 experts in bf16, EP 64 within NVL72: 675 to 930 us. */
static void all_to_all_is_near_what_was_measured(void **state)
{
    (void)state;
    struct machine_cluster c = {.n_pools = 0};
    struct machine_accelerator gb200 = machine(900e9, 72, 50e9);
    double bytes = 4096.0 * 8 * 7168 * 2;
    double s = collective(&gb200, &c, PLAN_ALL_TO_ALL, 64, 64, bytes);
    print_message("%.0f us\n", s * 1e6);
    assert_true(s > 500e-6 && s < 1000e-6);
}

static void groups_fill_whole_domains(void **state)
{
    (void)state;
    assert_int_equal(plan_group_in_domain(8, 8, 1), 8);
    assert_int_equal(plan_group_in_domain(8, 64, 1), 8);
    assert_int_equal(plan_group_in_domain(8, 64, 8), 1);
    assert_int_equal(plan_group_in_domain(8, 64, 4), 2);
    assert_int_equal(plan_group_in_domain(72, 64, 1), 64);
    assert_int_equal(plan_group_in_domain(72, 128, 1), 64); /* 72 serve 64 */
    assert_int_equal(plan_group_in_domain(72, 32, 4), 16);  /* 18 serve 16 */
}

static void more_bytes_ranks_and_tiers_cost_more(void **state)
{
    (void)state;
    struct machine_cluster c = {.fabric_tiers = 2};
    struct machine_accelerator h100 = machine(450e9, 8, 50e9);
    double before = 0;
    for (double bytes = 1e3; bytes < 1e11; bytes *= 10) {
        double s = collective(&h100, &c, PLAN_ALL_GATHER, 64, 8, bytes);
        assert_true(s > before);
        before = s;
    }
    for (int kind = PLAN_ALL_REDUCE; kind <= PLAN_ALL_TO_ALL; kind++) {
        double near = collective(&h100, &c, kind, 8, 8, 1e8);
        double far = collective(&h100, &c, kind, 1024, 8, 1e8);
        assert_true(far > near);
        assert_true(collective(&h100, &c, kind, 1, 1, 1e8) == 0);
        c.oversubscription.mid = 4;
        assert_true(collective(&h100, &c, kind, 1024, 1, 1e9) >
                    1.5 * collective(&h100, &c, kind, 16, 1, 1e9));
        c.oversubscription.mid = 0;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_reduce_is_near_what_was_measured),
        cmocka_unit_test(all_to_all_is_near_what_was_measured),
        cmocka_unit_test(groups_fill_whole_domains),
        cmocka_unit_test(more_bytes_ranks_and_tiers_cost_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
