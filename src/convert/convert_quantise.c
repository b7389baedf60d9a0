/* convert_quantise.c: numbers as GGUF's formats hold them.
 *
 * A block of 32 or 256 numbers becomes small whole numbers and the scales that turn them back, so that
 * the sum of the squared errors is small. ggml's quantisers take the largest number of a block for its
 * scale, or weigh the errors by the size of the numbers; here scales are searched for: from several
 * beginnings each time the nearest whole numbers and the best scale for these (least squares), and the
 * best pair is kept, as it is when the scale has become a half. ggml's own choice is among the
 * beginnings, so the error of a block of 32 is never larger than that of ggml's.
 *
 * In the formats of 256 the scales of 16 or 32 numbers are whole numbers themselves, steps of one or two
 * halves: they are found for real scales first, and then each step is moved to where the error, with
 * whole numbers chosen anew, is least. */
#include "convert/convert_internal.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------ halves */

/* To the nearest, of two equally near the even one; beyond the largest half it is infinite. */
static uint16_t half_of(float x)
{
    uint32_t bits, rest, value;
    memcpy(&bits, &x, sizeof(bits));
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    int exponent = (int)(bits >> 23 & 255) - 112;
    uint32_t fraction = bits & 0x7fffff;
    if (exponent >= 31)
        return (uint16_t)(sign | 0x7c00 | (exponent == 143 && fraction ? 0x200 : 0));
    int shift = 13;
    value = (uint32_t)exponent << 10;
    if (exponent <= 0) { /* a subnormal: fraction * 2^-24 */
        if (exponent < -10) return sign;
        fraction |= 0x800000;
        shift += 1 - exponent;
        value = 0;
    }
    rest = fraction & ((1u << shift) - 1);
    value += fraction >> shift;
    value += rest > 1u << (shift - 1) || (rest == 1u << (shift - 1) && (value & 1));
    return (uint16_t)(sign | value);
}

/* The half that a file holds of a scale, and what that means; false: it has none. */
static bool round_half(float x, uint16_t *half, float *value)
{
    *half = half_of(x);
    *value = half_load(*half);
    return isfinite(*value);
}

static void put_half(uint8_t *p, uint16_t half)
{
    p[0] = (uint8_t)half;
    p[1] = (uint8_t)(half >> 8);
}

/* ------------------------------------------------------------------ one scale */

/* Whole numbers of one scale: from `least` to `most`. */
struct code_range {
    int least, most;
};

static float clamp(float x, float least, float most)
{
    return x < least ? least : x > most ? most : x;
}

/* Nearest whole numbers of x / scale in q; returns the sum of squared errors. */
static float fit_codes(const float *x, int n, float scale, struct code_range r, float *q)
{
    float inverse = scale != 0 ? 1 / scale : 0, sum = 0;
    if (!isfinite(inverse)) inverse = 0;
    for (int i = 0; i < n; i++) {
        q[i] = clamp(rintf(x[i] * inverse), (float)r.least, (float)r.most);
        float error = x[i] - scale * q[i];
        sum += error * error;
    }
    return sum;
}

/* The best scale for these whole numbers; 0: there is none. */
static float fit_scale(const float *x, int n, const float *q)
{
    float xq = 0, qq = 0;
    for (int i = 0; i < n; i++) {
        xq += x[i] * q[i];
        qq += q[i] * q[i];
    }
    return qq > 0 ? xq / qq : 0;
}

/* The number furthest from 0, with its sign. */
static float furthest(const float *x, int n)
{
    float most = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(most)) most = x[i];
    return most;
}

/* Takes a scale where it is better as a half. */
struct best {
    float error, value;
    uint16_t half;
};

static void try_half(const float *x, int n, float scale, struct code_range r, struct best *b)
{
    float q[32], value;
    uint16_t half;
    if (!round_half(scale, &half, &value)) return;
    float error = fit_codes(x, n, value, r, q);
    if (error < b->error) *b = (struct best){error, value, half};
}

