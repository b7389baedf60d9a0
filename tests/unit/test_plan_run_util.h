/* test_plan_run_util.h: machines and models of published runs, built by hand from public facts, for
 * the tests of what happens around a step. Each fact names its source. */
#ifndef TEST_PLAN_RUN_UTIL_H
#define TEST_PLAN_RUN_UTIL_H

#include "test_cmocka.h"

#include <math.h>

#include "plan/plan_internal.h"

#define FIGURE(x)                                                       \
    (struct plan_figure)                                                \
    {                                                                   \
        .mid = (x), .low = (x), .high = (x), .grade = 'S', .source = "" \
    }
#define RANGE(l, m, h)                                                  \
    (struct plan_figure)                                                \
    {                                                                   \
        .mid = (m), .low = (l), .high = (h), .grade = 'S', .source = "" \
    }

/* Data sheet; largest measured products (stas00, MAMF); idle of nvidia-smi listings; compute
 * and exposed communication as bench/bench_power.py measured them. */
static inline struct plan_accelerator test_h100(void)
{
    struct plan_accelerator a = {.name = "h100", .scaleup_domain = 8, .node_size = 8};
    a.peak_flops[PLAN_BF16] = FIGURE(989e12);
    a.peak_flops[PLAN_FP8] = FIGURE(1979e12);
    a.ceiling_flops[PLAN_BF16] = FIGURE(794e12);
    a.ceiling_flops[PLAN_FP8] = FIGURE(1403e12);
    a.hbm_bytes = FIGURE(80e9);
    a.hbm_bytes_per_s = FIGURE(3.35e12);
    a.scaleup_bytes_per_s = FIGURE(450e9);
    a.nic_bytes_per_s = FIGURE(50e9);
    a.power_cap_w = FIGURE(700);
    a.power_compute_w = RANGE(630, 697, 700);
    a.power_comm_w = RANGE(140, 245, 350);
    a.power_idle_w = FIGURE(70);
    a.node_other_w = FIGURE(180);
    a.price_usd = RANGE(25e3, 30e3, 40e3);
    a.failures = RANGE(1.6, 2.34, 4.0);
    return a;
}

/* GB200 NVL72 per GPU: 1,200 W, idle 200 W of the DPS registry, floor 90 % (NVML), rack 120 kW
 * nominal, so 450 W beside the GPU; failures one per 1,000 to 3,000 days (SemiAnalysis). */
static inline struct plan_accelerator test_gb200(void)
{
    struct plan_accelerator a = {.name = "gb200", .scaleup_domain = 72, .node_size = 4};
    a.peak_flops[PLAN_BF16] = FIGURE(2500e12);
    a.peak_flops[PLAN_FP8] = FIGURE(5000e12);
    a.ceiling_flops[PLAN_BF16] = FIGURE(1822e12);
    a.ceiling_flops[PLAN_FP8] = FIGURE(3616e12);
    a.hbm_bytes = FIGURE(186e9);
    a.hbm_bytes_per_s = FIGURE(8e12);
    a.scaleup_bytes_per_s = FIGURE(900e9);
    a.nic_bytes_per_s = FIGURE(50e9);
    a.power_cap_w = FIGURE(1200);
    a.power_compute_w = FIGURE(1140);
    a.power_comm_w = FIGURE(420);
    a.power_idle_w = FIGURE(200);
    a.node_other_w = FIGURE(450);
    a.smoothing_floor = FIGURE(0.9);
    a.price_usd = RANGE(32e3, 40e3, 47e3);
    a.failures = RANGE(2.7, 3.9, 8.0);
    return a;
}

static inline struct plan_cluster test_cluster(const struct plan_accelerator *a, int64_t n)
{
    struct plan_cluster c = {.name = "test", .n_pools = 1, .fabric_tiers = 3};
    c.pools[0] = (struct plan_pool){a, n};
    c.oversubscription = FIGURE(1);
    c.routing_efficiency = FIGURE(0.9);
    return c;
}

/* arXiv:2407.21783, table 3. */
static inline struct plan_model test_llama3_405b(void)
{
    return (struct plan_model){.name = "llama3-405b",
                               .layers = 126,
                               .hidden = 16384,
                               .heads = 128,
                               .kv_heads = 8,
                               .head_dim = 128,
                               .vocab = 128256,
                               .ffn_hidden = 53248,
                               .glu = true};
}

/* arXiv:2005.14165. */
static inline struct plan_model test_gpt3_175b(void)
{
    return (struct plan_model){.name = "gpt3-175b",
                               .layers = 96,
                               .hidden = 12288,
                               .heads = 96,
                               .kv_heads = 96,
                               .head_dim = 128,
                               .vocab = 51200,
                               .ffn_hidden = 49152,
                               .tied_embeddings = true};
}

/* arXiv:2412.19437, section 4.2. */
static inline struct plan_model test_deepseek_v3(void)
{
    return (struct plan_model){.name = "deepseek-v3",
                               .layers = 61,
                               .hidden = 7168,
                               .heads = 128,
                               .kv_heads = 128,
                               .head_dim = 128,
                               .vocab = 129280,
                               .ffn_hidden = 18432,
                               .glu = true,
                               .attention = PLAN_ATTENTION_MLA,
                               .mla_q_rank = 1536,
                               .mla_kv_rank = 512,
                               .mla_nope_dim = 128,
                               .mla_rope_dim = 64,
                               .mla_v_dim = 128,
                               .experts = 256,
                               .top_k = 8,
                               .moe_ffn_hidden = 2048,
                               .shared_ffn_hidden = 2048,
                               .dense_layers = 3,
                               .mtp_layers = 1,
                               .route_domains = 4};
}

/* Llama 3 405B on 16,384 H100: table 4 and section 3.3; Tectonic takes 2 TB/s. */
static inline struct plan_request test_llama3_request(const struct plan_accelerator *a)
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
                                    .precision = PLAN_BF16};
    r.software = (struct plan_software){PLAN_STACK_FSDP, 2024.3};
    r.tokens = FIGURE(15.6e12);
    return r;
}

#define assert_within(value, expected, share)                                  \
    do {                                                                       \
        double v_ = (value), x_ = (expected);                                  \
        if (!(fabs(v_ - x_) <= (share)*fabs(x_)))                              \
            fail_msg("%s = %g is %+.1f %% off %g (%g %% allowed)", #value, v_, \
                     100.0 * (v_ / x_ - 1.0), x_, 100.0 * (share));            \
    } while (0)
#define assert_between(value, low, high)                                                        \
    do {                                                                                        \
        double v_ = (value);                                                                    \
        if (!(v_ >= (low) && v_ <= (high)))                                                     \
            fail_msg("%s = %g is outside %g .. %g", #value, v_, (double)(low), (double)(high)); \
    } while (0)
#define assert_ordered(r)                                                \
    do {                                                                 \
        struct plan_range r_ = (r);                                      \
        if (!(r_.low <= r_.mid && r_.mid <= r_.high))                    \
            fail_msg("%s is %g / %g / %g", #r, r_.low, r_.mid, r_.high); \
    } while (0)

#endif
