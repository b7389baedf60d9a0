/* site_read_log.c: the log of a run as a scenario: the lines of an events.jsonl whose event is one
 * that a scenario knows (failures, turbine trips and the like) happen again at their times. Others
 * are what the twin itself concludes, or follow from a line that happens again, and are passed over.
 *
 * What was the luck of the run that was logged (failures, forced outages) does not happen beside the
 * luck of this one: where this scenario draws its own, the log's is left out, which is said. */
#include "site/read/site_read_internal.h"

#include <string.h>

enum { MAX_BYTES = 1 << 28 };
#define EXAMPLE "for example {\"event\": \"failure\", \"at_s\": 3600, \"pool\": 1, \"units\": 8}"

/* What the twin logs of its own (site_run.c and others of its folder). */
static const char *const conclusions[] = {
    "site",          "block_stands",    "common_cause",  "deficit",
    "battery_gives", "battery_rests",   "units_start",   "units_stop",
    "deficit_over",  "deficit_open",    "power_cap",     "shed",
    "flow_lost",     "leak_closed",     "gang_restarts", "interruption",
    "job_done",      "job_down",        "job_paused",    "job_resumed",
    "job_runs",      "permit_exceeded", "permit_ends",   "throttled",
    "turbine_back",  "ups_lockout"};

/* Number of an event's name, or -1. */
static int kind_of(const char *name)
{
    for (int i = 0; site_event_kind_names[i]; i++)
        if (strcmp(site_event_kind_names[i], name) == 0) return i;
    return -1;
}

/* The keys that only some kinds of events know, by their names in a scenario and in a log. */
#define OF(kind) (1u << SITE_EVENT_##kind)
static const struct {
    const char *key;
    unsigned kinds;
} keys_of_events[] = {
    {"kelvin", OF(HEAT_WAVE)},
    {"depth", OF(SAG_TRAIN)},
    {"sag", OF(SAG_TRAIN)},
    {"sag_s", OF(SAG_TRAIN)},
    {"times", OF(SAG_TRAIN)},
    {"watts", OF(CURTAILMENT) | OF(GRID_LIMIT)},
    {"per_day", OF(FLAP_STORM) | OF(BAD_FIRMWARE)},
    {"factor", OF(BAD_FIRMWARE) | OF(FALSE_ALARMS)},
    {"share", OF(FUEL_LOSS) | OF(CHILLER_FAULT) | OF(LEAK)},
    {"nox_ppm", OF(EMISSIONS)},
    {"l_per_min", OF(LEAK)},
    {"hardware", OF(FAILURE)},
    {"pool", OF(CDU_PUMP) | OF(LEAK) | OF(MAINTENANCE) | OF(FAILURE)},
    {"units", OF(TURBINE_TRIP) | OF(CDU_PUMP) | OF(LEAK) | OF(MAINTENANCE) | OF(FAILURE)},
};
#undef OF

