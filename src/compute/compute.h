/* compute.h: the arithmetic under a transformer: linear layers, attention, norms, routing, losses
 * and optimiser updates on plain arrays, on any CPU, over all threads.
 *
 * One context fixes the number format of activations (float or bfloat16, "act" below) and the
 * table of kernels, chosen for this CPU when the program runs. Every operation cuts its work into
 * tasks by shape alone and never by the number of threads, and sums partial results in a fixed
 * order: any result is the same, bit for bit, for any number of threads.
 *
 * Letters: M rows (tokens of a microbatch, B*T), D model width, F hidden width, E experts, V
 * vocabulary, H query heads, K key/value heads, h head width. Arrays are dense and row major
 * unless a leading dimension ("ld", in elements) is given. Accumulation is always fp32.
 *
 * No operation allocates after it has run once with the largest shapes it will see. */
#ifndef COLOSSUS_COMPUTE_H
#define COLOSSUS_COMPUTE_H

#include <string.h>

#include "base/base.h"

typedef uint16_t bf16_t; /* upper half of an IEEE float */

enum compute_dtype { COMPUTE_F32, COMPUTE_BF16 };
static inline size_t compute_dtype_size(enum compute_dtype t)
{
    return t == COMPUTE_F32 ? 4 : 2;
}

/* Backends in the order they are tried by COMPUTE_AUTO (last first). REFERENCE is the readable C
 * of compute/reference/, kept for ever as the definition the others are tested against. */
/* CUDA is an NVIDIA GPU by its driver; AUTO does not take it: no GPU has run these kernels yet. */
enum compute_backend {
    COMPUTE_AUTO,
    COMPUTE_REFERENCE,
    COMPUTE_AVX2,
    COMPUTE_AVX512,
    COMPUTE_CUDA
};

struct compute_options {
    enum compute_dtype dtype;     /* of activations and of the weights' compute copies */
    enum compute_backend backend; /* one this CPU lacks is an error */
    struct pool *pool;            /* NULL: one thread */
    /* Memory of compute_alloc can be read and written by operations only, as on a device with memory
     * of its own; everybody else's access ends the program. For tests, which so prove that nobody does. */
    bool closed;
};
typedef struct compute compute_t;

int compute_new(const struct compute_options *o, compute_t **out, struct error *e);
void compute_free(compute_t *c);
enum compute_dtype compute_act_dtype(const compute_t *c);
const char *compute_backend_name(const compute_t *c); /* "avx512 + oneDNN (amx-bf16)" */
/* Whether there are instructions for bf16 (AVX512-BF16 or AMX), with which single rows, whose time is
 * that of reading the weights, take half as long as in fp32: answering asks. */
bool compute_has_bf16(void);
/* Whether large products of bf16 are faster than those of fp32: training asks. */
bool compute_has_fast_bf16(void);
struct pool *compute_pool(const compute_t *c);
size_t compute_scratch_bytes(const compute_t *c); /* held by the context itself */

/* ------------------------------------------------------------------ memory
 * Arrays that operations read and write lie in memory of the context's device. On a CPU that is memory
 * like any other; elsewhere the host cannot read it. What an operation takes from the host is said to
 * be the host's. */

/* Zeros, at a multiple of 64 bytes; NULL: there is no memory. */
void *compute_alloc(compute_t *c, size_t bytes);
/* With the same number of bytes; NULL is allowed. */
void compute_release(compute_t *c, void *memory, size_t bytes);
/* From the host to the device, and back. Both are done when they return. */
void compute_upload(compute_t *c, void *to, const void *from, size_t bytes);
void compute_download(compute_t *c, void *to, const void *from, size_t bytes);
/* Within the device; the two may overlap. */
void compute_copy(compute_t *c, void *to, const void *from, size_t bytes);
void compute_clear(compute_t *c, void *to, size_t bytes);
/* Whether the host may give operations its own memory and read what they leave there. */
bool compute_is_host(const compute_t *c);

/* ------------------------------------------------------------------ conversion */

