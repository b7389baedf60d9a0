/* model.h: the Grok-1 / Grok-2 transformer: configuration, parameter table, forward, hand-written
 * backward, decoding, and safetensors files.
 *
 * The definition is the float64 reference that made tests/golden; what it computes and where each
 * constant comes from is told in docs/model.md. One microbatch is B rows of T tokens. The model is
 * written for a local shard: struct model_shard says which part of the heads, hidden units and
 * experts this process holds, and hooks are called where a shard's result must be summed with the
 * others'. On one process the shard is the whole and the hooks are NULL. */
#ifndef COLOSSUS_MODEL_H
#define COLOSSUS_MODEL_H

#include "base/base.h"
#include "compute/compute.h"

/* ------------------------------------------------------------------ configuration
 * One description of a model for run files, presets, plans, checkpoints and config.json: the struct,
 * the table of its keys with their bounds and defaults (MODEL_ROWS), and one reader. Names are those
 * of the reference's config.json; 0 (or false) turns an optional thing off. */

enum model_architecture { /* of which family a model is; this program trains Grok's */
                          MODEL_GROK,
                          MODEL_GPT,
                          MODEL_LLAMA,
                          MODEL_QWEN3,
                          MODEL_DEEPSEEK,
                          MODEL_GPT_OSS,
                          MODEL_NEMOTRON,
                          MODEL_PALM,
                          MODEL_BLOOM,
                          MODEL_QWEN2,
                          MODEL_GEMMA2,
                          MODEL_GEMMA3
};
extern const char *const model_architecture_names[];
enum model_attention { MODEL_ATTENTION_MHA, MODEL_ATTENTION_MLA }; /* MHA: also MQA and GQA */
extern const char *const model_attention_names[];

enum model_rope_form { MODEL_ROPE_HALVES, MODEL_ROPE_PAIRS };
extern const char *const model_rope_form_names[];
extern const char *const model_rope_scaling_names[]; /* enum compute_rope_scaling */
extern const char *const model_activation_names[];   /* enum compute_activation */

struct model_config {
    const char *name, *source; /* of a preset: short name, and where the sizes are from */
    int architecture;          /* enum model_architecture */
    int64_t vocab_size, n_layers, d_model, n_heads, n_kv_heads, head_dim;
    int64_t ffn_hidden; /* of each expert, or of the layer where n_experts <= 1 */
    int64_t n_experts, n_experts_used;
    /* Of what is dense in a model with experts: its dense_layers, or, without such layers, Grok-2's
     * branch beside the experts of every layer. */
    int64_t dense_ffn_hidden;
    int64_t context_length;
    double rope_theta, rms_eps;
    /* 0: by muP with base width 512, filled by model_config_derive */
    double embedding_multiplier; /* sqrt(D) */
    double output_multiplier;    /* 2 sqrt(512 / D) */
    double attn_multiplier;      /* sqrt(128) / head_dim */
    double attn_softcap, router_softcap, final_softcap;
    int64_t attn_temperature_len;
    bool tied_embeddings;
    double router_aux_coef, router_z_coef;

    /* The form of a layer where it is not Grok's: forward only (model_config_check_trainable). */
    bool pre_norms, post_norms; /* norms in front of the sub-layers, and behind them */
    int activation;             /* enum compute_activation */
    bool qk_norm;               /* each head of queries and keys, before the rotation */
    bool qkv_biases, output_bias;
    bool renormalise_top_k;
    double residual_multiplier;   /* of what a sub-layer adds, without post_norms */
    int rope_form;                /* enum model_rope_form */
    int rope_scaling;             /* enum compute_rope_scaling */
    double rope_factor;           /* and what belongs to it, struct compute_rotation */
    int64_t rope_original_length; /* tokens */
    double rope_low_freq, rope_high_freq, rope_beta_fast, rope_beta_slow;
    double rope_size;              /* of YaRN's; 0: 0.1 ln rope_factor + 1 */
    int64_t window, window_layers; /* sliding-window layers and what they see; 0: none */
    int64_t window_period;         /* of so many layers the last sees all; 0: none does */
    double window_rope_theta;      /* base of those layers, unscaled; 0: as the others */

    /* What a plan can count and this program cannot run. */
    bool glu;      /* three FFN matrices instead of two */
    int attention; /* enum model_attention */
    int64_t mla_q_rank, mla_kv_rank, mla_nope_dim, mla_rope_dim, mla_v_dim;
    int64_t shared_ffn_hidden; /* of the experts that every token visits, together */
    int64_t dense_layers;      /* layers without experts (leading ones) */
    int64_t mtp_layers;        /* extra layers of multi-token prediction (DeepSeek-V3) */
    /* Hybrids (Nemotron-H): Mamba-2, attention and FFN blocks are layers of their own, in all
     * n_layers; the rest of the layers are FFN or experts. mamba_layers 0: a plain transformer. */
    int64_t mamba_layers, attention_layers, mamba_inner, mamba_state;
    int64_t route_domains; /* a token's experts lie on at most so many nodes; 0: any */
    int64_t moe_latent;    /* experts work in this width instead of d_model; 0: d_model */
};

/* Keys of a model that this program can run: P is put in front of each key ("model." in a run file),
 * T is the struct that holds the values and M the path of the model in it ("model." or nothing). */
