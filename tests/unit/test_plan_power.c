/* test_plan_power.c: watts, against the measured node power of MLPerf Training runs and the
 * published megawatts of Colossus 1; and what a lower cap buys. */
#include "test_plan_run_util.h"

/* ------------------------------------------------------------------ MLPerf
 * Power logs of MLPerf Training submissions (v4.0 SMC, v4.1 Dell, v5.0 Lenovo): watts of a node of
 * 8 over the run, means of all runs of a row. Predicted is the level while training, from the data
 * sheet's cap, nvidia-smi's idle power and the shares of the step. Compute and communication are
 * what bench/bench_power.py measured on an H100 of its own, the same for all rows. From the row:
 *   - the idle power of the node (its 5th percentile where the run begins idle), which gives what
 *     the server draws beside its accelerators;
 *   - how much of the run was idle: in a mix of two levels of which q is low, deviation over mean
 *     above idle is sqrt(q / (1 - q)).
 * The B200 rows never idle: DGX nameplates, 14.3 kW of which 8 the accelerators, beside 10.2 and
 * 5.6 of the H100, scale the 180 W that H100 servers draw beside each of theirs. */
#define COMPUTE_OF_CAP 0.995
#define COMM_OF_CAP    0.35
#define TOLERANCE      0.08
enum share { GPT3, ONE_NODE, EIGHT_NODES, MANY_NODES };
struct mlperf_row {
    const char *what;
    double cap_w, idle_w, node_idle_w;
    double mean_w, deviation_w;
    enum share share;
};
#define B200_IDLE ((8 * 140 + 8 * 180 * (14.3 - 8.0) / (10.2 - 5.6)) / 0.95)
static const struct mlperf_row ROWS[] = {
    /* The one long run of many nodes: 57 minutes; AC and DC side of the supplies. */
    {"v4.0 GPT-3, 64 x 8 H100, AC", 700, 70, 2110, 6849, 417, GPT3},
    {"v4.0 GPT-3, 64 x 8 H100, DC", 700, 70, 1940, 6742, 717, GPT3},
    {"v4.0 Llama 2 70B LoRA, 1 x 8 H100, AC", 700, 70, 2110, 6951, 1054, ONE_NODE},
    {"v4.0 Llama 2 70B LoRA, 1 x 8 H100, DC", 700, 70, 1940, 6748, 1118, ONE_NODE},
    {"v4.0 BERT, 1 x 8 H100, AC", 700, 70, 2110, 5697, 1979, ONE_NODE},
    {"v4.0 BERT, 1 x 8 H100, DC", 700, 70, 1940, 5539, 2003, ONE_NODE},
    {"v4.0 Llama 2 70B LoRA, 8 x 8 H100, AC", 700, 70, 2110, 5815, 1001, EIGHT_NODES},
    {"v4.0 Llama 2 70B LoRA, 8 x 8 H100, DC", 700, 70, 1940, 5708, 1089, EIGHT_NODES},
    {"v4.0 Llama 2 70B LoRA, 64 x 8 H100, AC", 700, 70, 2110, 5086, 1352, MANY_NODES},
    {"v4.0 Llama 2 70B LoRA, 64 x 8 H100, DC", 700, 70, 1940, 4985, 1502, MANY_NODES},
    {"v4.1 Llama 2 70B LoRA, 8 x 8 H100, Dell", 700, 70, 3286, 7025, 1806, EIGHT_NODES},
    {"v5.0 Llama 2 70B LoRA, 1 x 8 B200, AC", 1000, 140, B200_IDLE, 9571, 533, ONE_NODE},
    {"v5.0 BERT, 1 x 8 B200, AC", 1000, 140, B200_IDLE, 9694, 965, ONE_NODE},
};

static const struct plan_software OF_2024 = {.stack = PLAN_STACK_MEGATRON, .generation = 2024.4};

/* GPT-3 in NVIDIA's published layout. */
static double gpt3_share(void)
{
    struct model_config m = test_gpt3_175b();
    struct machine_accelerator h100 = test_h100();
    struct machine_cluster c = test_cluster(&h100, 512);
    struct plan_layout l = {.tp = 4,
                            .pp = 8,
                            .cp = 1,
                            .ep = 1,
                            .etp = 1,
                            .dp = 16,
                            .vp = 6,
                            .micro_batch = 2,
                            .zero = 1,
                            .precision = MACHINE_FP8};
    struct plan_batch b = {.global_batch = 2048, .seq_len = 2048};
    struct plan_step step;
    plan_step(&m, &c, &l, &b, &OF_2024, &step);
    return step.compute_share;
}

