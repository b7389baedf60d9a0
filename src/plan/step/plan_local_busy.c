/* plan_local_busy.c: whether the machine was quiet while it was measured.
 *
 * Three signs, each told by itself: what other processes ran on its processors (/proc/stat, less what
 * this process used), what a hypervisor gave to other machines (steal time there), and how far the
 * repeats of an operation lie apart. A plan from such a measurement is that of a busy machine. */
#include "plan/step/plan_local_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define OTHERS_SHARE 0.1 /* of the processors: beyond it others are told of */
#define STOLEN_SHARE 0.02
#define SPREAD       0.15 /* of the repeats */

/* "cpu  user nice system idle iowait irq softirq steal ...": ticks. */
static void read_ticks(struct plan_busy *b)
{
    enum { IDLE = 3, IO_WAIT = 4, STEAL = 7, N = 8 };
    struct error ignored = {0};
    char *text;
    size_t size;
    if (file_read("/proc/stat", 1 << 20, &text, &size, &ignored) < 0) return;
    char *p = text + strcspn(text, " ");
    for (int i = 0; i < N; i++) {
        double ticks = strtod(p, &p);
        b->all += ticks;
        if (i == IDLE || i == IO_WAIT) b->idle += ticks;
        if (i == STEAL) b->stolen += ticks;
    }
    mem_free(text);
}

static double own_seconds(void)
{
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) < 0) return 0;
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

void plan_busy_begin(struct plan_busy *b)
{
    double load[1] = {0};
    *b = (struct plan_busy){.hz = (double)sysconf(_SC_CLK_TCK)};
    if (getloadavg(load, 1) == 1) b->load = load[0];
    b->own_s = own_seconds();
    read_ticks(b);
}

void plan_busy_end(const struct plan_busy *b, const struct compute_machine *machines, size_t n)
{
    struct plan_busy now;
    double spread = 0;
    plan_busy_begin(&now);
    double all = now.all - b->all, stolen = now.stolen - b->stolen;
    double ours = (now.own_s - b->own_s) * b->hz;
    double others = all - (now.idle - b->idle) - stolen - ours;
    for (size_t i = 0; i < n; i++)
        spread = MAX(spread, machines[i].spread);
    if (all > 0 && others > OTHERS_SHARE * all)
        log_warn("the machine was busy: others used %.0f %% of its processors meanwhile (load "
                 "average %.1f before); measure again when it is quiet",
                 100 * others / all, b->load);
    if (all > 0 && stolen > STOLEN_SHARE * all)
        log_warn("other virtual machines took %.0f %% of the processors' time meanwhile (steal "
                 "time)",
                 100 * stolen / all);
    if (spread > SPREAD)
        log_warn("the repeats of an operation differ by %.0f %%: plans are good to about that",
                 100 * spread);
}
