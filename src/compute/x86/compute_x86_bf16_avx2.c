/* compute_x86_bf16_avx2.c: the x86 kernels for activations in bfloat16, with AVX2. */
#define ACT_IS_BF16 1
#include "compute/x86/compute_x86_attention_internal.h"
#include "compute/x86/compute_x86_codes_internal.h"
#include "compute/x86/compute_x86_experts_internal.h"
#include "compute/x86/compute_x86_loss_internal.h"
#include "compute/x86/compute_x86_norms_internal.h"
#include "compute/x86/compute_x86_paged_internal.h"
#include "compute/x86/compute_x86_panels_internal.h"

const struct compute_kernels compute_x86_bf16_avx2 = {
    .name = "avx2 bf16",
#include "compute/x86/compute_x86_entries_internal.h"
};
