/* test_site_util.h: scenarios written in a test, lived through. */
#ifndef TEST_SITE_UTIL_H
#define TEST_SITE_UTIL_H

#include "site/site.h"
#include "test_cmocka.h"

static struct arena test_arena;

static inline struct site_scenario *test_scenario(const char *text)
{
    struct error e = {0};
    struct yaml_node *root;
    const struct yaml_reader r = {"test.yaml", &test_arena, &e, 0};
    struct site_scenario *s = arena_alloc(&test_arena, sizeof(*s));
    assert_ok(yaml_parse(text, strlen(text), r.path, &test_arena, &root, &e), e);
    assert_ok(site_read_root(&r, root, s), e);
    return s;
}

static inline const struct site_result *test_live(const struct site_scenario *s, uint64_t seed)
{
    struct error e = {0};
    const struct site_run_options o = {.seed = seed};
    struct site_result *r = arena_alloc(&test_arena, sizeof(*r));
    assert_ok(site_run(s, &o, r, &e), e);
    /* whatever the scenario: no energy was made, and no time of a job lost */
    assert_true(r->balance_worst <= 1e-9 && r->energy_error <= 1e-9);
    for (int i = 0; i < s->n_jobs; i++) {
        double sum = 0.0;
        for (int p = 0; p < SITE_N_PARTS; p++) {
            sum += r->jobs[i].part_s[p];
            assert_true(r->jobs[i].part_s[p] >= -1e-6 * r->jobs[i].wall_s);
        }
        assert_true(fabs(sum - r->jobs[i].wall_s) <= 1e-9 * r->jobs[i].wall_s + 1e-6);
    }
    return r;
}

static inline double test_figure(const struct site_scenario *s, const struct site_result *r,
                                 const char *name)
{
    for (size_t i = 0; i < site_n_figures; i++)
        if (strcmp(site_figures[i].name, name) == 0) return site_figures[i].value(s, r);
    fail_msg("there is no figure '%s'", name);
    return NAN;
}

/* Of a scenario, by one name. */
static inline double test_one(const char *text, const char *name)
{
    const struct site_scenario *s = test_scenario(text);
    return test_figure(s, test_live(s, 1), name);
}

/* Erlang's C: the share that waits for one of so many crews, at this load. */
static inline double test_erlang_c(double load, int crews)
{
    double b = 1.0;
    for (int k = 1; k <= crews; k++)
        b = load * b / (k + load * b);
    return b / (1.0 - load / crews * (1.0 - b));
}

#define assert_near(value, want, share)                                                           \
    do {                                                                                          \
        double value_ = (value), want_ = (want);                                                  \
        print_message("%-44s %.9g, wanted %.9g\n", #value, value_, want_);                        \
        if (!(fabs(value_ - want_) <= (share)*fabs(want_)))                                       \
            fail_msg("%s is %.12g, not %.12g within %g", #value, value_, want_, (double)(share)); \
    } while (0)

#endif
