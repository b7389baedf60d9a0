/* site_read_table.c: hazards by age from a life table. */
#include "site/read/site_read_internal.h"

#include <string.h>

static int number(const struct csv *t, size_t row, int column, double *out, struct error *e)
{
    const char *text = csv_field(t, row, column), *unit;
    if (unit_parse(text, UNIT_NONE, out, &unit) == UNIT_OK && *out >= 0.0 && *out < 1e12) return 0;
    error_set_code(e, ERROR_CONFIG, "%s:%d: '%s' must be a number of at least 0, not '%.40s'",
                   t->path, t->lines[row], t->heads[column], text);
    return error_hint(e, "for example 30");
}

static int read_row(const struct csv *t, size_t row, const int column[4], struct site_scenario *s,
                    struct error *e)
{
    double from, hazard, failed, days;
    TRY(number(t, row, column[0], &from, e));
    if (column[1] >= 0) {
        TRY(number(t, row, column[1], &hazard, e));
    } else {
        TRY(number(t, row, column[2], &failed, e));
        TRY(number(t, row, column[3], &days, e));
        hazard = days > 0.0 ? failed / days : 0.0;
    }
    if (s->n_bins > 0 && from <= s->bin_from_d[s->n_bins - 1]) {
        error_set_code(e, ERROR_CONFIG, "%s:%d: ages do not rise", t->path, t->lines[row]);
        return error_hint(e, "of several batches one is named; for example batch: new");
    }
    if (s->n_bins >= SITE_MAX_BINS)
        return error_set_code(e, ERROR_CONFIG, "%s:%d: more than %d ages", t->path, t->lines[row],
                              SITE_MAX_BINS);
    s->bin_from_d[s->n_bins] = from;
    s->bin_hazard[s->n_bins++] = hazard;
    return 0;
}

int site_read_table(const struct yaml_reader *r, const struct yaml_node *at,
                    struct site_scenario *s)
{
    struct csv t;
    const char *path = site_file_beside(r, s->failures.table);
    if (r->depth >= PRESET_MAX_DEPTH)
        return yaml_wrong(r, at, "table '%.120s': no further file is opened", path);
    if (!file_exists(path)) {
        yaml_wrong(r, at, "there is no table '%.200s'", path);
        return error_hint(r->e, "a CSV with age_from_d and hazard_per_day; for example table: "
                                "life.csv");
    }
    TRY(csv_load(path, r->arena, &t, r->e));
    const int column[4] = {csv_column(&t, "age_from_d"), csv_column(&t, "hazard_per_day"),
                           csv_column(&t, "removed_failed"), csv_column(&t, "gpu_days")};
    const int batch = csv_column(&t, "batch");
    if (column[0] < 0 || (column[1] < 0 && (column[2] < 0 || column[3] < 0))) {
        error_set_code(r->e, ERROR_CONFIG, "%s:1: no column %s", path,
                       column[0] < 0 ? "age_from_d" : "hazard_per_day");
        return error_hint(r->e, "age_from_d, and hazard_per_day or removed_failed and gpu_days");
    }
    s->n_bins = 0;
    for (size_t i = 0; i < t.n_rows; i++)
        if (!*s->failures.batch || strcmp(csv_field(&t, i, batch), s->failures.batch) == 0)
            TRY(read_row(&t, i, column, s, r->e));
    if (s->n_bins > 0) return 0;
    error_set_code(r->e, ERROR_CONFIG, "%s: no rows%s%.40s", path,
                   *s->failures.batch ? " of batch " : "", s->failures.batch);
    return error_hint(r->e, "for example batch: new");
}
