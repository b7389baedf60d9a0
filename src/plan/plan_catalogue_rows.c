/* plan_catalogue_rows.c: every key of accelerators, clusters and models, once; those of sites and
 * plans stand in plan_catalogue_rows_plan.c.
 *
 * Names, units, defaults, bounds and examples stand only here: the tables drive the reader, its
 * errors and docs/reference/plan-files.md (a unit test compares). A default is an assumption of this
 * program (grade A) unless its meaning says where it comes from. */
#include "plan/plan_catalogue_rows_internal.h"

static const char *const attentions[] = {"mha", "mla", NULL};

/* clang-format off: a table is read by its columns */
/* ------------------------------------------------------------------ accelerators */

static const struct plan_field accelerator_rows[] = {
    LIKE("h100"),
    TEXT(plan_accelerator, "name", name, "h100", "short name; default: the file's"),
    TEXT(plan_accelerator, "title", title, "NVIDIA H100 SXM5 80 GB", "as printed"),
    FIGURE(plan_accelerator, "peak_flops.fp32", peak_flops[PLAN_FP32], PLAN_UNIT_FLOPS, "",
           "495 TFLOP/s",
           "dense peak of products of fp32 arrays (TF32 where the device has it); a "
           "precision that is left out is not offered"),
    FIGURE(plan_accelerator, "peak_flops.bf16", peak_flops[PLAN_BF16], PLAN_UNIT_FLOPS, "",
           "989 TFLOP/s", "dense, without sparsity"),
    FIGURE(plan_accelerator, "peak_flops.fp8", peak_flops[PLAN_FP8], PLAN_UNIT_FLOPS, "",
           "1979 TFLOP/s", "dense, a scale per tensor"),
    FIGURE(plan_accelerator, "peak_flops.mxfp8", peak_flops[PLAN_MXFP8], PLAN_UNIT_FLOPS, "",
           "4500 TFLOP/s", "dense, a scale per block"),
    FIGURE(plan_accelerator, "peak_flops.fp4", peak_flops[PLAN_FP4], PLAN_UNIT_FLOPS, "",
           "9000 TFLOP/s", "dense"),
    FIGURE(plan_accelerator, "ceiling_flops.fp32", ceiling_flops[PLAN_FP32], PLAN_UNIT_FLOPS, "",
           "380 TFLOP/s", "best measured matrix product; left out: unknown"),
    FIGURE(plan_accelerator, "ceiling_flops.bf16", ceiling_flops[PLAN_BF16], PLAN_UNIT_FLOPS, "",
           "794 TFLOP/s", "the same"),
    FIGURE(plan_accelerator, "ceiling_flops.fp8", ceiling_flops[PLAN_FP8], PLAN_UNIT_FLOPS, "",
           "1403 TFLOP/s", "the same"),
    FIGURE(plan_accelerator, "ceiling_flops.mxfp8", ceiling_flops[PLAN_MXFP8], PLAN_UNIT_FLOPS, "",
           "3433 TFLOP/s", "the same"),
    FIGURE(plan_accelerator, "ceiling_flops.fp4", ceiling_flops[PLAN_FP4], PLAN_UNIT_FLOPS, "",
           "6800 TFLOP/s", "the same"),
    FIGURE_IN(plan_accelerator, "hbm_bytes", hbm_bytes, PLAN_UNIT_BYTES, NULL, 1, INFINITY, "80 GB",
              "memory of one accelerator"),
    FIGURE_IN(plan_accelerator, "hbm_bytes_per_s", hbm_bytes_per_s, PLAN_UNIT_BYTES_PER_S, NULL, 1,
              INFINITY, "3.35 TB/s", "its bandwidth"),
    FIGURE(plan_accelerator, "scaleup_bytes_per_s", scaleup_bytes_per_s, PLAN_UNIT_BYTES_PER_S, "",
           "450 GB/s",
           "NVLink or the like, per accelerator and direction (data sheets print both "
           "directions together); needed where scaleup_domain is more than 1"),
    INT(plan_accelerator, "scaleup_domain", scaleup_domain, "1", 1, 1 << 20, "8",
        "accelerators joined by it"),
    INT(plan_accelerator, "node_size", node_size, "1", 1, 1024, "8",
        "accelerators of one server or tray"),
    FIGURE(plan_accelerator, "nic_bytes_per_s", nic_bytes_per_s, PLAN_UNIT_BYTES_PER_S, "",
           "400 Gb/s", "of the fabric, per accelerator and direction; 0: there is none"),
    FIGURE_IN(plan_accelerator, "power_cap_w", power_cap_w, PLAN_UNIT_W, NULL, 0.1, 1e6, "700 W",
              "the most it may draw"),
    FIGURE(plan_accelerator, "power_compute_w", power_compute_w, PLAN_UNIT_W, "", "665 W",
           "while computing; default: 95 % of the cap (arXiv:2508.14318 II-C)"),
    FIGURE(plan_accelerator, "power_comm_w", power_comm_w, PLAN_UNIT_W, "", "245 W",
           "while it waits for communication; default: 35 % of the cap, 20 to 50"),
    FIGURE(plan_accelerator, "power_idle_w", power_idle_w, PLAN_UNIT_W, "", "70 W",
           "default: 10 % of the cap (nvidia-smi listings of H100 and B200)"),
    FIGURE(plan_accelerator, "node_other_w", node_other_w, PLAN_UNIT_W, "", "220 W",
           "its share of CPUs, NICs and fans in the server, behind the power supplies; default: 25 "
           "% of "
           "the cap"),
    FIGURE(plan_accelerator, "price_usd", price_usd, PLAN_UNIT_USD, "", "30_000 USD", "to buy"),
    FIGURE_IN(plan_accelerator, "failures", failures, PLAN_UNIT_FAILURES, "", 0, 1e4, "2.3",
              "per 1,000 days of eight accelerators, in a mature fleet "
              "(default: 2.34, RSC-2 of arXiv:2410.21680; 3.9 in racks of more than 8)"),
    FIGURE_IN(plan_accelerator, "smoothing_floor", smoothing_floor, PLAN_UNIT_SHARE, "", 0, 1,
              "90 %", "share of the cap at which it can hold its own power; 0: it cannot"),
};
const struct plan_section plan_accelerator_section =
    SECTION("accelerator", "accelerators", "an accelerator", accelerator_rows);

