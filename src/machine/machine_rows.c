/* machine_rows.c: every key of accelerators, clusters and sites, once.
 *
 * Names, units, defaults, bounds and examples stand only here: the tables drive the reader, its
 * errors and docs/reference/plan-files.md (a unit test compares). A default is an assumption of this
 * program (grade A) unless its meaning says where it comes from. */
#include "machine/machine_internal.h"

#include <math.h>

#define MACHINE_TEXT_OF(x) #x
#define MACHINE_TEXT(x)    MACHINE_TEXT_OF(x) /* a number of machine.h, as documented */

#define A struct machine_accelerator
#define C struct machine_cluster
#define S struct machine_site
#define P struct machine_power_source
/* clang-format off */
/* A figure whose key is the member's name. */
#define FIGURE(t, m, u, ex, h) ROW_FIGURE(t, #m, m, u, "", ex, h)
#define FIGURE_IN(t, m, u, def, lo, hi, ex, h) ROW_FIGURE_IN(t, #m, m, u, def, lo, hi, ex, h)
/* FLOP/s in one precision. */
#define FLOPS(m, p, P, ex, h) ROW_FIGURE(A, #m "." #p, m[MACHINE_##P], UNIT_FLOPS, "", ex, h)

/* ------------------------------------------------------------------ accelerators */

static const struct option accelerator_rows[] = {
    ROW_LIKE("h100"),
    ROW_STRING(A, "name", name, "", "h100", "short name; default: the file's"),
    ROW_STRING(A, "title", title, "", "NVIDIA H100 SXM5 80 GB", "as printed"),
    ROW_ENUM(A, "family", family, "by_precision", machine_family_names, "hopper",
        "generation of hardware whose software it runs: ampere (no FP8), hopper (FP8), blackwell "
        "(FP4, scales of blocks); by_precision: blackwell with FP4, else hopper with FP8, else "
        "ampere"),
    FLOPS(peak_flops, fp32, FP32, "495 TFLOP/s", "dense peak of products of fp32 arrays (TF32 "
        "where the device has it); a precision that is left out is not offered"),
    FLOPS(peak_flops, bf16, BF16, "989 TFLOP/s", "dense, without sparsity"),
    FLOPS(peak_flops, fp8, FP8, "1979 TFLOP/s", "dense, a scale per tensor"),
    FLOPS(peak_flops, mxfp8, MXFP8, "4500 TFLOP/s", "dense, a scale per block"),
    FLOPS(peak_flops, fp4, FP4, "9000 TFLOP/s", "dense"),
    FLOPS(ceiling_flops, fp32, FP32, "380 TFLOP/s",
        "best measured matrix product; left out: unknown"),
    FLOPS(ceiling_flops, bf16, BF16, "794 TFLOP/s", "the same"),
    FLOPS(ceiling_flops, fp8, FP8, "1403 TFLOP/s", "the same"),
    FLOPS(ceiling_flops, mxfp8, MXFP8, "3433 TFLOP/s", "the same"),
    FLOPS(ceiling_flops, fp4, FP4, "6800 TFLOP/s", "the same"),
    FIGURE_IN(A, hbm_bytes, UNIT_BYTES, NULL, 1, INFINITY, "80 GB", "memory of one accelerator"),
    FIGURE_IN(A, hbm_bytes_per_s, UNIT_BYTES_PER_S, NULL, 1, INFINITY, "3.35 TB/s",
        "its bandwidth"),
    FIGURE(A, scaleup_bytes_per_s, UNIT_BYTES_PER_S, "450 GB/s",
        "NVLink or the like, per accelerator and direction (data sheets print both directions "
        "together); needed where scaleup_domain is more than 1"),
    ROW_INT(A, "scaleup_domain", scaleup_domain, NULL, "1", 1, 1 << 20, "8",
        "accelerators joined by it"),
    ROW_INT(A, "node_size", node_size, NULL, "1", 1, 1024, "8",
        "accelerators of one server or tray"),
    FIGURE(A, nic_bytes_per_s, UNIT_BYTES_PER_S, "400 Gb/s",
        "of the fabric, per accelerator and direction; 0: there is none"),
    FIGURE_IN(A, power_cap_w, UNIT_W, NULL, 0.1, 1e6, "700 W", "the most it may draw"),
    FIGURE(A, power_compute_w, UNIT_W, "665 W",
        "while computing; default: 99.5 % of the cap, 90 to 100 (bench/bench_power.py)"),
    FIGURE(A, power_comm_w, UNIT_W, "245 W",
        "while it waits for communication; default: 35 % of the cap, 20 to 50"),
    FIGURE(A, power_idle_w, UNIT_W, "70 W",
        "default: 10 % of the cap (nvidia-smi listings of H100 and B200)"),
    FIGURE(A, node_other_w, UNIT_W, "220 W", "its share of CPUs, NICs and fans in the server, "
        "behind the power supplies; default: 25 % of the cap"),
    FIGURE(A, price_usd, UNIT_USD, "30_000 USD", "to buy"),
    FIGURE_IN(A, failures, UNIT_FAILURES, "", 0, 1e4, "2.3", "per 1,000 days of eight "
        "accelerators, in a mature fleet (default: 2.34, RSC-2 of arXiv:2410.21680; 3.9 in racks "
        "of more than 8)"),
    FIGURE_IN(A, smoothing_floor, UNIT_SHARE, "", 0, 1, "90 %",
        "share of the cap at which it can hold its own power; 0: it cannot"),
    {ROW_(A, "operations", operations, OPTION_STRING, "", "local.json",
        "of a whole machine that `colossus train` runs on: times of its operations, in a file "
        "beside this one that bench-machine wrote; estimated: from the figures above"),
     .read = machine_read_operations},
};
const struct section machine_accelerator_section =
    SECTION("accelerator", "accelerators", "an accelerator", accelerator_rows);

