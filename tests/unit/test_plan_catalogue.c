/* test_plan_catalogue.c: description files of plans: figures with units and grades, names that lead
 * to files, every preset, and what errors say. */
#include "test_cmocka.h"

#include "plan/plan_catalogue_internal.h"

#include <math.h>

struct fixture {
    struct arena arena;
    struct error e;
    char *dir;
};

static int setup(void **state)
{
    struct fixture *f = mem_calloc(1, sizeof(*f));
    arena_init(&f->arena);
    f->dir = test_folder(&f->arena);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct error e;
    file_remove_tree(f->dir, &e);
    arena_fini(&f->arena);
    mem_free(f);
    return 0;
}

/* ------------------------------------------------------------------ numbers */

static double number(const char *text, enum plan_dimension d)
{
    double value;
    const char *unit;
    return plan_number_parse(text, d, &value, &unit) == PLAN_NUMBER_OK ? value : NAN;
}

static void test_numbers_and_units(void **state)
{
    (void)state;
    assert_true(number("80 GB", PLAN_UNIT_BYTES) == 80e9);
    assert_true(number("80e9", PLAN_UNIT_BYTES) == 80e9);
    assert_true(number("80E+9 B", PLAN_UNIT_BYTES) == 80e9);
    assert_true(number("1 GiB", PLAN_UNIT_BYTES) == 1073741824.0);
    assert_true(number("80G", PLAN_UNIT_BYTES) == 80e9);
    assert_true(number("400 Gb/s", PLAN_UNIT_BYTES_PER_S) == 50e9);
    assert_true(number("50GB/s", PLAN_UNIT_BYTES_PER_S) == 50e9);
    assert_true(number("15T", PLAN_UNIT_TOKENS) == 15e12);
    assert_true(number("1_000_000", PLAN_UNIT_NONE) == 1e6);
    assert_true(fabs(number("5 %", PLAN_UNIT_SHARE) - 0.05) < 1e-15);
    assert_true(fabs(number("0.08 lb/MWh", PLAN_UNIT_G_PER_KWH) - 0.0362874) < 1e-6);
    assert_true(fabs(number("30 MW/min", PLAN_UNIT_W_PER_S) - 5e5) < 1e-6);
    assert_true(number("-5", PLAN_UNIT_CELSIUS) == -5);
}

static void test_numbers_that_are_none(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    "GB",   "many", "0x10", "inf", "nan", "1e999", "--1",
                                      "1 2", "1..2", "e5",   ".",    "+",   "1 _", "1,000"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_true(isnan(number(bad[i], PLAN_UNIT_BYTES)));
    assert_true(isnan(number("80 GW", PLAN_UNIT_BYTES)));
    assert_true(isnan(number("400 Gb/s", PLAN_UNIT_BYTES)));
    assert_true(isnan(number("80 gb", PLAN_UNIT_BYTES)));
}

/* ------------------------------------------------------------------ presets */

static char **list_presets(struct fixture *f, const char *folder, size_t *n)
{
    char **names;
    assert_ok(file_list_dir(file_join(&f->arena, "presets", folder), &f->arena, &names, n, &f->e),
              f->e);
    assert_true(*n > 0);
    return names;
}

static void check_figure(const char *file, const char *what, const struct plan_figure *x)
{
    if (!(isfinite(x->mid) && x->low <= x->mid && x->mid <= x->high && x->mid >= 0))
        fail_msg("%s: %s is %g, %g, %g", file, what, x->low, x->mid, x->high);
    if (x->mid > 0 && (!x->grade || !x->source[0]))
        fail_msg("%s: %s has no grade or no source", file, what);
}

static void test_every_accelerator_loads(void **state)
{
    struct fixture *f = *state;
    size_t n;
    char **names = list_presets(f, "accelerators", &n);
    assert_true(n >= 15);
    for (size_t i = 0; i < n; i++) {
        struct plan_accelerator x;
        const char *name = plan_name_of_path(&f->arena, names[i]);
        assert_ok(plan_load_accelerator(name, NULL, &f->arena, &x, &f->e), f->e);
        assert_string_equal(x.name, name);
        for (int p = 0; p < PLAN_N_PRECISIONS; p++) {
            check_figure(name, "peak", &x.peak_flops[p]);
            check_figure(name, "ceiling", &x.ceiling_flops[p]);
        }
        check_figure(name, "hbm_bytes", &x.hbm_bytes);
        check_figure(name, "hbm_bytes_per_s", &x.hbm_bytes_per_s);
        check_figure(name, "scaleup", &x.scaleup_bytes_per_s);
        check_figure(name, "nic", &x.nic_bytes_per_s);
        check_figure(name, "cap", &x.power_cap_w);
        check_figure(name, "compute", &x.power_compute_w);
        check_figure(name, "comm", &x.power_comm_w);
        check_figure(name, "idle", &x.power_idle_w);
        check_figure(name, "other", &x.node_other_w);
        check_figure(name, "price", &x.price_usd);
        check_figure(name, "failures", &x.failures);
        check_figure(name, "smoothing_floor", &x.smoothing_floor);
        assert_true(x.failures.mid > 0 && x.price_usd.mid > 0);
    }
}

static void test_figures_of_h100(void **state)
{
    struct fixture *f = *state;
    struct plan_accelerator x;
    assert_ok(plan_load_accelerator("h100", NULL, &f->arena, &x, &f->e), f->e);
    assert_string_equal(x.title, "NVIDIA H100 SXM5 80 GB");
    assert_true(x.peak_flops[PLAN_BF16].mid == 989e12);
    assert_true(x.peak_flops[PLAN_MXFP8].mid == 0);
    assert_true(x.ceiling_flops[PLAN_FP8].mid == 1403e12);
    assert_int_equal(x.ceiling_flops[PLAN_FP8].grade, 'S');
    assert_non_null(strstr(x.ceiling_flops[PLAN_FP8].source, "MAMF"));
    assert_true(x.hbm_bytes.mid == 80e9 && x.nic_bytes_per_s.mid == 50e9);
    assert_true(x.scaleup_bytes_per_s.mid == 450e9);
    assert_int_equal(x.scaleup_domain, 8);
    assert_true(x.power_cap_w.mid == 700 && x.power_comm_w.low == 140);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_and_units),
        cmocka_unit_test(test_numbers_that_are_none),
        cmocka_unit_test_setup_teardown(test_every_accelerator_loads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_figures_of_h100, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
