/* plan_constants.c: the table of fitted and chosen numbers, and the names of the enums.
 *
 * The values stand in plan_constants_internal.h; here they become data, so that `plan validate`
 * prints them and tools/fit-plan moves them. */
#include "plan/step/plan_step_internal.h"

const struct plan_constant plan_constants[] = {
#define PLAN_CONSTANT_ROW(name, value, low, high, source) {#name, value, low, high, source},
    PLAN_CONSTANTS(PLAN_CONSTANT_ROW)
#undef PLAN_CONSTANT_ROW
};

const struct plan_constant_values plan_constants_own = {{
#define PLAN_CONSTANT_VALUE(name, value, low, high, source) value,
    PLAN_CONSTANTS(PLAN_CONSTANT_VALUE)
#undef PLAN_CONSTANT_VALUE
}};

size_t plan_constants_count(void)
{
    return PLAN_N_CONSTANTS;
}

const char *const plan_objective_names[] = {"time", "cost", "energy", "tokens-per-mwh", NULL};
const char *const plan_stack_names[] = {"megatron", "fsdp", "other", "dualpipe", "colossus", NULL};
const char *const plan_part_names[] = {"matrix products",
                                       "attention",
                                       "vector operations",
                                       "recompute",
                                       "tensor parallel",
                                       "expert parallel",
                                       "context parallel",
                                       "pipeline messages",
                                       "bubble",
                                       "data parallel",
                                       "optimizer",
                                       "other",
                                       NULL};
