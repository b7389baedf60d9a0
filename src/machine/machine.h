/* machine.h: the machine that a job runs on and the site it stands on: accelerators, clusters and
 * sites as their description files say them, and the laws that hold for any of them: watts by phase
 * and power cap, failures, restarts and checkpoints, cooling and water, supply, swing, prices.
 *
 * A law is a function of (kind of accelerator, site, temperature, age, count); no law knows which
 * job runs, or whether it is planned, simulated or real. Seconds, bytes, FLOP, watts, dollars. */
#ifndef COLOSSUS_MACHINE_H
#define COLOSSUS_MACHINE_H

#include "base/base.h"

/* ------------------------------------------------------------------ hardware */

enum machine_precision {
    MACHINE_FP32,
    MACHINE_BF16,
    MACHINE_FP8,
    MACHINE_MXFP8,
    MACHINE_FP4,
    MACHINE_N_PRECISIONS
};
extern const char *const machine_precision_names[]; /* NULL-terminated; fp16 reads as bf16 */

/* Generations of hardware that software treats alike: ampere has no FP8, hopper has FP8 with a scale
 * a tensor, blackwell FP4 and scales of blocks. Others' accelerators are of the nearest one. */
enum machine_family {
    MACHINE_FAMILY_BY_PRECISION, /* not stated: by the lowest precision that is offered */
    MACHINE_AMPERE,
    MACHINE_HOPPER,
    MACHINE_BLACKWELL,
    MACHINE_N_FAMILIES
};
extern const char *const machine_family_names[]; /* NULL-terminated */

struct machine_accelerator {
    const char *name, *title;                       /* "h100", "NVIDIA H100 SXM5 80 GB" */
    int family;                                     /* enum machine_family; see machine_family() */
    struct figure peak_flops[MACHINE_N_PRECISIONS]; /* dense; mid 0: not offered */
    struct figure
        ceiling_flops[MACHINE_N_PRECISIONS]; /* measured matrix products; mid 0: unknown */
    struct figure hbm_bytes, hbm_bytes_per_s;
    struct figure scaleup_bytes_per_s; /* per accelerator, one direction */
    int64_t scaleup_domain;            /* accelerators that share it */
    int64_t node_size;                 /* accelerators per server or tray: the failure unit is 8 */
    struct figure nic_bytes_per_s;     /* per accelerator, one direction */
    struct figure power_cap_w, power_compute_w, power_comm_w, power_idle_w;
    /* CPUs, NICs, fans, per accelerator, behind the power supplies: their loss is added */
    struct figure node_other_w;
    struct figure price_usd;
    struct figure failures;        /* per 1,000 days of 8 accelerators, mature fleet */
    struct figure smoothing_floor; /* share of the cap the power can be held at; 0: none */
    /* Of a whole machine that `colossus train` runs on: the file with the times of its operations, or
     * MACHINE_ESTIMATED; "": this is none. */
    const char *operations;
};
#define MACHINE_ESTIMATED "estimated"

struct machine_pool { /* accelerators of one kind within a cluster */
    const struct machine_accelerator *accelerator;
    int64_t count;
};
#define MACHINE_MAX_POOLS 8
/* Share of the line rate left by collisions where a cluster states none: adaptive routing. */
#define MACHINE_ROUTING 0.95
struct machine_cluster {
    const char *name, *title, *source;
    struct machine_pool
        pools[MACHINE_MAX_POOLS]; /* a synchronous job runs at the slowest pool's speed or
                                             * in shares of the batch; see plan_step */
    int64_t n_pools;
    bool domains_as_needed; /* counted are those that a job uses, on as many domains as its groups
                             * ask for: published runs. Else the domains are full */
    int64_t fabric_tiers;
    struct figure oversubscription;   /* at the top tier; 1: none */
    struct figure routing_efficiency; /* 0.60 static ECMP, 0.80 tuned RoCE, 0.95 adaptive */
    struct figure storage_write_bytes_per_s, storage_read_bytes_per_s;
    struct figure spare_fraction;
    struct figure fleet_age_days;          /* young fleets fail more often */
    struct figure lemon_fraction;          /* nodes that fail several times as often */
    struct figure network_usd, server_usd; /* per accelerator, beside its own price */
    struct figure network_w;               /* switches and optics, per accelerator */
    double headroom; /* share of the accelerators' memory that jobs leave free: a plan's choice */
};
int64_t machine_cluster_accelerators(const struct machine_cluster *c);
/* Not whole scale-up domains: a bare number of accelerators, or a published one, then counts those that
 * a job uses, and its racks may have others. What domains_as_needed is where nothing else is said. */
