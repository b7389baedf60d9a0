/* site_run_internal.h: the state of a scenario that is being lived through, and what its parts do.
 *
 * All that changes is in struct site_state, which holds no pointers, in the queue and in the tickets
 * of repair: writing these three is writing the whole. One thread. A part that changes what draws or
 * gives power sets `power_changed`; the loop then shares the load out anew before time goes on. */
#ifndef COLOSSUS_SITE_RUN_INTERNAL_H
#define COLOSSUS_SITE_RUN_INTERNAL_H

#include "site/core/site_core_internal.h"

/* What stands in the queue, in the order in which events of one moment are handled. */
enum site_kind {
    SITE_K_SCENARIO,     /* an event of the file; id: its number */
    SITE_K_SCENARIO_END, /* and its end */
    SITE_K_SAG,          /* id: event, extra: which of its sags */
    SITE_K_HOUR,
    SITE_K_BLOCK, /* some accelerators of a block stand; extra: stage */
    SITE_K_LOAD,  /* end of a load's ramp */
    SITE_K_UNIT_STARTED,
    SITE_K_UNIT_FAILED,
    SITE_K_UNIT_REPAIRED,
    SITE_K_UNITS, /* a minimum of time is over */
    SITE_K_POWER, /* something linear has reached what it was going to */
    SITE_K_LADDER,
    SITE_K_RESTORE,
    SITE_K_FAILURE,  /* candidate; id: cohort */
    SITE_K_LIFE,     /* a renewed unit fails; id: cohort */
    SITE_K_FIRMWARE, /* the roll-out goes on */
    SITE_K_CAUSE,    /* a unit fails; id: cause */
    SITE_K_CAUSE_END,
    SITE_K_TICKET, /* id: ticket */
    SITE_K_PART,
    SITE_K_SHIFT,
    SITE_K_JOB,        /* the state of a job ends; id: job */
    SITE_K_JOB_RETURN, /* extra: accelerators come back to an elastic job */
    SITE_K_FLAP,
    SITE_K_SUBMIT, /* the next job of a trace; id: whose */
    SITE_K_SMALL,  /* a job of a trace ends, or may begin again; id: which */
    SITE_K_HEAT,   /* cooling has followed the load */
    SITE_K_END
};

enum site_job_state {
    SITE_STATE_BUILDING, /* waits for its accelerators to be built, or for its time */
    SITE_STATE_QUEUED,
    SITE_STATE_RESTARTING,
    SITE_STATE_RUNNING,
    SITE_STATE_STALLED, /* an elastic job without a group */
    SITE_STATE_DETECTING,
    SITE_STATE_PAUSED,  /* for want of power */
    SITE_STATE_YIELDED, /* to a job of higher priority */
    SITE_STATE_DONE
};

struct site_cohort {
    int32_t pool, block;
    double count, lemons; /* accelerators with power and cooling; lemons among them */
    double out;           /* of them, in repair or the like */
    double never;         /* never failed, where repair makes new */
    double age_days;      /* at `since` */
    site_us since;
    uint64_t candidates, lives; /* of its series of draws */
    uint32_t generation;
};
enum { SITE_MAX_COHORTS = SITE_MAX_BLOCKS };

struct site_pool {
    double installed, out, busy; /* accelerators; free: the rest */
    double per_day;              /* failures of one accelerator, by the law's constant */
    double firmware_share;       /* that has the bad one */
};

struct site_job_now {
    int32_t state;
    uint32_t generation, returns, flap_generation;
    site_us since;                               /* until when its time is accounted for */
    double want, alloc[MACHINE_MAX_POOLS], held; /* held: sum of alloc */
    double away;                                 /* of held: replicas that restart */
    double clock;
    /* the stretch since the last checkpoint */
    site_us cycle_start, tau, stall;
    double pending_s[3], stored_s; /* productive, slowed, missing; secured in memory only */
    int64_t cycles;                /* checkpoints since the last one in storage */
    uint64_t draws, flap_draws;
    site_us flaps[16]; /* the latest, a ring */
    int32_t n_flaps;
    site_us flap_window;
    int32_t flaps_in_window;
    /* of a trace: accelerators at work; where its jobs lie in the sim's list; how many were handed in, how
     * many of these run; none before `first` waits */
    double used;
    int64_t small_from, small_in, small_runs, small_first;
    /* of the log: since when it has not run, by which line, and what that costs beside the time */
    bool stopped;
    uint64_t stopped_by;
    site_us stopped_at;
    double stopped_lost_s,
        stopped_away_s; /* work to be done again; accelerator-seconds of groups */
    struct site_job_result result;
};

