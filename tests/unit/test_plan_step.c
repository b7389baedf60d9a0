/* The model of a step: it adds up, moves the right way, and is as near to published runs as the
 * project says. */
#include "plan/validate/plan_validate_internal.h"

#include <math.h>

#include "test_cmocka.h"

static struct arena memory;
static struct machine_accelerator h100, gb200;
static struct model_config llama;
static struct machine_cluster cluster;
#define OWN(name) plan_constants_own.value[PLAN_K_##name]

static const struct plan_software today = {.stack = PLAN_STACK_MEGATRON, .generation = 0};
static const struct plan_layout usual = {.tp = 4,
                                         .pp = 4,
                                         .cp = 2,
                                         .ep = 1,
                                         .etp = 1,
                                         .dp = 8,
                                         .vp = 5,
                                         .micro_batch = 1,
                                         .zero = 1,
                                         .precision = MACHINE_BF16};
static const struct plan_batch batch = {512, 8192};

static int load(void **state)
{
    (void)state;
    struct error e = {0};
    arena_init(&memory);
    if (machine_load_accelerator("h100", NULL, &memory, &h100, &e) < 0 ||
        machine_load_accelerator("gb200", NULL, &memory, &gb200, &e) < 0 ||
        plan_load_model("llama-3-70b", NULL, &memory, &llama, &e) < 0) {
        print_error("%s\n", e.text);
        return -1;
    }
    cluster.n_pools = 1;
    cluster.pools[0] = (struct machine_pool){&h100, 256};
    return 0;
}

static int unload(void **state)
{
    (void)state;
    arena_fini(&memory);
    return 0;
}

static double seconds(struct plan_layout l)
{
    struct plan_step step;
    plan_step(&llama, &cluster, &l, &batch, &today, &step);
    return step.step_s;
}

static void assert_in_ratio(double a, double b, double low, double high)
{
    if (!(a >= low * b && a <= high * b)) fail_msg("%g / %g is not %g to %g", a, b, low, high);
}

static void parts_sum_to_the_step(void **state)
{
    (void)state;
    struct plan_layout l = usual;
    for (l.zero = 0; l.zero <= 3; l.zero++)
        for (l.recompute = 0; l.recompute <= PLAN_RECOMPUTE_FULL; l.recompute++)
            for (l.precision = MACHINE_BF16; l.precision <= MACHINE_FP8; l.precision++) {
                struct plan_step s;
                double sum = 0;
                plan_step(&llama, &cluster, &l, &batch, &today, &s);
                for (int i = 0; i < PLAN_N_PARTS; i++) {
                    assert_true(s.part_s[i] >= 0);
                    sum += s.part_s[i];
                }
                assert_true(fabs(sum / s.step_s - 1) < 1e-9);
                assert_true(s.low_s < s.step_s && s.step_s < s.high_s);
                assert_true(s.mfu > 0.05 && s.mfu < 0.9 && s.hfu >= s.mfu);
                assert_true(s.compute_share > 0 && s.compute_share <= 1);
                assert_int_equal(s.microbatches, 64);
                assert_true(fabs(s.tokens_per_s * s.step_s / (512.0 * 8192) - 1) < 1e-9);
            }
}

static void it_moves_the_right_way(void **state)
{
    (void)state;
    struct plan_layout l = usual;
    l.recompute = PLAN_RECOMPUTE_FULL;
    assert_true(seconds(l) > 1.15 * seconds(usual)); /* a third more products, less their overlap */
    l = usual;
    l.precision = MACHINE_FP8;
    assert_true(seconds(l) < 0.85 * seconds(usual));
    l = usual;
    l.vp = 1;
    assert_true(seconds(l) > seconds(usual)); /* interleaving shrinks the bubble */
    l = usual;
    l.tp = 16, l.pp = 1, l.vp = 1;
    assert_true(seconds(l) > 1.2 * seconds(usual)); /* tensor parallel across servers */
    l = usual;
    l.precision = MACHINE_FP4; /* not offered by H100: runs in the next precision it has */
    assert_true(isfinite(seconds(l)) && seconds(l) < seconds(usual));
}

