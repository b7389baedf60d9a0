/* plan_rows.c: every key of models and plans, once; those of machines: machine_rows.c. */
#include "plan/read/plan_read_internal.h"

#include <math.h>

static const char *const attentions[] = {"mha", "mla", NULL};

/* clang-format off: a table is read by its columns */
/* ------------------------------------------------------------------ models */

/* The bound is far beyond any model. */
#define DIM(k, m, def, ex, h) ROW_INT(model_config, k, m, def, 0, 1 << 22, ex, h)

static const struct field model_rows[] = {
    ROW_LIKE("llama-3-70b"),
    ROW_TEXT(model_config, "name", name, "my-model", "short name; default: the file's"),
    ROW_TEXT(model_config, "source", source, "config.json of the release",
             "where the sizes are from"),
    {.key = "layers",
     .type = FIELD_INT,
     .offset = offsetof(struct model_config, n_layers),
     .min = 1,
     .max = 1 << 14,
     .example = "80",
     .help = "transformer layers"},
    {.key = "hidden",
     .type = FIELD_INT,
     .offset = offsetof(struct model_config, d_model),
     .min = 1,
     .max = 1 << 22,
     .example = "8192",
     .help = "width of the residual stream"},
    {.key = "heads",
     .type = FIELD_INT,
     .offset = offsetof(struct model_config, n_heads),
     .min = 1,
     .max = 1 << 20,
     .example = "64",
     .help = "query heads"},
    DIM("kv_heads", n_kv_heads, "0", "8", "key and value heads; 0: heads"),
    DIM("head_dim", head_dim, "0", "128", "width of a head; 0: hidden / heads"),
    {.key = "vocab",
     .type = FIELD_INT,
     .offset = offsetof(struct model_config, vocab_size),
     .min = 1,
     .max = 1 << 28,
     .example = "128256",
     .help = "entries of the vocabulary"},
    DIM("ffn_hidden", dense_ffn_hidden, "0", "28672",
        "hidden width of a layer without experts; 0 where every layer has experts"),
    ROW_BOOL(model_config, "glu", glu, "true", "a gated FFN, three matrices instead of two"),
    ROW_BOOL(model_config, "tied_embeddings", tied_embeddings, "false",
             "the head is the embedding table"),
    ROW_ENUM(model_config, "attention", attention, "mha", attentions, "mha",
             "mla: multi-head latent attention of DeepSeek; mha with kv_heads is also MQA and GQA"),
    DIM("mla.q_rank", mla_q_rank, "0", "1536", "mla: rank of the queries; 0: not compressed"),
    DIM("mla.kv_rank", mla_kv_rank, "0", "512", "mla: rank of keys and values"),
    DIM("mla.nope_dim", mla_nope_dim, "0", "128", "mla: width of a head without rotation"),
    DIM("mla.rope_dim", mla_rope_dim, "0", "64", "mla: and with"),
    DIM("mla.v_dim", mla_v_dim, "0", "128", "mla: width of a value head"),
    DIM("window", window, "0", "128", "tokens that a sliding-window layer sees"),
    DIM("window_layers", window_layers, "0", "18", "how many layers have that window"),
    DIM("experts", n_experts, "0", "8", "of a layer with experts; 0: a dense model"),
    DIM("top_k", n_experts_used, "0", "2", "experts that each token visits"),
    DIM("moe_ffn_hidden", ffn_hidden, "0", "32768", "hidden width of one expert"),
    DIM("shared_ffn_hidden", shared_ffn_hidden, "0", "2048",
        "hidden width of the experts that every token visits, together"),
    DIM("dense_layers", dense_layers, "0", "3", "leading layers without experts"),
    DIM("route_domains", route_domains, "0", "4", "a token's experts lie on at most so many nodes"),
    DIM("mtp_layers", mtp_layers, "0", "1", "extra layers of multi-token prediction"),
    DIM("mamba_layers", mamba_layers, "0", "24", "hybrids: of the layers, those of Mamba-2"),
    DIM("attention_layers", attention_layers, "0", "4", "hybrids: those of attention"),
    DIM("mamba_inner", mamba_inner, "0", "8192", "hybrids: inner width"),
    DIM("mamba_state", mamba_state, "0", "128", "hybrids: width of the state"),
    DIM("moe_latent", moe_latent, "0", "1024", "width in which experts work; 0: hidden"),
};
const struct section plan_model_section = ROW_SECTION("model", "models", "a model", model_rows);

/* ------------------------------------------------------------------ plans */

