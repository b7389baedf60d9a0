/* base_field.c: from a YAML map to a struct by a table of fields, with errors that show
 * how it should have been written.
 *
 * Every error names file, line, column and key and ends in a valid example; an unknown key also
 * gets the nearest valid one. A figure may be written short (`power_cap_w: 700 W`) or whole
 * (`power_cap_w: {mid: 700 W, low: 650 W, high: 700 W, grade: S, source: "data sheet"}`). */
#include "base/base.h"

#include <math.h>
#include <string.h>

#define MAX_FIELDS 64 /* of one table */

static const char grades[] = "PSRDMA";

/* ------------------------------------------------------------------ errors */

PRINTF_LIKE(3, 0)
static void put_error(const struct yaml_reader *r, const struct yaml_node *at, const char *fmt,
                      va_list args)
{
    char text[512];
    vsnprintf(text, sizeof(text), fmt, args);
    error_set_code(r->e, ERROR_CONFIG, "%s:%d:%d: %s", r->path, at->line, at->column, text);
}

int yaml_wrong(const struct yaml_reader *r, const struct yaml_node *at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    put_error(r, at, fmt, args);
    va_end(args);
    return ERROR_CONFIG;
}

int yaml_wrong_field(const struct yaml_reader *r, const struct yaml_node *at, const struct field *f,
                     const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    put_error(r, at, fmt, args);
    va_end(args);
    return error_hint(r->e, "for example %s: %s", f->key, f->example);
}

bool yaml_is_null(const struct yaml_node *node)
{
    return node->kind == YAML_KIND_SCALAR && !node->quoted &&
           (!node->text[0] || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0);
}

const struct field *field_find(const struct section *s, const char *key)
{
    for (size_t i = 0; i < s->n_fields; i++)
        if (strcmp(s->fields[i].key, key) == 0) return &s->fields[i];
    return NULL;
}

const struct yaml_node *yaml_field_node(const struct yaml_node *map, const char *key)
{
    const char *dot = strchr(key, '.');
    char head[64];
    snprintf(head, sizeof(head), "%.*s", (int)(dot ? dot - key : (ptrdiff_t)strlen(key)), key);
    const struct yaml_node *below = yaml_get(map, head);
    if (!below) return map;
    return dot && below->kind == YAML_KIND_MAP ? yaml_field_node(below, dot + 1) : below;
}

static bool is_below(const char *key, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(key, prefix, n) == 0 && key[n] == '.';
}

/* `full` is not a key: names the nearest one, in this table or by its last word, and an example. */
static int unknown_key(const struct yaml_reader *r, const struct section *s,
                       const struct yaml_node *key, const char *full)
{
    const char *names[2 * MAX_FIELDS];
    size_t n = 0;
    yaml_wrong(r, key, "unknown key '%.120s' in %s", full, s->help);
    for (size_t i = 0; i < s->n_fields; i++)
        names[n++] = s->fields[i].key;
    const char *near = name_nearest(full, names, n);
    for (size_t i = 0; i < s->n_fields && !near; i++) {
        const char *dot = strrchr(s->fields[i].key, '.');
        if (dot && strcmp(dot + 1, key->text) == 0) near = s->fields[i].key;
    }
    for (size_t i = 0; i < s->n_fields && !near;
         i++) /* "power" is the beginning of "power_cap_w" */
        if (strncmp(s->fields[i].key, full, strlen(full)) == 0) near = s->fields[i].key;
    const struct field *f = field_find(s, near ? near : s->fields[0].key);
    if (near)
        return error_hint(r->e, "did you mean '%s'? for example %s: %s", near, near, f->example);
    return error_hint(r->e, "keys of %s are in docs/reference/plan-files.md; for example %s: %s",
                      s->help, f->key, f->example);
}

/* ------------------------------------------------------------------ values */

static void describe_bounds(const struct field *f, char *buf, size_t size)
{
    if (f->min == 0 && f->max == 0)
        snprintf(buf, size, "at least 0");
    else if (isinf(f->max))
        snprintf(buf, size, "at least %g", f->min);
    else
        snprintf(buf, size, "from %.10g to %.10g", f->min, f->max);
}

static bool in_bounds(const struct field *f, double value)
{
    if (f->min == 0 && f->max == 0) return value >= 0;
    return value >= f->min && value <= f->max;
}

/* `part` is ".mid" or "" behind the key. */
static int bind_number(const struct yaml_reader *r, const struct field *f, const char *part,
                       const struct yaml_node *node, double *value)
{
    const char *unit;
    char list[128];
    if (node->kind != YAML_KIND_SCALAR)
        return yaml_wrong_field(r, node, f, "'%s%s' takes one number, not a %s", f->key, part,
                                node->kind == YAML_KIND_LIST ? "list" : "section");
    if (yaml_is_null(node))
        return yaml_wrong_field(r, node, f, "'%s%s' has no value", f->key, part);
    unit_list(f->unit, list, sizeof(list));
    switch (unit_parse(node->text, f->unit, value, &unit)) {
    case UNIT_BAD_NUMBER:
        return yaml_wrong_field(r, node, f, "'%s%s' takes a number%s%s, not '%.80s'", f->key, part,
                                list[0] ? " in " : "", list, node->text);
    case UNIT_BAD_NAME:
        if (!list[0])
            return yaml_wrong_field(r, node, f, "'%s%s' is a plain number, without '%.40s'", f->key,
                                    part, unit);
        return yaml_wrong_field(r, node, f, "'%s%s' is in %s, not in '%.40s'", f->key, part, list,
                                unit);
    default: break;
    }
    if (in_bounds(f, *value)) return 0;
    describe_bounds(f, list, sizeof(list));
    return yaml_wrong_field(r, node, f, "'%s%s' is %.40s, but must be %s", f->key, part, node->text,
                            list);
}

