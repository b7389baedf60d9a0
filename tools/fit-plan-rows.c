/* fit-plan-rows.c: the model of a step as a library for tools/fit-plan: reads the table of
 * published runs with the program's own reader and predicts all rows for any set of constants. */
#include "plan/validate/plan_validate_internal.h"

#include <stdlib.h>
#include <string.h>

/* The compute room is not linked: nothing here measures a machine. */
const char *const compute_machine_op_names[1] __attribute__((weak)) = {NULL};

static struct arena memory;
static struct plan_row **judged;
static size_t n_judged;

static bool is_judged(const struct plan_row *r, char tier, const char *source)
{
    return r->tier == tier && strstr(r->source, source) && !r->skip && r->step_s > 0;
}

/* Adds the rows of a table that are of a tier and of a source (a part of its name), consistent in themselves,
 * complete and timed. -1: error on stderr. */
int fit_open(const char *path, char tier, const char *source);
int fit_open(const char *path, char tier, const char *source)
{
    struct error e = {0};
    struct plan_rows all;
    if (judged == NULL) arena_init(&memory);
    if (plan_rows_load(*path ? path : NULL, 0, &memory, &all, &e) < 0) {
        fprintf(stderr, "fit-plan: %s\n", e.text);
        return -1;
    }
    struct plan_row **grown = arena_alloc(&memory, (n_judged + all.count + 1) * sizeof(*judged));
    if (n_judged > 0) memcpy(grown, judged, n_judged * sizeof(*judged));
    judged = grown;
    for (size_t i = 0; i < all.count; i++)
        if (is_judged(&all.row[i], tier, source)) judged[n_judged++] = &all.row[i];
    return (int)n_judged;
}

int fit_constants(void);
int fit_constants(void)
{
    return PLAN_N_CONSTANTS;
}

const struct plan_constant *fit_constant(int i);
const struct plan_constant *fit_constant(int i)
{
    return &plan_constants[i];
}

const char *fit_text(int i, int what);
const char *fit_text(int i, int what)
{
    const struct plan_row *r = judged[i];
    const char *const texts[] = {r->source, r->model_name, r->gpu, r->precision, r->family};
    return texts[what];
}

double fit_measured(int i);
double fit_measured(int i)
{
    return judged[i]->step_s;
}

/* id, accelerators, tp, pp, cp, ep, etp, dp, vp, microbatch, zero, recompute, batch, sequence */
void fit_layout(int i, double out[14]);
void fit_layout(int i, double out[14])
{
    const struct plan_row *r = judged[i];
    const struct plan_layout *l = &r->layout;
    const double x[14] = {(double)r->id,
                          (double)r->n_gpus,
                          l->tp,
                          l->pp,
                          l->cp,
                          l->ep,
                          l->etp,
                          l->dp,
                          l->vp,
                          l->micro_batch,
                          l->zero,
                          l->recompute,
                          (double)r->batch.global_batch,
                          (double)r->batch.seq_len};
    memcpy(out, x, sizeof(x));
}

/* Seconds of every row, and their parts [rows][PLAN_N_PARTS] where parts is not NULL. */
void fit_predict(const double *values, double *seconds, double *parts);
void fit_predict(const double *values, double *seconds, double *parts)
{
    struct plan_constant_values k;
    memcpy(k.value, values, sizeof(k.value));
    for (size_t i = 0; i < n_judged; i++) {
        const struct plan_row *r = judged[i];
        struct plan_software software = r->software;
        struct plan_step step;
        software.constants = &k;
        plan_step(&r->model, &r->cluster, &r->layout, &r->batch, &software, &step);
        seconds[i] = step.step_s;
        if (parts) memcpy(parts + i * PLAN_N_PARTS, step.part_s, sizeof(step.part_s));
    }
}
