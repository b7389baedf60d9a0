/* test_plan_local.c: the accelerator `local` is one that plans can name, what was measured reads
 * back, and a step is the sum of its operations. */
#include "test_cmocka.h"

#include "plan/read/plan_read_internal.h"
#include "plan/step/plan_local_internal.h"
#include "plan/validate/plan_validate_internal.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#define FOLDER "test_plan_local.tmp"

/* A machine of 1 GFLOP/s whatever the shape, where everything else is free or costs 1 ns. */
static struct compute_machine machine(void)
{
    struct compute_machine m = {.dtype = COMPUTE_F32, .threads = 2, .peak_flops = 2e9};
    m.copy_bytes_per_s = 1e10;
    m.n_products = 4;
    for (int64_t i = 0; i < 4; i++) {
        struct compute_machine_product *p = &m.products[i];
        *p = (struct compute_machine_product){1024, 128 << i, 512, i % 2 ? 8 : 1, {0}};
        for (int k = 0; k < 3; k++)
            p->s[k] = 2e-9 * (double)(p->rows * p->in * p->out);
    }
    for (int i = 0; i < COMPUTE_N_OPS; i++)
        m.op_s[i] = 1e-30;
    return m;
}

static struct plan_local_run run_of(void)
{
    struct plan_local_run r = {.seq_len = 64, .micro_batch = 4, .global_batch = 8};
    r.model = (struct model_config){.vocab_size = 1000,
                                    .n_layers = 3,
                                    .d_model = 128,
                                    .n_heads = 4,
                                    .n_kv_heads = 2,
                                    .head_dim = 32,
                                    .ffn_hidden = 256,
                                    .n_experts = 4,
                                    .n_experts_used = 2,
                                    .tied_embeddings = true};
    return r;
}

/* Six FLOPs for each weight a token meets, as anywhere. */
static void test_products(void **state)
{
    (void)state;
    struct compute_machine m = machine();
    struct plan_local_run r = run_of();
    struct plan_local_step s = {0};
    plan_local_step(&m, &r, &s);
    double weights = 3 * (128.0 * (4 + 2 * 2 + 4) * 32 + 2 * 3 * 128.0 * 256) + 128 * 1000.0;
    double flops = 6 * weights * 8 * 64;
    assert_float_equal(s.products_s, flops / 1e9, 1e-6 * flops / 1e9);
    assert_float_equal(s.step_s, s.products_s, 1e-6 * s.step_s);

    r.model.n_experts = r.model.n_experts_used = 1; /* dense: one FFN, no router */
    m.op_s[COMPUTE_OP_ROUTER] = 1;
    plan_local_step(&m, &r, &s);
    weights = 3 * (128.0 * (4 + 2 * 2 + 4) * 32 + 3 * 128.0 * 256) + 128 * 1000.0;
    assert_float_equal(s.products_s, 6 * weights * 8 * 64 / 1e9, 1e-6 * s.products_s);
    assert_true(s.vector_s < 1e-9);
}

/* Ranks share the machine's speed, so what they only share takes as long as on one process; what each
 * does for itself takes as often as there are ranks; and a pipeline waits at its ends. */
