/* feed_signals_show.c: signals against price, as a picture: of each symbol its close, how much was
 * said, and in which tone, over time. */
#include "feed/signals/feed_signals_internal.h"

#define PANELS 3
#define SMOOTH 10 /* days of a mean, before and up to each */

static double *smooth(struct arena *a, const struct feed_signal_result *r, size_t f)
{
    double *out = arena_alloc(a, (r->n_points + 1) * sizeof(*out));
    for (size_t i = 0; i < r->n_points; i++) {
        size_t from = i + 1 > SMOOTH ? i + 1 - SMOOTH : 0;
        for (size_t k = from; k <= i; k++)
            out[i] += r->points[k].x[f] / (double)(i + 1 - from);
    }
    return out;
}

int feed_signals_svg(const struct feed_signals *x, const char *path, struct error *e)
{
    struct arena a = {0};
    const size_t n = x->n * PANELS;
    struct plot *plots = arena_alloc(&a, (n + 1) * sizeof(*plots));
    struct plot_series *series = arena_alloc(&a, (n + 1) * sizeof(*series));
    for (size_t i = 0; i < x->n; i++) {
        const struct feed_signal_result *r = &x->results[i];
        double *years = arena_alloc(&a, (r->n_points + 1) * sizeof(*years));
        double *close = arena_alloc(&a, (r->n_points + 1) * sizeof(*close));
        for (size_t k = 0; k < r->n_points; k++) {
            years[k] = 1970 + (double)r->points[k].cut_ms / (365.2425 * 86400000);
            close[k] = r->points[k].close;
        }
        const struct {
            const char *name;
            const double *y;
        } rows[PANELS] = {{"close", close},
                          {"volume of posts beside the twenty days before", NULL},
                          {"sentiment", NULL}};
        const size_t f[PANELS] = {0, FEED_SIGNAL_VOLUME, FEED_SIGNAL_SENTIMENT};
        for (size_t k = 0; k < PANELS; k++) {
            struct plot_series *s = &series[i * PANELS + k];
            *s = (struct plot_series){.name = rows[k].name,
                                      .x = years,
                                      .y = rows[k].y ? rows[k].y : smooth(&a, r, f[k]),
                                      .count = r->n_points};
            plots[i * PANELS + k] =
                (struct plot){.title = arena_printf(&a, "%s: %s%s", r->symbol, rows[k].name,
                                                    k ? ", mean of ten days" : ""),
                              .x_label = "year",
                              .y_label = k == 0 ? "price" : "",
                              .series = s,
                              .n_series = 1};
        }
    }
    int rc = plot_write_svg_panels(plots, n, 900, 190, path, e);
    arena_fini(&a);
    return rc;
}
