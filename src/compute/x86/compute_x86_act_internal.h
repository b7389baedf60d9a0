/* compute_x86_act_internal.h: the number format of activations inside an x86 kernel.
 *
 * Every kernel is written once over act_t, act_load_n and act_store_n. Four files, one per format
 * and instruction set (compute_x86_{f32,bf16}_{avx2,avx512}.c), say which format that is and
 * include the kernels; all arithmetic between a load and a store is fp32. */
#ifndef COLOSSUS_COMPUTE_X86_ACT_INTERNAL_H
#define COLOSSUS_COMPUTE_X86_ACT_INTERNAL_H

#include "compute/core/compute_kernels_internal.h"
#include "compute/x86/compute_x86_internal.h"
#include "compute/x86/compute_x86_math_internal.h"

#ifndef ACT_IS_BF16
#    error "define ACT_IS_BF16 as 0 or 1 before including the x86 kernels"
#endif

#if ACT_IS_BF16
typedef bf16_t act_t;
#    define act_load_n(p, n)     v_load_bf16_n(p, n)
#    define act_store_n(p, x, n) v_store_bf16_n(p, x, n)
#else
typedef float act_t;
#    define act_load_n(p, n)     v_load_n(p, n)
#    define act_store_n(p, x, n) v_store_n(p, x, n)
#endif

#endif
