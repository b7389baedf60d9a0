/* test_plan_place.c: how many accelerators a layout can use, and what groups across domains cost. */
#include "test_cmocka.h"

#include "plan/show/plan_show_internal.h"
#include "plan/step/plan_step_internal.h"

#include <math.h>

static const struct machine_accelerator rack = {
    .name = "rack",
    .peak_flops = {[MACHINE_BF16] = {.mid = 2500e12}, [MACHINE_FP4] = {.mid = 1e16}},
    .hbm_bytes = {.mid = 189e9},
    .hbm_bytes_per_s = {.mid = 8e12},
    .scaleup_bytes_per_s = {.mid = 900e9},
    .scaleup_domain = 72,
    .nic_bytes_per_s = {.mid = 50e9},
    .power_cap_w = {.mid = 1200},
};
static const struct machine_accelerator hgx = {
    .name = "hgx", .peak_flops = {[MACHINE_BF16] = {.mid = 989e12}}, .scaleup_domain = 8};
static const struct model_config moe = {.name = "moe",
                                        .n_layers = 16,
                                        .d_model = 4096,
                                        .n_heads = 32,
                                        .n_kv_heads = 8,
                                        .head_dim = 128,
                                        .vocab_size = 128256,
                                        .glu = true,
                                        .n_experts = 64,
                                        .n_experts_used = 4,
                                        .ffn_hidden = 4096};

static struct machine_cluster racks(int64_t count)
{
    return (struct machine_cluster){.pools = {{&rack, count}}, .n_pools = 1, .fabric_tiers = 3};
}

static struct plan_layout layout(int tp, int cp, int ep, int etp, int dp)
{
    return (struct plan_layout){.tp = tp,
                                .cp = cp,
                                .pp = 1,
                                .ep = ep,
                                .etp = etp,
                                .dp = dp,
                                .vp = 1,
                                .micro_batch = 1,
                                .zero = 1,
                                .precision = MACHINE_BF16};
}

static void groups_of_64_leave_8_of_72(void **state)
{
    (void)state;
    struct machine_cluster c = racks(72 * 10);
    struct plan_layout l = layout(1, 1, 64, 1, 640);
    assert_int_equal(plan_place_room(&c, &l, false), 640);
    assert_int_equal(plan_place_room(&c, &l, true), 720);
    l = layout(2, 4, 64, 2, 80); /* 64 experts over 128 ranks: 32 of them in a rack */
    assert_int_equal(plan_place_room(&c, &l, false), 80);
    l = layout(8, 1, 1, 1, 90); /* 8 divides 72 */
    assert_int_equal(plan_place_room(&c, &l, false), 90);
    l = layout(8, 6, 1, 1, 10); /* 48 of 72 */
    assert_int_equal(plan_place_room(&c, &l, false), 10);
    c.pools[0].count = 72 * 2 + 65; /* the last rack is not full */
    l = layout(1, 1, 64, 1, 192);
    assert_int_equal(plan_place_room(&c, &l, false), 192);
    c.pools[0].count = 64;
    assert_int_equal(plan_place_room(&c, &l, false), 64);
    c.domains_as_needed = true; /* published: 256 accelerators on four racks */
    c.pools[0].count = 256;
    assert_int_equal(plan_place_room(&c, &l, false), 256);
}

static void what_does_not_fit_whole_straddles(void **state)
{
    (void)state;
    struct machine_cluster c = racks(72 * 8);
    struct plan_layout l = layout(1, 1, 64, 1, 512);
    struct plan_place p;
    plan_place(&rack, &c, &l, &p);
    assert_false(p.straddles);
    assert_int_equal(p.used, 64);
    assert_int_equal(plan_place_near(&p, 64, 1), 64);
    assert_int_equal(plan_place_ring(&p, 512, 1), 64);
    l.dp = 576; /* all: the worst group has 8 of its ranks in one rack and 56 in the other */
    plan_place(&rack, &c, &l, &p);
    assert_true(p.straddles);
    assert_int_equal(plan_place_near(&p, 64, 1), 8);
    assert_int_equal(plan_place_near(&p, 8, 1), 8); /* what divides 72 is whole all the same */
    c.domains_as_needed = true;
    plan_place(&rack, &c, &l, &p);
    assert_false(p.straddles);
    assert_int_equal(plan_place_near(&p, 64, 1), 64);
}

/* Seconds of a sequence: packed and straddling are both dearer than racks of 64 that do not exist. */
static void straddling_is_paid_for(void **state)
{
    (void)state;
    const struct plan_software s = {.stack = PLAN_STACK_MEGATRON,
                                    .generation = 2025.4}; /* nothing hides the exchange */
    struct machine_cluster c = racks(72 * 64), as_needed = c;
    struct plan_step packed, across, free;
    as_needed.domains_as_needed = true;
    for (int tp = 1; tp <= 16; tp *= 16) {
        struct plan_layout l = layout(tp, 1, tp == 1 ? 64 : 4, 1, 4096 / tp);
        struct plan_batch b = {4096 / tp, 8192};
        plan_step(&moe, &c, &l, &b, &s, &packed);
        plan_step(&moe, &as_needed, &l, &b, &s, &free);
        assert_true(packed.step_s >= free.step_s && packed.step_s < 1.01 * free.step_s);
        assert_int_equal(packed.used, 4096);
        b.global_batch = l.dp = 4608 / tp;
        plan_step(&moe, &c, &l, &b, &s, &across);
        plan_step(&moe, &as_needed, &l, &b, &s, &free);
        assert_int_equal(across.used, 4608);
        const int part = tp == 1 ? PLAN_PART_EP : PLAN_PART_TP; /* the groups that straddle */
        assert_true(across.part_s[part] > 1.2 * free.part_s[part]);
        if (tp == 1) assert_true(across.step_s > 1.02 * free.step_s);
    }
}

