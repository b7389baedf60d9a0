/* site.h: the twin of a training site: what happens to machines, jobs, power, cooling, permits and
 * money in time, event by event, from one rack to a million accelerators.
 *
 * The way through, a folder each: core/ is the queue of events and the random numbers; read/ takes a
 * scenario from its file; run/ lives through it; show/ makes a page, JSON or CSV of what came out.
 *
 * A scenario is a cluster and a site (machine.h) with what happens in time: cohorts of accelerators
 * that age and fail, crews that repair, jobs, sources of power, weather, limits, and events that
 * somebody wrote down. Same scenario, same seed: same bits. Seconds, watts, joules, degrees Celsius,
 * dollars; times of events are whole microseconds. */
#ifndef COLOSSUS_SITE_H
#define COLOSSUS_SITE_H

#include "base/base.h"
#include "machine/machine.h"

enum {
    SITE_MAX_JOBS = 24,
    SITE_MAX_BLOCKS = 32,
    SITE_MAX_GAS = 8,     /* groups of units of one kind */
    SITE_MAX_UNITS = 192, /* gas units, all groups */
    SITE_MAX_LOADS = 8,
    SITE_MAX_CAUSES = 12,
    SITE_MAX_EVENTS = 1 << 18, /* a run's log may be a scenario */
    SITE_MAX_SAGS = 16,
    SITE_MAX_BINS = 160, /* of a table of hazards by age */
    SITE_CURVE = 4,      /* points of a curve of heat rates */
    SITE_MAX_FILES = 64  /* that a scenario is read from */
};

/* ------------------------------------------------------------------ scenarios */

#define SITE_LEMON_FACTOR_MOST 1000.0
#define SITE_DAYS_BETWEEN_MOST 1e9 /* accelerator-days, and days of a scale */

enum site_law {
    SITE_LAW_NONE,
    SITE_LAW_MACHINE,
    SITE_LAW_EXPONENTIAL,
    SITE_LAW_WEIBULL,
    SITE_LAW_TABLE
};
extern const char *const site_law_names[];
struct site_failures {
    int law;                   /* enum site_law */
    double accelerator_days;   /* mean, between failures of one; 0: the machine's own law */
    double shape, scale_days;  /* of Weibull */
    const char *table, *batch; /* CSV of hazards by age; which of its batches, "": it has one */
    struct figure age_days;    /* at the start; not given: the cluster's */
    struct figure lemons;      /* share of nodes; not given: the cluster's */
    double lemon_factor;       /* times as often */
    double lemons_found;       /* share of their failures after which one is replaced for good */
    int64_t unit;              /* accelerators that a failure takes; 0: a node */
    double idle_factor;        /* rate of those without a job, beside those with one */
    double hardware_share;     /* the rest only interrupts */
    bool as_new;               /* a repaired unit begins its life again */
    double doubles_k; /* degrees of coolant that double the rate; 0: heat does not matter */
    double reference_c;
    double false_alarms; /* for each real failure: healthy units that are drained, too */
};

enum site_time_law { SITE_TIME_FIXED, SITE_TIME_EXPONENTIAL, SITE_TIME_TWO_POINT };
extern const char *const site_time_law_names[];
struct site_repair {
    double triage_s;            /* automatic: reset, tests */
    double escalates;           /* share that needs hands */
    double hands_s;             /* of one technician or crew */
    double turnaround_s;        /* of parts and paper, without hands */
    int law;                    /* enum site_time_law, of hands and turnaround */
    int64_t crews, night_crews; /* at once; 0: as many as are wanted, as by day */
    double needs_part;          /* share of repairs by hand */
    int64_t parts;              /* in stock; 0: never short */
    double part_lead_s;         /* a part that is used is ordered again */
    double readmit_s;           /* tests before work */
    double readmit_fails;       /* share that is sent back */
};

struct site_block { /* accelerators that arrive together */
    const char *name;
    int64_t pool; /* of the cluster, from 1 */
    int64_t accelerators;
    double day, install_days; /* the first stands on `day`, the last so many days later */
    double power_day, cooling_day;
    double age_days; /* when it comes; of those at the start: failures.age_days */
    const char *hall;
};

