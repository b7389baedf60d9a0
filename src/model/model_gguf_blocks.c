/* model_gguf_blocks.c: numbers in GGUF's block formats, turned to floats, or taken apart.
 *
 * A block holds 32 or 256 numbers: small whole numbers, and one or two scales that turn them back.
 * The layouts are ggml's (block_q4_0 and so on), field by field; each is computed here with the same
 * roundings as there, so that the floats are the same bits. Halves are IEEE binary16, all numbers
 * little endian. */
#include "model/model.h"

#include <string.h>

static uint16_t u16_at(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t u32_at(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static float half_at(const uint8_t *p)
{
    return half_load(u16_at(p));
}

static void f32_block(const uint8_t *p, float *y)
{
    memcpy(y, p, sizeof(*y));
}

static void f16_block(const uint8_t *p, float *y)
{
    *y = half_at(p);
}

static void bf16_block(const uint8_t *p, float *y)
{
    *y = bf16_load(u16_at(p));
}

/* d, 16 bytes: low halves are numbers 0 to 15, high ones 16 to 31. */
static void q4_0_block(const uint8_t *p, float *y)
{
    float d = half_at(p);
    for (int i = 0; i < 16; i++) {
        y[i] = (float)((p[2 + i] & 15) - 8) * d;
        y[i + 16] = (float)((p[2 + i] >> 4) - 8) * d;
    }
}

/* d, m, 16 bytes */
static void q4_1_block(const uint8_t *p, float *y)
{
    float d = half_at(p), m = half_at(p + 2);
    for (int i = 0; i < 16; i++) {
        y[i] = (float)(p[4 + i] & 15) * d + m;
        y[i + 16] = (float)(p[4 + i] >> 4) * d + m;
    }
}

/* d, 32 fifth bits, 16 bytes */
static void q5_0_block(const uint8_t *p, float *y)
{
    float d = half_at(p);
    uint32_t high = u32_at(p + 2);
    for (int i = 0; i < 16; i++) {
        int low = (p[6 + i] & 15) | (int)((high >> i & 1) << 4);
        int up = (p[6 + i] >> 4) | (int)((high >> (i + 16) & 1) << 4);
        y[i] = (float)(low - 16) * d;
        y[i + 16] = (float)(up - 16) * d;
    }
}

/* d, m, 32 fifth bits, 16 bytes */
static void q5_1_block(const uint8_t *p, float *y)
{
    float d = half_at(p), m = half_at(p + 2);
    uint32_t high = u32_at(p + 4);
    for (int i = 0; i < 16; i++) {
        int low = (p[8 + i] & 15) | (int)((high >> i & 1) << 4);
        int up = (p[8 + i] >> 4) | (int)((high >> (i + 16) & 1) << 4);
        y[i] = (float)low * d + m;
        y[i + 16] = (float)up * d + m;
    }
}

/* d, 32 signed bytes */
static void q8_0_block(const uint8_t *p, float *y)
{
    float d = half_at(p);
    for (int i = 0; i < 32; i++)
        y[i] = (float)(int8_t)p[2 + i] * d;
}

/* Eight scales and eight minima of six bits in 12 bytes. */
static void scale_min(const uint8_t *q, int j, int *scale, int *min)
{
    if (j < 4) {
        *scale = q[j] & 63;
        *min = q[j + 4] & 63;
        return;
    }
    *scale = (q[j + 4] & 15) | (q[j - 4] >> 6) << 4;
    *min = (q[j + 4] >> 4) | (q[j] >> 6) << 4;
}

/* d, dmin, 12 bytes of scales, 128 bytes: eight runs of 32, two in each 32 bytes */
static void q4_k_block(const uint8_t *p, float *y)
{
    float d = half_at(p), dmin = half_at(p + 2);
    for (int j = 0; j < 8; j++) {
        const uint8_t *q = p + 16 + j / 2 * 32;
        int scale, min;
        scale_min(p + 4, j, &scale, &min);
        float ds = d * (float)scale, dm = dmin * (float)min;
        for (int i = 0; i < 32; i++)
            *y++ = ds * (float)(j % 2 ? q[i] >> 4 : q[i] & 15) - dm;
    }
}

/* d, dmin, 12 bytes of scales, 32 of fifth bits, 128 bytes */
static void q5_k_block(const uint8_t *p, float *y)
{
    float d = half_at(p), dmin = half_at(p + 2);
    const uint8_t *high = p + 16;
    for (int j = 0; j < 8; j++) {
        const uint8_t *q = p + 48 + j / 2 * 32;
        int scale, min;
        scale_min(p + 4, j, &scale, &min);
        float ds = d * (float)scale, dm = dmin * (float)min;
        for (int i = 0; i < 32; i++) {
            int low = j % 2 ? q[i] >> 4 : q[i] & 15;
            *y++ = ds * (float)(low + (high[i] >> j & 1) * 16) - dm;
        }
    }
}

/* 128 bytes of low halves, 64 of two high bits, 16 signed scales, d */
static void q6_k_block(const uint8_t *p, float *y)
{
    const uint8_t *low = p, *high = p + 128;
    const int8_t *scales = (const int8_t *)p + 192;
    float d = half_at(p + 208);
    for (int n = 0; n < 2; n++, low += 64, high += 32, scales += 8, y += 128)
        for (int i = 0; i < 32; i++)
            for (int k = 0; k < 4; k++) {
                int q = k < 2 ? low[i + 32 * k] & 15 : low[i + 32 * (k - 2)] >> 4;
                q |= (high[i] >> 2 * k & 3) << 4;
                y[i + 32 * k] = d * (float)scales[i / 16 + 2 * k] * (float)(q - 32);
            }
}

/* ------------------------------------------------------------------ taken apart
 * The same blocks as whole numbers, scales and least values (struct compute_codes). */

/* 32 codes of four bits: low halves first; and their fifth bits. */
static void nibbles(const uint8_t *q, uint32_t high, uint8_t *codes)
{
    for (int i = 0; i < 16; i++) {
        codes[i] = (uint8_t)((q[i] & 15) | (high >> i & 1) << 4);
        codes[i + 16] = (uint8_t)((q[i] >> 4) | (high >> (i + 16) & 1) << 4);
    }
}

static void q4_0_apart(const uint8_t *p, const struct gguf_codes *to)
{
    *to->scales = u16_at(p);
    nibbles(p + 2, 0, to->codes);
}

static void q4_1_apart(const uint8_t *p, const struct gguf_codes *to)
{
    *to->scales = u16_at(p);
    *to->leasts = u16_at(p + 2);
    nibbles(p + 4, 0, to->codes);
}

static void q5_0_apart(const uint8_t *p, const struct gguf_codes *to)
{
    *to->scales = u16_at(p);
    nibbles(p + 6, u32_at(p + 2), to->codes);
}

static void q5_1_apart(const uint8_t *p, const struct gguf_codes *to)
{
    *to->scales = u16_at(p);
    *to->leasts = u16_at(p + 2);
    nibbles(p + 8, u32_at(p + 4), to->codes);
}

/* A signed byte plus 128. */
static void q8_0_apart(const uint8_t *p, const struct gguf_codes *to)
{
    *to->scales = u16_at(p);
    for (int i = 0; i < 32; i++)
        to->codes[i] = p[2 + i] ^ 128;
}

/* d, dmin and eight steps of either. */
static void k_scales_apart(const uint8_t *p, const struct gguf_codes *to)
{
    *to->scales = u16_at(p);
    *to->leasts = u16_at(p + 2);
    for (int j = 0; j < 8; j++) {
        int scale, min;
        scale_min(p + 4, j, &scale, &min);
        to->scale_steps[j] = (uint8_t)scale;
        to->least_steps[j] = (uint8_t)min;
    }
}

static void q4_k_apart(const uint8_t *p, const struct gguf_codes *to)
{
    k_scales_apart(p, to);
    for (int j = 0; j < 8; j++)
        for (int i = 0; i < 32; i++) {
            uint8_t q = p[16 + j / 2 * 32 + i];
            to->codes[j * 32 + i] = j % 2 ? q >> 4 : q & 15;
        }
}

static void q5_k_apart(const uint8_t *p, const struct gguf_codes *to)
{
    k_scales_apart(p, to);
    for (int j = 0; j < 8; j++)
        for (int i = 0; i < 32; i++) {
            uint8_t q = p[48 + j / 2 * 32 + i];
            int low = j % 2 ? q >> 4 : q & 15;
            to->codes[j * 32 + i] = (uint8_t)(low | (p[16 + i] >> j & 1) << 4);
        }
}

static void q6_k_apart(const uint8_t *p, const struct gguf_codes *to)
{
    *to->scales = u16_at(p + 208);
    memcpy(to->scale_steps, p + 192, 16);
    for (int n = 0; n < 2; n++)
        for (int i = 0; i < 32; i++)
            for (int k = 0; k < 4; k++) {
                uint8_t low = p[64 * n + i + 32 * (k % 2)];
                int q = k < 2 ? low & 15 : low >> 4;
                q |= (p[128 + 32 * n + i] >> 2 * k & 3) << 4;
                to->codes[128 * n + i + 32 * k] = (uint8_t)q;
            }
}

/* codes.bits 0: no format of codes */
static const struct {
    uint32_t type; /* of the file */
    struct gguf_format format;
    void (*block)(const uint8_t *p, float *y);
    struct compute_codes codes;
    void (*apart)(const uint8_t *p, const struct gguf_codes *to);
} formats[] = {
    {0, {"F32", 1, 4}, f32_block},
    {1, {"F16", 1, 2}, f16_block},
    {30, {"BF16", 1, 2}, bf16_block},
    {2, {"Q4_0", 32, 18}, q4_0_block, {4, 8, false, false}, q4_0_apart},
    {3, {"Q4_1", 32, 20}, q4_1_block, {4, 0, true, false}, q4_1_apart},
    {6, {"Q5_0", 32, 22}, q5_0_block, {5, 16, false, false}, q5_0_apart},
    {7, {"Q5_1", 32, 24}, q5_1_block, {5, 0, true, false}, q5_1_apart},
    {8, {"Q8_0", 32, 34}, q8_0_block, {8, 128, false, false}, q8_0_apart},
    {12, {"Q4_K", 256, 144}, q4_k_block, {4, 0, true, true}, q4_k_apart},
    {13, {"Q5_K", 256, 176}, q5_k_block, {5, 0, true, true}, q5_k_apart},
    {14, {"Q6_K", 256, 210}, q6_k_block, {6, 32, false, true}, q6_k_apart},
};

const struct gguf_format *gguf_format_of(uint32_t type)
{
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (formats[i].type == type) return &formats[i].format;
    return NULL;
}

const struct gguf_format *gguf_format_named(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (strcmp(formats[i].format.name, name) == 0) return &formats[i].format;
    return NULL;
}

uint32_t gguf_format_type(const struct gguf_format *f)
{
    size_t i = 0;
    while (&formats[i].format != f)
        CHECK_MSG(++i < ARRAY_LEN(formats), "a format that is not of the table");
    return formats[i].type;
}

void gguf_to_f32(const struct gguf_format *f, const uint8_t *data, size_t count, float *out)
{
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        if (&formats[i].format != f) continue;
        CHECK(count % f->block == 0);
        for (size_t b = 0; b < count / f->block; b++)
            formats[i].block(data + b * f->bytes, out + b * f->block);
        return;
    }
    CHECK_MSG(false, "a format that is not of the table");
}

bool gguf_codes_of(const struct gguf_format *f, struct compute_codes *out)
{
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (&formats[i].format == f) *out = formats[i].codes;
    return out->bits != 0;
}

bool gguf_tensor_codes(const void *g, const char *tensor, struct compute_codes *out)
{
    const struct gguf_tensor *t = gguf_tensor(g, tensor);
    *out = (struct compute_codes){0};
    return t && gguf_codes_of(t->format, out);
}

static bool is_finite_half(uint16_t x)
{
    return (x >> 10 & 31) != 31;
}

bool gguf_to_codes(const struct gguf_format *f, const uint8_t *data, size_t count,
                   const struct gguf_codes *out)
{
    size_t form = 0;
    while (&formats[form].format != f)
        CHECK_MSG(++form < ARRAY_LEN(formats), "a format that is not of the table");
    const struct compute_codes *codes = &formats[form].codes;
    size_t steps = f->block / (size_t)compute_codes_block(codes);
    CHECK(codes->bits && count % f->block == 0);
    for (size_t b = 0; b < count / f->block; b++) {
        struct gguf_codes to = {.codes = out->codes + b * f->block, .scales = out->scales + b};
        if (codes->least) to.leasts = out->leasts + b;
        if (codes->shared) to.scale_steps = out->scale_steps + b * steps;
        if (codes->shared && codes->least) to.least_steps = out->least_steps + b * steps;
        formats[form].apart(data + b * f->bytes, &to);
        if (!is_finite_half(*to.scales) || (to.leasts && !is_finite_half(*to.leasts))) return false;
    }
    return true;
}
