/* site_read.c: a scenario from its file.
 *
 * The tables of site_rows.c say what each key means; here stand the lists, what follows from what
 * was not said, and the relations that must hold between keys. */
#include "site/read/site_read_internal.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ lists */

typedef int item_reader(const struct yaml_reader *r, const struct yaml_node *map, void *item);

struct list_of {
    const struct section *section;
    const char *key;
    size_t size; /* of an item */
    int most;
    item_reader *check; /* or NULL */
};

/* Events and pages name what they are about: no two of a list are called the same. */
static int check_names(const struct yaml_reader *r, const struct yaml_node *node,
                       const struct list_of *l, const void *items)
{
    const struct option *row = section_find(l->section, "name");
    if (!row) return 0;
    for (size_t i = 0; i < node->count; i++) {
        const char *name =
            *(const char *const *)(const void *)((const char *)items + i * l->size + row->offset);
        const struct yaml_node *at = yaml_find(node->items[i], "name");
        if (!*name && yaml_get(node->items[i], "name"))
            return yaml_wrong_row(r, at, row, "an entry of '%s' has an empty name", l->key);
        for (size_t j = 0; j < i && *name; j++) {
            const char *other = *(const char *const *)(const void *)((const char *)items +
                                                                     j * l->size + row->offset);
            if (strcmp(name, other) != 0) continue;
            yaml_wrong(r, at, "two entries of '%s' are called '%.60s'", l->key, name);
            return error_hint(r->e, "for example name: %.60s 2", name);
        }
    }
    return 0;
}

/* Items of a list into an array of at most so many; returns how many, or a code. */
static int read_list(const struct yaml_reader *r, const struct option *f,
                     const struct yaml_node *node, const struct list_of *l, void *items)
{
    if (yaml_is_null(node)) return 0;
    if (node->kind != YAML_KIND_LIST) return yaml_wrong_row(r, node, f, "'%s' is a list", l->key);
    if (node->count > (size_t)l->most)
        return yaml_wrong_row(r, node, f, "'%s' has %zu entries, at most %d", l->key, node->count,
                              l->most);
    for (size_t i = 0; i < node->count; i++) {
        void *item = (char *)items + i * l->size;
        memset(item, 0, l->size);
        section_defaults(l->section, item);
        TRY(yaml_bind(r, l->section, node->items[i], false, item, NULL));
        if (l->check) TRY(l->check(r, node->items[i], item));
    }
    TRY(check_names(r, node, l, items));
    return (int)node->count;
}

static int set_count(int n, int *count)
{
    if (n < 0) return n;
    *count = n;
    return 0;
}

int site_read_blocks(const struct yaml_reader *r, const struct option *f,
                     const struct yaml_node *node, void *target)
{
    static const struct list_of l = {&site_block_section, "blocks", sizeof(struct site_block),
                                     SITE_MAX_BLOCKS, NULL};
    struct site_scenario *s = target;
    return set_count(read_list(r, f, node, &l, s->blocks), &s->n_blocks);
}

static int check_job(const struct yaml_reader *r, const struct yaml_node *map, void *item)
{
    struct site_job *j = item;
    const struct yaml_node *at = yaml_find(map, "low");
    if (j->kind == SITE_JOB_TRAINING && j->low_s > j->step_s) {
        yaml_wrong(r, at, "'low' of job '%.60s' is longer than its step of %.6g s", j->name,
                   j->step_s);
        return error_hint(r->e, "for example low: %.3g s", 0.25 * j->step_s);
    }
    if (j->kind == SITE_JOB_GANGS && j->gangs < 1)
        return yaml_wrong(r, map, "job '%.60s' has no gangs", j->name);
    if (j->kind == SITE_JOB_REPLAY) {
        if (!*j->trace_path)
            return yaml_wrong_row(r, map, section_find(&site_job_section, "trace"),
                                  "job '%.60s' is of kind replay, and no trace is named", j->name);
        if (j->accelerators == 0)
            return yaml_wrong_row(r, map, section_find(&site_job_section, "accelerators"),
                                  "job '%.60s' of kind replay states no accelerators", j->name);
        TRY(site_read_trace(r, yaml_find(map, "trace"), j));
    }
    if (j->block > 0 && j->accelerators % j->block != 0) {
        yaml_wrong_row(r, yaml_find(map, "block"), section_find(&site_job_section, "block"),
                       "job '%.60s' wants %lld accelerators, which are no whole racks of %lld",
                       j->name, (long long)j->accelerators, (long long)j->block);
        return error_hint(r->e, "for example accelerators: %lld",
                          (long long)(MAX(j->accelerators / j->block, 1) * j->block));
    }
    if (!yaml_get(map, "by_hour"))
        for (int h = 0; h < 24; h++)
            j->by_hour[h] = 1.0;
    return 0;
}

int site_read_jobs(const struct yaml_reader *r, const struct option *f,
                   const struct yaml_node *node, void *target)
{
    static const struct list_of l = {&site_job_section, "jobs", sizeof(struct site_job),
                                     SITE_MAX_JOBS, check_job};
    struct site_scenario *s = target;
    return set_count(read_list(r, f, node, &l, s->jobs), &s->n_jobs);
}