static void test_ranks_share_the_machine(void **state)
{
    (void)state;
    struct compute_machine m = machine();
    struct plan_local_run r = run_of();
    struct plan_local_step one = {0}, s = {0};
    r.model.n_layers = 4;
    r.model.n_experts = 8;
    m.op_s[COMPUTE_OP_ADAMW] = 1e-9;
    m.op_s[COMPUTE_OP_REFRESH] = 3e-9;
    plan_local_step(&m, &r, &one);

    r.dp = 2;
    plan_local_step(&m, &r, &s);
    assert_float_equal(s.products_s, one.products_s, 1e-6 * one.products_s);
    assert_float_equal(s.optimizer_s, 2 * one.optimizer_s, 1e-6 * one.optimizer_s);
    r.parts = true; /* each updates its half and makes all copies */
    plan_local_step(&m, &r, &s);
    assert_float_equal(s.optimizer_s, 7 * one.optimizer_s / 4, 1e-6 * one.optimizer_s);
    r.ep = 2; /* and of the experts holds a half, which is all its own */
    plan_local_step(&m, &r, &s);
    assert_true(s.optimizer_s < 1.1 * one.optimizer_s);
    assert_float_equal(s.products_s, one.products_s, 1e-6 * one.products_s);
    r.sent_bytes = 5e6;
    r.bytes_per_s = 1e9;
    plan_local_step(&m, &r, &s);
    assert_float_equal(s.messages_s, 5e-3, 1e-9);
    assert_float_equal(s.step_s, s.products_s + s.optimizer_s + 5e-3, 1e-6);

    r = run_of();
    r.tp = 2;
    plan_local_step(&m, &r, &s);
    r.tp = 1;
    plan_local_step(&m, &r, &one);
    assert_float_equal(s.products_s, one.products_s, 1e-6 * one.products_s);

    /* Two stages of two layers, the head in the second: with n microbatches the first waits for the
     * second, and both once for each other. */
    r = run_of();
    r.model.n_layers = 4;
    plan_local_step(&m, &r, &one);
    r.pp = 2;
    plan_local_step(&m, &r, &s);
    assert_float_equal(s.products_s, one.products_s, 1e-6 * one.products_s);
    double head = 6 * 128.0 * 1000 * 4 * 64 / 1e9, all = one.products_s / 2; /* of one microbatch */
    double last = 2 * ((all - head) / 2 + head), first = all - head;
    assert_float_equal(s.step_s - s.optimizer_s, first + last + last, 1e-6 * one.products_s);
    assert_float_equal(s.bubble_s, first + 2 * last - 2 * all, 1e-6 * one.products_s);
}

static void test_other_operations(void **state)
{
    (void)state;
    struct plan_local_run r = run_of();
    struct plan_local_step s = {0};
    struct compute_machine m = machine();
    m.op_s[COMPUTE_OP_ADAMW] = 1e-9;
    plan_local_step(&m, &r, &s);
    double params = 3 * (128.0 * 12 * 32 + 4 * 3 * 128.0 * 256) + 128 * 1000.0;
    assert_float_equal(s.optimizer_s, params * 1e-9, 1e-6 * params * 1e-9);
    m = machine();
    m.op_s[COMPUTE_OP_LOSS] = 1e-9;
    plan_local_step(&m, &r, &s);
    assert_float_equal(s.loss_s, 8 * 64 * 1000e-9, 1e-12);
    m = machine();
    m.op_s[COMPUTE_OP_NEWTON] = 1e-9;
    plan_local_step(&m, &r, &s);
    assert_true(s.optimizer_s < 1e-9);
    r.muon_steps = 5;
    plan_local_step(&m, &r, &s);
    double square = 6 * 128.0 * 128 * 128;                    /* query and output */
    double narrow = 4 * 64.0 * 64 * 128 + 2 * 64.0 * 64 * 64; /* key and value */
    double expert = 4 * 128.0 * 128 * 256 + 2 * 128.0 * 128 * 128;
    double flops = 5 * 3 * (2 * square + 2 * narrow + 12 * expert);
    assert_float_equal(s.optimizer_s, flops * 1e-9, 1e-6 * flops * 1e-9);
}