/* clang-format off: a table is read by its columns */
#define MODEL_ROWS(P, T, M)                                                                        \
    ROW_INT(T, P "vocab_size", M vocab_size, "ids", "0", 0, 1 << 24, "131072",                     \
            "0: the dataset's; larger than the dataset's pads the table"),                         \
        ROW_INT(T, P "n_layers", M n_layers, NULL, "0", 0, 1 << 14, "64",                          \
                "transformer layers; required, like the other sizes, where no preset gives it"),   \
        ROW_INT(T, P "d_model", M d_model, NULL, "0", 0, 1 << 20, "6144",                          \
                "width of the residual stream"),                                                   \
        ROW_INT(T, P "n_heads", M n_heads, NULL, "0", 0, 1 << 16, "48", "query heads"),            \
        ROW_INT(T, P "n_kv_heads", M n_kv_heads, NULL, "0", 0, 1 << 16, "8",                       \
                "key and value heads, a divisor of n_heads; 0: n_heads"),                          \
        ROW_INT(T, P "head_dim", M head_dim, NULL, "0", 0, 1 << 16, "128",                         \
                "width of a head, even; 0: d_model / n_heads"),                                    \
        ROW_INT(T, P "ffn_hidden", M ffn_hidden, NULL, "0", 0, 1 << 22, "32768",                   \
                "hidden width of each expert, or of the dense layer where n_experts is 1"),        \
        ROW_INT(T, P "n_experts", M n_experts, NULL, "8", 0, 1 << 16, "8",                         \
                "experts of a layer; 1: a dense model"),                                           \
        ROW_INT(T, P "n_experts_used", M n_experts_used, NULL, "2", 0, 1 << 16, "2",               \
                "experts that each token visits"),                                                 \
        ROW_INT(T, P "dense_ffn_hidden", M dense_ffn_hidden, NULL, "0", 0, 1 << 22, "32768",       \
                "hidden width of what is dense in a model with experts: Grok-2's branch beside "   \
                "them; 0: none"),                                                                  \
        ROW_INT(T, P "context_length", M context_length, "tokens", "0", 0, 1 << 24, "8192",        \
                "longest sequence; 0: batch.seq_len"),                                             \
        ROW_REAL(T, P "rope_theta", M rope_theta, NULL, "10000", 1e-3, 1e15, "10000",              \
                 "base of the rotary position angles"),                                            \
        ROW_REAL(T, P "rms_eps", M rms_eps, NULL, "1e-5", 1e-12, 1, "1e-5",                        \
                 "epsilon of every norm"),                                                         \
        ROW_REAL(T, P "embedding_multiplier", M embedding_multiplier, NULL, "0", 0, 1e6, "78.4",   \
                 "0: by muP, sqrt(d_model)"),                                                      \
        ROW_REAL(T, P "output_multiplier", M output_multiplier, NULL, "0", 0, 1e6, "0.577",        \
                 "0: by muP, 2 sqrt(512 / d_model)"),                                              \
        ROW_REAL(T, P "attn_multiplier", M attn_multiplier, NULL, "0", 0, 1e6, "0.0884",           \
                 "0: by muP, sqrt(128) / head_dim"),                                               \
        ROW_REAL(T, P "attn_softcap", M attn_softcap, NULL, "30", 0, 1e6, "30",                    \
                 "attention logits become cap tanh(x / cap); 0: off"),                             \
        ROW_REAL(T, P "router_softcap", M router_softcap, NULL, "0", 0, 1e6, "30",                 \
                 "the same for router logits (Grok-2: 30); 0: off"),                               \
        ROW_REAL(T, P "final_softcap", M final_softcap, NULL, "0", 0, 1e6, "50",                   \
                 "the same for the final logits (Grok-2: 50); 0: off"),                            \
        ROW_INT(T, P "attn_temperature_len", M attn_temperature_len, "tokens", "0", 0, 1 << 24,    \
                "1024",                                                                            \
                "L: scores at positions t > L are multiplied by log t / log L (Grok-2: 1024); 0: " \
                "off"),                                                                            \
        ROW_BOOL(T, P "tied_embeddings", M tied_embeddings, "true",                                \
                 "the output head is the embedding table"),                                        \
        ROW_REAL(T, P "router_aux_coef", M router_aux_coef, NULL, "0.01", 0, 1e3, "0.01",          \
                 "weight of the auxiliary balancing loss; with balance.kind bias 0 where not "     \
                 "given, with none 0"),                                                            \
        ROW_REAL(T, P "router_z_coef", M router_z_coef, NULL, "0.001", 0, 1e3, "0.001",            \
                 "weight of the router's z-loss; used where balance.kind is not none")