/* ------------------------------------------------------------------ clusters */

static const struct option cluster_rows[] = {
    ROW_LIKE("colossus-1-100k"),
    ROW_STRING(C, "name", name, "", "my-cluster", "short name; default: the file's"),
    ROW_STRING(C, "title", title, "", "1,024 H100 in one hall", "as printed"),
    ROW_STRING(C, "source", source, "", "order of May 2024", "where the composition is from"),
    ROW_CUSTOM("pools", NULL, "[{accelerator: h100, count: 1024}]",
        "1 to 8 kinds of accelerators and how many of each", machine_read_pools),
    ROW_INT(C, "fabric_tiers", fabric_tiers, NULL, "0", 0, 8, "3",
        "switch layers; 0: by the number of accelerators, 2 up to 8,192 and 3 beyond (radix 128)"),
    FIGURE_IN(C, oversubscription, UNIT_NONE, "", 1, 1000, "1",
        "of the top layer; 1: none (the default)"),
    FIGURE_IN(C, routing_efficiency, UNIT_SHARE, "", 0.01, 1, "0.95",
        "share of the line rate left by collisions: 0.60 static ECMP, 0.80 tuned RoCE, 0.95 "
        "adaptive routing (a vendor's figure); default: " MACHINE_TEXT(MACHINE_ROUTING)),
    FIGURE(C, storage_write_bytes_per_s, UNIT_BYTES_PER_S, "2 TB/s",
        "of checkpoints, the whole cluster; default: 27 MB/s per accelerator (50 GB/s to 2 TB/s "
        "are stated for 16,384)"),
    FIGURE(C, storage_read_bytes_per_s, UNIT_BYTES_PER_S, "2 TB/s", "default: as for writing"),
    FIGURE_IN(C, spare_fraction, UNIT_SHARE, "", 0, 0.9, "2 %",
        "of the count: accelerators that stand by for broken ones; default: what 99 % availability "
        "needs"),
    FIGURE(C, fleet_age_days, UNIT_DAYS, "90 days",
        "since it was switched on; young fleets fail more often; default: 180, from 60 to 720"),
    FIGURE_IN(C, lemon_fraction, UNIT_SHARE, "", 0, 1, "5 %",
        "nodes that fail several times as often as the rest; default: 5 %"),
    FIGURE(C, network_usd, UNIT_USD, "6_500 USD",
        "switches, optics and NICs, per accelerator; default: a third of its price"),
    FIGURE(C, server_usd, UNIT_USD, "8_000 USD",
        "the rest of the server and rack, per accelerator; default: 38.5 % of its price"),
    FIGURE(C, network_w, UNIT_W, "70 W", "switches and optics, per accelerator; default: 90 W"),
};
const struct section machine_cluster_section =
    SECTION("cluster", "clusters", "a cluster", cluster_rows);

static const struct option pool_rows[] = {
    ROW_CUSTOM("accelerator", NULL, "h100", "a name, a file, or keys of an accelerator", NULL),
    ROW_INT(struct machine_pool, "count", count, NULL, NULL, 1, 1e8, "1024", "how many"),
};
const struct section machine_pool_section = SECTION("pool", NULL, "a pool", pool_rows);

/* ------------------------------------------------------------------ sites */

