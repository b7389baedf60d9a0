/* base_bind.c: from a YAML map to a struct by a table of options, with errors that show how it
 * should have been written.
 *
 * One reader for run files, models, machines, sites and plans, so that all of them complain in the
 * same words: file, line, column and key, the nearest valid key for an unknown one, and a valid
 * example where the table has one. Values become bytes in options_set only, as on the command line.
 * A figure may be written short (`power_cap_w: 700 W`) or whole
 * (`power_cap_w: {mid: 700 W, low: 650 W, high: 700 W, grade: S, source: "data sheet"}`). */
#include "base/base.h"

#include <string.h>

static const char grades[] = "PSRDMA";

/* ------------------------------------------------------------------ errors */

PRINTF_LIKE(3, 0)
static void put_error(const struct yaml_reader *r, const struct yaml_node *at, const char *fmt,
                      va_list args)
{
    char text[512];
    vsnprintf(text, sizeof(text), fmt, args);
    if (r->path[0])
        error_set_code(r->e, ERROR_CONFIG, "%s:%d:%d: %s", r->path, at->line, at->column, text);
    else
        error_set_code(r->e, ERROR_CONFIG, "%s", text); /* what no file says */
}

int yaml_wrong(const struct yaml_reader *r, const struct yaml_node *at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    put_error(r, at, fmt, args);
    va_end(args);
    return ERROR_CONFIG;
}

int yaml_wrong_row(const struct yaml_reader *r, const struct yaml_node *at,
                   const struct option *row, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    put_error(r, at, fmt, args);
    va_end(args);
    if (!row->example) return ERROR_CONFIG;
    return error_hint(r->e, "for example %s: %s", row->name, row->example);
}

const struct option *section_find(const struct section *s, const char *name)
{
    return options_find(s->rows, s->n_rows, name);
}

void section_defaults(const struct section *s, void *target)
{
    options_defaults(s->rows, s->n_rows, target);
}

const struct yaml_node *yaml_find(const struct yaml_node *map, const char *key)
{
    const char *dot = strchr(key, '.');
    char head[64];
    snprintf(head, sizeof(head), "%.*s", (int)(dot ? dot - key : (ptrdiff_t)strlen(key)), key);
    const struct yaml_node *below = yaml_get(map, head);
    if (!below) return map;
    return dot && below->kind == YAML_KIND_MAP ? yaml_find(below, dot + 1) : below;
}

/* Once below its section and once with a dot. */
static int given_twice(const struct yaml_reader *r, const struct yaml_node *key, const char *full)
{
    yaml_wrong(r, key, "'%.120s' is given twice", full);
    return error_hint(r->e, "take one of the two lines away");
}

/* The map below a key, which is the caller's to change: a copy of what was there, with room for one
 * more, or a new one. */
static struct yaml_node *own_below(struct yaml_node *map, const struct yaml_node *key,
                                   const char *head, struct arena *a)
{
    size_t i = 0;
    while (i < map->count && strcmp(map->keys[i]->text, head) != 0)
        i++;
    struct yaml_node *below = arena_alloc(a, sizeof(*below));
    *below = (struct yaml_node){.kind = YAML_KIND_MAP, .line = key->line, .column = key->column};
    if (i < map->count) *below = *map->items[i];
    if (below->kind != YAML_KIND_MAP) return NULL;
    struct yaml_node **items = arena_alloc(a, (below->count + 1) * sizeof(*items));
    struct yaml_node **keys = arena_alloc(a, (below->count + 1) * sizeof(*keys));
    for (size_t k = 0; k < below->count; k++) {
        items[k] = below->items[k];
        keys[k] = below->keys[k];
    }
    below->items = items;
    below->keys = keys;
    if (i == map->count) {
        struct yaml_node *name = arena_alloc(a, sizeof(*name));
        *name = *key;
        name->text = head;
        map->keys[map->count++] = name;
    }
    map->items[i] = below;
    return below;
}