enum site_job_kind { SITE_JOB_TRAINING, SITE_JOB_SERVING, SITE_JOB_GANGS, SITE_JOB_REPLAY };
extern const char *const site_job_kind_names[];
/* Jobs that somebody ran, in the order in which they were handed in (site_read_trace.c). */
struct site_small {
    double submit_s, seconds;
    int64_t accelerators;
    bool fails; /* at its end, by itself */
};
struct site_trace {
    const char *path;
    size_t n;
    const struct site_small *rows;
};

struct site_job {
    const char *name;
    int kind;             /* enum site_job_kind */
    int64_t accelerators; /* 0: site_job_wants() says */
    int64_t pool;         /* from 1; 0: of any */
    int64_t priority;     /* higher first */
    bool preemptible;
    double start_s, work_s;              /* productive time after which it is done; 0: never */
    double step_s, compute_share, low_s; /* of a step; low_s: all wait */
    double checkpoint_s;                 /* between; 0: the best for the rate of failures */
    double stall_s;                      /* that a step waits for a checkpoint */
    int64_t store_every; /* every so many checkpoints one lies in storage, the rest in memory */
    double detect_s, restart_s, load_s; /* restart_s negative: the machine's law */
    double elastic_min;     /* share of its accelerators with which it goes on; 1: a gang */
    int64_t group;          /* accelerators that leave together where it is elastic */
    int64_t block;          /* it has them by so many, a rack; 0: singly */
    double elastic_stall_s; /* all wait so long where one leaves */
    int64_t gangs;          /* of kind gangs: equal small jobs */
    double by_hour[24];     /* of kind serving: share of its accelerators asked for */
    const char *trace_path; /* of kind replay */
    const struct site_trace *trace;
    double flaps_tolerated, flap_window_s; /* of links; more of them interrupt */
    double usd_per_hour;                   /* worth of an accelerator's hour of productive work */
};

struct site_load { /* what draws power beside the accelerators */
    const char *name;
    double watts, by_hour[24];      /* by_hour: share of watts */
    double ramp_s;                  /* from one hour's level to the next */
    double swing_w, period_s, duty; /* a square wave around it: half height, share of time high */
};

struct site_gas { /* units of one kind */
    const char *name;
    int64_t units;
    double unit_w, min_share;
    double ramp_w_per_s; /* of one unit; 0: at once */
    double start_s, min_up_s, min_down_s, stop_after_s;
    double load_share[SITE_CURVE], heat_kj_per_kwh[SITE_CURVE]; /* lower heating value */
    double nox_ppm, co_ppm;                                     /* at 15 % oxygen */
    double derate_per_k, derate_above_c;
    double mttf_s, mttr_s; /* of one unit; mttf_s 0: never fails */
    double inertia_s;      /* of one unit, over unit_w */
    double usd_per_mmbtu;  /* higher heating value */
    double usd_per_start, usd_per_mwh;
    int64_t on; /* units that run at the start; the rest is at rest. Negative: as needed */
};

struct site_grid {
    struct figure contract_w, usd_per_kwh, co2_g_per_kwh; /* not given: the site's */
    double usd_per_kw_month;                              /* for each month's highest watts */
    double ramp_w_per_s;                                  /* that it may be asked; 0: any */
    double ramp_limit_w_per_s; /* what the contract calls a violation; 0: none */
    bool last;                 /* used after the gas units; else by cost */
};
struct site_battery {
    struct figure power_w, energy_wh, efficiency;  /* not given: the site's */
    double start, target, floor, ceiling, reserve; /* shares of its energy */
    bool smooths;                                  /* takes the swing of steps */
};

/* What is done about a deficit, in this order, each so long after the last. */
struct site_controls {
    double delay_s;                /* before the first and between two */
    double cap;                    /* always in force, share of accelerators' own cap */
    double cap_min;                /* accelerators' power, share of their cap; 1: never lowered */
    bool pause;                    /* jobs, lowest priority first, with a checkpoint */
    double restore_s;              /* of quiet before a step is taken back */
    double spinning_w;             /* kept in gas units that run, beyond the load */
    double smoothing_floor;        /* accelerators burn up to this share of their cap; 0: no */
    double smoothing_ramp_w_per_s; /* of one: its power follows so fast; 0: at once */
    double damper, damper_slows;   /* the same by software: share of their cap; of their clock */
};

