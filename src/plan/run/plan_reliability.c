/* plan_reliability.c: how often a job is interrupted, what each interruption costs, and how much
 * of the wall time is left: machine/'s laws for the accelerators that a layout uses.
 *
 * A failure of an idle accelerator stops nothing. Where failures come faster than restarts, one
 * synchronous job makes no progress, and the answer is that of an elastic one (machine_elastic.c)
 * of the size that is fastest. */
#include "plan/run/plan_run_internal.h"

#include <math.h>
#include <string.h>

/* An elastic job is offered where a synchronous one keeps less, and never credited with more: the one
 * elastic run that was measured kept 0.80, and so the answer has no cliff where the one takes the
 * other's place. */
#define ELASTIC_FROM 0.85

static void checkpoints(const struct plan_request *r, double step_s, double what_if,
                        struct plan_reliability *out)
{
    struct machine_checkpoint c;
    machine_checkpoint(&r->cluster, plan_model_params(&r->model), (double)out->job_accelerators,
                       &c);
    out->checkpoint_bytes = c.bytes;
    out->checkpoint_write_s = c.write_s;
    out->checkpoint_stall_s = c.stall_s;
    out->restart_s = range_add(machine_restart_s(out->job_accelerators), range_exact(c.load_s));
    out->restart_s = range_mul(out->restart_s, range_exact(what_if));
    out->interval_young_s = machine_checkpoint_young_s(c.stall_s, out->mtbf_s.mid);
    out->interval_daly_s = machine_checkpoint_daly_s(c.stall_s, out->mtbf_s.mid);
    /* A save must have been written, and ends with a step. */
    out->interval_exact_s =
        fmax(fmax(machine_checkpoint_interval(c.stall_s, out->mtbf_s.mid), c.write_s), step_s);
    out->goodput = machine_goodput(out->interval_exact_s, c.stall_s, out->restart_s, out->mtbf_s);
}

/* The smallest part of the machine that holds the whole state and can leave alone: a whole number
 * of data-parallel replicas, and of expert-parallel groups. */
static int64_t elastic_unit(const struct plan_layout *l)
{
    int64_t replica = (int64_t)MAX(l->tp, 1) * MAX(l->pp, 1) * MAX(l->cp, 1);
    int64_t experts = (int64_t)MAX(l->ep, 1) * MAX(l->etp, 1) * MAX(l->pp, 1);
    return experts > replica ? (experts + replica - 1) / replica * replica : replica;
}

static void elasticity(const struct plan_request *r, double step_s, double what_if,
                       struct plan_reliability *out)
{
    const int64_t n = out->job_accelerators, unit = elastic_unit(&r->layout);
    const struct machine_elastic x = {(double)n, out->mtbf_s, 0.5 * step_s, what_if};
    out->elastic_group = machine_elastic_group(unit, n);
    out->elastic_most = n;
    out->goodput_elastic = out->goodput;
    if (out->elastic_group * 2 > n) return;

    /* Whole groups; one that is smaller for a smaller job. */
    int64_t most = (int64_t)machine_elastic_size(&x);
    int64_t group = machine_elastic_group(unit, most);
    if (most < n) most = MAX(most / group, 1) * group;
    out->elastic_group = group;
    out->elastic_most = most;
    double saves = 1.0 + out->checkpoint_stall_s / fmax(out->interval_exact_s, step_s);
    struct range kept = machine_elastic_goodput(&x, most, group);
    kept = (struct range){kept.low / saves, kept.mid / saves, kept.high / saves};
    double share =
        (double)most / (double)n; /* of the machine's speed: beside the synchronous job */
    kept.mid = fmin(kept.mid, ELASTIC_FROM);
    kept.low = fmin(kept.low, kept.mid);
    out->goodput_elastic = kept;
    out->elastic = out->goodput.mid < ELASTIC_FROM && share * kept.mid > out->goodput.mid;
    if (!out->elastic) return;
    out->job_accelerators = most;
    out->job_share = share;
}

/* One machine on a desk: its crashes are rarer than its runs are long, nobody plans its repairs, and
 * a checkpoint is written beside the steps. What is not told of it is not finite. */
static void desk(const struct plan_request *r, struct plan_reliability *out)
{
    const double fp32 = 4.0 * plan_model_params(&r->model);
    double write = figure_mid(&r->cluster.storage_write_bytes_per_s, 0.0);
    out->job_accelerators = out->elastic_most = out->elastic_group = 1;
    out->mtbf_s = range_exact(INFINITY);
    out->checkpoint_bytes = 3.0 * fp32; /* weights and two moments */
    out->checkpoint_write_s = write > 0.0 ? out->checkpoint_bytes / write : INFINITY;
    out->interval_young_s = out->interval_daly_s = out->interval_exact_s = INFINITY;
    out->goodput = out->goodput_elastic = range_exact(1.0);
    out->job_share = 1.0;
}

void plan_reliability(const struct plan_request *r, const struct plan_step *step,
                      const struct plan_what_if *w, struct plan_reliability *out)
{
    const double failures = w ? w->failures : 1.0, restart = w ? w->restart : 1.0;
    int64_t used[MACHINE_MAX_POOLS];
    memset(out, 0, sizeof(*out));
    if (machine_cluster_accelerators(&r->cluster) <= 0) return;
    if (r->software.local) {
        desk(r, out);
        return;
    }
    out->job_accelerators = plan_place_used(&r->cluster, &r->layout, used);
    const double n = (double)out->job_accelerators;
    out->failures_per_1000_node_days = machine_failure_rate(&r->cluster, used, failures);
    out->mtbf_s = machine_mtbf_s(out->failures_per_1000_node_days, n);
    out->spare_nodes = machine_spare_nodes(out->failures_per_1000_node_days.mid, n);
    checkpoints(r, step->step_s, restart, out);
    out->job_share = 1.0;
    elasticity(r, step->step_s, restart, out);
}

struct range plan_goodput(const struct plan_reliability *r)
{
    return r->elastic ? r->goodput_elastic : r->goodput;
}