/* Keys of the form of a layer: this program runs what they say, and trains what is the default. */
#define MODEL_FORM_ROWS(P, T, M)                                                                   \
    ROW_BOOL(T, P "pre_norms", M pre_norms, "true",                                                \
             "norms in front of attention and feed-forward; false: forward only, like every "      \
             "other than the default from here to window_rope_theta"),                             \
        ROW_BOOL(T, P "post_norms", M post_norms, "true", "norms behind them"),                    \
        ROW_ENUM(T, P "activation", M activation, "gelu_tanh", model_activation_names, "silu",     \
                 "of the gate"),                                                                   \
        ROW_BOOL(T, P "qk_norm", M qk_norm, "false", "norms of each head of queries and keys"),    \
        ROW_BOOL(T, P "qkv_biases", M qkv_biases, "false", "biases of queries, keys and values"),  \
        ROW_BOOL(T, P "output_bias", M output_bias, "false", "bias of the attention's output"),    \
        ROW_BOOL(T, P "renormalise_top_k", M renormalise_top_k, "false",                           \
                 "the weights of a token's experts are divided by their sum"),                     \
        ROW_REAL(T, P "residual_multiplier", M residual_multiplier, NULL, "1", 1e-6, 1e6, "0.22",  \
                 "of what each sub-layer adds; needs post_norms false"),                           \
        ROW_ENUM(T, P "rope_form", M rope_form, "halves", model_rope_form_names, "pairs",          \
                 "which elements of a head turn together: i and i + head_dim / 2, or neighbours"), \
        ROW_ENUM(T, P "rope_scaling", M rope_scaling, "none", model_rope_scaling_names, "llama3",  \
                 "how positions reach beyond the training's context"),                             \
        ROW_REAL(T, P "rope_factor", M rope_factor, NULL, "1", 1, 1e6, "8",                        \
                 "linear, llama3, yarn: how many times as far"),                                   \
        ROW_INT(T, P "rope_original_length", M rope_original_length, "tokens", "0", 0, 1 << 24,    \
                "8192", "llama3, yarn: the training's context"),                                   \
        ROW_REAL(T, P "rope_low_freq", M rope_low_freq, NULL, "1", 1e-6, 1e6, "1",                 \
                 "llama3: turns in that context up to which pairs are slowed by rope_factor"),     \
        ROW_REAL(T, P "rope_high_freq", M rope_high_freq, NULL, "4", 1e-6, 1e6, "4",               \
                 "llama3: turns from which they are left alone"),                                  \
        ROW_REAL(T, P "rope_beta_fast", M rope_beta_fast, NULL, "32", 1e-6, 1e6, "32",             \
                 "yarn: turns from which pairs are left alone"),                                   \
        ROW_REAL(T, P "rope_beta_slow", M rope_beta_slow, NULL, "1", 1e-6, 1e6, "1",               \
                 "yarn: turns up to which they are slowed by rope_factor"),                        \
        ROW_REAL(T, P "rope_size", M rope_size, NULL, "0", 0, 1e6, "1.2",                          \
                 "yarn: what turned heads are multiplied by; 0: 0.1 ln rope_factor + 1"),          \
        ROW_INT(T, P "window", M window, "tokens", "0", 0, 1 << 24, "128",                         \
                "tokens that a sliding-window layer sees"),                                        \
        ROW_INT(T, P "window_layers", M window_layers, NULL, "0", 0, 1 << 14, "18",                \
                "how many layers have that window"),                                               \
        ROW_INT(T, P "window_period", M window_period, NULL, "0", 0, 1 << 14, "2",                 \
                "of each so many layers the last sees everything; 0: none does"),                  \
        ROW_REAL(T, P "window_rope_theta", M window_rope_theta, NULL, "0", 0, 1e15, "10000",       \
                 "rope_theta of layers with the window, which are then not scaled; 0: as the "     \
                 "others")
/* The batch of a run file, which plans read too. */
#define MODEL_BATCH_ROWS(P, T)                                                               \
    ROW_INT(T, P "seq_len", seq_len, "tokens", "512", 1, 1 << 24, "512", "tokens in a row"), \
        ROW_INT(T, P "micro_batch", micro_batch, "rows", "8", 1, 1 << 20, "8",               \
                "rows that go through the model at once"),                                   \
        ROW_INT(T, P "global_batch", global_batch, "rows", "0", 0, 1 << 24, "64",            \
                "rows of one update, a multiple of micro_batch; 0: micro_batch")
/* clang-format on */

/* Every key of a model's file: MODEL_ROWS and MODEL_FORM_ROWS first, then what only plans count. */
extern const struct section model_section;

void model_config_defaults(struct model_config *c); /* Grok-1's constants, sizes 0 */
/* Fills what is 0 and follows from the sizes: key/value heads, head width, muP multipliers; a dense
 * model uses one expert. */
void model_config_derive(struct model_config *c);
/* Of a model whose sizes are derived: which sizes there must be and what must divide what; the error
 * names the field and what is allowed. */
int model_config_check_shape(const struct model_config *c, struct error *e);
/* The same, and the range of every field. */
int model_config_check(const struct model_config *c, struct error *e);
/* Can this program run it, forward? The error names what it lacks. */
int model_config_check_runnable(const struct model_config *c, struct error *e);
/* And train it? The error names the field that asks for another form of a layer than Grok's. */
int model_config_check_trainable(const struct model_config *c, struct error *e);
/* How a model is read from a name, a file or a map (preset_read), of a run file its section `model`.
 * What is not said stays 0; a model whose sizes are all there is checked as it will be derived. */
extern const struct preset_kind model_kind;
/* The first size that has no default and is not given, or NULL. */
const char *model_config_missing(const struct model_config *c);
/* Names of the presets that this program can train, in r's arena: "grok-1, grok-2". */
const char *model_config_trainable_presets(const struct yaml_reader *r);
/* A config.json: this program's, whose unknown keys are refused except "optimizer" and "_"-prefixed ones,
 * or Hugging Face's (hf_model_config). */
int model_config_load(const char *path, struct model_config *c, struct error *e);
int model_config_from_json(const json_t *o, const char *name, struct model_config *c,
                           struct error *e);
json_t *model_config_to_json(const struct model_config *c);
uint64_t model_config_active_params(const struct model_config *c); /* touched by one token */
uint64_t model_config_total_params(const struct model_config *c);
/* FLOP of one training token: 6 * active matrix parameters (the head counted, the embedding table not
 * when untied) + 12 * L * H * h * T / 2 for causal attention; the MFU numerator, no recompute. */
double model_config_train_flops_per_token(const struct model_config *c, int64_t T);

static inline bool model_is_moe(const struct model_config *c)
{
    return c->n_experts > 1;
}
/* Hidden width of a layer without experts; 0: there is none. */
static inline int64_t model_dense_ffn(const struct model_config *c)
{
    return model_is_moe(c) ? c->dense_ffn_hidden : c->ffn_hidden;
}
/* Grok-2's dense FFN beside the experts of every layer. */
static inline bool model_has_dense_branch(const struct model_config *c)
{
    return model_is_moe(c) && c->dense_ffn_hidden > 0 && c->dense_layers == 0;
}