#define SPREAD 12 /* beginnings on each side of the largest number's own scale */

/* The scale, as a half, of n <= 32 numbers. Beginnings are those with which the furthest number becomes
 * the end of the range, or up to 1.2 more or less; each is followed by two rounds of least squares. */
static struct best search_half(const float *x, int n, struct code_range r)
{
    float q[32], most = furthest(x, n);
    struct best b = {INFINITY, 0, 0};
    try_half(x, n, 0, r, &b);
    if (most == 0) return b;
    for (int side = 0; side < 2; side++)
        for (int i = -SPREAD; i <= SPREAD; i++) {
            float scale = most / ((float)(side ? r.most : r.least) + 0.1f * (float)i);
            try_half(x, n, scale, r, &b);
            for (int round = 0; round < 2; round++) {
                fit_codes(x, n, scale, r, q);
                scale = fit_scale(x, n, q);
                try_half(x, n, scale, r, &b);
            }
        }
    return b;
}

static void q8_0(const float *x, uint8_t *out)
{
    const struct code_range r = {-127, 127};
    float q[32], most = fabsf(furthest(x, 32));
    struct best b = {INFINITY, 0, 0};
    try_half(x, 32, 0, r, &b);
    for (int i = -8; i <= 8; i++) {
        float scale = most / (127 + 0.25f * (float)i);
        try_half(x, 32, scale, r, &b);
        fit_codes(x, 32, scale, r, q);
        try_half(x, 32, fit_scale(x, 32, q), r, &b);
    }
    fit_codes(x, 32, b.value, r, q);
    put_half(out, b.half);
    for (int i = 0; i < 32; i++)
        out[2 + i] = (uint8_t)(int8_t)q[i];
}

/* d, 16 bytes: low halves are numbers 0 to 15, high ones 16 to 31. */
static void q4_0(const float *x, uint8_t *out)
{
    const struct code_range r = {-8, 7};
    float q[32];
    struct best b = search_half(x, 32, r);
    fit_codes(x, 32, b.value, r, q);
    put_half(out, b.half);
    for (int i = 0; i < 16; i++)
        out[2 + i] = (uint8_t)(((int)q[i] + 8) | ((int)q[i + 16] + 8) << 4);
}

/* d, 32 fifth bits, 16 bytes */
static void q5_0(const float *x, uint8_t *out)
{
    const struct code_range r = {-16, 15};
    float q[32];
    uint32_t high = 0;
    struct best b = search_half(x, 32, r);
    fit_codes(x, 32, b.value, r, q);
    put_half(out, b.half);
    for (int i = 0; i < 16; i++) {
        int low = (int)q[i] + 16, up = (int)q[i + 16] + 16;
        high |= (uint32_t)(low >> 4) << i | (uint32_t)(up >> 4) << (i + 16);
        out[6 + i] = (uint8_t)((low & 15) | (up & 15) << 4);
    }
    for (int i = 0; i < 4; i++)
        out[2 + i] = (uint8_t)(high >> 8 * i);
}

/* ------------------------------------------------------------------ q6_k
 * 16 runs of 16 numbers, each with a signed step of one half. */

enum { Q6_RUNS = 16, Q6_RUN = 16 };

struct q6 {
    float d;
    uint16_t half;
    int step[Q6_RUNS];
    float q[256], error;
};

static const struct code_range q6_range = {-32, 31};

/* The best real scale of a run. */
static float search_scale(const float *x, int n, struct code_range r)
{
    float q[32], most = furthest(x, n), best = 0, least = INFINITY;
    if (most == 0) return 0;
    for (int i = -9; i <= 9; i++) {
        float scale = most / ((float)r.least + 0.1f * (float)i);
        for (int round = 0; round < 2; round++) {
            float error = fit_codes(x, n, scale, r, q);
            if (error < least) {
                least = error;
                best = scale;
            }
            scale = fit_scale(x, n, q);
        }
    }
    return best;
}

