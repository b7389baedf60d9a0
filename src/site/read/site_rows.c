/* site_rows.c: every key of a scenario, once; those of clusters and sites: machine_rows.c.
 *
 * Names, units, defaults, bounds and examples stand only here: the tables drive the reader, its
 * errors and docs/reference/scenario-files.md (a test compares). A default is an assumption of this
 * program unless its meaning says where it is from. */
#include "site/read/site_read_internal.h"

#define S struct site_scenario
#define B struct site_block
#define J struct site_job
#define G struct site_gas
#define L struct site_load
#define C struct site_cause
#define E struct site_event
/* clang-format off */
/* A number that may carry a unit. */
#define NUMBER(T, k, m, u, def, lo, hi, ex, h) \
    {ROW_(T, k, m, OPTION_REAL, def, ex, h), .measures = u, .min = lo, .max = hi}
#define SHARE(T, k, m, def, ex, h) NUMBER(T, k, m, UNIT_SHARE, def, 0, 1, ex, h)
#define TIME(T, k, m, def, ex, h)  NUMBER(T, k, m, UNIT_SECONDS, def, 0, 1e11, ex, h)
#define PLAIN(T, k, m, def, lo, hi, ex, h) NUMBER(T, k, m, UNIT_NONE, def, lo, hi, ex, h)
#define WATTS(T, k, m, def, ex, h) NUMBER(T, k, m, UNIT_W, def, 0, 1e13, ex, h)

const char *const site_law_names[] = {"none", "machine", "exponential", "weibull", "table", NULL};
const char *const site_time_law_names[] = {"fixed", "exponential", "two_point", NULL};
const char *const site_job_kind_names[] = {"training", "serving", "gangs", "replay", NULL};
const char *const site_cooling_law_names[] = {"site", "loop", "coolers", NULL};
const char *const site_event_kind_names[] = {
    "heat_wave", "sag_train", "cdu_pump", "turbine_trip", "fuel_loss", "curtailment", "flap_storm",
    "bad_firmware", "false_alarms", "order_delayed", "chiller_fault", "emissions", "grid_limit",
    "maintenance", "leak", "failure", NULL};

/* ------------------------------------------------------------------ scenarios */