/* What moves an activation moves twice the bytes of bf16, and attention runs at the rate of fp32. */
static void fp32_is_twice_as_wide(void **state)
{
    (void)state;
    struct plan_layout l = usual;
    struct plan_step half, whole;
    plan_step(&llama, &cluster, &l, &batch, &today, &half);
    l.precision = MACHINE_FP32;
    plan_step(&llama, &cluster, &l, &batch, &today, &whole);
    assert_in_ratio(whole.part_s[PLAN_PART_TP], half.part_s[PLAN_PART_TP], 1.5, 2.05);
    /* the ceiling of bf16 is measured, that of fp32 a share of its peak */
    assert_in_ratio(whole.part_s[PLAN_PART_ATTENTION], half.part_s[PLAN_PART_ATTENTION], 1.5, 2.05);
    /* beside them gradients are added, in fp32 in both */
    assert_in_ratio(whole.part_s[PLAN_PART_VECTOR], half.part_s[PLAN_PART_VECTOR], 1.25, 2);
}

static void young_software_is_slower(void **state)
{
    (void)state;
    struct machine_cluster c = cluster;
    struct plan_step young, grown;
    c.pools[0].accelerator = &gb200;
    const struct plan_software early = {.stack = PLAN_STACK_MEGATRON, .generation = 2025.0};
    plan_step(&llama, &c, &usual, &batch, &early, &young);
    plan_step(&llama, &c, &usual, &batch, &today, &grown);
    assert_true(young.step_s > 1.05 * grown.step_s);
    /* no generation is today's */
    const struct plan_software newest = {.stack = PLAN_STACK_MEGATRON,
                                         .generation = plan_software_today()};
    plan_step(&llama, &c, &usual, &batch, &newest, &young);
    assert_true(young.step_s == grown.step_s);
}

/* arXiv:2412.19437, Table 2: (p/2 - 1)(F&B + B - 3W) beside (p - 1)(F + B) of 1F1B; where B = 2F and W = F
 * that is (p - 2)/(3(p - 1)): 0.29 of it for 8 stages, more where a pass is more than products. */
static void dualpipe_fills_from_both_ends(void **state)
{
    (void)state;
    const struct plan_software dual = {.stack = PLAN_STACK_DUALPIPE, .generation = 0};
    struct plan_layout l = usual;
    struct plan_step one, two;
    l.pp = 8, l.dp = 4, l.vp = 1;
    plan_step(&llama, &cluster, &l, &batch, &today, &one);
    plan_step(&llama, &cluster, &l, &batch, &dual, &two);
    double share = two.part_s[PLAN_PART_BUBBLE] / one.part_s[PLAN_PART_BUBBLE];
    double weight_s = two.part_s[PLAN_PART_MATMUL] / (double)two.microbatches / 3;
    double chunk_s = two.forward_s + 2 * two.backward_s - 3 * weight_s;
    assert_true(fabs(two.part_s[PLAN_PART_BUBBLE] / (3 * chunk_s) - 1) <
                0.1); /* without the head */
    if (share < 6.0 / 21 || share > 0.45) fail_msg("%.3f of the bubble of 1F1B", share);
    assert_true(two.step_s < one.step_s);
    assert_true(plan_layout_check_stack(&l, &batch, &dual, NULL) == 0);
    l.vp = 2;
    assert_true(plan_layout_check_stack(&l, &batch, &dual, NULL) < 0);
    /* a rank reduces the gradients of two stages */
    assert_true(two.part_s[PLAN_PART_DP] >= one.part_s[PLAN_PART_DP]);
    l.vp = 1, l.micro_batch = 8; /* 16 microbatches, then 8: no pipe of 8 stages can be full */
    assert_true(plan_layout_check_stack(&l, &batch, &dual, NULL) == 0);
    l.micro_batch = 16;
    assert_true(plan_layout_check_stack(&l, &batch, &dual, NULL) < 0);
    l.pp = 5, l.micro_batch = 1;
    assert_true(plan_layout_check_stack(&l, &batch, &dual, NULL) < 0);
}

