/* plan_rows.c: every key of plans, once; those of machines: machine_rows.c, of models: model.h. */
#include "plan/read/plan_read_internal.h"

#define R struct plan_request
#define B struct plan_batch
#define L struct plan_layout
#define S struct plan_software
/* clang-format off */
/* ------------------------------------------------------------------ plans */

static const struct option request_rows[] = {
    ROW_STRING(R, "name", name, "", "my-plan", "short name; default: the file's"),
    ROW_STRING(R, "title", title, "", "Grok-2 on 100,000 H100", "as printed"),
    ROW_CUSTOM("model", NULL, "grok-2",
        "a name, a file (also a run file of `colossus train`), or keys of a model", NULL),
    ROW_CUSTOM("cluster", NULL, "1024 x h100",
        "a name, a file, keys of a cluster, or COUNT x ACCELERATOR", NULL),
    ROW_CUSTOM("site", "us-average", "colossus-1", "a name, a file, or keys of a site", NULL),
    ROW_CUSTOM("software", "", "{stack: megatron, generation: 2024.5}",
        "which training software, and the year of its release", NULL),
    ROW_CUSTOM("batch", "", "{global_batch: 2048, seq_len: 8192}",
        "of one step; required unless the model is a run file, which has its own", NULL),
    {ROW_(R, "tokens", tokens, OPTION_FIGURE, "", "15T",
          "length of the run, or compute-optimal (the default) by published scaling laws"),
     .measures = UNIT_TOKENS, .min = 0, .max = 1e18, .read = plan_read_tokens},
    ROW_CUSTOM("layout", "auto", "{tp: 8, pp: 4, dp: 32, micro_batch: 1}",
        "auto, or the numbers that are given; the rest is searched", NULL),
    ROW_ENUM(R, "objective", objective, "", plan_objective_names, "time",
        "what the search minimises; default: the first"),
    {ROW_(R, "power_cap", power_cap, OPTION_REAL, "0", "80 %",
          "share of the accelerators' own cap, 40 to 100 %; 0: not lowered"),
     .measures = UNIT_SHARE, .min = 0, .max = 1},
    {ROW_(R, "headroom", headroom, OPTION_REAL, "0", "5 %",
          "share of the accelerators' memory that a layout leaves free, up to 90 %"),
     .measures = UNIT_SHARE, .min = 0, .max = 0.9},
};
const struct section plan_request_section = SECTION("plan", "plans", "a plan", request_rows);

static const struct option batch_rows[] = {
    ROW_INT(B, "global_batch", global_batch, NULL, NULL, 1, 1e9, "2048",
        "sequences of one step, the whole machine"),
    ROW_INT(B, "seq_len", seq_len, NULL, NULL, 1, 1e8, "8192", "tokens of one sequence"),
};
const struct section plan_batch_section = SECTION("batch", NULL, "batch", batch_rows);

static const struct option layout_rows[] = {
    ROW_INT32(L, "tp", tp, 1, 1 << 20, "8", "tensor parallel"),
    ROW_INT32(L, "pp", pp, 1, 1 << 20, "16", "pipeline stages"),
    ROW_INT32(L, "cp", cp, 1, 1 << 20, "1", "context parallel: a sequence over accelerators"),
    ROW_INT32(L, "ep", ep, 1, 1 << 20, "8", "expert parallel"),
    ROW_INT32(L, "etp", etp, 1, 1 << 20, "1", "tensor parallel within an expert"),
    ROW_INT32(L, "dp", dp, 1, 1 << 30, "128", "data parallel; tp pp cp dp = accelerators"),
    ROW_INT32(L, "vp", vp, 1, 4096, "1", "virtual stages of each device (interleaving)"),
    ROW_INT32(L, "micro_batch", micro_batch, 1, 1 << 20, "1", "sequences"),
    ROW_INT32(L, "zero", zero, 0, 3, "1", "ZeRO stage over dp and cp"),
    ROW_ENUM(L, "recompute", recompute, "", plan_recompute_names, "selective",
        "of activations in the backward pass"),
    ROW_ENUM(L, "precision", precision, "", machine_precision_names, "bf16", "of matrix products"),
};
const struct section plan_layout_section = SECTION("layout", NULL, "layout", layout_rows);

static const struct option software_rows[] = {
    ROW_ENUM(S, "stack", stack, "megatron", plan_stack_names, "megatron",
        "family of the training software"),
    ROW_REAL(S, "generation", generation, NULL, "0", 0, 2100, "2024.5",
        "year of the release as a decimal; 0: today's"),
};
const struct section plan_software_section = SECTION("software", NULL, "software", software_rows);
/* clang-format on */
