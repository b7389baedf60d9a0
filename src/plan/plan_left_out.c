/* plan_left_out.c: the constants of a step fitted again without the rows of one source.
 *
 * Written by tools/fit-plan: `plan validate` predicts the rows of that source with them, which is
 * what the model is worth for a run that it was not fitted on. Each row holds the values in the
 * order of plan_constants; source is as in the validation table, whole or its family (releases of
 * one page together). A source without a row was not refitted, and validate says so. */
#include "plan/plan_constants_internal.h"

#include <string.h>

static const struct plan_left_out {
    const char *source;
    double values[PLAN_N_CONSTANTS];
} table[] = {
    /* fit-plan: begin */
    {NULL, {0}},
    /* fit-plan: end */
};

const double *plan_left_out_values(const char *source)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (table[i].source && strcmp(table[i].source, source) == 0) return table[i].values;
    return NULL;
}
