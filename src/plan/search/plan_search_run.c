/* plan_search_run.c: the layout whose run is best, where failures decide how many accelerators a job
 * is worth.
 *
 * plan_search minimises a step. Where failures take little, its best step is the best run. Beyond
 * that, more accelerators make each step shorter and fewer of the hours count, and a layout for the
 * whole machine is the wrong one for the job that is left of it. So the search is made again for jobs
 * of fewer accelerators: of all sizes of one ladder from the size at which one elastic job is
 * fastest to two fifths of it (a quarter slower, so that cost and energy stop there), and of
 * what these find, list and front, the run that is best by the objective is kept, and of those
 * within one per cent of it the cheapest (by time) or the shortest (by cost and energy). A job is
 * given the fastest kinds first, and as few as its run is as good on. On the ladder the precision
 * and experts' ranks of the whole machine's best layout stand, which makes a rung several times
 * cheaper; at the size that is chosen everything is free again. The ladder's sizes do not depend on
 * the machine's, so a larger machine has the choices of a smaller one. */
#include "plan/search/plan_search_internal.h"

#include <math.h>
#include <string.h>

#define LISTED      8    /* layouts */
#define LITTLE_LOST 0.7  /* goodput above which the whole machine is worth its failures */
#define NEAR        1.01 /* of the best run: among these the cheapest is taken, or the shortest */
#define BELOW       0.4  /* of the size at which one elastic job is fastest: the ladder's end */

/* Powers of two and three halves of them, and those nine eighths above: racks of 72 of which 64 are used. */
static const double RUNGS[] = {1.0, 1.125, 1.265625, 1.5, 1.6875};

struct run_search {
    const struct plan_request *r;
    struct plan_request job; /* the best so far */
    double cost, second;     /* of its run: by the objective, and what decides among near equals */
    double least;            /* cost of any run so far */
    struct plan_search found;
    size_t at; /* of its layout: in the list, or beyond it in the front */
};

static double run_cost(const struct plan_answer *a, int objective)
{
    switch (objective) {
    case PLAN_BY_COST: return a->money.run_usd.mid;
    case PLAN_BY_ENERGY:
    case PLAN_BY_TOKENS_PER_MWH: return a->mwh.mid; /* of the same tokens */
    default: return a->days.mid;
    }
}

static const struct plan_candidate *candidate(const struct plan_search *s, size_t i)
{
    return i < s->n_best ? &s->best[i] : &s->front[i - s->n_best];
}

/* Dollars where time is the objective, else days. */
static double second_cost(const struct plan_answer *a, int objective)
{
    return objective == PLAN_BY_TIME ? a->money.run_usd.mid : a->days.mid;
}

/* Whether a run is better than the best before: by NEAR or more, or nearly as good and better in
 * the second place. */
static bool keep_best_run(struct run_search *x, int64_t part, const struct plan_search *found)
{
    bool better = false;
    struct plan_answer a;
    struct plan_request job = *x->r;
    job.part = part;
    for (size_t i = 0; i < found->n_best + found->n_front; i++) {
        job.layout = candidate(found, i)->layout;
        memset(&a, 0, sizeof a);
        plan_run_evaluate(&job, NULL, &a);
        double cost = run_cost(&a, x->r->objective), second = second_cost(&a, x->r->objective);
        x->least = fmin(x->least, cost);
        bool best_is_near = x->cost <= x->least * NEAR;
        if (!(cost <= x->least * NEAR && (!best_is_near || second < x->second))) continue;
        better = true;
        x->cost = cost;
        x->second = second;
        x->job = job;
        x->found = *found;
        x->at = i;
    }
    return better;
}

static struct plan_search_space space_of(const struct plan_request *r,
                                         const struct machine_cluster *part)
{
    return (struct plan_search_space){.model = &r->model,
                                      .cluster = part,
                                      .batch = &r->batch,
                                      .software = &r->software,
                                      .fixed = &r->layout,
                                      .objective = r->objective,
                                      .n_best = LISTED};
}

/* List and front of the size that was chosen, the layout of the best run first. */
static int search_chosen(struct run_search *x, struct arena *a, struct error *e)
{
    struct plan_search all;
    if (x->job.part > 0) {
        struct plan_candidate before = *candidate(&x->found, x->at);
        const struct machine_cluster c = plan_cluster_part(&x->r->cluster, x->job.part);
        const struct plan_search_space space = space_of(x->r, &c);
        TRY(plan_search(&space, a, &all, e));
        if (!keep_best_run(x, x->job.part, &all)) { /* its place in the new list */
            x->found = all;
            for (x->at = 0; x->at + 1 < all.n_best; x->at++)
                if (!memcmp(&all.best[x->at].layout, &before.layout, sizeof before.layout)) break;
            x->found.best[x->at] = before;
        }
    }
    struct plan_candidate chosen = *candidate(&x->found, x->at);
    struct plan_search *s = &x->found;
    size_t at = 0;
    while (at + 1 < s->n_best && memcmp(&s->best[at].layout, &chosen.layout, sizeof chosen.layout))
        at++;
    memmove(s->best + 1, s->best, at * sizeof *s->best);
    s->best[0] = chosen;
    return 0;
}

