/* model_internal.h: what the files of src/model share: the sizes of a shard, the layers with their
 * weights, products and activations, and the order of the steps.
 *
 * Letters as in compute.h: M rows (B*T), D model width, H and K query and key heads held here, h
 * head width, E experts, k experts per token, F hidden width of an expert, Fd of the dense branch,
 * R rows of the experts' input (M*k and padding), Rh those of the experts held here, V vocabulary.
 * "act" is the compute context's number format. Large arrays live in regions that are mapped once (model_plan.c). */
#ifndef COLOSSUS_MODEL_INTERNAL_H
#define COLOSSUS_MODEL_INTERNAL_H

#include <math.h>

#include "model/model.h"

/* Sizes of what this process holds. A model without experts has E = F = 0 and its layer in Fd; one
 * without a dense branch has Fd = 0; Grok-2 has both. */
struct model_dims {
    int64_t V, L, D, H, K, h, E, k, F, Fd;
    int64_t Eh; /* experts whose weights are here: E, or E / expert_size */
    /* Ids whose rows of embedding and head are here: all V, or one of tensor_size parts, of which the
     * last may be shorter. */
    int64_t Vh, first_id, longest_part;
};
void model_dims_init(const struct model_config *c, const struct model_shard *shard,
                     struct model_dims *d);

/* ------------------------------------------------------------------ model_form.c */

#define MODEL_ROTATIONS 2 /* tables of angles that a model has at most */

/* What differs from layer to layer. */
struct model_form {
    int64_t window; /* positions that a query sees, its own among them; 0: all */
    int rotation;   /* which table of angles */
};
struct model_form model_form_of(const struct model_config *c, int64_t layer);
int model_rotations(const struct model_config *c); /* how many tables */
struct model;
struct compute_rotation model_rotation(const struct model *m, int which);
/* Angles of n positions, to [compute_rope_table_floats] of the device. */
void model_rope_table(const struct model *m, int which, int64_t n, float *table);
/* Fills the model's tables; again where its rotations were changed. */
void model_rotate(struct model *m);
/* Layers see `window` positions, but for the last of each `period`; where no layer has a window, none is
 * said. */
void model_form_set_window(struct model_config *c, int64_t window, int64_t period);
/* Whether the keys of the form say what the named family's layer is. */
bool model_form_is_told(const struct model_config *c);
int model_form_check(const struct model_config *c, struct error *e);

/* ------------------------------------------------------------------ model_folder.c */

struct safetensors_file {
    const char *path;
    int device; /* of which it holds a part of each tensor; -1: whole tensors */
};
struct safetensors_files {
    struct safetensors_file *list;
    size_t n, cap;
    int devices;
    json_t *index; /* the caller's to give back; NULL: none */
    const char *index_path;
};
/* In *a. */
int safetensors_list_files(const char *path, struct arena *a, struct safetensors_files *out,
                           struct error *e);
/* Whether all are there; the error names the first one that is not. */
int safetensors_files_check(const struct safetensors_files *f, const char *path, struct error *e);
/* The files that an index names, each once, sorted; and whether they have all its tensors. */
int safetensors_index_files(const json_t *o, const char *name, struct arena *a,
                            struct safetensors_files *out, struct error *e);
int safetensors_index_check(const json_t *o, const char *name, const struct safetensors_set *s,
                            struct error *e);

/* ------------------------------------------------------------------ structures */

/* A vector or a small matrix that is used in fp32 as it stands. */
struct model_tensor {
    const float *w;
    float *g; /* NULL without training */
};

/* The products of one layer; those of a branch it lacks are NULL. */
enum model_linear_id {
    LINEAR_QKV,         /* D -> (H + 2K) h: query, key, value */
    LINEAR_OUT,         /* H h -> D */
    LINEAR_EXPERTS_IN,  /* D -> 2F: gate, up; E groups */
    LINEAR_EXPERTS_OUT, /* F -> D; E groups */
    LINEAR_DENSE_IN,    /* D -> 2Fd: gate, up */
    LINEAR_DENSE_OUT,   /* Fd -> D */
    LINEAR_COUNT
};

