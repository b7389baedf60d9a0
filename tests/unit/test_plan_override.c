/* test_plan_override.c: one input changed: what stays of the layout, what is told, what is refused. */
#include "test_cmocka.h"

#include "plan/show/plan_show_internal.h"

struct fixture {
    struct arena arena;
    struct plan_request request;
    struct error e;
};

static int setup(void **state)
{
    struct fixture *f = mem_calloc(1, sizeof(*f));
    arena_init(&f->arena);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    arena_fini(&f->arena);
    mem_free(f);
    return 0;
}

static struct plan_request *load(struct fixture *f, const char *name)
{
    assert_ok(plan_load(name, &f->arena, &f->request, &f->e), f->e);
    return &f->request;
}

static void change(struct fixture *f, const char *name, const char *text)
{
    assert_ok(plan_override(&f->request, name, text, &f->arena, &f->e), f->e);
}

static const struct plan_answer *solve(struct fixture *f)
{
    struct plan_answer *x = arena_alloc(&f->arena, sizeof(*x));
    assert_ok(plan_solve(&f->request, &f->arena, x, &f->e), f->e);
    return x;
}

static void test_the_same_changes_nothing(void **state)
{
    struct fixture *f = *state;
    static const char *const same[][2] = {{"gpus", "16Ki"},
                                          {"batch", "2048"},
                                          {"seq-len", "8192"},
                                          {"model", "llama-3-405b"},
                                          {"precision", "bf16"},
                                          {"cluster", "llama-3-16k"},
                                          {"accelerator", "h100"},
                                          {"stack", "fsdp"},
                                          {"tp", "8"},
                                          {"zero", "2"},
                                          {"generation", "2024.3"},
                                          {"tokens", "15.6T"},
                                          {"cap", "1"},
                                          {"recompute", "none"}};
    double before = (load(f, "llama-3-405b"), solve(f)->step.step_s);
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        struct plan_request *r = load(f, "llama-3-405b");
        change(f, same[i][0], same[i][1]);
        if (r->search || r->changed) fail_msg("%s %s: %s", same[i][0], same[i][1], r->changed);
        assert_true(solve(f)->step.step_s == before);
    }
}

static void test_changes_are_told(void **state)
{
    struct fixture *f = *state;
    char title[256];
    struct plan_request *r = load(f, "llama-3-405b");
    plan_describe_title(r, title, sizeof title);
    assert_string_equal(title, "Llama 3 405B on 16,384 H100");
    change(f, "gpus", "8Ki");
    change(f, "cap", "0.8");
    plan_describe_title(r, title, sizeof title);
    assert_string_equal(
        title, "llama-3-405b on 8,192 NVIDIA H100 SXM5 80 GB (llama-3-405b with gpus 8Ki, cap "
               "0.8)");
}

static void test_zero_can_be_given(void **state)
{
    struct fixture *f = *state;
    struct plan_request *r = load(f, "gigafactory-20k");
    assert_int_equal(r->layout.zero, -1);
    change(f, "model", "llama-3-8b");
    change(f, "zero", "0");
    assert_int_equal(solve(f)->layout.zero, 0);
    change(f, "layout", "auto");
    assert_true(r->search && r->layout.zero == 0 && r->layout.precision == -1);
    change(f, "cap", "0.8");
    change(f, "cap", "0"); /* as in a file: not lowered */
    assert_true(r->power_cap == 0);
}

/* Accelerators that do not compute in the precision of the file: the search chooses another. */
static void test_precision_is_released(void **state)
{
    struct fixture *f = *state;
    struct plan_request *r = load(f, "colossus-2-110k");
    assert_int_equal(r->layout.precision, MACHINE_MXFP8);
    change(f, "gpus", "99991");
    assert_int_equal(r->layout.precision, MACHINE_MXFP8);
    change(f, "accelerator", "h100");
    assert_int_equal(r->layout.precision, -1);
    assert_true(solve(f)->step.used <= 99991);
}

static void test_kinds_may_vanish(void **state)
{
    struct fixture *f = *state;
    struct plan_request *r = load(f, "colossus-1-200k");
    assert_int_equal(r->cluster.n_pools, 2);
    change(f, "gpus", "1");
    assert_int_equal(r->cluster.n_pools, 1);
    assert_int_equal(machine_cluster_accelerators(&r->cluster), 1);
    for (int n = 2; n <= 9; n++) { /* shares that rounding cannot sum */
        char text[16];
        r = load(f, "colossus-1-200k");
        r->cluster.n_pools = 4;
        for (int i = 0; i < 4; i++)
            r->cluster.pools[i] = (struct machine_pool){r->cluster.pools[0].accelerator, 100};
        snprintf(text, sizeof text, "%d", n);
        change(f, "gpus", text);
        assert_int_equal(machine_cluster_accelerators(&r->cluster), n);
        for (int64_t i = 0; i < r->cluster.n_pools; i++)
            assert_true(r->cluster.pools[i].count >= n / 4 &&
                        r->cluster.pools[i].count <= n / 4 + 1);
    }
}

