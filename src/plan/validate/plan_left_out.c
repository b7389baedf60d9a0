/* plan_left_out.c: the constants of a step fitted again without the rows of one source.
 *
 * `plan validate` predicts the rows of that source with them, which is what the model is worth for a
 * run that it was not fitted on. presets/validation/left_out.csv, which tools/fit-plan writes, has a
 * line for each source and for each family of sources (without any release of that page), and a
 * column for each constant, found by its name: constants may be added or moved in plan_constants
 * without a value ending up in the wrong one. A source without a line was not refitted, and validate
 * says so. */
#include "plan/validate/plan_validate_internal.h"

#include <math.h>
#include <string.h>

#define CURE "tools/fit-plan --left-out --write writes it anew"

/* columns[i]: where constant i stands. Every column but `source` must be one of them. */
static int find_columns(const struct csv *t, int *columns, struct error *e)
{
    size_t n = plan_constants_count();
    const char *missing = csv_column(t, "source") < 0 ? "source" : NULL;
    for (size_t i = 0; i < n; i++) {
        columns[i] = csv_column(t, plan_constants[i].name);
        if (columns[i] < 0 && !missing) missing = plan_constants[i].name;
    }
    if (missing) {
        error_set_code(e, ERROR_CONFIG, "%s:1: column '%s' is missing", t->path, missing);
        return error_hint(e, "the table is of other constants than the program: " CURE);
    }
    for (int k = 0; k < (int)t->n_columns; k++) {
        bool known = strcmp(t->heads[k], "source") == 0;
        for (size_t i = 0; i < n && !known; i++)
            known = columns[i] == k;
        if (known) continue;
        error_set_code(e, ERROR_CONFIG, "%s:1: column '%.60s' is no constant of the model", t->path,
                       t->heads[k]);
        return error_hint(e, "the table is of other constants than the program: " CURE);
    }
    return 0;
}

/* A fit under other ranges than those of today is no fit: what was not fitted must stand there as it
 * is here (to the digits written), and what was must lie in its range. */
static bool is_current(const double *values)
{
    for (size_t i = 0; i < plan_constants_count(); i++) {
        const struct plan_constant *c = &plan_constants[i];
        double slack = 1e-3 * fmax(fabs(c->low), fabs(c->high));
        if (!(values[i] >= c->low - slack && values[i] <= c->high + slack)) return false;
    }
    return true;
}

static int read_line(const struct csv *t, size_t row, const int *columns, double *values,
                     struct error *e)
{
    for (size_t i = 0; i < plan_constants_count(); i++) {
        const char *text = csv_field(t, row, columns[i]);
        if (parse_number(text, &values[i]) == 0) continue;
        error_set_code(e, ERROR_CONFIG, "%s:%d: column '%s' must be a number, not '%.60s'", t->path,
                       t->lines[row], plan_constants[i].name, text);
        return error_hint(e, CURE);
    }
    return 0;
}

int plan_left_out_load(const char *path, struct arena *a, struct plan_left_out *out,
                       struct error *e)
{
    struct csv t;
    size_t n = plan_constants_count();
    int *columns = arena_alloc(a, n * sizeof(*columns));
    if (!path) path = validate_find_table("left_out.csv", "; " CURE, a, e);
    if (!path) return ERROR_CONFIG;
    TRY(csv_load(path, a, &t, e));
    TRY(find_columns(&t, columns, e));
    *out = (struct plan_left_out){.sources = arena_alloc(a, (t.n_rows + 1) * sizeof(char *)),
                                  .values = arena_alloc(a, (t.n_rows + 1) * n * sizeof(double))};
    for (size_t row = 0; row < t.n_rows; row++) {
        double *values = out->values + out->count * n;
        TRY(read_line(&t, row, columns, values, e));
        const char *source = csv_field(&t, row, csv_column(&t, "source"));
        if (plan_left_out_values(out, source)) {
            error_set_code(e, ERROR_CONFIG, "%s:%d: '%s' stands there a second time", path,
                           t.lines[row], source);
            return error_hint(e, CURE);
        }
        if (is_current(values)) out->sources[out->count++] = source;
    }
    return 0;
}

const double *plan_left_out_values(const struct plan_left_out *t, const char *source)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->sources[i], source) == 0) return t->values + i * plan_constants_count();
    return NULL;
}