static int check_gas(const struct yaml_reader *r, const struct yaml_node *map, void *item)
{
    struct site_gas *g = item;
    if (!yaml_get(map, "heat_rate"))
        for (int i = 0; i < SITE_CURVE; i++)
            g->load_share[i] = 1.0, g->heat_kj_per_kwh[i] = 10160.0;
    if (g->on > g->units) {
        yaml_wrong(r, yaml_find(map, "on"), "'on' of '%.60s' is more than its %lld units", g->name,
                   (long long)g->units);
        return error_hint(r->e, "for example on: %lld", (long long)g->units);
    }
    return 0;
}

int site_read_gas(const struct yaml_reader *r, const struct option *f, const struct yaml_node *node,
                  void *target)
{
    static const struct list_of l = {&site_gas_section, "gas", sizeof(struct site_gas),
                                     SITE_MAX_GAS, check_gas};
    struct site_scenario *s = target;
    TRY(set_count(read_list(r, f, node, &l, s->gas), &s->n_gas));
    s->gas_given = true;
    int64_t units = 0;
    for (int i = 0; i < s->n_gas; i++)
        units += s->gas[i].units;
    if (units > SITE_MAX_UNITS)
        return yaml_wrong_row(r, node, f, "'gas' has %lld units, at most %d", (long long)units,
                              SITE_MAX_UNITS);
    return 0;
}

static int check_load(const struct yaml_reader *r, const struct yaml_node *map, void *item)
{
    struct site_load *l = item;
    if (l->swing_w > 0.0 && l->period_s <= 0.0)
        return yaml_wrong_row(r, yaml_find(map, "swing_w"),
                              section_find(&site_load_section, "period"),
                              "'swing_w' of load '%.60s' has no period", l->name);
    double most = l->duty > 0.0 ? 0.5 * l->watts / l->duty : INFINITY;
    if (l->swing_w > most * (1.0 + 1e-9)) {
        yaml_wrong(r, yaml_find(map, "swing_w"),
                   "the wave of load '%.60s' would fall below 0 W: its mean is %.6g W", l->name,
                   l->watts);
        return error_hint(r->e,
                          "half of its height is at most watts / (2 duty); for example "
                          "swing_w: %.6g",
                          most);
    }
    if (!yaml_get(map, "by_hour"))
        for (int h = 0; h < 24; h++)
            l->by_hour[h] = 1.0;
    if (l->ramp_s > 3600.0)
        return yaml_wrong_row(r, yaml_find(map, "ramp"), section_find(&site_load_section, "ramp"),
                              "'ramp' of load '%.60s' is longer than an hour", l->name);
    return 0;
}

int site_read_loads(const struct yaml_reader *r, const struct option *f,
                    const struct yaml_node *node, void *target)
{
    static const struct list_of l = {&site_load_section, "loads", sizeof(struct site_load),
                                     SITE_MAX_LOADS, check_load};
    struct site_scenario *s = target;
    return set_count(read_list(r, f, node, &l, s->loads), &s->n_loads);
}

static int check_cause(const struct yaml_reader *r, const struct yaml_node *map, void *item)
{
    struct site_cause *c = item;
    if (c->needs > c->units)
        return yaml_wrong_row(r, yaml_find(map, "needs"),
                              section_find(&site_cause_section, "needs"),
                              "'needs' of '%.60s' is more than its units", c->name);
    if (c->mtbf_s <= 0.0)
        return yaml_wrong_row(r, yaml_find(map, "mtbf"), section_find(&site_cause_section, "mtbf"),
                              "'mtbf' of '%.60s' is 0", c->name);
    return 0;
}

int site_read_causes(const struct yaml_reader *r, const struct option *f,
                     const struct yaml_node *node, void *target)
{
    static const struct list_of l = {&site_cause_section, "causes", sizeof(struct site_cause),
                                     SITE_MAX_CAUSES, check_cause};
    struct site_scenario *s = target;
    return set_count(read_list(r, f, node, &l, s->causes), &s->n_causes);
}

int site_read_events(const struct yaml_reader *r, const struct option *f,
                     const struct yaml_node *node, void *target)
{
    static const struct list_of l = {&site_event_section, "events", sizeof(struct site_event),
                                     SITE_MAX_EVENTS, NULL};
    struct site_scenario *s = target;
    if (node->kind == YAML_KIND_SCALAR && !yaml_is_null(node))
        return site_read_log(r, node, node->text, s);
    if (node->kind == YAML_KIND_LIST)
        s->events = arena_alloc(r->arena, (node->count + 1) * sizeof(*s->events));
    TRY(set_count(read_list(r, f, node, &l, s->events), &s->n_events));
    for (int i = 0; i < s->n_events; i++)
        s->events[i].line = node->items[i]->line;
    return 0;
}

/* ------------------------------------------------------------------ rows of numbers */

static int read_number(const struct yaml_reader *r, const struct option *f,
                       const struct yaml_node *node, enum unit_kind unit, double *out)
{
    const char *name;
    if (node->kind == YAML_KIND_SCALAR && unit_parse(node->text, unit, out, &name) == UNIT_OK)
        return 0;
    return yaml_wrong_row(r, node, f, "'%s' takes numbers", f->name);
}

