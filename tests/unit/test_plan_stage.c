/* test_plan_stage.c: one rule for the layers of a stage, one date for each change of software, one default
 * for each input, and the ladder of DeepSeek-V3 on GB200. */
#include "plan/read/plan_read_internal.h"
#include "plan/validate/plan_validate_internal.h"

#include <math.h>

#include "test_cmocka.h"

static struct arena memory;
static struct machine_accelerator h100;
static struct model_config llama, v3;
static struct machine_cluster cluster;

static int load(void **state)
{
    (void)state;
    struct error e = {0};
    arena_init(&memory);
    if (machine_load_accelerator("h100", NULL, &memory, &h100, &e) < 0 ||
        plan_load_model("llama-3-70b", NULL, &memory, &llama, &e) < 0 ||
        plan_load_model("deepseek-v3", NULL, &memory, &v3, &e) < 0) {
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

static struct plan_layout stages(int32_t pp, int32_t vp)
{
    return (struct plan_layout){.tp = 1,
                                .pp = pp,
                                .cp = 1,
                                .ep = 1,
                                .etp = 1,
                                .vp = vp,
                                .dp = 256 / pp,
                                .micro_batch = 1,
                                .zero = 1,
                                .precision = MACHINE_BF16};
}

/* All stages hold all layers, whatever does not divide; no stage has more than the fullest. */
static void stages_hold_all_layers(void **state)
{
    (void)state;
    struct model_config m = llama;
    for (m.n_layers = 1; m.n_layers <= 130; m.n_layers++)
        for (int32_t pp = 1; pp <= 16 && pp <= m.n_layers + 2; pp++)
            for (int32_t vp = 1; vp <= (pp > 1 ? 4 : 1); vp++) {
                struct plan_layout l = stages(pp, vp);
                int64_t most = plan_stage_most_layers(&m, &l), sum = 0;
                if (!plan_stage_even(&m, (int64_t)pp * vp)) continue;
                for (int32_t s = 0; s < pp; s++) {
                    assert_in_range(plan_stage_layers(&m, &l, s), 0, most);
                    sum += plan_stage_layers(&m, &l, s);
                }
                assert_int_equal(sum, m.n_layers);
            }
}

/* Llama 3: a layer less at both ends. DeepSeek-V3 on GB200: embedding and a layer, 30 of 2, the loss. */
static void published_stages(void **state)
{
    (void)state;
    struct model_config m = llama;
    struct plan_layout l = stages(16, 8);
    m.n_layers = 126;
    assert_int_equal(plan_stage_layers(&m, &l, 0), 7);
    assert_int_equal(plan_stage_layers(&m, &l, 1), 8);
    assert_int_equal(plan_stage_layers(&m, &l, 15), 7);
    m = v3, m.mtp_layers = 0;
    l = stages(8, 4);
    assert_int_equal(plan_stage_spare(&m, &l, false), 1);
    assert_int_equal(plan_stage_spare(&m, &l, true), 2);
    assert_int_equal(plan_stage_layers(&m, &l, 7), 6);
}

/* 63 layers on 8 stages do not take longer than 64, nor need more memory. */
static void fewer_layers_take_no_longer(void **state)
{
    (void)state;
    const struct plan_software today = {.stack = PLAN_STACK_MEGATRON};
    const struct plan_batch b = {512, 4096};
    static const int32_t pps[] = {2, 4, 8, 16};
    for (size_t i = 0; i < ARRAY_LEN(pps); i++) {
        double before = 0, bytes = 0;
        struct model_config m = llama;
        for (m.n_layers = pps[i]; m.n_layers <= 96; m.n_layers++) {
            struct plan_layout l = stages(pps[i], 1);
            struct plan_step s;
            plan_step(&m, &cluster, &l, &b, &today, &s);
            assert_true(s.step_s >= before * (1 - 1e-9));
            /* a layer more in each chunk lies behind the first stage, which holds most microbatches */
            if (m.n_layers % pps[i] != 1) assert_true(s.memory.total >= bytes * (1 - 1e-9));
            before = s.step_s;
            bytes = s.memory.total;
        }
    }
}

/* Each date stands once, among the constants that `plan validate --constants` prints. */
static void dates_are_constants(void **state)
{
    (void)state;
    size_t dates = 0;
    for (size_t i = 0; i < plan_constants_count(); i++) {
        const struct plan_constant *c = &plan_constants[i];
        size_t n = strlen(c->name);
        bool year = n > 5 && strcmp(c->name + n - 5, "_YEAR") == 0;
        if (!year && strncmp(c->name, "LAUNCH_", 7) != 0) continue;
        assert_true(c->value > 2018 && c->value < 2030 && c->low == c->high);
        dates++;
    }
    assert_true(dates >= 12);
    assert_true(plan_software_today() == plan_constants_own.value[PLAN_K_TODAY]);
}

/* The reference page says what is used. */
static void the_default_of_routing_is_the_documented_one(void **state)
{
    (void)state;
    struct machine_cluster none = {.n_pools = 0}, stated = none;
    const struct plan_work w = {.a = &h100, .c = &none, .k = &plan_constants_own};
    struct plan_work told = w;
    char *page = NULL, text[64];
    size_t size;
    FILE *f = tmpfile();
    stated.routing_efficiency.mid = MACHINE_ROUTING;
    told.c = &stated;
    assert_true(plan_collective_s(&w, PLAN_ALL_REDUCE, 64, 8, 1e9) ==
                plan_collective_s(&told, PLAN_ALL_REDUCE, 64, 8, 1e9));
    assert_non_null(f);
    plan_print_keys(f);
    size = (size_t)ftell(f);
    rewind(f);
    page = mem_calloc(size + 1, 1);
    assert_int_equal(fread(page, 1, size, f), size);
    fclose(f);
    snprintf(text, sizeof text, "(a vendor's figure); default: %g", MACHINE_ROUTING);
    assert_non_null(strstr(page, text));
    mem_free(page);
}

/* A bare number of accelerators lies on as many racks as its groups ask for, in a plan and in a table. */
static void plans_and_tables_assume_the_same_domains(void **state)
{
    (void)state;
    struct error e = {0};
    struct machine_cluster part, whole;
    assert_ok(machine_load_cluster("256 x GB200", NULL, &memory, &part, &e), e);
    assert_ok(machine_load_cluster("7200 x gb200", NULL, &memory, &whole, &e), e);
    assert_true(part.domains_as_needed);
    assert_false(whole.domains_as_needed);
}

/* NVIDIA's guide gives the speed after each change of the software: every named rung within 8 %. */
static void the_ladder_is_climbed(void **state)
{
    (void)state;
    struct error e = {0};
    struct plan_rows rows;
    double last = INFINITY;
    assert_ok(plan_rows_load("presets/validation/ladder_gb200.csv", 0, &memory, &rows, &e), e);
    assert_int_equal(rows.count, 7);
    for (size_t i = 0; i < rows.count; i++) {
        const struct plan_row *r = &rows.row[i];
        struct plan_step s;
        assert_null(r->skip);
        plan_step(&r->model, &r->cluster, &r->layout, &r->batch, &r->software, &s);
        print_message("rung %lld: %.2f s, measured %.2f s, %+.1f %%\n", (long long)r->id, s.step_s,
                      r->step_s, 100 * (s.step_s / r->step_s - 1));
        assert_true(fabs(s.step_s / r->step_s - 1) < 0.08);
        assert_true(s.step_s < last); /* each change helps */
        last = s.step_s;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stages_hold_all_layers),
        cmocka_unit_test(published_stages),
        cmocka_unit_test(fewer_layers_take_no_longer),
        cmocka_unit_test(dates_are_constants),
        cmocka_unit_test(the_default_of_routing_is_the_documented_one),
        cmocka_unit_test(plans_and_tables_assume_the_same_domains),
        cmocka_unit_test(the_ladder_is_climbed),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