struct model_shard { /* the whole: {0, 1, 0, 1}; sizes of 0 count as 1 */
    /* Of a group that works on the same rows, each with a part of the heads and hidden units; and of a
     * group that works on different rows, each with some of the experts. */
    int tensor_rank, tensor_size, expert_rank, expert_size;
    bool divides_vocabulary; /* also rows of embedding and head (model_can_divide); training only */
    /* Layers [first_layer, end_layer), and the embedding with the first layer, the last norm and the
     * head with the last one. end_layer 0: all to the last. Where embedding and head are tied and the
     * layers between them are parted, both parts hold the table. */
    int64_t first_layer, end_layer;
};

/* ------------------------------------------------------------------ parameter table */

enum param_kind {
    PARAM_EMBEDDING, /* token_embd, [V, D] */
    PARAM_HEAD,      /* output, [V, D], when untied */
    PARAM_NORM,      /* [D], or [h] of a head */
    PARAM_BIAS,      /* [out] */
    PARAM_ROUTER,    /* [E, D] */
    PARAM_MATRIX,    /* [out, in] */
    PARAM_EXPERTS    /* [E, out, in] */
};

struct param {
    char name[64]; /* GGUF name for architecture grok: "blk.0.attn_q.weight" */
    enum param_kind kind;
    int n_dims;
    int64_t shape[3];
    size_t offset, count; /* floats, within the flat arrays of weights, gradients, moments */
    bool decay; /* weight decay: matrices, experts and router; not norms, embedding, head */
    double lr_multiplier;       /* muP, xrex scaling.py (docs/model.md) */
    double init_std;            /* of the normal distribution; norms start at 1 */
    int64_t fan_in;             /* of the whole tensor */
    int64_t whole[3], first[3]; /* shape of the whole tensor, and where in it this part begins */
    /* Each process of a tensor-parallel group holds another part; else all hold the same. */
    bool divided;
};
struct param_table {
    struct param *rows;
    size_t n_rows;
    size_t total; /* floats, each tensor padded to a multiple of 16 */
};
/* In *a. The order is the reference's. */
void model_params_build(const struct model_config *c, struct arena *a, struct param_table *t);
/* The same for the part a shard holds: its layers, heads and hidden units divided by tensor_size,
 * experts by expert_size. */
void model_params_build_shard(const struct model_config *c, const struct model_shard *shard,
                              struct arena *a, struct param_table *t);
const struct param *param_find(const struct param_table *t, const char *name);

/* A block of a tensor: numbers [first, first + shape) of each dimension of the whole. */
struct tensor_block {
    int n_dims;
    int64_t whole[3], first[3], shape[3];
};
struct tensor_block param_block(const struct param *p);
/* Element i of a block, counted in the block, is element *at of the whole; returns how many from there
 * on are neighbours in both. */
size_t tensor_block_run(const struct tensor_block *b, size_t i, size_t *at);
/* Whether a model that trains reads these masters in model_weights_changed only: products work on
 * copies of theirs. Between two calls the memory of such masters may be given back. */
static inline bool param_is_copied(const struct param *p)
{
    return p->kind == PARAM_MATRIX || p->kind == PARAM_EXPERTS || p->kind == PARAM_HEAD;
}

/* ------------------------------------------------------------------ the model */

#define MODEL_MAX_EXPERT_SIZE 256 /* processes that may divide the experts */
struct model_exchange {
    const void *send;
    const size_t *send_at; /* [expert_size + 1] bytes */
    void *recv;
    const size_t *recv_at; /* [expert_size + 1] bytes */
};
/* Every one may be NULL. One that fails keeps its error, and whoever set the hooks asks for it before
 * anything that the pass has computed is used. */
struct model_hooks {
    void *ctx;
    /* Sum of x [n] over the tensor-parallel group, for all of it: of the head's sums, the routing
     * weights' gradient, and of what a sub-layer gives without training. */
    void (*sum_tensor)(void *ctx, void *x, size_t n, enum compute_dtype dtype);
    /* The same of rows that the group has divided (model_own_rows): process r's part of x is
     * x[bounds[r] .. bounds[r + 1]), and gets the sum; or is given to all. Of a sub-layer's output
     * and its input's gradient; of its input and its output's gradient. */
    void (*sum_rows)(void *ctx, void *x, const size_t *bounds, enum compute_dtype dtype);
    void (*gather_rows)(void *ctx, void *x, const size_t *bounds, enum compute_dtype dtype);
    /* weights of rows [first, first + count) of the parameter table are read from here on; called in
     * a forward pass, in the order of the table */
    void (*weights_wanted)(void *ctx, size_t first, size_t count);
    /* gradients of rows [first, first + count) of the parameter table are final for this
     * microbatch; called during backward, last layer first */
    void (*grads_ready)(void *ctx, size_t first, size_t count);
    /* sum, over processes that train on other rows at the same time, of what the balancing loss is
     * made of; called once between the forward and the backward pass of a model with experts */
    void (*sum_routing)(void *ctx, double *x, size_t n);
    /* Bytes send[send_at[r] .. send_at[r + 1]) go to process r of those that divide the experts, and
     * what it sent here arrives at recv[recv_at[r] ..]. Negative where it failed: nothing of recv may
     * be believed then. Called by all of them at the same places of a pass. */
    int (*exchange)(void *ctx, const struct model_exchange *x);
};

