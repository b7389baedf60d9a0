/* site_ladder.c: what is done about a deficit.
 *
 * A deficit is load that nothing serves, or that only a battery below its reserve does while
 * sources cannot. The battery comes first, then, each `delay` after the last: the accelerators'
 * power is capped, as little as it takes; jobs save and stop, lowest priority first; what is left
 * is shed and counted as unserved, and what still runs works by so much less. After `restore`
 * without a deficit the last step is taken back, if what runs by then can carry the load. Supplies
 * and UPS are taken to ride through the delays. */
#include "site/run/site_run_internal.h"

#define CAP_MARGIN 5e-3 /* of what the sources give: so that a load that still rises is met once */
#define MARGIN     1e-3 /* of the load: that is left free when a step is taken back */

bool site_ladder_active(const struct site_sim *x)
{
    return x->st->cap < x->s->controls.cap || x->st->n_paused > 0 || x->st->shed;
}

/* Watts that the sources give once they have moved, without the battery. `could`: with units that
 * would have to start, too. */
static double firm_w(const struct site_sim *x, bool could)
{
    double sum = site_grid_limit(x);
    for (int g = 0; g < x->s->n_gas; g++)
        sum +=
            (could ? (double)site_gas_ready(x, g) : (double)x->st->n_on[g]) * site_gas_unit_w(x, g);
    return sum;
}

static bool in_deficit(const struct site_sim *x)
{
    const struct site_state *st = x->st;
    double all = site_battery_energy_j(x), near = 1e-9 * fmax(st->load_w, 1.0);
    if (st->unserved_w > near || st->unserved_slope > 0.0) return true;
    return st->battery_w > near &&
           st->soc_j <= x->s->battery.reserve * all + site_soc_tolerance(x, st->drain_w) &&
           st->load_w > firm_w(x, false) * (1.0 + 1e-9);
}

/* A deficit begins: by what happened just now, or by what made power short before. */
static void log_deficit(struct site_sim *x)
{
    struct site_state *st = x->st;
    const bool begins = !st->in_deficit;
    if (begins) {
        st->in_deficit = true;
        st->deficit_acted = false;
        st->deficit_most_w = 0.0;
        st->deficit_since = st->now;
        st->deficit_unserved_j = st->r.unserved_j;
    }
    if (!st->log_by) st->log_by = st->supply_by;
    struct json_writer *w = site_log(x, "deficit");
    if (!w) return;
    jsonw_real(w, "load_w", st->load_w);
    jsonw_real(w, "missing_w", fmax(st->load_w - firm_w(x, false), 0.0));
    jsonw_real(w, "unserved_w", st->unserved_w);
    site_log_end(x);
    st->deficit_by = st->log_id;
    if (begins) st->deficit_first = st->log_id;
}

/* The most that has been missing since this deficit began, with all that was lowered or paused. */
static void note_missing(struct site_sim *x)
{
    struct site_state *st = x->st;
    double whole = site_ladder_active(x) ? site_load_at(x, x->s->controls.cap, true) : 0.0;
    st->deficit_lowered_w = fmax(whole - st->load_w, 0.0);
    st->deficit_most_w =
        fmax(st->deficit_most_w, st->load_w + st->deficit_lowered_w - firm_w(x, false));
}

/* The battery begins to give what the sources that run cannot, or no longer does. */
static void log_battery(struct site_sim *x)
{
    struct site_state *st = x->st;
    const double all = site_battery_energy_j(x);
    const bool gives = st->battery_w > 1e-9 * fmax(st->load_w, 1.0) &&
                       st->load_w > firm_w(x, false) * (1.0 + 1e-9);
    if (gives == st->battery_gives) return;
    st->battery_gives = gives;
    const uint64_t by = st->log_by;
    if (!gives) st->log_by = st->battery_by;
    struct json_writer *w = site_log_supply(x, gives ? "battery_gives" : "battery_rests");
    st->log_by = by;
    if (w) {
        if (gives) jsonw_real(w, "watts", st->battery_w);
        if (!gives) jsonw_real(w, "after_s", site_seconds(st->now - st->battery_since));
        jsonw_real(w, "charge", all > 0.0 ? st->soc_j / all : 0.0);
        site_log_end(x);
    }
    if (!gives) return;
    st->battery_by = st->log_id;
    st->battery_since = st->now;
}

