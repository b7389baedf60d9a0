/* test_plan_run.c: the whole answer: days, hours and dollars of published runs, budgets by scaling
 * laws, sensitivities, and what a request must not be. */
#include "test_plan_run_util.h"

struct fixture {
    struct arena a;
    struct error e;
    struct machine_accelerator h100;
    struct plan_request r;
    struct plan_answer out;
};

static int setup(void **state)
{
    struct fixture *f = mem_calloc(1, sizeof(*f));
    arena_init(&f->a);
    f->h100 = test_h100();
    f->r = test_llama3_request(&f->h100);
    f->r.benchmark = true;
    f->r.cluster.fleet_age_days = FIGURE(180);
    f->r.cluster.lemon_fraction = RANGE(0.01, 0.02, 0.05);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    arena_fini(&f->a);
    mem_free(f);
    return 0;
}

/* 400 TFLOP/s an H100 at 16,384 (arXiv:2407.21783, table 4), 15.6 T tokens: about 69 days. */
static void llama3_days(void **state)
{
    struct fixture *f = *state;
    assert_ok(plan_solve(&f->r, &f->a, &f->out, &f->e), f->e);
    double flops = f->out.step.model_flops / f->out.step.step_s / 16384;
    print_message("Llama 3: %.0f TFLOP/s, %.1f days (%.1f .. %.1f), %s\n", flops / 1e12,
                  f->out.days.mid, f->out.days.low, f->out.days.high, f->out.limit);
    assert_within(flops, 400e12, 0.08);
    double goodput = f->out.reliability.goodput.mid;
    assert_within(f->out.days.mid, 15.6e12 / f->out.step.tokens_per_s / goodput / 86400, 1e-3);
    assert_within(f->out.days.mid, 69, 0.1);
    assert_ordered(f->out.days);
    assert_within(f->out.gpu_hours.mid, f->out.days.mid * 24 * 16384, 1e-9);
    assert_true(f->out.limit[0] != 0);
    /* Energy lies between all computing and all idle. */
    double mw = f->out.mwh.mid / (f->out.days.mid * 24);
    assert_between(mw * 1e6, f->out.power.facility_idle_w, f->out.power.facility_w);
    assert_ordered(f->out.mwh);
    assert_ordered(f->out.site_w);
    assert_within(f->out.site_w.mid, f->out.power.facility_w, 1e-12);
    assert_ordered(f->out.money.run_usd);
    assert_ordered(f->out.money.usd_per_million_tokens);
    assert_ordered(f->out.emissions.co2_t);
    assert_string_equal(f->out.tokens_from, "given");
    assert_true(f->out.build_days.mid == 0);
    f->r.site.build_days_per_1000 = RANGE(0.19, 1.22, 1.5); /* Colossus 1: 100,000 in 122 days */
    assert_ok(plan_solve(&f->r, &f->a, &f->out, &f->e), f->e);
    assert_within(f->out.build_days.mid, 1.22 * 16.384, 1e-9);
}

/* At each end energy is the work's and the idle power of the time that is lost beside it: more goodput takes
 * less, and never less than the work alone. */
static void energy_spreads_with_goodput(void **state)
{
    struct fixture *f = *state;
    assert_ok(plan_solve(&f->r, &f->a, &f->out, &f->e), f->e);
    const struct plan_answer sure = f->out;
    double hours = sure.days.mid * 24 * sure.reliability.goodput.mid;
    double lost = sure.days.mid * 24 - hours;
    assert_within(sure.mwh.mid * 1e6,
                  hours * sure.power.facility_w + lost * sure.power.facility_idle_w, 1e-3);
    assert_true(sure.mwh.low * 1e6 > 0.8 * hours * sure.power.facility_w);
    f->r.cluster.lemon_fraction = RANGE(0.0, 0.02, 0.6); /* failures that nobody can tell */
    assert_ok(plan_solve(&f->r, &f->a, &f->out, &f->e), f->e);
    assert_true(f->out.reliability.goodput.low < 0.97 * sure.reliability.goodput.low);
    assert_true(f->out.mwh.high > sure.mwh.high);
    /* but idle machines draw less than working ones, so it spreads less than the days do */
    assert_true(f->out.mwh.high / sure.mwh.high < f->out.days.high / sure.days.high);
}

/* 180 K H800 hours a trillion tokens (arXiv:2412.19437, table 1). Its layout; DualPipe counts as two
 * virtual stages, and its overlap of the experts' traffic as that of the public software which took
 * it over in 2025. NVLink moves 160 of 200 GB/s there, DeepEP 43 to 47 of the port's 50. */