/* Steps near the run's own scale, or near those that there are, and the numbers for them. */
static void fit_q6(const float *x, const float *scales, struct q6 *b)
{
    float q[Q6_RUN];
    b->error = 0;
    for (int j = 0; j < Q6_RUNS; j++) {
        const float *run = x + j * Q6_RUN;
        int near = b->d != 0 ? (int)rintf(clamp(scales[j] / b->d, -128, 127)) : 0;
        float least = INFINITY;
        for (int step = MAX(near - 2, -128); step <= MIN(near + 2, 127); step++) {
            float error = fit_codes(run, Q6_RUN, b->d * (float)step, q6_range, q);
            if (error >= least) continue;
            least = error;
            b->step[j] = step;
            memcpy(b->q + j * Q6_RUN, q, sizeof(q));
        }
        b->error += least;
    }
}

/* The best half for steps and numbers as they are; 0: as it is. */
static float refit_q6(const float *x, const struct q6 *b)
{
    float xa = 0, aa = 0;
    for (int i = 0; i < 256; i++) {
        float a = (float)b->step[i / Q6_RUN] * b->q[i];
        xa += x[i] * a;
        aa += a * a;
    }
    return aa > 0 ? xa / aa : 0;
}

static void try_q6(const float *x, const float *scales, float d, struct q6 *best)
{
    struct q6 b;
    for (int round = 0; round < 2; round++) {
        if (!round_half(d, &b.half, &b.d)) return;
        fit_q6(x, scales, &b);
        if (b.error < best->error) *best = b;
        d = refit_q6(x, &b);
    }
}

static void q6_k(const float *x, uint8_t *out)
{
    float scales[Q6_RUNS], most;
    struct q6 b = {.error = INFINITY};
    for (int j = 0; j < Q6_RUNS; j++)
        scales[j] = search_scale(x + j * Q6_RUN, Q6_RUN, q6_range);
    most = furthest(scales, Q6_RUNS);
    try_q6(x, scales, 0, &b);
    try_q6(x, scales, most / -128, &b);
    try_q6(x, scales, most / 127, &b);
    memset(out, 0, 210);
    for (int n = 0; n < 2; n++)
        for (int i = 0; i < 32; i++)
            for (int k = 0; k < 4; k++) {
                int q = (int)b.q[128 * n + i + 32 * k] + 32;
                out[64 * n + i + 32 * (k % 2)] |= (uint8_t)((q & 15) << (k < 2 ? 0 : 4));
                out[128 + 32 * n + i] |= (uint8_t)(q >> 4 << 2 * k);
            }
    for (int j = 0; j < Q6_RUNS; j++)
        out[192 + j] = (uint8_t)(int8_t)b.step[j];
    put_half(out + 208, b.half);
}

/* ------------------------------------------------------------------ q4_k
 * Eight runs of 32 numbers, each scale * q - least with q from 0 to 15; scales and leasts are steps up to
 * 63 of a half each. */

enum { Q4_RUNS = 8, Q4_RUN = 32 };

struct q4 {
    float d, m;
    uint16_t d_half, m_half;
    int scale[Q4_RUNS], least[Q4_RUNS];
    float q[256], error;
};

/* Nearest numbers of (x + least) / scale; the sum of squared errors. */
static float fit_above(const float *x, float scale, float least, float *q)
{
    float inverse = scale != 0 ? 1 / scale : 0, sum = 0;
    if (!isfinite(inverse)) inverse = 0;
    for (int i = 0; i < Q4_RUN; i++) {
        q[i] = clamp(rintf((x[i] + least) * inverse), 0, 15);
        float error = x[i] - (scale * q[i] - least);
        sum += error * error;
    }
    return sum;
}