/* How long a deficit has gone on, and what nobody has served of it. */
static void log_whole(struct site_sim *x, const char *event)
{
    struct site_state *st = x->st;
    uint64_t by = st->log_by;
    st->log_by = st->deficit_first;
    struct json_writer *w = site_log(x, event);
    st->log_by = by;
    if (!w) return;
    jsonw_real(w, "after_s", site_seconds(st->now - st->deficit_since));
    jsonw_real(w, "unserved_wh", (st->r.unserved_j - st->deficit_unserved_j) / 3600.0);
    site_log_end(x);
}

void site_ladder_log_end(struct site_sim *x)
{
    if (x->st->in_deficit) log_whole(x, "deficit_open");
}

/* Where load is shed, or waits for sources that still move, all of it is unserved by the same share,
 * and accelerators work by so much less: their clock falls, as of each event (site_dispatch.c queues
 * some while it changes). */
static void slow_down(struct site_sim *x)
{
    struct site_state *st = x->st;
    double dark =
        st->shed || st->only_moves ? fmin(st->unserved_w / fmax(st->load_w, 1.0), 1.0) : 0.0;
    bool changed = st->power_changed;
    if (dark <= 0.0 && st->dark <= 0.0) return;
    st->dark = dark;
    site_load_table(x);
    for (int p = 0; p < x->s->cluster.n_pools; p++)
        st->clock[p] *= 1.0 - dark;
    site_job_clocks(x);
    st->power_changed = changed;
}

void site_ladder_look(struct site_sim *x)
{
    struct site_state *st = x->st;
    bool deficit = in_deficit(x);
    log_battery(x);
    if (deficit && st->in_deficit) note_missing(x);
    if (st->in_deficit && st->deficit_acted)
        st->r.deficit_w = fmax(st->r.deficit_w, st->deficit_most_w);
    if (!deficit && st->in_deficit && !site_ladder_active(x)) { /* nothing is lowered any more */
        st->in_deficit = false;
        log_whole(x, "deficit_over");
    }
    if (!deficit && st->battery_w <= 0.0 && st->supply_events == 0) st->supply_by = 0;
    if (st->only_moves && (!deficit || st->load_w > firm_w(x, false))) st->only_moves = false;
    slow_down(x);
    if (deficit && !st->ladder_waits && !st->shed && !st->only_moves) {
        log_deficit(x);
        st->ladder_waits = true;
        site_push_in(x, x->s->controls.delay_s, SITE_K_LADDER, 0, ++st->ladder_generation);
    }
    if (!deficit && st->ladder_waits) { /* it has passed by itself */
        st->ladder_waits = false;
        st->ladder_generation++;
    }
    if (deficit && st->restore_waits) {
        st->restore_waits = false;
        st->restore_generation++;
    }
    if (deficit) st->restore_firm_w = INFINITY;
    if (st->restore_waits && firm_w(x, false) > st->restore_firm_w * (1.0 + 1e-9)) {
        st->restore_firm_w = INFINITY; /* more runs than when it was last too little */
        site_push_in(x, 0.0, SITE_K_RESTORE, 0, ++st->restore_generation);
    }
    if (!deficit && site_ladder_active(x) && !st->restore_waits) {
        st->restore_waits = true;
        site_push_in(x, x->s->controls.restore_s, SITE_K_RESTORE, 0, ++st->restore_generation);
    }
}

/* The highest cap at which the load is no more than `firm`; cap_min where none is. */
static double cap_for(const struct site_sim *x, double firm)
{
    double low = x->s->controls.cap_min, high = x->st->cap;
    if (low >= high || site_load_at(x, low, false) > firm) return fmin(low, high);
    for (int i = 0; i < 24; i++) {
        double middle = 0.5 * (low + high);
        if (site_load_at(x, middle, false) > firm)
            high = middle;
        else
            low = middle;
    }
    return low;
}

static void log_step(struct site_sim *x, const char *step, double value)
{
    struct json_writer *w = site_log(x, step);
    if (!w) return;
    jsonw_real(w, "value", value);
    jsonw_real(w, "load_w", x->st->load_w);
    site_log_end(x);
}