bool machine_cluster_counts_used(const struct machine_cluster *c);

struct machine_power_source {
    const char *name; /* as printed */
    bool grid;        /* bought from afar: its chimneys stand under permits of their own */
    struct figure capacity_w, usd_per_kwh, co2_g_per_kwh, nox_g_per_kwh, water_l_per_kwh;
    struct figure ramp_w_per_s; /* 0: not limited */
};
#define MACHINE_MAX_SOURCES 8
struct machine_climate_month {
    double dry_bulb_c, wet_bulb_c; /* mean of the month */
};
struct machine_site {
    const char *name, *title, *source;
    struct machine_power_source sources[MACHINE_MAX_SOURCES]; /* used in this order */
    int64_t n_sources;
    struct figure battery_w, battery_wh, battery_efficiency;
    int cooling;                                         /* enum machine_cooling */
    struct figure liquid_fraction, supply_c, design_pue; /* design_pue 0: from the climate */
    struct machine_climate_month months[12];
    bool has_climate;
    struct figure permit_nox_t_per_year, permit_water_l_per_day;
    struct figure swing_limit_w, swing_band_low_hz, swing_band_high_hz; /* of the utility */
    struct figure capex_usd_per_w; /* of the building and its plant, per IT watt */
    struct figure depreciation_years, opex_fraction; /* of accelerators; of capex a year */
    struct figure build_days_per_1000;               /* accelerators installed: the schedule */
};
enum machine_cooling {
    MACHINE_COOLING_AIR_CHILLER,
    MACHINE_COOLING_LIQUID_CHILLER,
    MACHINE_COOLING_DRY,
    MACHINE_COOLING_TOWER
};
extern const char *const machine_cooling_names[];

/* ------------------------------------------------------------------ descriptions
 * (machine_cluster.c, machine_site.c) YAML presets in which every figure keeps its source and grade. A
 * name is looked for as a file, beside the file that names it, in the presets beside that file, in
 * $COLOSSUS_PRESETS, beside the program and where `make install` put them. */

extern const struct section machine_accelerator_section, machine_cluster_section,
    machine_pool_section, machine_site_section, machine_source_section;

/* Each takes a name, a path, or a map that may begin with `like: NAME`. */
int machine_read_accelerator(const struct yaml_reader *r, const struct yaml_node *node,
                             struct machine_accelerator *out);
int machine_read_cluster(const struct yaml_reader *r, const struct yaml_node *node,
                         struct machine_cluster *out);
int machine_read_site(const struct yaml_reader *r, const struct yaml_node *node,
                      struct machine_site *out);

/* The same for a name that no file mentions; `from` (may be NULL) is where the name is looked from. */
int machine_load_accelerator(const char *name, const char *from, struct arena *a,
                             struct machine_accelerator *out, struct error *e);
int machine_load_cluster(const char *name, const char *from, struct arena *a,
                         struct machine_cluster *out, struct error *e);
int machine_load_site(const char *name, const char *from, struct arena *a, struct machine_site *out,
                      struct error *e);

/* As one map that the readers read back, whole (machine_write.c): middle values only. */
void machine_write_cluster(const struct machine_cluster *c, struct str *out);
void machine_write_site(const struct machine_site *s, struct str *out);

/* ------------------------------------------------------------------ laws
 * All are pure: they allocate nothing, keep nothing and may be called from any thread, and for any
 * hour of a simulated year. `used` counts the accelerators of each pool that work; the rest of the
 * pool stands idle. `source_w` are the watts of each of a site's sources, as machine_supply shares
 * them out. A figure that a description leaves out takes the law's own fallback. */

/* The family stated, or that of the precisions offered; never MACHINE_FAMILY_BY_PRECISION. */
enum machine_family machine_family(const struct machine_accelerator *a);
/* A precision that an accelerator does not offer runs in the next wider one it does. */
int machine_offered_precision(const struct machine_accelerator *a, int precision);
/* Dense FLOP/s of that one; never 0. */
double machine_peak_flops(const struct machine_accelerator *a, int precision);

/* Watts of one accelerator by phase, at `cap` (share of its own cap; 0: uncapped), and the clock
 * that leaves, beside the uncapped one (machine_power.c). */
