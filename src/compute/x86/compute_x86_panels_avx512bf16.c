/* compute_x86_panels_avx512bf16.c: products for inference by the dot-product instruction of
 * AVX512-BF16 (vdpbf16ps), which multiplies pairs of bfloat16 and adds them in a fixed order. */
#define ACT_IS_BF16  1
#define PANEL_BY_DOT 1
#include "compute/x86/compute_x86_panels_internal.h"

void compute_x86_panel_dot(const struct compute_panel *p)
{
    x86_panel(p);
}