/* Before 2023 the ranks of both sockets' accelerators waited for each other (vTrain's single nodes). */
static void ranks_of_two_sockets_arrive_apart(void **state)
{
    (void)state;
    const struct plan_software old = {.stack = PLAN_STACK_MEGATRON, .generation = 2022.0};
    struct plan_layout l = usual;
    struct plan_step four, eight;
    l.dp = 4, l.tp = 4;
    plan_step(&llama, &cluster, &l, &batch, &old, &four);
    l.tp = 8;
    plan_step(&llama, &cluster, &l, &batch, &old, &eight);
    /* 80 layers, 4 stages, 128 microbatches; twice two collectives in a layer and pass */
    double more = eight.part_s[PLAN_PART_TP] - four.part_s[PLAN_PART_TP];
    assert_true(more > 0.9 * 128 * 20 * 8 * OWN(TP_SKEW_S));
}

/* Two kinds: faster than the slow one alone, slower than the fast one, no faster than both. */
static void pools_share_the_batch_by_speed(void **state)
{
    (void)state;
    struct machine_cluster mixed = {.n_pools = 2}, fast = cluster;
    mixed.pools[0] = (struct machine_pool){&h100, 128};
    mixed.pools[1] = (struct machine_pool){&gb200, 128};
    fast.pools[0].accelerator = &gb200;
    struct plan_step s, f;
    plan_step(&llama, &mixed, &usual, &batch, &today, &s);
    plan_step(&llama, &fast, &usual, &batch, &today, &f);
    double slow_s = seconds(usual);
    assert_true(s.step_s < 0.95 * slow_s);
    assert_true(s.step_s > f.step_s);
    assert_true(1 / s.step_s < 1.05 * (0.5 / slow_s + 0.5 / f.step_s));
}

/* PyTorch's own attention on an H100: Triton's, then FlashAttention-2 at 35 % of the peak, then
 * cuDNN's, which Megatron has all along; on Blackwell they are the same. */
static void torch_follows_in_attention(void **state)
{
    (void)state;
    struct plan_layout l = {.tp = 8,
                            .pp = 1,
                            .cp = 1,
                            .ep = 1,
                            .etp = 1,
                            .dp = 32,
                            .vp = 1,
                            .micro_batch = 1,
                            .zero = 1,
                            .precision = MACHINE_BF16};
    const struct plan_batch long_batch = {32, 65536};
    static const double years[] = {2023.5, 2024.9, 2025.9};
    double last = 0;
    for (size_t i = 0; i < ARRAY_LEN(years); i++) {
        struct plan_step megatron, torch;
        struct plan_software s = {.stack = PLAN_STACK_MEGATRON, .generation = years[i]};
        plan_step(&llama, &cluster, &l, &long_batch, &s, &megatron);
        s.stack = PLAN_STACK_FSDP;
        plan_step(&llama, &cluster, &l, &long_batch, &s, &torch);
        double ratio = torch.part_s[PLAN_PART_ATTENTION] / megatron.part_s[PLAN_PART_ATTENTION];
        if (i > 0) assert_true(ratio < 0.95 * last);
        last = ratio;
        if (i == 1)
            assert_in_ratio(ratio, OWN(FSDP_COMPUTE) * OWN(FLASH_HOPPER) / OWN(FLASH2_HOPPER), 0.95,
                            1.05);
    }
    assert_in_ratio(last, OWN(FSDP_COMPUTE), 0.99, 1.01);
}

/* PyTorch's selective checkpointing runs every other layer again: half of what all of them cost, which is about
 * a third of the products' forward and backward time. Megatron's costs next to nothing. */
