/* compute_reference_act_internal.h: the number format of activations inside a reference kernel.
 *
 * Every reference kernel is written once, over act_t, act_load and act_store. The two files
 * compute_reference_f32.c and compute_reference_bf16.c say which format that is and include the
 * kernels; all arithmetic between a load and a store is fp32 (sums over a row: double). */
#ifndef COLOSSUS_COMPUTE_REFERENCE_ACT_INTERNAL_H
#define COLOSSUS_COMPUTE_REFERENCE_ACT_INTERNAL_H

#include <math.h>

#include "compute/reference/compute_reference_internal.h"

#ifndef ACT_IS_BF16
#    error "define ACT_IS_BF16 as 0 or 1 before including the reference kernels"
#endif

#if ACT_IS_BF16
typedef bf16_t act_t;
#    define act_load(x)  bf16_load(x)
#    define act_store(x) bf16_store(x)
#else
typedef float act_t;
#    define act_load(x)  ((float)(x))
#    define act_store(x) ((float)(x))
#endif

#endif