static void refused(struct fixture *f, const char *text, const char *hint)
{
    struct plan_answer x;
    assert_true(plan_solve(&f->request, &f->arena, &x, &f->e) < 0);
    assert_contains(f->e.text, text);
    assert_contains(f->e.hint, hint);
}

static void test_pins_are_named(void **state)
{
    struct fixture *f = *state;
    load(f, "colossus-2-110k");
    change(f, "tp", "3");
    refused(f, "has tp 3, ep 64, micro_batch 1: tp 3 does not divide heads 128", "--layout auto");
    load(f, "llama-3-405b");
    change(f, "pp", "5");
    refused(f, "no layout fits in memory", "recompute none are given: --layout auto");
    load(f, "llama-3-405b");
    change(f, "dp", "37"); /* the hint is no batch that was given */
    refused(f, "global batch 2048 is not a multiple of dp 37", "global batch 2035");
    load(f, "gigafactory-20k");
    change(f, "vp", "3");
    change(f, "pp", "64");
    change(f, "dp", "5000");
    refused(f, "has pp 64, dp 5000, vp 3", "--layout auto");
}

static void test_generations(void **state)
{
    struct fixture *f = *state;
    struct plan_request *r = load(f, "llama-3-405b");
    static const char *const wrong[] = {"2100", "2017", "1", "2029"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(plan_override(r, "generation", wrong[i], &f->arena, &f->e), ERROR_USAGE);
        assert_contains(f->e.text, "from 2018 to 2028");
    }
    assert_true(solve(f)->step.fits);
    change(f, "generation",
           "2021"); /* keeps the layout, which does not fit then: the page says so */
    assert_false(r->search);
    assert_false(solve(f)->step.fits);
    change(f, "generation", "2024.3");
    assert_true(solve(f)->step.fits);
}

/* A dp that was asked for stays, whatever is asked for beside it; the file's goes with tp, pp, cp. */
static void test_dp_that_is_given_stays(void **state)
{
    struct fixture *f = *state;
    static const char *const beside[][2] = {
        {"micro-batch", "1"}, {"zero", "1"}, {"vp", "1"}, {"pp", "16"}};
    for (size_t i = 0; i < ARRAY_LEN(beside); i++) {
        load(f, "llama-3-405b");
        change(f, "layout", "auto");
        change(f, "dp", "64");
        change(f, beside[i][0], beside[i][1]);
        assert_int_equal(solve(f)->layout.dp, 64);
    }
    struct plan_request *r = load(f, "llama-3-405b");
    change(f, "micro-batch", "2");
    assert_int_equal(r->layout.dp, 128);
    change(f, "tp", "4");
    assert_int_equal(r->layout.dp, 0);
}

/* The file's own value among others is searched as they are. */
static void test_a_sweep_is_of_one_kind(void **state)
{
    struct fixture *f = *state;
    struct plan_sweep *s = arena_alloc(&f->arena, sizeof *s);
    load(f, "llama-3-405b");
    assert_ok(plan_sweep(&f->request, "gpus=8Ki,16Ki", &f->arena, s, &f->e), f->e);
    assert_true(s->searched && s->points[1].answer->search.n_best > 0);
    assert_int_equal(s->points[1].answer->layout.precision, MACHINE_BF16);
    assert_ok(plan_sweep(&f->request, "cap=0.8,1", &f->arena, s, &f->e), f->e);
    assert_true(!s->searched && s->points[1].answer->search.n_best == 0);
}

