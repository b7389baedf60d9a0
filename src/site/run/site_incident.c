/* site_incident.c: what a scenario says happens, when it begins and when it is over. */
#include "site/read/site_read_internal.h"
#include "site/run/site_run_internal.h"

#include <string.h>

void site_incident_init(struct site_sim *x)
{
    struct site_state *st = x->st;
    st->grid_limit_w = st->curtail_w = INFINITY;
    st->chiller_share = st->firmware_factor = 1.0;
    for (int i = 0; i < x->s->n_events; i++) { /* a leak is nothing until somebody notices */
        const struct site_event *e = &x->s->events[i];
        double later = e->kind == SITE_EVENT_LEAK ? x->s->cooling.leak_detect_s : 0.0;
        site_push(x, site_us_of(e->at_s + later), SITE_K_SCENARIO, (uint32_t)i, 0);
    }
}

static void log_begin(struct site_sim *x, const struct site_event *e, bool begins)
{
    struct json_writer *w;
    bool supply = e->kind == SITE_EVENT_CURTAILMENT || e->kind == SITE_EVENT_GRID_LIMIT ||
                  e->kind == SITE_EVENT_FUEL_LOSS || e->kind == SITE_EVENT_HEAT_WAVE;
    if (supply && e->lasts_s > 0.0) x->st->supply_events += begins ? 1 : -1;
    if (e->kind == SITE_EVENT_FAILURE || e->kind == SITE_EVENT_TURBINE_TRIP) return; /* they do */
    w = site_log(x, site_event_kind_names[e->kind]);
    if (!w) return;
    jsonw_string(w, "phase", begins ? "begins" : "ends");
    if (*e->target) jsonw_string(w, "target", e->target);
    if (begins) site_event_log(e, w);
    if (begins && e->kind == SITE_EVENT_LEAK)
        jsonw_real(w, "noticed_s", x->s->cooling.leak_detect_s);
    site_log_end(x);
    if (begins && supply) x->st->supply_by = x->st->log_id;
}

/* ------------------------------------------------------------------ accelerators kept out */

static struct site_place place_of(const struct site_event *e)
{
    return (struct site_place){.pool = (int)e->pool - 1, .hall = e->target};
}

static void keep_out(struct site_sim *x, int event, double units, bool lost)
{
    struct site_state *st = x->st;
    const struct site_event *e = &x->s->events[event];
    if (st->n_held == SITE_MAX_HELD) {
        site_fail(x, "more than %d events keep accelerators out at once", SITE_MAX_HELD);
        return;
    }
    double n = site_fleet_take(x, place_of(e), units, lost);
    if (e->lasts_s <= 0.0) {
        site_fleet_give(x, place_of(e), n); /* an instant: it only interrupts */
        return;
    }
    st->held_event[st->n_held] = event;
    st->held_out[st->n_held++] = n;
}

static void give_back(struct site_sim *x, int event)
{
    struct site_state *st = x->st;
    for (int i = 0; i < st->n_held; i++) {
        if (st->held_event[i] != event) continue;
        site_fleet_give(x, place_of(&x->s->events[event]), st->held_out[i]);
        st->held_event[i] = st->held_event[--st->n_held];
        st->held_out[i] = st->held_out[st->n_held];
        return;
    }
}

/* What stands behind a pump that stops, or valves that close, has seconds. */
static void log_flow_lost(struct site_sim *x, int event)
{
    const struct site_event *e = &x->s->events[event];
    const struct site_cooling *c = &x->s->cooling;
    struct machine_phase_power p;
    machine_phase_power(x->s->cluster.pools[e->pool - 1].accelerator, 0.0, &p);
    double die = x->st->coolant_c + c->resistance_k_per_w * p.compute_w;
    int64_t rack = MAX(x->s->cluster.pools[e->pool - 1].accelerator->scaleup_domain, 1);
    double rack_w = machine_supplied_w((double)rack * (p.compute_w + p.other_w));
    struct json_writer *w = site_log(x, "flow_lost");
    if (w) {
        double alone =
            machine_die_alone_s(fmax(c->limit_c - die, 0.0), p.compute_w, c->heat_j_per_k);
        jsonw_real(w, "die_limit_s", alone);
        jsonw_real(w, "loop_k_per_s", machine_loop_k_per_s(rack_w, c->loop_l_per_rack));
        site_log_end(x);
    }
}

