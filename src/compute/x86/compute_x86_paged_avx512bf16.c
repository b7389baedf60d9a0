/* compute_x86_paged_avx512bf16.c: attention over pages in bfloat16 by AVX512-BF16. */
#define ACT_IS_BF16  1
#define PAGED_BY_DOT 1
#include "compute/x86/compute_x86_paged_internal.h"

size_t compute_x86_paged_dot_scratch(int64_t rows, int64_t h)
{
    return x86_paged_scratch(rows, h);
}

void compute_x86_paged_dot(const struct compute_paged *p, int64_t run, int64_t head, int64_t heads,
                           void *scratch)
{
    x86_paged_attention(p, run, head, heads, scratch);
}
