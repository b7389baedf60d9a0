/* compute_x86_probe_avx2.c: the vector functions and the speed of multiply-adds with AVX2. */
#include "compute/x86/compute_x86_probe_internal.h"

const struct compute_x86_probe compute_x86_probe_avx2 = {
    .exp2 = probe_exp2,
    .tanh = probe_tanh,
    .log = probe_log,
    .multiply_add = probe_multiply_add,
};