enum site_cooling_law { SITE_COOLING_SITE, SITE_COOLING_LOOP, SITE_COOLING_COOLERS };
extern const char *const site_cooling_law_names[];
struct site_cooling {
    int law;
    const char *weather; /* file of hours, or "climate": the site's months */
    int64_t start_day;   /* of the year, from 1 */
    double supply_c, approach_k, span_k, pumps, flow, fans, electrical;
    double chiller_share; /* of the heat that chillers can take; 1: all */
    bool catalogue;       /* chillers by the catalogue's curve, else by a line */
    double chilled_c;     /* water that they make */
    double resistance_k_per_w, heat_j_per_k, limit_c; /* of an accelerator: die over coolant */
    double loop_l_per_rack;
    double leak_detect_s; /* from a leak to the valves that close */
    int64_t coolers;      /* of this catalogue point */
    double cooler_w, cooler_air_c, cooler_in_c, cooler_out_c, cooler_fan_w;
};

struct site_supplies { /* of servers: what they ride through */
    double stored_j, current_limit, watts;
    bool ups;
    int64_t lockout_transfers;
    double lockout_s, lockout_lasts_s;
};
enum site_stack { SITE_NOX, SITE_CO2, SITE_CO, SITE_N_STACK }; /* what leaves the gas units */
extern const char *const site_stack_names[];
struct site_permits {
    struct figure
        most_t[SITE_N_STACK];      /* in any twelve months; 0: none. NOx not given: the site's */
    double before_t[SITE_N_STACK]; /* of the year before, spread evenly */
    int64_t starts, hours;         /* of one unit, in any twelve months; 0: any */
    bool stops;                    /* units whose starts or hours are used up stand still */
};
struct site_money {
    double opex_fraction_year; /* negative: the site's */
    bool capital;              /* write-off of machine and building */
    double usd_per_technician_hour, usd_per_part;
};

struct site_cause { /* things that fail and take several accelerators with them */
    const char *name;
    int64_t pool;
    const char *hall;                /* of which blocks; "": of any */
    int64_t instances, units, needs; /* of each: so many units, of which so many suffice */
    double mtbf_s;                   /* of one unit */
    double mttr_s;
    int64_t takes; /* accelerators of one instance; 0: all of the pool */
};

enum site_event_kind {
    SITE_EVENT_HEAT_WAVE,
    SITE_EVENT_SAG_TRAIN,
    SITE_EVENT_CDU_PUMP,
    SITE_EVENT_TURBINE_TRIP,
    SITE_EVENT_FUEL_LOSS,
    SITE_EVENT_CURTAILMENT,
    SITE_EVENT_FLAP_STORM,
    SITE_EVENT_BAD_FIRMWARE,
    SITE_EVENT_FALSE_ALARMS,
    SITE_EVENT_ORDER_DELAYED,
    SITE_EVENT_CHILLER_FAULT,
    SITE_EVENT_EMISSIONS,
    SITE_EVENT_GRID_LIMIT,
    SITE_EVENT_MAINTENANCE,
    SITE_EVENT_LEAK,
    SITE_EVENT_FAILURE, /* of the log of a run */
    SITE_N_EVENT_KINDS
};
extern const char *const site_event_kind_names[];
struct site_event {
    int kind;
    double at_s, lasts_s;
    double kelvin;                 /* heat wave */
    double depth, sag_s;           /* sags: volts left, per unit; each so long */
    double times_s[SITE_MAX_SAGS]; /* of further sags, after the first */
    int n_times;
    int64_t pool;
    int64_t units;      /* turbines; accelerators of firmware, pumps, maintenance, failures */
    const char *target; /* group of gas units, block, hall, job */
    const char *job;    /* of a log's failure: whose accelerator it was; "": drawn */
    double watts;       /* curtailment: what is left; 0: nothing */
    double per_day;     /* flaps of a link; share of firmware a day */
    double factor;      /* failures of bad firmware; false alarms for each failure */
    double share;       /* chillers lost, fuel left */
    double nox_ppm;
    double l_per_min; /* of a leak */
    bool hardware;
    bool logged, drawn; /* of the log of a run; and it was that run's luck */
    int line;           /* of the file */
};

