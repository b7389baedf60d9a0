/* compute_x86_probe_avx512.c: the vector functions and the speed of multiply-adds with AVX-512. */
#include "compute/x86/compute_x86_probe_internal.h"

const struct compute_x86_probe compute_x86_probe_avx512 = {
    .exp2 = probe_exp2,
    .tanh = probe_tanh,
    .log = probe_log,
    .exp2_low = probe_exp2_low,
    .tanh_low = probe_tanh_low,
    .multiply_add = probe_multiply_add,
};