static int read_day(const struct yaml_reader *r, const struct option *f,
                    const struct yaml_node *node, double day[24])
{
    if (node->kind != YAML_KIND_LIST || node->count != 24)
        return yaml_wrong_row(r, node, f, "'by_hour' is a list of 24 shares, one an hour");
    for (size_t i = 0; i < 24; i++) {
        TRY(read_number(r, f, node->items[i], UNIT_SHARE, &day[i]));
        if (!(day[i] >= 0.0 && day[i] <= 1e6))
            return yaml_wrong_row(r, node->items[i], f, "'by_hour' takes shares of at least 0");
    }
    return 0;
}

int site_read_day_of_job(const struct yaml_reader *r, const struct option *f,
                         const struct yaml_node *node, void *target)
{
    struct site_job *j = target;
    TRY(read_day(r, f, node, j->by_hour));
    for (int h = 0; h < 24; h++)
        if (j->by_hour[h] > 1.0)
            return yaml_wrong_row(r, node->items[h], f, "'by_hour' of a job is at most 1");
    return 0;
}

int site_read_day_of_load(const struct yaml_reader *r, const struct option *f,
                          const struct yaml_node *node, void *target)
{
    struct site_load *l = target;
    return read_day(r, f, node, l->by_hour);
}

int site_read_heat_rate(const struct yaml_reader *r, const struct option *f,
                        const struct yaml_node *node, void *target)
{
    struct site_gas *g = target;
    const bool flat = node->kind == YAML_KIND_SCALAR;
    if (!flat && (node->kind != YAML_KIND_LIST || node->count < 1 || node->count > SITE_CURVE))
        return yaml_wrong_row(r, node, f, "'heat_rate' is a number, or 1 to %d pairs", SITE_CURVE);
    for (size_t i = 0; i < SITE_CURVE; i++) {
        const struct yaml_node *pair = flat ? node : node->items[MIN(i, node->count - 1)];
        if (!flat && (pair->kind != YAML_KIND_LIST || pair->count != 2))
            return yaml_wrong_row(r, pair, f, "'heat_rate' takes pairs of load and kJ for a kWh");
        g->load_share[i] = 1.0;
        if (!flat) TRY(read_number(r, f, pair->items[0], UNIT_SHARE, &g->load_share[i]));
        TRY(read_number(r, f, flat ? pair : pair->items[1], UNIT_NONE, &g->heat_kj_per_kwh[i]));
        bool rises = flat || i == 0 || i >= node->count || g->load_share[i] > g->load_share[i - 1];
        if (!rises || !(g->load_share[i] > 0.0 && g->load_share[i] <= 1.0))
            return yaml_wrong_row(r, pair, f, "'heat_rate': loads rise, above 0 and up to 1");
        if (!(g->heat_kj_per_kwh[i] >= 3600.0 && g->heat_kj_per_kwh[i] <= 1e5))
            return yaml_wrong_row(r, pair, f,
                                  "'heat_rate' of %.6g kJ for a kWh: it takes 3,600 to 100,000",
                                  g->heat_kj_per_kwh[i]);
    }
    return 0;
}

int site_read_times(const struct yaml_reader *r, const struct option *f,
                    const struct yaml_node *node, void *target)
{
    struct site_event *e = target;
    if (node->kind != YAML_KIND_LIST || node->count > SITE_MAX_SAGS)
        return yaml_wrong_row(r, node, f, "'times' is a list of at most %d times", SITE_MAX_SAGS);
    for (size_t i = 0; i < node->count; i++) {
        TRY(read_number(r, f, node->items[i], UNIT_SECONDS, &e->times_s[i]));
        if (!(e->times_s[i] >= (i ? e->times_s[i - 1] : 0.0) && e->times_s[i] < 1e9))
            return yaml_wrong_row(r, node->items[i], f, "'times' of sags do not fall");
    }
    e->n_times = (int)node->count;
    return 0;
}

/* ------------------------------------------------------------------ what follows */

static void default_blocks(struct site_scenario *s)
{
    s->n_blocks = 0;
    for (int64_t p = 0; p < s->cluster.n_pools; p++) {
        struct site_block *b = &s->blocks[s->n_blocks++];
        memset(b, 0, sizeof(*b));
        section_defaults(&site_block_section, b);
        b->name = s->cluster.pools[p].accelerator->name;
        b->pool = p + 1;
        b->accelerators = s->cluster.pools[p].count;
    }
}

/* The site's sources but the grid, as units that a planner's file does not tell apart: price all in,
 * fuel and nitrogen oxides from the grams that it states. */
static void default_gas(struct site_scenario *s)
{
    s->n_gas = 0;
    for (int64_t i = 0; i < s->site.n_sources && s->n_gas < SITE_MAX_GAS; i++) {
        const struct machine_power_source *p = &s->site.sources[i];
        double capacity = figure_mid(&p->capacity_w, 0.0);
        if (p->grid || capacity <= 0.0) continue;
        struct site_gas *g = &s->gas[s->n_gas++];
        memset(g, 0, sizeof(*g));
        section_defaults(&site_gas_section, g);
        g->name = p->name;
        g->units = (int64_t)fmin(ceil(capacity / 50e6), SITE_MAX_UNITS / SITE_MAX_GAS);
        g->unit_w = capacity / (double)g->units;
        double ramp = figure_mid(&p->ramp_w_per_s, 0.0);
        g->ramp_w_per_s = ramp > 0.0 ? ramp / (double)g->units : 0.0;
        double heat = machine_gas_heat_of_co2(figure_mid(&p->co2_g_per_kwh, 566.0));
        for (int k = 0; k < SITE_CURVE; k++)
            g->load_share[k] = 1.0, g->heat_kj_per_kwh[k] = heat;
        g->nox_ppm = figure_mid(&p->nox_g_per_kwh, 0.0) / machine_gas_nox_g_per_kwh(1.0, heat);
        g->usd_per_mmbtu = 0.0;
        g->usd_per_mwh = 1e3 * figure_mid(&p->usd_per_kwh, 0.065);
    }
}