enum site_unit_state { SITE_UNIT_OFF, SITE_UNIT_STARTING, SITE_UNIT_ON, SITE_UNIT_OUT };
struct site_unit {
    int32_t state, group;
    uint32_t generation, starts;
    site_us since, run, rested; /* rested: when it may start again */
    /* in the last 365 days: starts, time on; until when that time is counted */
    uint32_t starts_year;
    site_us run_year, counted;
    uint64_t draws;
    bool barred; /* its permit is used up, or it has no fuel */
};

struct site_flow { /* a source of power; watts are linear until the next event of kind POWER */
    double w, slope, target, target_slope, ramp;
    double low, most, high; /* most: without its part of the spinning reserve */
    bool follows;           /* without a ramp of its own: takes what is left over */
};

enum {
    SITE_MAX_HELD = 4096,
    SITE_MAX_DOWN = 4096,
    SITE_MAX_FORCE = 256,
    SITE_RING = 512,
    SITE_YEAR = 365
};
struct site_down { /* an instance of a cause of which units are down, or accelerators that are */
    int32_t cause, instance, units;
    double taken;  /* accelerators that stand still by it */
    site_us since; /* when it stood still; SITE_NEVER: it does not */
};
struct site_ramp_point {
    site_us at;
    double w;
};

struct site_state {
    site_us now, end;
    uint64_t seed, n_events;
    /* of the log: the last line's number; the line that is the cause of the next, 0: none; the last that
     * made power short; of the episode of deficit that goes on, its last and its first; of the last train
     * of sags; since when the battery gives */
    uint64_t log_id, log_by, supply_by, deficit_by, deficit_first, sag_by, battery_by;
    bool battery_gives; /* what the sources that run cannot */
    site_us battery_since;
    int32_t supply_events;          /* of the scenario, that make power short and last */
    bool in_deficit, deficit_acted; /* something was done about it */
    site_us deficit_since;
    double deficit_unserved_j, deficit_most_w, deficit_lowered_w;
    struct site_cohort cohorts[SITE_MAX_COHORTS];
    int32_t n_cohorts;
    struct site_pool pools[MACHINE_MAX_POOLS];
    uint64_t takes;    /* draws of who is met by what takes accelerators */
    double rate_bound; /* of the thinning: heat and firmware at their worst */
    struct site_job_now jobs[SITE_MAX_JOBS];
    int32_t order[SITE_MAX_JOBS]; /* by priority */
    bool schedule_again, power_changed;
    /* blocks */
    double standing[SITE_MAX_BLOCKS], live[SITE_MAX_BLOCKS];
    site_us delayed[SITE_MAX_BLOCKS];
    uint32_t block_generation[SITE_MAX_BLOCKS];
    site_us hardware_since;
    /* repair */
    int32_t first_free, wait_first, wait_last, part_first, part_last;
    int32_t busy_crews, crews;
    int64_t parts;
    double in_repair;
    uint64_t tickets;
    double histogram[SITE_RING * 8]; /* seconds with so many in repair */
    site_us repair_since;
    /* common causes */
    double cause_units[SITE_MAX_CAUSES], cause_down[SITE_MAX_CAUSES];
    uint64_t cause_draws[SITE_MAX_CAUSES];
    uint32_t cause_generation[SITE_MAX_CAUSES];
    struct site_down down[SITE_MAX_DOWN];
    /* events of the file that last */
    double kelvin, false_alarms, firmware_factor, grid_limit_w, curtail_w, chiller_share;
    /* of swing.csv: windows that have begun, the last one's rows */
    site_us swing_from, swing_next, swing_until;
    double mean[100], die, die_w;
    int32_t mean_n, windows;
    int32_t in_force[SITE_MAX_FORCE], n_in_force; /* events that go on, in the order they began */
    double flaps_per_s[SITE_MAX_JOBS];
    double firmware_per_day;
    bool fuel_lost[SITE_MAX_GAS];
    double fuel_share[SITE_MAX_GAS];
    double nox_ppm[SITE_MAX_GAS];
    double held_out[SITE_MAX_HELD]; /* accelerators that lasting events keep out */
    int32_t held_event[SITE_MAX_HELD], n_held;
    site_us sag_times[32];
    int32_t n_sag_times;
    site_us locked_until;
    /* power */
    double cap, heat_cap, floor_share; /* shares of accelerators' own cap */
    double watts[MACHINE_MAX_POOLS][4], clock[MACHINE_MAX_POOLS]; /* by enum site_draws */
    double it_w, load_w, load_slope, fixed_w, fixed_slope, cooled_w;
    double level_from[SITE_MAX_LOADS], level_to[SITE_MAX_LOADS];
    site_us ramp_from[SITE_MAX_LOADS], ramp_to[SITE_MAX_LOADS];
    struct site_flow flows[SITE_MAX_GAS + 1]; /* the grid is the last */
    double battery_w, battery_slope, drain_w, unserved_w, unserved_slope, spilled_w, spilled_slope;
    double lag_w, lag_slope; /* by which accelerators' power is behind what their jobs ask for */
    double soc_j, soc_start_j, stored_j; /* the charge; what has come in since the start */
    bool charging, giving_back;          /* below its target; above it */
    uint32_t power_generation, ladder_generation, restore_generation, heat_generation;
    bool ladder_waits, restore_waits, heat_waits, shed;
    bool only_moves; /* a deficit for which no step is taken: sources are on their way */
    int32_t n_paused;
    double dark;           /* share of the load that is shed */
    double restore_firm_w; /* what ran when no step could be taken back; INFINITY: it could */
    struct site_unit units[SITE_MAX_UNITS];
    int32_t n_units, first_unit[SITE_MAX_GAS + 1], n_on[SITE_MAX_GAS], n_starting[SITE_MAX_GAS],
        n_out[SITE_MAX_GAS];
    int32_t merit[SITE_MAX_GAS + 1];
    int32_t n_barred[SITE_MAX_GAS];
    double gas_unit_w[SITE_MAX_GAS]; /* of one unit, in the air of this hour */
    double started_w[SITE_MAX_GAS];  /* minimum load of units that have just started */
    double lost_w;                   /* what units gave that have tripped in this moment */
    /* since when units run that are not needed, the longest first; a group's from first_unit on */
    site_us spare_since[SITE_MAX_UNITS];
    int32_t n_spare[SITE_MAX_GAS];
    site_us units_due; /* when a minimum of time next ends; SITE_NEVER: nobody waits */
    struct site_ramp_point ramp[SITE_RING];
    int32_t ramp_first, ramp_n;
    bool in_ramp;
    double last_load_w;
    /* heat */
    int64_t hour;
    double pue_scale, dry_c, wet_c, overhead, l_per_kwh, coolant_c, die_c;
    int32_t month;
    bool warned_curves;
    double month_peak_w; /* of the grid, in the month that goes on */
    site_us month_since;
    /* permits: the last 365 days, a ring; how many are over */
    double stack_day[SITE_N_STACK][SITE_YEAR], stack_sum[SITE_N_STACK], stack_mark[SITE_N_STACK];
    uint16_t starts_day[SITE_MAX_UNITS][SITE_YEAR];
    site_us run_day[SITE_MAX_UNITS][SITE_YEAR];
    int64_t days_over;
    struct site_result r;
};