static void test_files(void **state)
{
    (void)state;
    struct compute_machine m = machine();
    const struct compute_machine *back;
    const struct plan_local *local;
    struct plan_local read;
    struct machine_accelerator accelerator;
    struct arena a;
    struct error e = {0};
    arena_init(&a);
    assert_ok(plan_local_write(&m, 1, FOLDER "/deep/local.yaml", &e), e);
    assert_string_equal(plan_local_times(FOLDER "/deep/local.yaml", &a), FOLDER "/deep/local.json");
    assert_ok(machine_load_accelerator(FOLDER "/deep/local.yaml", "", &a, &accelerator, &e), e);
    assert_string_equal(accelerator.name, "local");
    assert_float_equal(accelerator.peak_flops[MACHINE_FP32].mid, 2e9, 1);
    assert_true(accelerator.hbm_bytes.mid > 1e8);
    assert_string_equal(accelerator.operations, FOLDER "/deep/local.json");
    assert_ok(plan_local_of(&accelerator, &a, &local, &e), e);
    back = &local->machine[COMPUTE_F32];
    assert_int_equal(back->n_products, m.n_products);
    for (size_t i = 0; i < m.n_products; i++)
        assert_float_equal(back->products[i].s[2], m.products[i].s[2], 1e-12);
    assert_ok(plan_local_check(local, false, &e), e);
    assert_int_equal(plan_local_check(local, true, &e), ERROR_CONFIG);
    assert_contains(e.text, "has no measurement in bf16");
    assert_true(plan_local_read(FOLDER "/nowhere.json", &read, &e) < 0);
    assert_contains(e.hint, "bench-machine");
    static const char broken[] = "{\"machine\": [{\"dtype\": \"fp32\", \"threads\": 1}]}";
    assert_ok(file_write(FOLDER "/broken.json", broken, strlen(broken), &e), e);
    assert_int_equal(plan_local_read(FOLDER "/broken.json", &read, &e), ERROR_CONFIG);
    assert_ok(file_remove_tree(FOLDER, &e), e);
    arena_fini(&a);
}

static void test_run_folder(void **state)
{
    (void)state;
    static const char yaml[] =
        "model: {vocab_size: 1000, n_layers: 3, d_model: 128, n_heads: 4, n_kv_heads: 2,\n"
        "  head_dim: 32, ffn_hidden: 256, n_experts: 4, n_experts_used: 2, dense_ffn_hidden: 0,\n"
        "  tied_embeddings: true}\n"
        "batch: {seq_len: 64, micro_batch: 4, global_batch: 0}\n"
        "train: {threads: 2, precision: bf16, recompute: full}\n"
        "optimizer: {kind: muon, muon_steps: 6}\n";
    static const char steps[] = "{\"step\":1,\"step_s\":9}\n{\"step\":2,\"step_s\":9}\n"
                                "{\"step\":3,\"step_s\":9}\n{\"step\":4,\"step_s\":2}\n"
                                "{\"step\":5,\"step_s\":1}\n{\"step\":6,\"step_s\":3}\n{\"ste";
    struct plan_local_run r;
    struct error e = {0};
    assert_ok(file_make_dirs(FOLDER, &e), e);
    assert_ok(file_write(FOLDER "/run.yaml", yaml, strlen(yaml), &e), e);
    assert_ok(file_write(FOLDER "/metrics.jsonl", steps, strlen(steps), &e), e);
    assert_ok(plan_local_load(FOLDER, &r, &e), e);
    assert_int_equal(r.n_steps, 3);
    assert_float_equal(r.measured_s, 2, 0);
    assert_true(r.bf16 && r.muon_steps == 6 && r.model.tied_embeddings);
    assert_int_equal(r.recompute, MODEL_RECOMPUTE_FULL);
    assert_int_equal(r.global_batch, 4);
    assert_ok(file_write(FOLDER "/metrics.jsonl", "{}\n", 3, &e), e);
    assert_ok(plan_local_load(FOLDER, &r, &e), e);
    assert_int_equal(r.n_steps, 0); /* not yet */
    assert_ok(file_write(FOLDER "/run.yaml", "model: {}\n", 10, &e), e);
    assert_int_equal(plan_local_load(FOLDER, &r, &e), ERROR_CONFIG);
    assert_contains(e.text, "'n_layers' of a model is missing");
    assert_ok(file_remove_tree(FOLDER, &e), e);
}

/* A run file is planned by the very sum that validates it, whatever the pages are for; a desk has no
 * servers, no network and no fleet. */