static void say_whole(struct run_search *x, const struct plan_candidate *whole, double cost)
{
    static const char *const WHAT[] = {"days", "dollars", "energy", "energy"};
    char layout[160];
    plan_layout_text(&whole->layout, layout, sizeof layout);
    snprintf(x->found.runner_up, sizeof x->found.runner_up,
             "%s on all that the machine has: %.2g %% more %s of the run", layout,
             100 * (cost / x->cost - 1), WHAT[x->r->objective]);
}

/* What is free of the request's layout, as in the best of the whole machine. */
static struct plan_layout narrowed(struct plan_layout l, const struct plan_layout *seed)
{
    if (l.precision < 0) l.precision = seed->precision;
    if (l.ep == 0) l.ep = seed->ep;
    return l;
}

static void try_smaller(struct run_search *x, double most, const struct plan_layout *seed,
                        struct arena *a)
{
    int64_t all = machine_cluster_accelerators(&x->r->cluster);
    struct plan_request narrow = *x->r;
    narrow.layout = narrowed(narrow.layout, seed);
    for (double octave = exp2(floor(log2(BELOW * most))); octave <= most; octave *= 2)
        for (size_t i = 0; i < ARRAY_LEN(RUNGS); i++) {
            struct plan_search found;
            struct error unused = {0};
            int64_t part = llround(octave * RUNGS[i]);
            if ((double)part < BELOW * most || (double)part > most || part >= all) continue;
            const struct machine_cluster c = plan_cluster_part(&x->r->cluster, part);
            struct plan_search_space space = space_of(&narrow, &c);
            space.listed_only = true;
            if (plan_search(&space, a, &found, &unused) == 0) keep_best_run(x, part, &found);
        }
}

/* The fewest accelerators on which the run is as good: what is idle beside the job is not its own. Fewer
 * hold it worse, across racks or on a slower kind. */
static void fit_part(struct run_search *x)
{
    int64_t high = x->job.part, low = candidate(&x->found, x->at)->step.used;
    if (high <= 0) high = machine_cluster_accelerators(&x->r->cluster);
    while (low < high) {
        struct plan_request job = x->job;
        struct plan_answer a = {0};
        job.part = low + (high - low) / 2;
        struct machine_cluster c = plan_cluster_part(&x->r->cluster, job.part);
        bool holds = plan_place_room(&c, &job.layout, true) >= job.layout.dp;
        if (holds) plan_run_evaluate(&job, NULL, &a);
        if (holds && run_cost(&a, x->r->objective) <= x->cost * (1 + 1e-3)) {
            high = job.part;
            x->job.part = high;
        } else {
            low = job.part + 1;
        }
    }
    struct plan_answer a = {0};
    plan_run_evaluate(&x->job, NULL, &a);
    x->cost = run_cost(&a, x->r->objective);
}

int plan_search_run(struct plan_request *chosen, struct arena *a, struct plan_search *out,
                    struct error *e)
{
    struct run_search x = {.r = chosen, .cost = INFINITY, .least = INFINITY};
    struct plan_request first = *chosen;
    struct plan_answer whole = {0};
    const struct plan_search_space space = space_of(chosen, &chosen->cluster);
    TRY(plan_search(&space, a, out, e));
    CHECK(out->n_best > 0);
    first.layout = out->best[0].layout;
    plan_run_evaluate(&first, NULL, &whole);
    const struct plan_reliability *rel = &whole.reliability;
    double kept = plan_goodput(rel).mid;
    if (kept >= LITTLE_LOST) {
        chosen->layout = first.layout;
        return 0;
    }
    keep_best_run(&x, 0, out);
    try_smaller(&x, (double)rel->job_accelerators, &first.layout, a);
    if (!(x.cost < INFINITY))
        x.job = first;
    else {
        struct plan_candidate best = out->best[0];
        TRY(search_chosen(&x, a, e));
        x.at = 0;
        fit_part(&x);
        if (x.job.part > 0) say_whole(&x, &best, run_cost(&whole, chosen->objective));
        *out = x.found;
    }
    *chosen = x.job;
    return 0;
}