static int bind_whole(const struct yaml_reader *r, const struct field *f,
                      const struct yaml_node *node, int64_t limit, int64_t *whole)
{
    double value;
    TRY(bind_number(r, f, "", node, &value));
    if (value != floor(value) || fabs(value) > (double)limit)
        return yaml_wrong_field(r, node, f, "'%s' takes a whole number, not '%.40s'", f->key,
                                node->text);
    *whole = (int64_t)value;
    return 0;
}

static int bind_text(const struct yaml_reader *r, const struct field *f,
                     const struct yaml_node *node, const char **text)
{
    if (node->kind != YAML_KIND_SCALAR)
        return yaml_wrong_field(r, node, f, "'%s' takes a text, not a %s", f->key,
                                node->kind == YAML_KIND_LIST ? "list" : "section");
    *text = yaml_is_null(node) ? "" : arena_strdup(r->arena, node->text);
    return 0;
}

static int bind_bool(const struct yaml_reader *r, const struct field *f,
                     const struct yaml_node *node, bool *value)
{
    bool yes = node->kind == YAML_KIND_SCALAR && strcmp(node->text, "true") == 0;
    bool no = node->kind == YAML_KIND_SCALAR && strcmp(node->text, "false") == 0;
    if (!yes && !no) return yaml_wrong_field(r, node, f, "'%s' is true or false", f->key);
    *value = yes;
    return 0;
}

static int bind_enum(const struct yaml_reader *r, const struct field *f,
                     const struct yaml_node *node, int *value)
{
    size_t n = 0;
    char list[160] = "";
    for (; f->choices[n]; n++) {
        if (node->kind == YAML_KIND_SCALAR && strcmp(node->text, f->choices[n]) == 0) {
            *value = (int)n;
            return 0;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof(list) - used, "%s%s", n ? ", " : "", f->choices[n]);
    }
    const char *text = node->kind == YAML_KIND_SCALAR ? node->text : "a list or section";
    const char *near = name_nearest(text, f->choices, n);
    if (near && near[0] != text[0]) near = NULL; /* "fast" is two letters from "cost" */
    yaml_wrong_field(r, node, f, "'%s' is one of %s, not '%.40s'", f->key, list, text);
    if (near) return error_hint(r->e, "did you mean '%s'? for example %s: %s", near, f->key, near);
    return ERROR_CONFIG;
}

/* The keys of a whole figure. */
static int bind_figure_map(const struct yaml_reader *r, const struct field *f,
                           const struct yaml_node *map, struct figure *out)
{
    static const char *const keys[] = {"mid", "low", "high", "grade", "source"};
    const struct yaml_node *low = yaml_get(map, "low"), *high = yaml_get(map, "high"),
                           *mid = yaml_get(map, "mid"), *grade = yaml_get(map, "grade"),
                           *source = yaml_get(map, "source");
    for (size_t i = 0; i < map->count; i++) {
        bool known = false;
        for (size_t k = 0; k < ARRAY_LEN(keys); k++)
            known = known || strcmp(map->keys[i]->text, keys[k]) == 0;
        if (known) continue;
        const char *near = name_nearest(map->keys[i]->text, keys, ARRAY_LEN(keys));
        yaml_wrong(r, map->keys[i], "unknown key '%s.%.80s' in a figure", f->key,
                   map->keys[i]->text);
        return error_hint(
            r->e, "%s%s%sfor example %s: {mid: %s, low: .., high: .., grade: S, source: \"..\"}",
            near ? "did you mean '" : "", near ? near : "", near ? "'? " : "", f->key, f->example);
    }
    if (!mid) {
        yaml_wrong(r, map, "'%s' has no mid", f->key);
        return error_hint(r->e, "for example %s: {mid: %s, grade: S, source: \"data sheet\"}",
                          f->key, f->example);
    }
    TRY(bind_number(r, f, ".mid", mid, &out->mid));
    out->low = out->high = out->mid;
    if (low) TRY(bind_number(r, f, ".low", low, &out->low));
    if (high) TRY(bind_number(r, f, ".high", high, &out->high));
    if (out->low > out->mid || out->high < out->mid)
        return yaml_wrong_field(r, low ? low : high, f, "'%s': low <= mid <= high does not hold",
                                f->key);
    if (grade) {
        if (grade->kind != YAML_KIND_SCALAR || strlen(grade->text) != 1 ||
            !strchr(grades, grade->text[0])) {
            yaml_wrong(r, grade, "'%s.grade' is P, S, R, D, M or A", f->key);
            return error_hint(r->e, "primary read, secondary, compilation, derived, memory, "
                                    "assumption; for example grade: S");
        }
        out->grade = grade->text[0];
    }
    if (source) TRY(bind_text(r, f, source, &out->source));
    return 0;
}