static int check_pool(const struct yaml_reader *r, const struct yaml_node *at, int64_t pool,
                      const struct site_scenario *s, const char *what)
{
    if (pool <= s->cluster.n_pools) return 0;
    yaml_wrong(r, at, "%s is of pool %lld, the cluster has %lld", what, (long long)pool,
               (long long)s->cluster.n_pools);
    return error_hint(r->e,
                      "pools are counted from 1 as the cluster lists them; for example pool: 1");
}

static const struct yaml_node *item_of(const struct yaml_node *map, const char *key, int i)
{
    const struct yaml_node *list = yaml_get(map, key);
    bool there = list && list->kind == YAML_KIND_LIST && (size_t)i < list->count;
    return there ? list->items[i] : map;
}

static int check_blocks(const struct yaml_reader *r, const struct yaml_node *map,
                        const struct site_scenario *s)
{
    int64_t sum[MACHINE_MAX_POOLS] = {0};
    for (int i = 0; i < s->n_blocks; i++) {
        const struct site_block *b = &s->blocks[i];
        const struct yaml_node *at = item_of(map, "blocks", i);
        TRY(check_pool(r, at, b->pool, s, "a block"));
        sum[b->pool - 1] += b->accelerators;
        int64_t most = s->cluster.pools[b->pool - 1].count;
        if (sum[b->pool - 1] <= most) continue;
        yaml_wrong(r, at, "blocks of pool %lld have %lld accelerators, the pool %lld",
                   (long long)b->pool, (long long)sum[b->pool - 1], (long long)most);
        return error_hint(r->e, "for example accelerators: %lld",
                          (long long)MAX(most - (sum[b->pool - 1] - b->accelerators), 1));
    }
    return 0;
}

static int check_failures(const struct yaml_reader *r, const struct yaml_node *map,
                          const struct site_scenario *s)
{
    const struct site_failures *f = &s->failures;
    const struct yaml_node *at = yaml_find(map, "failures.law");
    if (f->law == SITE_LAW_EXPONENTIAL && f->accelerator_days <= 0.0)
        return yaml_wrong_row(r, at,
                              section_find(&site_scenario_section, "failures.accelerator_days"),
                              "failures are exponential without accelerator_days");
    if (f->law == SITE_LAW_WEIBULL && f->accelerator_days <= 0.0 && f->scale_days <= 0.0)
        return yaml_wrong_row(r, at, section_find(&site_scenario_section, "failures.scale_days"),
                              "failures are weibull without scale_days or accelerator_days");
    if (f->law == SITE_LAW_WEIBULL && f->accelerator_days > 0.0 && f->scale_days > 0.0) {
        yaml_wrong(r, yaml_find(map, "failures.scale_days"),
                   "failures are weibull by both scale_days and accelerator_days");
        return error_hint(r->e, "leave one out: either says the other");
    }
    if (f->law == SITE_LAW_TABLE && !*f->table)
        return yaml_wrong_row(r, at, section_find(&site_scenario_section, "failures.table"),
                              "failures are by a table, and none is named");
    return 0;
}

static int check_repair(const struct yaml_reader *r, const struct yaml_node *map,
                        const struct site_scenario *s)
{
    const struct site_repair *f = &s->repair;
    if (f->readmit_fails >= 1.0 && f->hands_s + f->turnaround_s + f->readmit_s <= 0.0)
        return yaml_wrong_row(r, yaml_find(map, "repair.readmit_fails"),
                              section_find(&site_scenario_section, "repair.readmit_fails"),
                              "nothing passes its tests, and each takes no time");
    int64_t there = machine_cluster_accelerators(&s->cluster);
    if (s->cold_spares > there) {
        yaml_wrong(r, yaml_find(map, "cold_spares"),
                   "%lld cold spares, the cluster has %lld accelerators", (long long)s->cold_spares,
                   (long long)there);
        return error_hint(r->e, "for example cold_spares: %lld", (long long)MAX(there / 50, 1));
    }
    return 0;
}

/* Names of the blocks and halls of a pool (0: of all); returns how many. */
static size_t places_of(const struct site_scenario *s, int64_t pool, const char **names)
{
    size_t n = 0;
    for (int i = 0; i < s->n_blocks; i++) {
        if (pool && s->blocks[i].pool != pool) continue;
        if (*s->blocks[i].name) names[n++] = s->blocks[i].name;
        if (*s->blocks[i].hall) names[n++] = s->blocks[i].hall;
    }
    return n;
}

