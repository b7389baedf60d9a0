/* plan_validate_internal.h: what the files of `plan validate` share: the table of published runs
 * (plan_validate_rows.c, plan_validate_source.c, plan_assume.c), the constants that were fitted
 * without a source (plan_left_out.c), predictions beside what was measured (plan_validate.c), the
 * arithmetic of errors and of the two baselines (plan_validate_stats.c), and how they are shown
 * (plan_validate_print.c). tools/fit-plan reads the table through this header, too. */
#ifndef COLOSSUS_PLAN_VALIDATE_INTERNAL_H
#define COLOSSUS_PLAN_VALIDATE_INTERNAL_H

#include "plan/step/plan_step_internal.h"

/* ------------------------------------------------------------------ rows (plan_validate_rows.c) */

/* One published measurement, ready to predict. skip says why it cannot be, or is NULL: then model,
 * layout (checked), batch, cluster and software are complete. */
struct plan_row {
    int line; /* of the CSV */
    int64_t id;
    char tier; /* 'A': the full model and layout are known; 'B': in part; 'C': an aggregate */
    bool
        mismatch; /* the source's FLOP rate contradicts the time that it states: the counter, not the
                    * clock */
    const char *source, *family; /* family: releases of one source together ("Megatron-Bridge") */
    const char *model_name, *gpu, *precision;
    const char *skip; /* for people; code asks only whether there is a reason */
    const char *bad,
        *cure;           /* line, column and reason of what could not be read, and an example; NULL:
                             * all of it could */
    const char *assumed; /* for people: what the row leaves out and which rule filled it, or "" */
    bool recompute_assumed; /* the row does not say what is computed again */
    int64_t n_gpus;
    struct model_config model;
    struct plan_layout layout;
    struct plan_batch batch;
    struct plan_software software;
    struct machine_accelerator accelerator;
    struct machine_cluster cluster; /* one pool: n_gpus of accelerator (points into this row) */
    double step_s;                  /* measured; 0: not stated */
    double memory_bytes;            /* measured peak; 0: not stated */
};
enum plan_rows_flags {
    PLAN_ROWS_LENIENT = 1, /* rows with a cell that cannot be read are left out */
    PLAN_ROWS_FREE = 2     /* of a layout, what a row does not say is left open: 0, or -1 */
};
struct plan_rows {
    struct plan_row *row; /* [count]; they must stay where they are: cluster points into its row */
    size_t count;
    unsigned flags; /* enum plan_rows_flags */
    size_t n_bad;   /* rows that were left out for a cell that cannot be read: bad says which */
};
/* All rows of a table in the columns of docs/reference/validation-rows.md, in *a. path NULL: the
 * table that travels with the program. ERROR_CONFIG names file, line and column of what cannot be
 * read. */
int plan_rows_load(const char *path, unsigned flags, struct arena *a, struct plan_rows *out,
                   struct error *e);
/* The same from memory, not lenient; path is for messages and for finding descriptions. */
int plan_rows_parse(const char *text, size_t size, const char *path, struct arena *a,
                    struct plan_rows *out, struct error *e);
/* The path of a table that travels with the program; NULL: not found, and the hint ends with what else
 * helps. In *a. */
const char *validate_find_table(const char *name, const char *else_do, struct arena *a,
                                struct error *e);
/* Fills what a published row leaves out, by the rules at the head of plan_assume.c: micro_batch,
 * global_batch, etp and vp of 0, recompute of -1. */
void plan_layout_assume(const struct model_config *m, const struct machine_accelerator *a,
                        const struct plan_software *s, struct plan_batch *b, struct plan_layout *l);

/* ------------------------------------------------------------------ sources of rows
 * (plan_validate_source.c) */

/* Stack and generation of a published row from the columns `source` ("NVIDIA Megatron-Bridge perf
 * 26.04.01", "MLPerf Training v5.0"), `table` and `dist_opt` of the validation CSV ("" where
 * absent). The year is read from a date YYYY-MM, a table of exceptions, a release YY.MM or a preprint YYMM;
 * false: nothing dates the source, which gets today's. */
bool plan_software_of_source(const char *source, const char *table, const char *dist_opt,
                             struct plan_software *out);
/* The year of a date YYYY-MM within a text, or 0. */
double plan_year_dated(const char *text);
/* What the few machines that differ from their accelerator's usual server have instead, told in
 * words, or NULL. */
const char *plan_machine_of_source(const char *source, struct machine_accelerator *a);

/* ------------------------------------------------------------------ fits without a source
 * (plan_left_out.c) */

/* What tools/fit-plan wrote: every constant fitted again without the rows of one source, or of one
 * family of sources. */
struct plan_left_out {
    size_t count;
    const char **sources; /* [count] as the table of runs names them */
    double *values;       /* [count][plan_constants_count()], in the order of plan_constants */
};
/* Reads the table, of which every constant must be a column. path NULL: the one that travels with
 * the program. In *a. ERROR_CONFIG names file, line, column and what mends it. */
int plan_left_out_load(const char *path, struct arena *a, struct plan_left_out *out,
                       struct error *e);
/* The values of this source, or NULL where the constants were not fitted without it. */
const double *plan_left_out_values(const struct plan_left_out *t, const char *source);

/* ------------------------------------------------------------------ whole runs
 * (plan_production.c) */