static const struct option scenario_rows[] = {
    ROW_LIKE("colossus-2-1m"),
    ROW_STRING(S, "name", name, "", "my-scenario", "short name; default: the file's"),
    ROW_STRING(S, "title", title, "", "Ninety days of a gigawatt", "as printed"),
    ROW_STRING(S, "source", source, "", "permit of July 2025", "where the description is from"),
    PLAIN(S, "days", days, "90", 1e-6, 200000, "90", "days that are simulated"),
    ROW_CUSTOM("cluster", NULL, "colossus-2-1m",
        "a name, a file, keys of a cluster, or COUNT x ACCELERATOR", NULL),
    ROW_CUSTOM("site", "us-average", "colossus-2", "a name, a file, or keys of a site", NULL),
    ROW_CUSTOM("blocks", "", "[{accelerators: 110000, day: 30}]",
        "accelerators that arrive together; default: all of each pool on day 0", site_read_blocks),
    ROW_CUSTOM("jobs", "", "[{name: pretraining, accelerators: 16384}]",
        "what runs; default: nothing", site_read_jobs),
    ROW_CUSTOM("gas", "", "[{name: turbines, units: 16, unit_w: 38 MW}]",
        "gas units by kind, up to 8 kinds; []: none; default: the site's sources but the grid, in "
        "units of 50 MW at most", site_read_gas),
    ROW_CUSTOM("loads", "", "[{name: offices, watts: 5 MW}]",
        "up to 8 loads beside the accelerators", site_read_loads),
    ROW_CUSTOM("causes", "", "[{name: CDU, instances: 1000, mtbf: 50000 h, mttr: 8 h, takes: 72}]",
        "up to 12 kinds of things that take several accelerators with them", site_read_causes),
    ROW_CUSTOM("events", "", "[{at: 12 d, what: heat_wave, lasts: 3 d, kelvin: 6}]",
        "what happens when; or the log of a run, FILE.jsonl", site_read_events),
    WATTS(S, "commission_w", commission_w, "0", "2 kW", "of all sources that an accelerator must "
        "find free before it is switched on; 0: nobody asks"),
    ROW_INT(S, "cold_spares", cold_spares, NULL, "0", 0, 1e8, "160",
        "accelerators of those without a job that stand without power, and do not fail"),

    ROW_ENUM(S, "failures.law", failures.law, "machine", site_law_names, "weibull",
        "how the rate depends on age: machine is the planner's (rate of the accelerator, youth, "
        "lemons), exponential a constant, weibull and table by age, none: nothing fails"),
    PLAIN(S, "failures.accelerator_days", failures.accelerator_days, "0", 0,
        SITE_DAYS_BETWEEN_MOST, "2111",
        "mean days between failures of one accelerator; needed for exponential; for weibull it may "
        "stand in place of scale_days"),
    PLAIN(S, "failures.shape", failures.shape, "1", 0.05, 50, "2.64",
        "of weibull (Titan's first GPUs: 2.64)"),
    PLAIN(S, "failures.scale_days", failures.scale_days, "0", 0, SITE_DAYS_BETWEEN_MOST, "2596",
        "of weibull"),
    ROW_STRING(S, "failures.table", failures.table, "", "titan.csv",
        "CSV with age_from_d and hazard_per_day, or with removed_failed and gpu_days"),
    ROW_STRING(S, "failures.batch", failures.batch, "", "new", "rows of the table, by its column "
        "batch"),
    ROW_FIGURE(S, "failures.age_days", failures.age_days, UNIT_DAYS, "", "150 days",
        "of what stands at the start; default: the cluster's, or 0 for weibull and table"),
    ROW_FIGURE_IN(S, "failures.lemons", failures.lemons, UNIT_SHARE, "", 0, 1, "15 %",
        "nodes that fail more often; default: the cluster's, or 5 % of machine's law, else none"),
    PLAIN(S, "failures.lemon_factor", failures.lemon_factor, "5", 1, SITE_LEMON_FACTOR_MOST, "5",
        "times as often as the others (arXiv:2603.07041)"),
    SHARE(S, "failures.lemons_found", failures.lemons_found, "0", "30 %",
        "of failures of lemons, after which the node is replaced by a good one"),
    ROW_INT(S, "failures.unit", failures.unit, NULL, "0", 0, 1e6, "72",
        "accelerators that one failure takes; 0: a node of the accelerator"),
    PLAIN(S, "failures.idle_factor", failures.idle_factor, "1", 0, 10, "0",
        "rate of accelerators without a job, beside those with one"),
    SHARE(S, "failures.hardware_share", failures.hardware_share, "78 %", "100 %",
        "of failures that need repair (Llama 3); the others only interrupt"),
    ROW_BOOL(S, "failures.as_new", failures.as_new, "false",
        "a repaired unit begins its life again; else it is as old as before"),
    PLAIN(S, "failures.doubles_k", failures.doubles_k, "0", 0, 1000, "10",
        "degrees of coolant above reference_c that double the rate; 0: heat does not matter"),
    NUMBER(S, "failures.reference_c", failures.reference_c, UNIT_CELSIUS, "25", -50, 100, "32 C",
        "coolant at which the rate is as stated"),
    PLAIN(S, "failures.false_alarms", failures.false_alarms, "0", 0, 100, "0.3",
        "healthy units that are drained and tested, for each real failure"),

    TIME(S, "repair.triage", repair.triage_s, "2 h", "2 h",
        "automatic, of every failure of hardware (arXiv:2603.07041)"),
    SHARE(S, "repair.escalates", repair.escalates, "80 %", "80 %", "needs hands after it"),
    TIME(S, "repair.hands", repair.hands_s, "2.5 h", "2.5 h", "of one crew"),
    TIME(S, "repair.turnaround", repair.turnaround_s, "45.5 h", "45.5 h",
        "of parts and paper, which hold no crew"),
    ROW_ENUM(S, "repair.law", repair.law, "fixed", site_time_law_names, "exponential",
        "of hands and turnaround; two_point: half of them twice as long, half at once"),
    ROW_INT(S, "repair.crews", repair.crews, NULL, "0", 0, 1e6, "45", "at once; 0: always one free"),
    ROW_INT(S, "repair.night_crews", repair.night_crews, NULL, "0", 0, 1e6, "15",
        "from 20:00 to 6:00; 0: as by day"),
    SHARE(S, "repair.needs_part", repair.needs_part, "0", "60 %", "of repairs by hand"),
    ROW_INT(S, "repair.parts", repair.parts, NULL, "0", 0, 1e6, "200",
        "in stock; 0: never short; each one used is ordered again"),
    TIME(S, "repair.part_lead", repair.part_lead_s, "14 d", "14 d", "until an ordered part is here"),
    TIME(S, "repair.readmit", repair.readmit_s, "0", "1 h", "tests before it works again"),
    SHARE(S, "repair.readmit_fails", repair.readmit_fails, "0", "5 %", "of the tests"),

    ROW_FIGURE(S, "grid.contract_w", grid.contract_w, UNIT_W, "", "150 MW",
        "the most that may be drawn; default: the site's source named grid, without one any; 0: an "
        "island"),
    ROW_FIGURE(S, "grid.usd_per_kwh", grid.usd_per_kwh, UNIT_USD_PER_KWH, "", "0.065 USD/kWh",
        "default: the site's"),
    ROW_FIGURE(S, "grid.co2_g_per_kwh", grid.co2_g_per_kwh, UNIT_G_PER_KWH, "", "283 g/kWh",
        "default: the site's"),
    PLAIN(S, "grid.usd_per_kw_month", grid.usd_per_kw_month, "0", 0, 1000, "12",
        "for the highest draw of each month; of one that is not whole, its share of that month's days"),
    NUMBER(S, "grid.ramp_w_per_s", grid.ramp_w_per_s, UNIT_W_PER_S, "0", 0, 1e12, "10 MW/min",
        "that is asked of it, a battery bridges the rest; 0: any"),
    NUMBER(S, "grid.ramp_limit_w_per_s", grid.ramp_limit_w_per_s, UNIT_W_PER_S, "0", 0, 1e12,
        "10 MW/min", "of its contract, over any 60 s: what is beyond is counted; 0: none"),
    ROW_BOOL(S, "grid.last", grid.last, "false", "use gas units before it, whatever they cost"),

    ROW_FIGURE(S, "battery.power_w", battery.power_w, UNIT_W, "", "150 MW",
        "in and out; default: the site's; 0: none"),
    ROW_FIGURE(S, "battery.energy_wh", battery.energy_wh, UNIT_WH, "", "655 MWh",
        "default: the site's"),
    ROW_FIGURE_IN(S, "battery.efficiency", battery.efficiency, UNIT_SHARE, "", 0.1, 1, "91 %",
        "there and back, its root each way; default: the site's, or 91 %"),
    SHARE(S, "battery.start", battery.start, "80 %", "50 %", "charge at the start"),
    SHARE(S, "battery.target", battery.target, "80 %", "80 %",
        "charge that is kept up from what sources have left, and given back beyond it; 0: never charged"),
    SHARE(S, "battery.floor", battery.floor, "5 %", "10 %", "never less"),
    SHARE(S, "battery.ceiling", battery.ceiling, "95 %", "100 %", "never more"),
    SHARE(S, "battery.reserve", battery.reserve, "30 %", "30 %",
        "charge below which a deficit is acted on, not bridged"),
    ROW_BOOL(S, "battery.smooths", battery.smooths, "true",
        "takes the swing of steps, as far as its power goes, and loses what that costs"),

    NUMBER(S, "controls.delay", controls.delay_s, UNIT_SECONDS, "5 s", 1, 1e9, "5 s",
        "from a deficit to the first step against it, and to each further one"),
    NUMBER(S, "controls.cap", controls.cap, UNIT_SHARE, "100 %", 0.4, 1, "85 %",
        "accelerators' power that is always in force, share of their cap; the steps of jobs are as "
        "they are with it"),
    SHARE(S, "controls.cap_min", controls.cap_min, "80 %", "80 %",
        "first step: accelerators' power, down to this share of their cap; 100 %: never"),
    ROW_BOOL(S, "controls.pause", controls.pause, "true",
        "second: jobs save and stop, lowest priority first; last, the rest of the load is shed"),
    NUMBER(S, "controls.restore", controls.restore_s, UNIT_SECONDS, "10 min", 1, 1e9, "10 min",
        "without a deficit before one step is taken back"),
    WATTS(S, "controls.spinning_w", controls.spinning_w, "0", "38 MW",
        "kept free in gas units that run"),
    SHARE(S, "controls.smoothing_floor", controls.smoothing_floor, "0", "90 %",
        "of accelerators' cap that they burn while they wait within a step, as far as they can"),
    NUMBER(S, "controls.smoothing_ramp_w_per_s", controls.smoothing_ramp_w_per_s, UNIT_W_PER_S, "0",
        0, 1e6, "100 W/s", "of one accelerator: its power follows so fast where jobs start and stop; "
        "0: at once"),
    SHARE(S, "controls.damper", controls.damper, "0", "80 %",
        "of accelerators' cap that software burns while they wait within a step, on any kind; it "
        "ends with its job (PyTorch's power damper, arXiv:2508.14318)"),
    NUMBER(S, "controls.damper_slows", controls.damper_slows, UNIT_SHARE, "2 %", 0, 0.5, "2 %",
        "of their speed that the damper costs (measured: below 5 %)"),

    ROW_ENUM(S, "cooling.law", cooling.law, "site", site_cooling_law_names, "loop",
        "site: the planner's, by the site's kind of cooling; loop: dry coolers to an approach, and "
        "chillers for what they cannot, by the keys here; coolers: the same with so many dry coolers "
        "of a catalogue's point"),
    ROW_STRING(S, "cooling.weather", cooling.weather, "climate", "memphis-tmy3",
        "a file of hours or a name of presets/weather; climate: means of the site's months"),
    ROW_INT(S, "cooling.start_day", cooling.start_day, NULL, "1", 1, 366, "152",
        "day of the year of the first simulated one"),
    NUMBER(S, "cooling.supply_c", cooling.supply_c, UNIT_CELSIUS, "32", -10, 80, "32 C",
        "of loop: coolant that is supplied"),
    PLAIN(S, "cooling.approach_k", cooling.approach_k, "8", 0, 60, "8", "coolant over the air"),
    PLAIN(S, "cooling.span_k", cooling.span_k, "10", 0.1, 60, "10", "rise of the coolant"),
    SHARE(S, "cooling.pumps", cooling.pumps, "2 %", "2 %", "of IT power, at full flow"),
    NUMBER(S, "cooling.flow", cooling.flow, UNIT_SHARE, "100 %", 0.2, 1, "67 %",
        "of the coolant's full flow: pumps draw its cube, the coolant's rise is its inverse"),
    SHARE(S, "cooling.fans", cooling.fans, "4 %", "4 %",
        "of IT power, at full speed; the cube of what is needed"),
    SHARE(S, "cooling.electrical", cooling.electrical, "4 %", "4 %", "losses, of IT power"),
    SHARE(S, "cooling.chiller_share", cooling.chiller_share, "100 %", "60 %",
        "of the heat that the chillers can take; beyond, the coolant warms up"),
    ROW_BOOL(S, "cooling.catalogue", cooling.catalogue, "false",
        "chillers by the median of 49 catalogue units, else COP 6 at 15 C and 3 at 36 C"),
    NUMBER(S, "cooling.chilled_c", cooling.chilled_c, UNIT_CELSIUS, "10", 0, 40, "10 C",
        "water of the catalogue's chillers; its curves hold from 5 to 10 C"),
    PLAIN(S, "cooling.resistance_k_per_w", cooling.resistance_k_per_w, "0.03", 0, 10, "0.03",
        "die over coolant, of one accelerator"),
    PLAIN(S, "cooling.heat_j_per_k", cooling.heat_j_per_k, "300", 0.001, 1e6, "300",
        "of one accelerator with its plate"),
    NUMBER(S, "cooling.limit_c", cooling.limit_c, UNIT_CELSIUS, "85", 0, 200, "85 C",
        "of the die: above it the clock comes down"),
    PLAIN(S, "cooling.loop_l_per_rack", cooling.loop_l_per_rack, "30", 0.1, 1e5, "30",
        "litres in a rack, which warm up when the flow is lost"),
    TIME(S, "cooling.leak_detect", cooling.leak_detect_s, "10 s", "10 s",
        "from the beginning of a leak until its valves close"),

    ROW_INT(S, "cooling.coolers", cooling.coolers, NULL, "100", 1, 1e6, "100",
        "of law coolers: how many dry coolers"),
    WATTS(S, "cooling.cooler_w", cooling.cooler_w, "2.931 MW", "2.931 MW",
        "heat of one at its catalogue point"),
    NUMBER(S, "cooling.cooler_air_c", cooling.cooler_air_c, UNIT_CELSIUS, "35", -50, 60, "35 C",
        "air there"),
    NUMBER(S, "cooling.cooler_in_c", cooling.cooler_in_c, UNIT_CELSIUS, "46.11", -50, 120, "46.11 C",
        "fluid in there"),
    NUMBER(S, "cooling.cooler_out_c", cooling.cooler_out_c, UNIT_CELSIUS, "40.55", -50, 120,
        "40.55 C", "fluid out there"),
    WATTS(S, "cooling.cooler_fan_w", cooling.cooler_fan_w, "117.68 kW", "117.68 kW",
        "fans of one at full speed; capacity goes with speed to 0.8, power with its cube"),
    PLAIN(S, "supplies.stored_j", supplies.stored_j, "65", 0, 1e9, "65",
        "joules in the capacitors of one supply"),
    PLAIN(S, "supplies.current_limit", supplies.current_limit, "1.1", 0, 10, "1.1",
        "times its rated current that it draws while the voltage is low"),
    WATTS(S, "supplies.watts", supplies.watts, "1400", "1400", "that it gives"),
    ROW_BOOL(S, "supplies.ups", supplies.ups, "true",
        "takes over where the supplies cannot ride through, until it locks itself out"),
    ROW_INT(S, "supplies.lockout_transfers", supplies.lockout_transfers, NULL, "3", 1, 1000, "3",
        "transfers to the UPS within lockout_window after which it stays away"),
    TIME(S, "supplies.lockout_window", supplies.lockout_s, "60 s", "60 s", "in which they count"),
    TIME(S, "supplies.lockout", supplies.lockout_lasts_s, "15 min", "15 min",
        "until somebody has put the UPS back: sags then trip what they meet"),

    ROW_FIGURE(S, "permits.nox", permits.most_t[SITE_NOX], UNIT_T_PER_YEAR, "", "87 short-t/year",
        "nitrogen oxides of the gas units in any twelve months; default: the site's; 0: none"),
    ROW_FIGURE(S, "permits.co2", permits.most_t[SITE_CO2], UNIT_T_PER_YEAR, "", "2.3e6 t/year",
        "carbon dioxide of the gas units, the grid's is elsewhere, the same; default: none"),
    ROW_FIGURE(S, "permits.co", permits.most_t[SITE_CO], UNIT_T_PER_YEAR, "", "94 short-t/year",
        "carbon monoxide, the same; default: none"),
    ROW_INT(S, "permits.starts", permits.starts, NULL, "0", 0, 60000, "22",
        "of one gas unit in any 365 days; 0: any"),
    ROW_INT(S, "permits.hours", permits.hours, NULL, "0", 0, 8760, "4000", "the same"),
    PLAIN(S, "permits.nox_before_t", permits.before_t[SITE_NOX], "0", 0, 1e9, "70",
        "in the year before, spread evenly over it"),
    PLAIN(S, "permits.co2_before_t", permits.before_t[SITE_CO2], "0", 0, 1e12, "900000", "the same"),
    PLAIN(S, "permits.co_before_t", permits.before_t[SITE_CO], "0", 0, 1e9, "60", "the same"),
    ROW_BOOL(S, "permits.stops", permits.stops, "false",
        "a unit whose starts or hours are used up stands still; else it is only reported"),

    ROW_BOOL(S, "money.capital", money.capital, "true",
        "write-off of machine and building and their upkeep, as the planner reckons"),
    PLAIN(S, "money.usd_per_technician_hour", money.usd_per_technician_hour, "60", 0, 1e5, "60",
        "of hands"),
    PLAIN(S, "money.usd_per_part", money.usd_per_part, "0", 0, 1e7, "9000", "of parts used"),
};
const struct section site_scenario_section =
    SECTION("scenario", "scenarios", "a scenario", scenario_rows);

