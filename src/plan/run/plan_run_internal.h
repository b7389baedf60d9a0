/* plan_run_internal.h: the run around a step whose layout is given: failures, watts, days, money.
 * Nothing here chooses a layout; the search (plan/search) asks these functions for the price of
 * the ones it has found. */
#ifndef COLOSSUS_PLAN_RUN_INTERNAL_H
#define COLOSSUS_PLAN_RUN_INTERNAL_H

#include "plan/step/plan_step_internal.h"

/* Factors on what is computed and not given, for sensitivities; all 1 for the plan itself. */
struct plan_what_if {
    double step, failures, restart, power;
};
/* From step, goodput and power to days, energy, money and emissions, with a given layout:
 * everything of plan_solve but search, sensitivities and the verdict. `w` NULL: all 1. Allocates
 * nothing and takes microseconds. */
void plan_run_evaluate(const struct plan_request *r, const struct plan_what_if *w,
                       struct plan_answer *out);
/* Each input at its low and its high, with the layout of the request: fills out->sensitivities,
 * widest first, beside the answer that *out already holds. */
void plan_sensitivities(const struct plan_request *r, struct plan_answer *out);

/* The parts of plan_run_evaluate, each from the step; `w` as there. The answer's request, power,
 * reliability, days and energy are set before its money and emissions. */
void plan_reliability(const struct plan_request *r, const struct plan_step *step,
                      const struct plan_what_if *w, struct plan_reliability *out);
void plan_power(const struct plan_request *r, const struct plan_step *step, struct plan_power *out);
void plan_money_and_emissions(struct plan_answer *answer);
/* Error of the computed power against the measured one of MLPerf's nodes; its middle is 1. */
extern const struct range plan_power_band;
/* All of a step so many times as long, but for its parts; what it does in a second, less. */
void plan_step_stretch(struct plan_step *s, double times);
/* The slow-down of a step under the power cap of a request. */
void plan_power_slow_step(const struct plan_request *r, struct plan_step *step);
void plan_swing_load(const struct plan_request *r, const struct plan_step *step,
                     const struct plan_power *power, struct machine_swing_load *out);

#endif