enum site_draws { SITE_DRAWS_RUN_COMPUTE, SITE_DRAWS_RUN_COMM, SITE_DRAWS_IDLE, SITE_DRAWS_OTHER };

struct site_ticket {
    int32_t next, cohort, pool, stage;
    double
        accelerators; /* that are broken; of a rack that is one job's, the others wait with them */
    double with_it;
    uint64_t number; /* of its draws */
    bool lemon, alarm;
    site_us waits_since; /* for a crew; of one that lives again, its birth */
};

enum site_small_state { SITE_SMALL_WAITS = 1, SITE_SMALL_RUNS, SITE_SMALL_DONE };
struct site_small_now { /* a job of a trace; {0}: not handed in yet */
    int32_t state, job;
    uint32_t generation;
    int32_t runs; /* in this place of the list of those that run, a job each */
    double left_s;
    site_us since; /* it runs or waits */
    site_us not_before;
};

struct site_sim {
    const struct site_scenario *s;
    struct site_state *st;
    struct site_queue queue;
    struct site_ticket *tickets;
    size_t n_tickets;
    struct site_small_now *small; /* [n_small] of all traces, one after the other */
    size_t n_small;
    double battery_w, battery_j, battery_way; /* of the scenario, as site_battery_* say */
    FILE *events, *csv, *swing;
    bool resumed; /* what it writes goes on where it was paused */
    struct json_writer writer;
    struct str line;
    site_us csv_every, csv_next;
    struct site_record *record;
    site_us record_next;
    struct site_gauges seen, least, most,
        sum;                   /* last; since the last report of the record, sum: times s */
    site_us seen_at, since;    /* that was seen; the last report */
    struct site_report before; /* as the last segment ended */
    size_t jumps;              /* reports where something changed at once */
    bool away; /* of two changes the second is not told yet, which may be the way back */
    struct error *e;
    bool failed;      /* *e says why */
    bool by_scenario; /* what fails now does as the scenario says */
};
/* The run ends here, with an error, as what would come out would be wrong. */
#define site_fail(x, ...) ((x)->failed = true, (void)error_set((x)->e, __VA_ARGS__))

