/* plan_reliability.c: how often a job is interrupted, what each interruption costs, and how much
 * of the wall time is left.
 *
 * Failures. The unit is failures per 1,000 days of a node of 8 accelerators (r_f of Kokolis et
 * al., "Revisiting Reliability in Large-Scale Machine Learning Research Clusters",
 * arXiv:2410.21680). The published rates differ by three between fleets and not by a power of the
 * number of accelerators, so the law is linear in nodes and the rate is the fleet's:
 *
 *     r_f = mature x (1 + (YOUNG - 1) exp(-age / SETTLE)) x (1 + (LEMON - 1) lemons)
 *
 * Its constants come from that one paper and are not fitted to the runs it is checked on (Llama
 * 3's 16,384 H100; 32K and 98K of arXiv:2602.00277): docs/decisions/plan-run.md.
 *
 * Restart. Meta's cold recovery at 16K to 98K accelerators (arXiv:2602.00277) is a straight line
 * through 65 s + 8.5 s per thousand, plus reading the checkpoint.
 *
 * Checkpoints. Young (1974), Daly (2006, eq. 37) and the exact optimum of Daly's expected time
 * for exponential failures, by Newton's method on its derivative.
 *
 * Where failures come faster than restarts, a synchronous job makes no progress; replicas that
 * leave and return singly do (HSDP with fault tolerance, arXiv:2602.00277). */
#include "plan/run/plan_run_internal.h"

#include <math.h>
#include <string.h>

/* RSC-2's rate (2.34; SemiAnalysis gives 1.6 to 4.0 for H100, 2.7 to 8.0 for GB200 NVL72, with
 * the rack as its blast radius; the middle there is geometric, pulled to the long-run end). */
static const struct range MATURE = {1.6, 2.34, 4.0};
static const struct range MATURE_RACK = {2.7, 3.9, 8.0};
/* Taking lemon nodes out cut RSC's failures of large jobs from 14 to 4 % = 3.5 times. A tenth of
 * the nodes failing 5 times as often (AIReSim, arXiv:2603.07041: 15 % x 5; 3 to 10 % of new nodes
 * fail burn-in) accounts for 1.4 of it, youth for the other 2.5. */
#define YOUNG       2.5
#define LEMON       5.0
#define SETTLE_DAYS 180.0 /* assumption: burn-in and early repairs last half a year */
static const struct range AGE_DAYS = {60.0, 180.0, 720.0}; /* where a cluster states none */
static const struct range LEMONS = {0.0, 0.05, 0.15};
/* Power, cooling and fabric outages of the whole site, whatever its size: once a month, as an
 * assumption; without weight beside the nodes of a large job. */
#define SITE_OUTAGES_PER_DAY (1.0 / 30.0)
/* Llama 3: 47 planned interruptions in 54 days; a matter of days, not of size. No work is lost. */
#define PLANNED_PER_DAY (47.0 / 54.0)

/* bf16 weight, fp32 master and two fp32 moments: 13.8 TB measured for 1 T (SC21). */
#define CHECKPOINT_BYTES_PER_PARAM 14.0
/* Where a cluster states no storage: between 50 GB/s (VAST) and 2 TB/s (Tectonic), 16K each. */
#define STORAGE_BYTES_PER_S 27e6
/* The step waits for the copy to host memory only (asynchronous saves: under 1 s blocking in
 * PyTorch DCP, ByteCheckpoint, Nemotron 3): planning, and the state over PCIe. */
#define STALL_PLANNING_S       0.5
#define STALL_COPY_BYTES_PER_S 10e9

#define ELASTIC_STALL_OF_RESTART 0.2  /* 3 of 15 min at 98K */
#define ELASTIC_KNOWN            98e3 /* accelerators at which the stall was measured */
/* Offered where a synchronous job keeps less, and never credited with more: the one elastic run that
 * was measured kept 0.80, and so the answer has no cliff where the one takes the other's place. */
