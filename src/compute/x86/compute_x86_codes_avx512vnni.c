/* compute_x86_codes_avx512vnni.c: products with weights in codes by AVX512-VNNI (vpdpwssd, which adds
 * products of pairs of 16-bit numbers to a sum). */
#define ACT_IS_BF16  0 /* of no matter: X is rounded already */
#define CODES_BY_DOT 1
#include "compute/x86/compute_x86_codes_internal.h"

void compute_x86_band_dot(const struct compute_band *b)
{
    x86_band(b);
}
