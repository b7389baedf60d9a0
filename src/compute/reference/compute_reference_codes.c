/* compute_reference_codes.c: a band of a product with weights in codes, as plain loops. Its bits are
 * the definition: whole numbers are added up exactly, blocks in their order. */
#include <math.h>

#include "compute/core/compute_codes_internal.h"
#include "compute/reference/compute_reference_internal.h"

/* One block's codes of row j of the band times row r of X. */
static int32_t block_sum(const struct compute_band *b, int64_t r, int64_t k, int64_t j)
{
    const struct compute_codes *f = b->form;
    int n = compute_codes_block(f);
    int32_t sum = 0, ones = 0;
    for (int64_t i = k; i < k + n; i++) {
        int32_t x = b->x.x[r * b->blocks * CODES_WIDTH + i];
        sum += x * (int32_t)codes_get(f->bits, b->codes, i, j);
        ones += x;
    }
    return sum - f->zero * ones;
}

void compute_reference_band(const struct compute_band *b)
{
    const struct compute_codes *f = b->form;
    struct codes_band at = codes_band_at(f, b->blocks, b->codes);
    int n = compute_codes_block(f);
    for (int64_t r = 0; r < b->rows; r++)
        for (int64_t j = 0; j < COMPUTE_BAND; j++) {
            float sum = 0;
            for (int64_t k = 0; k < b->blocks * CODES_WIDTH; k += n) {
                int64_t x_block = r * b->blocks + k / CODES_WIDTH;
                float whole = (float)block_sum(b, r, k, j) * b->x.scales[x_block];
                sum = fmaf(whole, codes_scale(f, &at, k, j), sum);
                if (f->least) sum = fmaf(codes_least(f, &at, k, j), b->x.sums[x_block], sum);
            }
            b->c[r * b->ldc + j] = sum;
        }
}