/* Scale and least that are best for these numbers, by weights; a least below 0 there is not. */
static void fit_line(const float *x, const float *w, const float *q, float *scale, float *least)
{
    float sw = 0, sq = 0, sqq = 0, sx = 0, sxq = 0;
    for (int i = 0; i < Q4_RUN; i++) {
        sw += w[i];
        sq += w[i] * q[i];
        sqq += w[i] * q[i] * q[i];
        sx += w[i] * x[i];
        sxq += w[i] * x[i] * q[i];
    }
    float det = sw * sqq - sq * sq;
    if (det <= 0) return;
    *scale = (sw * sxq - sq * sx) / det;
    *least = (sq * sxq - sqq * sx) / det;
    if (*least >= 0) return;
    *least = 0;
    *scale = sqq > 0 ? sxq / sqq : 0;
}

static float weighted_error(const float *x, const float *w, const float *q, float scale,
                            float least)
{
    float sum = 0;
    for (int i = 0; i < Q4_RUN; i++) {
        float error = x[i] - (scale * q[i] - least);
        sum += w[i] * error * error;
    }
    return sum;
}

/* The best real scale and least of a run, where an error counts by its weight. */
static void search_line(const float *x, const float *w, float *best_scale, float *best_least)
{
    float q[Q4_RUN], low = x[0], high = x[0], found = INFINITY;
    for (int i = 1; i < Q4_RUN; i++) {
        low = fminf(low, x[i]);
        high = fmaxf(high, x[i]);
    }
    low = fminf(low, 0);
    *best_scale = *best_least = 0;
    if (high <= low) {
        *best_least = -low;
        return;
    }
    for (int i = -10; i <= 10; i++) {
        float scale = (high - low) / (15 + 0.1f * (float)i), least = -low;
        for (int round = 0; round < 2; round++) {
            fit_above(x, scale, least, q);
            float error = weighted_error(x, w, q, scale, least);
            if (error < found) {
                found = error;
                *best_scale = scale;
                *best_least = least;
            }
            fit_line(x, w, q, &scale, &least);
        }
    }
}

/* Steps near the run's scale and least, and the numbers for them. */
static void fit_q4(const float *x, const float *scales, const float *leasts, struct q4 *b)
{
    float q[Q4_RUN];
    b->error = 0;
    for (int j = 0; j < Q4_RUNS; j++) {
        int s = b->d != 0 ? (int)rintf(clamp(scales[j] / b->d, 0, 63)) : 0, found = 0;
        int m = b->m != 0 ? (int)rintf(clamp(leasts[j] / b->m, 0, 63)) : 0;
        float error = INFINITY;
        for (int at = 0; at < 9; at++) {
            int step = s + at / 3 - 1, least = m + at % 3 - 1;
            if (step < 0 || step > 63 || least < 0 || least > 63) continue;
            float e = fit_above(x + j * Q4_RUN, b->d * (float)step, b->m * (float)least, q);
            if (found++ && e >= error) continue;
            error = e;
            b->scale[j] = step;
            b->least[j] = least;
            memcpy(b->q + j * Q4_RUN, q, sizeof(q));
        }
        b->error += error;
    }
}

/* The best two halves for steps and numbers as they are. */
static void refit_q4(const float *x, const struct q4 *b, float *d, float *m)
{
    float aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;
    for (int i = 0; i < 256; i++) {
        float a = (float)b->scale[i / Q4_RUN] * b->q[i], l = -(float)b->least[i / Q4_RUN];
        aa += a * a;
        ab += a * l;
        bb += l * l;
        xa += x[i] * a;
        xb += x[i] * l;
    }
    float det = aa * bb - ab * ab;
    if (det > 1e-6f * aa * bb) {
        *d = (xa * bb - xb * ab) / det;
        *m = (xb * aa - xa * ab) / det;
    } else if (aa > 0) {
        *d = xa / aa;
    }
}

static void try_q4(const float *x, const float *scales, const float *leasts, struct q4 *best)
{
    struct q4 b;
    float d = fmaxf(furthest(scales, Q4_RUNS), 0) / 63, m = furthest(leasts, Q4_RUNS) / 63;
    for (int round = 0; round < 3; round++) {
        if (!round_half(d, &b.d_half, &b.d) || !round_half(m, &b.m_half, &b.m)) return;
        fit_q4(x, scales, leasts, &b);
        if (b.error < best->error) *best = b;
        refit_q4(x, &b, &d, &m);
    }
}

