/* test_plan_rows_util.h: rows of a table of published runs, read in a test. */
#ifndef COLOSSUS_TEST_PLAN_ROWS_UTIL_H
#define COLOSSUS_TEST_PLAN_ROWS_UTIL_H

#include "plan/validate/plan_validate_internal.h"

struct fixture {
    struct arena a;
    struct error e;
    struct plan_rows t;
};

static int setup(void **state)
{
    struct fixture *f = mem_calloc(1, sizeof(*f));
    arena_init(&f->a);
    setenv("COLOSSUS_LOG", "error", 1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    arena_fini(&f->a);
    mem_free(f);
    return 0;
}

#endif
