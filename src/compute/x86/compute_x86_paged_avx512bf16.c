/* compute_x86_paged_avx512bf16.c: attention over pages in bfloat16 by AVX512-BF16. */
#define ACT_IS_BF16  1
#define PAGED_BY_DOT 1
#include "compute/x86/compute_x86_paged_internal.h"

size_t compute_x86_paged_dot_scratch(int64_t rows, int64_t h)
{
    return x86_paged_scratch(rows, h);
}

size_t compute_x86_paged_dot_floats(int64_t rows, int64_t h)
{
    return x86_paged_floats(rows, h);
}

void compute_x86_paged_dot(const struct compute_paged_part *t, void *scratch)
{
    x86_paged_attention(t, scratch);
}

void compute_x86_paged_dot_sum(const struct compute_paged_part *t, void *scratch)
{
    x86_paged_sum(t, scratch);
}

void compute_x86_paged_dot_join(const struct compute_paged_part *t, void *scratch)
{
    x86_paged_join(t, scratch);
}