/* Processes of a tensor-parallel group that train divide the rows of a microbatch for what lies between
 * their products: residual, norms and their gradients (Korthikanti et al. 2022, 2205.05198). M rows:
 * this one has [first, first + n) of them. The gradients of norms are then of these rows, and still to
 * be summed over the group (param_is_of_rows). */
struct model_own_rows {
    int64_t first, n;
};
static inline struct model_own_rows model_own_rows(const struct model_shard *s, int64_t M)
{
    int64_t parts = s->tensor_size > 1 ? s->tensor_size : 1;
    int64_t first = s->tensor_rank * M / parts;
    return (struct model_own_rows){first, (s->tensor_rank + 1) * M / parts - first};
}
/* Whether a tensor of a layer belongs to its second half: the feed-forward with the norms around it. */
bool param_is_of_ffn(const struct param *p);
static inline bool param_is_of_rows(const struct param *p)
{
    return p->kind == PARAM_NORM;
}

/* What the backward pass computes again instead of keeping it. The results are the same bits. */
enum model_recompute {
    MODEL_RECOMPUTE_NONE,
    MODEL_RECOMPUTE_SELECTIVE, /* the hidden values of the feed-forward, its largest arrays */
    MODEL_RECOMPUTE_FULL       /* whole layers: only what goes into a layer is kept */
};
extern const char *const model_recompute_names[]; /* ends in NULL */

struct model_options {
    compute_t *compute; /* outlives the model */
    int64_t B, T;       /* largest microbatch */
    bool training;      /* gradients and activations are planned too; without, the weights are held
                           once, in the format of activations, but for norms and routers */
    enum model_recompute recompute;
    struct model_shard shard;
    struct model_hooks hooks;
    /* Inference: whether a tensor's weights are kept as codes, and in which form; NULL: none are. A
     * product of several tensors keeps codes only where all of them come so. */
    bool (*codes_of)(const void *ctx, const char *tensor, struct compute_codes *out);
    const void *codes_ctx;
};

typedef struct model model_t;

/* One line of the memory table. */
struct model_memory {
    const char
        *what; /* "weights (fp32)", "gradients (fp32)", "compute weights", "activations" ... */
    size_t bytes;
};
/* The plan without allocating: fills rows (at most cap) and returns their number. */
size_t model_plan_memory(const struct model_config *c, const struct model_options *o,
                         struct model_memory *rows, size_t cap);

/* The first size of the model that so many tensor-parallel processes cannot share alike, and what it is,
 * in *size; NULL: there is none. */
const char *model_undivided(const struct model_config *c, int64_t parts, int64_t *size);
/* Whether each of so many processes gets some ids of the vocabulary. */
bool model_can_divide(const struct model_config *c, int64_t parts);
/* Rows of M that the head works on at a time, with V logits each. */
int64_t model_head_rows(int64_t M, int64_t V);
/* What another slot (below) of that model takes. */
size_t model_plan_slot(const struct model_config *c, const struct model_options *o);
/* The same of a decoder (below) with so many positions. */
size_t model_plan_decoder(const struct model_config *c, const struct model_options *o,
                          int64_t positions);

int model_new(const struct model_config *c, const struct model_options *o, model_t **out,
              struct error *e);
void model_free(model_t *m);
const struct param_table *model_params(const model_t *m);
float *model_weights(model_t *m);   /* fp32 masters, [params->total]; NULL without training */
float *model_gradients(model_t *m); /* the same layout; NULL without training */
/* [L, E] of the layers that are held, selection bias: added to the router's probabilities where experts are chosen, not where
 * they are weighed. Zeros at first; NULL when dense. */
float *model_router_bias(model_t *m);
/* Initial values of elements [first, first + n) of a row of the parameter table, which depend on seed
 * and tensor only; and of all. */
void model_init_values(const model_t *m, size_t param, uint64_t seed, size_t first, size_t n,
                       float *out);
void model_init_weights(model_t *m, uint64_t seed);
/* Sets rows [first, first + n) of a tensor (row `param` of the table), whose shape is taken as rows of
 * its last dimension. */
void model_put(model_t *m, size_t param, int64_t first, int64_t n, const float *w);
/* The same of a tensor that is kept as codes (model_options), whole rows one behind the other; group
 * and part are of no matter. */
bool model_keeps_codes(const model_t *m, size_t param);
void model_put_codes(model_t *m, size_t param, const struct compute_linear_codes *rows);
/* Everything that a trained model holds: the masters and selection biases of `from`, which trains,
 * into another model of the same configuration and shard; so text can be generated in the middle of
 * training. */
void model_copy_weights(model_t *to, model_t *from);
/* Must be called after masters were changed from outside, before the next forward. */
void model_weights_changed(model_t *m);
/* The same of rows [first, first + n) of the parameter table, which hold all parts of every product
 * that they hold one of. */
void model_weights_changed_rows(model_t *m, size_t first, size_t n);

struct model_batch {
    int64_t B, T;
    const uint32_t *inputs, *targets; /* [B, T] */
    const int32_t *doc_start;         /* [B, T] for document masking, or NULL */
    bool balance; /* deal the rows to experts evenly: each layer's selection biases begin at
                   * model_router_bias and are the batch's own (training) */
};

/* Sums over microbatches; divide by `tokens` or `microbatches` where a mean is wanted. */
struct model_stats {
    double nll; /* sum over tokens, nats */
    double tokens;
    double aux, z; /* sum over microbatches of the means the reference defines */
    double microbatches;
    double *load; /* [L, E] routed slots, caller's array of n_layers * n_experts or NULL */
    double *prob; /* [L, E] sum of router probabilities, or NULL */
    double *bias; /* [L, E] sum over microbatches of the selection biases that balanced each, where
                   * model_batch's balance is set; or NULL */
};