/* The job that a log's failure is of, and none where it says none; -1: that is drawn. */
static int job_of(const struct site_sim *x, const struct site_event *e)
{
    for (int i = 0; i < x->s->n_jobs && e->job; i++)
        if (strcmp(x->s->jobs[i].name, e->job) == 0) return i;
    return e->drawn && !*e->job ? SITE_OF_NONE : -1;
}

static void fail_first(struct site_sim *x, const struct site_event *e, double units, bool hardware)
{
    for (int c = 0; c < x->st->n_cohorts; c++) {
        const struct site_block *b = &x->s->blocks[x->st->cohorts[c].block];
        bool there = !*e->target || strcmp(b->hall, e->target) == 0 ||
                     strcmp(b->name, e->target) == 0 || e->kind == SITE_EVENT_FAILURE;
        if (x->st->cohorts[c].pool != e->pool - 1 || x->st->cohorts[c].count <= 0.0 || !there)
            continue;
        site_fleet_failure(x, c, units, hardware, job_of(x, e));
        return;
    }
}

/* Coolant runs out until the valves around the leak close: then what it cooled stands still, and what
 * got wet is repaired. */
static void leak_closes(struct site_sim *x, int event)
{
    const struct site_event *e = &x->s->events[event];
    double litres = e->l_per_min / 60.0 * x->s->cooling.leak_detect_s;
    double wet = floor(e->share * (double)e->units);
    x->st->r.leaks++;
    x->st->r.leaked_l += litres;
    struct json_writer *w = site_log(x, "leak_closed");
    if (w) {
        jsonw_real(w, "litres", litres);
        jsonw_real(w, "wet", wet);
        site_log_end(x);
    }
    log_flow_lost(x, event);
    keep_out(x, event, (double)e->units - wet, true);
    if (wet > 0.0) fail_first(x, e, wet, true);
}

/* ------------------------------------------------------------------ sags */

static void outage(struct site_sim *x)
{
    x->st->r.sag_trips++;
    for (int i = 0; i < x->s->n_jobs; i++)
        site_job_interrupt(x, i, 0.0, SITE_STOP_OUTAGE);
}

void site_incident_sag(struct site_sim *x, int event, int which)
{
    struct site_state *st = x->st;
    const struct site_event *e = &x->s->events[event];
    const struct site_supplies *u = &x->s->supplies;
    if (which == 0)
        st->sag_by = st->log_id; /* the line that was just written */
    else
        st->log_by = st->sag_by;
    if (site_grid_contract_w(x->s) <= 0.0) return; /* of a grid that is not there */
    st->r.sags++;
    double missing = machine_sag_missing_j(u->watts, e->depth, u->current_limit, e->sag_s);
    if (missing <= u->stored_j) {
        st->r.sags_ridden++;
        if (!u->ups) return; /* nobody notices */
    } else if (!u->ups || st->now < st->locked_until) {
        st->r.sag_missing_j = fmax(st->r.sag_missing_j, missing);
        outage(x);
        return;
    }
    if (st->now < st->locked_until) return;
    /* A UPS transfers at every sag, also where the supplies would have done without it. */
    int n = 0;
    for (int i = 0; i < st->n_sag_times; i++)
        if (st->now - st->sag_times[i] < site_us_of(u->lockout_s))
            st->sag_times[n++] = st->sag_times[i];
    st->n_sag_times = MIN(n, (int)ARRAY_LEN(st->sag_times) - 1);
    st->sag_times[st->n_sag_times++] = st->now;
    if (st->n_sag_times < u->lockout_transfers) return;
    st->locked_until = st->now + site_us_of(u->lockout_lasts_s);
    st->n_sag_times = 0;
    if (st->r.lockouts++ == 0.0) st->r.lockout_at_s = site_seconds(st->now);
    site_log_text(x, "ups_lockout", "why", "transfers");
}

/* ------------------------------------------------------------------ firmware */

void site_incident_firmware(struct site_sim *x)
{
    struct site_state *st = x->st;
    if (st->firmware_per_day <= 0.0) return;
    bool more = false;
    for (int p = 0; p < x->s->cluster.n_pools; p++) {
        st->pools[p].firmware_share =
            fmin(st->pools[p].firmware_share + st->firmware_per_day / 24.0, 1.0);
        more = more || st->pools[p].firmware_share < 1.0;
    }
    if (more) site_push(x, st->now + SITE_HOUR, SITE_K_FIRMWARE, 0, 0);
}

/* ------------------------------------------------------------------ both ends */