/* A published training run and what a plan of it says: accelerator-hours. */
struct validate_run {
    const struct plan_row *row;
    double tokens, hours; /* stated */
    char grade;           /* 'A': a primary source; 'B': quoted */
    bool production;      /* else clean speed, times the steps: no restarts, evaluations, ramps */
    const char *assumed;  /* what its row had to assume */
    const char *why;      /* it cannot be planned, or NULL */
    double planned_hours; /* of the plan as a benchmark */
    struct range others;  /* factor, fitted without this run */
};
struct validate_production {
    struct validate_run *run;
    size_t count;
    size_t judged;              /* production, of grade A and B, planned */
    struct plan_production fit; /* of all of these */
    /* Each predicted with the factor of the others: errors in per cent, share within low .. high. */
    double median_pct, mape_pct, bias_pct, within_pct;
    double benchmark_bias_pct; /* without a factor */
};
/* Plans every run of presets/validation/production_runs.csv: a search each. In *a. */
int validate_production(struct arena *a, struct validate_production *out, struct error *e);

/* ------------------------------------------------------------------ predictions */

/* One row of the table with everything that was predicted for it. Seconds; 0: none. */
struct validate_row {
    const struct plan_row *row;
    bool timed; /* counted among the step times: tier, not skipped, time stated */
    struct plan_step step;
    double predicted_s;
    double left_out_s;     /* with constants fitted without the row's source; 0: none stored */
    double family_out_s;   /* the same without any release of its source */
    double constant_s;     /* baseline: one rate per class */
    double constant_out_s; /* the same, rates from the other sources */
};

/* Errors are predicted / measured - 1, in per cent. */
struct validate_stats {
    size_t rows;
    double mape_pct, median_pct, bias_pct, p90_pct, worst_pct; /* worst with its sign */
    const struct plan_row *worst;
};
struct validate_pair {
    double predicted, measured;
    const struct plan_row *row;
};
int validate_by_value(const void *a, const void *b); /* order of doubles, for qsort */
/* Sorts pairs. */
struct validate_stats validate_stats_of(struct validate_pair *pairs, size_t count);

/* Which number of a row is judged. */
enum validate_quantity {
    VALIDATE_STEP,
    VALIDATE_LEFT_OUT,
    VALIDATE_FAMILY_OUT,
    VALIDATE_CONSTANT,
    VALIDATE_CONSTANT_OUT,
    VALIDATE_MEMORY
};
enum validate_key {
    VALIDATE_ALL,
    VALIDATE_BY_SOURCE,
    VALIDATE_BY_FAMILY,
    VALIDATE_BY_ACCELERATOR,
    VALIDATE_BY_CLASS,
    VALIDATE_BY_PRECISION,
    VALIDATE_BY_SCALE
};
struct validate_group {
    const char *name;
    struct validate_stats stats;
};
/* Groups by name, largest first; VALIDATE_ALL gives one. In *a. */
size_t validate_groups(const struct validate_row *rows, size_t count, enum validate_quantity q,
                       enum validate_key key, struct arena *a, struct validate_group **groups);

/* The two baselines: the rate that minimises the error of its class, over all rows or over the rows
 * of other sources. */
void validate_baselines(struct validate_row *rows, size_t count);

/* Kendall's tau-b between predicted and measured time per token within groups of the same source,
 * model, machine, number of accelerators and sequence length. Two sums of it differ: pooled over
 * pairs, where a model of many layouts counts most, and the mean over groups, each the same. */
struct validate_ranking {
    size_t groups, rows, pairs;
    double tau;                     /* of all pairs; NAN: none */
    double mean_tau;                /* of groups of VALIDATE_RANKED_ROWS and more; NAN: none */
    const struct plan_row *of;      /* of a group: its first row */
    struct validate_ranking *group; /* [groups], in the order of the table; NULL in a group */
};
#define VALIDATE_RANKED_ROWS 5 /* fewer order themselves by chance */
/* source NULL: every source; else those whose name contains it. Groups in *a. */
struct validate_ranking validate_ranking(const struct validate_row *rows, size_t count,
                                         const char *source, struct arena *a);

/* What the search makes of layouts that somebody ran: each must be possible (valid, and within
 * memory with some recomputation where the row does not say which), and the best that is found must
 * be rated within 2 % of it or better. */
struct validate_recipes {
    size_t rows, possible, matched; /* matched: search found one as good, within 2 % */
    double worst_ratio;             /* largest found / published step time */
    const struct plan_row *worst;   /* its row; else the first that is not possible */
    double search_s;
};
void validate_recipes(const struct validate_row *rows, size_t count, size_t most,
                      struct validate_recipes *out);

struct validate_result {
    const char *path, *tiers;
    struct plan_left_out left_out;
    struct validate_row *rows;
    size_t n_rows;
    size_t n_tier;                   /* left out by tier */
    size_t n_mismatch;               /* judged, though their source contradicts itself */
    struct validate_row *agreeing;   /* [n_rows] the same, those not judged */
    size_t n_skipped;                /* of the tiers asked for, not predictable */
    size_t n_bad;                    /* of them, with a cell that could not be read */
    bool strict;                     /* none of those: the first is an error */
    size_t n_left_out;               /* rows of sources that the constants were fitted on */
    size_t n_in_band;                /* measured within low .. high */
    struct validate_recipes recipes; /* rows 0: not asked for */
};
/* held: the table that no constant was fitted on, or NULL. */
void validate_print(const struct validate_result *v, const struct validate_result *held,
                    const struct plan_validate_options *o, struct arena *a, FILE *out);
json_t *validate_to_json(const struct validate_result *v, const struct validate_result *held,
                         bool rows, struct arena *a);

#endif