static void torch_recomputes_every_other_layer(void **state)
{
    (void)state;
    struct plan_layout l = usual;
    double again[2][3];
    for (int stack = PLAN_STACK_MEGATRON; stack <= PLAN_STACK_FSDP; stack++)
        for (l.recompute = 0; l.recompute <= PLAN_RECOMPUTE_FULL; l.recompute++) {
            struct plan_step s;
            struct plan_software with = {.stack = stack, .generation = 2024.9};
            plan_step(&llama, &cluster, &l, &batch, &with, &s);
            again[stack][l.recompute] = s.part_s[PLAN_PART_RECOMPUTE];
        }
    assert_true(again[PLAN_STACK_FSDP][PLAN_RECOMPUTE_NONE] == 0);
    assert_in_ratio(again[PLAN_STACK_FSDP][PLAN_RECOMPUTE_SELECTIVE],
                    again[PLAN_STACK_FSDP][PLAN_RECOMPUTE_FULL], 0.499, 0.501);
    assert_true(again[PLAN_STACK_MEGATRON][PLAN_RECOMPUTE_SELECTIVE] <
                0.15 * again[PLAN_STACK_MEGATRON][PLAN_RECOMPUTE_FULL]);
    /* where the host is behind, half of the kernels again; FLOPs of the hardware likewise */
    const struct plan_software torch = {.stack = PLAN_STACK_FSDP, .generation = 2025.0};
    const struct plan_batch tiny = {512, 128};
    double took[3], hfu[3];
    for (l.recompute = 0; l.recompute <= PLAN_RECOMPUTE_FULL; l.recompute++) {
        struct plan_step s;
        plan_step(&llama, &cluster, &l, &tiny, &torch, &s);
        took[l.recompute] = s.step_s;
        hfu[l.recompute] = s.hfu / s.mfu;
    }
    assert_true(took[0] < took[1] && took[1] < took[2]);
    assert_float_equal(hfu[0], 1, 1e-9);
    assert_float_equal(hfu[1], 7.0 / 6, 1e-9);
    assert_float_equal(hfu[2], 4.0 / 3, 1e-9);
}

/* Microbatches are whole: with one for each replica a quarter of faster accelerators helps nothing, and hurts nothing. */
static void kinds_share_whole_microbatches(void **state)
{
    (void)state;
    struct error e = {0};
    struct machine_accelerator h200;
    assert_true(machine_load_accelerator("h200", NULL, &memory, &h200, &e) >= 0);
    struct machine_cluster mixed = cluster;
    mixed.n_pools = 2;
    mixed.pools[0] = (struct machine_pool){&h100, 192};
    mixed.pools[1] = (struct machine_pool){&h200, 64};
    struct plan_layout l = usual;
    l.dp = 8, l.cp = 2; /* 8 replicas of 32: 6 on H100, 2 on H200 */
    for (int64_t each = 1; each <= 40; each++) {
        struct plan_batch b = {8 * each, 8192};
        struct plan_step slow, both;
        plan_step(&llama, &cluster, &l, &b, &today, &slow);
        plan_step(&llama, &mixed, &l, &b, &today, &both);
        assert_true(both.step_s <= slow.step_s * (1 + 1e-9));
        if (each == 1) assert_in_ratio(both.step_s, slow.step_s, 0.999, 1.001);
    }
    /* what each microbatch sends counts, too; an equal share is always open */
    const struct plan_software torch = {.stack = PLAN_STACK_FSDP, .generation = 2025.5},
                               dual = {.stack = PLAN_STACK_DUALPIPE, .generation = 2025.5};
    mixed.pools[1].accelerator = &gb200;
    struct plan_layout flat = {.tp = 4,
                               .pp = 1,
                               .cp = 1,
                               .ep = 1,
                               .etp = 1,
                               .dp = 64,
                               .vp = 1,
                               .micro_batch = 1,
                               .zero = 3,
                               .precision = MACHINE_BF16};
    for (int64_t each = 1; each <= 20; each++) {
        struct plan_batch b = {64 * each, 2048};
        struct plan_step slow, both;
        plan_step(&llama, &cluster, &flat, &b, &torch, &slow);
        plan_step(&llama, &mixed, &flat, &b, &torch, &both);
        assert_true(both.step_s <= slow.step_s * (1 + 1e-9));
    }
    l.vp = 1; /* of 4 stages DualPipe takes an even number of 8 or more, of each kind */
    for (int64_t each = 8; each <= 60; each += 2) {
        struct plan_batch b = {8 * each, 8192};
        struct plan_step both;
        plan_step(&llama, &mixed, &l, &b, &dual, &both);
        assert_true(both.microbatches % 2 == 0 && both.microbatches >= 8);
    }
}