/* Accelerators of a pool: all of it, those of the blocks that stand in a hall or are called so, or those
 * of one cohort. */
struct site_place {
    int pool;
    const char *hall; /* "": all */
    bool one;
    int cohort; /* where it is one */
};

/* fmin and fmax of numbers, which the library would be called for. */
static inline double site_less(double a, double b)
{
    return a < b ? a : b;
}
static inline double site_more(double a, double b)
{
    return a > b ? a : b;
}

/* ------------------------------------------------------------------ the loop (site_run.c) */

void site_push(struct site_sim *x, site_us at, enum site_kind kind, uint32_t id,
               uint32_t generation);
/* Seconds from now; the event is due at least a microsecond later. */
void site_push_in(struct site_sim *x, double seconds, enum site_kind kind, uint32_t id,
                  uint32_t generation);
/* A line of the log of events: closed by site_log_end. NULL: nobody keeps one. Each has a number, `id`,
 * and says by `by` which line it follows from: the first of a moment, or what was kept of an earlier
 * one (st->log_by). */
struct json_writer *site_log(struct site_sim *x, const char *event);
void site_log_end(struct site_sim *x);
void site_log_text(struct site_sim *x, const char *event, const char *key, const char *text);
/* The same of what is done about power, which follows from the event that is handled, or else from what
 * made power short; the event's own line is still to come, or was before. */
struct json_writer *site_log_supply(struct site_sim *x, const char *event);

/* ------------------------------------------------------------------ hardware (site_fleet.c) */

void site_fleet_init(struct site_sim *x);
void site_fleet_candidate(struct site_sim *x, int cohort);
/* Of a unit that was repaired as new, by its ticket. live_on queues the next candidate of its life;
 * false: none lies within the scenario. life makes a failure of a candidate, or not; u: whether, and
 * of what. false: the life has ended. */
enum { SITE_LIFE_DRAWS = 2 };
bool site_fleet_live_on(struct site_sim *x, int ticket, double u);
bool site_fleet_life(struct site_sim *x, int ticket, const double u[SITE_LIFE_DRAWS]);
/* job: whose accelerators they were, or SITE_OF_NONE; -1: that is drawn. */
enum { SITE_OF_NONE = -2 };
void site_fleet_failure(struct site_sim *x, int cohort, double accelerators, bool hardware,
                        int job);
void site_fleet_grow(struct site_sim *x, int cohort, double accelerators);
/* Failures a second of one accelerator of a pool, at its cohorts' age and heat. */
double site_fleet_rate(const struct site_sim *x, int pool);
/* Takes up to so many accelerators of a place out of service, of jobs and of the free ones in
 * proportion, and interrupts the jobs; returns how many: of a job that has racks, whole ones. `lost`:
 * memory is lost with them. */
double site_fleet_take(struct site_sim *x, struct site_place place, double accelerators, bool lost);
void site_fleet_give(struct site_sim *x, struct site_place place, double accelerators);
/* Adds up accelerator-seconds until now: before any count of them changes. */
void site_fleet_account(struct site_sim *x);
double site_free(const struct site_state *st, int pool);
/* Accelerators that stand at a place. */
double site_fleet_at(const struct site_sim *x, struct site_place place);
void site_fleet_rebase(struct site_sim *x, int pool);

/* ------------------------------------------------------------------ blocks (site_build.c) */

void site_build_init(struct site_sim *x);
void site_build_delay(struct site_sim *x, int block, double seconds);
void site_build_step(struct site_sim *x, int block);
void site_build_power(struct site_sim *x); /* what sources can feed has changed */

/* ------------------------------------------------------------------ repair (site_repair.c) */