/* Of a whole model, as are all passes from here to the decoder but those of a part of the layers.
 * Adds the batch's losses to *s (not cleared). No gradients. */
void model_evaluate(model_t *m, const struct model_batch *b, struct model_stats *s);
/* Forward and backward of  scale * (mean nll + aux_coef * aux + z_coef * z).  Gradients are added
 * to what is there, or overwrite it where first is set. */
void model_train_step(model_t *m, const struct model_batch *b, double scale, bool first,
                      struct model_stats *s);
/* Logits [B, T, V] fp32 of the inputs, for tests and small models. */
void model_logits(model_t *m, const struct model_batch *b, float *logits);
/* Per-token negative log likelihood [B, T] of the targets, for scoring. */
void model_score(model_t *m, const struct model_batch *b, float *nll);

/* ------------------------------------------------------------------ a part of the layers
 * A model whose shard has some of the layers is a stage: the residual [B, T, D] comes in from the
 * stage in front and goes out to the one behind, and its gradient the other way. Stages one after the
 * other give the bits of the whole model; but of a tied table, whose two gradients are the caller's
 * to add, and of aux and z, sums over layers, only the sum. */

/* Layers [*first, *end) of stage `stage` of `stages`: as many each; what is left over, one more each
 * from the second stage on, as the first has the embedding and the last the head. */
void model_stage_layers(const struct model_config *c, int stage, int stages, int64_t *first,
                        int64_t *end);

/* The activations of one pass. A model has one of its own (NULL below); whoever has several
 * microbatches under way between forward and backward makes one for each other. */
typedef struct model_slot model_slot_t;
size_t model_slot_bytes(const model_t *m);
int model_slot_new(model_t *m, model_slot_t **out, struct error *e);
void model_slot_free(model_slot_t *s);

/* in: NULL where the stage has the embedding; out: NULL where it has the head. Adds aux and z of its
 * layers to *s, and their loads, which stand where the whole model has them. */
void model_stage_forward(model_t *m, model_slot_t *slot, const struct model_batch *b,
                         const float *in, float *out, struct model_stats *s);
/* The same without a backward pass to come; with the head it adds the batch's losses to *s. */
void model_stage_evaluate(model_t *m, const struct model_batch *b, const float *in, float *out,
                          struct model_stats *s);
/* Logits [B, T, V] of the rows of the last evaluation, by the stage that has the head. */
void model_stage_logits(model_t *m, const struct model_batch *b, float *logits);
struct model_stage_grad {
    double scale; /* as in model_train_step */
    bool first;
    const float *d_out; /* gradient of out; NULL where the stage has the head */
    float *d_in;        /* gets that of in; NULL where it has the embedding */
};
/* Behind model_stage_forward of the slot. With the head it adds the batch's losses to *s. */
void model_stage_backward(model_t *m, model_slot_t *slot, const struct model_batch *b,
                          const struct model_stage_grad *g, struct model_stats *s);

/* ------------------------------------------------------------------ decoding
 * A decoder runs batches of rows of any sequences through a model that was made for inference. It
 * owns the keys and values of its sequences, in pages of COMPUTE_PAGE positions, and the scratch of a
 * pass. What a row gives depends, bit for bit, on the tokens of its sequence up to it: not on the
 * rows beside it, on the order of rows, on how a prompt was cut into calls, or on what its pages are
 * shared with. */

typedef struct model_decoder model_decoder_t;
/* Bytes of a decoder whose sequences have so many positions together, each rounded up to pages. */
size_t model_decoder_bytes(const model_t *m, int64_t positions);
int model_decoder_new(model_t *m, model_decoder_t **out, struct error *e);
void model_decoder_free(model_decoder_t *d);

/* A new sequence, named by a number from 0 on; numbers of closed ones are used again. */
int32_t model_sequence_open(model_decoder_t *d);
void model_sequence_close(model_decoder_t *d, int32_t sequence);
/* A new sequence that begins with the first `length` positions of another one, whose pages it
 * shares; whichever of the two first writes to a shared page gets a copy of its own. */
int32_t model_sequence_fork(model_decoder_t *d, int32_t sequence, int64_t length);
int64_t model_sequence_length(const model_decoder_t *d, int32_t sequence);
void model_sequence_truncate(model_decoder_t *d, int32_t sequence, int64_t length);
/* Takes the memory for so many positions now. False where there is none: nothing has changed. */
bool model_sequence_reserve(model_decoder_t *d, int32_t sequence, int64_t length);

/* One token of a sequence. Its position is the sequence's length, counting rows of the same sequence
 * in front of it in the call. */
struct model_row {
    int32_t sequence;
    uint32_t token;
    int64_t position;
    bool want_logits;
};
/* Appends n rows. Logits [wanted rows, V], in the order of the rows. Where there is no memory for
 * pages it fails before anything is changed. */
int model_decode_rows(model_decoder_t *d, const struct model_row *rows, int64_t n, float *logits,
                      struct error *e);
/* The same, but instead of logits the rows' states in front of the head [n, D], normalised. */
int model_decode_states(model_decoder_t *d, const struct model_row *rows, int64_t n, float *states,
                        struct error *e);
int64_t model_decoder_pages(const model_decoder_t *d); /* that its sequences have */

/* The simplest user: a decoder with one sequence. */
typedef struct model_cache model_cache_t;
size_t model_cache_bytes(const model_t *m, int64_t max_tokens);
model_cache_t *model_cache_new(model_t *m, int64_t max_tokens); /* NULL: no memory */
void model_cache_free(model_cache_t *c);
/* Makes room for at least max_tokens in all; what is in the cache stays. False where there is no
 * memory: the cache is as it was. */
