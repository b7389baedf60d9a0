/* test_plan_reliability.c: failures, restarts, checkpoints and goodput, against published fleets
 * and against brute force. */
#include "test_plan_run_util.h"

/* The fleets of the published interruptions. Rates are never given: only size, age and lemons,
 * which the papers describe in words (a new cluster; a fleet in its second year; a cluster being
 * brought up) and which are assumptions in numbers. The law's constants come from another paper. */
static const struct fleet {
    const char *what;
    int64_t accelerators;
    double age_days, lemons, published_h;
} FLEETS[] = {
    {"Llama 3, 54 days, 419 interruptions (arXiv:2407.21783)", 16384, 180, 0.02, 54.0 * 24 / 419},
    {"32K H100, mature (arXiv:2602.00277)", 32000, 720, 0.0, 2.6},
    {"98K, young (arXiv:2602.00277)", 98000, 60, 0.10, 0.3},
};

static struct plan_reliability reliability_of(const struct fleet *f)
{
    struct machine_accelerator h100 = test_h100();
    struct plan_request r = test_llama3_request(&h100);
    struct plan_step step = {.step_s = 5.0};
    struct plan_reliability out;
    r.cluster.pools[0].count = f->accelerators;
    r.cluster.fleet_age_days = FIGURE(f->age_days);
    r.cluster.lemon_fraction = (struct figure){.mid = f->lemons, .grade = 'A'};
    r.layout.dp = (int32_t)(f->accelerators / 128);
    plan_reliability(&r, &step, NULL, &out);
    return out;
}

static void published_interruptions(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(FLEETS); i++) {
        struct plan_reliability out = reliability_of(&FLEETS[i]);
        print_message("%s: %.3g h (%.3g .. %.3g), published %.3g h\n", FLEETS[i].what,
                      out.mtbf_s.mid / 3600, out.mtbf_s.low / 3600, out.mtbf_s.high / 3600,
                      FLEETS[i].published_h);
        assert_within(out.mtbf_s.mid / 3600, FLEETS[i].published_h, 0.10);
        assert_ordered(out.mtbf_s);
        assert_between(FLEETS[i].published_h * 3600, out.mtbf_s.low, out.mtbf_s.high);
    }
}

static void published_goodput(void **state)
{
    (void)state;
    struct plan_reliability llama3 = reliability_of(&FLEETS[0]), young = reliability_of(&FLEETS[2]);
    print_message("Llama 3: %.3f (published: above 0.90); 98K: %.2f synchronous (0.44), "
                  "%.2f elastic (0.80)\n",
                  llama3.goodput.mid, young.goodput.mid, young.goodput_elastic.mid);
    assert_between(llama3.goodput.mid, 0.90, 0.99);
    assert_false(llama3.elastic);
    assert_within(young.goodput.mid, 0.44, 0.12);
    assert_within(young.goodput_elastic.mid, 0.80, 0.08);
    assert_true(young.elastic);
    assert_ordered(llama3.goodput);
    assert_ordered(young.goodput);
    assert_ordered(young.goodput_elastic);
}

/* Other long runs say how much of their time was useful; none has a part in the constants. */
static void other_goodputs(void **state)
{
    (void)state;
    static const struct {
        struct fleet f;
        double low, high;
    } RUNS[] = {
        {{"ByteRobust, dense, 3 months: 97 % (arXiv:2509.16293)", 9600, 365, 0.02, 0}, 0.95, 0.99},
        {{"MegaScale: above 90 % (arXiv:2402.15627)", 12288, 180, 0.05, 0}, 0.90, 0.99},
        {{"BLOOM: 0.4 % to checkpoints, 1 or 2 failures a week", 384, 365, 0.05, 0}, 0.97, 1.0},
    };
    for (size_t i = 0; i < ARRAY_LEN(RUNS); i++) {
        struct plan_reliability out = reliability_of(&RUNS[i].f);
        print_message("%s: %.3f\n", RUNS[i].f.what, out.goodput.mid);
        assert_between(out.goodput.mid, RUNS[i].low, RUNS[i].high);
    }
}

static void fleets_differ(void **state)
{
    (void)state;
    struct fleet f = FLEETS[0];
    struct plan_reliability base = reliability_of(&f), out;
    f.age_days = 10;
    out = reliability_of(&f);
    assert_true(out.failures_per_1000_node_days.mid > 1.4 * base.failures_per_1000_node_days.mid);
    f = FLEETS[0];
    f.lemons = 0.15;
    out = reliability_of(&f);
    assert_within(out.failures_per_1000_node_days.mid / base.failures_per_1000_node_days.mid,
                  1.6 / 1.08, 0.01);
    /* Linear in nodes: no law of the size beside the fleet's rate. */
    f = FLEETS[0];
    f.accelerators *= 4;
    out = reliability_of(&f);
    assert_within(base.mtbf_s.mid / out.mtbf_s.mid, 4.0, 0.02);
    assert_true(out.spare_nodes > base.spare_nodes && out.spare_nodes < 4 * base.spare_nodes);
    assert_between((double)base.spare_nodes / 2048, 0.005, 0.05); /* fleets keep 2 to 5 % */
}

