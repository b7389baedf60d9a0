/* plan_catalogue_site.c: sites from their description files: what feeds them, cools them and limits
 * them. */
#include "plan/plan_catalogue_internal.h"

#include <string.h>

/* ------------------------------------------------------------------ sites */

int plan_read_sources(const struct plan_reader *r, const struct plan_field *f,
                      const struct yaml_node *node, void *target)
{
    struct plan_site *site = target;
    if (node->kind != YAML_KIND_LIST || node->count < 1 || node->count > PLAN_MAX_SOURCES)
        return plan_wrong_field(r, node, f, "'sources' is a list of 1 to %d sources",
                                PLAN_MAX_SOURCES);
    site->n_sources = 0;
    for (size_t i = 0; i < node->count; i++) {
        struct plan_power_source *source = &site->sources[i];
        memset(source, 0, sizeof(*source));
        plan_section_defaults(&plan_source_section, source, r->arena);
        TRY(plan_section_bind(r, &plan_source_section, node->items[i], false, source));
        site->n_sources++;
    }
    return 0;
}

/* Twelve temperatures into one column of the months. */
static int read_months(const struct plan_reader *r, const struct plan_field *f,
                       const struct yaml_node *map, const char *key, double *first)
{
    const struct yaml_node *list = yaml_get(map, key);
    if (!list) return plan_wrong_field(r, map, f, "'climate.%s' is missing", key);
    if (list->kind != YAML_KIND_LIST || list->count != 12)
        return plan_wrong_field(r, list, f, "'climate.%s' is a list of 12 numbers, one a month",
                                key);
    for (size_t i = 0; i < 12; i++) {
        const struct yaml_node *item = list->items[i];
        const char *unit;
        double *value = (double *)(void *)((char *)first + i * sizeof(struct plan_climate_month));
        if (item->kind != YAML_KIND_SCALAR ||
            plan_number_parse(item->text, PLAN_UNIT_CELSIUS, value, &unit) != PLAN_NUMBER_OK ||
            *value < -60 || *value > 60)
            return plan_wrong_field(r, item, f, "'climate.%s' takes degrees Celsius from -60 to 60",
                                    key);
    }
    return 0;
}

int plan_read_climate(const struct plan_reader *r, const struct plan_field *f,
                      const struct yaml_node *node, void *target)
{
    struct plan_site *site = target;
    if (node->kind != YAML_KIND_MAP)
        return plan_wrong_field(r, node, f,
                                "'climate' is a section with dry_bulb_c and wet_bulb_c");
    for (size_t i = 0; i < node->count; i++) {
        const char *key = node->keys[i]->text;
        if (strcmp(key, "dry_bulb_c") == 0 || strcmp(key, "wet_bulb_c") == 0) continue;
        return plan_wrong_field(r, node->keys[i], f,
                                "unknown key 'climate.%.80s'; it has dry_bulb_c and wet_bulb_c",
                                key);
    }
    TRY(read_months(r, f, node, "dry_bulb_c", &site->months[0].dry_bulb_c));
    TRY(read_months(r, f, node, "wet_bulb_c", &site->months[0].wet_bulb_c));
    for (int i = 0; i < 12; i++)
        if (site->months[i].wet_bulb_c > site->months[i].dry_bulb_c)
            return plan_wrong_field(r, node, f, "'climate': month %d has a wet bulb above its dry",
                                    i + 1);
    site->has_climate = true;
    return 0;
}

static int check_site(const struct plan_reader *r, const struct yaml_node *map,
                      const struct plan_site *s)
{
    const struct plan_section *rows = &plan_site_section;
    if (s->design_pue.mid != 0 && s->design_pue.low < 1)
        return plan_wrong_field(
            r, plan_field_node(map, "design_pue"), plan_field_find(rows, "design_pue"),
            "'design_pue' is below 1: the facility draws at least what IT does");
    if (s->swing_band_high_hz.mid > 0 && s->swing_band_low_hz.mid > s->swing_band_high_hz.mid)
        return plan_wrong_field(r, plan_field_node(map, "swing_band_low_hz"),
                                plan_field_find(rows, "swing_band_low_hz"),
                                "'swing_band_low_hz' is above 'swing_band_high_hz'");
    if ((s->battery_w.mid > 0) != (s->battery_wh.mid > 0))
        return plan_wrong_field(r, plan_field_node(map, "battery_w"),
                                plan_field_find(rows, "battery_wh"),
                                "'battery_w' and 'battery_wh' are given together or not at all");
    return 0;
}

static int read_site_map(const struct plan_reader *r, const struct yaml_node *map,
                         struct plan_site *out)
{
    const struct plan_section *s = &plan_site_section;
    const struct yaml_node *like;
    TRY(plan_find_like(r, s, map, &like));
    memset(out, 0, sizeof(*out));
    plan_section_defaults(s, out, r->arena);
    if (like) TRY(plan_read_site(r, like, out));
    TRY(plan_section_bind(r, s, map, like != NULL, out));
    if (!*out->name) out->name = plan_name_of_path(r->arena, r->path);
    out->name = plan_name_changed(r, map, out->name);
    if (!*out->title) out->title = out->name;
    return check_site(r, map, out);
}

int plan_read_site(const struct plan_reader *r, const struct yaml_node *node, struct plan_site *out)
{
    struct plan_reader child;
    struct yaml_node *root;
    if (node->kind != YAML_KIND_SCALAR) return read_site_map(r, node, out);
    TRY(plan_open_node(r, &plan_site_section, node, &child, &root));
    return read_site_map(&child, root, out);
}

int plan_load_site(const char *name, const char *from, struct arena *a, struct plan_site *out,
                   struct error *e)
{
    struct error local;
    struct plan_reader r = plan_reader_from(from, a, e, &local), child;
    struct yaml_node *root;
    const struct plan_section *s = &plan_site_section;
    TRY(plan_open_named(&r, s->what, s->folder, name, NULL, &child, &root));
    return read_site_map(&child, root, out);
}