struct site_scenario {
    const char *name, *title, *source, *path;
    double days;
    struct machine_cluster cluster;
    struct machine_site site;
    struct site_failures failures;
    struct site_repair repair;
    struct site_grid grid;
    struct site_battery battery;
    struct site_controls controls;
    struct site_cooling cooling;
    struct site_supplies supplies;
    struct site_permits permits;
    struct site_money money;
    struct site_block blocks[SITE_MAX_BLOCKS];
    struct site_job jobs[SITE_MAX_JOBS];
    struct site_gas gas[SITE_MAX_GAS];
    struct site_load loads[SITE_MAX_LOADS];
    struct site_cause causes[SITE_MAX_CAUSES];
    struct site_event *events; /* in order of time */
    /* of events that are a log: failures that happen again, for an accelerator and second of each pool,
     * by which jobs choose how often they save; instances of causes that stood still in it */
    double log_failures_per_s[MACHINE_MAX_POOLS];
    int64_t log_causes;
    int n_blocks, n_jobs, n_gas, n_loads, n_causes, n_events;
    bool gas_given;      /* also as an empty list */
    double commission_w; /* watts that an accelerator is given before it is switched on; 0: any */
    int64_t cold_spares; /* accelerators that stand without power, of the free ones */
    const struct site_weather *weather; /* hours of the file; NULL: the site's months */
    double bin_from_d[SITE_MAX_BINS + 1], bin_hazard[SITE_MAX_BINS]; /* of failures.table */
    int n_bins;
    uint64_t fingerprint;              /* of all of it: a saved state belongs to one scenario */
    const char *files[SITE_MAX_FILES]; /* that were read for it: no output may take their place */
    int n_files;
};

extern const struct section site_scenario_section;
/* Accelerators that a job wants. Training that states no size, and goes on only whole, leaves a share as
 * spares, in units that fail as one, where one is no more than the second share of all. */
#define SITE_SPARES      0.03
#define SITE_SPARES_MOST 0.125
double site_job_wants(const struct site_scenario *s, int job);
/* Watts that the grid may give: by the contract, or of the site's first source of it; 0: there is none. */
double site_grid_contract_w(const struct site_scenario *s);

/* Hours of a typical year or of any other (site_weather.c). */
struct site_hour {
    float dry_c, wet_c;
    uint8_t month; /* 1 to 12; 0: the simulated day's */
};
struct site_weather {
    const char *path;
    size_t n;
    const struct site_hour *hours;
};
/* A CSV with the columns dry_bulb_c and wet_bulb_c, or dry_bulb_c, rh_pct and perhaps pressure_mbar,
 * and perhaps month; or a name of presets/weather. ERROR_CONFIG names file, line and column. */
int site_read_weather(const struct yaml_reader *r, const struct yaml_node *node, const char *name,
                      struct site_weather *out);
/* The same of a text in memory. */
int site_parse_weather(const char *text, size_t size, const char *path, struct arena *a,
                       struct site_weather *out, struct error *e);

/* From a name of presets/scenarios or a file; all in *a, and large: keep it there. */
int site_load(const char *path, struct arena *a, struct site_scenario *out, struct error *e);
/* A scenario in which more happens: a YAML list as in its file, "[{at: 12 d, what: curtailment}]". It
 * shares what `from` points to; the rest is in *a. ERROR_CONFIG says what is wrong with the list. */
int site_inject(const struct site_scenario *from, const char *events, struct arena *a,
                struct site_scenario *out, struct error *e);
/* From the root of a scenario's document. */
int site_read_root(const struct yaml_reader *r, const struct yaml_node *root,
                   struct site_scenario *out);
/* Markdown tables of every key: docs/reference/scenario-files.md. */
void site_print_keys(FILE *out);

/* ------------------------------------------------------------------ what comes out */