static void checkpoint_sizes(void **state)
{
    (void)state;
    struct plan_reliability out = reliability_of(&FLEETS[0]);
    assert_within(out.checkpoint_bytes, 5.7e12, 0.02); /* 405B: 14 B a parameter */
    assert_within(out.checkpoint_write_s, 5.7e12 / 2e12, 0.02);
    assert_between(out.checkpoint_stall_s, 0.3, 1.0); /* "under a second" */
    assert_true(out.interval_exact_s >= out.checkpoint_write_s);
    assert_within(out.interval_daly_s, out.interval_young_s, 0.05);
}

/* A million accelerators: nothing overflows, and the answer is elastic. */
static void a_million(void **state)
{
    (void)state;
    struct fleet f = {"", 1000000, 180, 0.05, 0};
    struct plan_reliability out = reliability_of(&f);
    assert_between(out.mtbf_s.mid, 60, 400);
    assert_true(out.goodput.mid < 1e-3);
    assert_true(out.elastic);
    assert_between(out.goodput_elastic.mid, 0.1, 0.9);
    assert_true(out.goodput_elastic.low > 1e-3);
    assert_true(out.goodput_elastic.low < out.goodput_elastic.mid);
    assert_true(out.goodput_elastic.mid < out.goodput_elastic.high);
    /* The job stops at the size that moves fastest, in whole groups, a 64th of the job or more. */
    print_message("a million: one every %.0f s, a job of %lld keeps %.2f (%.2f to %.2f)\n",
                  out.mtbf_s.mid, (long long)out.job_accelerators, out.goodput_elastic.mid,
                  out.goodput_elastic.low, out.goodput_elastic.high);
    assert_true(out.elastic_most < 1000000);
    assert_int_equal(out.job_accelerators, out.elastic_most);
    assert_int_equal(out.job_accelerators % out.elastic_group, 0);
    assert_true(out.elastic_group >= out.job_accelerators / 64);
    double speed = (double)out.job_accelerators * out.goodput_elastic.mid;
    static const double OTHER[] = {0.25, 0.5, 0.8, 1.0};
    for (size_t i = 0; i < ARRAY_LEN(OTHER); i++) {
        struct fleet part = f;
        part.accelerators = (int64_t)(OTHER[i] * (double)out.job_accelerators);
        struct plan_reliability alone = reliability_of(&part);
        double slower = (double)alone.job_accelerators * alone.goodput_elastic.mid;
        assert_true(alone.elastic && alone.job_accelerators <= part.accelerators);
        assert_true(slower < 1.02 * speed);
    }
    f.accelerators = 16384; /* not beyond any size: all are used */
    out = reliability_of(&f);
    assert_int_equal(out.job_accelerators, 16384);
}

/* No cliff where elastic recovery takes the synchronous one's place, and no failures of idle ones. */
static void no_cliff(void **state)
{
    (void)state;
    double before = 0.97, most = 0;
    bool any = false;
    for (int64_t n = 16384; n <= 131072; n += 1024) {
        struct fleet f = {"", n, 180, 0.05, 0};
        struct plan_reliability x = reliability_of(&f);
        double kept = x.elastic ? x.goodput_elastic.mid : x.goodput.mid;
        assert_between(kept, before - 0.02, before + 1e-9);
        assert_true(kept * (double)n > most);
        assert_ordered(x.goodput_elastic);
        before = kept;
        most = kept * (double)n;
        any |= x.elastic;
    }
    assert_true(any);
    struct machine_accelerator h100 = test_h100();
    struct plan_request r = test_llama3_request(&h100);
    struct plan_step step = {.step_s = 5.0, .used = 16384};
    struct plan_reliability tight, roomy;
    plan_reliability(&r, &step, NULL, &tight);
    r.cluster.pools[0].count = 20480;
    plan_reliability(&r, &step, NULL, &roomy);
    assert_true(roomy.mtbf_s.mid == tight.mtbf_s.mid && roomy.goodput.mid == tight.goodput.mid);
    assert_int_equal(roomy.spare_nodes, tight.spare_nodes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_interruptions),
        cmocka_unit_test(no_cliff),
        cmocka_unit_test(published_goodput),
        cmocka_unit_test(other_goodputs),
        cmocka_unit_test(fleets_differ),
        cmocka_unit_test(checkpoint_sizes),
        cmocka_unit_test(a_million),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
