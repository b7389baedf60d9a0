/* model_internal.h: what the files of src/model share: the sizes of a shard, the layers with their
 * weights, products and activations, and the order of the steps.
 *
 * Letters as in compute.h: M rows (B*T), D model width, H and K query and key heads held here, h
 * head width, E experts, k experts per token, F hidden width of an expert, Fd of the dense branch,
 * R rows of the experts' input (M*k and padding), V vocabulary. "act" is the compute context's
 * number format. Large arrays live in regions that are mapped once (model_plan.c). */
#ifndef COLOSSUS_MODEL_INTERNAL_H
#define COLOSSUS_MODEL_INTERNAL_H

#include "model/model.h"

/* Sizes of what this process holds. A model without experts has E = F = 0 and its layer in Fd; one
 * without a dense branch has Fd = 0; Grok-2 has both. */
struct model_dims {
    int64_t V, L, D, H, K, h, E, k, F, Fd;
};
void model_dims_init(const struct model_config *c, const struct model_shard *shard,
                     struct model_dims *d);

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
};

/* What the forward pass leaves for the backward pass. A model that does not train has one set,
 * shared by all layers. */
struct model_acts {
    void *x_attn;                           /* act [M, D] input of the attention, normalised */
    void *qkv;                              /* act [M, (H + 2K) h], rotated */
    void *o;                                /* act [M, H h] */
    float *lse;                             /* [B, H, T] */
    void *y_attn;                           /* act [M, D] */
    float *h_mid;                           /* [M, D] residual behind the attention */
    float *rstd_attn_post, *rstd_attn_next; /* [M] */
    void *x_ffn;                            /* act [M, D] */
    struct model_routing routing;
    void *x_rows;   /* act [R, D] the experts' input: x_ffn by row */
    void *gu;       /* act [R, 2F] */
    void *gu_dense; /* act [M, 2Fd] */
    void *y_ffn;    /* act [M, D] */
    float *h_out;   /* [M, D] residual behind the layer */
    float *rstd_ffn_post, *rstd_ffn_next;
};

struct model_layer {
    struct model_tensor attn_norm, attn_output_norm, ffn_norm, layer_output_norm, router;
    size_t first_param, n_params; /* rows of the parameter table */
    compute_linear_t *linears[LINEAR_COUNT];
    struct model_acts acts;
};

/* Used by one sub-layer at a time, forward and backward. */
struct model_scratch {
    void *y_rows;      /* act [R, D] their output, or its gradient, or that of their input */
    void *y_dense;     /* act [M, D] output of the dense branch, or gradient of its input */
    void *hidden;      /* act [max(R F, M Fd)] what the gated unit gives */
    void *d_hidden;    /* the same size; training only, as all below */
    float *dh;         /* [M, D] gradient of the residual */
    void *da, *dy;     /* act [M, D] gradients of a sub-layer's input and output */
    void *d_o;         /* act [M, H h] */
    void *d_qkv;       /* act [M, (H + 2K) h] */
    float *d_row;      /* [R] gradient of row_weight */
    float *d_weight;   /* [M, k] */
    float *share;      /* [E] share of the routed slots */
    float *d_router_x; /* [M, D] */
};

/* The head works on `rows` tokens at a time, so that [M, V] is never stored. */
struct model_head {
    compute_linear_t *linear;
    int64_t rows;
    float *logits;  /* [rows, V] */
    void *d_logits; /* act [rows, V] */
    float *nll;     /* [M] */
};

/* Each is one line of the memory table and one mapping. */
enum model_region_id {
    REGION_WEIGHTS,
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

struct model {
    struct model_config config;
    struct model_shard shard;
    struct model_hooks hooks;
    struct model_dims dims;
    compute_t *compute;
    int64_t B, T; /* largest microbatch */
    bool training;
    struct arena arena; /* layers and parameter table */
    struct param_table params;
    struct model_region regions[REGION_COUNT];

    float *weights, *gradients;
    float *router_bias; /* [L, E] */
    float *rope;        /* compute_rope_table of T positions */
    struct model_tensor embedding, output_norm;
    struct model_layer *layers;
    float *h0;     /* [M, D] embedded tokens */
    float *rstd0;  /* [M] of the first norm */
    void *x_final; /* act [M, D] normalised input of the head */
    struct model_scratch scratch;
    struct model_head head;
};

static inline int64_t model_qkv_width(const struct model *m)
{
    return (m->dims.H + 2 * m->dims.K) * m->dims.h;
}

/* Address of element i of an act array. */
static inline void *model_act_at(const struct model *m, void *x, int64_t i)
{
    return (uint8_t *)x + (size_t)i * compute_dtype_size(compute_act_dtype(m->compute));
}

/* 1 / sqrt(2) beside a dense branch, else 1: (dense + experts) / sqrt(2). */
float model_ffn_scale(const struct model *m);
/* The compute room's description of routing M rows x of layer l into r. */
struct compute_router model_router(const struct model *m, int64_t layer, int64_t M, const void *x,
                                   const struct model_routing *r);
/* The attention of layer l for a whole microbatch. */
struct compute_attention model_attention(const struct model *m, const struct model_batch *b,
                                         const struct model_acts *a);
/* The rotation of a whole microbatch's queries and keys, or of their gradients back. */
struct compute_rope model_rope(const struct model *m, const struct model_batch *b, bool backward,
                               void *qkv);
/* The norm of the embedded tokens, in front of layer 0. */
struct compute_norm model_first_norm(const struct model *m, int64_t M);
/* The seams of layer l: behind its attention, and behind its feed-forward. */
struct compute_seam model_seam_attn(const struct model *m, int64_t layer, int64_t M);
struct compute_seam model_seam_ffn(const struct model *m, int64_t layer, int64_t M);

/* A token beyond the vocabulary is the caller's mistake. */
void model_check_tokens(const struct model *m, const uint32_t *tokens, int64_t n);
/* Embeds and runs all layers; leaves x_final. s may be NULL. */
void model_forward(struct model *m, const struct model_batch *b, struct model_stats *s);
/* From the gradient of x_final in scratch.da to all gradients but the head's. */
void model_backward(struct model *m, const struct model_batch *b, double scale, bool first);

#endif
