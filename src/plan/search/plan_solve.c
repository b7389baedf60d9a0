/* plan_solve.c: from a request to an answer.
 *
 * The request is checked, its layout found or checked, the run evaluated (plan/run), each input
 * moved to its bounds, and what limits the plan is said in one sentence. */
#include "plan/search/plan_search_internal.h"
#include "plan/step/plan_local_internal.h"

#include <string.h>

/* ------------------------------------------------------------------ the request */

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

/* Stack colossus is this program, which must be able to train the model, and have been measured in the
 * precision. */
static int check_program(const struct plan_request *r, struct error *e)
{
    const int32_t precision = r->layout.precision;
    TRY(model_config_check(&r->model, e));
    TRY(model_config_check_trainable(&r->model, e));
    if (precision < 0) return 0;
    if (precision == MACHINE_FP32 || precision == MACHINE_BF16)
        return plan_local_check(r->software.local, precision == MACHINE_BF16, e);
    error_set_code(e, ERROR_CONFIG, "stack colossus does not compute in %s",
                   machine_precision_names[precision]);
    return error_hint(e, "fp32 or bf16");
}

static int run_check(const struct plan_request *r, struct error *e)
{
    TRY(model_config_check_shape(&r->model, e));
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
    error_set_code(e, ERROR_CONFIG,
                   "layout: dp %d replicas of %lld accelerators each: the kinds of the cluster "
                   "hold %lld",
                   l->dp, (long long)l->tp * l->pp * l->cp, (long long)room);
    return error_hint(e, "for example dp %lld, or a smaller tp x pp x cp", (long long)MAX(room, 1));
}

/* ------------------------------------------------------------------ what limits it */

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

/* What limits a plan, hardest first: what cannot run, what may not run, what is wasted. */
enum limit { LIMIT_MEMORY, LIMIT_POWER, LIMIT_PERMIT, LIMIT_FAILURES, LIMIT_SWING, LIMIT_STEP };

static enum limit limit_of(const struct plan_answer *a)
{
    const struct machine_swing *swing = &a->power.swing;
    if (!a->step.fits) return LIMIT_MEMORY;
    if (a->power.unserved_w > 0.0) return LIMIT_POWER;
    if (!a->emissions.within_permit) return LIMIT_PERMIT;
    if (plan_goodput(&a->reliability).mid < 0.8) return LIMIT_FAILURES;
    /* beyond the utility's limit, and the accelerators cannot take it away either */
    if (!swing->within_limit && swing->smoothing_left_w > swing->limit_w) return LIMIT_SWING;
    return LIMIT_STEP;
}

/* Whatever else limits it: one job cannot use this machine. */
static void add_one_job(const struct plan_answer *a, bool failures_said, char *text, size_t size)
{
    const struct plan_reliability *rel = &a->reliability;
    char most[32], all[32];
    double n = (double)machine_cluster_accelerators(&a->request->cluster);
    size_t used = strlen(text);
    if (rel->job_share >= 1.0) return;
    snprintf(
        text + used, size - used,
        "; %sone job can use %s of %s accelerators, and keeps %.0f %% "
        "of its time",
        failures_said ? "" : "and failures: ", format_count(most, (double)rel->job_accelerators),
        format_count(all, n), 100.0 * rel->goodput_elastic.mid);
}

/* What limits the plan, in one sentence. */
static void say_limit(struct plan_answer *a)
{
    const struct plan_step *s = &a->step;
    const struct plan_power *p = &a->power;
    const struct plan_reliability *rel = &a->reliability;
    const enum limit limit = limit_of(a);
    char one[32], two[32], *text = a->limit;
    const char *whole = rel->job_share < 1.0 ? " (the whole machine at work)" : "";
    size_t size = sizeof(a->limit);
    switch (limit) {
    case LIMIT_MEMORY:
        snprintf(text, size, "memory: %s per accelerator where %s are free",
                 format_bytes(one, s->memory.total), format_bytes(two, s->memory_limit_bytes));
        break;
    case LIMIT_POWER:
        snprintf(text, size, "power: the site's sources fall short by %s of %s%s",
                 format_si(one, p->unserved_w, "W"), format_si(two, p->facility_w, "W"), whole);
        break;
    case LIMIT_PERMIT:
        snprintf(text, size,
                 "the permit: %.0f t of NOx a year (%.0f permitted), or its water, at this load%s",
                 a->emissions.nox_t_per_year, a->emissions.permit_nox_t_per_year, whole);
        break;
    case LIMIT_FAILURES:
        snprintf(text, size, "failures: one every %s, and %.0f %% of the time is lost%s",
                 format_duration(one, rel->mtbf_s.mid), 100.0 * (1.0 - plan_goodput(rel).mid),
                 rel->elastic ? " even with replicas that leave and return singly" : "");
        break;
    case LIMIT_SWING:
        snprintf(text, size, "the grid: steps swing %s where %s are allowed",
                 format_si(one, p->swing.amplitude_w, "W"), format_si(two, p->swing.limit_w, "W"));
        break;
    case LIMIT_STEP:
        limit_of_step(s, machine_cluster_accelerators(&a->request->cluster) == 1, text, size);
        break;
    }
    add_one_job(a, limit == LIMIT_FAILURES, text, size);
}

/* ------------------------------------------------------------------ the answer */

int plan_solve(const struct plan_request *r, struct arena *a, struct plan_answer *out,
               struct error *e)
{
    struct plan_request chosen = *r;
    memset(out, 0, sizeof(*out));
    TRY(run_check(r, e));
    if (r->software.local) TRY(check_program(r, e));
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
    say_limit(out);
    return 0;
}