/* Llama 2 70B in the layout of the one-node logs, tensors of 4 and two replicas. Adapters alone are
 * trained: a product runs forward and for its input's gradient, two thirds of its usual time, and
 * there is next to nothing to exchange or to update. */
static double lora_share(void)
{
    struct model_config m = {.name = "llama2-70b",
                             .n_layers = 80,
                             .d_model = 8192,
                             .n_heads = 64,
                             .n_kv_heads = 8,
                             .head_dim = 128,
                             .vocab_size = 32000,
                             .ffn_hidden = 28672,
                             .glu = true};
    struct machine_accelerator h100 = test_h100();
    struct machine_cluster c = test_cluster(&h100, 8);
    struct plan_layout l = {.tp = 4,
                            .pp = 1,
                            .cp = 1,
                            .ep = 1,
                            .etp = 1,
                            .dp = 2,
                            .vp = 1,
                            .micro_batch = 1,
                            .zero = 1,
                            .precision = MACHINE_FP8};
    struct plan_batch b = {.global_batch = 8, .seq_len = 8192};
    struct plan_step s;
    plan_step(&m, &c, &l, &b, &OF_2024, &s);
    double compute = s.part_s[PLAN_PART_MATMUL] * 2 / 3 + s.part_s[PLAN_PART_ATTENTION] +
                     s.part_s[PLAN_PART_VECTOR];
    return compute / (compute + s.part_s[PLAN_PART_TP] + s.part_s[PLAN_PART_OTHER]);
}

/* More nodes do the work of one in their own time: samples and evaluations of a published run, in
 * the node-seconds that one node takes for them, over the node-seconds that the run took. The logs
 * are in the results of MLPerf v4.0, smc/results, runs 5027 (one node: 2.087 samples a second,
 * 38.7 s an evaluation), 5020 and 5116. More nodes take larger batches and so more samples. */
static double many_nodes_share(double nodes, double samples, double evaluations, double wall_s)
{
    return lora_share() * (samples / 2.087 + evaluations * 38.7) / (nodes * wall_s);
}

static double share_of(enum share kind)
{
    switch (kind) {
    case GPT3: return gpt3_share();
    case EIGHT_NODES: return many_nodes_share(8, 3072, 5, 316.8);
    case MANY_NODES: return many_nodes_share(64, 7680, 10, 114.8);
    case ONE_NODE: break;
    }
    return lora_share();
}

static double predicted_w(const struct mlperf_row *row)
{
    struct machine_accelerator a = test_h100();
    a.power_cap_w = FIGURE(row->cap_w);
    a.power_compute_w = FIGURE(COMPUTE_OF_CAP * row->cap_w);
    a.power_comm_w = FIGURE(COMM_OF_CAP * row->cap_w);
    a.power_idle_w = FIGURE(row->idle_w);
    a.node_other_w = FIGURE(row->node_idle_w * 0.95 / 8 - row->idle_w);
    double s = row->deviation_w / (row->mean_w - row->node_idle_w), q = s * s / (1 + s * s);
    double share = share_of(row->share);
    /* Their logs cover the run and nothing else, so that share is of the idle time, too. */
    if (row->share == EIGHT_NODES || row->share == MANY_NODES) share = fmin(share / (1 - q), 1.0);
    struct plan_request r = {.cluster = test_cluster(&a, 8)};
    struct plan_step step = {.step_s = 1.0, .compute_share = share};
    struct plan_power power;
    plan_power(&r, &step, &power);
    return (1 - q) * power.node_w + q * row->node_idle_w;
}

static void mlperf_nodes(void **state)
{
    (void)state;
    double sum = 0, bias = 0;
    size_t n = ARRAY_LEN(ROWS);
    for (size_t i = 0; i < n; i++) {
        double w = predicted_w(&ROWS[i]), error = w / ROWS[i].mean_w - 1;
        print_message("%-42s %5.0f W, measured %5.0f, %+.1f %%\n", ROWS[i].what, w, ROWS[i].mean_w,
                      100 * error);
        sum += fabs(error);
        bias += error;
    }
    print_message("mean error %.1f %%, bias %+.1f %%\n", 100 * sum / (double)n,
                  100 * bias / (double)n);
    for (size_t i = 0; i < n; i++)
        assert_within(predicted_w(&ROWS[i]), ROWS[i].mean_w, TOLERANCE);
}