/* Routing of one layer's tokens and the tables of its dispatch (compute.h). */
struct model_routing {
    float *probs, *lse; /* [M, E], [M] */
    int32_t *top;       /* [M, k] */
    float *weight;      /* [M, k] */
    int32_t *offset, *count, *slot_row, *row_token, *row_slot;
    float *row_weight; /* [R] weight of the slot in that row, 0 for padding */
    int64_t rows;      /* R: at most so many */
    /* The same of the rows of the experts that are here. Where those are all, they are the arrays
     * above, and the rest is NULL; else a row goes to the process of its expert (model_exchange.c). */
    int32_t *held_offset; /* [Eh + 1] */
    float *held_weight;   /* [Rh] */
    int64_t held_rows;    /* Rh: at most so many */
    int32_t *held_came;   /* [Rh] which of the rows that came, -1 for padding */
    int32_t *came_held;   /* [rows that came] where they are held */
    size_t *went, *came;  /* [expert_size + 1] rows to, and from, each process */
};

/* The activations of one layer: what its forward pass reads and leaves for its backward pass. A
 * layer does not know whether its arrays are its own or shared with other layers. S: rows of this
 * process (model_own_rows), M where they are not divided. */
struct model_acts {
    const float *h_in; /* [S, D] residual in front of the layer */
    void *x_attn;      /* act [M, D] input of the attention: h_in, normalised */
    void *qkv;         /* act [M, (H + 2K) h], rotated */
    void *o;           /* act [M, H h] */
    float *lse;        /* [B, H, T] */
    void *y_attn;      /* act [M, D] */
    float *h_mid;      /* [S, D] residual behind the attention */
    float *rstd_attn_post, *rstd_attn_next; /* [S] */
    void *x_ffn;                            /* act [M, D] */
    struct model_routing routing;
    void *x_rows;                         /* act [Rh, D] the experts' input: x_ffn by row */
    void *gu;                             /* act [Rh, 2F] */
    void *gu_dense;                       /* act [M, 2Fd] */
    void *y_ffn;                          /* act [M, D] */
    float *h_out;                         /* [S, D] residual behind the layer */
    float *rstd_ffn_post, *rstd_ffn_next; /* [S] */
    void *x_next; /* act [M, D] normalised input of the next layer, or of the head */
    /* Used by one sub-layer at a time, never kept: */
    void *hidden;  /* act [max(Rh F, M Fd)] what the gated unit gives */
    void *y_rows;  /* act [Rh, D] the experts' output */
    void *y_dense; /* act [M, D] output of a dense branch beside experts */
};

/* The activations of a whole pass over some rows. A model has one; whoever has several passes under
 * way (a pipeline, a decoder) has a slot for each. */
struct model_slot {
    struct model_acts *layers; /* [L] */
    float *h0;      /* [S, D] embedded tokens, or what comes from the stage in front; of the
                                  first stage it has place for [M, D] */
    float *rstd0;   /* [S] of the first norm */
    void *x_final;  /* act [M, D] normalised input of the head, where there is one */
    double *sums;   /* [L, 2E + 1] of compute_routed */
    double *routed; /* the host's, training: [L, 2, E] routed slots and sums of probabilities of the
                                  pass, and behind them its tokens: with sum_routing, of all
                                  processes */
};

/* Which rows go through the layers. Either whole sequences from position 0 on, T rows each, which
 * attend to each other; or runs of rows of any sequences, whose keys and values lie in pages. */
struct model_rows {
    int64_t M, T;
    const int32_t *doc_start;    /* [M] first row of its sequence that a row may see, or NULL */
    const int32_t *window_start; /* the same in layers with a window */
    const float *const *rope;    /* compute_rope_table of the positions, [MODEL_ROTATIONS] */
    const int32_t *position;     /* [M] of runs */
    const struct compute_paged_run *runs;
    int64_t n_runs; /* 0: whole sequences */
    struct model_own_rows own;
    const size_t *bounds; /* [tensor_size + 1] elements of act [M, D]; NULL: own are all */
    bool balance;         /* model_batch's */
};