/* ------------------------------------------------------------------ lists */

static const struct option block_rows[] = {
    ROW_STRING(B, "name", name, "", "block 2", "as printed; default: its number"),
    ROW_INT(B, "pool", pool, NULL, "1", 1, 8, "1", "of the cluster, from 1"),
    ROW_INT(B, "accelerators", accelerators, NULL, NULL, 1, 1e8, "110000", "of that pool"),
    PLAIN(B, "day", day, "0", 0, 1e6, "30", "when the first stands"),
    PLAIN(B, "install_days", install_days, "0", 0, 1e6, "19", "until the last stands"),
    PLAIN(B, "power_day", power_day, "0", 0, 1e6, "45", "when it has power"),
    PLAIN(B, "cooling_day", cooling_day, "0", 0, 1e6, "45", "when it has cooling"),
    PLAIN(B, "age_days", age_days, "-1", -1, 1e5, "0",
        "of its accelerators when it comes; default: 0, or failures.age_days on day 0"),
    ROW_STRING(B, "hall", hall, "", "north", "where it stands: events name it"),
};
const struct section site_block_section = SECTION("block", NULL, "a block", block_rows);

static const struct option job_rows[] = {
    ROW_STRING(J, "name", name, NULL, "pretraining", "as printed"),
    ROW_ENUM(J, "kind", kind, "training", site_job_kind_names, "serving",
        "training; serving, whose demand has a daily curve and which no failure stops; gangs: "
        "many small equal jobs; replay: jobs that somebody ran, on accelerators of their own"),
    ROW_STRING(J, "trace", trace_path, "", "jobs.csv",
        "of kind replay: a CSV with submit_s, accelerators, duration_s and perhaps state (FAILED ...); "
        "first come, first served, with backfill; checkpoint 0: a failure takes a job to its beginning"),
    ROW_INT(J, "accelerators", accelerators, NULL, "0", 0, 1e8, "16384",
        "that it wants, all gangs together; 0: all of the cluster or pool, less 3 % of spares, in whole "
        "nodes (or blocks), of training that goes on only whole, where a node is no more than an "
        "eighth"),
    ROW_INT(J, "pool", pool, NULL, "0", 0, 8, "1", "of the cluster, from 1; 0: any"),
    ROW_INT(J, "priority", priority, NULL, "0", -1000, 1000, "10", "higher ones first"),
    ROW_BOOL(J, "preemptible", preemptible, "false",
        "saves and makes room where a job of higher priority wants it"),
    TIME(J, "start", start_s, "0", "10 d", "not before"),
    TIME(J, "work", work_s, "0", "54 d", "productive time after which it is done; 0: never"),
    TIME(J, "step", step_s, "10 s", "6.7 s", "of training: of one step"),
    SHARE(J, "compute_share", compute_share, "75 %", "75 %", "of it that accelerators compute"),
    TIME(J, "low", low_s, "0", "1.5 s", "of it that all wait at once; 0: none swings"),
    TIME(J, "checkpoint", checkpoint_s, "0", "500 s",
        "of training: between two; 0: the exact optimum for the job's failures"),
    TIME(J, "stall", stall_s, "1 s", "10 s", "of training: that a step waits for one"),
    ROW_INT(J, "store_every", store_every, NULL, "1", 1, 1e6, "20",
        "of so many checkpoints one goes to storage, the others to memory: an outage of the whole "
        "site loses those"),
    TIME(J, "detect", detect_s, "0", "60 s", "until a failure is noticed"),
    NUMBER(J, "restart", restart_s, UNIT_SECONDS, "-1", -1, 1e9, "300 s",
        "without loading; default: by the number of accelerators, as planned (arXiv:2602.00277)"),
    TIME(J, "load", load_s, "0", "30 s", "of the checkpoint"),
    SHARE(J, "elastic_min", elastic_min, "100 %", "50 %",
        "of its accelerators with which it goes on; 100 %: stops when one is missing"),
    ROW_INT(J, "group", group, NULL, "0", 0, 1e8, "1024",
        "accelerators that leave together where it is elastic; 0: those of the failure"),
    ROW_INT(J, "block", block, NULL, "0", 0, 1e6, "72",
        "it has whole racks of so many: where one accelerator of a rack breaks, the others wait for "
        "its repair; 0: any accelerators will do"),
    TIME(J, "elastic_stall", elastic_stall_s, "30 s", "180 s",
        "that all wait where some leave an elastic job"),
    ROW_INT(J, "gangs", gangs, NULL, "1", 1, 1e6, "40", "of kind gangs: how many"),
    ROW_CUSTOM("by_hour", "", "[0.4, 0.35, 0.3, 0.3, 0.3, 0.35, 0.45, 0.6, 0.75, 0.85, 0.9, 0.95, "
        "1, 1, 0.98, 0.95, 0.92, 0.9, 0.88, 0.85, 0.8, 0.7, 0.6, 0.5]",
        "of kind serving: share of it asked for in each hour of the day; default: all",
        site_read_day_of_job),
    PLAIN(J, "flaps_tolerated", flaps_tolerated, "2", 0, 1e9, "2",
        "of its links within flap_window; more interrupt"),
    TIME(J, "flap_window", flap_window_s, "5 min", "5 min", "in which they count"),
    PLAIN(J, "usd_per_hour", usd_per_hour, "2", 0, 1e5, "2",
        "worth of one accelerator's productive hour: of lost training"),
};
const struct section site_job_section = SECTION("job", NULL, "a job", job_rows);