int yaml_nested(const struct yaml_reader *r, const struct yaml_node *map,
                const struct yaml_node **nested)
{
    struct arena *a = r->arena;
    bool any = false;
    for (size_t i = 0; map->kind == YAML_KIND_MAP && i < map->count; i++)
        any = any || strchr(map->keys[i]->text, '.');
    *nested = map;
    if (!any) return 0;
    struct yaml_node *out = arena_alloc(a, sizeof(*out));
    *out = *map;
    out->count = 0;
    out->items = arena_alloc(a, map->count * sizeof(*out->items));
    out->keys = arena_alloc(a, map->count * sizeof(*out->keys));
    for (size_t i = 0; i < map->count; i++) { /* whole sections first */
        if (strchr(map->keys[i]->text, '.')) continue;
        out->keys[out->count] = map->keys[i];
        out->items[out->count++] = map->items[i];
    }
    for (size_t i = 0; i < map->count; i++) {
        const char *key = map->keys[i]->text, *dot = strchr(key, '.');
        if (!dot) continue;
        const char *head = arena_strndup(a, key, (size_t)(dot - key));
        struct yaml_node *below = own_below(out, map->keys[i], head, a);
        if (!below) return 0; /* the reader will say what is wrong with it */
        if (yaml_get(below, dot + 1)) return given_twice(r, map->keys[i], key);
        struct yaml_node *name = arena_alloc(a, sizeof(*name));
        *name = *map->keys[i];
        name->text = dot + 1;
        below->keys[below->count] = name;
        below->items[below->count++] = map->items[i];
    }
    *nested = out;
    return 0;
}

bool options_below(const char *name, const char *section)
{
    size_t n = strlen(section);
    return n == 0 || (strncmp(name, section, n) == 0 && name[n] == '.');
}

static const struct option *first_below(const struct section *s, const char *name)
{
    for (size_t i = 0; i < s->n_rows; i++)
        if (options_below(s->rows[i].name, name)) return &s->rows[i];
    return NULL;
}

/* First the keys of the same section, as far as they are written there ("opt" for "optimizer.lr"),
 * unless the last word of any other is the very one. */
static const char *nearest_key(const struct yaml_reader *r, const struct section *s,
                               const char *inside, const char *key, const char *full)
{
    const char **names = arena_alloc(r->arena, (s->n_rows + 1) * sizeof(*names));
    const char **parts = arena_alloc(r->arena, (s->n_rows + 1) * sizeof(*parts));
    size_t n = 0, skip = inside[0] ? strlen(inside) + 1 : 0;
    bool same = false;
    for (size_t i = 0; i < s->n_rows; i++) {
        const char *name = names[i] = s->rows[i].name, *dot = strrchr(name, '.');
        same = same || (dot && strcmp(dot + 1, key) == 0);
        if (options_below(name, inside))
            parts[n++] = arena_strndup(r->arena, name + skip, strcspn(name + skip, "."));
    }
    const char *near = same ? NULL : name_nearest(key, parts, n);
    if (!near) return name_nearest_key(full, names, s->n_rows);
    return inside[0] ? arena_printf(r->arena, "%s.%s", inside, near) : near;
}

static int unknown_key(const struct yaml_reader *r, const struct section *s,
                       const struct yaml_node *key, const char *inside, const char *full)
{
    yaml_wrong(r, key, "unknown key '%.120s'%s%s", full, s->help ? " in " : "",
               s->help ? s->help : "");
    for (size_t i = 0; s->renamed && s->renamed[i].was; i++)
        if (strcmp(s->renamed[i].was, full) == 0)
            return error_hint(r->e, "'%s' is '%s' now", full, s->renamed[i].now);
    const char *near = nearest_key(r, s, inside, key->text, full);
    const struct option *row = section_find(s, near ? near : s->rows[0].name);
    const char *example = row ? row->example : NULL;
    if (near && example)
        return error_hint(r->e, "did you mean '%s'? for example %s: %s", near, near, example);
    if (near) return error_hint(r->e, "did you mean '%s'?", near);
    if (s->help && example)
        return error_hint(r->e,
                          "keys of %s are in docs/reference/plan-files.md; for example %s: %s",
                          s->help, row->name, example);
    return ERROR_CONFIG;
}

/* ------------------------------------------------------------------ values */

