/* site_read_log.c: the log of a run as a scenario: the lines of an events.jsonl whose event is one
 * that a scenario knows (failures, turbine trips and the like) happen again at their times. Others
 * are what the twin itself concludes, and are passed over. */
#include "site/read/site_read_internal.h"

#include <string.h>

enum { MAX_BYTES = 1 << 28 };
#define EXAMPLE "for example {\"event\": \"failure\", \"at_s\": 3600, \"pool\": 1, \"units\": 8}"

/* Number of an event's name, or -1. */
static int kind_of(const char *name)
{
    for (int i = 0; site_event_kind_names[i]; i++)
        if (strcmp(site_event_kind_names[i], name) == 0) return i;
    return -1;
}

/* The members of a line that are numbers, as the rows of an event have them; seconds, watts, shares. */
static const struct {
    const char *key;
    size_t at;
    double low, high;
} numbers[] = {
#define NUMBER(key, field, low, high)                          \
    {                                                          \
        key, offsetof(struct site_event, field), (low), (high) \
    }
    NUMBER("at_s", at_s, 0.0, 1e11),          NUMBER("lasts_s", lasts_s, 0.0, 1e11),
    NUMBER("kelvin", kelvin, -60.0, 60.0),    NUMBER("depth", depth, 0.0, 1.0),
    NUMBER("sag_s", sag_s, 0.0, 3600.0),      NUMBER("watts", watts, 0.0, 1e13),
    NUMBER("per_day", per_day, 0.0, 1e6),     NUMBER("factor", factor, 0.0, 1e4),
    NUMBER("share", share, 0.0, 1.0),         NUMBER("nox_ppm", nox_ppm, 0.0, 1e4),
    NUMBER("l_per_min", l_per_min, 0.0, 1e5),
#undef NUMBER
};

static int read_number(const struct yaml_reader *r, const json_t *v, const char *key,
                       const double bounds[2], double *out)
{
    *out = json_number_value(v);
    if (json_is_number(v) && *out >= bounds[0] && *out <= bounds[1]) return 0;
    error_set_code(r->e, ERROR_CONFIG, "'%s' is no number from %.6g to %.6g", key, bounds[0],
                   bounds[1]);
    return error_hint(r->e, EXAMPLE);
}

/* A whole number. */
static int read_count(const struct yaml_reader *r, const json_t *o, const char *key,
                      const double bounds[2], int64_t *out)
{
    const json_t *v = json_object_get(o, key);
    double x;
    if (!v) return 0;
    TRY(read_number(r, v, key, bounds, &x));
    if (x != floor(x)) {
        error_set_code(r->e, ERROR_CONFIG, "'%s' %.6g is no whole number", key, x);
        return error_hint(r->e, EXAMPLE);
    }
    *out = (int64_t)x;
    return 0;
}

static int read_times(const struct yaml_reader *r, const json_t *list, struct site_event *e)
{
    const size_t n = json_array_size(list);
    if (list && (!json_is_array(list) || n > SITE_MAX_SAGS))
        return error_set_code(r->e, ERROR_CONFIG, "'times' is no list of up to %d numbers",
                              SITE_MAX_SAGS);
    for (size_t i = 0; i < n; i++) {
        const double bounds[2] = {i ? e->times_s[i - 1] : 0.0, 1e9};
        TRY(read_number(r, json_array_get(list, i), "times", bounds, &e->times_s[i]));
    }
    e->n_times = (int)n;
    return 0;
}