void site_repair_init(struct site_sim *x);
struct site_broken {
    double accelerators, with_it; /* healthy ones that wait until it is done */
    bool lemon, alarm;            /* alarm: nothing is broken */
};
void site_repair_open(struct site_sim *x, int cohort, const struct site_broken *what);
void site_repair_ticket(struct site_sim *x, int ticket);
/* A candidate of a unit that was repaired as new: its ticket is kept for it. */
void site_repair_life(struct site_sim *x, int ticket);
void site_repair_part(struct site_sim *x);
void site_repair_shift(struct site_sim *x);
void site_repair_account(struct site_sim *x);

/* ------------------------------------------------------------------ causes (site_cause.c) */

void site_cause_init(struct site_sim *x);
void site_cause_fails(struct site_sim *x, int cause);
void site_cause_ends(struct site_sim *x, int down);
void site_cause_finish(struct site_sim *x); /* counts what still stands */

/* ------------------------------------------------------------------ jobs (site_job.c) */

void site_job_init(struct site_sim *x);
void site_job_due(struct site_sim *x, int job);
void site_job_return(struct site_sim *x, int job, double accelerators);
/* Accounts for its time until now; before anything about it changes. */
void site_job_account(struct site_sim *x, int job);
enum site_stop { SITE_STOP_FAILURE, SITE_STOP_GRACEFUL, SITE_STOP_OUTAGE };
/* `lost` of its accelerators are gone already (they are not in alloc any more). */
void site_job_interrupt(struct site_sim *x, int job, double lost, enum site_stop how);
void site_job_set(struct site_sim *x, int job, enum site_job_state state, double seconds);
double site_job_size(const struct site_job_now *j); /* accelerators that work */
void site_job_clocks(struct site_sim *x);
/* So many more accelerators are its own now: replicas of an elastic job restart first. */
void site_job_gain(struct site_sim *x, int job, double accelerators);
void site_job_release(struct site_sim *x, int job);
/* Accelerators that one failure takes: a node, or as many as the scenario says. */
double site_fleet_unit(const struct site_scenario *s, int pool);
/* Of n accelerators those that make whole racks, where the job has racks. */
double site_job_racks(const struct site_job *k, double n);
void site_job_start_time(struct site_sim *x, int job);
void site_job_log_stop(struct site_sim *x, int job, enum site_stop how);
/* From the line that was just written on it does not run. */
void site_job_stopped(struct site_sim *x, int job);
void site_job_log_end(struct site_sim *x, int job); /* the run ends: what it costs that it stands */
/* (site_batch.c) Jobs of a trace: memory for them, before a scenario begins or is restored; the first
 * is awaited; those that fit begin; some or all stop; one is handed in, ends or may begin again; all go
 * on at another clock. */
void site_batch_init(struct site_sim *x);
void site_batch_begin(struct site_sim *x);
void site_batch_go(struct site_sim *x, int job);
void site_batch_stops(struct site_sim *x, int job, double lost, enum site_stop how);
void site_batch_submit(struct site_sim *x, int job);
void site_batch_due(struct site_sim *x, int small, uint32_t generation);
void site_batch_clock(struct site_sim *x, int job, double clock);
/* (site_schedule.c) */
void site_schedule(struct site_sim *x);
/* (site_flap.c) */
void site_flap_storm(struct site_sim *x, int job, double per_s); /* each link; 0: it is over */
void site_flap(struct site_sim *x, int job);

/* ------------------------------------------------------------------ power */

void site_power_init(struct site_sim *x);
/* The energies of the segment until t: exact integrals of what is linear (site_segment.c). */
void site_segment(struct site_sim *x, site_us t);
/* Grams of each pollutant that the site's units have given off dt seconds after the last event, where
 * nothing else happens until then. */