/* Where the time of a job goes; the parts sum to its time. */
enum site_part {
    SITE_PART_PRODUCTIVE,
    SITE_PART_SLOWED,  /* by heat or a lowered cap */
    SITE_PART_MISSING, /* work that absent accelerators would have done */
    SITE_PART_CHECKPOINT,
    SITE_PART_ROLLBACK, /* done again */
    SITE_PART_DETECTION,
    SITE_PART_RESTART,
    SITE_PART_SPARES,   /* waiting for accelerators */
    SITE_PART_POWER,    /* stopped for want of power */
    SITE_PART_BUILDING, /* before its accelerators stood */
    SITE_PART_YIELDED,  /* to a job of higher priority */
    SITE_PART_IDLE,     /* of a trace: none of its jobs wants the accelerators, or fits */
    SITE_N_PARTS
};
extern const char *const site_part_names[];

struct site_job_result {
    double wall_s, part_s[SITE_N_PARTS];
    double accelerator_s;                            /* held */
    double interruptions, checkpoints, checkpoint_s; /* interval used */
    double whole_s;                                  /* with every accelerator it wants */
    double flap_windows, flap_windows_over, flaps;   /* of 5 minutes within storms */
    double done_s;                                   /* when its work was done; negative: never */
    /* of a trace: jobs handed in, begun, ended; seconds that those begun had waited; accelerator-seconds
     * of those that ended, and of these of those that failed by themselves */
    double small_in, small_begun, small_done, small_wait_s, small_s, small_failed_s;
};
struct site_gas_result {
    double energy_j, fuel_j, starts, run_s, out_s, out_possible_s, nox_g, trips;
    double unit_starts_most;                /* of one unit, in all of the time */
    double over_starts_day, over_hours_day; /* the first beyond the permit; negative: never */
    double permit_ends;                     /* times that a unit had used up its permit */
};
enum { SITE_LINES = 5 }; /* of the widest wave's spectrum */
struct site_result {
    uint64_t seed; /* whose luck: of a resumed one, that of its beginning */
    double days, events;
    /* hardware */
    double installed_s; /* accelerator-seconds that stood */
    double running_s;   /* and had power and cooling */
    double failures, hardware, from_lemons, common, both_down_s, false_alarms, first_failures;
    double repairs, by_hand, in_repair_s, in_repair_most, in_repair_p99, waits, wait_s, hands_s,
        parts_used;
    double exposed_s; /* accelerator-seconds that could fail */
    struct site_job_result jobs[SITE_MAX_JOBS];
    /* power, joules and watts */
    double it_j, load_j, grid_j, gas_j, battery_in_j, battery_out_j, battery_loss_j, spilled_j,
        unserved_j, served_j, other_j;
    double soc_low, soc_high, soc_end, peak_w, grid_peak_w, balance_worst, energy_error;
    struct site_gas_result gas[SITE_MAX_GAS];
    double ramps, ramp_s, steep_s, caps, pauses, sheds, sags, sags_ridden, sag_trips, lockouts;
    double lockout_at_s;
    double frequency_hz_per_s, frequency_with_battery_hz_per_s; /* worst, of an island */
    double deficit_w, sag_missing_j; /* the largest of both that something was done about */
    double swing_line_w[SITE_LINES];
    double swing_w, swing_hz, swing_ripple; /* widest wave; its energy over the battery's */
    /* heat */
    double pue_month_load_j[12], pue_month_it_j[12];
    double water_l, hours_hot[3], dry_high_c, wet_high_c, throttled_s, die_high_c, hours,
        coolers_least_w;
    /* permits and money */
    double stack_g[SITE_N_STACK];   /* the grid's carbon dioxide is not in it */
    double rolling_t[SITE_N_STACK]; /* most in 365 days */
    double over_day[SITE_N_STACK];  /* first day beyond the permit; negative: never */
    double grid_co2_g, leaks, leaked_l;
    double grid_usd, demand_usd, fuel_usd, gas_usd, repair_usd, upkeep_usd, capital_usd, lost_usd;
    double total_usd;
};

/* One figure of a result, told alike by pages, JSON, seeds and comparisons (site_tell.c). */
struct site_figure {
    const char *name, *unit, *help;
    double (*value)(const struct site_scenario *s, const struct site_result *r);
};
extern const struct site_figure site_figures[];
extern const size_t site_n_figures;
/* A value with its unit, as a page shows it, into buf; "N/A" where it is unknown. */
char *site_tell(char buf[32], const struct site_figure *f, double value);
/* The share of its time that the first job spends productively; of many jobs weighed by size. */
double site_goodput(const struct site_scenario *s, const struct site_result *r);