bool model_cache_grow(model_cache_t *c, int64_t max_tokens);
void model_cache_truncate(model_cache_t *c, int64_t length); /* forget from there on */
/* Appends n tokens and gives the logits [V] behind the last one. n tokens must fit. */
void model_decode(model_t *m, model_cache_t *c, const uint32_t *tokens, int64_t n, float *logits);

/* ------------------------------------------------------------------ safetensors
 * Format: huggingface/safetensors: u64 length, JSON header, raw little-endian data. */

enum safetensors_dtype { ST_F64, ST_F32, ST_BF16, ST_F16, ST_I64, ST_I32, ST_U8 };
struct safetensors_entry {
    char name[96];
    enum safetensors_dtype dtype;
    int n_dims;
    int64_t shape[8];
    const void *data; /* reading: inside the map (may be unaligned); writing: the caller's */
    size_t bytes;
};
struct safetensors {
    struct file_map map;
    struct safetensors_entry *entries;
    size_t n_entries;
    json_t *metadata; /* "__metadata__" object or NULL */
    struct arena arena;
};
/* Every offset, shape and size is checked against the file; errors name file and tensor. */
int safetensors_open(const char *path, struct safetensors *st, struct error *e);
int safetensors_parse(const void *data, size_t size, const char *name, struct safetensors *st,
                      struct error *e);
void safetensors_close(struct safetensors *st);
const struct safetensors_entry *safetensors_find(const struct safetensors *st, const char *name);
/* Copies an entry as floats (F64, BF16, F16 converted); the count must match. */
int safetensors_read_f32(const struct safetensors_entry *t, float *out, size_t count,
                         struct error *e);
/* The same of values [first, first + count), which must be there. */
int safetensors_read_part(const struct safetensors_entry *t, size_t first, size_t count, float *out,
                          struct error *e);
struct safetensors_written {
    uint64_t xxh3, size; /* of the whole file; size in bytes */
};
/* What stands in front of the data of entries, which are as long as they say; their own data is not read. */
void safetensors_head(const struct safetensors_entry *entries, size_t n_entries, struct str *out);
/* Streams entries to path (not atomic by itself: callers write into a temporary folder) and fsyncs
 * it. *written (NULL: not wanted) is computed while writing. */
int safetensors_write(const char *path, const struct safetensors_entry *entries, size_t n_entries,
                      struct safetensors_written *written, struct error *e);

/* Tensors in the files of several ranks, put together (model_parts.c). */
struct safetensors_piece {
    const struct safetensors_entry *entry;
    size_t first, count; /* numbers of the whole tensor */
    size_t from;         /* number of the entry that is the first of them */
};
struct safetensors_tensor {
    struct safetensors_entry whole; /* data: NULL where it lies in parts */
    struct safetensors_piece *pieces;
    size_t n_pieces;
};
struct safetensors_set {
    struct safetensors *files;
    size_t n_files;
    struct safetensors_tensor *tensors; /* sorted by name */
    size_t n_tensors;
    struct arena arena;
};
/* path is "DIR/weights.safetensors": that file, or where it is not there what stands for it
 * (model_folder.c). */
int safetensors_set_open(const char *path, struct safetensors_set *s, struct error *e);
bool safetensors_set_exists(const char *path);
int safetensors_set_check(const struct safetensors_set *s, const char *path, struct error *e);
void safetensors_set_close(struct safetensors_set *s);
const struct safetensors_tensor *safetensors_set_find(const struct safetensors_set *s,
                                                      const char *name);
/* Numbers [first, first + count), which must be there: as floats; or byte for byte. */
int safetensors_tensor_read(const struct safetensors_tensor *t, size_t first, size_t count,
                            float *out, struct error *e);
void safetensors_tensor_copy(const struct safetensors_tensor *t, size_t first, size_t count,
                             void *out);
/* The file of a rank's part, in *a: "DIR/weights-00001-of-00004.safetensors" of rank 0 of 4. */
char *safetensors_part_name(struct arena *a, const char *path, int rank, int ranks);
/* What stands beside a part that begins at number `first` of a block of the whole: one tensor, or two
 * where the block (n_dims 0: the whole) is not all of it. Their data in *a; returns their number. */
size_t safetensors_companions(const struct safetensors_entry *whole,
                              const struct tensor_block *block, size_t first, struct arena *a,
                              struct safetensors_entry out[2]);
size_t safetensors_element_size(enum safetensors_dtype d);

/* Of a model that trains: numbers of row `param` of its table as it holds them, [count]; and its
 * routers' selection biases. path: of the files, for messages. */
int model_read_values(model_t *m, const struct safetensors_set *st, const char *path, size_t param,
                      float *out, struct error *e);
int model_read_biases(model_t *m, const struct safetensors_set *st, const char *path,
                      struct error *e);

/* path is a safetensors file, or a folder that holds model.safetensors or (golden folders)
 * weights.safetensors, whole or in parts. Every tensor must be there with the configuration's shape and finite values,
 * and nothing else but the routers' selection biases "blk.<layer>.exp_probs_b.bias" (all layers or
 * none: zeros); F64, BF16 and F16 are converted. A shard takes its part. Names are this program's, or
 * Hugging Face's, of a whole model. Calls model_weights_changed. */
int model_load_weights(model_t *m, const char *path, struct error *e);

/* ------------------------------------------------------------------ Hugging Face
 * Folders with a config.json and safetensors files as transformers writes them: model_hf_config.c says
 * which families and how their keys are read, model_hf_names.c how their tensors are named. */

