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

static double real_of(const json_t *o, const char *key, double fallback)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : fallback;
}

static int read_line(const struct yaml_reader *r, const json_t *o, const char *where, int line,
                     struct site_scenario *s)
{
    const char *name, *target = json_string_value(json_object_get(o, "target"));
    TRY(json_get_string(o, "event", &name, where, r->e));
    int kind = kind_of(name);
    bool ends = kind >= 0 && json_object_get(o, "phase");
    if (kind < 0 || ends)
        return 0; /* with a phase: of the scenario that was run, not of its luck */
    struct site_event *e = &s->events[s->n_events];
    memset(e, 0, sizeof(*e));
    section_defaults(&site_event_section, e);
    TRY(json_get_real(o, "at_s", &e->at_s, where, r->e));
    double pool = real_of(o, "pool", 1.0), units = real_of(o, "units", 1.0);
    if (!(e->at_s >= 0.0 && e->at_s < 1e11) || !(pool >= 1.0 && pool <= 8.0) ||
        !(units >= 0.0 && units <= 1e8)) {
        error_set_code(r->e, ERROR_CONFIG, "%s: at_s, pool or units is out of bounds", where);
        return error_hint(r->e, EXAMPLE);
    }
    e->kind = kind;
    e->pool = (int64_t)pool;
    e->units = (int64_t)units;
    e->lasts_s = real_of(o, "lasts_s", 0.0);
    e->hardware = !json_is_false(json_object_get(o, "hardware"));
    e->target = target ? arena_strdup(r->arena, target) : "";
    e->line = line;
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