/* ------------------------------------------------------------------ clusters */

static const struct plan_field cluster_rows[] = {
    LIKE("colossus-1-100k"),
    TEXT(plan_cluster, "name", name, "my-cluster", "short name; default: the file's"),
    TEXT(plan_cluster, "title", title, "1,024 H100 in one hall", "as printed"),
    TEXT(plan_cluster, "source", source, "order of May 2024", "where the composition is from"),
    CUSTOM("pools", NULL, "[{accelerator: h100, count: 1024}]",
           "1 to 8 kinds of accelerators and how many of each", plan_read_pools),
    INT(plan_cluster, "fabric_tiers", fabric_tiers, "0", 0, 8, "3",
        "switch layers; 0: by the number of accelerators, 2 up to 8,192 and 3 beyond (radix 128)"),
    FIGURE_IN(plan_cluster, "oversubscription", oversubscription, PLAN_UNIT_NONE, "", 1, 1000, "1",
              "of the top layer; 1: none (the default)"),
    FIGURE_IN(plan_cluster, "routing_efficiency", routing_efficiency, PLAN_UNIT_SHARE, "", 0.01, 1,
              "0.95",
              "share of the line rate left by collisions: 0.60 static ECMP, 0.80 "
              "tuned RoCE, 0.95 adaptive routing (a vendor's figure); default: 0.80"),
    FIGURE(plan_cluster, "storage_write_bytes_per_s", storage_write_bytes_per_s,
           PLAN_UNIT_BYTES_PER_S, "", "2 TB/s",
           "of checkpoints, the whole cluster; default: 27 "
           "MB/s per accelerator (50 GB/s to 2 TB/s are stated for 16,384)"),
    FIGURE(plan_cluster, "storage_read_bytes_per_s", storage_read_bytes_per_s,
           PLAN_UNIT_BYTES_PER_S, "", "2 TB/s", "default: as for writing"),
    FIGURE_IN(
        plan_cluster, "spare_fraction", spare_fraction, PLAN_UNIT_SHARE, "", 0, 0.9, "2 %",
        "of the count: accelerators that stand by for broken ones; default: what 99 % availability "
        "needs"),
    FIGURE(plan_cluster, "fleet_age_days", fleet_age_days, PLAN_UNIT_DAYS, "", "90 days",
           "since it was switched on; young fleets fail more often; default: 180, from 60 to 720"),
    FIGURE_IN(plan_cluster, "lemon_fraction", lemon_fraction, PLAN_UNIT_SHARE, "", 0, 1, "5 %",
              "nodes that fail several times as often as the rest; default: 5 %"),
    FIGURE(plan_cluster, "network_usd", network_usd, PLAN_UNIT_USD, "", "6_500 USD",
           "switches, optics and NICs, per accelerator; default: a third of its price"),
    FIGURE(plan_cluster, "server_usd", server_usd, PLAN_UNIT_USD, "", "8_000 USD",
           "the rest of the server and rack, per accelerator; default: 38 % of its price"),
    FIGURE(plan_cluster, "network_w", network_w, PLAN_UNIT_W, "", "70 W",
           "switches and optics, per accelerator; default: 90 W"),
};
const struct plan_section plan_cluster_section =
    SECTION("cluster", "clusters", "a cluster", cluster_rows);