struct machine_phase_power {
    double compute_w, comm_w, idle_w, other_w, cap_w, clock;
};
void machine_phase_power(const struct machine_accelerator *a, double cap,
                         struct machine_phase_power *out);
/* The clock that a cap leaves, mean of all accelerators: what runs at the core's clock takes
 * 1 / clock as long. */
double machine_mean_clock(const struct machine_cluster *c, double cap);
/* Watts of direct current, behind the supplies, of a whole cluster whose working accelerators spend
 * compute_share of their time in compute and wait in communication the rest. */
struct machine_draw {
    double accelerators_w, other_w; /* mean; CPUs, NICs and fans of the servers */
    double idle_w, max_w;           /* both, while all stand still, and the most (nameplate) */
    double cap_w;                   /* the accelerators' caps */
    double network_w;               /* switches and optics; not behind the servers' supplies */
};
void machine_draw(const struct machine_cluster *c, const int64_t used[MACHINE_MAX_POOLS],
                  double cap, double compute_share, struct machine_draw *out);
/* Watts of switches and optics of one accelerator. */
double machine_network_w(const struct machine_cluster *c);
/* Watts before the servers' power supplies, by their efficiency (80 PLUS Titanium). */
double machine_supplied_w(double direct_w);
/* Watts of all IT: servers with their supplies' loss, network, and storage, management and CPU
 * nodes as a share of both. */
double machine_it_w(double direct_w, double network_w);

/* Power of synchronous steps as a square-like wave with edges; what limits it. */
struct machine_swing {
    double peak_w, trough_w, mean_w, amplitude_w; /* site, one step */
    double period_s;
    double spectrum_hz[64], spectrum_w[64]; /* amplitude of each line */
    int n_lines;
    double in_band_w;       /* largest line within the utility's critical band */
    double limit_w;         /* the utility's; 0: none stated */
    bool within_limit;      /* with the site's own batteries */
    double range_in_band_w; /* peak to peak within the band: what the limit is held against */
    bool by_batteries;      /* only the site's batteries bring it within the limit */
    double smoothing_left_w, smoothing_energy_fraction; /* with the accelerators' own smoothing */
    double cap_left_w;                                  /* with a power cap at the mean */
    double battery_needed_w, battery_needed_wh, battery_left_w;
    double period_detuned_s;      /* step time that leaves the band; 0: none does */
    double stop_w, stops_per_day; /* what falls away when a failure stops every accelerator */
    double stop_battery_wh;       /* to take what sources of limited ramp still give after a stop */
};
/* What the swing is made of: whole machine, IT watts including the supplies' loss (machine_swing.c). */
struct machine_swing_load {
    double high_w, low_w, idle_w; /* all computing; all in exposed communication; all stopped */
    double beside_w;              /* what does not swing: fans, network, cooling */
    double smooth_high_w, smooth_low_w; /* with the accelerators' own smoothing; as above: none */
    double period_s, low_s;             /* a step, and how long all are low in it */
    double edge_s;                      /* rise and fall: the pipeline fills and drains */
};
/* Fills the watts of *load, but for beside_w, from its seconds, which the caller has set; the
 * working accelerators compute for compute_share of a step. */
void machine_swing_levels(const struct machine_cluster *c, const int64_t used[MACHINE_MAX_POOLS],
                          double cap, double compute_share, struct machine_swing_load *load);
void machine_swing(const struct machine_site *site, const struct machine_swing_load *load,
                   struct machine_swing *out);
/* What a stop of stop_w leaves over while sources of limited ramp come down, for batteries. */
double machine_stop_battery_wh(const struct machine_site *site,
                               const double source_w[MACHINE_MAX_SOURCES], double stop_w);

/* ------------------------------------------------------------------ failures */

/* Failures per 1,000 days of 8 accelerators, mean of the working ones, at the fleet's age and with
 * its lemons (arXiv:2410.21680; machine_failures.c), times factor: 1 for what is known. */
struct range machine_failure_rate(const struct machine_cluster *c,
                                  const int64_t used[MACHINE_MAX_POOLS], double factor);
/* What it is made of: an accelerator's rate in a mature fleet, how many times as often a fleet of
 * this age fails, and that summed up since it was new, in days. */
