/* plan_run.c: from a request to an answer: layout, step, and the run around it.
 *
 * plan_solve finds or checks the layout, and plan_run_evaluate does the rest in a straight line:
 * step -> failures and goodput -> watts -> tokens, days, megawatt-hours -> dollars and tonnes.
 * Nothing loops over accelerators, so a million of them cost what eight cost, and the sensitivities
 * evaluate the whole line again for each input. Days, energy and money belong to the middle of the
 * token budget: how many tokens is a choice, and its range would drown all others. */
#include "plan/plan_internal.h"

#include <math.h>
#include <string.h>

/* The model's error against the measured node power of MLPerf runs: docs/decisions/plan-run.md. */
static const struct range POWER_BAND = {0.92, 1.0, 1.08};

static const struct plan_what_if AS_IT_IS = {1.0, 1.0, 1.0, 1.0};

static struct range times(struct range a, double x)
{
    return (struct range){a.low * x, a.mid * x, a.high * x};
}

static void scale_step(struct plan_step *s, double x)
{
    s->step_s *= x;
    s->low_s *= x;
    s->high_s *= x;
    s->tokens_per_s /= x;
    s->mfu /= x;
    s->hfu /= x;
}

static void run_tokens(const struct plan_request *r, struct plan_answer *out)
{
    if (r->tokens.mid > 0.0) {
        out->tokens = figure_range(&r->tokens, 0.0, 0.0, 0.0);
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

static void run_length(const struct plan_request *r, const struct plan_what_if *w,
                       struct plan_answer *out)
{
    const struct plan_reliability *rel = &out->reliability;
    const struct plan_power *p = &out->power;
    struct range goodput = rel->elastic ? rel->goodput_elastic : rel->goodput;
    double per_step = (double)r->batch.global_batch * (double)r->batch.seq_len;
    double n = (double)machine_cluster_accelerators(&r->cluster);
    out->step_s = (struct range){out->step.low_s, out->step.step_s, out->step.high_s};
    double steps = ceil(out->tokens.mid / per_step);
    /* A job that stops at elastic_most does a step's work with fewer, and pays for no more. */
    double job = rel->job_share, busy = (double)out->step.used;
    double fewer = busy > 0.0 ? (double)rel->job_accelerators / busy : 1.0;
    out->days = times(range_div(out->step_s, goodput), steps / 86400.0 / fewer);
    out->gpu_hours = times(out->days, 24.0 * n * job);
    out->site_w = times(POWER_BAND, p->facility_w * w->power);
    struct range busy_h = times(out->step_s, steps / 3600.0 / fewer);
    struct range busy_w = {with_lost_time(p, goodput.high), with_lost_time(p, goodput.mid),
                           with_lost_time(p, goodput.low)};
    out->mwh = range_mul(range_mul(busy_h, times(busy_w, job * w->power / 1e6)), POWER_BAND);
    out->build_days = times(figure_range(&r->site.build_days_per_1000, 0.0, 0.0, 0.0), n / 1e3);
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
    if (w->step != 1.0) scale_step(&out->step, w->step);
    plan_reliability_what_if(&job, &out->step, w, &out->reliability);
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

/* ------------------------------------------------------------------ the verdict */

static void limit_of_step(const struct plan_step *s, bool alone, char *text, size_t size)
{
    static const char *const ADVICE[PLAN_N_PARTS] = {
        [PLAN_PART_MATMUL] = "matrix products: more or faster accelerators help",
        [PLAN_PART_ATTENTION] = "attention: shorter sequences or context parallelism help",
        [PLAN_PART_VECTOR] = "memory bandwidth: fusion or faster memory helps",
        [PLAN_PART_RECOMPUTE] = "recomputation: more memory, or a layout that needs less, helps",
        [PLAN_PART_TP] = "tensor parallelism: a smaller group or faster scale-up links help",
        [PLAN_PART_EP] = "expert exchange: a larger scale-up domain helps",
        [PLAN_PART_CP] = "context parallelism: shorter sequences or faster links help",
        [PLAN_PART_PP] = "messages between pipeline stages: faster network cards help",
        [PLAN_PART_BUBBLE] = "pipeline bubbles: a larger batch or more virtual stages help",
        [PLAN_PART_DP] = "gradient exchange: a larger batch or faster network cards help",
        [PLAN_PART_OPTIMIZER] = "the optimiser: sharding it further helps",
        [PLAN_PART_OTHER] = "stragglers and launches: they grow with the number of ranks",
    };
    int first = 0, second = PLAN_PART_TP;
    for (int i = 1; i < PLAN_N_PARTS; i++) {
        if (s->part_s[i] > s->part_s[first]) first = i;
        if (i > PLAN_PART_TP && s->part_s[i] > s->part_s[second]) second = i;
    }
    double all = s->step_s > 0.0 ? s->step_s : 1.0;
    const char *advice = alone && first == PLAN_PART_MATMUL
                             ? "matrix products: a faster machine or a smaller model helps"
                             : ADVICE[first];
    int n = snprintf(text, size, "%.0f %% of a step is %s", 100.0 * s->part_s[first] / all, advice);
    if (first == second || n < 0 || (size_t)n >= size || s->part_s[second] < 0.05 * all) return;
    snprintf(text + n, size - (size_t)n, "; then %.0f %% %s", 100.0 * s->part_s[second] / all,
             plan_part_names[second]);
}

static void verdict_of_failures(const struct plan_reliability *rel, char *text, size_t size)
{
    char every[32];
    double lost = 1.0 - (rel->elastic ? rel->goodput_elastic.mid : rel->goodput.mid);
    format_duration(every, rel->mtbf_s.mid);
    snprintf(text, size, "failures: one every %s, and %.0f %% of the time is lost%s", every,
             100.0 * lost, rel->elastic ? " even with replicas that leave and return singly" : "");
}

/* Whatever else limits it: one job cannot use this machine. */
static void verdict_of_one_job(const struct plan_answer *a, char *text, size_t size)
{
    const struct plan_reliability *rel = &a->reliability;
    char most[32], all[32];
    double n = (double)machine_cluster_accelerators(&a->request->cluster);
    size_t used = strlen(text);
    if (rel->job_share >= 1.0) return;
    bool said = strncmp(text, "failures", strlen("failures")) == 0;
    snprintf(text + used, size - used,
             "; %sone job can use %s of %s accelerators, and keeps %.0f %% "
             "of its time",
             said ? "" : "and failures: ", format_count(most, (double)rel->job_accelerators),
             format_count(all, n), 100.0 * rel->goodput_elastic.mid);
}

/* Beyond the utility's limit, and the accelerators cannot take it away either. */
static bool swing_is_left(const struct machine_swing *s)
{
    return !s->within_limit && s->smoothing_left_w > s->limit_w;
}

/* What limits the plan, hardest first: what cannot run, what may not run, what is wasted. */
static void run_verdict(struct plan_answer *a)
{
    const struct plan_step *s = &a->step;
    const struct plan_reliability *rel = &a->reliability;
    const struct plan_power *p = &a->power;
    char one[32], two[32];
    const char *whole = rel->job_share < 1.0 ? " (the whole machine at work)" : "";
    size_t size = sizeof(a->limit);
    if (!s->fits)
        snprintf(a->limit, size, "memory: %s per accelerator where %s are free",
                 format_bytes(one, s->memory.total), format_bytes(two, s->memory_limit_bytes));
    else if (p->unserved_w > 0.0)
        snprintf(a->limit, size, "power: the site's sources fall short by %s of %s%s",
                 format_si(one, p->unserved_w, "W"), format_si(two, p->facility_w, "W"), whole);
    else if (!a->emissions.within_permit)
        snprintf(a->limit, size,
                 "the permit: %.0f t of NOx a year (%.0f permitted), or its water, at this load%s",
                 a->emissions.nox_t_per_year, a->emissions.permit_nox_t_per_year, whole);
    else if ((rel->elastic ? rel->goodput_elastic.mid : rel->goodput.mid) < 0.8)
        verdict_of_failures(rel, a->limit, size);
    else if (swing_is_left(&p->swing))
        snprintf(a->limit, size, "the grid: steps swing %s where %s are allowed",
                 format_si(one, p->swing.amplitude_w, "W"), format_si(two, p->swing.limit_w, "W"));
    else
        limit_of_step(s, machine_cluster_accelerators(&a->request->cluster) == 1, a->limit, size);
    verdict_of_one_job(a, a->limit, size);
}

/* ------------------------------------------------------------------ solve */

/* A precision that is asked for must be one that every accelerator computes in: the nearest one
 * would be priced in silence. */
static int check_precision(const struct plan_request *r, struct error *e)
{
    int precision = r->layout.precision;
    if (precision < 0) return 0; /* searched */
    for (int64_t i = 0; i < r->cluster.n_pools; i++) {
        const struct machine_accelerator *x = r->cluster.pools[i].accelerator;
        if (x->peak_flops[precision].mid > 0) continue;
        char offered[64] = "";
        for (int p = 0; p < MACHINE_N_PRECISIONS; p++) {
            size_t n = strlen(offered);
            if (x->peak_flops[p].mid > 0)
                snprintf(offered + n, sizeof(offered) - n, "%s%s", n ? ", " : "",
                         machine_precision_names[p]);
        }
        error_set_code(e, ERROR_CONFIG, "layout.precision: %s does not compute in %s", x->name,
                       machine_precision_names[precision]);
        return error_hint(e, "it offers %s; without the key the search chooses", offered);
    }
    return 0;
}

static int run_check(const struct plan_request *r, struct error *e)
{
    TRY(plan_model_check(&r->model, e));
    if (machine_cluster_accelerators(&r->cluster) <= 0)
        return error_set_code(e, ERROR_CONFIG, "the cluster '%s' has no accelerators",
                              r->cluster.name ? r->cluster.name : "");
    for (int64_t i = 0; i < r->cluster.n_pools; i++)
        if (!r->cluster.pools[i].accelerator || r->cluster.pools[i].count <= 0) {
            error_set_code(e, ERROR_CONFIG, "%s: pool %lld of the cluster '%s' has no accelerators",
                           r->path ? r->path : "", (long long)i + 1,
                           r->cluster.name ? r->cluster.name : "");
            return error_hint(e, "for example pools: [{accelerator: h100, count: 1024}]");
        }
    TRY(check_precision(r, e));
    if (r->batch.global_batch <= 0 || r->batch.seq_len <= 0) {
        error_set_code(e, ERROR_CONFIG, "the batch is %lld sequences of %lld tokens",
                       (long long)r->batch.global_batch, (long long)r->batch.seq_len);
        return error_hint(e, "both must be at least 1, for example 2048 sequences of 8192");
    }
    if (r->power_cap != 0.0 && !(r->power_cap >= 0.4 && r->power_cap <= 1.0)) {
        error_set_code(e, ERROR_CONFIG, "a power cap of %g is no share of the accelerators' own",
                       r->power_cap);
        return error_hint(e, "0.4 to 1, for example 0.8; 0 leaves it as it is");
    }
    if (!(r->tokens.mid >= 0.0) || r->tokens.mid > 1e18)
        return error_set_code(e, ERROR_CONFIG, "a budget of %g tokens", r->tokens.mid);
    return 0;
}

/* A replica of a layout that is given lies within one kind of accelerator, as in the search. */
static int check_kinds(const struct plan_request *r, struct error *e)
{
    const struct plan_layout *l = &r->layout;
    int64_t room = plan_place_room(&r->cluster, l, true);
    if (l->dp <= room) return 0;
    error_set_code(
        e, ERROR_CONFIG,
        "layout: dp %d replicas of %lld accelerators each: the kinds of the cluster hold "
        "%lld",
        l->dp, (long long)l->tp * l->pp * l->cp, (long long)room);
    return error_hint(e, "for example dp %lld, or a smaller tp x pp x cp", (long long)MAX(room, 1));
}

int plan_solve(const struct plan_request *r, struct arena *a, struct plan_answer *out,
               struct error *e)
{
    struct plan_request chosen = *r;
    memset(out, 0, sizeof(*out));
    TRY(run_check(r, e));
    if (r->search) {
        TRY(plan_search_run(&chosen, a, &out->search, e));
    } else {
        TRY(plan_layout_check(&r->layout, &r->model, &r->batch,
                              machine_cluster_accelerators(&r->cluster), e));
        TRY(plan_layout_check_stack(&r->layout, &r->batch, &r->software, e));
        TRY(check_kinds(r, e));
    }
    plan_run_evaluate(&chosen, NULL, out);
    plan_sensitivities(&chosen, out);
    out->request = r;
    run_verdict(out);
    return 0;
}
