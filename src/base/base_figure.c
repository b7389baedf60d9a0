/* base_figure.c: low / mid / high, and how they combine.
 *
 * A range is a band of about 80 % around a middle value. Inputs come from different sources and
 * are taken as independent, so the band of a product is the root of the sum of squares of the
 * factors' logarithms, side by side: adding worst cases up would give a band that no run is ever
 * outside of, and that says nothing. */
#include "base/base.h"

#include <math.h>

double figure_mid(const struct figure *f, double fallback)
{
    return f->grade || f->mid != 0.0 ? f->mid : fallback;
}

/* A figure may come with a middle only, or with bounds that a careless file put the wrong way
 * round; the result is always ordered. */
struct range figure_range(const struct figure *f, struct range fallback)
{
    if (!f->grade && f->mid == 0.0) return fallback;
    bool ranged = f->low != 0.0 || f->high != 0.0;
    double lo = ranged ? MIN(f->low, f->high) : f->mid, hi = ranged ? MAX(f->low, f->high) : f->mid;
    return (struct range){MIN(lo, f->mid), f->mid, MAX(hi, f->mid)};
}

struct range range_exact(double x)
{
    return (struct range){x, x, x};
}

/* Logarithm of the distance from middle to bound; a bound of nought is taken as a thousandth. */
static double spread(double from, double to)
{
    if (from <= 0.0) return 0.0;
    return log(fmax(to, from * 1e-3) / from);
}

static struct range around(double mid, double down, double up)
{
    double low = mid * exp(-down), high = mid * exp(up);
    return (struct range){low, mid, high};
}

struct range range_mul(struct range a, struct range b)
{
    return around(a.mid * b.mid, hypot(spread(a.mid, a.low), spread(b.mid, b.low)),
                  hypot(spread(a.mid, a.high), spread(b.mid, b.high)));
}

struct range range_div(struct range a, struct range b)
{
    if (b.mid == 0.0) return range_exact(0.0);
    return around(a.mid / b.mid, hypot(spread(a.mid, a.low), spread(b.mid, b.high)),
                  hypot(spread(a.mid, a.high), spread(b.mid, b.low)));
}

struct range range_add(struct range a, struct range b)
{
    double mid = a.mid + b.mid;
    return (struct range){mid - hypot(a.mid - a.low, b.mid - b.low), mid,
                          mid + hypot(a.high - a.mid, b.high - b.mid)};
}

struct range range_sum(struct range a, struct range b)
{
    return (struct range){a.low + b.low, a.mid + b.mid, a.high + b.high};
}

struct range range_scale(struct range a, double x)
{
    return (struct range){a.low * x, a.mid * x, a.high * x};
}
