/* plan_sensitivity.c: which input matters most.
 *
 * Each graded input is set to its low and its high, one at a time, and the whole plan is evaluated
 * again with the same layout: a microsecond or two each. What has no range is not listed. An input
 * that every pool has moves in all of them together. */
#include "plan/run/plan_run_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum where { OF_ACCELERATOR, OF_CLUSTER, OF_SITE, OF_SOURCES, OF_TOKENS, OF_WHAT_IF };

struct input {
    const char *name;
    enum where where;
    size_t offset;      /* of the figure, or of the factor in struct plan_what_if */
    bool per_precision; /* an array of figures by precision */
};
#define INPUT(name, where, type, member)                  \
    {                                                     \
        name, where, offsetof(struct type, member), false \
    }
#define ACCELERATOR(name, member) INPUT(name, OF_ACCELERATOR, machine_accelerator, member)
#define CLUSTER(name, member)     INPUT(name, OF_CLUSTER, machine_cluster, member)
#define SITE(name, member)        INPUT(name, OF_SITE, machine_site, member)
#define WHAT_IF(name, member)     INPUT(name, OF_WHAT_IF, plan_what_if, member)

static const struct input INPUTS[] = {
    WHAT_IF("the model of a step", step),
    {"speed of matrix products", OF_ACCELERATOR,
     offsetof(struct machine_accelerator, ceiling_flops), true},
    ACCELERATOR("memory bandwidth", hbm_bytes_per_s),
    ACCELERATOR("scale-up links", scaleup_bytes_per_s),
    ACCELERATOR("network cards", nic_bytes_per_s),
    CLUSTER("routing of the fabric", routing_efficiency),
    CLUSTER("oversubscription", oversubscription),
    WHAT_IF("failures", failures),
    WHAT_IF("time of a restart", restart),
    CLUSTER("checkpoint storage", storage_write_bytes_per_s),
    {"tokens", OF_TOKENS, 0, false},
    ACCELERATOR("price of an accelerator", price_usd),
    CLUSTER("price of servers", server_usd),
    CLUSTER("price of the network", network_usd),
    SITE("price of the building", capex_usd_per_w),
    SITE("years of use", depreciation_years),
    SITE("upkeep", opex_fraction),
    WHAT_IF("power", power),
    SITE("power usage effectiveness", design_pue),
    INPUT("price of energy", OF_SOURCES, machine_power_source, usd_per_kwh),
};

/* A request of its own, with accelerators of its own, to be changed. */
struct variant {
    struct plan_request r;
    struct machine_accelerator accelerators[MACHINE_MAX_POOLS];
    struct plan_what_if what_if;
};

static void variant_init(struct variant *v, const struct plan_request *r)
{
    v->r = *r;
    v->what_if = (struct plan_what_if){1.0, 1.0, 1.0, 1.0};
    for (int64_t i = 0; i < r->cluster.n_pools; i++) {
        v->accelerators[i] = *r->cluster.pools[i].accelerator;
        v->r.cluster.pools[i].accelerator = &v->accelerators[i];
    }
}

/* Moves the middle of the figure at base + offset to a bound; false where there is no range. */
static bool move(void *base, size_t offset, bool high)
{
    struct figure *f = (struct figure *)(void *)((char *)base + offset);
    struct range x = figure_range(f, range_exact(0.0));
    f->mid = high ? x.high : x.low;
    return x.high > x.low && x.low > 0.0;
}

/* 1 where there is nothing to move. */
static double beside_mid(const struct range *x, bool high)
{
    return x->mid > 0.0 ? (high ? x->high : x->low) / x->mid : 1.0;
}

/* The bounds of the computed factors come from the answer's own ranges. */
static double factor(const struct plan_answer *a, size_t offset, bool high)
{
    const struct range *rate = &a->reliability.failures_per_1000_node_days;
    const struct range *restart = &a->reliability.restart_s;
    if (offset == offsetof(struct plan_what_if, step))
        return (high ? a->step.high_s : a->step.low_s) / a->step.step_s;
    if (offset == offsetof(struct plan_what_if, failures)) return beside_mid(rate, high);
    if (offset == offsetof(struct plan_what_if, restart)) return beside_mid(restart, high);
    return high ? plan_power_band.high : plan_power_band.low;
}

static bool variant_move(struct variant *v, const struct input *in, const struct plan_answer *a,
                         bool high)
{
    bool moved = false;
    double x;
    switch (in->where) {
    case OF_ACCELERATOR:
        for (int64_t i = 0; i < v->r.cluster.n_pools; i++)
            for (int p = 0; p < (in->per_precision ? MACHINE_N_PRECISIONS : 1); p++)
                moved |=
                    move(&v->accelerators[i], in->offset + (size_t)p * sizeof(struct figure), high);
        break;
    case OF_CLUSTER: moved = move(&v->r.cluster, in->offset, high); break;
    case OF_SITE: moved = move(&v->r.site, in->offset, high); break;
    case OF_SOURCES:
        for (int64_t i = 0; i < v->r.site.n_sources; i++)
            moved |= move(&v->r.site.sources[i], in->offset, high);
        break;
    case OF_TOKENS:
        v->r.tokens.mid = high ? a->tokens.high : a->tokens.low;
        moved = a->tokens.high > a->tokens.low;
        break;
    case OF_WHAT_IF:
        x = factor(a, in->offset, high);
        memcpy((char *)&v->what_if + in->offset, &x, sizeof(x));
        moved = true;
        break;
    }
    return moved;
}

struct ranked {
    struct plan_sensitivity s;
    double width; /* of days or of dollars, beside the answer's own; the larger */
};

static double width(const struct plan_sensitivity *s, const struct plan_answer *a)
{
    double days = a->days.mid > 0.0 ? fabs(s->high_days - s->low_days) / a->days.mid : 0.0;
    double usd = a->money.run_usd.mid;
    return fmax(days, usd > 0.0 ? fabs(s->high_usd - s->low_usd) / usd : 0.0);
}

static int widest_first(const void *x, const void *y)
{
    const struct ranked *a = x, *b = y;
    return (a->width < b->width) - (a->width > b->width);
}

void plan_sensitivities(const struct plan_request *r, struct plan_answer *out)
{
    struct ranked all[ARRAY_LEN(INPUTS)];
    struct variant v;
    struct plan_answer answer;
    int n = 0;
    for (size_t i = 0; i < ARRAY_LEN(INPUTS); i++) {
        struct plan_sensitivity s = {.input = INPUTS[i].name};
        bool ranged = false;
        for (int high = 0; high < 2; high++) {
            memset(&answer, 0, sizeof(answer));
            variant_init(&v, r);
            ranged |= variant_move(&v, &INPUTS[i], out, high);
            if (!ranged) break;
            plan_run_evaluate(&v.r, &v.what_if, &answer);
            *(high ? &s.high_days : &s.low_days) = answer.days.mid;
            *(high ? &s.high_usd : &s.low_usd) = answer.money.run_usd.mid;
        }
        double w = width(&s, out);
        if (ranged && w > 1e-4) all[n++] = (struct ranked){s, w};
    }
    qsort(all, (size_t)n, sizeof(all[0]), widest_first);
    out->n_sensitivities = MIN(n, PLAN_MAX_SENSITIVITIES);
    for (int i = 0; i < out->n_sensitivities; i++)
        out->sensitivities[i] = all[i].s;
}
