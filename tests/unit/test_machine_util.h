/* test_machine_util.h: machines built by hand from public facts. Each fact names its source. */
#ifndef TEST_MACHINE_UTIL_H
#define TEST_MACHINE_UTIL_H

#include "test_cmocka.h"

#include <math.h>

#include "machine/machine.h"

#define FIGURE(x)                                                       \
    (struct figure)                                                     \
    {                                                                   \
        .mid = (x), .low = (x), .high = (x), .grade = 'S', .source = "" \
    }
#define RANGE(l, m, h)                                                  \
    (struct figure)                                                     \
    {                                                                   \
        .mid = (m), .low = (l), .high = (h), .grade = 'S', .source = "" \
    }

/* Data sheet; largest measured products (stas00, MAMF); idle of nvidia-smi listings; compute
 * and exposed communication as bench/bench_power.py measured them. */
static inline struct machine_accelerator test_h100(void)
{
    struct machine_accelerator a = {.name = "h100", .scaleup_domain = 8, .node_size = 8};
    a.peak_flops[MACHINE_BF16] = FIGURE(989e12);
    a.peak_flops[MACHINE_FP8] = FIGURE(1979e12);
    a.ceiling_flops[MACHINE_BF16] = FIGURE(794e12);
    a.ceiling_flops[MACHINE_FP8] = FIGURE(1403e12);
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
static inline struct machine_accelerator test_gb200(void)
{
    struct machine_accelerator a = {.name = "gb200", .scaleup_domain = 72, .node_size = 4};
    a.peak_flops[MACHINE_BF16] = FIGURE(2500e12);
    a.peak_flops[MACHINE_FP8] = FIGURE(5000e12);
    a.ceiling_flops[MACHINE_BF16] = FIGURE(1822e12);
    a.ceiling_flops[MACHINE_FP8] = FIGURE(3616e12);
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

static inline struct machine_cluster test_cluster(const struct machine_accelerator *a, int64_t n)
{
    struct machine_cluster c = {.name = "test", .n_pools = 1, .fabric_tiers = 3};
    c.pools[0] = (struct machine_pool){a, n};
    c.oversubscription = FIGURE(1);
    c.routing_efficiency = FIGURE(0.9);
    return c;
}

#endif
