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
    {ROW_(R, "benchmark", benchmark, OPTION_BOOL, "false", "true",
          "thirty steps on a quiet machine, kept up for the whole run; else days and dollars carry "
          "the production factor of published runs")},
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
    ROW_ENUM(S, "dispatcher", dispatcher, "by_date", plan_dispatcher_names, "hybrid",
        "how tokens reach their experts: NCCL's all-to-all, deduplicated (DeepEP), or hybrid "
        "(HybridEP); by_date, here and below: what the stack did at that date on that accelerator"),
    ROW_ENUM(S, "a2a_overlap", a2a_overlap, "by_date", plan_a2a_overlap_names, "1f1b",
        "whether the experts' traffic lies under another microbatch"),
    ROW_ENUM(S, "graphs", graphs, "by_date", plan_graphs_names, "scoped",
        "what is captured in graphs: nothing, attention and router, or whole layers"),
    ROW_ENUM(S, "host", host, "by_date", plan_host_names, "bound",
        "whether threads and memory of the host are bound to the accelerator's socket"),
    ROW_ENUM(S, "token_drop", token_drop, "by_date", plan_token_drop_names, "no",
        "whether experts drop tokens beyond their capacity; recorded only, since a step is planned "
        "with an even load either way"),
    ROW_ENUM(S, "fp8_recipe", fp8_recipe, "by_date", plan_fp8_recipe_names, "tensorwise",
        "what shares a scale in fp8; block is planned as tensorwise"),
    ROW_ENUM(S, "attention", attention, "by_date", plan_attention_names, "fused",
        "kernel of attention's core: flash2 is FlashAttention 2, fused cuDNN's or the newest"),
    ROW_ENUM(S, "tp_overlap", tp_overlap, "by_date", plan_tp_overlap_names, "overlapped",
        "whether tensor-parallel traffic lies under products (PyTorch: asynchronous TP)"),
    ROW_CUSTOM("recompute_modules", "", "[mla_up_proj, mlp]",
        "what selective recomputation computes again: core_attn, moe_act, layernorm, mla_up_proj, "
        "mlp, moe, shared_experts; default: norms and activations", plan_read_modules),
    {ROW_(S, "optimizer_bytes", optimizer_bytes, OPTION_REAL, "0", "8",
          "bytes of optimizer state a parameter, master weight and two moments; 0: 12"),
     .min = 0, .max = 32},
    {ROW_(S, "optimizer_offload", optimizer_offload, OPTION_REAL, "0", "50 %",
          "share of that state that lies in the host's memory"),
     .measures = UNIT_SHARE, .min = 0, .max = 1},
};
const struct section plan_software_section = SECTION("software", NULL, "software", software_rows);
/* clang-format on */