double machine_mature_rate(const struct machine_accelerator *a);
double machine_youth(double age_days);
double machine_youth_days(double age_days);
#define MACHINE_FAILURE_NODE 8.0 /* accelerators: the unit of the rates */
/* Seconds between failures of a job of so many at that rate, with outages of the whole site. */
struct range machine_mtbf_s(struct range rate, double accelerators);
/* Nodes of 8 that must stand by so that repairs leave a job whole 99 % of the time. */
int64_t machine_spare_nodes(double rate, double accelerators);
/* Cold restart of a job of this many accelerators, without loading (arXiv:2602.00277). */
struct range machine_restart_s(int64_t accelerators);

/* A checkpoint of a model of `params` parameters with its optimizer, saved by so many accelerators
 * to the cluster's storage: time to write and to load it, and how long a step waits for the copy to
 * host memory (machine_checkpoint.c). */
struct machine_checkpoint {
    double bytes, write_s, load_s, stall_s;
};
void machine_checkpoint(const struct machine_cluster *c, double params, double accelerators,
                        struct machine_checkpoint *out);
/* tau, seconds between checkpoints, for stall delta and MTBF: the approximations of Young (1974) and
 * Daly (2006, eq. 37), and the minimum of Daly's exact expected time. */
double machine_checkpoint_young_s(double delta_s, double mtbf_s);
double machine_checkpoint_daly_s(double delta_s, double mtbf_s);
double machine_checkpoint_interval(double delta_s, double mtbf_s);
/* Expected wall time over useful time: checkpoints every tau, restart R, exponential failures. */
double machine_checkpoint_stretch(double tau_s, double delta_s, double restart_s, double mtbf_s);
/* Useful share of wall time of a synchronous job, planned interruptions with it (Llama 3's). */
struct range machine_goodput(double tau_s, double delta_s, struct range restart_s,
                             struct range mtbf_s);

/* A job whose replica groups leave and return singly (machine_elastic.c). */
struct machine_elastic {
    double accelerators;   /* of the whole machine */
    struct range mtbf_s;   /* of all of them */
    double lost_s;         /* work that a failure loses: half a step */
    double restart_factor; /* times as long as restarts are known to take; 1 */
};
/* Accelerators that leave and restart together: whole units (what holds the state and can leave
 * alone), and of a job of n at most 64 groups. */
int64_t machine_elastic_group(int64_t unit, int64_t n);
/* How long all of an elastic job of so many wait where some leave it. */
double machine_elastic_stall_s(double accelerators);
/* The number of accelerators of the job that is fastest; more make it slower. */
double machine_elastic_size(const struct machine_elastic *x);
/* Useful share of the wall time of a job of so many, in groups of so many. */
struct range machine_elastic_goodput(const struct machine_elastic *x, int64_t job, int64_t group);

/* ------------------------------------------------------------------ cooling and supply */

/* At one temperature outside, of dry and of wet bulb: watts of cooling and losses for a watt of IT,
 * and litres of water for a kWh of IT (machine_cooling.c names the sources by kind of cooling). */
void machine_cooling_overhead(const struct machine_site *site, double dry_c, double wet_c,
                              double *overhead, double *l_per_kwh);
/* The same over a year of months, around the site's own mean PUE where it states one. */
extern const int machine_month_days[12];
struct machine_cooling_year {
    double pue[12], l_per_kwh[12];              /* water: per kWh of IT */
    double mean_pue, worst_pue, mean_l_per_kwh; /* worst: of the hottest month */
};
void machine_cooling_year(const struct machine_site *site, struct machine_cooling_year *out);

/* ------------------------------------------------------------------ heat (machine_heat.c) */

/* A die that was at now_c, dt_s later: exact, whatever the step. tau_s: resistance times heat. */
double machine_die_step(double now_c, double settled_c, double tau_s, double dt_s);
/* Seconds in which it warms by so much where no coolant flows. */
double machine_die_alone_s(double kelvin, double watts, double j_per_k);
/* How fast so many litres of water warm up that stand still. */
double machine_loop_k_per_s(double watts, double litres);
/* A dry cooler by its catalogue point: its effectiveness stays. */
struct machine_dry_cooler {
    double heat_w, air_c, fluid_in_c, fluid_out_c;
};
double machine_dry_cooler_w(const struct machine_dry_cooler *c, double fluid_in_c, double air_c);
/* Share of the fans' power at a share of the cooler's capacity. */
double machine_fan_share(double capacity_share);
/* Share of the pumps' power at a share of their flow: its cube. */
double machine_pump_share(double flow_share);
double machine_coolant_rise_k(double watts, double l_per_min, double kg_per_m3, double j_per_kg_k);
/* An air-cooled chiller of a catalogue: capacity beside its rated one, and COP. False outside its
 * curves, whose edge is then taken: water of 4.44 to 10 C. */
