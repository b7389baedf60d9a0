/* site_ramp.c: how often the grid's draw changes faster than the contract allows, over any 60 seconds:
 * not by samples, but by the difference of the draw and of itself a minute before, which is linear
 * between the bends of both. Of more than 512 bends within a minute the oldest are forgotten. */
#include "site/run/site_run_internal.h"

#define WINDOW (60 * SITE_SECOND)

static const struct site_ramp_point *point(const struct site_state *st, int i)
{
    return &st->ramp[(st->ramp_first + i) % SITE_RING];
}

static void add_point(struct site_state *st, site_us at, double w)
{
    const struct site_ramp_point *last = st->ramp_n ? point(st, st->ramp_n - 1) : NULL;
    if (last && last->at == at && last->w == w) return;
    if (st->ramp_n == SITE_RING) {
        st->ramp_first = (st->ramp_first + 1) % SITE_RING;
        st->ramp_n--;
    }
    st->ramp[(st->ramp_first + st->ramp_n++) % SITE_RING] = (struct site_ramp_point){at, w};
}

/* The draw just behind (`after`) or just before a moment of the past. */
static double past(const struct site_state *st, site_us at, bool after)
{
    int i = 0;
    while (i < st->ramp_n && (after ? point(st, i)->at <= at : point(st, i)->at < at))
        i++;
    if (i == 0) return point(st, 0)->w;
    const struct site_ramp_point *a = point(st, i - 1);
    if (i == st->ramp_n) return a->w;
    const struct site_ramp_point *b = point(st, i);
    if (b->at == a->at) return a->w;
    return a->w + (b->w - a->w) * (double)(at - a->at) / (double)(b->at - a->at);
}

/* A stretch in which the difference goes from g0 to g1. */
static void stretch(struct site_sim *x, double g0, double g1, double seconds)
{
    struct site_state *st = x->st;
    double most = x->s->grid.ramp_limit_w_per_s * site_seconds(WINDOW) * (1.0 + 1e-9);
    double a = fabs(g0), b = fabs(g1), over = 0.0;
    bool crosses = g0 * g1 < 0.0; /* through 0: both ends may be beyond */
    if (crosses) {
        double span = a + b;
        over = (fmax(a - most, 0.0) + fmax(b - most, 0.0)) / span;
    } else if (a > most && b > most) {
        over = 1.0;
    } else if (fmax(a, b) > most) {
        over = (fmax(a, b) - most) / fabs(a - b);
    }
    st->r.ramp_s += over * seconds;
    if (!st->in_ramp && over > 0.0) st->r.ramps++;
    st->in_ramp = b > most;
}

void site_ramp_segment(struct site_sim *x, site_us from, site_us to, double w, double slope)
{
    struct site_state *st = x->st;
    if (x->s->grid.ramp_limit_w_per_s <= 0.0) return;
    add_point(st, from, w);
    site_us at = from;
    while (at < to) {
        site_us next = to;
        for (int i = 0; i < st->ramp_n; i++) {
            site_us bend = point(st, i)->at + WINDOW;
            if (bend > at && bend < next) next = bend;
        }
        double here = w + slope * site_seconds(at - from),
               there = w + slope * site_seconds(next - from);
        double g0 = here - past(st, at - WINDOW, true), g1 = there - past(st, next - WINDOW, false);
        stretch(x, g0, g1, site_seconds(next - at));
        at = next;
    }
    add_point(st, to, w + slope * site_seconds(to - from));
    while (st->ramp_n > 2 && point(st, 1)->at < to - WINDOW) {
        st->ramp_first = (st->ramp_first + 1) % SITE_RING;
        st->ramp_n--;
    }
}