static const struct option site_rows[] = {
    ROW_LIKE("colossus-1"),
    ROW_STRING(S, "name", name, "", "my-site", "short name; default: the file's"),
    ROW_STRING(S, "title", title, "", "A hall in Memphis", "as printed"),
    ROW_STRING(S, "source", source, "", "permit of July 2025", "where the description is from"),
    ROW_CUSTOM("sources", NULL,
        "[{name: grid, capacity_w: 150 MW, usd_per_kwh: 0.065, co2_g_per_kwh: 283}]",
        "1 to 8 sources of power, used in this order", machine_read_sources),
    FIGURE(S, battery_w, UNIT_W, "150 MW", "what batteries can give"),
    FIGURE(S, battery_wh, UNIT_WH, "655 MWh", "and for how long"),
    FIGURE_IN(S, battery_efficiency, UNIT_SHARE, "", 0.1, 1, "91 %",
        "there and back; default: 91 %"),
    ROW_ENUM(S, "cooling", cooling, "liquid_chiller", machine_cooling_names, "liquid_chiller",
        "air or liquid to chillers, liquid to dry coolers, or liquid to cooling towers"),
    FIGURE_IN(S, liquid_fraction, UNIT_SHARE, "", 0, 1, "75 %",
        "of the heat that goes to liquid; default: 80 %"),
    FIGURE_IN(S, supply_c, UNIT_CELSIUS, "", -20, 80, "32 C",
        "temperature of the coolant that is supplied; default: 22 to 40 C by the kind of cooling"),
    FIGURE_IN(S, design_pue, UNIT_NONE, "", 0, 5, "1.2",
        "facility power over IT power; default: from the climate and the cooling"),
    ROW_CUSTOM("climate", "", "{dry_bulb_c: [5, 7, 12, 17, 22, 26, 28, 28, 24, 18, 12, 6], "
        "wet_bulb_c: [2, 4, 8, 13, 18, 22, 24, 23, 20, 14, 8, 4]}",
        "mean temperatures of the months; default: a mild climate, 15 C dry and 11 C wet",
        machine_read_climate),
    FIGURE(S, permit_nox_t_per_year, UNIT_T_PER_YEAR, "87 short-t/year",
        "limit of the air permit; 0: none"),
    FIGURE(S, permit_water_l_per_day, UNIT_L_PER_DAY, "1_000_000 gal/day",
        "limit of the water supply; 0: none"),
    FIGURE(S, swing_limit_w, UNIT_W, "10 MW",
        "largest swing that the utility accepts in its band; 0: none stated"),
    FIGURE(S, swing_band_low_hz, UNIT_HZ, "0.1 Hz",
        "of the utility's critical band; default: 0.1 to 20 Hz (arXiv:2508.14318)"),
    FIGURE(S, swing_band_high_hz, UNIT_HZ, "20 Hz", "the same"),
    FIGURE(S, capex_usd_per_w, UNIT_USD_PER_W, "10.5 USD/W",
        "building and plant, per watt of IT; default: 12, from 9 to 19"),
    FIGURE_IN(S, depreciation_years, UNIT_YEARS, "", 0.1, 100, "5 years",
        "of accelerators, servers and network; default: 4"),
    FIGURE_IN(S, opex_fraction, UNIT_SHARE, "", 0, 1, "4 %",
        "people, repair and insurance, of all capital a year; default: 5 %"),
    FIGURE(S, build_days_per_1000, UNIT_DAYS, "1.22 days",
        "to install 1,000 accelerators (Colossus 1: 100,000 in 122 days)"),
};
const struct section machine_site_section = SECTION("site", "sites", "a site", site_rows);

static const struct option source_rows[] = {
    ROW_STRING(P, "name", name, NULL, "grid", "as printed"),
    FIGURE_IN(P, capacity_w, UNIT_W, "", 0, INFINITY, "150 MW",
        "the most it gives; default: no limit"),
    FIGURE(P, usd_per_kwh, UNIT_USD_PER_KWH, "0.065 USD/kWh", "price; default: 0.065"),
    FIGURE(P, co2_g_per_kwh, UNIT_G_PER_KWH, "283 g/kWh",
        "carbon dioxide; default: 373, the mean of the United States"),
    FIGURE(P, nox_g_per_kwh, UNIT_G_PER_KWH, "0.08 lb/MWh",
        "nitrogen oxides at the site; those of a distant power station are 0"),
    FIGURE(P, water_l_per_kwh, UNIT_L_PER_KWH, "1.8 L/kWh", "water that the source uses"),
    FIGURE(P, ramp_w_per_s, UNIT_W_PER_S, "30 MW/min", "how fast it can follow; 0: not limited"),
};
const struct section machine_source_section =
    SECTION("source of power", NULL, "a source of power", source_rows);

/* clang-format on */
