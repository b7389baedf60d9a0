/* bench_plan_presets.c: how long each plan of the presets takes from file to answer.
 *
 *   build/gcc/bench/bench_plan_presets [presets/plans]
 *
 * Every plan is read and answered five times; the median and the worst are shown. The bar is one
 * second; it is not asserted, because a busy machine would fail it. */
#include "plan/plan.h"

#include <stdlib.h>

#define REPEATS 5

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds from file to answer, or negative with a message. */
static double answer_once(const char *path, uint64_t *tried)
{
    struct arena a;
    struct plan_request r;
    struct plan_answer x;
    struct error e = {0};
    double begin = time_now_s();
    arena_init(&a);
    int rc = plan_load(path, &a, &r, &e);
    if (rc >= 0) rc = plan_solve(&r, &a, &x, &e);
    double took = time_now_s() - begin;
    *tried = rc >= 0 ? x.search.tried : 0;
    arena_fini(&a);
    if (rc >= 0) return took;
    fprintf(stderr, "%s\n", e.text);
    return -1;
}

static int measure(const char *path, struct table *t)
{
    double s[REPEATS];
    uint64_t tried = 0;
    char median[32], worst[32], layouts[32];
    for (int i = 0; i < REPEATS; i++)
        if ((s[i] = answer_once(path, &tried)) < 0) return -1;
    qsort(s, REPEATS, sizeof(s[0]), compare);
    snprintf(layouts, sizeof(layouts), "%llu", (unsigned long long)tried);
    table_row(t, file_base_name(path), format_duration(median, s[REPEATS / 2]),
              format_duration(worst, s[REPEATS - 1]), layouts);
    return 0;
}

int main(int argc, char **argv)
{
    static const char *const heads[] = {"plan", "median", "worst", "layouts"};
    const char *dir = argc > 1 ? argv[1] : "presets/plans";
    struct table *t = table_new(heads, ARRAY_LEN(heads), "lrrr");
    struct arena a;
    struct error e = {0};
    char **names;
    size_t n;
    int rc;
    arena_init(&a);
    rc = file_list_dir(dir, &a, &names, &n, &e);
    if (rc < 0) fprintf(stderr, "%s\n", e.text);
    for (size_t i = 0; rc >= 0 && i < n; i++)
        rc = measure(file_join(&a, dir, names[i]), t);
    if (rc >= 0) table_print(t, stdout);
    table_free(t);
    arena_fini(&a);
    return rc < 0;
}