static bool meant(const struct site_event *e, const char *name)
{
    return !*e->target || strcmp(e->target, name) == 0;
}

/* Which of several events of a kind that go on at once decides, for what they are about (`name`; ""
 * where they are about all): the one whose value is the least, or the most; or the last to begin. */
enum decides { LEAST, MOST, LAST };
struct force {
    int kind;
    size_t field; /* a double of struct site_event */
    enum decides which;
    double without; /* the value where none goes on */
};
#define FIELD(f) offsetof(struct site_event, f)

static double in_force(const struct site_sim *x, const struct force *f, const char *name)
{
    double value = f->without;
    bool any = false;
    for (int i = 0; i < x->st->n_in_force; i++) {
        const struct site_event *e = &x->s->events[x->st->in_force[i]];
        if (e->kind != f->kind || (*name && !meant(e, name))) continue;
        double v = *(const double *)((const char *)e + f->field);
        bool better = f->which == LAST || (f->which == LEAST ? v < value : v > value);
        if (!any || better) value = v;
        any = true;
    }
    return value;
}

/* The event joins those that go on, or leaves them. */
static void note_force(struct site_sim *x, int event, bool begins)
{
    struct site_state *st = x->st;
    int n = 0;
    if (begins && st->n_in_force == SITE_MAX_FORCE) {
        site_fail(x, "more than %d events go on at once", SITE_MAX_FORCE);
        return;
    }
    if (begins) {
        st->in_force[st->n_in_force++] = event;
        return;
    }
    for (int i = 0; i < st->n_in_force; i++)
        if (st->in_force[i] != event) st->in_force[n++] = st->in_force[i];
    st->n_in_force = n;
}

static void to_gas(struct site_sim *x, const struct site_event *e, bool begins)
{
    for (int g = 0; g < x->s->n_gas; g++) {
        const struct site_gas *k = &x->s->gas[g];
        const struct force fuel = {SITE_EVENT_FUEL_LOSS, FIELD(share), MOST, 0.0},
                           nox = {SITE_EVENT_EMISSIONS, FIELD(nox_ppm), LAST, k->nox_ppm};
        if (!meant(e, k->name)) continue;
        if (e->kind == SITE_EVENT_EMISSIONS) {
            x->st->nox_ppm[g] = in_force(x, &nox, k->name);
        } else if (e->kind == SITE_EVENT_FUEL_LOSS) {
            double lost = in_force(x, &fuel, k->name);
            if (!begins) site_gas_fuel(x, g, e->share, true);
            if (lost > 0.0) site_gas_fuel(x, g, lost, false);
        } else if (begins) {
            site_gas_trip(x, g, e->units, e->drawn ? FORCED : "scenario", e->lasts_s);
        }
    }
    site_build_power(x);
}

/* Chillers that are lost in several faults: what each leaves of what the others leave. */
static double chillers_left(const struct site_sim *x)
{
    double left = 1.0;
    for (int i = 0; i < x->st->n_in_force; i++) {
        const struct site_event *e = &x->s->events[x->st->in_force[i]];
        if (e->kind == SITE_EVENT_CHILLER_FAULT) left *= 1.0 - e->share;
    }
    return left;
}

static void to_firmware(struct site_sim *x, bool begins)
{
    struct site_state *st = x->st;
    const struct force factor = {SITE_EVENT_BAD_FIRMWARE, FIELD(factor), MOST, 1.0},
                       share = {SITE_EVENT_BAD_FIRMWARE, FIELD(per_day), MOST, 0.0};
    bool spreads = st->firmware_per_day > 0.0;
    st->firmware_factor = in_force(x, &factor, "");
    st->firmware_per_day = in_force(x, &share, "");
    if (begins && !spreads) site_incident_firmware(x);
    for (int p = 0; p < x->s->cluster.n_pools && st->firmware_per_day <= 0.0; p++)
        st->pools[p].firmware_share = 0.0;
}

static void to_flaps(struct site_sim *x, const struct site_event *e)
{
    for (int i = 0; i < x->s->n_jobs; i++) {
        const struct force f = {SITE_EVENT_FLAP_STORM, FIELD(per_day), MOST, 0.0};
        if (meant(e, x->s->jobs[i].name))
            site_flap_storm(x, i, in_force(x, &f, x->s->jobs[i].name) / 86400.0);
    }
}