#define ELASTIC_FROM   0.85
#define ELASTIC_GROUPS 64    /* replica groups that a job is split into */
#define REPAIR_HOURS   40.4  /* AIReSim: 2 h, and 2 days for the 80 % that escalate */
#define REPAIR_SHARE   0.78  /* hardware, of Llama 3's interruptions */
#define SPARE_QUANTILE 2.326 /* 99 % */

static double daly(double delta_s, double mtbf_s)
{
    if (delta_s >= 2.0 * mtbf_s) return mtbf_s;
    double q = delta_s / (2.0 * mtbf_s);
    return sqrt(2.0 * delta_s * mtbf_s) * (1.0 + sqrt(q) / 3.0 + q / 9.0) - delta_s;
}

/* ------------------------------------------------------------------ failures */

static double youth(double age_days)
{
    return 1.0 + (YOUNG - 1.0) * exp(-fmax(age_days, 0.0) / SETTLE_DAYS);
}

static double with_lemons(double fraction)
{
    return 1.0 + (LEMON - 1.0) * fraction;
}

/* Accelerators that train, of each pool and in all: a failure of an idle one stops nothing. */
static int64_t trains(const struct plan_request *r, const struct plan_step *step,
                      double pools[MACHINE_MAX_POOLS])
{
    const struct machine_cluster *c = &r->cluster;
    int64_t all = machine_cluster_accelerators(c), n = step->used > 0 ? step->used : all;
    int64_t used[MACHINE_MAX_POOLS];
    bool placed = plan_place_used(c, &r->layout, used) == n;
    for (int64_t i = 0; i < c->n_pools; i++)
        pools[i] = placed ? (double)used[i] : (double)c->pools[i].count * (double)n / (double)all;
    return n;
}

static void failure_rate(const struct plan_request *r, const struct plan_step *step, double what_if,
                         struct plan_reliability *out)
{
    const struct machine_cluster *c = &r->cluster;
    double pools[MACHINE_MAX_POOLS];
    struct range rate = {0}, age, lemons;
    double all = (double)trains(r, step, pools);
    for (int64_t i = 0; i < c->n_pools; i++) {
        const struct machine_accelerator *a = c->pools[i].accelerator;
        const struct range *m = a->scaleup_domain > 8 ? &MATURE_RACK : &MATURE;
        struct range x = figure_range(&a->failures, m->mid, m->low, m->high);
        double share = pools[i] / all;
        rate.low += share * x.low; /* pools share their kind of error */
        rate.mid += share * x.mid;
        rate.high += share * x.high;
    }
    age = figure_range(&c->fleet_age_days, AGE_DAYS.mid, AGE_DAYS.low, AGE_DAYS.high);
    lemons = figure_range(&c->lemon_fraction, LEMONS.mid, LEMONS.low, LEMONS.high);
    struct range y = {youth(age.high), youth(age.mid), youth(age.low)};
    struct range l = {with_lemons(lemons.low), with_lemons(lemons.mid), with_lemons(lemons.high)};
    rate = range_mul(range_mul(rate, y), range_mul(l, range_exact(what_if)));
    out->failures_per_1000_node_days = rate;

    double nodes = all / 8.0;
    out->mtbf_s.low = 86400.0 / (nodes * rate.high / 1e3 + SITE_OUTAGES_PER_DAY);
    out->mtbf_s.mid = 86400.0 / (nodes * rate.mid / 1e3 + SITE_OUTAGES_PER_DAY);
    out->mtbf_s.high = 86400.0 / (nodes * rate.low / 1e3 + SITE_OUTAGES_PER_DAY);

    /* Nodes in repair are Poisson: mean rate x time. */
    double mean = nodes * rate.mid / 1e3 * REPAIR_SHARE * REPAIR_HOURS / 24.0;
    out->spare_nodes = (int64_t)ceil(mean + SPARE_QUANTILE * sqrt(mean));
}

/* ------------------------------------------------------------------ goodput */

