/* site_weather.c: hours of weather from a CSV.
 *
 * A file has the column dry_bulb_c and either wet_bulb_c, or rh_pct (and perhaps pressure_mbar,
 * 1013.25 where it is not said) from which the wet bulb follows; a column month is optional: without
 * it the month is the simulated day's. Any number of hours: they repeat. */
#include "site/read/site_read_internal.h"

#include <string.h>

enum { MAX_HOURS = 200000 };

const char *site_file_beside(const struct yaml_reader *r, const char *name)
{
    const char *slash = strrchr(r->path, '/');
    if (name[0] == '/' || !slash) return arena_strdup(r->arena, name);
    return arena_printf(r->arena, "%.*s/%s", (int)(slash - r->path), r->path, name);
}

struct columns {
    int dry, wet, rh, pressure, month;
};

/* What a column may hold. */
struct bounds {
    double low, high;
};
static const struct bounds DEGREES = {-70.0, 60.0}, MONTHS = {1.0, 12.0}, PERCENT = {0.0, 100.0},
                           MILLIBAR = {300.0, 1100.0};

static int cell(const struct csv *t, size_t row, int column, struct bounds b, double *out,
                struct error *e)
{
    const char *text = csv_field(t, row, column), *unit;
    if (unit_parse(text, UNIT_NONE, out, &unit) == UNIT_OK && *out >= b.low && *out <= b.high)
        return 0;
    error_set_code(e, ERROR_CONFIG, "%s:%d: '%s' must be a number from %.6g to %.6g, not '%.40s'",
                   t->path, t->lines[row], t->heads[column], b.low, b.high, text);
    return error_hint(e, "for example %.6g", b.low > 0.0 ? b.low : 10.0);
}

static int read_hour(const struct csv *t, size_t row, const struct columns *c,
                     struct site_hour *out, struct error *e)
{
    double dry, wet, rh, pressure = 1013.25, month = 0.0;
    TRY(cell(t, row, c->dry, DEGREES, &dry, e));
    if (c->month >= 0) TRY(cell(t, row, c->month, MONTHS, &month, e));
    if (month != floor(month)) {
        error_set_code(e, ERROR_CONFIG, "%s:%d: 'month' %.6g is no whole number", t->path,
                       t->lines[row], month);
        return error_hint(e, "for example %.0f", floor(month));
    }
    if (c->wet >= 0) {
        TRY(cell(t, row, c->wet, DEGREES, &wet, e));
        if (wet > dry) {
            error_set_code(e, ERROR_CONFIG, "%s:%d: wet_bulb_c %.6g is above dry_bulb_c %.6g",
                           t->path, t->lines[row], wet, dry);
            return error_hint(e, "are the columns exchanged?");
        }
    } else {
        TRY(cell(t, row, c->rh, PERCENT, &rh, e));
        if (c->pressure >= 0) TRY(cell(t, row, c->pressure, MILLIBAR, &pressure, e));
        wet = machine_wet_bulb_c(dry, rh / 100.0, 100.0 * pressure);
    }
    *out = (struct site_hour){(float)dry, (float)wet, (uint8_t)month};
    return 0;
}

int site_parse_weather(const char *text, size_t size, const char *path, struct arena *a,
                       struct site_weather *out, struct error *e)
{
    struct csv t;
    int rc = csv_parse(text, size, path, a, &t, e);
    if (rc < 0) {
        error_set_code(e, ERROR_CONFIG, "%s", arena_strdup(a, e->text));
        return error_hint(e, "its head is: month,dry_bulb_c,wet_bulb_c");
    }
    const struct columns c = {csv_column(&t, "dry_bulb_c"), csv_column(&t, "wet_bulb_c"),
                              csv_column(&t, "rh_pct"), csv_column(&t, "pressure_mbar"),
                              csv_column(&t, "month")};
    if (c.dry < 0 || (c.wet < 0 && c.rh < 0)) {
        error_set_code(e, ERROR_CONFIG, "%s:1: no column %s", path,
                       c.dry < 0 ? "dry_bulb_c" : "wet_bulb_c or rh_pct");
        return error_hint(e, "hours of weather have the columns dry_bulb_c and wet_bulb_c, or "
                             "dry_bulb_c, rh_pct and pressure_mbar");
    }
    if (t.n_rows < 1 || t.n_rows > MAX_HOURS) {
        error_set_code(e, ERROR_CONFIG, "%s:1: %zu hours; it takes 1 to %d", path, t.n_rows,
                       MAX_HOURS);
        return error_hint(e, t.n_rows ? "leave some out" : "a line an hour, for example 21.5,17.0");
    }
    struct site_hour *hours = arena_alloc(a, t.n_rows * sizeof(*hours));
    for (size_t i = 0; i < t.n_rows; i++)
        TRY(read_hour(&t, i, &c, &hours[i], e));
    *out = (struct site_weather){arena_strdup(a, path), t.n_rows, hours};
    return 0;
}

int site_read_weather(const struct yaml_reader *r, const struct yaml_node *node, const char *name,
                      struct site_weather *out)
{
    char *text;
    size_t size;
    struct error *e = r->e;
    if (r->depth >= PRESET_MAX_DEPTH)
        return yaml_wrong(r, node, "weather '%.120s': no further file is opened", name);
    const char *path = site_file_beside(r, name);
    if (!file_exists(path))
        path = preset_find_file(r->arena, "weather", arena_printf(r->arena, "%s.csv", name));
    if (!path) {
        yaml_wrong(r, node, "there is no weather '%.120s'", name);
        return error_hint(e, "a CSV file of hours, or a name of presets/weather; for example "
                             "weather: memphis-tmy3");
    }
    TRY(file_read(path, CSV_MAX_BYTES, &text, &size, e));
    int rc = site_parse_weather(text, size, path, r->arena, out, e);
    mem_free(text);
    return rc;
}
