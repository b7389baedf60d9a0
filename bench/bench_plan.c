/* bench_plan.c: how fast layouts are searched: the bars are 100,000 layouts a second on one core,
 * and a second for Llama 3 405B on 16,384 H100 and for a Grok-1-like model on a million GB200.
 *
 *     build/gcc/bench/bench_plan [ROUNDS]
 *
 * One core is measured by a process that may use only one (sched_setaffinity before the pool). */
#include "plan/search/plan_search_internal.h"

#include "../tests/unit/test_published_models.h"

#include <sched.h>

static struct machine_accelerator h100 = {
    .name = "h100",
    .peak_flops = {[MACHINE_BF16] = {.mid = 989e12}, [MACHINE_FP8] = {.mid = 1979e12}},
    .ceiling_flops = {[MACHINE_BF16] = {.mid = 794e12}, [MACHINE_FP8] = {.mid = 1403e12}},
    .hbm_bytes = {.mid = 80e9},
    .hbm_bytes_per_s = {.mid = 3.35e12},
    .scaleup_bytes_per_s = {.mid = 450e9},
    .scaleup_domain = 8,
    .node_size = 8,
    .nic_bytes_per_s = {.mid = 50e9},
    .power_cap_w = {.mid = 700},
};
static struct machine_accelerator gb200 = {
    .name = "gb200",
    .peak_flops = {[MACHINE_BF16] = {.mid = 2500e12},
                   [MACHINE_FP8] = {.mid = 5000e12},
                   [MACHINE_FP4] = {.mid = 10000e12}},
    .ceiling_flops = {[MACHINE_BF16] = {.mid = 1822e12}, [MACHINE_FP8] = {.mid = 3616e12}},
    .hbm_bytes = {.mid = 189e9},
    .hbm_bytes_per_s = {.mid = 8e12},
    .scaleup_bytes_per_s = {.mid = 900e9},
    .scaleup_domain = 72,
    .node_size = 4,
    .nic_bytes_per_s = {.mid = 50e9},
    .power_cap_w = {.mid = 1200},
};
static const struct model_config llama_405b = {LLAMA_3_405B};
static const struct model_config grok_1 = {GROK_1};

static void use_cpus(int n)
{
    cpu_set_t set, now;
    sched_getaffinity(0, sizeof now, &now);
    CPU_ZERO(&set);
    for (int i = 0, used = 0; i < CPU_SETSIZE && used < n; i++)
        if (CPU_ISSET(i, &now)) {
            CPU_SET(i, &set);
            used++;
        }
    sched_setaffinity(0, sizeof set, &set);
}

static void measure(const char *what, const struct model_config *m,
                    const struct machine_accelerator *a, int64_t count, struct plan_batch b,
                    int precision, int rounds)
{
    struct machine_cluster c = {.pools = {{a, count}}, .n_pools = 1, .fabric_tiers = 3};
    struct plan_software s = {0};
    struct plan_layout fixed = {.zero = -1, .recompute = -1, .precision = precision};
    double best = 1e9;
    struct plan_search found = {0};
    char text[160] = "";
    for (int i = 0; i < rounds; i++) {
        struct arena arena;
        struct error e = {0};
        arena_init(&arena);
        double start = time_now_s();
        int rc =
            plan_search(&(struct plan_search_space){m, &c, &b, &s, &fixed, PLAN_BY_TIME, 8, false},
                        &arena, &found, &e);
        best = MIN(best, time_now_s() - start);
        CHECK_MSG(rc == 0, "%s", e.text);
        plan_layout_text(&found.best[0].layout, text, sizeof text);
        if (i + 1 == rounds)
            printf("%-34s %2d cpu  %8.3f s  %9llu layouts  %9.0f layouts/s  front %zu\n  %.3f s: "
                   "%s\n  %s\n",
                   what, pool_available_cpus(), best, (unsigned long long)found.valid,
                   (double)found.valid / best, found.n_front, found.best[0].step.step_s, text,
                   found.runner_up);
        arena_fini(&arena);
    }
}

static void all(int rounds)
{
    measure("Llama 3 405B, 16,384 H100", &llama_405b, &h100, 16384, (struct plan_batch){2048, 8192},
            MACHINE_BF16, rounds);
    measure("the same, bf16 and fp8", &llama_405b, &h100, 16384, (struct plan_batch){2048, 8192},
            -1, rounds);
    measure("Grok-1, 1,000,000 GB200", &grok_1, &gb200, 1000000, (struct plan_batch){1000000, 8192},
            MACHINE_FP8, rounds);
    measure("the same, all precisions", &grok_1, &gb200, 1000000,
            (struct plan_batch){1000000, 8192}, -1, rounds);
}

int main(int argc, char **argv)
{
    int64_t rounds = 3;
    int cpus = pool_available_cpus();
    if (argc > 1) CHECK_MSG(parse_int(argv[1], &rounds) == 0 && rounds > 0, "'%s'", argv[1]);
    all((int)rounds);
    if (cpus > 1) {
        use_cpus(1);
        all((int)rounds);
    }
    return 0;
}