/* Pauses jobs from the lowest priority until the load fits; false: none is left to pause. */
static bool pause_jobs(struct site_sim *x, double firm)
{
    struct site_state *st = x->st;
    bool any = false;
    for (int n = x->s->n_jobs - 1; n >= 0; n--) {
        int i = st->order[n];
        struct site_job_now *j = &st->jobs[i];
        bool draws =
            j->held > 0.0 && j->state != SITE_STATE_PAUSED && j->state != SITE_STATE_QUEUED;
        if (!draws) continue;
        if (any && site_load_at(x, st->cap, false) <= firm) break;
        site_job_account(x, i);
        for (int p = 0; p < 3; p++) /* saved before it stops */
            j->pending_s[p] = 0.0;
        j->returns++;
        j->away = 0.0;
        if (x->s->jobs[i].kind == SITE_JOB_REPLAY) site_batch_stops(x, i, 0.0, SITE_STOP_GRACEFUL);
        site_job_set(x, i, SITE_STATE_PAUSED, -1.0);
        site_log_text(x, "job_paused", "job", x->s->jobs[i].name);
        site_job_stopped(x, i);
        st->n_paused++;
        st->r.pauses++;
        any = true;
    }
    return any;
}

void site_ladder_act(struct site_sim *x)
{
    struct site_state *st = x->st;
    double firm = firm_w(x, false), cap = cap_for(x, firm * (1.0 - CAP_MARGIN));
    st->ladder_waits = false;
    st->power_changed = true;
    st->log_by = st->deficit_by;
    if (!in_deficit(x)) return;
    /* sources suffice, in time */
    st->only_moves = st->load_w <= firm && site_load_at(x, st->cap, false) <= firm;
    if (st->only_moves) return;
    st->deficit_acted = true;
    note_missing(x);
    if (cap < st->cap) {
        st->cap = cap;
        st->r.caps++;
        site_load_table(x);
        log_step(x, "power_cap", cap);
        return;
    }
    if (x->s->controls.pause && pause_jobs(x, firm)) return;
    st->shed = true;
    st->r.sheds++;
    log_step(x, "shed", st->unserved_w);
}

/* What runs carries it: a unit that still starts or must rest does not. Those that are needed for
 * the whole are on their way. */
static bool fits(const struct site_sim *x, double load)
{
    return load * (1.0 + MARGIN) <= firm_w(x, true) && load <= firm_w(x, false);
}

static bool resume_job(struct site_sim *x)
{
    struct site_state *st = x->st;
    for (int n = 0; n < x->s->n_jobs; n++) {
        int i = st->order[n];
        struct site_job_now *j = &st->jobs[i];
        if (j->state != SITE_STATE_PAUSED) continue;
        j->state = SITE_STATE_RUNNING; /* only to ask */
        bool carried = fits(x, site_load_at(x, st->cap, false));
        j->state = SITE_STATE_PAUSED;
        if (!carried) return false;
        site_job_account(x, i);
        st->n_paused--;
        site_log_text(x, "job_resumed", "job", x->s->jobs[i].name);
        site_job_start_time(x, i);
        return true;
    }
    return false;
}

void site_ladder_restore(struct site_sim *x)
{
    struct site_state *st = x->st;
    st->restore_waits = false;
    st->restore_firm_w = INFINITY;
    st->power_changed = true;
    st->log_by = st->deficit_by;
    if (st->shed) {
        st->shed = false;
        return;
    }
    if (st->n_paused > 0) {
        if (!resume_job(x)) st->restore_firm_w = firm_w(x, false);
        return;
    }
    const double whole = x->s->controls.cap;
    if (st->cap >= whole) return;
    double low = st->cap, high = whole;
    for (int i = 0; i < 24 && !fits(x, site_load_at(x, high, false)); i++) {
        double middle = 0.5 * (low + high);
        if (fits(x, site_load_at(x, middle, false)))
            low = middle;
        else
            high = middle;
        if (high - low < 1e-3) high = low;
    }
    if (high <= st->cap + 1e-3 && high < whole) { /* later */
        st->restore_firm_w = firm_w(x, false);
        return;
    }
    st->cap = high;
    site_load_table(x);
    log_step(x, "power_cap", high);
}
