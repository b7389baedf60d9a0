/* plan_catalogue_rows_plan.c: every key of sites and plans, once; see plan_catalogue_rows.c. */
#include "plan/plan_catalogue_rows_internal.h"

/* clang-format off: a table is read by its columns */
/* ------------------------------------------------------------------ sites */

static const struct plan_field site_rows[] = {
    LIKE("colossus-1"),
    TEXT(plan_site, "name", name, "my-site", "short name; default: the file's"),
    TEXT(plan_site, "title", title, "A hall in Memphis", "as printed"),
    TEXT(plan_site, "source", source, "permit of July 2025", "where the description is from"),
    CUSTOM("sources", NULL,
           "[{name: grid, capacity_w: 150 MW, usd_per_kwh: 0.065, co2_g_per_kwh: 283}]",
           "1 to 8 sources of power, used in this order", plan_read_sources),
    FIGURE(plan_site, "battery_w", battery_w, PLAN_UNIT_W, "", "150 MW", "what batteries can give"),
    FIGURE(plan_site, "battery_wh", battery_wh, PLAN_UNIT_WH, "", "655 MWh", "and for how long"),
    FIGURE_IN(plan_site, "battery_efficiency", battery_efficiency, PLAN_UNIT_SHARE, "", 0.1, 1,
              "91 %", "there and back; default: 91 %"),
    ENUM(plan_site, "cooling", cooling, "liquid_chiller", plan_cooling_names, "liquid_chiller",
         "air or liquid to chillers, liquid to dry coolers, or liquid to cooling towers"),
    FIGURE_IN(plan_site, "liquid_fraction", liquid_fraction, PLAN_UNIT_SHARE, "", 0, 1, "75 %",
              "of the heat that goes to liquid; default: 80 %"),
    FIGURE_IN(
        plan_site, "supply_c", supply_c, PLAN_UNIT_CELSIUS, "", -20, 80, "32 C",
        "temperature of the coolant that is supplied; default: 22 to 40 C by the kind of cooling"),
    FIGURE_IN(plan_site, "design_pue", design_pue, PLAN_UNIT_NONE, "", 0, 5, "1.2",
              "facility power over IT power; default: from the climate and the cooling"),
    CUSTOM("climate", "",
           "{dry_bulb_c: [5, 7, 12, 17, 22, 26, 28, 28, 24, 18, 12, 6], "
           "wet_bulb_c: [2, 4, 8, 13, 18, 22, 24, 23, 20, 14, 8, 4]}",
           "mean temperatures of the months; default: a mild climate, 15 C dry and 11 C wet",
           plan_read_climate),
    FIGURE(plan_site, "permit_nox_t_per_year", permit_nox_t_per_year, PLAN_UNIT_T_PER_YEAR, "",
           "87 short-t/year", "limit of the air permit; 0: none"),
    FIGURE(plan_site, "permit_water_l_per_day", permit_water_l_per_day, PLAN_UNIT_L_PER_DAY, "",
           "1_000_000 gal/day", "limit of the water supply; 0: none"),
    FIGURE(plan_site, "swing_limit_w", swing_limit_w, PLAN_UNIT_W, "", "10 MW",
           "largest swing that the utility accepts in its band; 0: none stated"),
    FIGURE(plan_site, "swing_band_low_hz", swing_band_low_hz, PLAN_UNIT_HZ, "", "0.1 Hz",
           "of the utility's critical band; default: 0.1 to 20 Hz (arXiv:2508.14318)"),
    FIGURE(plan_site, "swing_band_high_hz", swing_band_high_hz, PLAN_UNIT_HZ, "", "20 Hz",
           "the same"),
    FIGURE(plan_site, "capex_usd_per_w", capex_usd_per_w, PLAN_UNIT_USD_PER_W, "", "10.5 USD/W",
           "building and plant, per watt of IT; default: 12, from 9 to 19"),
    FIGURE_IN(plan_site, "depreciation_years", depreciation_years, PLAN_UNIT_YEARS, "", 0.1, 100,
              "5 years", "of accelerators, servers and network; default: 4"),
    FIGURE_IN(plan_site, "opex_fraction", opex_fraction, PLAN_UNIT_SHARE, "", 0, 1, "4 %",
              "people, repair and insurance, of all capital a year; default: 5 %"),
    FIGURE(plan_site, "build_days_per_1000", build_days_per_1000, PLAN_UNIT_DAYS, "", "1.22 days",
           "to install 1,000 accelerators (Colossus 1: 100,000 in 122 days)"),
};
const struct plan_section plan_site_section = SECTION("site", "sites", "a site", site_rows);