/* w is NULL of what a form lacks. */
struct model_layer {
    struct model_form form;
    struct model_tensor attn_norm, attn_output_norm, ffn_norm, layer_output_norm, router;
    struct model_tensor q_norm, k_norm, q_bias, k_bias, v_bias, output_bias;
    size_t first_param, n_params; /* rows of the parameter table */
    size_t n_attn_params;         /* of them those in front of the feed-forward's */
    compute_linear_t *linears[LINEAR_COUNT];
    size_t linear_params[LINEAR_COUNT]; /* first row of the parameter table that each is made of */
};

/* Of the backward pass, one sub-layer at a time. Gradients of the experts' output and of their
 * input, and of the dense branch's input, lie in y_rows and y_dense of the layer. */
struct model_scratch {
    void *d_hidden;    /* as hidden */
    float *dh;         /* [S, D] gradient of the residual; as h0 */
    void *da, *dy;     /* act [M, D] gradients of a sub-layer's input and output */
    void *d_o;         /* act [M, H h] */
    void *d_qkv;       /* act [M, (H + 2K) h] */
    float *d_row;      /* [Rh] gradient of held_weight */
    float *d_sorted;   /* [R] gradient of row_weight; the same array where all experts are here */
    float *d_weight;   /* [M, k] */
    float *share;      /* [E] share of the routed slots */
    float *d_router_x; /* [M, D] */
    /* Where the experts are divided: */
    void *sorted;    /* act [R, D] rows by expert, before they go and when they are back */
    void *moved;     /* act [rows that came, D] */
    int32_t *counts; /* [expert_size, Eh] rows that come, by process and expert */
};

/* The head works on `rows` tokens at a time, so that [M, V] is never stored. */
struct model_head {
    compute_linear_t *linear;
    int64_t rows;
    float *logits;  /* [rows, V] */
    void *d_logits; /* act [rows, V] */
    float *nll;     /* [M] */
    float *sums;    /* of a divided vocabulary: [tensor_size + 2, rows], see head_nll */
};

/* Each is one line of the memory table and one mapping. */
enum model_region_id {
    REGION_WEIGHTS, /* training: all masters; inference: norms and routers */
    REGION_LINEARS, /* inference: all other weights, as products read them */
    REGION_GRADIENTS,
    REGION_ACTIVATIONS,
    REGION_SCRATCH,
    REGION_HEAD,
    REGION_COUNT
};
struct model_region {
    uint8_t *base; /* NULL while only measuring */
    size_t size;
};

/* Where a tensor is held for inference. */
struct model_place {
    compute_linear_t *linear; /* its part of a product, or */
    int part;
    float *values; /* fp32 as it stands */
};

/* What the host gives to a pass and takes from it has a place on both sides, where these are two; on a
 * CPU the host's arrays serve (model_to_device). */
struct model_host {
    float *router_bias;    /* [L, E] */
    float *batch_bias;     /* [L, E] */
    float *share;          /* [E] */
    float *nll;            /* [B T] */
    double *sums;          /* [L, 2E + 1] */
    int32_t *window_start; /* [B T], where a layer has a window */
};
struct model_device {
    float *router_bias;
    uint32_t *inputs, *targets;        /* [B T] */
    int32_t *doc_start, *window_start; /* [B T] */
};

struct model {
    struct model_config config;
    struct model_shard shard;
    struct model_hooks hooks;
    bool (*codes_of)(const void *ctx, const char *tensor, struct compute_codes *out);
    const void *codes_ctx;  /* of both: while it is planned and made */
    struct model_dims dims; /* L: layers held, from config's layer shard.first_layer on */
    bool has_embedding, has_head;
    compute_t *compute;
    int64_t B, T; /* largest microbatch */
    bool training;
    bool measures; /* only a plan: rows that come from other processes are as many as go */
    enum model_recompute recompute;
    struct arena arena; /* layers and parameter table */
    struct param_table params;
    struct model_region regions[REGION_COUNT];

    float *weights, *gradients; /* weights NULL for inference */
    struct model_place *places; /* [params.n_rows], inference only */
    compute_linear_t *table;    /* inference: the embedding; the head's, or one of its own */
    struct model_host host;
    struct model_device device;
    const float *router_bias;     /* [L, E] of the pass */
    const int32_t *window_start;  /* [B T] of the pass */
    float *batch_bias;            /* [L, E] with which the last batch was dealt evenly; training */
    float *rope[MODEL_ROTATIONS]; /* compute_rope_table of T positions each */
    float *rope_divisors;         /* [h / 2], of a file that has them (inference); NULL: none */
    size_t *row_bounds;           /* [tensor_size + 1] of a pass, where rows are divided */
    struct model_tensor embedding, output_norm;
    struct model_layer *layers;
    struct model_slot slot;
    struct model_scratch scratch;
    struct model_head head;
};