/* The name that an event is about, of gas units, blocks and halls, or jobs; "": any will do. */
static int check_target(const struct yaml_reader *r, const struct yaml_node *at,
                        const struct site_scenario *s, const struct site_event *e)
{
    const char *names[2 * SITE_MAX_BLOCKS + SITE_MAX_JOBS];
    size_t n = 0;
    switch (e->kind) {
    case SITE_EVENT_TURBINE_TRIP:
    case SITE_EVENT_FUEL_LOSS:
    case SITE_EVENT_EMISSIONS:
        for (int i = 0; i < s->n_gas; i++)
            names[n++] = s->gas[i].name;
        break;
    case SITE_EVENT_ORDER_DELAYED: n = places_of(s, 0, names); break;
    case SITE_EVENT_CDU_PUMP:
    case SITE_EVENT_LEAK:
    case SITE_EVENT_MAINTENANCE: n = places_of(s, e->pool, names); break;
    case SITE_EVENT_FLAP_STORM:
        for (int i = 0; i < s->n_jobs; i++)
            names[n++] = s->jobs[i].name;
        break;
    default:
        if (!*e->target || e->kind == SITE_EVENT_FAILURE) return 0;
        yaml_wrong(r, at, "event %s takes no 'target'", site_event_kind_names[e->kind]);
        return error_hint(r->e, "leave it out: it is about the whole site");
    }
    const bool of_gas = e->kind == SITE_EVENT_TURBINE_TRIP || e->kind == SITE_EVENT_FUEL_LOSS ||
                        e->kind == SITE_EVENT_EMISSIONS;
    if (of_gas && s->n_gas == 0) {
        yaml_wrong(r, at, "event %s is about gas units, and the site has none",
                   site_event_kind_names[e->kind]);
        return error_hint(r->e, "for example gas: [{name: turbines, units: 16, unit_w: 38 MW}]");
    }
    if (!*e->target) return 0;
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], e->target) == 0) return 0;
    yaml_wrong(r, at, "event %s is about '%.60s', which is not there",
               site_event_kind_names[e->kind], e->target);
    const char *near = name_nearest(e->target, names, n);
    if (near) return error_hint(r->e, "did you mean '%s'? for example target: %s", near, near);
    if (n) return error_hint(r->e, "for example target: %s", names[0]);
    return error_hint(r->e, "there is none; leave 'target' out");
}

double site_grid_contract_w(const struct site_scenario *s)
{
    const double unlimited = 1e13; /* as good as that */
    const struct figure *contract = &s->grid.contract_w;
    double own = unlimited;
    for (int64_t i = 0; i < s->site.n_sources; i++) {
        const struct machine_power_source *p = &s->site.sources[i];
        own = p->grid ? figure_mid(&p->capacity_w, unlimited) : i == 0 ? 0.0 : own;
        if (p->grid) break;
    }
    return contract->grade ? contract->mid : own;
}

/* A failure is of accelerators that there are, and of a job of the scenario where a file names one. */
static int check_failure(const struct yaml_reader *r, const struct yaml_node *at,
                         const struct site_scenario *s, const struct site_event *e)
{
    if (e->kind != SITE_EVENT_FAILURE) return 0;
    const int64_t there = s->cluster.pools[e->pool - 1].count;
    if (e->units > there) {
        yaml_wrong(r, at, "%lld accelerators fail, the pool has %lld", (long long)e->units,
                   (long long)there);
        return error_hint(r->e, "for example units: 8");
    }
    bool known = !e->job || !*e->job || e->logged;
    const char *names[SITE_MAX_JOBS];
    for (int i = 0; i < s->n_jobs; i++) {
        names[i] = s->jobs[i].name;
        known = known || strcmp(e->job, names[i]) == 0;
    }
    if (known) return 0;
    const char *near = name_nearest(e->job, names, (size_t)s->n_jobs);
    yaml_wrong(r, at, "there is no job '%.60s'", e->job);
    if (near) return error_hint(r->e, "did you mean '%s'?", near);
    return error_hint(r->e, "without a job it is drawn whose accelerators fail");
}

/* What an event says that its kind does not know, or does not say that it needs. */
static int check_keys(const struct yaml_reader *r, const struct yaml_node *at,
                      const struct site_event *e)
{
    const char *what = site_event_kind_names[e->kind];
    if (at->kind != YAML_KIND_MAP) return 0; /* of a log */
    for (size_t i = 0; i < at->count; i++) {
        const char *key = at->keys[i]->text;
        const unsigned kinds = site_event_kinds(key);
        if (kinds & (1u << e->kind)) continue;
        yaml_wrong(r, at->items[i], "event %s does not know '%s'", what, key);
        return error_hint(r->e, "it belongs to %s", site_event_kind_names[__builtin_ctz(kinds)]);
    }
    if (e->kind == SITE_EVENT_HEAT_WAVE && e->kelvin == 0.0)
        return yaml_wrong_row(r, at, section_find(&site_event_section, "kelvin"),
                              "event heat_wave does not say by how much it is warmer");
    return 0;
}

/* A job that could never have what it wants is a mistake. */
static int check_size(const struct yaml_reader *r, const struct yaml_node *at,
                      const struct site_scenario *s, const struct site_job *j)
{
    int64_t there =
        j->pool ? s->cluster.pools[j->pool - 1].count : machine_cluster_accelerators(&s->cluster);
    double least = j->kind == SITE_JOB_TRAINING ? j->elastic_min * (double)j->accelerators : 1.0;
    if (least <= (double)there && j->block <= there) return 0;
    yaml_wrong(r, at, "job '%.60s' wants %lld accelerators, %s %lld", j->name,
               (long long)MAX(j->accelerators, j->block),
               j->pool ? "its pool has" : "the cluster has", (long long)there);
    return error_hint(
        r->e, "for example accelerators: %lld",
        (long long)(j->block > 1 && j->block <= there ? there / j->block * j->block : there));
}