int field_bind_figure(const struct yaml_reader *r, const struct field *f,
                      const struct yaml_node *node, struct figure *out)
{
    struct figure figure = {.grade = 'A', .source = "given"};
    if (node->kind == YAML_KIND_MAP) {
        TRY(bind_figure_map(r, f, node, &figure));
    } else {
        TRY(bind_number(r, f, "", node, &figure.mid));
        figure = (struct figure){figure.mid, figure.mid, figure.mid, 'A', "given"};
    }
    *out = figure;
    return 0;
}

static int bind_field(const struct yaml_reader *r, const struct field *f,
                      const struct yaml_node *node, void *target)
{
    void *place = (char *)target + f->offset;
    int64_t whole = 0;
    switch (f->type) {
    case FIELD_TEXT: return bind_text(r, f, node, place);
    case FIELD_INT: return bind_whole(r, f, node, (int64_t)1 << 53, place);
    case FIELD_INT32:
        TRY(bind_whole(r, f, node, INT32_MAX, &whole));
        *(int32_t *)place = (int32_t)whole;
        return 0;
    case FIELD_REAL: return bind_number(r, f, "", node, place);
    case FIELD_BOOL: return bind_bool(r, f, node, place);
    case FIELD_ENUM: return bind_enum(r, f, node, place);
    case FIELD_FIGURE: return field_bind_figure(r, f, node, place);
    case FIELD_CUSTOM: return f->read ? f->read(r, f, node, target) : 0;
    }
    return 0;
}

/* ------------------------------------------------------------------ maps */

void section_defaults(const struct section *s, void *target, struct arena *a)
{
    struct error e = {0};
    struct yaml_reader r = {"default", a, &e, 0};
    for (size_t i = 0; i < s->n_fields; i++) {
        const struct field *f = &s->fields[i];
        struct yaml_node node = {.kind = YAML_KIND_SCALAR, .text = f->fallback};
        if (f->type == FIELD_TEXT) *(const char **)(void *)((char *)target + f->offset) = "";
        if (f->type == FIELD_FIGURE)
            ((struct figure *)(void *)((char *)target + f->offset))->source = "";
        if (!f->fallback || !f->fallback[0] || f->type == FIELD_CUSTOM) continue;
        int rc = bind_field(&r, f, &node, target);
        CHECK_MSG(rc >= 0, "default of '%s': %s", f->key, e.text);
        if (f->type != FIELD_FIGURE) continue;
        struct figure *figure = (void *)((char *)target + f->offset);
        figure->grade = 'A';
        figure->source = "default";
    }
}

/* Keys of one map; prefix is "" or the dotted name of the section within the table. */
static int bind_map(const struct yaml_reader *r, const struct section *s,
                    const struct yaml_node *map, const char *prefix, bool *given, void *target)
{
    for (size_t i = 0; i < map->count; i++) {
        const struct yaml_node *key = map->keys[i], *item = map->items[i];
        const char *full =
            prefix[0] ? arena_printf(r->arena, "%s.%s", prefix, key->text) : key->text;
        const struct field *f = field_find(s, full);
        if (f) {
            TRY(bind_field(r, f, item, target));
            given[f - s->fields] = true;
            continue;
        }
        const struct field *below = NULL;
        for (size_t k = 0; k < s->n_fields && !below; k++)
            if (is_below(s->fields[k].key, full)) below = &s->fields[k];
        if (!below) return unknown_key(r, s, key, full);
        if (item->kind == YAML_KIND_MAP)
            TRY(bind_map(r, s, item, full, given, target));
        else if (!yaml_is_null(item)) {
            yaml_wrong(r, item, "'%.80s' is a section: its keys go below it", full);
            return error_hint(r->e, "for example %s: {%s: %s}", full, below->key + strlen(full) + 1,
                              below->example);
        }
    }
    return 0;
}

int section_bind(const struct yaml_reader *r, const struct section *s, const struct yaml_node *map,
                 bool based, void *target)
{
    bool given[MAX_FIELDS] = {false};
    CHECK(s->n_fields <= MAX_FIELDS);
    if (map->kind != YAML_KIND_MAP) {
        yaml_wrong(r, map, "%s is 'key: value' lines, not a %s", s->help,
                   map->kind == YAML_KIND_LIST ? "list" : "single value");
        return error_hint(r->e, "for example %s: %s", s->fields[0].key, s->fields[0].example);
    }
    TRY(bind_map(r, s, map, "", given, target));
    for (size_t i = 0; i < s->n_fields && !based; i++)
        if (!given[i] && !s->fields[i].fallback)
            return yaml_wrong_field(r, map, &s->fields[i], "'%s' of %s is missing",
                                    s->fields[i].key, s->help);
    return 0;
}