bool machine_chiller(double water_c, double air_c, double *capacity, double *cop);
/* Dry coolers, and chillers for what they cannot take, for one watt of IT. */
struct machine_loop {
    double supply_c, approach_k, span_k; /* coolant; over the air; its rise in the load */
    double pumps, fans, electrical;      /* shares of IT power; fans at full speed */
    double chiller_share, chilled_c;     /* of the heat that chillers can take; their water */
    bool catalogue;                      /* chillers by machine_chiller, else by a line */
};
struct machine_loop_state {
    double overhead; /* watts of cooling and losses for a watt of IT */
    double supply_c; /* warmer than asked for where the chillers do not suffice */
    double chilled;  /* share of the heat that chillers take */
    bool within_curves;
};
void machine_loop_overhead(const struct machine_loop *l, double air_c,
                           struct machine_loop_state *out);
/* Wet bulb of air of this relative humidity (0 to 1) at this pressure (machine_air.c). */
double machine_wet_bulb_c(double dry_c, double humidity, double pressure_pa);

/* ------------------------------------------------------------------ gas units (machine_gas.c)
 * Heat rates are of the lower heating value, as makers state them; dollars and emissions are counted
 * by the higher. */

double machine_gas_mmbtu_per_mwh(double kj_per_kwh);             /* of the higher heating value */
double machine_gas_nox_g_per_kwh(double ppm, double kj_per_kwh); /* at 15 % oxygen */
double machine_gas_co_g_per_kwh(double ppm, double kj_per_kwh);
double machine_gas_co2_g_per_kwh(double kj_per_kwh);
double machine_gas_heat_of_co2(double co2_g_per_kwh); /* the heat rate that leaves so much */
/* Share of the power that is left in hot air. */
double machine_gas_derated(double per_k, double above_c, double air_c);
/* kJ for a kWh at a share of the load, straight between n points whose loads rise. */
double machine_gas_heat_rate(const double *load, const double *kj_per_kwh, int n, double at);
/* How fast an island's frequency changes where so many watts are missing (negative: too many), with
 * so many watt-seconds turning: one mass, a screening figure. */
double machine_island_hz_per_s(double missing_w, double inertia_ws, double hz);
/* Joules that a server's supply lacks in a sag that leaves this share of the voltage. */
double machine_sag_missing_j(double watts, double left, double current_limit, double lasts_s);

/* Which sources feed a load: each in its order, up to its capacity. Returns the watts that none can
 * give; 0 for a site without sources, whose supply is not known. */
double machine_supply(const struct machine_site *site, double load_w,
                      double source_w[MACHINE_MAX_SOURCES]);

/* ------------------------------------------------------------------ prices (machine_prices.c) */

struct range machine_price_usd(const struct machine_accelerator *a); /* to buy one */
/* Years over which accelerators, servers and network lose their price. site NULL: of a site that states nothing. */
struct range machine_write_off_years(const struct machine_site *site);
/* What a machine costs, and a year of it: straight-line write-off (of the building over 15 years)
 * and upkeep. The building is built for it_max_w, the nameplate of what stands in it. */
struct machine_cost {
    struct range accelerators_usd, servers_usd, network_usd, site_usd, capex_usd;
    struct range rent_usd, upkeep_usd; /* a year */
};
void machine_cost(const struct machine_cluster *c, const struct machine_site *site, double it_max_w,
                  struct machine_cost *out);
/* Of the mix that feeds a load; of the fallback where nothing does, or without a site. */
struct range machine_energy_usd_per_kwh(const struct machine_site *site,
                                        const double source_w[MACHINE_MAX_SOURCES]);
/* What a kWh of that mix leaves, and what the site's own chimneys and taps leave at this load: the
 * grid's are elsewhere. it_w and the litres of cooling per kWh of IT are means of the year. */
struct machine_footprint {
    struct range co2_g_per_kwh, nox_g_per_kwh, water_l_per_kwh; /* water: of power stations only */
    double nox_t_per_year, water_l_per_day;                     /* of the site, with its cooling */
    bool within_permit;
};
void machine_footprint(const struct machine_site *site, const double source_w[MACHINE_MAX_SOURCES],
                       double it_w, double cooling_l_per_kwh, struct machine_footprint *out);

#endif