static int check_cause_hall(const struct yaml_reader *r, const struct yaml_node *at,
                            const struct site_scenario *s, const struct site_cause *c)
{
    if (!*c->hall) return 0;
    for (int i = 0; i < s->n_blocks; i++)
        if (s->blocks[i].pool == c->pool && strcmp(s->blocks[i].hall, c->hall) == 0) return 0;
    yaml_wrong(r, at, "cause '%.60s' is of hall '%.60s', in which no block of pool %lld stands",
               c->name, c->hall, (long long)c->pool);
    return error_hint(r->e,
                      "blocks name their halls; for example blocks: [{accelerators: 1024, "
                      "hall: %.60s}]",
                      c->hall);
}

/* Events that the file itself names, and that its days do not reach, do not happen. */
static void warn_late(const struct yaml_reader *r, const struct site_scenario *s)
{
    const struct site_event *first = NULL;
    int late = 0;
    for (int i = 0; i < s->n_events; i++) {
        if (s->events[i].at_s <= s->days * 86400.0) continue;
        late++;
        if (!first || s->events[i].at_s < first->at_s) first = &s->events[i];
    }
    if (first)
        log_warn("%s: %d of %d events would begin after the end, %.6g d, and do not happen: "
                 "first %s at %.6g d",
                 r->path, late, s->n_events, s->days, site_event_kind_names[first->kind],
                 first->at_s / 86400.0);
}

static int check_events(const struct yaml_reader *r, const struct yaml_node *map,
                        const struct site_scenario *s)
{
    const struct yaml_node *events = yaml_get(map, "events");
    const bool named = events != NULL;
    const char *name = named && events->kind == YAML_KIND_SCALAR ? events->text : "";
    const bool of_log = *name && s->n_events > 0;
    const struct yaml_reader log = {of_log ? site_file_beside(r, name) : "", r->arena, r->e,
                                    r->depth};
    for (int i = 0; i < s->n_events; i++) {
        const struct site_event *e = &s->events[i];
        const struct yaml_node line = {.kind = YAML_KIND_SCALAR, .line = e->line, .column = 1};
        const struct yaml_node *at = of_log ? &line : item_of(map, "events", i);
        TRY(check_pool(of_log ? &log : r, at, e->pool, s, "an event"));
        TRY(check_target(of_log ? &log : r, at, s, e));
        TRY(check_failure(of_log ? &log : r, at, s, e));
        TRY(check_keys(r, at, e));
    }
    if (named) warn_late(r, s);
    for (int i = 0; i < s->n_jobs; i++) {
        const struct yaml_node *at = item_of(map, "jobs", i);
        TRY(check_pool(r, at, s->jobs[i].pool, s, "a job"));
        TRY(check_size(r, at, s, &s->jobs[i]));
    }
    for (int i = 0; i < s->n_causes; i++) {
        const struct yaml_node *at = item_of(map, "causes", i);
        TRY(check_pool(r, at, s->causes[i].pool, s, "a cause"));
        TRY(check_cause_hall(r, at, s, &s->causes[i]));
    }
    return 0;
}

static int check_coolers(const struct yaml_reader *r, const struct yaml_node *map,
                         const struct site_scenario *s)
{
    const struct site_cooling *c = &s->cooling;
    if (c->cooler_air_c < c->cooler_out_c && c->cooler_out_c < c->cooler_in_c) return 0;
    return yaml_wrong_row(r, yaml_find(map, "cooling.cooler_in_c"),
                          section_find(&site_scenario_section, "cooling.cooler_in_c"),
                          "cooling: cooler_air_c < cooler_out_c < cooler_in_c does not hold");
}

static int check_battery(const struct yaml_reader *r, const struct yaml_node *map,
                         const struct site_scenario *s)
{
    const struct site_battery *b = &s->battery;
    const struct yaml_node *at = yaml_find(map, "battery.start");
    if (b->floor > b->ceiling || b->start < b->floor || b->start > b->ceiling) {
        yaml_wrong(r, at, "battery: floor <= start <= ceiling does not hold");
        return error_hint(r->e,
                          "for example battery: {floor: %.6g %%, start: %.6g %%, ceiling: %.6g %%}",
                          100.0 * fmin(b->floor, b->ceiling), 50.0 * (b->floor + b->ceiling),
                          100.0 * fmax(b->floor, b->ceiling));
    }
    if (b->target > b->ceiling) {
        yaml_wrong(r, yaml_find(map, "battery.target"),
                   "battery.target %.6g %% is above its ceiling", 100.0 * b->target);
        return error_hint(r->e, "for example battery.target: %.6g %%", 100.0 * b->ceiling);
    }
    const struct machine_site *site = &s->site;
    bool power = figure_mid(&b->power_w, figure_mid(&site->battery_w, 0.0)) > 0.0;
    bool energy = figure_mid(&b->energy_wh, figure_mid(&site->battery_wh, 0.0)) > 0.0;
    bool both = b->power_w.grade && b->energy_wh.grade, off = b->power_w.grade && !power && !both;
    if ((b->power_w.grade || b->energy_wh.grade) && power != energy && !off)
        return yaml_wrong_row(r, yaml_find(map, "battery.power_w"),
                              section_find(&site_scenario_section, "battery.energy_wh"),
                              "'battery.power_w' and 'battery.energy_wh' are given together, or "
                              "both 0");
    return 0;
}