/* Replicas that are not needed are left out of the slowest kind. */
static void the_slowest_kind_idles(void **state)
{
    (void)state;
    struct machine_cluster c = racks(144);
    struct plan_layout l = layout(8, 1, 1, 1, 25);
    int64_t n[MACHINE_MAX_POOLS];
    c.pools[1] = (struct machine_pool){&hgx, 100};
    c.n_pools = 2;
    assert_int_equal(plan_place_room(&c, &l, true), 18 + 12);
    plan_place_replicas(&c, &l, n);
    assert_int_equal(n[0], 18);
    assert_int_equal(n[1], 7);
    assert_int_equal(plan_place_used(&c, &l, n), 144 + 56);
    l.dp = 4;
    assert_int_equal(plan_place_used(&c, &l, n), 32);
    assert_int_equal(n[1], 0);
    l.dp = 0; /* nothing chosen: all */
    assert_int_equal(plan_place_used(&c, &l, n), 244);
}

/* What is idle draws its idle power, and nothing swings there. */
static void idle_accelerators_draw_idle_power(void **state)
{
    (void)state;
    struct plan_request r = {.model = moe, .cluster = racks(720), .batch = {640, 8192}};
    struct plan_step step;
    struct plan_power half, all;
    struct machine_phase_power p;
    r.layout = layout(1, 1, 64, 1, 320);
    plan_step(&moe, &r.cluster, &r.layout, &r.batch, &r.software, &step);
    plan_power(&r, &step, &half);
    machine_phase_power(&rack, 0, &p);
    double busy_w = step.compute_share * p.compute_w + (1 - step.compute_share) * p.comm_w;
    assert_true(fabs(half.accelerators_w / (320 * busy_w + 400 * p.idle_w) - 1) < 1e-9);
    r.cluster.pools[0].count = 320;
    plan_power(&r, &step, &all);
    assert_true(fabs(half.swing.amplitude_w / all.swing.amplitude_w - 1) < 0.05);
    assert_true(half.facility_max_w > 2 * all.facility_max_w);
}

/* A replica that no kind holds is not a layout, given or searched. */
static void replicas_lie_within_a_kind(void **state)
{
    (void)state;
    struct plan_request r = {.name = "two", .model = moe, .cluster = racks(72), .batch = {9, 8192}};
    struct plan_answer answer;
    struct arena a;
    struct error e = {0};
    r.cluster.pools[1] = (struct machine_pool){&hgx, 12};
    r.cluster.n_pools = 2;
    r.layout = layout(8, 1, 1, 1, 9);
    r.layout.pp = 1;
    arena_init(&a);
    r.batch.global_batch = r.layout.dp = 10; /* 9 and 1 replicas of 8 */
    assert_ok(plan_solve(&r, &a, &answer, &e), e);
    r.layout.cp = 2; /* 4 and none of 16 */
    r.batch.global_batch = r.layout.dp = 5;
    assert_int_equal(plan_solve(&r, &a, &answer, &e), ERROR_CONFIG);
    assert_contains(e.text,
                    "dp 5 replicas of 16 accelerators each: the kinds of the cluster hold 4");
    arena_fini(&a);
}

static void idle_accelerators_are_told(void **state)
{
    (void)state;
    char text[160];
    struct machine_cluster c = racks(72 * 8);
    struct plan_layout l = layout(1, 1, 64, 1, 512);
    plan_describe_use(&c, &l, text, sizeof text);
    assert_string_equal(
        text, "uses 512 of 576 accelerators, 64 of each domain of 72; MFU counts only those");
    l.dp = 576;
    plan_describe_use(&c, &l, text, sizeof text);
    assert_string_equal(text,
                        "some groups straddle scale-up domains of 72, over the slower network");
    l = layout(8, 1, 8, 1, 72);
    plan_describe_use(&c, &l, text, sizeof text);
    assert_string_equal(text, "");
    l.dp = 71;
    plan_describe_use(&c, &l, text, sizeof text);
    assert_string_equal(text, "uses 568 of 576 accelerators; MFU counts only those");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_of_64_leave_8_of_72),
        cmocka_unit_test(what_does_not_fit_whole_straddles),
        cmocka_unit_test(straddling_is_paid_for),
        cmocka_unit_test(the_slowest_kind_idles),
        cmocka_unit_test(idle_accelerators_draw_idle_power),
        cmocka_unit_test(replicas_lie_within_a_kind),
        cmocka_unit_test(idle_accelerators_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
