/* plan_run.c: the run around the step of a given layout.
 *
 * A straight line: step -> failures and goodput -> watts -> tokens, days, megawatt-hours -> dollars
 * and tonnes. Nothing loops over accelerators, so a million of them cost what eight cost, and the
 * sensitivities evaluate the whole line again for each input. Days, energy and money belong to the
 * middle of the token budget: how many tokens is a choice, and its range would drown all others. */
#include "plan/run/plan_run_internal.h"

#include <math.h>

/* The model's error against the measured node power of MLPerf runs: docs/decisions/plan-run.md. */
const struct range plan_power_band = {0.92, 1.0, 1.08};

static const struct plan_what_if AS_IT_IS = {1.0, 1.0, 1.0, 1.0};

static void run_tokens(const struct plan_request *r, struct plan_answer *out)
{
    if (r->tokens.mid > 0.0) {
        out->tokens = figure_range(&r->tokens, range_exact(0.0));
        out->tokens_from = "given";
        return;
    }
    out->tokens = plan_optimal_tokens(&r->model);
    out->tokens_from = "scaling laws (Chinchilla, Llama 3, DeepSeek)";
}

/* Watts of an hour of work and of the 1 / goodput - 1 hours that are lost beside it. Lost time counts
 * as idle, though a part of it is work done twice. */
static double with_lost_time(const struct plan_power *p, double goodput)
{
    double lost = goodput > 0.0 && goodput < 1.0 ? 1.0 / goodput - 1.0 : 0.0;
    return p->facility_w + lost * p->facility_idle_w;
}

double plan_production_size(double hours)
{
    static const double LEAST = 3e4, MOST = 3e7; /* accelerator-hours of the reports */
    return fmin(fmax(hours, LEAST), MOST) / 1e6;
}

struct range plan_production_factor(const struct plan_production *p, double hours)
{
    return range_scale(p->factor, pow(plan_production_size(hours), p->slope));
}

/* Published runs beside plans of them (plan validate --production). What `colossus train` takes on one
 * machine was measured as it trains. */
static struct range production(const struct plan_request *r, double hours)
{
    const double *k = plan_constants_of(&r->software)->value;
    const struct plan_production fit = {
        k[PLAN_K_PRODUCTION_SLOPE],
        {k[PLAN_K_PRODUCTION_LOW], k[PLAN_K_PRODUCTION], k[PLAN_K_PRODUCTION_HIGH]}};
    return r->benchmark || r->software.local ? range_exact(1) : plan_production_factor(&fit, hours);
}

static void run_length(const struct plan_request *r, const struct plan_what_if *w,
                       struct plan_answer *out)
{
    const struct plan_reliability *rel = &out->reliability;
    const struct plan_power *p = &out->power;
    struct range goodput = plan_goodput(rel);
    double per_step = (double)r->batch.global_batch * (double)r->batch.seq_len;
    double n = (double)machine_cluster_accelerators(&r->cluster);
    out->step_s = (struct range){out->step.low_s, out->step.step_s, out->step.high_s};
    double steps = ceil(out->tokens.mid / per_step);
    /* A job that stops at elastic_most does a step's work with fewer, and pays for no more. */
    double job = rel->job_share, busy = (double)out->step.used;
    double fewer = busy > 0.0 ? (double)rel->job_accelerators / busy : 1.0;
    out->days = range_scale(range_div(out->step_s, goodput), steps / 86400.0 / fewer);
    out->benchmark_days = out->days;
    out->production = production(r, out->days.mid * 24 * n * job);
    /* its range holds the error of the step, too: it is that of whole runs beside whole plans */
    if (out->production.high > out->production.low)
        out->days = range_scale(out->production, out->benchmark_days.mid);
    out->gpu_hours = range_scale(out->days, 24.0 * n * job);
    out->site_w = range_scale(plan_power_band, p->facility_w * w->power);
    struct range busy_h = range_scale(out->step_s, steps / 3600.0 / fewer);
    struct range busy_w = {with_lost_time(p, goodput.high), with_lost_time(p, goodput.mid),
                           with_lost_time(p, goodput.low)};
    out->mwh =
        range_mul(range_mul(busy_h, range_scale(busy_w, job * w->power / 1e6)), plan_power_band);
    out->mwh = range_mul(out->mwh, out->production);
    out->build_days =
        range_scale(figure_range(&r->site.build_days_per_1000, range_exact(0.0)), n / 1e3);
    if (rel->mtbf_s.mid > 0.0) out->power.swing.stops_per_day = 86400.0 / rel->mtbf_s.mid;
}

void plan_run_evaluate(const struct plan_request *r, const struct plan_what_if *w,
                       struct plan_answer *out)
{
    if (!w) w = &AS_IT_IS;
    struct plan_request job = *r; /* the part of the machine that the job is given */
    double n = (double)machine_cluster_accelerators(&r->cluster);
    job.cluster = plan_cluster_part(&r->cluster, r->part);
    out->request = r;
    out->layout = r->layout;
    out->part = r->part;
    plan_step(&r->model, &job.cluster, &r->layout, &r->batch, &r->software, &out->step);
    plan_power_slow_step(r, &out->step);
    if (w->step != 1.0) plan_step_stretch(&out->step, w->step);
    plan_reliability(&job, &out->step, w, &out->reliability);
    struct plan_step all = out->step; /* the rest works, too */
    if (r->part > 0) {
        out->reliability.job_share *= (double)r->part / n;
        all.tokens_per_s *= n / (double)r->part;
    }
    plan_power(r, &all, &out->power);
    run_tokens(r, out);
    run_length(r, w, out);
    plan_money_and_emissions(out);
}