/* The least that power is lowered to lies below what it is always held at. */
static int check_caps(const struct yaml_reader *r, const struct yaml_node *map,
                      struct site_scenario *s)
{
    struct site_controls *c = &s->controls;
    const struct yaml_node *at = yaml_find(map, "controls.cap_min");
    if (c->cap_min <= c->cap || c->cap_min >= 1.0) return 0;
    if (at == map) { /* not given */
        c->cap_min = c->cap;
        return 0;
    }
    yaml_wrong(r, at, "controls.cap_min %.6g %% is above controls.cap %.6g %%", 100.0 * c->cap_min,
               100.0 * c->cap);
    return error_hint(r->e, "for example controls.cap_min: %.6g %%", 100.0 * c->cap);
}

static int by_time(const void *a, const void *b)
{
    const struct site_event *x = a, *y = b;
    if (x->at_s != y->at_s) return x->at_s < y->at_s ? -1 : 1;
    return (x->line > y->line) - (x->line < y->line);
}

static void note_file(struct site_scenario *s, const char *path)
{
    if (*path && s->n_files < SITE_MAX_FILES) s->files[s->n_files++] = path;
}

/* The file itself, and what it names. */
static void note_files(const struct yaml_reader *r, const struct yaml_node *map,
                       struct site_scenario *s)
{
    static const char *const keys[] = {"cluster", "site", "events"};
    const struct yaml_node *failures = yaml_get(map, "failures");
    note_file(s, r->path);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const struct yaml_node *node = yaml_get(map, keys[i]);
        if (node && node->kind == YAML_KIND_SCALAR) note_file(s, site_file_beside(r, node->text));
    }
    if (failures && failures->kind == YAML_KIND_MAP && yaml_get(failures, "table"))
        note_file(s, site_file_beside(r, s->failures.table));
    if (s->weather) note_file(s, s->weather->path);
    for (int i = 0; i < s->n_jobs; i++)
        if (s->jobs[i].trace) note_file(s, s->jobs[i].trace->path);
}

static int finish(const struct yaml_reader *r, const struct yaml_node *map, void *target)
{
    struct site_scenario *s = target;
    const struct yaml_node *cluster = yaml_get(map, "cluster"), *site = yaml_get(map, "site");
    if (cluster) TRY(machine_read_cluster(r, cluster, &s->cluster));
    if (!s->cluster.n_pools)
        return yaml_wrong_row(r, map, section_find(&site_scenario_section, "cluster"),
                              "'cluster' of a scenario is missing");
    if (site) {
        TRY(machine_read_site(r, site, &s->site));
    } else if (!s->site.name) {
        struct yaml_node usual = YAML_SCALAR("us-average");
        struct yaml_reader from_nowhere = {"", r->arena, r->e, r->depth};
        TRY(machine_read_site(&from_nowhere, &usual, &s->site));
    }
    if (!yaml_get(map, "blocks") && (cluster || s->n_blocks == 0)) default_blocks(s);
    if (!s->gas_given) default_gas(s);
    const struct yaml_node *cooling = yaml_get(map, "cooling");
    bool named = cooling && cooling->kind == YAML_KIND_MAP && yaml_get(cooling, "weather");
    if (named && strcmp(s->cooling.weather, "climate") != 0) {
        struct site_weather *w = arena_alloc(r->arena, sizeof(*w));
        TRY(site_read_weather(r, yaml_find(map, "cooling.weather"), s->cooling.weather, w));
        s->weather = w;
    } else if (named) {
        s->weather = NULL;
    }
    if (*s->failures.table && s->n_bins == 0)
        TRY(site_read_table(r, yaml_find(map, "failures.table"), s));
    note_files(r, map, s);
    TRY(check_blocks(r, map, s));
    TRY(check_failures(r, map, s));
    TRY(check_repair(r, map, s));
    TRY(check_battery(r, map, s));
    TRY(check_coolers(r, map, s));
    TRY(check_caps(r, map, s));
    TRY(check_events(r, map, s));
    site_log_settle(r, s);
    if (s->n_events) qsort(s->events, (size_t)s->n_events, sizeof(*s->events), by_time);
    if (!*s->title) s->title = s->name;
    s->path = r->path;
    return 0;
}

/* A list of another scenario is replaced whole; its own table and sources follow anew. */
static void changed(const struct yaml_node *map, void *target)
{
    struct site_scenario *s = target;
    if (yaml_get(map, "failures")) s->n_bins = 0;
}

static const struct preset_kind scenario_kind = {.section = &site_scenario_section,
                                                 .size = sizeof(struct site_scenario),
                                                 .changed = changed,
                                                 .finish = finish};

/* A saved state belongs to what the file said, and to every file that it named: to the numbers, and
 * not to where they lie in memory. */
static void add_rows(const struct section *rows, const void *target, struct str *text)
{
    for (size_t i = 0; i < rows->n_rows; i++)
        if (rows->rows[i].type != OPTION_CUSTOM)
            options_get(&rows->rows[i], target, text), str_puts(text, "\n");
}

static void add_trace(const struct site_trace *t, struct str *text)
{
    for (size_t i = 0; t && i < t->n; i++)
        str_printf(text, "%.17g %.17g %lld %d\n", t->rows[i].submit_s, t->rows[i].seconds,
                   (long long)t->rows[i].accelerators, t->rows[i].fails);
}