/* By its keys. */
bool hf_is_config(const json_t *o);
/* What a family's keys say. A key that is not known and says something is refused, and so is what this
 * program does not do. */
int hf_model_config(const json_t *o, const char *name, struct model_config *c, struct error *e);

enum hf_style {              /* of names, where the families differ */
                HF_PLAIN,    /* Llama, Qwen, Gemma: "mlp.experts.0.gate_proj" */
                HF_SPARSE,   /* Mixtral, Grok-2: "block_sparse_moe.experts.0.w1" */
                HF_COMMUNITY /* Grok-1's: "moe_block.experts.0.linear" */
};
/* Theirs for one of ours; expert: of experts' tensors, which they keep apart, or -1: of all of them in
 * one tensor, which has gate and up one behind the other. False: that style has none. */
bool hf_tensor_name(const struct model_config *c, const char *ours, int64_t expert,
                    enum hf_style style, char out[96]);

struct hf_tensors {
    const struct safetensors_set *st;
    const struct model_config *config;
    bool *used; /* [st->n_tensors] that were found, or NULL */
};
/* Whether a file's tensors are named so. */
bool hf_is_named(const struct safetensors_set *st);
/* Where rows [first, first + n) of a tensor of ours lie: in how many of them from there on it is one
 * tensor of theirs, *t, from its row *at on; at least 1. Checks the shape. */
int hf_tensor_find(const struct hf_tensors *h, const struct param *p, int64_t first,
                   const struct safetensors_tensor **t, int64_t *at, struct error *e);
/* Rows as numbers of ours: Gemma's norms are stored less 1. */
int hf_tensor_read(const struct hf_tensors *h, const struct param *p, int64_t first, int64_t n,
                   float *out, struct error *e);
bool hf_is_less_one(const struct model_config *c, const struct param *p);

/* ------------------------------------------------------------------ GGUF
 * Files of ggml (model_gguf.c): values by name, and tensors in block formats. */

struct gguf_format {
    const char *name;
    size_t block, bytes; /* numbers of a block, and its bytes */
};
/* By the number that a file has for it, or its name ("Q4_K"); NULL: not read. */
const struct gguf_format *gguf_format_of(uint32_t type);
const struct gguf_format *gguf_format_named(const char *name);
uint32_t gguf_format_type(const struct gguf_format *f);
/* Turns `count` numbers, whole blocks, to floats (model_gguf_blocks.c). */
void gguf_to_f32(const struct gguf_format *f, const uint8_t *data, size_t count, float *out);
/* Whether the format is one of codes, and which. Takes `count` numbers apart, whole blocks: the arrays
 * of *out are the caller's, as long as the form says (compute.h), and are written. False: a half is
 * not finite. */
bool gguf_codes_of(const struct gguf_format *f, struct compute_codes *out);
struct gguf_codes {
    uint8_t *codes;
    uint16_t *scales, *leasts;
    uint8_t *scale_steps, *least_steps;
};
bool gguf_to_codes(const struct gguf_format *f, const uint8_t *data, size_t count,
                   const struct gguf_codes *out);
/* The form of a tensor of the file: model_options.codes_of. */
bool gguf_tensor_codes(const void *g, const char *tensor, struct compute_codes *out);

struct gguf_value {
    const char *key;
    int type, element; /* as the file numbers them */
    size_t count;      /* of an array */
    const uint8_t *data;
    size_t size; /* bytes of data */
};
struct gguf_tensor {
    char name[96];
    int n_dims;
    int64_t shape[4]; /* the dense dimension first */
    int64_t rows;     /* of shape[0] numbers, row_bytes apart */
    size_t row_bytes;
    const struct gguf_format *format;
    const uint8_t *data;
};
struct gguf {
    struct file_map map; /* of gguf_open */
    struct gguf_value *values;
    size_t n_values;
    struct gguf_tensor *tensors; /* by name */
    size_t n_tensors;
    struct arena arena;
};
struct gguf_text {
    const char *data;
    size_t size;
};
bool gguf_is(const char *path); /* by its first bytes */
/* Every count, size and offset is checked; errors name file and value or tensor. */
int gguf_open(const char *path, struct gguf *g, struct error *e);
/* data must live as long as *g. */
int gguf_parse(const void *data, size_t size, const char *name, struct gguf *g, struct error *e);
void gguf_close(struct gguf *g);
const struct gguf_value *gguf_find(const struct gguf *g, const char *key); /* or NULL */
const struct gguf_tensor *gguf_tensor(const struct gguf *g, const char *name);
/* False where it is missing (v NULL) or of another type. */
bool gguf_text(const struct gguf_value *v, struct gguf_text *out);
bool gguf_number(const struct gguf_value *v, double *out);
bool gguf_is_texts(const struct gguf_value *v);
bool gguf_is_numbers(const struct gguf_value *v);
/* The texts of an array one after the other; *at begins at 0. */
struct gguf_text gguf_next_text(const struct gguf_value *v, size_t *at);
double gguf_number_of(const struct gguf_value *v, size_t i);

/* What a file says of its model (model_gguf_config.c, which lists the families); `name` is the file's, for
 * messages. What is not done here is refused by its name. */
int gguf_model_config(const struct gguf *g, const char *name, struct model_config *c,
                      struct error *e);
/* The name of a tensor of ours in a file of that family (enum model_architecture). */
void gguf_tensor_name(int architecture, const char *ours, char out[96]);
/* Of the numbers that the speed of each rotation is divided by. */
#define GGUF_ROPE_DIVISORS "rope_freqs.weight"
/* All weights, into a whole model of that configuration. Calls model_weights_changed. */
int gguf_load_weights(model_t *m, const struct gguf *g, const char *name, struct error *e);

#endif
