/* machine_site.c: sites from their description files: what feeds them, cools them and limits
 * them. */
#include "machine/machine_internal.h"

#include <string.h>

/* ------------------------------------------------------------------ sites */

/* 65 is what a megawatt-hour costs. */
static void warn_of_price(const struct yaml_reader *r, const struct yaml_node *node,
                          const struct machine_power_source *source)
{
    static const double DEAR = 2; /* USD a kWh: ten times what anybody pays */
    if (!node || !(source->usd_per_kwh.mid > DEAR)) return;
    log_warn("%s:%d: usd_per_kwh of %g USD for a kilowatt-hour: is it of a megawatt-hour? then "
             "%g USD/MWh",
             r->path, node->line, source->usd_per_kwh.mid, source->usd_per_kwh.mid);
}

int machine_read_sources(const struct yaml_reader *r, const struct option *f,
                         const struct yaml_node *node, void *target)
{
    struct machine_site *site = target;
    if (node->kind != YAML_KIND_LIST || node->count < 1 || node->count > MACHINE_MAX_SOURCES)
        return yaml_wrong_row(r, node, f, "'sources' is a list of 1 to %d sources",
                              MACHINE_MAX_SOURCES);
    site->n_sources = 0;
    for (size_t i = 0; i < node->count; i++) {
        struct machine_power_source *source = &site->sources[i];
        memset(source, 0, sizeof(*source));
        section_defaults(&machine_source_section, source);
        TRY(yaml_bind(r, &machine_source_section, node->items[i], false, source, NULL));
        source->grid = strcmp(source->name, "grid") == 0; /* the name that says so */
        warn_of_price(r, yaml_get(node->items[i], "usd_per_kwh"), source);
        site->n_sources++;
    }
    return 0;
}

/* Twelve temperatures into one column of the months. */
static int read_months(const struct yaml_reader *r, const struct option *f,
                       const struct yaml_node *map, const char *key, double *first)
{
    const struct yaml_node *list = yaml_get(map, key);
    if (!list) return yaml_wrong_row(r, map, f, "'climate.%s' is missing", key);
    if (list->kind != YAML_KIND_LIST || list->count != 12)
        return yaml_wrong_row(r, list, f, "'climate.%s' is a list of 12 numbers, one a month", key);
    for (size_t i = 0; i < 12; i++) {
        const struct yaml_node *item = list->items[i];
        const char *unit;
        double *value =
            (double *)(void *)((char *)first + i * sizeof(struct machine_climate_month));
        if (item->kind != YAML_KIND_SCALAR ||
            unit_parse(item->text, UNIT_CELSIUS, value, &unit) != UNIT_OK || *value < -60 ||
            *value > 60)
            return yaml_wrong_row(r, item, f, "'climate.%s' takes degrees Celsius from -60 to 60",
                                  key);
    }
    return 0;
}

int machine_read_climate(const struct yaml_reader *r, const struct option *f,
                         const struct yaml_node *node, void *target)
{
    struct machine_site *site = target;
    if (node->kind != YAML_KIND_MAP)
        return yaml_wrong_row(r, node, f, "'climate' is a section with dry_bulb_c and wet_bulb_c");
    for (size_t i = 0; i < node->count; i++) {
        const char *key = node->keys[i]->text;
        if (strcmp(key, "dry_bulb_c") == 0 || strcmp(key, "wet_bulb_c") == 0) continue;
        return yaml_wrong_row(r, node->keys[i], f,
                              "unknown key 'climate.%.80s'; it has dry_bulb_c and wet_bulb_c", key);
    }
    TRY(read_months(r, f, node, "dry_bulb_c", &site->months[0].dry_bulb_c));
    TRY(read_months(r, f, node, "wet_bulb_c", &site->months[0].wet_bulb_c));
    for (int i = 0; i < 12; i++)
        if (site->months[i].wet_bulb_c > site->months[i].dry_bulb_c)
            return yaml_wrong_row(r, node, f, "'climate': month %d has a wet bulb above its dry",
                                  i + 1);
    site->has_climate = true;
    return 0;
}

static int finish_site(const struct yaml_reader *r, const struct yaml_node *map, void *target)
{
    struct machine_site *s = target;
    const struct section *rows = &machine_site_section;
    if (!*s->title) s->title = s->name;
    if (s->design_pue.mid != 0 && s->design_pue.low < 1)
        return yaml_wrong_row(r, yaml_find(map, "design_pue"), section_find(rows, "design_pue"),
                              "'design_pue' is below 1: the facility draws at least what IT does");
    if (s->swing_band_high_hz.mid > 0 && s->swing_band_low_hz.mid > s->swing_band_high_hz.mid)
        return yaml_wrong_row(r, yaml_find(map, "swing_band_low_hz"),
                              section_find(rows, "swing_band_low_hz"),
                              "'swing_band_low_hz' is above 'swing_band_high_hz'");
    if ((s->battery_w.mid > 0) != (s->battery_wh.mid > 0))
        return yaml_wrong_row(r, yaml_find(map, "battery_w"), section_find(rows, "battery_wh"),
                              "'battery_w' and 'battery_wh' are given together or not at all");
    return 0;
}

static const struct preset_kind site_kind = {
    .section = &machine_site_section, .size = sizeof(struct machine_site), .finish = finish_site};

int machine_read_site(const struct yaml_reader *r, const struct yaml_node *node,
                      struct machine_site *out)
{
    return preset_read(r, &site_kind, node, out, NULL);
}

int machine_load_site(const char *name, const char *from, struct arena *a, struct machine_site *out,
                      struct error *e)
{
    return preset_load(&site_kind, name, from, a, out, e);
}