static void test_one_model(void **state)
{
    (void)state;
    static const char yaml[] =
        "name: mine\ndir: " FOLDER "/runs\n"
        "model: {vocab_size: 1000, n_layers: 3, d_model: 128, n_heads: 4, n_kv_heads: 2,\n"
        "  head_dim: 32, ffn_hidden: 256, n_experts: 4, n_experts_used: 2}\n"
        "batch: {seq_len: 64, micro_batch: 4, global_batch: 8}\n"
        "train: {tokens: 100k, precision: fp32}\noptimizer: {kind: muon}\n";
    static const char *const RUN = FOLDER "/runs/mine";
    static const char steps[] = "{\"step_s\":9}\n{\"step_s\":9}\n{\"step_s\":9}\n{\"step_s\":2}\n";
    struct compute_machine m = machine();
    struct plan_local_run run;
    struct plan_local_step s = {0};
    struct plan_request r;
    struct plan_answer answer;
    struct arena a;
    struct error e = {0};
    arena_init(&a);
    m.op_s[COMPUTE_OP_NEWTON] = 1e-9;
    assert_ok(file_make_dirs(RUN, &e), e);
    assert_ok(file_make_dirs(FOLDER "/accelerators", &e), e);
    assert_ok(plan_local_write(&m, 1, FOLDER "/accelerators/local.yaml", &e), e);
    assert_ok(file_write(FOLDER "/mine.yaml", yaml, strlen(yaml), &e), e);
    static const char *const effective = /* as train writes it: every default, to a few digits */
        "name: mine\ndir: " FOLDER "/runs\n"
        "model: {vocab_size: 1000, n_layers: 3, d_model: 128, n_heads: 4, n_kv_heads: 2,\n"
        "  head_dim: 32, ffn_hidden: 256, n_experts: 4, n_experts_used: 2,\n"
        "  output_multiplier: 4.00001, embedding_multiplier: 11.3137, router_aux_coef: 0.1}\n"
        "batch: {seq_len: 64, micro_batch: 4, global_batch: 8}\n"
        "train: {tokens: 100000, precision: fp32, threads: 2}\n"
        "optimizer: {kind: muon, muon_steps: 5}\n";
    assert_ok(file_write(FOLDER "/runs/mine/run.yaml", effective, strlen(effective), &e), e);
    assert_ok(file_write(FOLDER "/runs/mine/metrics.jsonl", steps, strlen(steps), &e), e);
    assert_ok(plan_local_load(RUN, &run, &e), e);
    assert_int_equal(run.muon_steps, 5);
    plan_local_step(&m, &run, &s);

    setenv("COLOSSUS_PRESETS", FOLDER, 1); /* local lies there */
    assert_ok(plan_load(FOLDER "/mine.yaml", &a, &r, &e), e);
    assert_ok(plan_solve(&r, &a, &answer, &e), e);
    assert_int_equal(r.software.stack, PLAN_STACK_COLOSSUS);
    assert_false(r.search);
    assert_int_equal(answer.layout.micro_batch, 4);
    assert_int_equal(answer.step.microbatches, 2);
    assert_float_equal(answer.step.step_s, s.step_s, 1e-9 * s.step_s);
    assert_string_equal(r.measured.folder, RUN);
    assert_float_equal(r.measured.step_s, 2, 0);
    assert_true(answer.money.servers_usd.mid == 0 && answer.money.network_usd.mid == 0);
    assert_true(answer.power.network_w == 0);
    assert_float_equal(plan_goodput(&answer.reliability).mid, 1, 0);
    assert_false(isfinite(answer.reliability.mtbf_s.mid));
    double days = ceil(100e3 / (8 * 64)) * s.step_s / 86400;
    assert_float_equal(answer.days.mid, days, 1e-9 * days);

    /* layers that are computed again take time and no memory */
    double kept = answer.step.memory.activations, once = answer.step.step_s;
    r.layout.recompute = PLAN_RECOMPUTE_SELECTIVE;
    assert_ok(plan_solve(&r, &a, &answer, &e), e);
    double selective = answer.step.memory.activations, little = answer.step.step_s;
    r.layout.recompute = PLAN_RECOMPUTE_FULL;
    assert_ok(plan_solve(&r, &a, &answer, &e), e);
    assert_true(answer.step.memory.activations < selective && selective < kept);
    assert_true(answer.step.step_s > little && little > once);
    r.layout.recompute = PLAN_RECOMPUTE_NONE;

    /* another batch is cut as this one; what was measured is not of it */
    assert_ok(plan_override(&r, "batch", "16", &a, &e), e);
    assert_ok(plan_solve(&r, &a, &answer, &e), e);
    assert_int_equal(answer.layout.micro_batch, 4);
    assert_float_equal(answer.step.step_s - answer.step.part_s[PLAN_PART_OPTIMIZER],
                       2 * (s.step_s - s.optimizer_s), 1e-9 * s.step_s);

    /* several machines, or one that nobody has measured, are another stack's */
    assert_ok(plan_override(&r, "gpus", "2", &a, &e), e);
    assert_int_equal(r.software.stack, PLAN_STACK_MEGATRON);
    assert_null(r.software.local);
    assert_true(plan_override(&r, "stack", "colossus", &a, &e) < 0);
    assert_contains(e.text, "trains on one machine, not on 2");

    /* a run of other settings says nothing of this one */
    static const char adamw[] =
        "name: mine\ndir: " FOLDER "/runs\n"
        "model: {vocab_size: 1000, n_layers: 3, d_model: 128, n_heads: 4, n_kv_heads: 2,\n"
        "  head_dim: 32, ffn_hidden: 256, n_experts: 4, n_experts_used: 2}\n"
        "batch: {seq_len: 64, micro_batch: 4, global_batch: 8}\n"
        "train: {tokens: 100k, precision: fp32}\n";
    assert_ok(file_write(FOLDER "/other.yaml", adamw, strlen(adamw), &e), e);
    assert_ok(plan_load(FOLDER "/other.yaml", &a, &r, &e), e);
    assert_null(r.measured.folder);
    assert_contains(r.notes[1], "of other settings");
    unsetenv("COLOSSUS_PRESETS");
    assert_ok(file_remove_tree(FOLDER, &e), e);
    arena_fini(&a);
}