static const struct field request_rows[] = {
    ROW_TEXT(plan_request, "name", name, "my-plan", "short name; default: the file's"),
    ROW_TEXT(plan_request, "title", title, "Grok-2 on 100,000 H100", "as printed"),
    ROW_CUSTOM("model", NULL, "grok-2",
               "a name, a file (also a run file of `colossus train`), or keys of a model", NULL),
    ROW_CUSTOM("cluster", NULL, "1024 x h100",
               "a name, a file, keys of a cluster, or COUNT x ACCELERATOR", NULL),
    ROW_CUSTOM("site", "us-average", "colossus-1", "a name, a file, or keys of a site", NULL),
    ROW_CUSTOM("software", "", "{stack: megatron, generation: 2024.5}",
               "what the job is written with, and of when", NULL),
    ROW_CUSTOM("batch", "", "{global_batch: 2048, seq_len: 8192}",
               "of one step; required unless the model is a run file, which has its own", NULL),
    ROW_FIGURE_IN(plan_request, "tokens", tokens, UNIT_TOKENS, "", 0, 1e18, "15T",
                  "length of the run, or compute-optimal (the default) by published scaling laws"),
    ROW_CUSTOM("layout", "auto", "{tp: 8, pp: 4, dp: 32, micro_batch: 1}",
               "auto, or the numbers that are given; the rest is searched", NULL),
    ROW_ENUM(plan_request, "objective", objective, "", plan_objective_names, "time",
             "what the search minimises; default: the first"),
    {.key = "power_cap",
     .type = FIELD_REAL,
     .offset = offsetof(struct plan_request, power_cap),
     .unit = UNIT_SHARE,
     .fallback = "0",
     .min = 0,
     .max = 1,
     .example = "80 %",
     .help = "share of the accelerators' own cap, 40 to 100 %; 0: not lowered"},
};
const struct section plan_request_section = ROW_SECTION("plan", "plans", "a plan", request_rows);

static const struct field batch_rows[] = {
    {.key = "global_batch",
     .type = FIELD_INT,
     .offset = offsetof(struct plan_batch, global_batch),
     .min = 1,
     .max = 1e9,
     .example = "2048",
     .help = "sequences of one step, the whole machine"},
    {.key = "seq_len",
     .type = FIELD_INT,
     .offset = offsetof(struct plan_batch, seq_len),
     .min = 1,
     .max = 1e8,
     .example = "8192",
     .help = "tokens of one sequence"},
};
const struct section plan_batch_section = ROW_SECTION("batch", NULL, "batch", batch_rows);

static const struct field layout_rows[] = {
    ROW_INT32(plan_layout, "tp", tp, 1, 1 << 20, "8", "tensor parallel"),
    ROW_INT32(plan_layout, "pp", pp, 1, 1 << 20, "16", "pipeline stages"),
    ROW_INT32(plan_layout, "cp", cp, 1, 1 << 20, "1",
              "context parallel: a sequence over accelerators"),
    ROW_INT32(plan_layout, "ep", ep, 1, 1 << 20, "8", "expert parallel"),
    ROW_INT32(plan_layout, "etp", etp, 1, 1 << 20, "1", "tensor parallel within an expert"),
    ROW_INT32(plan_layout, "dp", dp, 1, 1 << 30, "128",
              "data parallel; tp pp cp dp = accelerators"),
    ROW_INT32(plan_layout, "vp", vp, 1, 4096, "1", "virtual stages of each device (interleaving)"),
    ROW_INT32(plan_layout, "micro_batch", micro_batch, 1, 1 << 20, "1", "sequences"),
    ROW_INT32(plan_layout, "zero", zero, 0, 3, "1", "ZeRO stage over dp and cp"),
    ROW_ENUM(plan_layout, "recompute", recompute, "", plan_recompute_names, "selective",
             "of activations in the backward pass"),
    ROW_ENUM(plan_layout, "precision", precision, "", machine_precision_names, "bf16",
             "of matrix products"),
};
const struct section plan_layout_section = ROW_SECTION("layout", NULL, "layout", layout_rows);

static const struct field software_rows[] = {
    ROW_ENUM(plan_software, "stack", stack, "megatron", plan_stack_names, "megatron",
             "family of the training software"),
    {.key = "generation",
     .type = FIELD_REAL,
     .offset = offsetof(struct plan_software, generation),
     .fallback = "0",
     .min = 0,
     .max = 2100,
     .example = "2024.5",
     .help = "year of the release as a decimal; 0: today's"},
};
const struct section plan_software_section =
    ROW_SECTION("software", NULL, "software", software_rows);
/* clang-format on */