static const struct option gas_rows[] = {
    ROW_STRING(G, "name", name, NULL, "Titan 350", "as printed; events name it"),
    ROW_INT(G, "units", units, NULL, NULL, 1, SITE_MAX_UNITS, "16", "of this kind"),
    NUMBER(G, "unit_w", unit_w, UNIT_W, NULL, 1, 1e11, "38 MW", "of one, at 15 C"),
    SHARE(G, "min_load", min_share, "40 %", "40 %", "the least that it can run at"),
    NUMBER(G, "ramp_w_per_s", ramp_w_per_s, UNIT_W_PER_S, "5 MW/min", 0, 1e12, "5 MW/min",
        "of one; 0: at once"),
    TIME(G, "start", start_s, "10 min", "10 min", "from rest to minimum load"),
    TIME(G, "stop_after", stop_after_s, "30 min", "30 min",
        "runs on so long after it was last needed: steps of jobs that stop and start again pass"),
    TIME(G, "min_up", min_up_s, "1 h", "1 h", "runs at least"),
    TIME(G, "min_down", min_down_s, "1 h", "1 h", "rests at least"),
    ROW_CUSTOM("heat_rate", "10160", "[[0.4, 13848], [0.6, 11658], [0.8, 10749], [1, 10244]]",
        "kJ of fuel (lower heating value) for a kWh: one number, or pairs of load and heat rate",
        site_read_heat_rate),
    PLAIN(G, "nox_ppm", nox_ppm, "2", 0, 1e4, "2", "at 15 % oxygen: 2 behind SCR, 9 to 25 without"),
    PLAIN(G, "co_ppm", co_ppm, "2", 0, 1e4, "2", "the same"),
    SHARE(G, "derate_per_k", derate_per_k, "0.65 %", "0.65 %", "of power, by degrees of hot air"),
    NUMBER(G, "derate_above_c", derate_above_c, UNIT_CELSIUS, "15", -50, 100, "15 C",
        "from where that counts"),
    TIME(G, "mttf", mttf_s, "969 h", "969 h",
        "between forced outages of a running one (RTS-GMLC, 55 MW); 0: it never fails"),
    TIME(G, "mttr", mttr_s, "31 h", "31 h", "that they last"),
    PLAIN(G, "inertia_s", inertia_s, "2.8", 0.01, 100, "2.8", "stored at speed, over its power"),
    PLAIN(G, "usd_per_mmbtu", usd_per_mmbtu, "3.5", 0, 1000, "3.5", "fuel, higher heating value"),
    PLAIN(G, "usd_per_start", usd_per_start, "0", 0, 1e9, "500", "wear"),
    PLAIN(G, "usd_per_mwh", usd_per_mwh, "0", 0, 1e5, "75", "rent and upkeep, beside fuel"),
    ROW_INT(G, "on", on, NULL, "-1", -1, SITE_MAX_UNITS, "12",
        "that run when the scenario begins; default: as many as it takes"),
};
const struct section site_gas_section = SECTION("gas units", NULL, "gas units", gas_rows);