void site_stack_soon(const struct site_sim *x, double dt, double grams[SITE_N_STACK]);
/* Watts of all load at a cap, with or without what the ladder has taken (site_load.c). */
double site_load_at(const struct site_sim *x, double cap, bool whole);
void site_load_table(struct site_sim *x); /* watts by pool and phase, at the cap in force */
void site_load_now(struct site_sim *x);
void site_load_hour(struct site_sim *x);
void site_load_ramp(struct site_sim *x, int load);
double site_load_ahead(const struct site_sim *x);
double site_load_drain(const struct site_sim *x); /* what the swing costs in the battery */
/* Shares the load among the sources, and queues when something next reaches its bound. */
void site_dispatch(struct site_sim *x);
double site_grid_limit(const struct site_sim *x);
/* Joules: nearer to a level than this the charge is on it, while the wave of steps costs so many watts. */
double site_soc_tolerance(const struct site_sim *x, double drain_w);
/* The battery: watts in and out, joules, efficiency of one way. */
void site_battery_init(struct site_sim *x);
static inline double site_battery_power(const struct site_sim *x)
{
    return x->battery_w;
}
static inline double site_battery_energy_j(const struct site_sim *x)
{
    return x->battery_j;
}
static inline double site_battery_way(const struct site_sim *x)
{
    return x->battery_way;
}
/* (site_gas.c) */
void site_gas_init(struct site_sim *x);
/* Starts and stops units, so that so many of each group run. */
void site_gas_commit(struct site_sim *x, const int want[SITE_MAX_GAS], int leaving[SITE_MAX_GAS]);
/* Watts of one unit in the air of this hour. */
double site_gas_unit_w(const struct site_sim *x, int group);
void site_gas_hour(struct site_sim *x);                  /* the air has changed */
int site_gas_ready(const struct site_sim *x, int group); /* units that run or could */
void site_gas_day(struct site_sim *x);                   /* before the day is counted as over */
void site_gas_started(struct site_sim *x, int unit);
void site_gas_failed(struct site_sim *x, int unit);
void site_gas_repaired(struct site_sim *x, int unit);
void site_gas_trip(struct site_sim *x, int group, int64_t units, const char *why, double lasts_s);
void site_gas_fuel(struct site_sim *x, int group, double share, bool back);
void site_gas_finish(struct site_sim *x);
void site_island_step(struct site_sim *x, double missing_w);
/* (site_ladder.c) */
bool site_ladder_active(const struct site_sim *x);
void site_ladder_look(struct site_sim *x);
void site_ladder_log_end(struct site_sim *x); /* the run ends in a deficit */
void site_ladder_act(struct site_sim *x);
void site_ladder_restore(struct site_sim *x);

/* ------------------------------------------------------------------ the wave (site_load.c) */

/* A square wave around the mean: `height_w` peak to peak, high for a share of its period. */
struct site_wave {
    double height_w, high_share, period_s, phase; /* phase: share of the period at time 0 */
    int job;                                      /* whose; -1: a load beside */
};
enum { SITE_MAX_WAVES = SITE_MAX_JOBS + SITE_MAX_LOADS };
double site_wave_at(const struct site_wave *w, double seconds); /* watts over the mean */
/* Of all waves at a moment of the stretch, with the checkpoints of jobs, over the mean load. */
double site_wave_now(const struct site_sim *x, site_us at);
double site_wave_line(const struct site_wave *w, int n); /* amplitude of its n-th line */
/* Of the jobs that run and the loads beside; returns how many. */
int site_waves(const struct site_sim *x, struct site_wave waves[SITE_MAX_WAVES]);

/* ------------------------------------------------------------------ heat (site_cooling.c) */

void site_cooling_hour(struct site_sim *x);
void site_cooling_follow(struct site_sim *x);
void site_cooling_throttle(struct site_sim *x);
/* Permits and money (site_ledger.c) */
void site_ledger_day(struct site_sim *x);
void site_ledger_month(struct site_sim *x, int month); /* it is over */
void site_ledger_finish(struct site_sim *x);
/* Events of the file (site_incident.c) */
void site_incident_init(struct site_sim *x);
void site_incident(struct site_sim *x, int event);
void site_incident_end(struct site_sim *x, int event);
void site_incident_sag(struct site_sim *x, int event, int which);
void site_incident_firmware(struct site_sim *x);
/* (site_save.c) */
int site_save(const struct site_sim *x, const char *path, struct error *e);
int site_restore(struct site_sim *x, const char *path, struct error *e);
/* (site_trace.c) */
int site_csv_open(struct site_sim *x, const char *dir, struct error *e);
/* Of a run that is resumed: from when on rows are written. */
void site_csv_resume(struct site_sim *x);
int site_events_open(struct site_sim *x, const char *path, struct error *e);
void site_csv_row(struct site_sim *x, site_us at);
/* Reports that are kept; nothing where none are. A segment begins, once all that happens at its moment
 * has; it has ended; a report at a time in it. */
void site_record_begin(struct site_sim *x);
void site_record_end(struct site_sim *x);
void site_record_row(struct site_sim *x, site_us at);
void site_swing_begin(struct site_sim *x); /* a window opens now */
void site_swing_rows(struct site_sim *x, site_us until);

#endif
