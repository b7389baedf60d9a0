/* machine_rows.c: every key of accelerators, clusters and sites, once.
 *
 * Names, units, defaults, bounds and examples stand only here: the tables drive the reader, its
 * errors and docs/reference/plan-files.md (a unit test compares). A default is an assumption of this
 * program (grade A) unless its meaning says where it comes from. */
#include "machine/machine_internal.h"

#include <math.h>

/* clang-format off: a table is read by its columns */
/* ------------------------------------------------------------------ accelerators */

static const struct option accelerator_rows[] = {
    ROW_LIKE("h100"),
    ROW_STRING(struct machine_accelerator, "name", name, "", "h100",
               "short name; default: the file's"),
    ROW_STRING(struct machine_accelerator, "title", title, "", "NVIDIA H100 SXM5 80 GB",
               "as printed"),
    ROW_ENUM(
        struct machine_accelerator, "family", family, "by_precision", machine_family_names,
        "hopper",
        "generation of hardware whose software it runs: ampere (no FP8), hopper (FP8), "
        "blackwell (FP4, scales of blocks); by_precision: blackwell with FP4, else hopper with "
        "FP8, else ampere"),
    ROW_FIGURE(struct machine_accelerator, "peak_flops.fp32", peak_flops[MACHINE_FP32], UNIT_FLOPS,
               "", "495 TFLOP/s",
               "dense peak of products of fp32 arrays (TF32 where the device has it); a "
               "precision that is left out is not offered"),
    ROW_FIGURE(struct machine_accelerator, "peak_flops.bf16", peak_flops[MACHINE_BF16], UNIT_FLOPS,
               "", "989 TFLOP/s", "dense, without sparsity"),
    ROW_FIGURE(struct machine_accelerator, "peak_flops.fp8", peak_flops[MACHINE_FP8], UNIT_FLOPS,
               "", "1979 TFLOP/s", "dense, a scale per tensor"),
    ROW_FIGURE(struct machine_accelerator, "peak_flops.mxfp8", peak_flops[MACHINE_MXFP8],
               UNIT_FLOPS, "", "4500 TFLOP/s", "dense, a scale per block"),
    ROW_FIGURE(struct machine_accelerator, "peak_flops.fp4", peak_flops[MACHINE_FP4], UNIT_FLOPS,
               "", "9000 TFLOP/s", "dense"),
    ROW_FIGURE(struct machine_accelerator, "ceiling_flops.fp32", ceiling_flops[MACHINE_FP32],
               UNIT_FLOPS, "", "380 TFLOP/s", "best measured matrix product; left out: unknown"),
    ROW_FIGURE(struct machine_accelerator, "ceiling_flops.bf16", ceiling_flops[MACHINE_BF16],
               UNIT_FLOPS, "", "794 TFLOP/s", "the same"),
    ROW_FIGURE(struct machine_accelerator, "ceiling_flops.fp8", ceiling_flops[MACHINE_FP8],
               UNIT_FLOPS, "", "1403 TFLOP/s", "the same"),
    ROW_FIGURE(struct machine_accelerator, "ceiling_flops.mxfp8", ceiling_flops[MACHINE_MXFP8],
               UNIT_FLOPS, "", "3433 TFLOP/s", "the same"),
    ROW_FIGURE(struct machine_accelerator, "ceiling_flops.fp4", ceiling_flops[MACHINE_FP4],
               UNIT_FLOPS, "", "6800 TFLOP/s", "the same"),
    ROW_FIGURE_IN(struct machine_accelerator, "hbm_bytes", hbm_bytes, UNIT_BYTES, NULL, 1, INFINITY,
                  "80 GB", "memory of one accelerator"),
    ROW_FIGURE_IN(struct machine_accelerator, "hbm_bytes_per_s", hbm_bytes_per_s, UNIT_BYTES_PER_S,
                  NULL, 1, INFINITY, "3.35 TB/s", "its bandwidth"),
    ROW_FIGURE(struct machine_accelerator, "scaleup_bytes_per_s", scaleup_bytes_per_s,
               UNIT_BYTES_PER_S, "", "450 GB/s",
               "NVLink or the like, per accelerator and direction (data sheets print both "
               "directions together); needed where scaleup_domain is more than 1"),
    ROW_INT(struct machine_accelerator, "scaleup_domain", scaleup_domain, NULL, "1", 1, 1 << 20,
            "8", "accelerators joined by it"),
    ROW_INT(struct machine_accelerator, "node_size", node_size, NULL, "1", 1, 1024, "8",
            "accelerators of one server or tray"),
    ROW_FIGURE(struct machine_accelerator, "nic_bytes_per_s", nic_bytes_per_s, UNIT_BYTES_PER_S, "",
               "400 Gb/s", "of the fabric, per accelerator and direction; 0: there is none"),
    ROW_FIGURE_IN(struct machine_accelerator, "power_cap_w", power_cap_w, UNIT_W, NULL, 0.1, 1e6,
                  "700 W", "the most it may draw"),
    ROW_FIGURE(struct machine_accelerator, "power_compute_w", power_compute_w, UNIT_W, "", "665 W",
               "while computing; default: 95 % of the cap (arXiv:2508.14318 II-C)"),
    ROW_FIGURE(struct machine_accelerator, "power_comm_w", power_comm_w, UNIT_W, "", "245 W",
               "while it waits for communication; default: 35 % of the cap, 20 to 50"),
    ROW_FIGURE(struct machine_accelerator, "power_idle_w", power_idle_w, UNIT_W, "", "70 W",
               "default: 10 % of the cap (nvidia-smi listings of H100 and B200)"),
    ROW_FIGURE(
        struct machine_accelerator, "node_other_w", node_other_w, UNIT_W, "", "220 W",
        "its share of CPUs, NICs and fans in the server, behind the power supplies; default: 25 % "
        "of the cap"),
    ROW_FIGURE(struct machine_accelerator, "price_usd", price_usd, UNIT_USD, "", "30_000 USD",
               "to buy"),
    ROW_FIGURE_IN(struct machine_accelerator, "failures", failures, UNIT_FAILURES, "", 0, 1e4,
                  "2.3",
                  "per 1,000 days of eight accelerators, in a mature fleet "
                  "(default: 2.34, RSC-2 of arXiv:2410.21680; 3.9 in racks of more than 8)"),
    ROW_FIGURE_IN(struct machine_accelerator, "smoothing_floor", smoothing_floor, UNIT_SHARE, "", 0,
                  1, "90 %", "share of the cap at which it can hold its own power; 0: it cannot"),
};
const struct section machine_accelerator_section =
    SECTION("accelerator", "accelerators", "an accelerator", accelerator_rows);

