/* test_plan_run_util.h: machines and models of published runs, built by hand from public facts, for
 * the tests of what happens around a step. Each fact names its source. */
#ifndef TEST_PLAN_RUN_UTIL_H
#define TEST_PLAN_RUN_UTIL_H

#include "test_machine_util.h"

#include "plan/run/plan_run_internal.h"

/* arXiv:2407.21783, table 3. */
static inline struct model_config test_llama3_405b(void)
{
    return (struct model_config){.name = "llama3-405b",
                                 .n_layers = 126,
                                 .d_model = 16384,
                                 .n_heads = 128,
                                 .n_kv_heads = 8,
                                 .head_dim = 128,
                                 .vocab_size = 128256,
                                 .ffn_hidden = 53248,
                                 .glu = true};
}

/* arXiv:2005.14165. */
static inline struct model_config test_gpt3_175b(void)
{
    return (struct model_config){.name = "gpt3-175b",
                                 .n_layers = 96,
                                 .d_model = 12288,
                                 .n_heads = 96,
                                 .n_kv_heads = 96,
                                 .head_dim = 128,
                                 .vocab_size = 51200,
                                 .ffn_hidden = 49152,
                                 .tied_embeddings = true};
}

/* arXiv:2412.19437, section 4.2. */
static inline struct model_config test_deepseek_v3(void)
{
    return (struct model_config){.name = "deepseek-v3",
                                 .n_layers = 61,
                                 .d_model = 7168,
                                 .n_heads = 128,
                                 .n_kv_heads = 128,
                                 .head_dim = 128,
                                 .vocab_size = 129280,
                                 .dense_ffn_hidden = 18432,
                                 .glu = true,
                                 .attention = MODEL_ATTENTION_MLA,
                                 .mla_q_rank = 1536,
                                 .mla_kv_rank = 512,
                                 .mla_nope_dim = 128,
                                 .mla_rope_dim = 64,
                                 .mla_v_dim = 128,
                                 .n_experts = 256,
                                 .n_experts_used = 8,
                                 .ffn_hidden = 2048,
                                 .shared_ffn_hidden = 2048,
                                 .dense_layers = 3,
                                 .mtp_layers = 1,
                                 .route_domains = 4};
}

/* Llama 3 405B on 16,384 H100: table 4 and section 3.3; Tectonic takes 2 TB/s. */
static inline struct plan_request test_llama3_request(const struct machine_accelerator *a)
{
    struct plan_request r = {.name = "llama3", .model = test_llama3_405b()};
    r.cluster = test_cluster(a, 16384);
    r.cluster.storage_write_bytes_per_s = FIGURE(2e12);
    r.batch = (struct plan_batch){.global_batch = 2048, .seq_len = 8192};
    r.layout = (struct plan_layout){.tp = 8,
                                    .pp = 16,
                                    .cp = 1,
                                    .ep = 1,
                                    .etp = 1,
                                    .dp = 128,
                                    .vp = 8,
                                    .micro_batch = 1,
                                    .zero = 2,
                                    .precision = MACHINE_BF16};
    r.software = (struct plan_software){.stack = PLAN_STACK_FSDP, .generation = 2024.3};
    r.tokens = FIGURE(15.6e12);
    return r;
}

#endif