/* Before fused attention a rank of a context-parallel group scores its queries against all keys: the same work
 * however the sequence is cut. */
static void unfused_attention_sees_all_keys(void **state)
{
    (void)state;
    const struct plan_software old = {.stack = PLAN_STACK_MEGATRON, .generation = 2022.0};
    struct plan_layout l = usual;
    struct plan_batch b = {64, 16384};
    double first = 0;
    for (l.cp = 1; l.cp <= 8; l.cp *= 2) {
        struct plan_step s;
        l.dp = 16 / l.cp;
        plan_step(&llama, &cluster, &l, &b, &old, &s);
        if (l.cp == 1) first = s.part_s[PLAN_PART_ATTENTION];
        assert_in_ratio(s.part_s[PLAN_PART_ATTENTION], first, 0.9, 1.2);
    }
}

/* In a pipeline PyTorch keeps the weights of a stage gathered: exchanged once a step, not once a microbatch. */
static void torch_gathers_a_stage_once(void **state)
{
    (void)state;
    struct plan_layout l = usual;
    struct plan_step few, many;
    const struct plan_software s = {.stack = PLAN_STACK_FSDP, .generation = 2025.5};
    struct plan_batch b = {8 * 16, 8192};
    l.zero = 3;
    plan_step(&llama, &cluster, &l, &b, &s, &few);
    b.global_batch *= 4;
    plan_step(&llama, &cluster, &l, &b, &s, &many);
    assert_in_ratio(many.part_s[PLAN_PART_DP] + 1e-6, few.part_s[PLAN_PART_DP] + 1e-6, 0, 1.01);
}

static void years_are_read_from_sources(void **state)
{
    (void)state;
    static const struct {
        const char *source, *table, *dist_opt;
        double year;
        int stack;
    } known[] = {
        {"NVIDIA Megatron-Bridge perf 26.04.01", "", "", 2026.29, PLAN_STACK_MEGATRON},
        {"NVIDIA dgxc-benchmarking v25.08.02", "", "", 2025.63, PLAN_STACK_MEGATRON},
        {"NVIDIA dgxc-benchmarking v25.04.02", "maxtext/README_70b.md", "FSDP + DP", 2025.29,
         PLAN_STACK_OTHER},
        {"Somebody arXiv:2506.01234", "", "", 2025.46, PLAN_STACK_MEGATRON},
        {"MLPerf Training v5.0", "", "", 2025.4, PLAN_STACK_MEGATRON},
        {"MosaicML llm-foundry", "", "FSDP FULL_SHARD", 2023.8, PLAN_STACK_FSDP},
        {"torchtitan docs/performance.md", "", "FSDP FULL_SHARD", 2024.8, PLAN_STACK_FSDP},
        {"torchtitan benchmarks 2025-06, H200", "", "FSDP FULL_SHARD", 2025.46, PLAN_STACK_FSDP},
        {"MegaScale arXiv:2402.15627, run of 2023-11", "", "", 2023.88, PLAN_STACK_MEGATRON},
        {"no date: 12024-06, 2024-061, 2024-13, 1-2024-06", "", "", 0, PLAN_STACK_MEGATRON},
        {"not yet: 2031-03", "", "", 0, PLAN_STACK_MEGATRON},
        {"never heard of", "", "", 0, PLAN_STACK_MEGATRON},
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        struct plan_software s;
        plan_software_of_source(known[i].source, known[i].table, known[i].dist_opt, &s);
        double year = known[i].year > 0 ? known[i].year : plan_software_today();
        assert_true(fabs(s.generation - year) < 0.02);
        assert_int_equal(s.stack, known[i].stack);
    }
}

