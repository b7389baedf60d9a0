/* plan_software.c: which releases of training software the model of a step knows. */
#include "plan/step/plan_step_internal.h"

#include <math.h>

double plan_software_today(void)
{
    return 2026.6; /* the newest release among the fitted rows, 26.08 */
}

int plan_generation_check(double year, struct error *e)
{
    double last = plan_software_today() + 2;
    if (year == 0 || (year >= 2018 && year <= last)) return 0;
    error_set_code(e, ERROR_CONFIG,
                   "generation %g is not from 2018 to %.0f: no software of it is known", year,
                   floor(last));
    return error_hint(e, "for example 2024.5; 0 is today's, %.1f", plan_software_today());
}
