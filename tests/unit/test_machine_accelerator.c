/* test_machine_accelerator.c: families of hardware, stated and by what is offered. */
#include "test_machine_util.h"

static void families_by_precision(void **state)
{
    (void)state;
    struct machine_accelerator a = {.peak_flops[MACHINE_BF16] = FIGURE(312e12)};
    assert_int_equal(machine_family(&a), MACHINE_AMPERE);
    a.peak_flops[MACHINE_FP8] = FIGURE(1979e12);
    assert_int_equal(machine_family(&a), MACHINE_HOPPER);
    a.peak_flops[MACHINE_FP4] = FIGURE(9000e12);
    assert_int_equal(machine_family(&a), MACHINE_BLACKWELL);
    a.family = MACHINE_HOPPER; /* what is stated goes before */
    assert_int_equal(machine_family(&a), MACHINE_HOPPER);
}

/* Every preset states the family that its precisions suggest; `like` hands it down. */
static void families_of_descriptions(void **state)
{
    static const char *const names[] = {"a100-80gb", "h100", "h800",  "mi300x",
                                        "tpu-v5p",   "b200", "gb300", "laptop-cpu"};
    (void)state;
    struct arena arena;
    struct error e = {0};
    struct machine_accelerator a;
    arena_init(&arena);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_ok(machine_load_accelerator(names[i], "", &arena, &a, &e), e);
        int stated = a.family;
        a.family = MACHINE_FAMILY_BY_PRECISION;
        assert_int_equal(stated, machine_family(&a));
    }
    /* what begins with another is of its family, unless it computes in other formats */
    static const struct {
        const char *text;
        int family;
    } like[] = {{"{like: h100, power_cap_w: 800 W}", MACHINE_HOPPER},
                {"{like: h100, peak_flops: {fp4: 4000 TFLOP/s}}", MACHINE_BLACKWELL},
                {"{like: h100, family: hopper, peak_flops: {fp4: 4000 TFLOP/s}}", MACHINE_HOPPER}};
    struct yaml_reader r = {"test.yaml", &arena, &e, 0};
    for (size_t i = 0; i < ARRAY_LEN(like); i++) {
        struct yaml_node *node;
        assert_ok(yaml_parse(like[i].text, strlen(like[i].text), r.path, &arena, &node, &e), e);
        assert_ok(machine_read_accelerator(&r, node, &a), e);
        assert_int_equal(machine_family(&a), like[i].family);
    }
    arena_fini(&arena);
}

/* A precision that is not offered runs in the next wider one. */
static void peaks(void **state)
{
    (void)state;
    struct machine_accelerator h100 = test_h100();
    assert_int_equal(machine_offered_precision(&h100, MACHINE_FP4), MACHINE_FP8);
    assert_true(machine_peak_flops(&h100, MACHINE_MXFP8) == 1979e12);
    assert_true(machine_peak_flops(&h100, MACHINE_FP32) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families_by_precision),
        cmocka_unit_test(families_of_descriptions),
        cmocka_unit_test(peaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
