/* machine_elastic.c: a job whose replica groups leave and return singly.
 *
 * Where failures come faster than restarts, a synchronous job makes no progress; replicas that
 * leave and return singly do (HSDP with fault tolerance, arXiv:2602.00277). Of a job of n of the
 * machine's N accelerators all wait S(n) after each failure among them, and again where another
 * falls into it: exp(-S n / (M N)) is left of the time, with M the time between failures of the
 * whole machine. Its speed, n times that, has a top: where failures come faster than the stall,
 * more accelerators make a job slower. */
#include "machine/machine_internal.h"

#include <math.h>

#define STALL_OF_RESTART 0.2  /* 3 of 15 min at 98K */
#define STALL_KNOWN      98e3 /* accelerators at which the stall was measured */
#define GROUPS           64   /* replica groups that a job is split into */

/* One corner of what is known. */
struct corner {
    double machine, mtbf_s;         /* N, M */
    double known_s, beyond, lost_s; /* S up to STALL_KNOWN; how it grows; what is done again */
};

/* Beyond the size where it was measured the stall is taken to grow with the depth of the tree that
 * agrees on who is left; as its high, in proportion to the job. */
static double stall_s(const struct corner *x, double n)
{
    double grown = n / STALL_KNOWN;
    if (grown > 1.0 && x->beyond < 1.0) grown = log2(n) / log2(STALL_KNOWN);
    return x->known_s * fmax(grown, 1.0) + x->lost_s;
}

static double speed(const struct corner *x, double n)
{
    return n * exp(-stall_s(x, n) * n / (x->mtbf_s * x->machine));
}

/* The fastest job of at most so many: one top, by ternary search. */
static double fastest(const struct corner *x, double most)
{
    double low = 1.0, high = most;
    for (int i = 0; i < 64 && high - low > 0.5; i++) {
        double a = low + (high - low) / 3.0, b = high - (high - low) / 3.0;
        if (speed(x, a) < speed(x, b))
            low = a;
        else
            high = b;
    }
    return speed(x, most) >= speed(x, low) ? most : low;
}

/* What a job of `job` keeps of its time, smaller where that is faster (an owner can shrink a job
 * that fails more than was thought), less the groups that are away. */
static double kept(const struct corner *x, double job, double group, double group_s)
{
    double most = speed(x, fastest(x, job));
    return most / job * fmax(0.0, 1.0 - group * group_s / (x->machine * x->mtbf_s));
}

static double known_stall_s(const struct machine_elastic *x)
{
    int64_t known = (int64_t)fmin(x->accelerators, STALL_KNOWN);
    return x->restart_factor * STALL_OF_RESTART * machine_restart_s(known).mid;
}

double machine_elastic_stall_s(double accelerators)
{
    const struct machine_elastic x = {.accelerators = accelerators, .restart_factor = 1.0};
    const struct corner mid = {accelerators, 1.0, known_stall_s(&x), 0.0, 0.0};
    return stall_s(&mid, accelerators);
}

int64_t machine_elastic_group(int64_t unit, int64_t n)
{
    int64_t want = (n + GROUPS - 1) / GROUPS;
    return MIN(n, (want + unit - 1) / unit * unit);
}

double machine_elastic_size(const struct machine_elastic *x)
{
    const struct corner mid = {x->accelerators, x->mtbf_s.mid, known_stall_s(x), 0.0, x->lost_s};
    return fastest(&mid, x->accelerators);
}

struct range machine_elastic_goodput(const struct machine_elastic *x, int64_t job, int64_t group)
{
    double N = x->accelerators, stall = known_stall_s(x), lost = x->lost_s;
    const struct corner bad = {N, x->mtbf_s.low, N > STALL_KNOWN ? stall : 1.5 * stall, 1.0, lost};
    const struct corner mid = {N, x->mtbf_s.mid, stall, 0.0, lost};
    const struct corner good = {N, x->mtbf_s.high, stall / 3.0, 0.0, lost};
    struct range away = range_mul(machine_restart_s(group), range_exact(x->restart_factor));
    double n = (double)job, g = (double)group;
    return (struct range){kept(&bad, n, g, away.high), kept(&mid, n, g, away.mid),
                          kept(&good, n, g, away.low)};
}