/* The constants of the test are the ones that plans are made with. */
static void constants_are_the_presets(void **state)
{
    static const char *const names[] = {"h100", "h200", "h800", "b200", "gb200", "gb300"};
    (void)state;
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct machine_accelerator a;
        struct error e = {0};
        assert_ok(machine_load_accelerator(names[i], "", &arena, &a, &e), e);
        assert_within(a.power_compute_w.mid, COMPUTE_OF_CAP * a.power_cap_w.mid, 0.002);
        assert_within(a.power_comm_w.mid, COMM_OF_CAP * a.power_cap_w.mid, 0.002);
    }
    arena_fini(&arena);
}

/* ------------------------------------------------------------------ Colossus 1 */

static struct machine_site memphis(void)
{
    /* NOAA normals 1981-2010: mean, and wet bulb at the mean. */
    static const double DRY[12] = {5.1,  7.5,  12.2, 17.2, 22.1, 26.5,
                                   28.1, 27.8, 23.9, 17.9, 11.8, 6.4};
    static const double WET[12] = {2.3,  4.3,  8.3,  12.8, 17.7, 21.8,
                                   23.7, 23.4, 20.1, 13.8, 8.4,  3.6};
    struct machine_site s = {.cooling = MACHINE_COOLING_LIQUID_CHILLER, .has_climate = true};
    s.liquid_fraction = FIGURE(0.75);
    for (int i = 0; i < 12; i++)
        s.months[i] = (struct machine_climate_month){DRY[i], WET[i]};
    return s;
}

/* Provisioned: 150 MW of grid for 100,000 H100, 300 MW for 200,000 to 230,000; Meta's 24,000 in 30
 * MW scale to 125 MW. Nothing here is fitted to them. */
static void colossus_1(void **state)
{
    (void)state;
    struct machine_accelerator h100 = test_h100(), h200 = test_h100();
    struct plan_step step = {.step_s = 5.0, .compute_share = 0.8};
    struct plan_request r = {.site = memphis(), .cluster = test_cluster(&h100, 100000)};
    struct plan_power p;
    plan_power(&r, &step, &p);
    print_message("100k: %.0f MW mean, %.0f MW nameplate, PUE %.2f, %.2f L/kWh\n",
                  p.facility_w / 1e6, p.facility_max_w / 1e6, p.pue, p.wue_l_per_kwh);
    assert_between(p.facility_max_w, 120e6, 150e6);
    assert_between(p.facility_w, 90e6, 150e6);
    assert_within(p.wue_l_per_kwh * p.it_w / p.facility_w, 0.43, 0.25); /* 820,000 gallons a day */
    h200.power_idle_w = FIGURE(75);
    r.cluster.pools[0].count = 150000;
    r.cluster.pools[1] = (struct machine_pool){&h200, 50000};
    r.cluster.n_pools = 2;
    plan_power(&r, &step, &p);
    print_message("200k: %.0f MW mean, %.0f MW nameplate\n", p.facility_w / 1e6,
                  p.facility_max_w / 1e6);
    assert_between(p.facility_max_w, 240e6, 300e6);
}

/* ------------------------------------------------------------------ phases and caps */

static void sums_add_up(void **state)
{
    (void)state;
    struct machine_accelerator a = test_h100();
    struct plan_request r = {.site = memphis(), .cluster = test_cluster(&a, 4096)};
    struct plan_step step = {.step_s = 5.0, .compute_share = 0.75};
    struct plan_power p, idle;
    plan_power(&r, &step, &p);
    assert_within(p.accelerators_w, 4096 * (0.75 * 697 + 0.25 * 245), 1e-9);
    assert_within(p.accelerators_w + p.servers_w + p.network_w, p.it_w, 1e-9);
    assert_within(p.facility_w, p.it_w * p.pue, 1e-9);
    assert_within(p.node_w, 8 * (0.75 * 697 + 0.25 * 245 + 180) / 0.95, 1e-9);
    assert_true(p.facility_max_w > p.facility_w && p.facility_idle_w < p.facility_w);
    step.compute_share = 0;
    plan_power(&r, &step, &idle);
    assert_within(idle.accelerators_w, 4096 * 245.0, 1e-9);
}

/* 83,000 GB200: 1,200 to 1,000 W costs 5 % of the speed and gives 9 % more throughput from the
 * same megawatts (arXiv:2605.24461). Three quarters of the step compute. */