static double goodput(double tau_s, double delta_s, double restart_s, double mtbf_s)
{
    double stretch = machine_checkpoint_stretch(tau_s, delta_s, restart_s, mtbf_s);
    return 1.0 / (stretch * (1.0 + PLANNED_PER_DAY * restart_s / 86400.0));
}

static void checkpoints(const struct plan_request *r, double step_s, double what_if,
                        struct plan_reliability *out)
{
    double n = (double)out->job_accelerators;
    double write = figure_mid(&r->cluster.storage_write_bytes_per_s, STORAGE_BYTES_PER_S * n);
    double read = figure_mid(&r->cluster.storage_read_bytes_per_s, write);
    out->checkpoint_bytes = CHECKPOINT_BYTES_PER_PARAM * plan_model_params(&r->model);
    out->checkpoint_write_s = write > 0.0 ? out->checkpoint_bytes / write : 0.0;
    out->checkpoint_stall_s = STALL_PLANNING_S + out->checkpoint_bytes / n / STALL_COPY_BYTES_PER_S;

    double load_s = read > 0.0 ? out->checkpoint_bytes / read : 0.0;
    out->restart_s = range_add(machine_restart_s((int64_t)n), range_exact(load_s));
    out->restart_s = range_mul(out->restart_s, range_exact(what_if));

    double delta = out->checkpoint_stall_s, m = out->mtbf_s.mid;
    out->interval_young_s = sqrt(2.0 * delta * m);
    out->interval_daly_s = daly(delta, m);
    /* A save must have been written, and ends with a step. */
    out->interval_exact_s =
        fmax(fmax(machine_checkpoint_interval(delta, m), out->checkpoint_write_s), step_s);

    double tau = out->interval_exact_s;
    out->goodput.low = goodput(tau, delta, out->restart_s.high, out->mtbf_s.low);
    out->goodput.mid = goodput(tau, delta, out->restart_s.mid, m);
    out->goodput.high = goodput(tau, delta, out->restart_s.low, out->mtbf_s.high);
}

/* The smallest part of the machine that holds the whole state and can leave alone: a whole number
 * of data-parallel replicas, and of expert-parallel groups. */
static int64_t elastic_group(const struct plan_layout *l, int64_t n)
{
    int64_t replica = (int64_t)MAX(l->tp, 1) * MAX(l->pp, 1) * MAX(l->cp, 1);
    int64_t experts = (int64_t)MAX(l->ep, 1) * MAX(l->etp, 1) * MAX(l->pp, 1);
    int64_t unit = experts > replica ? (experts + replica - 1) / replica * replica : replica;
    int64_t want = (n + ELASTIC_GROUPS - 1) / ELASTIC_GROUPS;
    return MIN(n, (want + unit - 1) / unit * unit);
}

/* A job of n of the machine's accelerators: all wait S(n) after each failure among them, and again
 * where another falls into it; exp(-S n / (M N)) is left of the time. Its speed, n times that, has
 * a top: where failures come faster than the stall, more accelerators make a job slower. */
struct elastic {
    double machine, mtbf_s;         /* N, M: of the whole machine */
    double known_s, beyond, lost_s; /* S up to ELASTIC_KNOWN; how it grows; half a step again */
};

/* Beyond the size where it was measured the stall is taken to grow with the depth of the tree that
 * agrees on who is left; as its high, in proportion to the job. */
static double elastic_stall(const struct elastic *x, double n)
{
    double grown = n / ELASTIC_KNOWN;
    if (grown > 1.0 && x->beyond < 1.0) grown = log2(n) / log2(ELASTIC_KNOWN);
    return x->known_s * fmax(grown, 1.0) + x->lost_s;
}

static double elastic_speed(const struct elastic *x, double n)
{
    return n * exp(-elastic_stall(x, n) * n / (x->mtbf_s * x->machine));
}