static inline int64_t model_qkv_width(const struct model *m)
{
    return (m->dims.H + 2 * m->dims.K) * m->dims.h;
}

/* Rows of a decoder's pass at most; every product of a model for inference takes as many. */
#define MODEL_DECODER_ROWS 256

/* Weights that are on their way into a model at once: 16 MiB. */
#define MODEL_PUT_FLOATS ((int64_t)4 << 20)

/* Whether other processes hold some of the experts. */
static inline bool model_is_divided(const struct model *m)
{
    return m->dims.Eh < m->dims.E;
}

/* Rows that each expert's begin at a multiple of; rows that go to other processes have no padding. */
static inline int64_t model_row_align(const struct model *m)
{
    return m->training && !model_is_divided(m) ? COMPUTE_ROW_ALIGN : 1;
}

/* Whether the processes of a tensor-parallel group divide rows between their products. */
static inline bool model_divides_rows(const struct model *m)
{
    return m->training && m->shard.tensor_size > 1;
}

/* Whether other processes hold some rows of embedding and head. */
static inline bool model_divides_vocabulary(const struct model *m)
{
    return m->dims.Vh < m->dims.V;
}
struct compute_embed model_embed(const struct model *m, int64_t M, const uint32_t *ids);

/* Address of element i of an act array. */
static inline void *model_act_at(const struct model *m, void *x, int64_t i)
{
    return (uint8_t *)x + (size_t)i * compute_dtype_size(compute_act_dtype(m->compute));
}

/* An array of the host's for operations: itself, or a copy in `device`. And back: what operations left
 * for the host, itself or a copy in `host`. */
static inline const void *model_to_device(struct model *m, void *device, const void *host,
                                          size_t bytes)
{
    if (!host || compute_is_host(m->compute)) return host;
    compute_upload(m->compute, device, host, bytes);
    return device;
}
static inline const void *model_to_host(struct model *m, void *host, const void *device,
                                        size_t bytes)
{
    if (compute_is_host(m->compute)) return device;
    compute_download(m->compute, host, device, bytes);
    return host;
}
/* Of numbers of the host's: by all threads where operations take them. */
static inline bool model_all_finite(struct model *m, const float *x, size_t n)
{
    if (compute_is_host(m->compute)) return compute_all_finite(m->compute, x, n);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}
/* For operations: a batch, with the first row that each sees under the model's window, and the
 * selection biases. A token beyond the vocabulary is the caller's mistake. */
struct model_batch model_take_batch(struct model *m, const struct model_batch *b);

/* ------------------------------------------------------------------ model_block.c */

/* 1 / sqrt(2) beside a dense branch, else 1: (dense + experts) / sqrt(2). */
float model_ffn_scale(const struct model *m);
/* The compute room's description of routing M rows x of layer l into r. */
struct compute_router model_router(const struct model *m, int64_t layer, int64_t M, const void *x,
                                   const struct model_routing *r);
/* The attention of a layer within the rows. */
struct compute_attention model_attention(const struct model *m, int64_t layer,
                                         const struct model_rows *r, const struct model_acts *a);
/* The rotation of the rows' queries and keys, or of their gradients back. */
struct compute_rope model_rope(const struct model *m, int64_t layer, const struct model_rows *r,
                               bool backward, void *qkv);
/* The norm in front of a layer, which makes x_attn of h_in; the layer has one. Behind another layer
 * the seam does it. */
struct compute_norm model_norm_in(const struct model *m, int64_t layer, const struct model_rows *r,
                                  const struct model_acts *a);
/* The seams of a layer: behind its attention, and behind its feed-forward. */
struct compute_seam model_seam_attn(const struct model *m, int64_t layer,
                                    const struct model_rows *r, const struct model_acts *a);
struct compute_seam model_seam_ffn(const struct model *m, int64_t layer, const struct model_rows *r,
                                   const struct model_acts *a);