static const struct plan_field source_rows[] = {
    {.key = "name",
     .type = PLAN_FIELD_TEXT,
     .offset = offsetof(struct plan_power_source, name),
     .fallback = NULL,
     .example = "grid",
     .help = "as printed"},
    FIGURE_IN(plan_power_source, "capacity_w", capacity_w, PLAN_UNIT_W, "", 0, INFINITY, "150 MW",
              "the most it gives; default: no limit"),
    FIGURE(plan_power_source, "usd_per_kwh", usd_per_kwh, PLAN_UNIT_USD_PER_KWH, "",
           "0.065 USD/kWh", "price; default: 0.065"),
    FIGURE(plan_power_source, "co2_g_per_kwh", co2_g_per_kwh, PLAN_UNIT_G_PER_KWH, "", "283 g/kWh",
           "carbon dioxide; default: 373, the mean of the United States"),
    FIGURE(plan_power_source, "nox_g_per_kwh", nox_g_per_kwh, PLAN_UNIT_G_PER_KWH, "",
           "0.08 lb/MWh", "nitrogen oxides at the site; those of a distant power station are 0"),
    FIGURE(plan_power_source, "water_l_per_kwh", water_l_per_kwh, PLAN_UNIT_L_PER_KWH, "",
           "1.8 L/kWh", "water that the source uses"),
    FIGURE(plan_power_source, "ramp_w_per_s", ramp_w_per_s, PLAN_UNIT_W_PER_S, "", "30 MW/min",
           "how fast it can follow; 0: not limited"),
};
const struct plan_section plan_source_section =
    SECTION("source of power", NULL, "a source of power", source_rows);

/* ------------------------------------------------------------------ plans */

static const struct plan_field request_rows[] = {
    TEXT(plan_request, "name", name, "my-plan", "short name; default: the file's"),
    TEXT(plan_request, "title", title, "Grok-2 on 100,000 H100", "as printed"),
    CUSTOM("model", NULL, "grok-2",
           "a name, a file (also a run file of `colossus train`), or keys of a model", NULL),
    CUSTOM("cluster", NULL, "1024 x h100",
           "a name, a file, keys of a cluster, or COUNT x ACCELERATOR", NULL),
    CUSTOM("site", "us-average", "colossus-1", "a name, a file, or keys of a site", NULL),
    CUSTOM("software", "", "{stack: megatron, generation: 2024.5}",
           "what the job is written with, and of when", NULL),
    CUSTOM("batch", "", "{global_batch: 2048, seq_len: 8192}",
           "of one step; required unless the model is a run file, which has its own", NULL),
    FIGURE_IN(plan_request, "tokens", tokens, PLAN_UNIT_TOKENS, "", 0, 1e18, "15T",
              "length of the run, or compute-optimal (the default) by published scaling laws"),
    CUSTOM("layout", "auto", "{tp: 8, pp: 4, dp: 32, micro_batch: 1}",
           "auto, or the numbers that are given; the rest is searched", NULL),
    ENUM(plan_request, "objective", objective, "", plan_objective_names, "time",
         "what the search minimises; default: the first"),
    {.key = "power_cap",
     .type = PLAN_FIELD_REAL,
     .offset = offsetof(struct plan_request, power_cap),
     .unit = PLAN_UNIT_SHARE,
     .fallback = "0",
     .min = 0,
     .max = 1,
     .example = "80 %",
     .help = "share of the accelerators' own cap, 40 to 100 %; 0: not lowered"},
};
const struct plan_section plan_request_section = SECTION("plan", "plans", "a plan", request_rows);

static const struct plan_field batch_rows[] = {
    {.key = "global_batch",
     .type = PLAN_FIELD_INT,
     .offset = offsetof(struct plan_batch, global_batch),
     .min = 1,
     .max = 1e9,
     .example = "2048",
     .help = "sequences of one step, the whole machine"},
    {.key = "seq_len",
     .type = PLAN_FIELD_INT,
     .offset = offsetof(struct plan_batch, seq_len),
     .min = 1,
     .max = 1e8,
     .example = "8192",
     .help = "tokens of one sequence"},
};
const struct plan_section plan_batch_section = SECTION("batch", NULL, "batch", batch_rows);

static const struct plan_field layout_rows[] = {
    INT32(plan_layout, "tp", tp, 1, 1 << 20, "8", "tensor parallel"),
    INT32(plan_layout, "pp", pp, 1, 1 << 20, "16", "pipeline stages"),
    INT32(plan_layout, "cp", cp, 1, 1 << 20, "1", "context parallel: a sequence over accelerators"),
    INT32(plan_layout, "ep", ep, 1, 1 << 20, "8", "expert parallel"),
    INT32(plan_layout, "etp", etp, 1, 1 << 20, "1", "tensor parallel within an expert"),
    INT32(plan_layout, "dp", dp, 1, 1 << 30, "128", "data parallel; tp pp cp dp = accelerators"),
    INT32(plan_layout, "vp", vp, 1, 4096, "1", "virtual stages of each device (interleaving)"),
    INT32(plan_layout, "micro_batch", micro_batch, 1, 1 << 20, "1", "sequences"),
    INT32(plan_layout, "zero", zero, 0, 3, "1", "ZeRO stage over dp and cp"),
    ENUM(plan_layout, "recompute", recompute, "", plan_recompute_names, "selective",
         "of activations in the backward pass"),
    ENUM(plan_layout, "precision", precision, "", plan_precision_names, "bf16",
         "of matrix products"),
};
const struct plan_section plan_layout_section = SECTION("layout", NULL, "layout", layout_rows);

static const struct plan_field software_rows[] = {
    ENUM(plan_software, "stack", stack, "megatron", plan_stack_names, "megatron",
         "family of the training software"),
    {.key = "generation",
     .type = PLAN_FIELD_REAL,
     .offset = offsetof(struct plan_software, generation),
     .fallback = "0",
     .min = 0,
     .max = 2100,
     .example = "2024.5",
     .help = "year of the release as a decimal; 0: today's"},
};
const struct plan_section plan_software_section =
    SECTION("software", NULL, "software", software_rows);
/* clang-format on */
