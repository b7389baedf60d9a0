/* plan_left_out.c: the constants of a step fitted again without the rows of one source.
 *
 * Written by tools/fit-plan: `plan validate` predicts the rows of that source with them, which is
 * what the model is worth for a run that it was not fitted on. Each row holds the values in the
 * order of plan_constants; source is as in the validation table, whole or its family (releases of
 * one page together). A source without a row was not refitted, and validate says so. */
#include "plan/plan_constants_internal.h"

#include <math.h>
#include <string.h>

static const struct plan_left_out {
    const char *source;
    double values[PLAN_N_CONSTANTS];
} table[] = {
    /* fit-plan: begin */
    {NULL, {0}},
    /* fit-plan: end */
};

/* A fit of other constants than there are now is no fit: what was not fitted stands there as it is
 * here (to the digits written), what was lies in its range. */
static bool is_current(const double *values)
{
    for (size_t i = 0; i < plan_constants_count(); i++) {
        const struct plan_constant *c = &plan_constants[i];
        double slack = 1e-3 * fmax(fabs(c->low), fabs(c->high));
        if (!(values[i] >= c->low - slack && values[i] <= c->high + slack)) return false;
    }
    return true;
}

size_t plan_left_out_count(void)
{
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        n += table[i].source && is_current(table[i].values);
    return n;
}

const double *plan_left_out_values(const char *source)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (table[i].source && strcmp(table[i].source, source) == 0)
            return is_current(table[i].values) ? table[i].values : NULL;
    return NULL;
}