static const struct option load_rows[] = {
    ROW_STRING(L, "name", name, NULL, "offices", "as printed"),
    WATTS(L, "watts", watts, NULL, "5 MW", "mean, at a share of 1"),
    ROW_CUSTOM("by_hour", "", "[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, "
        "1]", "share of it in each hour of the day; default: 1", site_read_day_of_load),
    TIME(L, "ramp", ramp_s, "0", "300 s", "from one hour's level to the next"),
    WATTS(L, "swing_w", swing_w, "0", "125 MW", "half of the height of a square wave on it"),
    TIME(L, "period", period_s, "0", "5 s", "of that wave"),
    SHARE(L, "duty", duty, "50 %", "70 %", "of it that it is high"),
};
const struct section site_load_section = SECTION("load", NULL, "a load", load_rows);

static const struct option cause_rows[] = {
    ROW_STRING(C, "name", name, NULL, "CDU", "as printed"),
    ROW_INT(C, "pool", pool, NULL, "1", 1, 8, "1", "of the cluster, from 1"),
    ROW_STRING(C, "hall", hall, "", "north", "of blocks in this hall only; default: of any"),
    ROW_INT(C, "instances", instances, NULL, "1", 1, 1e6, "1000", "how many stand there"),
    ROW_INT(C, "units", units, NULL, "1", 1, 16, "2", "of each, as its pumps"),
    ROW_INT(C, "needs", needs, NULL, "1", 1, 16, "1", "units that suffice"),
    TIME(C, "mtbf", mtbf_s, NULL, "50000 h", "between failures of one unit"),
    TIME(C, "mttr", mttr_s, "8 h", "8 h", "until it works again, exponential"),
    ROW_INT(C, "takes", takes, NULL, "0", 0, 1e8, "576",
        "accelerators that stand still with one instance; 0: all of the pool or hall"),
};
const struct section site_cause_section = SECTION("cause", NULL, "a cause", cause_rows);