/* Of a machine that is only described: products at their rate, whatever moves memory by its bytes. */
static void test_estimate(void **state)
{
    (void)state;
    struct machine_accelerator x = {.name = "box", .operations = MACHINE_ESTIMATED};
    const struct plan_local *l;
    struct plan_local_run r = run_of();
    struct plan_local_step s = {0}, slow = {0};
    struct arena a;
    struct error e = {0};
    arena_init(&a);
    x.peak_flops[MACHINE_FP32].mid = x.ceiling_flops[MACHINE_FP32].mid = 1e12;
    x.hbm_bytes_per_s.mid = 50e9;
    assert_ok(plan_local_of(&x, &a, &l, &e), e);
    assert_true(l->estimated);
    assert_ok(plan_local_check(l, true, &e), e); /* bf16 at the rate of fp32 */
    plan_local_step(&l->machine[COMPUTE_F32], &r, &s);
    double flops = 6 * (3 * (128.0 * 12 * 32 + 2 * 3 * 128.0 * 256) + 128 * 1000.0) * 8 * 64;
    assert_float_equal(s.products_s, flops / 0.6e12, 1e-6 * s.products_s);
    x.hbm_bytes_per_s.mid = 25e9;
    assert_ok(plan_local_of(&x, &a, &l, &e), e);
    plan_local_step(&l->machine[COMPUTE_F32], &r, &slow);
    assert_float_equal(slow.vector_s, 2 * s.vector_s, 1e-9 * s.vector_s);
    assert_float_equal(slow.products_s, s.products_s, 1e-12);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_other_operations),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_run_folder),
        cmocka_unit_test(test_ranks_share_the_machine),
        cmocka_unit_test(test_one_model),
        cmocka_unit_test(test_estimate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