/* ------------------------------------------------------------------ clusters */

static const struct option cluster_rows[] = {
    ROW_LIKE("colossus-1-100k"),
    ROW_STRING(struct machine_cluster, "name", name, "", "my-cluster",
               "short name; default: the file's"),
    ROW_STRING(struct machine_cluster, "title", title, "", "1,024 H100 in one hall", "as printed"),
    ROW_STRING(struct machine_cluster, "source", source, "", "order of May 2024",
               "where the composition is from"),
    ROW_CUSTOM("pools", NULL, "[{accelerator: h100, count: 1024}]",
               "1 to 8 kinds of accelerators and how many of each", machine_read_pools),
    ROW_INT(
        struct machine_cluster, "fabric_tiers", fabric_tiers, NULL, "0", 0, 8, "3",
        "switch layers; 0: by the number of accelerators, 2 up to 8,192 and 3 beyond (radix 128)"),
    ROW_FIGURE_IN(struct machine_cluster, "oversubscription", oversubscription, UNIT_NONE, "", 1,
                  1000, "1", "of the top layer; 1: none (the default)"),
    ROW_FIGURE_IN(struct machine_cluster, "routing_efficiency", routing_efficiency, UNIT_SHARE, "",
                  0.01, 1, "0.95",
                  "share of the line rate left by collisions: 0.60 static ECMP, 0.80 "
                  "tuned RoCE, 0.95 adaptive routing (a vendor's figure); default: 0.80"),
    ROW_FIGURE(struct machine_cluster, "storage_write_bytes_per_s", storage_write_bytes_per_s,
               UNIT_BYTES_PER_S, "", "2 TB/s",
               "of checkpoints, the whole cluster; default: 27 "
               "MB/s per accelerator (50 GB/s to 2 TB/s are stated for 16,384)"),
    ROW_FIGURE(struct machine_cluster, "storage_read_bytes_per_s", storage_read_bytes_per_s,
               UNIT_BYTES_PER_S, "", "2 TB/s", "default: as for writing"),
    ROW_FIGURE_IN(
        struct machine_cluster, "spare_fraction", spare_fraction, UNIT_SHARE, "", 0, 0.9, "2 %",
        "of the count: accelerators that stand by for broken ones; default: what 99 % availability "
        "needs"),
    ROW_FIGURE(
        struct machine_cluster, "fleet_age_days", fleet_age_days, UNIT_DAYS, "", "90 days",
        "since it was switched on; young fleets fail more often; default: 180, from 60 to 720"),
    ROW_FIGURE_IN(struct machine_cluster, "lemon_fraction", lemon_fraction, UNIT_SHARE, "", 0, 1,
                  "5 %", "nodes that fail several times as often as the rest; default: 5 %"),
    ROW_FIGURE(struct machine_cluster, "network_usd", network_usd, UNIT_USD, "", "6_500 USD",
               "switches, optics and NICs, per accelerator; default: a third of its price"),
    ROW_FIGURE(struct machine_cluster, "server_usd", server_usd, UNIT_USD, "", "8_000 USD",
               "the rest of the server and rack, per accelerator; default: 38 % of its price"),
    ROW_FIGURE(struct machine_cluster, "network_w", network_w, UNIT_W, "", "70 W",
               "switches and optics, per accelerator; default: 90 W"),
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
    ROW_STRING(struct machine_site, "name", name, "", "my-site", "short name; default: the file's"),
    ROW_STRING(struct machine_site, "title", title, "", "A hall in Memphis", "as printed"),
    ROW_STRING(struct machine_site, "source", source, "", "permit of July 2025",
               "where the description is from"),
    ROW_CUSTOM("sources", NULL,
               "[{name: grid, capacity_w: 150 MW, usd_per_kwh: 0.065, co2_g_per_kwh: 283}]",
               "1 to 8 sources of power, used in this order", machine_read_sources),
    ROW_FIGURE(struct machine_site, "battery_w", battery_w, UNIT_W, "", "150 MW",
               "what batteries can give"),
    ROW_FIGURE(struct machine_site, "battery_wh", battery_wh, UNIT_WH, "", "655 MWh",
               "and for how long"),
    ROW_FIGURE_IN(struct machine_site, "battery_efficiency", battery_efficiency, UNIT_SHARE, "",
                  0.1, 1, "91 %", "there and back; default: 91 %"),
    ROW_ENUM(struct machine_site, "cooling", cooling, "liquid_chiller", machine_cooling_names,
             "liquid_chiller",
             "air or liquid to chillers, liquid to dry coolers, or liquid to cooling towers"),
    ROW_FIGURE_IN(struct machine_site, "liquid_fraction", liquid_fraction, UNIT_SHARE, "", 0, 1,
                  "75 %", "of the heat that goes to liquid; default: 80 %"),
    ROW_FIGURE_IN(
        struct machine_site, "supply_c", supply_c, UNIT_CELSIUS, "", -20, 80, "32 C",
        "temperature of the coolant that is supplied; default: 22 to 40 C by the kind of cooling"),
    ROW_FIGURE_IN(struct machine_site, "design_pue", design_pue, UNIT_NONE, "", 0, 5, "1.2",
                  "facility power over IT power; default: from the climate and the cooling"),
    ROW_CUSTOM("climate", "",
               "{dry_bulb_c: [5, 7, 12, 17, 22, 26, 28, 28, 24, 18, 12, 6], "
               "wet_bulb_c: [2, 4, 8, 13, 18, 22, 24, 23, 20, 14, 8, 4]}",
               "mean temperatures of the months; default: a mild climate, 15 C dry and 11 C wet",
               machine_read_climate),
    ROW_FIGURE(struct machine_site, "permit_nox_t_per_year", permit_nox_t_per_year, UNIT_T_PER_YEAR,
               "", "87 short-t/year", "limit of the air permit; 0: none"),
    ROW_FIGURE(struct machine_site, "permit_water_l_per_day", permit_water_l_per_day,
               UNIT_L_PER_DAY, "", "1_000_000 gal/day", "limit of the water supply; 0: none"),
    ROW_FIGURE(struct machine_site, "swing_limit_w", swing_limit_w, UNIT_W, "", "10 MW",
               "largest swing that the utility accepts in its band; 0: none stated"),
    ROW_FIGURE(struct machine_site, "swing_band_low_hz", swing_band_low_hz, UNIT_HZ, "", "0.1 Hz",
               "of the utility's critical band; default: 0.1 to 20 Hz (arXiv:2508.14318)"),
    ROW_FIGURE(struct machine_site, "swing_band_high_hz", swing_band_high_hz, UNIT_HZ, "", "20 Hz",
               "the same"),
    ROW_FIGURE(struct machine_site, "capex_usd_per_w", capex_usd_per_w, UNIT_USD_PER_W, "",
               "10.5 USD/W", "building and plant, per watt of IT; default: 12, from 9 to 19"),
    ROW_FIGURE_IN(struct machine_site, "depreciation_years", depreciation_years, UNIT_YEARS, "",
                  0.1, 100, "5 years", "of accelerators, servers and network; default: 4"),
    ROW_FIGURE_IN(struct machine_site, "opex_fraction", opex_fraction, UNIT_SHARE, "", 0, 1, "4 %",
                  "people, repair and insurance, of all capital a year; default: 5 %"),
    ROW_FIGURE(struct machine_site, "build_days_per_1000", build_days_per_1000, UNIT_DAYS, "",
               "1.22 days", "to install 1,000 accelerators (Colossus 1: 100,000 in 122 days)"),
};
const struct section machine_site_section = SECTION("site", "sites", "a site", site_rows);

