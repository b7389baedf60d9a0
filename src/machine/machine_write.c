/* machine_write.c: clusters and sites written as the descriptions that they could have been read from,
 * whole, so that the text depends on no other file. Middle values only; what was not given is left
 * out again. */
#include "machine/machine_internal.h"

#include <string.h>

static bool is_given(const struct option *row, const void *target)
{
    const void *place = (const char *)target + row->offset;
    switch (row->type) {
    case OPTION_FIGURE: return ((const struct figure *)place)->grade != 0;
    case OPTION_STRING: return *(const char *const *)place && **(const char *const *)place;
    case OPTION_CUSTOM: return false;
    default: return true;
    }
}

/* "key: value, " of every row that is given; keys below one another in a map of their own. */
static void write_rows(const struct section *s, const void *target, struct str *out)
{
    char open[64] = "";
    for (size_t i = 0; i < s->n_rows; i++) {
        const struct option *row = &s->rows[i];
        const char *dot = strchr(row->name, '.');
        if (!is_given(row, target)) continue;
        if (open[0] && (!dot || !options_below(row->name, open))) {
            str_puts(out, "}, ");
            open[0] = 0;
        }
        if (dot && !open[0]) {
            snprintf(open, sizeof(open), "%.*s", (int)(dot - row->name), row->name);
            str_printf(out, "%s: {", open);
        }
        str_printf(out, "%s: ", dot ? dot + 1 : row->name);
        if (row->type == OPTION_STRING)
            yaml_quote(out,
                       *(const char *const *)(const void *)((const char *)target + row->offset));
        else
            options_get(row, target, out);
        str_puts(out, ", ");
    }
    if (open[0]) str_puts(out, "}, ");
}

void machine_write_cluster(const struct machine_cluster *c, struct str *out)
{
    str_puts(out, "{");
    write_rows(&machine_cluster_section, c, out);
    str_puts(out, "\n  pools: [");
    for (int64_t i = 0; i < c->n_pools; i++) {
        str_puts(out, "\n    {accelerator: {");
        write_rows(&machine_accelerator_section, c->pools[i].accelerator, out);
        str_printf(out, "}, count: %lld},", (long long)c->pools[i].count);
    }
    str_puts(out, "]}\n");
}

static void write_months(const char *key, const double *first, struct str *out)
{
    str_printf(out, "%s: [", key);
    for (int i = 0; i < 12; i++) {
        const void *at = (const char *)first + (size_t)i * sizeof(struct machine_climate_month);
        str_printf(out, "%s%.6g", i ? ", " : "", *(const double *)at);
    }
    str_puts(out, "]");
}

void machine_write_site(const struct machine_site *s, struct str *out)
{
    str_puts(out, "{");
    write_rows(&machine_site_section, s, out);
    if (s->has_climate) {
        str_puts(out, "\n  climate: {");
        write_months("dry_bulb_c", &s->months[0].dry_bulb_c, out);
        str_puts(out, ",\n    ");
        write_months("wet_bulb_c", &s->months[0].wet_bulb_c, out);
        str_puts(out, "},");
    }
    str_puts(out, "\n  sources: [");
    for (int64_t i = 0; i < s->n_sources; i++) {
        str_puts(out, "\n    {");
        write_rows(&machine_source_section, &s->sources[i], out);
        str_puts(out, "},");
    }
    str_puts(out, "]}\n");
}