static void q4_k(const float *x, uint8_t *out)
{
    struct q4 b = {.error = INFINITY};
    for (int kind = 0; kind < 2; kind++) { /* all errors alike; and as ggml weighs them */
        float scales[Q4_RUNS], leasts[Q4_RUNS], w[Q4_RUN];
        for (int j = 0; j < Q4_RUNS; j++) {
            const float *run = x + j * Q4_RUN;
            float squares = 0;
            for (int i = 0; i < Q4_RUN; i++)
                squares += run[i] * run[i];
            for (int i = 0; i < Q4_RUN; i++)
                w[i] = kind ? sqrtf(squares / Q4_RUN) + fabsf(run[i]) : 1;
            search_line(run, w, &scales[j], &leasts[j]);
        }
        try_q4(x, scales, leasts, &b);
    }
    memset(out, 0, 144);
    put_half(out, b.d_half);
    put_half(out + 2, b.m_half);
    for (int j = 0; j < Q4_RUNS; j++) {
        uint8_t *p = out + 4;
        if (j < 4) {
            p[j] |= (uint8_t)b.scale[j];
            p[j + 4] |= (uint8_t)b.least[j];
        } else {
            p[j + 4] = (uint8_t)((b.scale[j] & 15) | (b.least[j] & 15) << 4);
            p[j - 4] |= (uint8_t)(b.scale[j] >> 4 << 6);
            p[j] |= (uint8_t)(b.least[j] >> 4 << 6);
        }
        for (int i = 0; i < Q4_RUN; i++)
            out[16 + j / 2 * 32 + i] |= (uint8_t)((int)b.q[j * Q4_RUN + i] << (j % 2 ? 4 : 0));
    }
}

/* ------------------------------------------------------------------ plain numbers */

static void f32(const float *x, uint8_t *out)
{
    memcpy(out, x, sizeof(*x));
}

static void f16(const float *x, uint8_t *out)
{
    put_half(out, half_of(*x));
}

static void bf16(const float *x, uint8_t *out)
{
    put_half(out, bf16_store(*x));
}

static const struct {
    const char *name;
    void (*block)(const float *x, uint8_t *out);
} coders[] = {
    {"F32", f32},   {"F16", f16},   {"BF16", bf16}, {"Q8_0", q8_0},
    {"Q4_0", q4_0}, {"Q5_0", q5_0}, {"Q4_K", q4_k}, {"Q6_K", q6_k},
};

struct job {
    const struct gguf_format *f;
    void (*block)(const float *x, uint8_t *out);
    const float *x;
    uint8_t *out;
    size_t blocks, step;
};

static void encode_task(void *ctx, size_t task, int thread)
{
    const struct job *j = ctx;
    size_t end = MIN((task + 1) * j->step, j->blocks);
    (void)thread;
    for (size_t b = task * j->step; b < end; b++)
        j->block(j->x + b * j->f->block, j->out + b * j->f->bytes);
}

bool convert_encodes(const struct gguf_format *f)
{
    for (size_t i = 0; i < ARRAY_LEN(coders); i++)
        if (strcmp(coders[i].name, f->name) == 0) return true;
    return false;
}

void convert_encode(struct pool *pool, const struct gguf_format *f, const float *x, size_t count,
                    uint8_t *out)
{
    struct job j = {.f = f, .x = x, .out = out, .blocks = count / f->block};
    CHECK(count % f->block == 0);
    for (size_t i = 0; i < ARRAY_LEN(coders); i++)
        if (strcmp(coders[i].name, f->name) == 0) j.block = coders[i].block;
    CHECK_MSG(j.block != NULL, "numbers are not written as %s", f->name);
    j.step = MAX((size_t)4096 / f->block, (size_t)1);
    pool_run(pool, (j.blocks + j.step - 1) / j.step, encode_task, &j);
}