static const struct option source_rows[] = {
    ROW_STRING(struct machine_power_source, "name", name, NULL, "grid", "as printed"),
    ROW_FIGURE_IN(struct machine_power_source, "capacity_w", capacity_w, UNIT_W, "", 0, INFINITY,
                  "150 MW", "the most it gives; default: no limit"),
    ROW_FIGURE(struct machine_power_source, "usd_per_kwh", usd_per_kwh, UNIT_USD_PER_KWH, "",
               "0.065 USD/kWh", "price; default: 0.065"),
    ROW_FIGURE(struct machine_power_source, "co2_g_per_kwh", co2_g_per_kwh, UNIT_G_PER_KWH, "",
               "283 g/kWh", "carbon dioxide; default: 373, the mean of the United States"),
    ROW_FIGURE(struct machine_power_source, "nox_g_per_kwh", nox_g_per_kwh, UNIT_G_PER_KWH, "",
               "0.08 lb/MWh",
               "nitrogen oxides at the site; those of a distant power station are 0"),
    ROW_FIGURE(struct machine_power_source, "water_l_per_kwh", water_l_per_kwh, UNIT_L_PER_KWH, "",
               "1.8 L/kWh", "water that the source uses"),
    ROW_FIGURE(struct machine_power_source, "ramp_w_per_s", ramp_w_per_s, UNIT_W_PER_S, "",
               "30 MW/min", "how fast it can follow; 0: not limited"),
};
const struct section machine_source_section =
    SECTION("source of power", NULL, "a source of power", source_rows);

/* clang-format on */
