/* bench_site.c: what living through ninety days costs: the preset colossus-2-1m, whose bars are one
 * second of one core, 40 s for 64 seeds and 256 MB; and the same kind of site with 10^4, 10^5 and 10^6
 * accelerators, whose cost goes with its events.
 *
 *     build/gcc/bench/bench_site [SEEDS]
 */
#include "site/site.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double memory_mb(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)r.ru_maxrss / 1024.0;
}

/* The best of three: others use the machine, too. */
static void measure(const char *what, const struct site_scenario *s)
{
    struct site_result *r = mem_alloc(sizeof(*r));
    double best = INFINITY;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct error e;
        const struct site_run_options o = {.seed = seed};
        double began = cpu_s();
        CHECK(site_run(s, &o, r, &e) >= 0);
        best = fmin(best, cpu_s() - began);
    }
    printf("%-28s %8.0f failures %9.0f events %7.3f s of CPU %6.0f ns an event %6.1f MB\n", what,
           r->failures, r->events, best, 1e9 * best / r->events, memory_mb());
    mem_free(r);
}

static struct site_scenario *of_size(int64_t n, struct arena *a)
{
    struct error e = {0};
    struct yaml_node *root;
    struct site_scenario *s = arena_alloc(a, sizeof(*s));
    const struct yaml_reader r = {"bench.yaml", a, &e, 0};
    const char *text = arena_printf(
        a,
        "cluster: %lld x gb200\nsite: colossus-2\ngas: [{name: t, units: 40, unit_w: %lld W}]\n"
        "battery: {power_w: %lld W, energy_wh: %lld Wh}\ngrid: {contract_w: %lld W}\n"
        "failures: {unit: 4}\ncooling: {weather: memphis-tmy3}\n"
        "jobs: [{name: j, accelerators: %lld, low: 1 s, elastic_min: 50 %%, group: 360}]\n",
        (long long)n, (long long)n * 60, (long long)n * 1000, (long long)n * 2500,
        (long long)n * 150, (long long)(n - n / 50));
    if (yaml_parse(text, strlen(text), r.path, a, &root, &e) < 0 || site_read_root(&r, root, s) < 0)
        CHECK_MSG(false, "%s", e.text);
    return s;
}

int main(int argc, char **argv)
{
    struct arena a;
    struct error e = {0};
    struct site_seeds x;
    size_t n = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 64;
    const struct site_run_options o = {.seed = 1, .every_seed = true};
    arena_init(&a);
    struct site_scenario *s = arena_alloc(&a, sizeof(*s));
    if (site_load("colossus-2-1m", &a, s, &e) < 0) CHECK_MSG(false, "%s", e.text);
    measure("colossus-2-1m, 90 days", s);
    measure("10,000 accelerators", of_size(10000, &a));
    measure("100,000", of_size(100000, &a));
    measure("1,000,000", of_size(1000000, &a));
    double began = time_now_s(), cpu = cpu_s();
    CHECK(site_run_seeds(s, &o, n, &a, &x, &e) >= 0);
    printf("%zu seeds of colossus-2-1m: %.1f s, %.1f s of CPU; %.1f MB\n", x.n,
           time_now_s() - began, cpu_s() - cpu, memory_mb());
    arena_fini(&a);
    return 0;
}
