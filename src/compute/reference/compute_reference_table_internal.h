/* compute_reference_table_internal.h: the reference table of one number format.
 *
 * compute_reference_{f32,bf16}.c define ACT_IS_BF16 and the table's names, then include this; it
 * brings in every kernel, written once for both formats. */
#include "compute/reference/compute_reference_rows_internal.h"
#include "compute/reference/compute_reference_attention_internal.h"
#include "compute/reference/compute_reference_experts_internal.h"

const struct compute_kernels REFERENCE_TABLE = {
    .name = REFERENCE_NAME,
    .to_act = ref_to_act,
    .from_act = ref_from_act,
    .rmsnorm = ref_rmsnorm,
    .rmsnorm_backward = ref_rmsnorm_backward,
    .seam_forward = ref_seam_forward,
    .seam_backward = ref_seam_backward,
    .attention_scratch = ref_attention_scratch,
    .attention_forward = ref_attention_forward,
    .attention_backward = ref_attention_backward,
    .paged_scratch = ref_paged_scratch,
    .paged_attention = ref_paged_attention,
    .panel = ref_panel,
    .round = ref_round,
    .band = compute_reference_band,
    .rope = ref_rope,
    .head_norm = ref_head_norm,
    .bias = ref_bias,
    .glu_forward = ref_glu_forward,
    .glu_backward = ref_glu_backward,
    .router_forward = ref_router_forward,
    .router_backward = ref_router_backward,
    .combine = ref_combine,
    .scale = ref_scale,
    .embed = compute_reference_embed,
    .embed_backward = compute_reference_embed_backward,
    .cross_entropy = ref_cross_entropy,
    .logits = compute_reference_logits,
    .sum_squares = compute_reference_sum_squares,
    .all_finite = compute_reference_all_finite,
    .adamw = compute_reference_adamw,
    .momentum = compute_reference_momentum,
    .axpby = compute_reference_axpby,
    .matmul = ref_matmul,
};