/* ------------------------------------------------------------------ running */

struct site_sim; /* a scenario being lived through */

/* What may come and go between two reports. */
struct site_gauges {
    double load_w, grid_w, gas_w[SITE_MAX_GAS], charge_j, unserved_w, out;
    double at_work[SITE_MAX_JOBS];     /* share of a job that works, by its clock */
    double block_out[SITE_MAX_BLOCKS]; /* share of a block that is out of service */
};
/* The site at one moment, and the least, the mean and the most of its gauges since the last one. */
struct site_report {
    double at_s;
    struct site_gauges now, least, mean, most;
    double battery_w;
    double air_c, wet_c, coolant_c, pue, wue; /* wue: litres a kWh of the IT load */
    double standing, installed, busy;
    double accelerator_w[MACHINE_MAX_POOLS],
        die_c[MACHINE_MAX_POOLS]; /* mean of those in service */
    double stack_t[SITE_N_STACK]; /* of the last 365 days */
    double starts, hours;         /* the most of one unit, the same */
};
struct site_record { /* {0}, with every_s set */
    double every_s;
    size_t
        jumps; /* so many reports at most besides: before and after what gives power, or has work,
                     changes at once */
    struct site_report *rows;
    size_t n, cap;
};
void site_record_free(struct site_record *r);

/* What is written while it runs; paths NULL: nothing. */
struct site_run_options {
    uint64_t seed;
    double days;                /* 0: the scenario's */
    const char *csv;            /* folder */
    double csv_every_s;         /* 0: an hour */
    const char *events;         /* FILE.jsonl */
    struct site_record *record; /* or NULL */
    double pause_s;             /* stop there and save; 0: no */
    const char *save, *resume;
    bool every_seed;    /* of site_run_seeds: all of them, whatever is known */
    double most_events; /* 0: SITE_MOST_EVENTS */
};
#define SITE_MOST_EVENTS 4e9 /* beyond, it is an error: a scenario that never ends is a mistake */
/* Lives through a scenario. Large state is on the heap and freed. Errors are of files, and of too
 * many events. */
int site_run(const struct site_scenario *s, const struct site_run_options *o,
             struct site_result *out, struct error *e);

/* The same over seeds 1, 2 ...: until the half-width of the mean goodput's 95 % interval is 1 % of
 * it, at least 16 and at most n; over all CPUs, with the same results for any number of them. */
struct site_seeds {
    size_t n;
    struct site_result *each; /* [n] */
    double half_width;        /* of goodput, as a share of it */
    double deviation;         /* of one seed's goodput, as a share of the mean */
};
/* Seeds after which a mean is known to 1 % (95 %), of which one deviates by this share of it (Law,
 * Simulation Modeling and Analysis, 4.5); at least 16. */
double site_seeds_needed(double deviation);
int site_run_seeds(const struct site_scenario *s, const struct site_run_options *o, size_t n,
                   struct arena *a, struct site_seeds *out, struct error *e);

/* ------------------------------------------------------------------ pages */

void site_print(const struct site_scenario *s, const struct site_result *r, FILE *out);
void site_print_seeds(const struct site_scenario *s, const struct site_seeds *x, FILE *out);
void site_print_compare(const struct site_scenario *const s[2], const struct site_seeds x[2],
                        FILE *out);
json_t *site_to_json(const struct site_scenario *s, const struct site_result *r);
json_t *site_seeds_to_json(const struct site_scenario *s, const struct site_seeds *x);
json_t *site_compare_to_json(const struct site_scenario *const s[2], const struct site_seeds x[2]);

/* ------------------------------------------------------------------ afterwards (study/) */

