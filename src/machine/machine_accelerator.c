/* machine_accelerator.c: precisions and families of accelerators, and what follows from them. */
#include "machine/machine_internal.h"

const char *const machine_precision_names[] = {"fp32", "bf16", "fp8", "mxfp8", "fp4", NULL};
const char *const machine_family_names[] = {"by_precision", "ampere", "hopper", "blackwell", NULL};

enum machine_family machine_family(const struct machine_accelerator *a)
{
    if (a->family != MACHINE_FAMILY_BY_PRECISION) return a->family;
    if (a->peak_flops[MACHINE_FP4].mid > 0) return MACHINE_BLACKWELL;
    return a->peak_flops[MACHINE_FP8].mid > 0 ? MACHINE_HOPPER : MACHINE_AMPERE;
}

int machine_offered_precision(const struct machine_accelerator *a, int precision)
{
    static const int next[MACHINE_N_PRECISIONS] = {MACHINE_FP32, MACHINE_FP32, MACHINE_BF16,
                                                   MACHINE_FP8, MACHINE_MXFP8};
    CHECK(precision >= 0 && precision < MACHINE_N_PRECISIONS);
    while (next[precision] != precision && a->peak_flops[precision].mid <= 0)
        precision = next[precision];
    return precision;
}

double machine_peak_flops(const struct machine_accelerator *a, int precision)
{
    double peak = a->peak_flops[machine_offered_precision(a, precision)].mid;
    return peak > 0 ? peak : 1e12;
}
