/* plan_pages_internal.h: what the pages share: how a quantity is written, and the pictures. */
#ifndef COLOSSUS_PLAN_PAGES_INTERNAL_H
#define COLOSSUS_PLAN_PAGES_INTERNAL_H

#include "plan/read/plan_read_internal.h"
#include "plan/run/plan_run_internal.h"

/* ------------------------------------------------------------------ quantities (plan_format.c) */

/* Into buf, which is returned: how a person writes it. "$72.3 million", "1,234", "41.2 %". */
char *plan_format_usd(char buf[32], double usd);
char *plan_format_whole(char buf[32], double x); /* thousands set apart by commas */
char *plan_format_days(char buf[32], double days);
char *plan_format_percent(char buf[32], double share);
char *plan_format_watts(char buf[32], double w);
char *plan_format_sensitivity(char *buf, size_t size, const struct plan_sensitivity *s);

/* What is told of an answer with low, mid and high, in the order of the page. The terminal, the
 * comparison, the HTML page and the sweeps all read this one list. */
struct plan_told {
    const char *name; /* "days" */
    const char *key;  /* "days", "run_usd": for sweeps and JSON */
    struct range value;
    char *(*format)(char buf[32], double x);
    bool less_is_better, more_is_better; /* neither: no judgement */
};
#define PLAN_MAX_TOLD 24
size_t plan_tell(const struct plan_answer *a, struct plan_told told[PLAN_MAX_TOLD]);

/* "405 B parameters, 126 layers of 16384, ..." */
void plan_describe_model(const struct model_config *m, char *buf, size_t size);
void plan_describe_cluster(const struct machine_cluster *c, char *buf, size_t size);
/* "uses 98,304 of 110,592 accelerators, 64 of each domain of 72"; "" where all are used as they lie. */
void plan_describe_use(const struct machine_cluster *c, const struct plan_layout *l, char *buf,
                       size_t size);
/* Failures, checkpoints, the size of the job and its spares, a sentence a line. */
#define PLAN_FAILURE_LINES 4
size_t plan_describe_failures(const struct plan_answer *a, char lines[PLAN_FAILURE_LINES][512]);
/* Watts that no utility notices: a desk's. */
#define PLAN_SWING_SHOWN_W 1e4
/* What is written above a page: the title, or what the plan is made of. */
void plan_describe_title(const struct plan_request *r, char *buf, size_t size);

/* ------------------------------------------------------------------ pictures (plan_svg*.c)
 * Each appends one <svg> element that stands alone in a page, coloured by its classes (plan_html.c)
 */
#define PLAN_SVG_WIDTH 900
void plan_svg_escape(struct str *out, const char *text);
/* Axes, grid and ticks from round numbers, lines or points. */
struct plan_svg_series {
    const char *name;
    const double *x, *y;
    const char *const *labels; /* of points, shown when pointed at; or NULL */
    size_t count;
    int style; /* enum plan_svg_style */
};
enum plan_svg_style { PLAN_SVG_LINE, PLAN_SVG_POINTS, PLAN_SVG_BARS };
struct plan_svg_plot {
    const char *title, *x_label, *y_label;
    const char *const *x_names; /* of bars: count of the first series; or NULL */
    const struct plan_svg_series *series;
    size_t n_series;
    bool from_zero, log_x, log_y;
    int height;
};
void plan_svg_plot(const struct plan_svg_plot *p, struct str *out);
/* One bar cut into named pieces, with a legend; `limit` is marked where it is not 0. */
struct plan_svg_piece {
    const char *name;
    double value;
};
void plan_svg_bar(const struct plan_svg_piece *pieces, size_t count, double limit,
                  const char *limit_name, char *(*format)(char buf[32], double x), struct str *out);
/* One step over the stages of a pipeline. */
void plan_svg_timeline(const struct plan_step *step, const struct plan_layout *l, struct str *out);
/* Colours of the classes, light and dark: for <style> of a page or of one standing picture. */
extern const char plan_svg_style[];

#endif