static int bind_scalar(const struct yaml_reader *r, const struct option *row,
                       const struct yaml_node *node, void *target)
{
    const char *where = arena_printf(r->arena, "%s:%d:%d", r->path, node->line, node->column);
    if (node->kind == YAML_KIND_MAP)
        return yaml_wrong_row(r, node, row, "'%s' takes a value, not a section", row->name);
    if (node->kind == YAML_KIND_LIST)
        return yaml_wrong_row(r, node, row, "'%s' takes one value, not a list", row->name);
    if (yaml_is_null(node)) {
        if (row->type != OPTION_STRING || !row->fallback)
            return yaml_wrong_row(r, node, row, "'%s' has no value", row->name);
        return options_set(row, "", target, r->arena, where, r->e);
    }
    return options_set(row, node->text, target, r->arena, where, r->e);
}

static int bind_list(const struct yaml_reader *r, const struct option *row,
                     const struct yaml_node *node, struct option_list *list)
{
    *list = (struct option_list){0};
    if (node->kind == YAML_KIND_MAP)
        return yaml_wrong_row(r, node, row, "'%s' takes a value, not a section", row->name);
    if (yaml_is_null(node)) return 0;
    bool one = node->kind == YAML_KIND_SCALAR; /* one item, also where it is a quoted "[x]" */
    size_t n = one ? 1 : node->count;
    const char **items = arena_alloc(r->arena, (n + 1) * sizeof(*items));
    for (size_t i = 0; i < n; i++) {
        const struct yaml_node *item = one ? node : node->items[i];
        if (item->kind != YAML_KIND_SCALAR)
            return yaml_wrong_row(r, item, row, "'%s' is a list of plain values", row->name);
        items[i] = arena_strdup(r->arena, item->text);
    }
    *list = (struct option_list){items, n};
    return 0;
}

/* One of mid, low and high: a figure of its own with the key's unit and bounds. */
static int bind_part(const struct yaml_reader *r, const struct option *row, const char *part,
                     const struct yaml_node *node, double *out)
{
    struct figure value;
    struct option one = *row;
    if (node->kind != YAML_KIND_SCALAR)
        return yaml_wrong_row(r, node, row, "'%s.%s' takes one value", row->name, part);
    one.offset = 0;
    one.name = arena_printf(r->arena, "%s.%s", row->name, part);
    TRY(bind_scalar(r, &one, node, &value));
    *out = value.mid;
    return 0;
}

static int unknown_part(const struct yaml_reader *r, const struct option *row,
                        const struct yaml_node *key, const char *const *parts, size_t n)
{
    const char *near = name_nearest(key->text, parts, n);
    yaml_wrong(r, key, "unknown key '%s.%.80s' in a figure", row->name, key->text);
    return error_hint(
        r->e, "%s%s%sfor example %s: {mid: %s, low: .., high: .., grade: S, source: \"..\"}",
        near ? "did you mean '" : "", near ? near : "", near ? "'? " : "", row->name, row->example);
}

static int bind_figure_map(const struct yaml_reader *r, const struct option *row,
                           const struct yaml_node *map, struct figure *out)
{
    static const char *const parts[] = {"mid", "low", "high", "grade", "source"};
    const struct yaml_node *node[ARRAY_LEN(parts)] = {NULL};
    for (size_t i = 0; i < map->count; i++) {
        size_t k = 0;
        while (k < ARRAY_LEN(parts) && strcmp(map->keys[i]->text, parts[k]) != 0)
            k++;
        if (k == ARRAY_LEN(parts)) return unknown_part(r, row, map->keys[i], parts, k);
        node[k] = map->items[i];
    }
    const struct yaml_node *mid = node[0], *low = node[1], *high = node[2], *grade = node[3];
    if (!mid) {
        yaml_wrong(r, map, "'%s' has no mid", row->name);
        return error_hint(r->e, "for example %s: {mid: %s, grade: S, source: \"data sheet\"}",
                          row->name, row->example);
    }
    TRY(bind_part(r, row, "mid", mid, &out->mid));
    out->low = out->high = out->mid;
    if (low) TRY(bind_part(r, row, "low", low, &out->low));
    if (high) TRY(bind_part(r, row, "high", high, &out->high));
    if (out->low > out->mid || out->high < out->mid)
        return yaml_wrong_row(r, low ? low : high, row, "'%s': low <= mid <= high does not hold",
                              row->name);
    if (grade) {
        if (grade->kind != YAML_KIND_SCALAR || strlen(grade->text) != 1 ||
            !strchr(grades, grade->text[0])) {
            yaml_wrong(r, grade, "'%s.grade' is P, S, R, D, M or A", row->name);
            return error_hint(r->e, "primary read, secondary, compilation, derived, memory, "
                                    "assumption; for example grade: S");
        }
        out->grade = grade->text[0];
    }
    if (!node[4]) return 0;
    if (node[4]->kind != YAML_KIND_SCALAR)
        return yaml_wrong_row(r, node[4], row, "'%s.source' takes a text", row->name);
    out->source = yaml_is_null(node[4]) ? "" : arena_strdup(r->arena, node[4]->text);
    return 0;
}