/* The log that a run wrote, FILE.jsonl (site_log.c); text in the arena, "" where a line has none. */
struct site_log_line {
    double at_s;
    int64_t id, by; /* its number, and that of the line it follows from; 0: of none */
    const char *event, *job, *target, *phase, *why;
    double after_s, lost_s; /* of a job that runs again; accelerator-seconds */
    double unserved_wh, missing_w;
    double value; /* units, where the line says so many; else what a step has made it */
    double watts; /* that are left, or given; NAN: it says none */
};
struct site_log_job {
    const char *name;
    double usd_per_hour;
};
struct site_log {
    const char *scenario;
    int64_t seed;
    double days;
    struct site_log_job jobs[SITE_MAX_JOBS];
    int n_jobs;
    struct site_log_line *lines;
    size_t n;
};
/* ERROR_CONFIG names file and line. */
int site_parse_story(const struct str *text, const char *path, struct arena *a,
                     struct site_log *out, struct error *e); /* a NUL stands behind the text */
int site_read_story(const char *path, struct arena *a, struct site_log *out, struct error *e);

struct site_cost { /* of a line with all that followed from it */
    double accelerator_h, usd, unserved_wh, missing_w;
    int64_t interruptions, pauses; /* of jobs; for want of power */
};
struct site_explained { /* indices of lines */
    size_t line, *because, n_because, *then, n_then;
    const char *asked; /* the time that was asked for, or NULL */
    double off_s;      /* how long after it the line is; below 0: before it */
    struct site_cost cost;
    size_t *ranked, n_ranked; /* without an event: those that cost most */
    struct site_cost *ranked_cost;
};
/* event: the number of a line, a time (the nearest line: "12 d" since the beginning, or as answers print it,
 * "day 13, 12:00:00" or "day 13"), or a name (the dearest of it); NULL: which cost most. ERROR_USAGE where
 * the log has no such event. */
int site_explain(const struct site_log *log, const char *event, struct arena *a,
                 struct site_explained *out, struct error *e);
void site_print_explained(const struct site_log *log, const struct site_explained *x, FILE *out);
json_t *site_explained_to_json(const struct site_log *log, const struct site_explained *x);

/* One input at several values, and the first of them that reaches a goal (site_sweep.c). */
enum site_knob {
    SITE_KNOB_SPARES,     /* accelerators more, cold, in the first pool */
    SITE_KNOB_BATTERY,    /* megawatts, of as many hours as the scenario's */
    SITE_KNOB_TURBINES,   /* units of a group */
    SITE_KNOB_CHECKPOINT, /* seconds between two, of every training job */
    SITE_KNOB_CREWS       /* by day; by night in the scenario's proportion */
};
extern const char *const site_knob_names[];
enum { SITE_SWEEP_MAX = 64, SITE_SWEEP_NAMES = 128 };
struct site_sweep_options {
    const char *over;  /* "spares=0,72,144" */
    const char *until; /* "goodput>=0.9": a figure of site_figures */
    const char *group; /* of gas units; NULL: the first */
    double confidence, days;
    uint64_t seed;
    size_t seeds; /* of one value, at most */
    bool all;     /* try every value, not only those that halving needs */
};
struct site_sweep_point {
    double value, mean, deviation; /* of the figure, over seeds */
    double sure;                   /* that the mean reaches the goal */
    double usd, lost_usd;          /* means: of all costs; worth of lost training */
    size_t seeds;
    bool tried;
};
struct site_sweep {
    int knob;
    const char *group;
    const struct site_figure *figure;
    bool at_least, all;
    double goal, confidence, days;
    uint64_t seed;
    size_t most, n, best; /* n: values; best: the first that holds, n where none does */
    struct site_sweep_point
        points[SITE_SWEEP_MAX]; /* the least first; of the time between checkpoints the longest */
};
/* ERROR_USAGE for what is asked, else the run's errors. */
int site_sweep(const struct site_scenario *s, const struct site_sweep_options *o, struct arena *a,
               struct site_sweep *out, struct error *e);
/* The scenario with an input at a value; it shares what `from` points to. */
int site_sweep_set(const struct site_scenario *from, int knob, const char *group, double value,
                   struct site_scenario *out, struct error *e);
double site_student(double t, double degrees); /* its distribution function */
void site_print_sweep(const struct site_sweep *w, FILE *out);
void site_plot_sweep(const struct site_sweep *w, FILE *out);
int site_write_sweep(const struct site_sweep *w, const char *path, struct error *e); /* as SVG */
json_t *site_sweep_to_json(const struct site_sweep *w);

