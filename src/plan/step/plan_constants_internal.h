/* plan_constants_internal.h: every number of the model of a step that is neither arithmetic nor a
 * figure of a description. Few, each with a physical meaning, a range the fit may use, and a
 * source; low == high means that it was taken as it stands.
 *
 * The table is constant. What computes reads the values through a pointer, so that a fit, or a
 * judgement with constants that never saw a row, works with values of its own while other threads
 * plan with the program's: K(w, NAME) is the value of one, where w->k points to them.
 *
 * "fit" names the rows a value was fitted on: all is the rows of tier A of the validation table
 * that are consistent in themselves. tools/fit-plan rewrites the values in place. */
#ifndef COLOSSUS_PLAN_CONSTANTS_INTERNAL_H
#define COLOSSUS_PLAN_CONSTANTS_INTERNAL_H

#include <stddef.h>

struct plan_constant {
    const char *name;
    double value;
    double low, high;   /* range the fit may use; low == high: not fitted */
    const char *source; /* paper, measurement, or which rows it was fitted on */
};
extern const struct plan_constant plan_constants[];
size_t plan_constants_count(void);

/* clang-format off */
#define PLAN_CONSTANTS(X) \
    /* matrix products: share of the measured ceiling that training sustains, by family */ \
    X(GEMM_BF16_AMPERE, 0.9736, 0.6, 1.0, "fit: all A100") \
    X(GEMM_BF16_HOPPER, 0.8669, 0.6, 1.0, "fit: all Hopper bf16; power-limited clocks") \
    X(GEMM_FP8_HOPPER, 0.8757, 0.6, 1.0, "fit: all Hopper fp8") \
    X(GEMM_BF16_BLACKWELL, 0.7934, 0.6, 1.0, "fit: all Blackwell bf16") \
    X(GEMM_FP8_BLACKWELL, 0.812, 0.6, 1.0, "fit: all Blackwell fp8") \
    X(GEMM_FP4_BLACKWELL, 0.8025, 0.5, 1.0, "fit: all NVFP4") \
    X(CEILING_SHARE, 0.80, 0.80, 0.80, "measured over peak where no ceiling is known: 0.73 to 0.87 (stas00 MAMF)") \
    X(POWER_EXPONENT, 0.9748, 0.0, 1.0, "fit: all Blackwell; sustained rate by power cap against 1,200 W, where products are power-limited") \
    X(GEMM_K_HALF, 114.3, 16, 512, "fit: all; depth of a product at half speed") \
    X(GEMM_TILES_HALF, 2.874e+05, 5e4, 8e6, "fit: all; results (rows by columns) at half speed: a last wave of tiles is partly idle, 108 to 148 cores of 128 x 256 each") \
    X(GEMM_N_HALF, 13.87, 1, 1024, "fit: all; width at half speed") \
    X(GEMM_M_HALF, 19.7, 1, 512, "fit: all; rows at half speed (experts with few tokens)") \
    X(GEMM_FIXED_S, 4.181e-06, 1e-6, 8e-6, "fit: all; start and tail of one product") \
    X(GROUPED_SHARE, 0.7013, 0.5, 1.0, "fit: all MoE; grouped products against dense ones") \
    /* attention core: share of the bf16 ceiling */ \
    X(FLASH_AMPERE, 0.6606, 0.3, 0.9, "fit: all A100; FlashAttention-2 reports 0.5 to 0.73 of peak") \
    X(FLASH_HOPPER, 0.867, 0.3, 0.95, "fit: all Hopper; FlashAttention-3 reports 0.55 to 0.75 of peak") \
    X(FLASH_BLACKWELL, 0.8783, 0.25, 0.9, "fit: all Blackwell; cuDNN") \
    X(TRITON_AMPERE, 0.4376, 0.2, 0.9, "fit: llm-foundry A100; attention of PyTorch stacks before TORCH_FLASH2_YEAR, in Triton") \
    X(TRITON_HOPPER, 0.3224, 0.15, 0.9, "fit: llm-foundry H100; the same") \
    X(FLASH2_HOPPER, 0.44, 0.44, 0.44, "FlashAttention-2 reaches 35 % of an H100's peak (arXiv:2407.08608, section 1), which is 0.44 of its ceiling") \
    X(TORCH_FLASH2_YEAR, 2024.08, 2024.08, 2024.08, "PyTorch 2.2 computes attention with FlashAttention-2") \
    X(TORCH_CUDNN_YEAR, 2025.8, 2025.8, 2025.8, "PyTorch 2.9; from it on PyTorch stacks are taken to use cuDNN's attention on Hopper (assumption)") \
    X(FLASH_BACKWARD, 2.9, 2.9, 2.9, "2.5 times the FLOPs at 0.86 of the speed (FlashAttention-2, -3)") \
    X(FLASH_YEAR, 2022.9, 2022.9, 2022.9, "release of Megatron and PyTorch with FlashAttention") \
    X(SEQUENCE_YEAR, 2022.35, 2022.35, 2022.35, "sequence parallelism in Megatron (arXiv:2205.05198); before it norms ran on every tp rank") \
    X(SOFTMAX_BYTES, 10.92, 6, 24, "fit: SC21, vTrain; bytes a score unfused: mask, softmax, dropout") \
    /* vector operations: bytes over HBM bandwidth */ \
    X(HBM_SHARE, 0.75, 0.75, 0.75, "vector kernels reach 0.7 to 0.8 of peak (GB200 0.92 at best, Azure)") \
    X(VECTOR_PASSES, 6.293, 4, 24, "fit: all; reads and writes of the hidden state a layer, forward") \
    X(MOE_PASSES_A2A, 7.779, 2, 40, "fit: MoE; reads and writes of every routed token: permute and sort on both sides of an all-to-all") \
    X(MOE_PASSES_DEDUP, 2.179, 1, 30, "fit: MoE; the same with a deduplicated dispatch: permuted once on each side") \
    X(MOE_PASSES_HYBRID, 1.674, 0.5, 20, "fit: MoE; the same where the copy out of the buffer permutes") \
    X(MOE_QUANT_HOPPER, 5.196, 0, 40, "fit: Hopper MoE fp8; the same more: routed rows are quantised and transposed by expert") \
    X(ACT_UNFUSED, 14.9, 1, 40, "fit: GPT-OSS before MOE_FUSED_YEAR; passes over an expert's hidden units: clamped gate and biases, unfused, in fp32") \
    X(MOE_ROW, 5002, 0, 10000, "fit: MoE; what moving one routed token costs beside its width, in elements: indices, sorting, short rows") \
    X(CAST_FP8, 4.057, 0, 16, "fit: fp8; bytes a product's input element: read, write, transpose, amax") \
    X(CAST_MXFP8, 11.74, 0, 16, "fit: MXFP8; both directions quantised in blocks") \
    X(CAST_FP4, 21.14, 0, 24, "fit: NVFP4; Hadamard transform and two-level scales") \
    X(GRAD_ACCUM_BYTES, 8, 8, 8, "fp32 gradients are read and written once a microbatch (gradient accumulation fusion)") \
    X(MAMBA_SCAN_S, 2.665e-11, 5e-12, 60e-12, "fit: hybrids; seconds a token and inner unit of a Mamba-2 layer forward, on Hopper and Blackwell alike: Triton's scan is bound by instructions, not by memory") \
    /* host */ \
    X(HOST_LAUNCH_S, 8.041e-06, 2e-6, 10e-6, "fit: all; processor time to start one kernel") \
    X(HOST_KERNELS_DENSE, 87.29, 30, 120, "fit: single node; kernels of a dense layer forward; 40 to 60 in Megatron traces") \
    X(HOST_COLLECTIVE, 1.947, 1, 20, "fit: single node; starting a collective, in kernels") \
    X(HOST_KERNELS_MOE, 104.3, 60, 800, "fit: MoE; the same with experts: router, permutation, grouped products") \
    X(HOST_PER_EXPERT, 7.217, 0, 60, "fit: MoE; kernels more for each expert of a rank and pass: its products, on streams of their own; with quantised operands twice") \
    X(HOST_UNBOUND, 2.399, 1, 2.5, "fit: ladder; launches of a host whose threads and memory are not bound to the accelerator's socket") \
    X(HOST_JOIN, 3.054, 1, 6, "fit: all; host and accelerator take turns at being late: exponent of the sum of their times; 1: one after the other") \
    X(GRAPHS_SCOPED, 0.7137, 0.2, 1, "fit: ladder; share of launches left where attention and router are captured in graphs") \
    X(GRAPHS_FULL, 0.4133, 0.05, 1, "fit: MoE since MOE_FUSED_YEAR; the same where whole layers are") \
    /* links: shares of the wire */ \
    X(NIC_SHARE, 0.91, 0.91, 0.91, "fit: 364 of 400 GB/s a node, 82 all-reduce points, arXiv:2411.13055") \
    X(SCALEUP_SHARE, 0.78, 0.78, 0.78, "229 of 300 GB/s on A100 (vTrain), 361 of 450 on H200, 682 of 900 on B200 (stas00)") \
    X(A2A_SHARE, 0.5393, 0.3, 1.0, "fit: MoE; of the links inside a domain, NCCL's all-to-all: 640 of 900 GB/s on NVL72") \
    X(A2A_SHARE_DEDUP, 0.3612, 0.2, 1.0, "fit: MoE; the same of DeepEP: 400 GB/s of dispatch and 190 of combine on NVL72 (the ladder's guide)") \
    X(A2A_SHARE_HYBRID, 0.9695, 0.4, 1.0, "fit: MoE; the same of HybridEP") \
    X(A2A_SHARE_FAR, 0.5588, 0.3, 1.0, "fit: MoE; of the links between domains, any dispatch") \
    X(A2A_LATENCY_S, 40e-6, 40e-6, 40e-6, "DeepEP normal kernels, small batches") \
    X(COLL_LATENCY_S, 4.322e-05, 30e-6, 100e-6, "30 us is half of what an all-reduce of 8 to 130 MB costs beyond its bytes (A100, H200, collectives.csv); fit: vTrain, ranks of a step arrive apart") \
    X(COLL_LEVEL_S, 31e-6, 31e-6, 31e-6, "half of 62 us a doubling, the same") \
    X(COLL_ROOT_S, 2.0e-6, 2.0e-6, 2.0e-6, "half of 4.0 us a root MB and doubling, the same") \
    X(OLD_GRAD_BYTES, 3.67, 2.0, 4.0, "fit: vTrain, SC21; bytes of a gradient on the wire before overlap: fp16 to fp32") \
    X(P2P_LATENCY_S, 15e-6, 15e-6, 15e-6, "send and receive across a switch") \
    X(TP_SKEW_S, 1.09e-05, 0, 4e-4, "fit: vTrain; how much later the last rank of a tensor-parallel group on both sockets of a node arrives, before 2023") \
    X(TP_SKEW_HOST, 6.053, 0, 40, "fit: vTrain; the same where the host is behind, in kernels") \
    X(PIPE_HOST_S, 0.001853, 0, 10e-3, "fit: all with a pipeline; schedule, handshake and allocation of one microbatch on one chunk, before 2023") \
    /* overlap */ \
    X(TP_OVERLAP, 0.8999, 0.0, 0.95, "fit: all since 2023; share of TP traffic under products (user buffers)") \
    X(TP_OVERLAP_YEAR, 2023.2, 2023.2, 2023.2, "Megatron tp-comm-overlap") \
    X(EP_HIDDEN, 0.4769, 0.0, 0.95, "fit: MoE; share of experts' traffic under the same microbatch's work: shared experts, gradients of weights") \
    X(EP_OVERLAP_FAR, 0.8335, 0.4, 1.0, "fit: MoE; the same where it is woven with another microbatch (1F1B overlap)") \
    X(EP_DEDUP_YEAR, 2025.2, 2025.2, 2025.2, "DeepEP published") \
    X(EP_HYBRID_YEAR, 2025.83, 2025.83, 2025.83, "HybridEP in NVIDIA's recipes for racks, Megatron-Bridge 25.11") \
    X(EP_WOVEN_YEAR, 2025.5, 2025.5, 2025.5, "1F1B overlap of the all-to-all in Megatron-Core 0.13") \
    X(GRAPHS_YEAR, 2025.6, 2025.6, 2025.6, "graphs of attention and router in NVIDIA's recipes for Blackwell") \
    X(MLA_BLACKWELL_YEAR, 2025.45, 2025.45, 2025.45, "cuDNN 9.11: latent attention in one kernel on Blackwell") \
    X(CP_OVERLAP, 0.8, 0.8, 0.8, "ring attention under the attention core, TransformerEngine") \
    X(DP_OVERLAP, 0.9532, 0.3, 1.0, "fit: all; share of the window under which DP traffic hides") \
    X(DP_OVERLAP_YEAR, 2023.2, 2023.2, 2023.2, "Megatron overlap-grad-reduce and overlap-param-gather") \
    X(SM_TAX, 0.2423, 0.08, 0.25, "fit: all; compute lost while a collective runs beside it, 10 to 20 % of the cores") \
    X(DUALPIPE_TAX, 0.1515, 0.1515, 0.1515, "the same under DualPipe: 20 of 132 cores move the experts' traffic (arXiv:2412.19437, 3.2.2)") \
    X(HEAD_EXPOSED, 0.7373, 0.0, 1.0, "fit: all; share of the output head that unbalances the last stage") \
    X(XLA_RECOMPUTE, 0.2343, 0.2, 1.0, "fit: JAX rows; share of the forward pass XLA runs again where full recomputation would fit") \
    X(SELECTIVE_SHARE, 0.4, 0.4, 0.4, "norms and activations among the vector operations") \
    X(SELECTIVE_TORCH, 0.5, 0.5, 0.5, "PyTorch's selective checkpointing: every other layer, or every other product (arXiv:2410.06511)") \
    X(PP_EXPOSED, 0.05053, 0.0, 1.0, "fit: all; share of pipeline messages not hidden") \
    X(PP_EXPOSED_OLD, 0.1699, 0, 1, "fit: SC21, vTrain; the same before 2023, when stages waited for their messages") \
    /* dates, all of them: what software has from then on */ \
    X(TODAY, 2026.625, 2026.625, 2026.625, "the newest release among the fitted rows, 26.08: what a plan has that states no date") \
    X(LAUNCH_AMPERE, 2020.4, 2020.4, 2020.4, "from when the software of a family of accelerators counts its age") \
    X(LAUNCH_HOPPER, 2022.8, 2022.8, 2022.8, "the same of Hopper") \
    X(LAUNCH_BLACKWELL, 2024.9, 2024.9, 2024.9, "the same of Blackwell") \
    X(FP8_WEIGHTS_YEAR, 2024.3, 2024.3, 2024.3, "FP8 weights without a bf16 copy in Megatron-Core") \
    X(TORCH_LOSS_YEAR, 2025.1, 2025.1, 2025.1, "torchtitan's peaks of 2024-12 and 2025-06 are 6 bytes a logit apart: the loss is compiled since") \
    X(FOLDING_YEAR, 2025.4, 2025.4, 2025.4, "Megatron-Core 0.12 folds expert parallelism over the other groups (arXiv:2504.14960)") \
    /* software */ \
    X(YOUNG_DENSE, 0.1868, 0.0, 1.0, "fit: all; extra compute time at an accelerator's launch") \
    X(YOUNG_MOE, 3.011, 0.0, 8.0, "fit: MoE; the same of launches and permutation of layers with experts, not of their products") \
    X(YOUNG_YEARS, 0.5577, 0.4, 3.0, "fit: all; time constant of the improvement") \
    X(FSDP_COMPUTE, 1.088, 0.8, 1.4, "fit: FSDP; compute time of the PyTorch stack against Megatron's") \
    X(OTHER_COMPUTE, 1.179, 0.8, 1.4, "fit: JAX rows; the same of other stacks") \
    X(MOE_FUSED, 0.4114, 0.1, 1.0, "fit: Blackwell MoE since MOE_FUSED_YEAR; vector work left by fused kernels") \
    X(FP8_ROW_RATE, 0.93, 0.93, 0.93, "rowwise fp8 products beside tensorwise ones on H100 (torchao's tables)") \
    X(MOE_FUSED_YEAR, 2026.4, 2026.4, 2026.4, "Megatron-Bridge 26.06: graphs of whole MoE layers, fused grouped products") \
    /* the rest */ \
    X(OPTIMIZER_BYTES, 34, 34, 34, "Adam in fp32: read and write 12 B of state, gradient, weights, norm") \
    X(TORCH_WORK, 2.5, 2.5, 2.5, "memory of a layer that PyTorch runs again: gradients beside it, and what the allocator keeps (read off torchtitan's peaks)") \
    X(HOST_LINK, 50e9, 50e9, 50e9, "bytes a second to the host's memory, PCIe 5 x16: optimizer state that is offloaded") \
    X(HOST_LINK_RACK, 300e9, 300e9, 300e9, "the same where the host shares its memory (NVLink-C2C, 450 GB/s a direction)") \
    X(JITTER, 0.001293, 0.0, 0.03, "fit: all; slowest of many ranks, a doubling beyond 64 accelerators") \
    X(STEP_FIXED_S, 0.006613, 0.0, 0.02, "fit: Megatron; loss, logging, data and the optimiser's host work of a step") \
    X(STEP_FIXED_OTHER_S, 0.0797, 0.0, 0.1, "fit: FSDP, JAX; the same of the other stacks") \
    X(PRODUCTION, 1.381, 1.381, 1.381, "hours of published runs over those of their plans, at a million hours: median (plan validate --production)") \
    X(PRODUCTION_LOW, 1.015, 1.015, 1.015, "5th percentile of the same") \
    X(PRODUCTION_HIGH, 2.007, 2.007, 2.007, "95th percentile of the same") \
    X(PRODUCTION_SLOPE, -0.0683, -0.0683, -0.0683, "its change with the planned hours, as a power: large runs are tuned") \
    X(BAND_LOW, 0.90, 0.90, 0.90, "10th percentile of measured over predicted") \
    X(BAND_HIGH, 1.12, 1.12, 1.12, "90th percentile of measured over predicted")
/* clang-format on */

enum plan_constant_name {
#define PLAN_CONSTANT_NAME(name, value, low, high, source) PLAN_K_##name,
    PLAN_CONSTANTS(PLAN_CONSTANT_NAME)
#undef PLAN_CONSTANT_NAME
        PLAN_N_CONSTANTS
};
struct plan_constant_values {
    double value[PLAN_N_CONSTANTS]; /* in the order of plan_constants */
};
extern const struct plan_constant_values plan_constants_own; /* the program's */
#define K(w, name) ((w)->k->value[PLAN_K_##name])

#endif