/* What an option asks for holds at each point, though the file's layout is forgotten there. */
static void test_a_sweep_keeps_what_is_asked_for(void **state)
{
    struct fixture *f = *state;
    struct plan_sweep *s = arena_alloc(&f->arena, sizeof *s);
    static const char *const over[] = {"gpus=8Ki,16Ki", "batch=1024,2048", "accelerator=h100,h200"};
    for (size_t k = 0; k < ARRAY_LEN(over); k++) {
        load(f, "llama-3-405b");
        change(f, "tp", "16");
        change(f, "zero", "0");
        change(f, "recompute", "full");
        assert_ok(plan_sweep(&f->request, over[k], &f->arena, s, &f->e), f->e);
        assert_true(s->searched);
        for (size_t i = 0; i < s->n_points; i++) {
            const struct plan_layout *l = &s->points[i].answer->layout;
            assert_int_equal(l->tp, 16);
            assert_int_equal(l->zero, 0);
            assert_int_equal(l->recompute, PLAN_RECOMPUTE_FULL);
        }
    }
    /* the swept factor itself, and a pin given before another input forgets the file's layout */
    load(f, "llama-3-405b");
    change(f, "pp", "8");
    change(f, "gpus", "8Ki");
    assert_int_equal(f->request.layout.pp, 8);
    assert_int_equal(f->request.layout.tp, 0);
    assert_ok(plan_sweep(&f->request, "tp=4,8", &f->arena, s, &f->e), f->e);
    assert_int_equal(s->points[0].answer->layout.tp, 4);
    assert_int_equal(s->points[1].answer->layout.tp, 8);
    assert_int_equal(s->points[0].answer->layout.pp, 8);
    change(f, "layout", "auto"); /* frees what the file gives */
    assert_int_equal(f->request.layout.pp, 8);
    load(f, "llama-3-405b");
    change(f, "tp", "4");
    change(f, "precision", "bf16");
    assert_ok(plan_sweep(&f->request, "layout=auto", &f->arena, s, &f->e), f->e);
    assert_int_equal(s->points[0].answer->layout.tp, 4);
    assert_int_equal(s->points[0].answer->layout.precision, MACHINE_BF16);
}

/* What a file makes of another description is not that one: its own name again changes it, and is told. */
static void test_a_changed_description_is_another(void **state)
{
    struct fixture *f = *state;
    char *dir = test_folder(&f->arena);
    const char *path = file_join(&f->arena, dir, "mine.yaml");
    static const char text[] =
        "model: {like: llama-3-8b, n_layers: 16}\n"
        "cluster: {pools: [{accelerator: {like: h100, nic_bytes_per_s: 5e9}, count: 64}]}\n"
        "site: {like: us-average, design_pue: 1.5}\n"
        "batch: {global_batch: 64, seq_len: 4096}\ntokens: 1e12\n"
        "layout: {tp: 1, pp: 1, dp: 64}\n";
    assert_ok(file_write(path, text, strlen(text), &f->e), f->e);
    static const char *const own[][2] = {
        {"model", "llama-3-8b"}, {"accelerator", "h100"}, {"site", "us-average"}};
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        load(f, path);
        change(f, own[i][0], own[i][1]);
        assert_non_null(f->request.changed);
        assert_contains(f->request.changed, own[i][1]);
    }
    assert_int_equal(f->request.model.n_layers, 16);
    /* a file of its own has the name of the file */
    const char *other = file_join(&f->arena, dir, "deeper.yaml");
    static const char deeper[] = "like: llama-3-8b\nn_layers: 64\n";
    assert_ok(file_write(other, deeper, strlen(deeper), &f->e), f->e);
    load(f, path);
    change(f, "model", other);
    assert_int_equal(f->request.model.n_layers, 64);
    assert_string_equal(f->request.model.name, "deeper");
    assert_true(f->request.search && f->request.changed);
    load(f, path);
    change(f, "model", "llama-3-8b");
    assert_int_equal(f->request.model.n_layers, 32);
    assert_true(f->request.search);
    file_remove_tree(dir, NULL);
}

static void test_ranges_are_told(void **state)
{
    struct fixture *f = *state;
    struct plan_request *r = load(f, "llama-3-405b");
    static const char *const wrong[] = {"0.39", "39%", "1.2", "-1"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(plan_override(r, "cap", wrong[i], &f->arena, &f->e), ERROR_USAGE);
        assert_contains(f->e.text, "0.05 or 5 %, from 0.4 to 1");
        assert_contains(f->e.hint, "cap=0.8");
    }
    assert_ok(plan_override(r, "cap", "80%", &f->arena, &f->e), f->e);
    assert_float_equal(r->power_cap, 0.8, 1e-12);
    assert_int_equal(plan_override(r, "by", "joules", &f->arena, &f->e), ERROR_USAGE);
    assert_contains(f->e.text, "time, cost, energy or tokens-per-mwh");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_same_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changes_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_zero_can_be_given, setup, teardown),
        cmocka_unit_test_setup_teardown(test_precision_is_released, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kinds_may_vanish, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pins_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dp_that_is_given_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_sweep_is_of_one_kind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_sweep_keeps_what_is_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_changed_description_is_another, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ranges_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_generations, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