/* An operator's own incidents, as failures and repair of a scenario (site_fit.c). */
struct site_fit_options {
    double units, days, age_days; /* of the fleet; how long it was watched; how old it was before */
    int64_t unit;                 /* accelerators that one incident takes */
};
struct site_estimate {
    double value, low, high; /* low, high: of 90 %; NAN: not known */
};
enum { SITE_FIT_CAUSES = 32 };
struct site_fit {
    struct site_fit_options o;
    size_t n, n_repairs;  /* incidents; of these with a time of repair */
    double exposure_days; /* of accelerators */
    struct site_estimate accelerator_days, hardware_share;
    bool asks_age, asks_lemons; /* there are incidents enough to ask whether: */
    bool ages;                  /* the rate changes with age: shape is not 1 */
    struct site_estimate shape, scale_days;
    bool has_lemons;
    struct site_estimate lemons, lemon_factor;
    double spread; /* variance over mean of the units' counts; with lemons */
    struct site_estimate repair_h;
    double repair_spread; /* deviation over mean */
    int n_causes;
    struct {
        const char *name;
        size_t n;
        struct site_estimate accelerator_days;
    } causes[SITE_FIT_CAUSES]; /* the most frequent first; the last one may be "others" */
};
/* A CSV with unit, at_h (or at_d), and perhaps cause and repair_h. ERROR_CONFIG names file and line. */
int site_fit(const char *path, const struct site_fit_options *o, struct arena *a,
             struct site_fit *out, struct error *e);
/* The same of a text in memory. */
int site_fit_text(const struct str *text, const char *path, const struct site_fit_options *o,
                  struct arena *a, struct site_fit *out, struct error *e);
void site_print_fit(const struct site_fit *f, FILE *out); /* as a part of a scenario */
json_t *site_fit_to_json(const struct site_fit *f);

/* ------------------------------------------------------------------ pages that are looked at (page/) */

/* A run with what its page needs (site_story.c). */
struct site_story {
    const struct site_scenario *s;
    struct site_result *result;
    struct site_record record;
    struct str log; /* JSON lines */
};
/* Runs; files that *o names are written, too, but events, which log holds. */
int site_story_make(const struct site_scenario *s, const struct site_run_options *o,
                    struct site_story *out, struct error *e);
void site_story_free(struct site_story *x); /* accepts one that could not be made */

/* A page that stands alone, appended to *out: the run over time, where its hours went, what happened and
 * what it cost (site_html.c). */
struct site_html_options {
    bool live;                   /* behind it is a server that takes more events */
    const char *const *injected; /* [n_injected]: those that it took, as texts */
    size_t n_injected;
    const struct site_result *before; /* of the run without them, or NULL */
};
int site_html(const struct site_story *x, const struct site_html_options *o, struct str *out,
              struct error *e);

/* One scenario, or two side by side, over many seeds: bands of the first of x's seeds over time, which are
 * lived through once more, and the figures of x (site_bands_page.c). n: 1 or 2 scenarios. */
int site_bands_html(const struct site_scenario *const *s, const struct site_seeds *x, int n,
                    const struct site_run_options *o, struct str *out, struct error *e);

/* The page at /, the log at /events.jsonl, and at /metrics what Prometheus would read of the site, were it
 * `speed` times as fast as the clock and begun with the server (site_server.c). POST /inject with
 * {"events": ["{at: 12 d, what: curtailment}", ...]} runs the scenario anew with these besides, and shows
 * that run from then on; an empty list, the first one. */
struct site_served {
    const struct site_scenario *s;
    const struct site_story *first; /* its run; outlives the server, as the scenario does */
    struct site_run_options run;    /* of further ones */
    double speed;
};
typedef struct site_server site_server_t;
int site_server_new(const struct site_served *what, const char *host, int port, site_server_t **out,
                    struct error *e);
int site_server_port(const site_server_t *s);
void site_server_free(site_server_t *s); /* accepts NULL */
/* The text of /metrics at a moment of the run. */
void site_metrics(const struct site_scenario *s, const struct site_record *record, double at_s,
                  struct str *out);

#endif