static void deepseek_v3_hours(void **state)
{
    struct fixture *f = *state;
    struct machine_accelerator h800 = f->h100;
    h800.scaleup_bytes_per_s = FIGURE(200e9);
    struct plan_request r = {.name = "deepseek-v3", .model = test_deepseek_v3(), .benchmark = true};
    r.cluster = test_cluster(&h800, 2048);
    r.cluster.fabric_tiers = 2;
    r.batch = (struct plan_batch){.global_batch = 15360, .seq_len = 4096};
    r.layout = (struct plan_layout){.tp = 1,
                                    .pp = 16,
                                    .cp = 1,
                                    .ep = 64,
                                    .etp = 1,
                                    .dp = 128,
                                    .vp = 1,
                                    .micro_batch = 1,
                                    .zero = 1,
                                    .recompute = PLAN_RECOMPUTE_SELECTIVE,
                                    .precision = MACHINE_FP8};
    r.software = (struct plan_software){.stack = PLAN_STACK_DUALPIPE, .generation = 2024.9};
    r.tokens = FIGURE(1e12);
    assert_ok(plan_solve(&r, &f->a, &f->out, &f->e), f->e);
    print_message("DeepSeek-V3: %.0f K hours a trillion tokens, of which the step %.0f K\n",
                  f->out.gpu_hours.mid / 1e3, 1e12 / f->out.step.tokens_per_s * 2048 / 3600 / 1e3);
    assert_within(f->out.gpu_hours.mid, 180e3, 0.15);
}

/* The descriptions that ship, from file to answer: published megawatts and interruptions. */
static void shipped_plans(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *path;
        double max_w_low, max_w_high;
    } SITES[] = {
        {"presets/plans/colossus-1-100k.yaml", 120e6, 150e6}, /* 150 MW of grid */
        {"presets/plans/colossus-1-200k.yaml", 240e6, 300e6}, /* 300 MW with the second */
    };
    for (size_t i = 0; i < ARRAY_LEN(SITES); i++) {
        assert_ok(plan_load(SITES[i].path, &f->a, &f->r, &f->e), f->e);
        assert_ok(plan_solve(&f->r, &f->a, &f->out, &f->e), f->e);
        print_message("%s: %.0f MW mean, %.0f MW nameplate; %s\n", SITES[i].path,
                      f->out.power.facility_w / 1e6, f->out.power.facility_max_w / 1e6,
                      f->out.limit);
        assert_between(f->out.power.facility_max_w, SITES[i].max_w_low, SITES[i].max_w_high);
        assert_true(f->out.power.facility_w < f->out.power.facility_max_w);
    }
    assert_ok(plan_load("presets/plans/llama-3-405b.yaml", &f->a, &f->r, &f->e), f->e);
    assert_ok(plan_solve(&f->r, &f->a, &f->out, &f->e), f->e);
    assert_within(f->out.reliability.mtbf_s.mid / 3600, 54.0 * 24 / 419, 0.10);
    assert_true(f->out.reliability.goodput.mid > 0.90);
}

/* Days and dollars are those of whole runs; a benchmark's are shown beside them. */
static void production_takes_longer(void **state)
{
    struct fixture *f = *state;
    assert_ok(plan_solve(&f->r, &f->a, &f->out, &f->e), f->e);
    const struct plan_answer quiet = f->out;
    assert_true(quiet.production.mid == 1 && quiet.days.mid == quiet.benchmark_days.mid);
    f->r.benchmark = false;
    assert_ok(plan_solve(&f->r, &f->a, &f->out, &f->e), f->e);
    assert_true(f->out.production.low < f->out.production.mid);
    assert_true(f->out.production.mid < f->out.production.high);
    assert_true(f->out.production.mid > 1.05 && f->out.production.mid < 1.3); /* a large run */
    assert_within(f->out.benchmark_days.mid, quiet.days.mid, 1e-12);
    assert_within(f->out.days.mid, quiet.days.mid * f->out.production.mid, 1e-12);
    assert_within(f->out.mwh.mid, quiet.mwh.mid * f->out.production.mid, 1e-9);
    assert_within(f->out.money.run_usd.mid, quiet.money.run_usd.mid * f->out.production.mid, 0.01);
    /* 30.84 million hours (its model card) lie within */
    assert_between(30.84e6, f->out.gpu_hours.low, f->out.gpu_hours.high);
}

static void budgets(void **state)
{
    struct fixture *f = *state;
    struct range t = plan_optimal_tokens(&f->r.model);
    assert_ordered(t);
    assert_between(t.low, 4e12, 20 * 406e9); /* DeepSeek's law asks for less than Chinchilla's */
    assert_within(t.high, 16.7e12, 0.01);    /* 402B and 16.55 T at 3.8e25 FLOPs */
    struct model_config moe = test_deepseek_v3();
    struct range m = plan_optimal_tokens(&moe);
    assert_ordered(m);
    assert_true(m.low < 20 * plan_model_active_params(&moe) * 1.01);
    assert_true(m.high > 20 * plan_model_params(&moe) * 0.99);
    f->r.tokens = (struct figure){0};
    assert_ok(plan_solve(&f->r, &f->a, &f->out, &f->e), f->e);
    assert_within(f->out.tokens.mid, t.mid, 1e-12);
    assert_contains(f->out.tokens_from, "scaling law");
}

static const struct plan_sensitivity *find(const struct plan_answer *a, const char *name)
{
    for (int i = 0; i < a->n_sensitivities; i++)
        if (strcmp(a->sensitivities[i].input, name) == 0) return &a->sensitivities[i];
    return NULL;
}

