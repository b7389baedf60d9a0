/* model_gguf_blocks.c: numbers in GGUF's block formats, turned to floats.
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

/* 1 sign, 5 exponent, 10 fraction bits. A subnormal is fraction * 2^-24. */
static float half_at(const uint8_t *p)
{
    uint16_t x = u16_at(p);
    uint32_t sign = (uint32_t)(x & 0x8000) << 16, exponent = x >> 10 & 31, fraction = x & 1023;
    uint32_t bits = sign | (exponent + 112) << 23 | fraction << 13;
    float f;
    if (exponent == 0) {
        f = (float)fraction * 0x1p-24f;
        return sign ? -f : f;
    }
    if (exponent == 31) bits = sign | 0x7f800000u | fraction << 13;
    memcpy(&f, &bits, sizeof(f));
    return f;
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

static const struct {
    uint32_t type; /* of the file */
    struct gguf_format format;
    void (*block)(const uint8_t *p, float *y);
} formats[] = {
    {0, {"F32", 1, 4}, f32_block},        {1, {"F16", 1, 2}, f16_block},
    {30, {"BF16", 1, 2}, bf16_block},     {2, {"Q4_0", 32, 18}, q4_0_block},
    {3, {"Q4_1", 32, 20}, q4_1_block},    {6, {"Q5_0", 32, 22}, q5_0_block},
    {7, {"Q5_1", 32, 24}, q5_1_block},    {8, {"Q8_0", 32, 34}, q8_0_block},
    {12, {"Q4_K", 256, 144}, q4_k_block}, {13, {"Q5_K", 256, 176}, q5_k_block},
    {14, {"Q6_K", 256, 210}, q6_k_block},
};

const struct gguf_format *gguf_format_of(uint32_t type)
{
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (formats[i].type == type) return &formats[i].format;
    return NULL;
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