static void gaps_are_filled_by_rule(void **state)
{
    (void)state;
    struct plan_layout l = usual;
    struct plan_batch b = {0, 8192};
    l.vp = 0, l.etp = 0, l.micro_batch = 0, l.recompute = -1;
    plan_layout_assume(&llama, &h100, &today, &b, &l);
    assert_int_equal(l.micro_batch, 1);
    assert_int_equal(b.global_batch, 8 * 4 * 8);
    assert_int_equal(l.etp, 1);
    assert_true(l.vp >= 1 && 20 % l.vp == 0);
    assert_int_equal(l.recompute, PLAN_RECOMPUTE_NONE);
    l = usual, b = batch;
    l.tp = 1, l.cp = 1, l.pp = 1, l.dp = 256, l.vp = 1, l.zero = 3, l.micro_batch = 2;
    l.recompute = -1; /* 16,384 tokens of 80 layers of 8,192 hidden units do not fit 80 GB */
    plan_layout_assume(&llama, &h100, &today, &b, &l);
    assert_int_equal(l.recompute, PLAN_RECOMPUTE_FULL);
}

/* The bars of the project, on the table that travels with it. */
static void published_runs_are_predicted(void **state)
{
    (void)state;
    struct error e = {0};
    struct plan_rows rows;
    size_t n = 0;
    double error = 0, bias = 0;
    assert_true(plan_rows_load(NULL, 0, &memory, &rows, &e) >= 0);
    for (size_t i = 0; i < rows.count; i++) {
        const struct plan_row *r = &rows.row[i];
        struct plan_step s;
        if (r->tier != 'A' || r->skip || !(r->step_s > 0)) continue;
        plan_step(&r->model, &r->cluster, &r->layout, &r->batch, &r->software, &s);
        error += fabs(s.step_s / r->step_s - 1);
        bias += s.step_s / r->step_s - 1;
        n++;
    }
    assert_int_equal(n, 518); /* every row whose time is stated */
    if (error / (double)n > 0.06) fail_msg("mean error %.1f %%", 100 * error / (double)n);
    if (fabs(bias / (double)n) > 0.02) fail_msg("bias %.1f %%", 100 * bias / (double)n);
}

/* A fit's own values change its steps and nobody else's. */
static void constants_are_borrowed(void **state)
{
    (void)state;
    struct plan_constant_values slow = plan_constants_own;
    struct plan_software own = today, fitted = today;
    struct plan_step before, other, after;
    own.constants = &plan_constants_own;
    slow.value[PLAN_K_GEMM_BF16_HOPPER] /= 2;
    fitted.constants = &slow;
    plan_step(&llama, &cluster, &usual, &batch, &own, &before);
    plan_step(&llama, &cluster, &usual, &batch, &fitted, &other);
    plan_step(&llama, &cluster, &usual, &batch, &today, &after);
    assert_true(before.step_s == after.step_s);
    assert_true(other.part_s[PLAN_PART_MATMUL] > 1.5 * before.part_s[PLAN_PART_MATMUL]);
}

static void constants_stay_in_their_ranges(void **state)
{
    (void)state;
    for (size_t i = 0; i < plan_constants_count(); i++) {
        const struct plan_constant *c = &plan_constants[i];
        assert_true(c->low <= c->high && strlen(c->source) > 10);
        assert_true(c->value >= c->low && c->value <= c->high);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_sum_to_the_step),
        cmocka_unit_test(it_moves_the_right_way),
        cmocka_unit_test(fp32_is_twice_as_wide),
        cmocka_unit_test(young_software_is_slower),
        cmocka_unit_test(dualpipe_fills_from_both_ends),
        cmocka_unit_test(ranks_of_two_sockets_arrive_apart),
        cmocka_unit_test(pools_share_the_batch_by_speed),
        cmocka_unit_test(torch_follows_in_attention),
        cmocka_unit_test(torch_recomputes_every_other_layer),
        cmocka_unit_test(torch_gathers_a_stage_once),
        cmocka_unit_test(kinds_share_whole_microbatches),
        cmocka_unit_test(unfused_attention_sees_all_keys),
        cmocka_unit_test(years_are_read_from_sources),
        cmocka_unit_test(gaps_are_filled_by_rule),
        cmocka_unit_test(published_runs_are_predicted),
        cmocka_unit_test(constants_are_borrowed),
        cmocka_unit_test(constants_stay_in_their_ranges),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