static void inputs_matter(void **state)
{
    struct fixture *f = *state;
    f->r.tokens = RANGE(10e12, 15.6e12, 20e12);
    assert_ok(plan_solve(&f->r, &f->a, &f->out, &f->e), f->e);
    assert_true(f->out.n_sensitivities >= 5);
    const struct plan_sensitivity *s = find(&f->out, "tokens");
    assert_non_null(s);
    assert_within(s->low_days, f->out.days.mid * 10 / 15.6, 0.001);
    assert_within(s->high_usd, f->out.money.run_usd.mid * 20 / 15.6, 0.001);
    s = find(&f->out, "price of an accelerator");
    assert_non_null(s);
    assert_true(s->low_usd < f->out.money.run_usd.mid && s->high_usd > f->out.money.run_usd.mid);
    assert_within(s->low_days, f->out.days.mid, 1e-9);
    /* Widest first, and the request is as it was. */
    double width = INFINITY;
    for (int i = 0; i < f->out.n_sensitivities; i++) {
        s = &f->out.sensitivities[i];
        double d = fabs(s->high_days - s->low_days) / f->out.days.mid;
        double u = fabs(s->high_usd - s->low_usd) / f->out.money.run_usd.mid;
        assert_true(fmax(d, u) <= width * (1 + 1e-9));
        width = fmax(d, u);
    }
    assert_true(f->h100.price_usd.mid == 30e3);
}

static void a_cap_costs_time_and_saves_energy(void **state)
{
    struct fixture *f = *state;
    struct plan_answer full;
    assert_ok(plan_solve(&f->r, &f->a, &full, &f->e), f->e);
    f->r.power_cap = 0.8;
    assert_ok(plan_solve(&f->r, &f->a, &f->out, &f->e), f->e);
    assert_true(f->out.days.mid > full.days.mid * 1.01);
    assert_true(f->out.mwh.mid < full.mwh.mid);
    double sum = 0;
    for (int i = 0; i < PLAN_N_PARTS; i++)
        sum += f->out.step.part_s[i];
    assert_within(sum, f->out.step.step_s, 1e-6);
    /* Its table of caps is still beside the uncapped machine. */
    assert_within(f->out.power.cap_tokens_per_mwh[0], full.power.cap_tokens_per_mwh[0], 1e-6);
    assert_within(1 / f->out.power.cap_speed[7], f->out.days.mid / full.days.mid, 0.01);
}

static void bad_requests(void **state)
{
    struct fixture *f = *state;
    struct plan_request r = f->r;
    r.batch.global_batch = 0;
    assert_int_equal(plan_solve(&r, &f->a, &f->out, &f->e), ERROR_CONFIG);
    assert_contains(f->e.text, "0 sequences of 8192 tokens");
    assert_contains(f->e.hint, "2048 sequences");
    r = f->r;
    r.power_cap = 1.2;
    assert_true(plan_solve(&r, &f->a, &f->out, &f->e) < 0);
    assert_contains(f->e.text, "1.2");
    r = f->r;
    r.cluster.pools[0].count = 0;
    assert_true(plan_solve(&r, &f->a, &f->out, &f->e) < 0);
    r = f->r;
    r.tokens.mid = NAN;
    assert_true(plan_solve(&r, &f->a, &f->out, &f->e) < 0);
    r = f->r;
    r.layout.dp = 100;
    assert_true(plan_solve(&r, &f->a, &f->out, &f->e) < 0);
}

/* What cannot run comes before what is slow. */
static void verdicts(void **state)
{
    struct fixture *f = *state;
    struct plan_request r = f->r;
    r.site.n_sources = 1;
    r.site.sources[0] = (struct machine_power_source){.name = "grid", .capacity_w = FIGURE(5e6)};
    assert_ok(plan_solve(&r, &f->a, &f->out, &f->e), f->e);
    if (f->out.step.fits) assert_contains(f->out.limit, "power: ");
    assert_true(f->out.power.unserved_w > 5e6);
    r.site.sources[0].capacity_w = FIGURE(100e6);
    r.site.swing_limit_w = FIGURE(1e5);
    assert_ok(plan_solve(&r, &f->a, &f->out, &f->e), f->e);
    assert_false(f->out.power.swing.within_limit);
    if (f->out.step.fits) assert_contains(f->out.limit, "the grid: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(llama3_days, setup, teardown),
        cmocka_unit_test_setup_teardown(energy_spreads_with_goodput, setup, teardown),
        cmocka_unit_test_setup_teardown(deepseek_v3_hours, setup, teardown),
        cmocka_unit_test_setup_teardown(shipped_plans, setup, teardown),
        cmocka_unit_test_setup_teardown(production_takes_longer, setup, teardown),
        cmocka_unit_test_setup_teardown(budgets, setup, teardown),
        cmocka_unit_test_setup_teardown(inputs_matter, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cap_costs_time_and_saves_energy, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(verdicts, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