static const struct plan_field pool_rows[] = {
    CUSTOM("accelerator", NULL, "h100", "a name, a file, or keys of an accelerator", NULL),
    {.key = "count",
     .type = PLAN_FIELD_INT,
     .offset = offsetof(struct plan_pool, count),
     .fallback = NULL,
     .min = 1,
     .max = 1e8,
     .example = "1024",
     .help = "how many"},
};
const struct plan_section plan_pool_section = SECTION("pool", NULL, "a pool", pool_rows);

/* ------------------------------------------------------------------ models */

/* The bound is far beyond any model. */
#define DIM(k, m, def, ex, h) INT(plan_model, k, m, def, 0, 1 << 22, ex, h)

static const struct plan_field model_rows[] = {
    LIKE("llama-3-70b"),
    TEXT(plan_model, "name", name, "my-model", "short name; default: the file's"),
    TEXT(plan_model, "source", source, "config.json of the release", "where the sizes are from"),
    {.key = "layers",
     .type = PLAN_FIELD_INT,
     .offset = offsetof(struct plan_model, layers),
     .min = 1,
     .max = 1 << 14,
     .example = "80",
     .help = "transformer layers"},
    {.key = "hidden",
     .type = PLAN_FIELD_INT,
     .offset = offsetof(struct plan_model, hidden),
     .min = 1,
     .max = 1 << 22,
     .example = "8192",
     .help = "width of the residual stream"},
    {.key = "heads",
     .type = PLAN_FIELD_INT,
     .offset = offsetof(struct plan_model, heads),
     .min = 1,
     .max = 1 << 20,
     .example = "64",
     .help = "query heads"},
    DIM("kv_heads", kv_heads, "0", "8", "key and value heads; 0: heads"),
    DIM("head_dim", head_dim, "0", "128", "width of a head; 0: hidden / heads"),
    {.key = "vocab",
     .type = PLAN_FIELD_INT,
     .offset = offsetof(struct plan_model, vocab),
     .min = 1,
     .max = 1 << 28,
     .example = "128256",
     .help = "entries of the vocabulary"},
    DIM("ffn_hidden", ffn_hidden, "0", "28672",
        "hidden width of a layer without experts; 0 where every layer has experts"),
    BOOL(plan_model, "glu", glu, "true", "a gated FFN, three matrices instead of two"),
    BOOL(plan_model, "tied_embeddings", tied_embeddings, "false",
         "the head is the embedding table"),
    ENUM(plan_model, "attention", attention, "mha", attentions, "mha",
         "mla: multi-head latent attention of DeepSeek; mha with kv_heads is also MQA and GQA"),
    DIM("mla.q_rank", mla_q_rank, "0", "1536", "mla: rank of the queries; 0: not compressed"),
    DIM("mla.kv_rank", mla_kv_rank, "0", "512", "mla: rank of keys and values"),
    DIM("mla.nope_dim", mla_nope_dim, "0", "128", "mla: width of a head without rotation"),
    DIM("mla.rope_dim", mla_rope_dim, "0", "64", "mla: and with"),
    DIM("mla.v_dim", mla_v_dim, "0", "128", "mla: width of a value head"),
    DIM("window", window, "0", "128", "tokens that a sliding-window layer sees"),
    DIM("window_layers", window_layers, "0", "18", "how many layers have that window"),
    DIM("experts", experts, "0", "8", "of a layer with experts; 0: a dense model"),
    DIM("top_k", top_k, "0", "2", "experts that each token visits"),
    DIM("moe_ffn_hidden", moe_ffn_hidden, "0", "32768", "hidden width of one expert"),
    DIM("shared_ffn_hidden", shared_ffn_hidden, "0", "2048",
        "hidden width of the experts that every token visits, together"),
    DIM("dense_layers", dense_layers, "0", "3", "leading layers without experts"),
    BOOL(plan_model, "dense_branch", dense_branch, "false",
         "Grok-2: a dense FFN of ffn_hidden beside the experts of every layer"),
    DIM("route_domains", route_domains, "0", "4", "a token's experts lie on at most so many nodes"),
    DIM("mtp_layers", mtp_layers, "0", "1", "extra layers of multi-token prediction"),
    DIM("mamba_layers", mamba_layers, "0", "24", "hybrids: of the layers, those of Mamba-2"),
    DIM("attention_layers", attention_layers, "0", "4", "hybrids: those of attention"),
    DIM("mamba_inner", mamba_inner, "0", "8192", "hybrids: inner width"),
    DIM("mamba_state", mamba_state, "0", "128", "hybrids: width of the state"),
    DIM("moe_latent", moe_latent, "0", "1024", "width in which experts work; 0: hidden"),
};
const struct plan_section plan_model_section = SECTION("model", "models", "a model", model_rows);

/* clang-format on */