static const struct option event_rows[] = {
    TIME(E, "at", at_s, NULL, "12 d", "when it begins"),
    ROW_ENUM(E, "what", kind, NULL, site_event_kind_names, "heat_wave", "which kind"),
    TIME(E, "lasts", lasts_s, "0", "3 h", "until it is over; 0: an instant, or for good"),
    PLAIN(E, "kelvin", kelvin, "0", -60, 60, "6", "heat_wave: warmer by"),
    PLAIN(E, "depth", depth, "0", 0, 1, "0.4", "sag_train: voltage that is left, of 1"),
    TIME(E, "sag", sag_s, "66 ms", "66 ms", "sag_train: how long each is"),
    ROW_CUSTOM("times", "", "[14, 28, 45, 62, 82]", "sag_train: further ones, seconds after the first",
        site_read_times),
    ROW_INT(E, "units", units, NULL, "1", 0, 1e8, "3",
        "turbine_trip: units; cdu_pump, leak, maintenance, failure: accelerators"),
    ROW_STRING(E, "target", target, "", "Titan 350",
        "turbine_trip, fuel_loss, emissions: gas units; order_delayed, cdu_pump, leak, maintenance: "
        "block or hall; flap_storm: job; \"\": all"),
    ROW_INT(E, "pool", pool, NULL, "1", 1, 8, "2",
        "cdu_pump, leak, maintenance, failure: of the cluster"),
    WATTS(E, "watts", watts, "0", "100 MW", "curtailment, grid_limit: that may still be drawn"),
    PLAIN(E, "per_day", per_day, "0", 0, 1e6, "4",
        "flap_storm: flaps of one link a day; bad_firmware: share of the units that get it a day"),
    PLAIN(E, "factor", factor, "1", 0, 1e4, "3",
        "bad_firmware: failures of a unit that has it; false_alarms: for each real failure"),
    SHARE(E, "share", share, "100 %", "50 %",
        "fuel_loss: of units that stop; chiller_fault: of chillers; leak: of the accelerators, which "
        "got wet and are repaired"),
    ROW_BOOL(E, "hardware", hardware, "true", "failure: it needs repair, else it only interrupts"),
    PLAIN(E, "nox_ppm", nox_ppm, "0", 0, 1e4, "25", "emissions: from here on"),
    PLAIN(E, "l_per_min", l_per_min, "1", 0, 1e5, "3", "leak: coolant that is lost until it closes"),
};
const struct section site_event_section = SECTION("event", NULL, "an event", event_rows);
/* clang-format on */