static void caps(void **state)
{
    (void)state;
    struct machine_accelerator a = test_gb200();
    a.power_compute_w = FIGURE(1200);
    struct plan_request r = {.cluster = test_cluster(&a, 82944), .power_cap = 1000.0 / 1200};
    struct plan_step step = {.step_s = 4.0, .compute_share = 0.75, .tokens_per_s = 1e6}, s = step;
    struct plan_power p;
    step.part_s[PLAN_PART_MATMUL] = 3.0;
    step.part_s[PLAN_PART_DP] = 1.0;
    s = step;
    plan_power_slow_step(&r, &s);
    print_message("1,000 of 1,200 W: %.1f %% slower\n", 100 * (s.step_s / step.step_s - 1));
    assert_within(step.step_s / s.step_s, 0.95, 0.015);
    assert_within(s.tokens_per_s * s.step_s, 4e6, 1e-9);
    r.power_cap = 0;
    plan_power(&r, &step, &p);
    int best = 0;
    for (int i = 0; i < p.n_caps; i++) {
        if (i > 0) assert_true(p.cap_speed[i] <= p.cap_speed[i - 1]);
        if (p.cap_cluster_gain[i] > p.cap_cluster_gain[best]) best = i;
    }
    assert_within(p.cap_speed[0], 1.0, 1e-12);
    assert_within(1.0 + p.cap_cluster_gain[0], 1.0, 1e-12);
    print_message("best cap %.0f W: %+.1f %%; at 1,020 W %+.1f %%, measured +12 %% at 960 W\n",
                  p.cap_w[best], 100 * p.cap_cluster_gain[best], 100 * p.cap_cluster_gain[5]);
    assert_between(p.cap_cluster_gain[7], 0.05, 0.15); /* 1.9 over 1.7 at 960 W */
    /* Waiting needs no clock. */
    step.part_s[PLAN_PART_DP] = 4.0, step.part_s[PLAN_PART_MATMUL] = 0;
    r.power_cap = 0.5;
    s = step;
    plan_power_slow_step(&r, &s);
    assert_within(s.step_s, step.step_s, 1e-12);
}

/* 100,000 H100: the published orders are tens of megawatts (Llama 3's 16,384), 66.7 MW as a full
 * square wave of 100,000 (arXiv:2606.22096). */
static void swing_of_a_real_cluster(void **state)
{
    (void)state;
    struct machine_accelerator a = test_h100();
    struct plan_request r = {.cluster = test_cluster(&a, 100000)};
    struct plan_step step = {.step_s = 5, .compute_share = 0.8};
    struct plan_power p;
    step.part_s[PLAN_PART_MATMUL] = 4.0;
    step.part_s[PLAN_PART_BUBBLE] = 0.3;
    step.part_s[PLAN_PART_TP] = 0.3;
    step.part_s[PLAN_PART_DP] = 0.4;
    plan_power(&r, &step, &p);
    assert_between(p.swing.amplitude_w, 30e6, 66.7e6);
    assert_true(p.swing.smoothing_left_w == p.swing.amplitude_w); /* Hopper cannot */
    assert_within(p.swing.mean_w, p.facility_w, 0.02);
    assert_between(p.swing.stop_w, p.swing.amplitude_w, 70e6);
    /* Turbines at 0.5 MW/s under half of the load: half of the drop, as a triangle. */
    r.site.n_sources = 2;
    r.site.sources[0] =
        (struct machine_power_source){.name = "grid", .capacity_w = FIGURE(p.facility_w / 2)};
    r.site.sources[1] = (struct machine_power_source){
        .name = "turbines", .capacity_w = FIGURE(200e6), .ramp_w_per_s = FIGURE(0.5e6)};
    plan_power(&r, &step, &p);
    assert_within(p.swing.stop_battery_wh, pow(p.swing.stop_w / 2, 2) / 1e6 / 3600, 1e-6);
    struct machine_accelerator b = test_gb200();
    r.cluster.pools[0].accelerator = &b;
    plan_power(&r, &step, &p);
    assert_true(p.swing.smoothing_left_w < 0.3 * p.swing.amplitude_w);
    assert_between(p.swing.smoothing_energy_fraction, 0.05, 0.15); /* 10.5 % measured at 0.9 */
    assert_true(p.swing.smoothing_left_w > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mlperf_nodes), cmocka_unit_test(constants_are_the_presets),
        cmocka_unit_test(colossus_1),   cmocka_unit_test(sums_add_up),
        cmocka_unit_test(caps),         cmocka_unit_test(swing_of_a_real_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