static int read_event(const struct yaml_reader *r, const json_t *o, struct site_event *e)
{
    static const double pools[2] = {1.0, 8.0}, counts[2] = {0.0, 1e8};
    const json_t *hardware = json_object_get(o, "hardware"), *target = json_object_get(o, "target");
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        const json_t *v = json_object_get(o, numbers[i].key);
        const double bounds[2] = {numbers[i].low, numbers[i].high};
        if (v || i == 0)
            TRY(read_number(r, v, numbers[i].key, bounds,
                            (double *)(void *)((char *)e + numbers[i].at)));
    }
    TRY(read_count(r, o, "pool", pools, &e->pool));
    TRY(read_count(r, o, "units", counts, &e->units));
    TRY(read_times(r, json_object_get(o, "times"), e));
    if ((hardware && !json_is_boolean(hardware)) || (target && !json_is_string(target))) {
        error_set_code(r->e, ERROR_CONFIG, "'%s' is no %s",
                       target && !json_is_string(target) ? "target" : "hardware",
                       target && !json_is_string(target) ? "text" : "true or false");
        return error_hint(r->e, EXAMPLE);
    }
    e->hardware = !json_is_false(hardware);
    e->target = target ? arena_strdup(r->arena, json_string_value(target)) : "";
    return 0;
}

static int read_line(const struct yaml_reader *r, const json_t *o, const char *where, int line,
                     struct site_scenario *s)
{
    const char *name;
    TRY(json_get_string(o, "event", &name, where, r->e));
    int kind = kind_of(name);
    bool ends = kind >= 0 && json_object_get(o, "phase");
    if (kind < 0 || ends)
        return 0; /* with a phase: of the scenario that was run, not of its luck */
    struct site_event *e = &s->events[s->n_events];
    memset(e, 0, sizeof(*e));
    section_defaults(&site_event_section, e);
    e->kind = kind;
    e->line = line;
    e->lasts_s = 0.0;
    if (read_event(r, o, e) < 0) return error_context(r->e, "%s", where);
    if (kind == SITE_EVENT_HEAT_WAVE && e->kelvin == 0.0) {
        error_set_code(r->e, ERROR_CONFIG, "%s: a heat_wave without 'kelvin'", where);
        return error_hint(r->e, "for example \"kelvin\": 6");
    }
    s->n_events++;
    return 0;
}

static int read_lines(const struct yaml_reader *r, const char *path, const char *text,
                      struct site_scenario *s)
{
    int line = 0, cap = 0;
    for (const char *p = text; *p;) {
        const char *end = strchr(p, '\n');
        size_t n = end ? (size_t)(end - p) : strlen(p);
        const char *where = arena_printf(r->arena, "%s:%d", path, ++line);
        json_t *o;
        if (n > 0) {
            if (s->n_events == SITE_MAX_EVENTS)
                return error_set_code(r->e, ERROR_CONFIG, "%s: more than %d events", where,
                                      SITE_MAX_EVENTS);
            if (s->n_events == cap) {
                cap = cap ? 2 * cap : 1024;
                struct site_event *more = arena_alloc(r->arena, (size_t)cap * sizeof(*more));
                if (s->n_events) memcpy(more, s->events, (size_t)s->n_events * sizeof(*more));
                s->events = more;
            }
            int rc = json_parse(p, n, where, &o, r->e);
            if (rc >= 0) {
                rc = read_line(r, o, where, line, s);
                json_decref(o);
            }
            if (rc < 0) {
                r->e->code = ERROR_CONFIG;
                if (r->e->hint[0]) return ERROR_CONFIG;
                return error_hint(r->e, EXAMPLE);
            }
        }
        p += n + (end != NULL);
    }
    return 0;
}

int site_read_log(const struct yaml_reader *r, const struct yaml_node *at, const char *name,
                  struct site_scenario *s)
{
    char *text;
    size_t size;
    const char *path = site_file_beside(r, name);
    if (r->depth >= PRESET_MAX_DEPTH)
        return yaml_wrong(r, at, "events '%.120s': no further file is opened", name);
    if (!file_exists(path)) {
        yaml_wrong(r, at, "there is no log '%.200s'", path);
        return error_hint(r->e, "a list of events, or the log that --events FILE.jsonl wrote");
    }
    TRY(file_read(path, MAX_BYTES, &text, &size, r->e));
    s->n_events = 0;
    int rc = read_lines(r, path, text, s);
    mem_free(text);
    return rc;
}