static inline float bf16_load(bf16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* To nearest, ties to even; a NaN stays one (its quiet bit is set so that cutting the lower half
 * cannot make an infinity of it). */
static inline bf16_t bf16_store(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (bf16_t)((bits >> 16) | 0x40u);
    return (bf16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/* IEEE binary16: 1 sign, 5 exponent, 10 fraction bits. A subnormal is fraction * 2^-24. */
static inline float half_load(uint16_t x)
{
    uint32_t sign = (uint32_t)(x & 0x8000) << 16, exponent = x >> 10 & 31, fraction = x & 1023;
    uint32_t bits = sign | (exponent + 112) << 23 | fraction << 13;
    float f;
    if (exponent == 0) {
        f = (float)fraction * 0x1p-24f;
        return sign ? -f : f;
    }
    if (exponent == 31) bits = sign | 0x7f800000u | fraction << 13;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* y act [n] = x. */
void compute_to_act(compute_t *c, const float *x, size_t n, void *y);

/* ------------------------------------------------------------------ linear layers
 * Y[r, :] = X[r, :] . W^T with W [out, in], for one weight or for a group of experts each with its
 * own range of rows. Several weights that read the same X (query, key, value; gate, up) are parts
 * of one linear: their outputs lie side by side in Y, and one product gives dX.
 *
 * For training a layer has fp32 masters; the compute copies of the weights (bf16 and/or repacked,
 * for both directions) are made by compute_linear_update and must be refreshed after the masters
 * changed. Without masters a layer is for inference: it holds the weights once, in the activations'
 * format, they come in by compute_linear_put, and there is no backward pass. Then a row of Y depends
 * on its row of X alone, bit for bit: not on how many rows there are, nor on its place among them. */

/* For inference a part's weights may be whole numbers in blocks, as files of quantised models have
 * them, and stay so: w = scale * (code - zero) + least. A scale and a least value belong to a block of
 * 32 codes, or of 16 where codes have 6 bits. They are halves (IEEE binary16), or, where `shared`, bytes
 * times a half that 256 codes share: scale = half * signed byte, least = -(half * byte).
 *
 * A product with them rounds each 32 numbers of X to 16 bits with a scale of their own (an error of
 * 2^-16 of the largest; bfloat16's is 2^-9 of each), adds up the whole numbers of a block exactly, and
 * the blocks in their order in fp32, a multiply-add for each. So its bits are the same on every
 * backend. */
struct compute_codes {
    int bits;    /* of a code: 4, 5, 6 or 8; 0: weights are in the activations' format */
    int zero;    /* is taken off each code */
    bool least;  /* there are least values; without, these are 0 */
    bool shared; /* the width of X is a multiple of 256 then, otherwise of 32 */
};
static inline int compute_codes_block(const struct compute_codes *f)
{
    return f->bits == 6 ? 16 : 32;
}

#define COMPUTE_MAX_PARTS 3
#define COMPUTE_ROW_ALIGN 32 /* expert row ranges begin at multiples of this */

struct compute_linear_desc {
    int groups;                                    /* experts; 1: an ordinary layer */
    int64_t in;                                    /* width of X */
    int parts;                                     /* 1..3 */
    int64_t out[COMPUTE_MAX_PARTS];                /* rows of each part's weight */
    const float *master[COMPUTE_MAX_PARTS];        /* [groups, out[p], in]; all NULL: inference */
    float *grad[COMPUTE_MAX_PARTS];                /* the same shapes; NULL where never trained */
    struct compute_codes codes[COMPUTE_MAX_PARTS]; /* inference; of all parts, or of none */
    int64_t max_rows;                              /* largest number of rows in a call */
    void
        *memory; /* inference: where the weights are held, compute_linear_bytes of it, the caller's,
                     at a multiple of 64 bytes */
};
typedef struct compute_linear compute_linear_t;

/* Bytes of the compute copy, or of the only one, for the memory plan. */
size_t compute_linear_bytes(const compute_t *c, const struct compute_linear_desc *d);
/* Keeps the pointers; all products it will need are prepared here. The weights come in afterwards, by
 * compute_linear_update or compute_linear_put. */
compute_linear_t *compute_linear_new(compute_t *c, const struct compute_linear_desc *d);
void compute_linear_free(compute_linear_t *l);
void compute_linear_update(compute_linear_t *l);
/* Inference: rows [first, first + n) of a part's weight of a group, w [n, in], take their place. */
struct compute_linear_rows {
    int group, part;
    int64_t first, n;
    const float *w;
};
void compute_linear_put(compute_linear_t *l, const struct compute_linear_rows *r);
/* The same of weights in codes, by their parts. Steps are there where the format's halves are shared,
 * least values where it has them. */
struct compute_linear_codes {
    int group, part;
    int64_t first, n;
    const uint8_t *codes;                     /* [n, in] */
    const uint16_t *scales, *leasts;          /* halves [n, in / block], shared: [n, in / 256] */
    const uint8_t *scale_steps, *least_steps; /* [n, in / block]; the first are signed */
};
/* NULL: it holds none. */
const struct compute_codes *compute_linear_form(const compute_linear_t *l, int part);
void compute_linear_put_codes(compute_linear_t *l, const struct compute_linear_codes *r);

/* Row ranges. Of one group without offsets it is rows [0, n) of X and Y. Else group g has rows
 * [offset[g], offset[g + 1]), of which those behind its true count hold zeros; for training these are
 * multiples of COMPUTE_ROW_ALIGN. How many rows that is the host need not know, but that they are not
 * more than n. */
struct compute_rows {
    const int32_t *offset; /* [groups + 1], or NULL */
    int64_t n;
};
/* Y [rows, sum out] of y_dtype; X act [rows, in]. */
void compute_linear_forward(compute_linear_t *l, struct compute_rows rows, const void *X, void *Y,
                            enum compute_dtype y_dtype);
/* dX [rows, in] of dx_dtype = dY . W; dY act [rows, sum out]. */
void compute_linear_backward_input(compute_linear_t *l, struct compute_rows rows, const void *dY,
                                   void *dX, enum compute_dtype dx_dtype);
/* grad[p] (+)= dY_p^T . X; accumulate false overwrites (with zeros for a group without rows). */
void compute_linear_backward_weight(compute_linear_t *l, struct compute_rows rows, const void *dY,
                                    const void *X, bool accumulate);

/* General product for optimisers: C[M, N] = alpha * op(A) . op(B) + beta * C. Leading dimensions
 * are those of the arrays as stored. */
struct compute_matmul {
    bool transpose_a, transpose_b;
    int64_t M, N, K, lda, ldb, ldc;
    float alpha, beta;          /* beta 0: C is not read */
    enum compute_dtype in, out; /* of A and B; of C: compute_matmul gives fp32 only */
    const void *A, *B;
    void *C;
};
void compute_matmul(compute_t *c, const struct compute_matmul *m);
/* The same where the product is symmetric, M = N and beta = 0: some of it is computed and the rest mirrored
 * (compute_symmetric.c). */
void compute_matmul_symmetric(compute_t *c, const struct compute_matmul *m);
/* FLOPs of one of Muon's iterations for a matrix [out, in], with symmetric products. */
double compute_newton_flops(double out, double in);

/* ------------------------------------------------------------------ norms and residual
 * rms(x; g) = g * x / sqrt(mean(x^2) + eps) per row (Zhang & Sennrich 2019), in fp32. */

/* y act [M, D] = rms(x; g), x fp32 [M, D], g [D]; rstd [M] for the backward pass (NULL: not
 * wanted). */
struct compute_norm {
    int64_t M, D;
    float eps;
    const float *x, *g;
    void *y;
    float *rstd;
};
void compute_rmsnorm(compute_t *c, const struct compute_norm *n);
/* Its gradients. dy act [M, D] gives dx fp32 [M, D], which is added to where `add`, and dg [D],
 * which is added to where `accumulate`; both are overwritten otherwise. Reads x, g and rstd of the
 * norm. */
struct compute_norm_grad {
    const void *dy;
    float *dx, *dg;
    bool add, accumulate;
};
void compute_rmsnorm_backward(compute_t *c, const struct compute_norm *n,
                              const struct compute_norm_grad *d);
/* The seam between two sub-layers, in one pass over memory:
 *   h_out = h + rms(y; g_post)      h, h_out fp32 [M, D] (may be the same array), y act [M, D]
 *   a     = rms(h_out; g_next)      act [M, D]
 * Without a the second line is left out; it is then somebody else's compute_rmsnorm of h_out, whose
 * numbers are the same bits. Forward only: without g_post h_out = h + scale * y, and without g_next
 * a is h_out as it stands. */
struct compute_seam {
    int64_t M, D;
    float eps;
    const float *h;
    const void *y;
    const float *g_post, *g_next;
    float *h_out;
    void *a;
    float *rstd_post, *rstd_next; /* [M] each */
    float scale;                  /* of y where there is no g_post */
};
void compute_seam_forward(compute_t *c, const struct compute_seam *s);
/* Backward of the seam. dh fp32 [M, D] is the gradient of h_out on entry from the layers above and
 * of h on return; da act is the gradient of a; dy act [M, D] comes out; dg_post and dg_next [D]
 * are added to (overwritten when accumulate is false). s->h_out is needed, s->h and s->a are not.
 * Without da there is no second norm; without dy only the second norm's part is done, which leaves
 * dh as the gradient of h_out: the two calls together give the bits of one. */
struct compute_seam_grad {
    const void *da;
    float *dh;
    void *dy;
    float *dg_post, *dg_next;
    bool accumulate;
};
void compute_seam_backward(compute_t *c, const struct compute_seam *s,
                           const struct compute_seam_grad *d);

/* Heads normalised in place, forward only: x act, row r at r * ld, each of n_heads heads of width h
 * becomes rms(head; g) with g [h] (of queries and keys: Henry et al. 2020). */
struct compute_head_norm {
    int64_t M, n_heads, h, ld;
    float eps;
    const float *g;
    void *x;
};
void compute_head_norm(compute_t *c, const struct compute_head_norm *n);
/* x[r, i] += b[i] in place, forward only: x act, row r at r * ld, i < n. */
struct compute_bias {
    int64_t M, n, ld;
    const float *b;
    void *x;
};
void compute_bias(compute_t *c, const struct compute_bias *b);

/* ------------------------------------------------------------------ attention
 * Grouped-query, causal, with Grok's logit cap; scores are never stored for a whole sequence.
 * For query t and key u <= t of the same document, with x = multiplier * q.k:
 *   s = cap * tanh(x / cap)  (cap 0: s = x);  s *= log2(t) / log2(L) where L > 0 and t > L
 *   o = softmax(s) . v       (the temperature is Grok-2's, research: grok.md 1.5) */
struct compute_attention {
    int64_t B, T, H, K, h; /* H a multiple of K */
    int64_t ld;            /* of q, k, v rows, in elements */
    const void *q, *k, *v; /* act; row b*T+t; head i at column i*h */
    int64_t ld_out;
    void *out;  /* act [B*T, H*h] */
    float *lse; /* [B, H, T] log of the softmax sum; NULL: forward only */
    float multiplier, cap;
    int64_t temperature_len;  /* L; 0: off */
    const int32_t *doc_start; /* [B, T] first key position a query may see; NULL: 0 */
};
void compute_attention_forward(compute_t *c, const struct compute_attention *a);
/* dout act [B*T, H*h] (ld_out); dq, dk, dv act with leading dimension ld, overwritten. */
struct compute_attention_grad {
    const void *dout;
    void *dq, *dk, *dv;
};
void compute_attention_backward(compute_t *c, const struct compute_attention *a,
                                const struct compute_attention_grad *d);

/* The same over keys and values in pages, for decoding; forward only. A page holds COMPUTE_PAGE
 * positions of a sequence: page i of it the positions from i * COMPUTE_PAGE on. Of each layer it has
 * the keys [K, h, COMPUTE_PAGE], turned so that one query meets many keys at once, and the values
 * [K, COMPUTE_PAGE, h]; act, from byte `at` of the page on.
 *
 * A run is rows [row, row + n) of q and out, at positions pos .. pos + n - 1 of one sequence. What a
 * row gives depends, bit for bit, on its position and on the keys and values it sees: not on how
 * rows are put into runs and calls. */
#define COMPUTE_PAGE 32
#define COMPUTE_RUN  32 /* largest n */
struct compute_paged_run {
    int64_t row, n, pos;
    void *const *pages; /* of all positions before pos + n */
};
struct compute_paged {
    int64_t H, K, h;    /* H a multiple of K */
    int64_t ld, ld_out; /* of q, k, v rows; of out rows */
    const struct compute_paged_run *runs;
    int64_t n_runs;
    size_t at;
    const void *q, *k, *v; /* act; k and v are read by compute_paged_store only */
    void *out;             /* act [rows, H h] */
    float multiplier, cap;
    int64_t temperature_len; /* as in struct compute_attention */
    int64_t window; /* a query sees the last so many positions, its own among them; 0: all */
};
size_t compute_page_bytes(const compute_t *c, int64_t K, int64_t h);   /* of one layer */
void compute_paged_store(compute_t *c, const struct compute_paged *p); /* k and v to the pages */
void compute_paged_attention(compute_t *c, const struct compute_paged *p);

/* By which angles positions turn a head: pair i at position p by p * f_i, f_i = theta^(-2i/h) (Su et
 * al. 2021) or, for contexts that are `factor` times as long as those of the training:
 *   linear  f_i / factor (Chen et al. 2023, 2306.15595)
 *   Llama 3 f_i / factor where a turn takes more than original / low_freq positions, f_i where it
 *           takes fewer than original / high_freq, and between them a mixture (2407.21783)
 *   YaRN    f_i / factor below beta_slow turns in `original` positions, f_i above beta_fast, a linear
 *           ramp between the pairs where these lie; the turned head is multiplied by `size`
 *           (Peng et al. 2023, 2309.00071) */
enum compute_rope_scaling {
    COMPUTE_ROPE_NONE,
    COMPUTE_ROPE_LINEAR,
    COMPUTE_ROPE_LLAMA3,
    COMPUTE_ROPE_YARN
};
struct compute_rotation {
    int64_t h;
    double theta;
    enum compute_rope_scaling scaling; /* the rest counts where this says so */
    double factor, original, low_freq, high_freq, beta_fast, beta_slow, size;
    const float *divisors; /* [h / 2] of each f_i, as a file has them; NULL: none */
};
/* Row p: h/2 cosines, then h/2 sines of position p. */
size_t compute_rope_table_floats(int64_t max_positions, int64_t h);
void compute_rope_table(int64_t max_positions, const struct compute_rotation *r, float *table);
/* Rotates heads in place. x act, row r is at position[r] (NULL: r % T); n_heads heads of width h from
 * column 0. Pair i is elements i and i + h/2 (rotate-half form), or where `pairs` 2i and 2i + 1
 * (forward only); backward rotates by the opposite angle. */
struct compute_rope {
    int64_t M, T, n_heads, h, ld;
    const int32_t *position; /* [M] */
    const float *table;
    bool backward;
    void *x;
    bool pairs;
};
void compute_rope(compute_t *c, const struct compute_rope *p);

/* ------------------------------------------------------------------ gated unit
 * gu act [M, 2F]: gate, then up. act[r, f] = w[r] * f(gate) * up; w NULL: 1. f is gelu_tanh, or,
 * forward only, silu(x) = x / (1 + exp(-x)) (Shazeer 2020). */
enum compute_activation { COMPUTE_GELU_TANH, COMPUTE_SILU };
struct compute_glu {
    int64_t M, F;
    const void *gu;
    const float *w;
    void *act;
    enum compute_activation activation;
    const int32_t *used; /* how many of the rows there are, at most M; NULL: M */
};
void compute_glu_forward(compute_t *c, const struct compute_glu *g);
/* d_act act [M, F] -> dgu act [M, 2F] (may be gu itself); also gives g->act again (for the weight
 * gradient of the product behind it) and dw [M] (NULL: not wanted). */
struct compute_glu_grad {
    const void *d_act;
    void *dgu;
    float *dw;
};
void compute_glu_backward(compute_t *c, const struct compute_glu *g,
                          const struct compute_glu_grad *d);

/* ------------------------------------------------------------------ router and dispatch */

#define COMPUTE_MAX_EXPERTS 4096

struct compute_router {
    int64_t M, D, E; /* E up to COMPUTE_MAX_EXPERTS */
    int64_t k;
    const void *x;     /* act [M, D] */
    const float *W;    /* [E, D] fp32 */
    float cap;         /* logits become cap * tanh(x / cap); 0: off */
    const float *bias; /* [E] added to probs for the selection only (DeepSeek-V3, 2412.19437
                          2.1.2), or NULL */
    float *probs;      /* [M, E] softmax over all experts */
    float *lse;        /* [M] logsumexp of the (capped) logits */
    int32_t *top;      /* [M, k] experts, best first; ties to the smaller index */
    float *weight;     /* [M, k] their probabilities, not renormalised */
    bool renormalise;  /* forward only: the k weights of a token are divided by their sum */
};
void compute_router_forward(compute_t *c, const struct compute_router *r);
/* From the probs of a forward pass: moves bias [E], which need not be r's, to where each expert gets
 * its share of the M rows, k of E, within some percent; their mean is 0. Nothing where k is E. */
void compute_router_balance(compute_t *c, const struct compute_router *r, float *bias);
/* top and weight again, of the probs that are there and another bias. */
void compute_router_select(compute_t *c, const struct compute_router *r);
/* Gradients: d_weight [M, k] from the experts; aux_coef * E * sum_e f_e P_e and z_coef *
 * mean(lse^2), with f [E] the share of routed slots per expert (a constant). dx fp32 [M, D] is
 * overwritten, dW [E, D] is added to (accumulate) or overwritten. */
struct compute_router_grad {
    const float *d_weight, *f; /* f NULL: no share counts */
    float aux_coef, z_coef;
    float *dx, *dW;
    bool accumulate;
};
void compute_router_backward(compute_t *c, const struct compute_router *r,
                             const struct compute_router_grad *d);

/* Dropless dispatch by counting sort: slot s = token * k + j goes to row slot_row[s] of the
 * experts' input; rows of expert e are [offset[e], offset[e] + count[e]), padded to `align` rows
 * (COMPUTE_ROW_ALIGN for training, 1 for inference); row_token is the token of a row, -1 for
 * padding, and row_slot its slot. offset [E + 1], count [E], slot_row [M * k], row_token and row_slot
 * [compute_dispatch_rows]. row_weight gives each row its slot's weight, padding 0. */
/* Upper bound of offset[E]: every expert with rows wastes at most align - 1 of them. */
static inline int64_t compute_dispatch_rows(int64_t M, int64_t E, int64_t k, int64_t align)
{
    int64_t used = E < M * k ? E : M * k;
    return (M * k + used * (align - 1)) / align * align;
}
struct compute_dispatch {
    int64_t M, E, k, align;
    const int32_t *top; /* [M, k] */
    int32_t *offset, *count, *slot_row, *row_token, *row_slot;
    const float *weight; /* [M, k] */
    float *row_weight;   /* [compute_dispatch_rows], or NULL */
};
void compute_dispatch(compute_t *c, const struct compute_dispatch *d);
/* What a balancing loss, its gradient and the log are made of: of the M rows of a router. out [2E + 1]:
 * routed slots by expert (count), sums of probabilities by expert, and the sum of lse^2; each added up
 * in the order of the rows. */
struct compute_routed {
    int64_t M, E;
    const float *probs, *lse; /* [M, E], [M] */
    const int32_t *count;     /* [E] */
    double *out;
};
void compute_routed(compute_t *c, const struct compute_routed *r);
/* The way back from rows to slots: d_weight [M, k] = d_row[slot_row]; share [E] = count / (M k), NULL:
 * not wanted. */
struct compute_slots {
    int64_t M, E, k;
    const float *d_row;
    const int32_t *slot_row, *count;
    float *d_weight, *share;
};
void compute_slots(compute_t *c, const struct compute_slots *s);
/* y[r, :] = x[row_token[r], :], zeros for padding. act. */
struct compute_gather {
    int64_t rows, D;
    const int32_t *used; /* how many of the rows there are, at most `rows`; NULL: all */
    const int32_t *row_token;
    const void *x;
    void *y;
};
void compute_gather(compute_t *c, const struct compute_gather *g);
/* out[m, :] = scale * (sum_j y[slot_row[m*k + j], :] + a[m, :] + b[m, :]) in this order; a act and b
 * fp32, either may be NULL; out act. */
struct compute_combine {
    int64_t M, D, k;
    const int32_t *slot_row; /* [M, k] */
    const void *y, *a;
    const float *b;
    float scale;
    void *out;
};
void compute_combine(compute_t *c, const struct compute_combine *m);
/* y = scale * x, act (for the dense branch's share of a gradient). */
void compute_scale(compute_t *c, int64_t n, float scale, const void *x, void *y);

/* ------------------------------------------------------------------ embedding and loss */

struct compute_embed {
    int64_t M, D;
    const uint32_t *ids; /* [M] rows of the table */
    float scale;
    int64_t first, count; /* rows of it that are here; count 0: all, from 0 on */
};
/* Which row of the table that is here token m has; -1: it is elsewhere. */
static inline int64_t compute_embed_row(const struct compute_embed *e, int64_t m)
{
    int64_t at = (int64_t)e->ids[m] - e->first;
    return e->count == 0 || (at >= 0 && at < e->count) ? at : -1;
}
/* h fp32 [M, D] = scale * table[ids[m]]; zeros where that row is elsewhere. */
void compute_embed(compute_t *c, const struct compute_embed *e, const float *table, float *h);
/* The same from the weights that a linear layer for inference holds ([V, D], groups and parts 1). */
void compute_linear_embed(compute_linear_t *l, const struct compute_embed *e, float *h);
/* d_table[ids[m]] += scale * dh[m], dh fp32 [M, D]; of the rows that are here. */
void compute_embed_backward(compute_t *c, const struct compute_embed *e, const float *dh,
                            float *d_table);
/* Softmax cross entropy of rows of raw logits z fp32 [M, V]: x = multiplier * z, and cap * tanh(x /
 * cap) where cap > 0. nll [M] = -log p(target); where d_logits (act [M, V]) is not NULL it gets
 * d_scale * d nll / d z.
 *
 * Where logits are divided over processes, in two steps: COMPUTE_LOSS_SUM gives lse [M], the logarithm of
 * the sum of exponentials of the logits that are here, and nll [M], minus the target's logit where it
 * is here, else 0. COMPUTE_LOSS_GRADIENT takes lse over all processes and gives d_logits alone. */
enum compute_loss_step { COMPUTE_LOSS_WHOLE, COMPUTE_LOSS_SUM, COMPUTE_LOSS_GRADIENT };
struct compute_loss {
    int64_t M, V;
    const float *z;
    const uint32_t *targets; /* [M] */
    float multiplier, cap, d_scale;
    float *nll;
    void *d_logits;
    enum compute_loss_step step;
    int64_t first; /* id of the first logit that is here */
    float *lse;    /* [M] of the two steps */
};
/* Which of the logits that are here is row m's target; -1: it is elsewhere. */
static inline int64_t compute_loss_target(const struct compute_loss *l, int64_t m)
{
    int64_t at = (int64_t)l->targets[m] - l->first;
    return at >= 0 && at < l->V ? at : -1;
}
void compute_cross_entropy(compute_t *c, const struct compute_loss *l);
/* Final logits in place: multiplier and cap as above. */
void compute_logits(compute_t *c, int64_t M, int64_t V, float multiplier, float cap, float *z);

/* ------------------------------------------------------------------ reductions and optimisers */

double compute_sum_squares(compute_t *c, const float *x, size_t n); /* fixed tree, in double */
bool compute_all_finite(compute_t *c, const float *x, size_t n);

/* AdamW with decoupled weight decay (Loshchilov & Hutter 2019), bias correction by step (from 1):
 *   g' = grad_scale * g;  m, v as usual;  p -= lr * (mh / (sqrt(vh) + eps) + decay * p) */
struct compute_adamw {
    float lr, beta1, beta2, eps, decay, grad_scale;
    int64_t step;
    size_t n; /* elements of each array */
    float *p;
    const float *g;
    float *m, *v;
};
void compute_adamw(compute_t *c, const struct compute_adamw *o);
/* m = beta * m + grad_scale * g; u = nesterov ? grad_scale * g + beta * m : m. */
struct compute_momentum {
    float beta, grad_scale;
    bool nesterov;
    size_t n;
    const float *g;
    float *m, *u;
};
void compute_momentum(compute_t *c, const struct compute_momentum *o);
/* y = a * x + b * y */
void compute_axpby(compute_t *c, size_t n, float a, const float *x, float b, float *y);

/* Peak of this machine's matrix products as the context runs them, FLOP/s: best of several short
 * runs of compute_matmul in the activations' format over all threads. Takes about `seconds`. */
double compute_measure_peak(compute_t *c, double seconds);

/* ------------------------------------------------------------------ the machine
 * What the operations of a step cost here, for `colossus bench-machine` (compute_machine.c). */

enum compute_machine_op {
    COMPUTE_OP_SEAM_F, /* seconds per element of [M, D] */
    COMPUTE_OP_SEAM_B,
    COMPUTE_OP_GLU_F, /* per element of [M, F] */
    COMPUTE_OP_GLU_B,
    COMPUTE_OP_ROPE,
    COMPUTE_OP_ROUTER,  /* per M D E, forward and backward together */
    COMPUTE_OP_GATHER,  /* per element of [rows, D] */
    COMPUTE_OP_COMBINE, /* per M D k */
    COMPUTE_OP_LOSS,    /* per M V */
    COMPUTE_OP_ADAMW,   /* per parameter, as are the next two */
    COMPUTE_OP_REFRESH,
    COMPUTE_OP_SQUARES,
    COMPUTE_OP_NEWTON,          /* per FLOP, a matrix on each thread */
    COMPUTE_OP_ATTENTION_F_256, /* per M T H h at that T */
    COMPUTE_OP_ATTENTION_B_256,
    COMPUTE_OP_ATTENTION_F_1024,
    COMPUTE_OP_ATTENTION_B_1024,
    COMPUTE_N_OPS
};
extern const char *const compute_machine_op_names[];
#define COMPUTE_MACHINE_PRODUCTS 32
struct compute_machine_product {
    int64_t rows, in, out;
    int groups;
    double s[3]; /* forward, for the input, for the weight */
};
struct compute_machine {
    enum compute_dtype dtype;
    int threads;
    double peak_flops, copy_bytes_per_s;
    double linear_flops; /* of the fastest layer measured: what a well-shaped model can reach */
    struct compute_machine_product products[COMPUTE_MACHINE_PRODUCTS];
    size_t n_products;
    double op_s[COMPUTE_N_OPS];
    double
        spread; /* of the rounds: how far the middle half of them lie apart, over their median; the
                    * median of all operations. 0: of one round */
};
/* Takes about two seconds a round; the medians over the rounds (1 to 15). show_progress: on standard
 * error. */
int compute_machine_measure(compute_t *c, int rounds, bool show_progress,
                            struct compute_machine *out, struct error *e);

#endif