static void delay_orders(struct site_sim *x, const struct site_event *e)
{
    for (int b = 0; b < x->s->n_blocks; b++)
        if (meant(e, x->s->blocks[b].name) || meant(e, x->s->blocks[b].hall))
            site_build_delay(x, b, e->lasts_s);
}

static void change(struct site_sim *x, int event, bool begins)
{
    static const struct force curtailed = {SITE_EVENT_CURTAILMENT, FIELD(watts), LEAST, INFINITY},
                              limit = {SITE_EVENT_GRID_LIMIT, FIELD(watts), LEAST, INFINITY},
                              alarms = {SITE_EVENT_FALSE_ALARMS, FIELD(factor), MOST, 0.0};
    struct site_state *st = x->st;
    const struct site_event *e = &x->s->events[event];
    switch ((enum site_event_kind)e->kind) {
    case SITE_EVENT_HEAT_WAVE:
        st->kelvin += begins ? e->kelvin : -e->kelvin;
        site_cooling_hour(x);
        site_cooling_throttle(x);
        break;
    case SITE_EVENT_CHILLER_FAULT:
        st->chiller_share = chillers_left(x);
        site_cooling_hour(x);
        site_cooling_throttle(x);
        break;
    case SITE_EVENT_CURTAILMENT: st->curtail_w = in_force(x, &curtailed, ""); break;
    case SITE_EVENT_GRID_LIMIT: st->grid_limit_w = in_force(x, &limit, ""); break;
    case SITE_EVENT_TURBINE_TRIP:
    case SITE_EVENT_FUEL_LOSS:
    case SITE_EVENT_EMISSIONS: to_gas(x, e, begins); break;
    case SITE_EVENT_FLAP_STORM: to_flaps(x, e); break;
    case SITE_EVENT_BAD_FIRMWARE: to_firmware(x, begins); break;
    case SITE_EVENT_FALSE_ALARMS: st->false_alarms = in_force(x, &alarms, ""); break;
    case SITE_EVENT_ORDER_DELAYED:
        if (begins) delay_orders(x, e);
        break;
    default:
        if (!begins)
            give_back(x, event);
        else if (e->kind == SITE_EVENT_LEAK)
            leak_closes(x, event);
        else if (e->kind == SITE_EVENT_CDU_PUMP)
            log_flow_lost(x, event);
        if (begins && e->kind != SITE_EVENT_LEAK)
            keep_out(x, event, (double)e->units, e->kind == SITE_EVENT_CDU_PUMP);
    }
    st->power_changed = true;
    site_build_power(x);
}

/* Whether several of a kind may go on at once, so that the end of one must know of the others. */
static bool is_of_force(int kind)
{
    return kind == SITE_EVENT_CHILLER_FAULT || kind == SITE_EVENT_CURTAILMENT ||
           kind == SITE_EVENT_GRID_LIMIT || kind == SITE_EVENT_FUEL_LOSS ||
           kind == SITE_EVENT_EMISSIONS || kind == SITE_EVENT_FLAP_STORM ||
           kind == SITE_EVENT_BAD_FIRMWARE || kind == SITE_EVENT_FALSE_ALARMS;
}

void site_incident(struct site_sim *x, int event)
{
    const struct site_event *e = &x->s->events[event];
    log_begin(x, e, true);
    if (e->kind != SITE_EVENT_FAILURE) site_swing_begin(x);
    if (e->kind == SITE_EVENT_SAG_TRAIN) {
        site_incident_sag(x, event, 0);
        for (int i = 0; i < e->n_times; i++)
            site_push_in(x, e->times_s[i], SITE_K_SAG, (uint32_t)event, (uint32_t)i + 1);
        return;
    }
    if (e->kind == SITE_EVENT_FAILURE) {
        x->by_scenario = !e->drawn;
        fail_first(x, e, (double)e->units, e->hardware);
        x->by_scenario = false;
        return;
    }
    if (is_of_force(e->kind)) note_force(x, event, true);
    change(x, event, true);
    bool lasts = e->lasts_s > 0.0 && e->kind != SITE_EVENT_ORDER_DELAYED &&
                 e->kind != SITE_EVENT_TURBINE_TRIP;
    if (lasts) site_push_in(x, e->lasts_s, SITE_K_SCENARIO_END, (uint32_t)event, 0);
}

void site_incident_end(struct site_sim *x, int event)
{
    log_begin(x, &x->s->events[event], false);
    if (is_of_force(x->s->events[event].kind)) note_force(x, event, false);
    change(x, event, false);
}