int yaml_bind_figure(const struct yaml_reader *r, const struct option *row,
                     const struct yaml_node *node, struct figure *out)
{
    struct option here = *row;
    struct figure figure = {.grade = 'A', .source = "given"};
    here.offset = 0;
    if (node->kind == YAML_KIND_MAP)
        TRY(bind_figure_map(r, row, node, &figure));
    else
        TRY(bind_scalar(r, &here, node, &figure));
    *out = figure; /* all of it, or as it was */
    return 0;
}

static int bind_row(const struct yaml_reader *r, const struct option *row,
                    const struct yaml_node *node, void *target)
{
    void *place = (char *)target + row->offset;
    if (row->read) return row->read(r, row, node, target);
    switch (row->type) {
    case OPTION_LIST: return bind_list(r, row, node, place);
    case OPTION_FIGURE: return yaml_bind_figure(r, row, node, place);
    case OPTION_CUSTOM: return 0; /* whoever binds looks at the node himself */
    default: return bind_scalar(r, row, node, target);
    }
}

/* ------------------------------------------------------------------ maps */

struct binding {
    const struct yaml_reader *r;
    const struct section *s;
    void *target;
    bool *given; /* [n_rows] */
};

/* Keys of one map; `inside` is "" or the dotted name of the section within the table. */
static int bind_map(const struct binding *b, const struct yaml_node *map, const char *inside)
{
    for (size_t i = 0; i < map->count; i++) {
        const struct yaml_node *key = map->keys[i], *item = map->items[i];
        const char *full =
            inside[0] ? arena_printf(b->r->arena, "%s.%s", inside, key->text) : key->text;
        const struct option *row = section_find(b->s, full);
        const struct option *below = row ? NULL : first_below(b->s, full);
        if (row && b->given[row - b->s->rows]) return given_twice(b->r, key, full);
        if (row) {
            TRY(bind_row(b->r, row, item, b->target));
            b->given[row - b->s->rows] = true;
        } else if (!below) {
            return unknown_key(b->r, b->s, key, inside, full);
        } else if (item->kind == YAML_KIND_MAP) {
            TRY(bind_map(b, item, full));
        } else if (!yaml_is_null(item)) { /* with everything below commented out it is fine */
            yaml_wrong(b->r, item, "'%.120s' is a section: its keys go below it, indented", full);
            if (!below->example) return ERROR_CONFIG;
            return error_hint(b->r->e, "for example %s: {%s: %s}", full,
                              below->name + strlen(full) + 1, below->example);
        }
    }
    return 0;
}

static int missing(const struct yaml_reader *r, const struct section *s,
                   const struct yaml_node *map, const struct option *row)
{
    yaml_wrong_row(r, map, row, "'%s'%s%s is missing", row->name, s->help ? " of " : "",
                   s->help ? s->help : "");
    if (row->example || !row->help) return ERROR_CONFIG;
    return error_hint(r->e, "it has no default: %s", row->help);
}

int yaml_bind(const struct yaml_reader *r, const struct section *s, const struct yaml_node *map,
              bool based, void *target, uint8_t *origins)
{
    struct binding b = {r, s, target, arena_alloc(r->arena, s->n_rows + 1)};
    if (map->kind != YAML_KIND_MAP)
        return yaml_wrong_row(r, map, &s->rows[0], "%s is 'key: value' lines, not a %s",
                              s->help ? s->help : "this",
                              map->kind == YAML_KIND_LIST ? "list" : "single value");
    TRY(bind_map(&b, map, ""));
    for (size_t i = 0; i < s->n_rows; i++) {
        if (b.given[i] && origins) origins[i] = ORIGIN_FILE;
        bool there =
            b.given[i] || s->rows[i].fallback || based || (origins && origins[i] != ORIGIN_DEFAULT);
        if (!there) return missing(r, s, map, &s->rows[i]);
    }
    return 0;
}
