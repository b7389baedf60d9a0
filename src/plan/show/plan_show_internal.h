/* plan_show_internal.h: what the pages of an answer share: how a quantity is written
 * (plan_format.c), what is told of an answer, as lists and as sentences (plan_tell.c), and the
 * pictures (plan_svg.c, plan_svg_timeline.c). The terminal (plan_page.c), HTML (plan_html.c), JSON
 * (plan_json.c) and the comparison (plan_compare.c) only arrange it. */
#ifndef COLOSSUS_PLAN_SHOW_INTERNAL_H
#define COLOSSUS_PLAN_SHOW_INTERNAL_H

#include "plan/run/plan_run_internal.h"

/* ------------------------------------------------------------------ quantities (plan_format.c) */

/* Into buf, which is returned: how a person writes it. */
typedef char *plan_format(char buf[32], double x);
char *plan_format_usd(char buf[32], double usd);       /* "$72.3 million" */
char *plan_format_whole(char buf[32], double x);       /* "1,234" */
char *plan_format_words(char buf[32], double x);       /* "72.3 million" */
char *plan_format_days(char buf[32], double days);     /* "13.5 days" */
char *plan_format_percent(char buf[32], double share); /* "41.2 %" */
char *plan_format_watts(char buf[32], double w);       /* "110 MW" */
char *plan_format_mwh(char buf[32], double mwh);       /* "36.2 GWh" */
char *plan_format_tonnes(char buf[32], double t);      /* "9,104 t", "83 kg" */
char *plan_format_litres(char buf[32], double l);      /* "72.0 million L" */

/* ------------------------------------------------------------------ lists (plan_tell.c) */

/* One quantity: its name on every page, its key in JSON and sweeps, and how it is written. */
struct plan_told {
    const char *name; /* "days" */
    const char *key;  /* "days", "run_usd"; NULL: of no single key */
    struct range value;
    plan_format *format;
    bool less_is_better, more_is_better; /* neither: no judgement */
};
#define PLAN_MAX_TOLD 24
struct plan_list {
    struct plan_told told[PLAN_MAX_TOLD];
    size_t n;
};
struct plan_list plan_tell(const struct plan_answer *a); /* with low, mid and high */
/* Parts of a whole, each exact or by its middle. */
struct plan_list plan_tell_step(const struct plan_step *s);           /* where its time goes */
struct plan_list plan_tell_memory(const struct plan_memory *m);       /* of the fullest */
struct plan_list plan_tell_draw(const struct plan_power *p);          /* what draws power */
struct plan_list plan_tell_supply(const struct plan_answer *a);       /* what feeds it */
struct plan_list plan_tell_machine_costs(const struct plan_money *m); /* to buy */
struct plan_list plan_tell_run_costs(const struct plan_money *m);     /* of the run */
/* Whether there is something to tell: not 0, and finite. */
bool plan_is_known(double x);
/* low and high as written, "" where the value is exact; mid. */
void plan_told_write(const struct plan_told *t, char low[32], char mid[32], char high[32]);
/* The quantity of this key, which must be one of the list's. */
const struct plan_told *plan_list_find(const struct plan_list *l, const char *key);

/* ------------------------------------------------------------------ sentences (plan_tell.c) */

/* Each writes into buf, and "" where there is nothing to say. */
/* "405 B parameters, 126 layers of 16384, ..." */
void plan_describe_model(const struct model_config *m, char *buf, size_t size);
void plan_describe_cluster(const struct machine_cluster *c, char *buf, size_t size);
/* "uses 98,304 of 110,592 accelerators, 64 of each domain of 72"; "" where all are used as they lie. */
void plan_describe_use(const struct machine_cluster *c, const struct plan_layout *l, char *buf,
                       size_t size);
/* "megatron of 2024.5"; of this program what its operations were taken from. */
void plan_describe_software(const struct plan_software *s, char *buf, size_t size);
/* What the run that the plan is of has measured, and how far the plan is from it. Not of a plan whose
 * inputs were changed. */
void plan_describe_measured(const struct plan_answer *a, char *buf, size_t size);
/* Where memory is nearly full, and what is left free. */
void plan_describe_headroom(const struct plan_answer *a, char *buf, size_t size);
/* What is written above a page: the title, or what the plan is made of. */
void plan_describe_title(const struct plan_request *r, char *buf, size_t size);
/* "tokens: $7.40 million to $414 million, 1.58 days to 88.3 days": one input at its low and high. */
void plan_describe_sensitivity(const struct plan_sensitivity *s, char *buf, size_t size);
/* ", 1.58 days to 88.3 days", or "" where the input does not move them. */
void plan_describe_sensitivity_days(const struct plan_sensitivity *s, char *buf, size_t size);
/* "batteries of 20 MW and 5 kWh would take it up". */
void plan_describe_batteries(const struct machine_swing *s, char *buf, size_t size);
/* Failures, checkpoints, the size of the job and its spares, a sentence a line. The first has its
 * subject in front of it: "one", "a failure". Returns the lines; 0: it does not fail. */
#define PLAN_FAILURE_LINES 4
size_t plan_describe_failures(const struct plan_answer *a, char lines[PLAN_FAILURE_LINES][512]);
/* Appends, as printf, to what buf holds. */
void plan_add_text(char *buf, size_t size, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* ------------------------------------------------------------------ JSON (plan_json.c) */

json_t *plan_json_real(double x);         /* null where it is not finite */
json_t *plan_json_text(const char *text); /* NULL: ""; what is not UTF-8 says so */

/* Share of the memory above which a page warns. */
#define PLAN_NEARLY_FULL 0.95
/* Swings below this no utility notices: a desk's. */
#define PLAN_SWING_SHOWN_W 1e4

/* ------------------------------------------------------------------ pictures
 * Each appends one <svg> element that stands in a page with svg_style. */

#define PLAN_SVG_WIDTH 900
/* One bar cut into the parts of a list, with a legend (plan_svg.c); `limit` is marked where it is not
 * 0. Nothing where the parts sum to 0. */
void plan_svg_bar(const struct plan_list *parts, double limit, const char *limit_name,
                  struct str *out);
/* The cost of the run with each input at its low and at its high (plan_svg.c). */
void plan_svg_sensitivities(const struct plan_answer *a, struct str *out);
/* One step over the stages of a pipeline (plan_svg_timeline.c). Returns the picture's height. */
double plan_svg_timeline(const struct plan_step *step, const struct plan_layout *l,
                         struct str *out);

#endif
