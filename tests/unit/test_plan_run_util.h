/* test_plan_run_util.h: machines and models of published runs, built by hand from public facts, for
 * the tests of what happens around a step. Each fact names its source. */
#ifndef TEST_PLAN_RUN_UTIL_H
#define TEST_PLAN_RUN_UTIL_H

#include "test_machine_util.h"
#include "test_published_models.h"

#include "plan/run/plan_run_internal.h"

static inline struct model_config test_llama3_405b(void)
{
    return (struct model_config){LLAMA_3_405B};
}

static inline struct model_config test_gpt3_175b(void)
{
    return (struct model_config){GPT_3_175B};
}

static inline struct model_config test_deepseek_v3(void)
{
    return (struct model_config){DEEPSEEK_V3_WIDTHS, .n_layers = 61, .dense_layers = 3,
                                 .mtp_layers = 1, .route_domains = 4};
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
    r.software = (struct plan_software){
        .stack = PLAN_STACK_FSDP, .generation = 2024.3, .tp_overlap = PLAN_TP_OVERLAPPED};
    r.tokens = FIGURE(15.6e12);
    return r;
}

#endif