unsigned site_event_kinds(const char *key)
{
    for (size_t i = 0; i < ARRAY_LEN(keys_of_events); i++)
        if (strcmp(keys_of_events[i].key, key) == 0) return keys_of_events[i].kinds;
    return ~0u;
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

static bool knows(const struct site_event *e, const char *key)
{
    return (site_event_kinds(key) & (1u << e->kind)) != 0;
}

/* Also what is 0, which need not be the default. */
void site_event_log(const struct site_event *e, struct json_writer *w)
{
    for (size_t i = 1; i < ARRAY_LEN(numbers); i++) {
        double v = *(const double *)(const void *)((const char *)e + numbers[i].at);
        if (knows(e, numbers[i].key)) jsonw_real(w, numbers[i].key, v);
    }
    if (knows(e, "pool")) jsonw_int(w, "pool", e->pool);
    if (knows(e, "units")) jsonw_int(w, "units", e->units);
    if (e->n_times) jsonw_open(w, "times", '[');
    for (int i = 0; i < e->n_times; i++)
        jsonw_real(w, NULL, e->times_s[i]);
    if (e->n_times) jsonw_close(w, ']');
}

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

/* Lines that happen again, by their numbers, which rise. */
struct kept {
    int64_t *ids;
    size_t n, cap;
};

static int64_t id_of(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_integer(v) ? json_integer_value(v) : 0;
}

static void keep(struct kept *k, int64_t id, struct arena *a)
{
    if (id <= 0 || (k->n && id <= k->ids[k->n - 1])) return;
    if (k->n == k->cap) {
        k->cap = k->cap ? 2 * k->cap : 64;
        int64_t *more = arena_alloc(a, k->cap * sizeof(*more));
        if (k->n) memcpy(more, k->ids, k->n * sizeof(*more));
        k->ids = more;
    }
    k->ids[k->n++] = id;
}

static bool is_kept(const struct kept *k, int64_t id)
{
    size_t low = 0, high = k->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (k->ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < k->n && k->ids[low] == id;
}

static int unknown_event(const struct yaml_reader *r, const char *name, const char *where)
{
    const char *names[64];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(conclusions); i++) {
        if (strcmp(conclusions[i], name) == 0) return 0;
        names[n++] = conclusions[i];
    }
    for (int i = 0; site_event_kind_names[i] && n < ARRAY_LEN(names); i++)
        names[n++] = site_event_kind_names[i];
    const char *near = name_nearest(name, names, n);
    error_set_code(r->e, ERROR_CONFIG, "%s: there is no event '%.60s'", where, name);
    if (near) return error_hint(r->e, "did you mean '%s'?", near);
    return error_hint(r->e, EXAMPLE);
}

/* A line that no run has written has no other members than those of an event. */
static int check_members(const struct yaml_reader *r, const json_t *o, const char *where)
{
    static const char *const others[] = {"time",  "event",    "phase",  "pool", "units",
                                         "times", "hardware", "target", "job",  "why"};
    const char *names[ARRAY_LEN(others) + ARRAY_LEN(numbers)], *key;
    json_t *value;
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        names[n++] = others[i];
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        names[n++] = numbers[i].key;
    json_object_foreach((json_t *)(uintptr_t)o, key, value)
    {
        bool known = false;
        for (size_t i = 0; i < n && !known; i++)
            known = strcmp(names[i], key) == 0;
        if (known) continue;
        const char *near = name_nearest(key, names, n);
        error_set_code(r->e, ERROR_CONFIG, "%s: an event has no '%.60s'", where, key);
        if (near) return error_hint(r->e, "did you mean '%s'?", near);
        return error_hint(r->e, EXAMPLE);
    }
    return 0;
}

/* A line of an event that a scenario knows: 1: it happens again; 0: it is passed over. */
static int is_again(const struct yaml_reader *r, const json_t *o, const char *where,
                    struct kept *kept)
{
    const char *phase = json_string_value(json_object_get(o, "phase"));
    if (id_of(o, "id") <= 0) TRY(check_members(r, o, where));
    if (phase && strcmp(phase, "begins") != 0) return 0;
    if (phase && id_of(o, "id") > 0 && !json_object_get(o, "lasts_s")) {
        error_set_code(r->e, ERROR_CONFIG, "%s: it does not say how long that lasts", where);
        return error_hint(r->e, "an earlier version wrote this log: run its scenario again");
    }
    if (is_kept(kept, id_of(o, "by"))) return 0;
    if (phase) keep(kept, id_of(o, "id"), r->arena);
    return 1;
}

static int read_line(const struct yaml_reader *r, const json_t *o, const char *where, int line,
                     struct kept *kept, struct site_scenario *s)
{
    const char *name;
    TRY(json_get_string(o, "event", &name, where, r->e));
    int kind = kind_of(name);
    s->log_causes += strcmp(name, "common_cause") == 0;
    if (kind < 0) return unknown_event(r, name, where);
    int again = is_again(r, o, where, kept);
    if (again <= 0) return again;
    struct site_event *e = &s->events[s->n_events];
    const char *why = json_string_value(json_object_get(o, "why")),
               *job = json_string_value(json_object_get(o, "job"));
    memset(e, 0, sizeof(*e));
    section_defaults(&site_event_section, e);
    e->kind = kind;
    e->line = line;
    e->lasts_s = 0.0;
    e->job = job ? arena_strdup(r->arena, job) : "";
    e->logged = id_of(o, "id") > 0;
    e->drawn =
        e->logged && ((kind == SITE_EVENT_FAILURE && !why) || (why && strcmp(why, FORCED) == 0));
    if (read_event(r, o, e) < 0) return error_context(r->e, "%s", where);
    /* a leak is logged when it is noticed */
    e->at_s = fmax(e->at_s - json_number_value(json_object_get(o, "noticed_s")), 0.0);
    if (kind == SITE_EVENT_HEAT_WAVE && e->kelvin == 0.0) {
        error_set_code(r->e, ERROR_CONFIG, "%s: a heat_wave without 'kelvin'", where);
        return error_hint(r->e, "for example \"kelvin\": 6");
    }
    s->n_events++;
    return 0;
}

/* Whether this scenario draws such events itself. */
static bool draws_own(const struct site_scenario *s, const struct site_event *e)
{
    if (e->kind == SITE_EVENT_FAILURE) return s->failures.law != SITE_LAW_NONE;
    for (int g = 0; g < s->n_gas; g++)
        if (strcmp(s->gas[g].name, e->target) == 0) return s->gas[g].mttf_s > 0.0;
    return false;
}

void site_log_settle(const struct yaml_reader *r, struct site_scenario *s)
{
    size_t failures = 0, outages = 0, kept = 0;
    int n = 0;
    memset(s->log_failures_per_s, 0, sizeof(s->log_failures_per_s));
    for (int i = 0; i < s->n_events; i++) {
        struct site_event *e = &s->events[i];
        const bool failure = e->kind == SITE_EVENT_FAILURE;
        if (!e->drawn || !draws_own(s, e)) {
            const int p = (int)e->pool - 1;
            double all = (double)s->cluster.pools[p].count * s->days * 86400.0;
            if (e->drawn && failure) {
                kept++;
                s->log_failures_per_s[p] += all > 0.0 ? 1.0 / all : 0.0;
            }
            s->events[n++] = *e;
            continue;
        }
        failures += failure;
        outages += !failure;
    }
    s->n_events = n;
    if (failures)
        log_warn("%s: %zu failures of the log are left out, as this scenario draws its own; with "
                 "failures: {law: none} those of the log happen",
                 r->path, failures);
    if (outages)
        log_warn("%s: %zu forced outages of the log are left out, as the units draw their own; "
                 "with mttf: 0 those of the log happen",
                 r->path, outages);
    if (s->log_causes && s->n_causes == 0)
        log_warn("%s: %lld common causes of the log are left out: only a scenario's causes draw "
                 "such",
                 r->path, (long long)s->log_causes);
    if (kept && s->failures.false_alarms > 0.0)
        log_warn("%s: false alarms come beside failures that are drawn, so there are none here",
                 r->path);
}

static int read_lines(const struct yaml_reader *r, const char *path, const char *text,
                      struct site_scenario *s)
{
    int line = 0, cap = 0;
    struct kept kept = {0};
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
                rc = read_line(r, o, where, line, &kept, s);
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
    s->log_causes = 0;
    int rc = read_lines(r, path, text, s);
    const bool empty = text[strspn(text, "\r\n\t ")] == '\0';
    mem_free(text);
    if (rc < 0 || !empty) return rc;
    yaml_wrong(r, at, "the log '%.200s' has no lines", path);
    return error_hint(r->e, "events: [] has no events; the log is what --events FILE.jsonl wrote");
}