/* Tells whoever brings weights that those of a layer's attention are needed: with layer 0 what is in
 * front of it, too; layer L stands for what is behind the last. */
void model_want_weights(struct model *m, int64_t layer);
/* Own rows of act x [M, D], which may be NULL. */
void *model_own_act(const struct model *m, const struct model_rows *r, void *x);
/* Of a sub-layer's result: its sum over the tensor-parallel group, for own rows at least; and own rows
 * for all. Nothing is to be done where the rows are not divided, or the group is one process. */
void model_sum_rows(struct model *m, const struct model_rows *r, void *x);
void model_gather_rows(struct model *m, const struct model_rows *r, void *x,
                       enum compute_dtype dtype);
/* One layer: from h_in and x_attn to everything else in *a. */
void model_block_forward(struct model *m, int64_t layer, const struct model_rows *r,
                         const struct model_acts *a);
/* The rows of the experts that are here. */
struct compute_rows model_held_rows(const struct model_routing *r);
/* Rows of x [M, D], each to its experts, [Rh, D]; and what these made of them, sorted as slot_row says:
 * the rows themselves, or scratch. */
void model_to_experts(struct model *m, const struct model_routing *r, const void *x, void *rows);
const void *model_from_experts(struct model *m, const struct model_routing *r, const void *rows);
/* What the backward pass of a layer needs and its forward pass did not keep (enum
 * model_recompute). */
void model_block_again(struct model *m, int64_t layer, const struct model_rows *r,
                       const struct model_acts *a);

/* ------------------------------------------------------------------ model_exchange.c
 * Experts that are divided over processes: rows go to the process of their expert and come back.
 * Sorted: by expert, as row_token has them; held: as held_offset. */

/* Behind the routing of a layer: which rows come, and where they are held, with their weights. */
void model_exchange_plan(struct model *m, const struct model_routing *r);
/* act [R, D] sorted -> [Rh, D] held, and back. */
void model_exchange_out(struct model *m, const struct model_routing *r, const void *sorted,
                        void *held);
void model_exchange_back(struct model *m, const struct model_routing *r, const void *held,
                         void *sorted);
/* The same of one float a row: back. */
void model_exchange_back_f32(struct model *m, const struct model_routing *r, const float *held,
                             float *sorted);

/* ------------------------------------------------------------------ memory (model_plan.c) */

/* Hands out places in regions, or only counts while these have no memory; for M rows. */
struct model_carver {
    const struct model *m;
    struct model_region *regions;
    int64_t M;
    size_t used[REGION_COUNT];
};
void *model_carve(struct model_carver *c, enum model_region_id id, size_t bytes);
/* A slot for M rows; s->layers is the caller's. */
void model_carve_slot(struct model_carver *c, struct model_slot *s);
/* Maps regions whose sizes are known; on failure the caller gives back what there is. */
int model_regions_map(const struct model *m, struct model_region *regions, struct error *e);
void model_regions_unmap(const struct model *m, struct model_region *regions);

/* ------------------------------------------------------------------ passes */

/* Of a batch that was taken. */
struct model_rows model_rows_of(const struct model *m, const struct model_batch *b);
void model_check_tokens(const struct model *m, const uint32_t *tokens, int64_t n);
/* tokens [M] to the residual h0, or h0 as it stands where there is no embedding; then all layers;
 * leaves x_final, or h_out of the last layer. A layer's routing is reported to stats where that is
 * not NULL. */
void model_forward_rows(struct model *m, const struct model_slot *s, const struct model_rows *r,
                        const uint32_t *tokens, struct model_stats *stats);
/* Embeds and runs all layers; leaves x_final. stats may be NULL. */
void model_forward(struct model *m, const struct model_slot *s, const struct model_batch *b,
                   struct model_stats *stats);
/* Behind the forward pass of M rows that trains experts: their routing summed over processes (hook
 * sum_routing). Returns the balancing loss over all of them. */
double model_sum_routing(struct model *m, const struct model_slot *s, int64_t M);
/* From the gradient of x_final in scratch.da, or of the last h_out in g->d_out, to all gradients but
 * the head's. */
void model_backward(struct model *m, const struct model_slot *s, const struct model_batch *b,
                    const struct model_stage_grad *g);

#endif
