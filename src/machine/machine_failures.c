/* machine_failures.c: how often the accelerators of a job fail, how many stand by for repairs, and
 * how long a restart takes.
 *
 * The unit is failures per 1,000 days of a node of 8 accelerators (r_f of Kokolis et al.,
 * "Revisiting Reliability in Large-Scale Machine Learning Research Clusters", arXiv:2410.21680).
 * The published rates differ by three between fleets and not by a power of the number of
 * accelerators, so the law is linear in nodes and the rate is the fleet's:
 *
 *     r_f = mature x (1 + (YOUNG - 1) exp(-age / SETTLE)) x (1 + (LEMON - 1) lemons)
 *
 * Its constants come from that one paper and are not fitted to the runs it is checked on (Llama
 * 3's 16,384 H100; 32K and 98K of arXiv:2602.00277): docs/decisions/plan-run.md.
 *
 * Meta's cold recovery at 16K to 98K accelerators (arXiv:2602.00277) is a straight line through
 * 65 s + 8.5 s per thousand, plus reading the checkpoint. */
#include "machine/machine_internal.h"

#include <math.h>

#define NODE MACHINE_FAILURE_NODE /* a larger domain is a rack */
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
#define REPAIR_HOURS         40.4  /* AIReSim: 2 h, and 2 days for the 80 % that escalate */
#define REPAIR_SHARE         0.78  /* hardware, of Llama 3's interruptions */
#define SPARE_QUANTILE       2.326 /* 99 % */

#define RESTART_BASE_S     65.0 /* least squares on 200, 300, 600, 900 s at 16, 22, 64, 98K */
#define RESTART_S_PER_1000 8.5
#define RESTART_COLD_S     480.0 /* median of MLPerf's audited init times, 512 to 11,616 */

double machine_youth(double age_days)
{
    return 1.0 + (YOUNG - 1.0) * exp(-fmax(age_days, 0.0) / SETTLE_DAYS);
}

double machine_youth_days(double age_days)
{
    return age_days - (YOUNG - 1.0) * SETTLE_DAYS * expm1(-fmax(age_days, 0.0) / SETTLE_DAYS);
}

static struct range mature_rate(const struct machine_accelerator *a)
{
    return figure_range(&a->failures, a->scaleup_domain > NODE ? MATURE_RACK : MATURE);
}

double machine_mature_rate(const struct machine_accelerator *a)
{
    return mature_rate(a).mid;
}

static double with_lemons(double fraction)
{
    return 1.0 + (LEMON - 1.0) * fraction;
}

struct range machine_failure_rate(const struct machine_cluster *c,
                                  const int64_t used[MACHINE_MAX_POOLS], double factor)
{
    struct range rate = {0};
    int64_t all = 0;
    for (int64_t i = 0; i < c->n_pools; i++)
        all += used[i];
    for (int64_t i = 0; i < c->n_pools; i++) { /* pools share their kind of error: bounds add */
        struct range own = mature_rate(c->pools[i].accelerator);
        rate = range_sum(rate, range_scale(own, (double)used[i] / (double)all));
    }
    struct range age = figure_range(&c->fleet_age_days, AGE_DAYS);
    struct range lemons = figure_range(&c->lemon_fraction, LEMONS);
    struct range young = {machine_youth(age.high), machine_youth(age.mid), machine_youth(age.low)};
    struct range weak = {with_lemons(lemons.low), with_lemons(lemons.mid),
                         with_lemons(lemons.high)};
    return range_mul(range_mul(rate, young), range_mul(weak, range_exact(factor)));
}

static double mtbf_s(double rate, double accelerators)
{
    return 86400.0 / (accelerators / NODE * rate / 1e3 + SITE_OUTAGES_PER_DAY);
}

struct range machine_mtbf_s(struct range rate, double accelerators)
{
    return (struct range){mtbf_s(rate.high, accelerators), mtbf_s(rate.mid, accelerators),
                          mtbf_s(rate.low, accelerators)};
}

int64_t machine_spare_nodes(double rate, double accelerators)
{
    /* Nodes in repair are Poisson: mean rate x time. */
    double mean = accelerators / NODE * rate / 1e3 * REPAIR_SHARE * REPAIR_HOURS / 24.0;
    return (int64_t)ceil(mean + SPARE_QUANTILE * sqrt(mean));
}

struct range machine_restart_s(int64_t accelerators)
{
    double s = RESTART_BASE_S + RESTART_S_PER_1000 * (double)accelerators / 1e3;
    return (struct range){0.7 * s, s, fmax(s, RESTART_COLD_S) * 1.2};
}