/* The fastest job of at most so many: one top, by ternary search. */
static double elastic_best(const struct elastic *x, double most)
{
    double low = 1.0, high = most;
    for (int i = 0; i < 64 && high - low > 0.5; i++) {
        double a = low + (high - low) / 3.0, b = high - (high - low) / 3.0;
        if (elastic_speed(x, a) < elastic_speed(x, b))
            low = a;
        else
            high = b;
    }
    return elastic_speed(x, most) >= elastic_speed(x, low) ? most : low;
}

/* What a job of `job` keeps of its time, smaller where that is faster (an owner can shrink a job
 * that fails more than was thought), less the groups that are away. */
static double elastic_goodput(const struct elastic *x, double job, double group, double group_s)
{
    double speed = elastic_speed(x, elastic_best(x, job));
    return speed / job * fmax(0.0, 1.0 - group * group_s / (x->machine * x->mtbf_s));
}

static void elasticity(const struct plan_request *r, double step_s, double what_if,
                       struct plan_reliability *out)
{
    int64_t n = out->job_accelerators;
    out->elastic_group = elastic_group(&r->layout, n);
    out->elastic_most = n;
    out->goodput_elastic = out->goodput;
    if (out->elastic_group * 2 > n) return;

    int64_t known = (int64_t)fmin((double)n, ELASTIC_KNOWN);
    double stall = what_if * ELASTIC_STALL_OF_RESTART * machine_restart_s(known).mid;
    double lost = 0.5 * step_s, N = (double)n;
    const struct elastic good = {N, out->mtbf_s.high, stall / 3.0, 0.0, lost};
    const struct elastic mid = {N, out->mtbf_s.mid, stall, 0.0, lost};
    const struct elastic bad = {N, out->mtbf_s.low, N > ELASTIC_KNOWN ? stall : 1.5 * stall, 1.0,
                                lost};
    /* Whole groups; one that is smaller for a smaller job. */
    int64_t most = (int64_t)elastic_best(&mid, N);
    int64_t group = elastic_group(&r->layout, most);
    if (most < n) most = MAX(most / group, 1) * group;
    out->elastic_group = group;
    out->elastic_most = most;
    double job = (double)most,
           delta = 1.0 + out->checkpoint_stall_s / fmax(out->interval_exact_s, step_s);
    struct range g = range_mul(machine_restart_s(group), range_exact(what_if));
    out->goodput_elastic.low = elastic_goodput(&bad, job, (double)group, g.high) / delta;
    out->goodput_elastic.mid = elastic_goodput(&mid, job, (double)group, g.mid) / delta;
    out->goodput_elastic.high = elastic_goodput(&good, job, (double)group, g.low) / delta;
    double share = job / N; /* of the machine's speed, to be held against the synchronous job */
    out->goodput_elastic.mid = fmin(out->goodput_elastic.mid, ELASTIC_FROM);
    out->goodput_elastic.low = fmin(out->goodput_elastic.low, out->goodput_elastic.mid);
    out->elastic =
        out->goodput.mid < ELASTIC_FROM && share * out->goodput_elastic.mid > out->goodput.mid;
    if (!out->elastic) return;
    out->job_accelerators = most;
    out->job_share = share;
}

void plan_reliability_what_if(const struct plan_request *r, const struct plan_step *step,
                              const struct plan_what_if *w, struct plan_reliability *out)
{
    memset(out, 0, sizeof(*out));
    if (machine_cluster_accelerators(&r->cluster) <= 0) return;
    out->job_accelerators = step->used > 0 ? step->used : machine_cluster_accelerators(&r->cluster);
    failure_rate(r, step, w->failures, out);
    checkpoints(r, step->step_s, w->restart, out);
    out->job_share = 1.0;
    elasticity(r, step->step_s, w->restart, out);
}

void plan_reliability(const struct plan_request *r, const struct plan_step *step,
                      struct plan_reliability *out)
{
    static const struct plan_what_if AS_IT_IS = {1.0, 1.0, 1.0, 1.0};
    plan_reliability_what_if(r, step, &AS_IT_IS, out);
}

struct range plan_goodput(const struct plan_reliability *r)
{
    return r->elastic ? r->goodput_elastic : r->goodput;
}