static void add_numbers(const double *x, int n, struct str *text)
{
    for (int i = 0; i < n; i++)
        str_printf(text, "%.17g ", x[i]);
    str_puts(text, "\n");
}

/* What rows read that are no single values. */
static void add_lists(const struct site_scenario *s, struct str *text)
{
    for (int i = 0; i < s->n_jobs; i++)
        add_numbers(s->jobs[i].by_hour, 24, text);
    for (int i = 0; i < s->n_loads; i++)
        add_numbers(s->loads[i].by_hour, 24, text);
    for (int i = 0; i < s->n_gas; i++) {
        add_numbers(s->gas[i].load_share, SITE_CURVE, text);
        add_numbers(s->gas[i].heat_kj_per_kwh, SITE_CURVE, text);
    }
    for (int i = 0; i < s->n_events; i++)
        add_numbers(s->events[i].times_s, s->events[i].n_times, text);
    if (s->n_bins > 0) {
        add_numbers(s->bin_from_d, s->n_bins + 1, text);
        add_numbers(s->bin_hazard, s->n_bins, text);
    }
    for (int i = 0; i < 12 && s->site.has_climate; i++)
        str_printf(text, "%.17g %.17g\n", s->site.months[i].dry_bulb_c,
                   s->site.months[i].wet_bulb_c);
    for (int64_t i = 0; i < s->site.n_sources; i++)
        add_rows(&machine_source_section, &s->site.sources[i], text);
}

static uint64_t fingerprint_of(const struct site_scenario *s)
{
    struct str text = {0};
    add_lists(s, &text);
    add_rows(&site_scenario_section, s, &text);
    add_rows(&machine_cluster_section, &s->cluster, &text);
    add_rows(&machine_site_section, &s->site, &text);
    for (int64_t i = 0; i < s->cluster.n_pools; i++)
        add_rows(&machine_accelerator_section, s->cluster.pools[i].accelerator, &text);
    for (int i = 0; i < s->n_blocks; i++)
        add_rows(&site_block_section, &s->blocks[i], &text);
    for (int i = 0; i < s->n_jobs; i++)
        add_rows(&site_job_section, &s->jobs[i], &text), add_trace(s->jobs[i].trace, &text);
    for (int i = 0; i < s->n_gas; i++)
        add_rows(&site_gas_section, &s->gas[i], &text);
    for (int i = 0; i < s->n_loads; i++)
        add_rows(&site_load_section, &s->loads[i], &text);
    for (int i = 0; i < s->n_causes; i++)
        add_rows(&site_cause_section, &s->causes[i], &text);
    for (int i = 0; i < s->n_events; i++)
        add_rows(&site_event_section, &s->events[i], &text);
    if (s->weather) {
        char hex[17];
        hash_to_hex(hash_xxh3(s->weather->hours, s->weather->n * sizeof(*s->weather->hours)), hex);
        str_puts(&text, hex);
    }
    uint64_t value = hash_xxh3(text.data, text.len);
    str_fini(&text);
    return value;
}

int site_read_root(const struct yaml_reader *r, const struct yaml_node *root,
                   struct site_scenario *out)
{
    TRY(preset_read(r, &scenario_kind, root, out, NULL));
    out->fingerprint = fingerprint_of(out);
    return 0;
}

int site_load(const char *path, struct arena *a, struct site_scenario *out, struct error *e)
{
    TRY(preset_load(&scenario_kind, path, NULL, a, out, e));
    out->fingerprint = fingerprint_of(out);
    return 0;
}

/* ------------------------------------------------------------------ what else might happen */

int site_inject(const struct site_scenario *from, const char *events, struct arena *a,
                struct site_scenario *out, struct error *e)
{
    const struct yaml_reader r = {.path = "event", .arena = a, .e = e};
    const struct option *row = section_find(&site_scenario_section, "events");
    struct yaml_node *root;
    TRY(yaml_parse(events, strlen(events), r.path, a, &root, e));
    if (root->kind != YAML_KIND_LIST)
        return yaml_wrong_row(&r, root, row, "a list of events is needed");
    int last = 0; /* line of the file, after which these stand */
    for (int i = 0; i < from->n_events; i++)
        last = MAX(last, from->events[i].line);
    *out = *from;
    TRY(site_read_events(&r, row, root, out));
    for (int i = 0; i < out->n_events; i++) {
        const struct yaml_node *at = root->items[i];
        TRY(check_pool(&r, at, out->events[i].pool, out, "an event"));
        TRY(check_target(&r, at, out, &out->events[i]));
        TRY(check_keys(&r, at, &out->events[i]));
        out->events[i].line = last + 1 + i;
    }
    size_t n = (size_t)from->n_events, more = (size_t)out->n_events;
    if (n + more > SITE_MAX_EVENTS)
        return yaml_wrong(&r, root, "more than %d events", SITE_MAX_EVENTS);
    struct site_event *all = arena_alloc(a, (n + more + 1) * sizeof(*all));
    if (n) memcpy(all, from->events, n * sizeof(*all));
    memcpy(all + n, out->events, more * sizeof(*all));
    out->events = all;
    out->n_events = (int)(n + more);
    qsort(all, n + more, sizeof(*all), by_time);
    out->fingerprint = fingerprint_of(out);
    return 0;
}
