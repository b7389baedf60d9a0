/* test_plan_catalogue.c: description files of plans: figures with units and grades, names that lead
 * to files, every preset, and what errors say. */
#include "test_cmocka.h"

#include "plan/read/plan_read_internal.h"
#include "train/train.h"

#include <math.h>

struct fixture {
    struct arena arena;
    struct error e;
    char *dir;
};

static int setup(void **state)
{
    struct fixture *f = mem_calloc(1, sizeof(*f));
    arena_init(&f->arena);
    f->dir = test_folder(&f->arena);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct error e;
    file_remove_tree(f->dir, &e);
    arena_fini(&f->arena);
    mem_free(f);
    return 0;
}

/* ------------------------------------------------------------------ numbers */

static double number(const char *text, enum unit_kind d)
{
    double value;
    const char *unit;
    return unit_parse(text, d, &value, &unit) == UNIT_OK ? value : NAN;
}

static void test_numbers_and_units(void **state)
{
    (void)state;
    assert_true(number("80 GB", UNIT_BYTES) == 80e9);
    assert_true(number("80e9", UNIT_BYTES) == 80e9);
    assert_true(number("80E+9 B", UNIT_BYTES) == 80e9);
    assert_true(number("1 GiB", UNIT_BYTES) == 1073741824.0);
    assert_true(number("80G", UNIT_BYTES) == 80e9);
    assert_true(number("400 Gb/s", UNIT_BYTES_PER_S) == 50e9);
    assert_true(number("50GB/s", UNIT_BYTES_PER_S) == 50e9);
    assert_true(number("15T", UNIT_TOKENS) == 15e12);
    assert_true(number("1_000_000", UNIT_NONE) == 1e6);
    assert_true(fabs(number("5 %", UNIT_SHARE) - 0.05) < 1e-15);
    assert_true(fabs(number("0.08 lb/MWh", UNIT_G_PER_KWH) - 0.0362874) < 1e-6);
    assert_true(fabs(number("30 MW/min", UNIT_W_PER_S) - 5e5) < 1e-6);
    assert_true(number("-5", UNIT_CELSIUS) == -5);
}

static void test_numbers_that_are_none(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    "GB",   "many", "0x10", "inf", "nan", "1e999", "--1",
                                      "1 2", "1..2", "e5",   ".",    "+",   "1 _", "1,000"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_true(isnan(number(bad[i], UNIT_BYTES)));
    assert_true(isnan(number("80 GW", UNIT_BYTES)));
    assert_true(isnan(number("400 Gb/s", UNIT_BYTES)));
    assert_true(isnan(number("80 gb", UNIT_BYTES)));
}

/* ------------------------------------------------------------------ presets */

static char **list_presets(struct fixture *f, const char *folder, size_t *n)
{
    char **names;
    assert_ok(file_list_dir(file_join(&f->arena, "presets", folder), &f->arena, &names, n, &f->e),
              f->e);
    assert_true(*n > 0);
    return names;
}

static void check_figure(const char *file, const char *what, const struct figure *x)
{
    if (!(isfinite(x->mid) && x->low <= x->mid && x->mid <= x->high && x->mid >= 0))
        fail_msg("%s: %s is %g, %g, %g", file, what, x->low, x->mid, x->high);
    if (x->mid > 0 && (!x->grade || !x->source[0]))
        fail_msg("%s: %s has no grade or no source", file, what);
}

static void test_every_accelerator_loads(void **state)
{
    struct fixture *f = *state;
    size_t n;
    char **names = list_presets(f, "accelerators", &n);
    assert_true(n >= 15);
    for (size_t i = 0; i < n; i++) {
        struct machine_accelerator x;
        const char *name = preset_name_of_path(&f->arena, names[i]);
        assert_ok(machine_load_accelerator(name, NULL, &f->arena, &x, &f->e), f->e);
        assert_string_equal(x.name, name);
        for (int p = 0; p < MACHINE_N_PRECISIONS; p++) {
            check_figure(name, "peak", &x.peak_flops[p]);
            check_figure(name, "ceiling", &x.ceiling_flops[p]);
        }
        check_figure(name, "hbm_bytes", &x.hbm_bytes);
        check_figure(name, "hbm_bytes_per_s", &x.hbm_bytes_per_s);
        check_figure(name, "scaleup", &x.scaleup_bytes_per_s);
        check_figure(name, "nic", &x.nic_bytes_per_s);
        check_figure(name, "cap", &x.power_cap_w);
        check_figure(name, "compute", &x.power_compute_w);
        check_figure(name, "comm", &x.power_comm_w);
        check_figure(name, "idle", &x.power_idle_w);
        check_figure(name, "other", &x.node_other_w);
        check_figure(name, "price", &x.price_usd);
        check_figure(name, "failures", &x.failures);
        check_figure(name, "smoothing_floor", &x.smoothing_floor);
        assert_true(x.failures.mid > 0 && x.price_usd.mid > 0);
    }
}

static void test_figures_of_h100(void **state)
{
    struct fixture *f = *state;
    struct machine_accelerator x;
    assert_ok(machine_load_accelerator("h100", NULL, &f->arena, &x, &f->e), f->e);
    assert_string_equal(x.title, "NVIDIA H100 SXM5 80 GB");
    assert_true(x.peak_flops[MACHINE_BF16].mid == 989e12);
    assert_true(x.peak_flops[MACHINE_MXFP8].mid == 0);
    assert_true(x.ceiling_flops[MACHINE_FP8].mid == 1403e12);
    assert_int_equal(x.ceiling_flops[MACHINE_FP8].grade, 'S');
    assert_non_null(strstr(x.ceiling_flops[MACHINE_FP8].source, "MAMF"));
    assert_true(x.hbm_bytes.mid == 81559 * 0x1p20 && x.nic_bytes_per_s.mid == 50e9);
    assert_true(x.scaleup_bytes_per_s.mid == 450e9);
    assert_int_equal(x.scaleup_domain, 8);
    assert_true(x.power_cap_w.mid == 700 && x.power_comm_w.low == 140);
}

/* ------------------------------------------------------------------ every preset */

static void test_every_model_loads(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *name;
        double params, active; /* as published, in billions */
    } known[] = {{"gpt3-175b", 175, 175},
                 {"llama-2-70b", 69, 69},
                 {"llama-3-8b", 8.03, 8.03},
                 {"llama-3-405b", 405.9, 405.9},
                 {"mixtral-8x7b", 46.7, 12.9},
                 {"mixtral-8x22b", 141, 39},
                 {"deepseek-v2", 236, 21},
                 {"kimi-k2", 1040, 32.6},
                 {"qwen3-0.6b", 0.6, 0.6},
                 {"qwen3-32b", 32.8, 32.8},
                 {"qwen3-30b-a3b", 30.5, 3.3},
                 {"qwen3-235b-a22b", 235, 22},
                 {"nemotron-4-15b", 15.6, 15.6},
                 {"nemotron-4-340b", 341, 341},
                 {"gpt-oss-20b", 20.9, 4.2} /* 3.6 without the head */,
                 {"gpt-oss-120b", 117, 5.1},
                 {"palm-540b", 540, 540},
                 {"bloom-176b", 176, 176},
                 {"mt-nlg-530b", 530, 530},
                 {"grok-1", 315.7, 83.8},
                 {"grok-2", 269.5, 114.9}};
    size_t n;
    char **names = list_presets(f, "models", &n);
    for (size_t i = 0; i < n; i++) {
        struct model_config m;
        const char *name = preset_name_of_path(&f->arena, names[i]);
        assert_ok(plan_load_model(name, NULL, &f->arena, &m, &f->e), f->e);
        assert_string_equal(m.name, name);
        assert_true(plan_model_params(&m) > 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        struct model_config m;
        assert_ok(plan_load_model(known[i].name, NULL, &f->arena, &m, &f->e), f->e);
        double params = plan_model_params(&m) / 1e9, active = plan_model_active_params(&m) / 1e9;
        if (fabs(params / known[i].params - 1) > 0.02 || fabs(active / known[i].active - 1) > 0.12)
            fail_msg("%s: %.4g, %.4g billion, published %g, %g", known[i].name, params, active,
                     known[i].params, known[i].active);
    }
}

static void test_every_cluster_loads(void **state)
{
    struct fixture *f = *state;
    size_t n;
    char **names = list_presets(f, "clusters", &n);
    for (size_t i = 0; i < n; i++) {
        struct machine_cluster c;
        const char *name = preset_name_of_path(&f->arena, names[i]);
        assert_ok(machine_load_cluster(name, NULL, &f->arena, &c, &f->e), f->e);
        assert_string_equal(c.name, name);
        assert_true(c.source[0] && c.title[0] && machine_cluster_accelerators(&c) >= 1);
        assert_true(c.fabric_tiers >= 1);
        check_figure(name, "oversubscription", &c.oversubscription);
        check_figure(name, "routing_efficiency", &c.routing_efficiency);
        check_figure(name, "spare_fraction", &c.spare_fraction);
        check_figure(name, "fleet_age_days", &c.fleet_age_days);
    }
}

static void test_every_site_loads(void **state)
{
    struct fixture *f = *state;
    size_t n;
    char **names = list_presets(f, "sites", &n);
    for (size_t i = 0; i < n; i++) {
        struct machine_site s;
        const char *name = preset_name_of_path(&f->arena, names[i]);
        assert_ok(machine_load_site(name, NULL, &f->arena, &s, &f->e), f->e);
        assert_string_equal(s.name, name);
        assert_true(s.n_sources >= 1 && (s.has_climate || s.design_pue.mid >= 1));
        for (int64_t k = 0; k < s.n_sources; k++) {
            check_figure(name, "usd_per_kwh", &s.sources[k].usd_per_kwh);
            check_figure(name, "co2_g_per_kwh", &s.sources[k].co2_g_per_kwh);
        }
        check_figure(name, "battery_w", &s.battery_w);
        check_figure(name, "permit_nox", &s.permit_nox_t_per_year);
    }
}

static void test_every_plan_loads(void **state)
{
    static const char *const mission[] = {
        "gigafactory-20k", "colossus-1-100k", "colossus-1-200k", "colossus-1-230k",
        "colossus-2-110k", "colossus-2-550k", "colossus-2-1m",   "stargate-abilene",
        "deepseek-v3",     "llama-3-405b",    "laptop"};
    struct fixture *f = *state;
    struct plan_request p;
    size_t n;
    char **names = list_presets(f, "plans", &n);
    for (size_t i = 0; i < n; i++) {
        char *path = arena_printf(&f->arena, "presets/plans/%s", names[i]);
        assert_ok(plan_load(path, &f->arena, &p, &f->e), f->e);
        assert_string_equal(p.name, preset_name_of_path(&f->arena, names[i]));
        assert_true(p.title[0] && p.batch.global_batch > 0 && p.batch.seq_len > 0);
        if (!p.search)
            assert_ok(plan_layout_check(&p.layout, &p.model, &p.batch,
                                        machine_cluster_accelerators(&p.cluster), &f->e),
                      f->e);
    }
    for (size_t i = 0; i < ARRAY_LEN(mission); i++)
        assert_ok(plan_load(mission[i], &f->arena, &p, &f->e), f->e);
}

static void test_every_run_file_loads(void **state)
{
    struct fixture *f = *state;
    struct plan_request p;
    size_t n;
    char **names = list_presets(f, "runs", &n);
    for (size_t i = 0; i < n; i++) {
        char *path = arena_printf(&f->arena, "presets/runs/%s", names[i]);
        assert_ok(plan_load(path, &f->arena, &p, &f->e), f->e);
        assert_true(!p.search && p.tokens.mid > 0 && p.model.vocab_size > 0);
    }
}

/* ------------------------------------------------------------------ plans */

static int parse(struct fixture *f, const char *text, struct plan_request *out)
{
    memset(&f->e, 0, sizeof(f->e));
    struct yaml_reader r = {"my.yaml", &f->arena, &f->e, 0};
    struct yaml_node *root;
    TRY(yaml_parse(text, strlen(text), r.path, &f->arena, &root, &f->e));
    return plan_read_root(&r, root, out);
}

#define MODEL   "model: llama-3-8b\n"
#define CLUSTER "cluster: 64 x h100\n"
#define BATCH   "batch: {global_batch: 128, seq_len: 8192}\n"

static void test_short_plan(void **state)
{
    struct fixture *f = *state;
    struct plan_request p;
    assert_ok(parse(f, MODEL CLUSTER BATCH, &p), f->e);
    assert_string_equal(p.name, "my");
    assert_string_equal(p.cluster.pools[0].accelerator->name, "h100");
    assert_int_equal(machine_cluster_accelerators(&p.cluster), 64);
    assert_string_equal(p.site.name, "us-average");
    assert_int_equal(p.n_notes, 1);
    assert_true(p.search && p.layout.tp == 0 && p.layout.precision == -1);
    assert_true(p.tokens.mid == 0 && p.software.generation == 0);
    assert_int_equal(p.software.stack, PLAN_STACK_MEGATRON);
}

static void test_plan_in_one_file(void **state)
{
    struct fixture *f = *state;
    struct plan_request p;
    static const char text[] =
        "name: whole\n"
        "title: All of it\n"
        "model:\n  n_layers: 24\n  d_model: 2048\n  n_heads: 16\n  n_kv_heads: 4\n  vocab_size: "
        "32000\n"
        "  ffn_hidden: 5632\n  n_experts: 1\n  tied_embeddings: false\n"
        "cluster:\n  pools:\n"
        "    - accelerator: {like: h100, power_cap_w: 500 W, power_compute_w: 480 W}\n"
        "      count: 16\n"
        "    - {accelerator: a100-80gb, count: 8}\n"
        "  lemon_fraction: 0\n"
        "site:\n  like: colossus-1\n  design_pue: 1.3\n  supply_c: 30 C\n"
        "software: {stack: fsdp, generation: 2024.5}\n"
        "batch: {global_batch: 48, seq_len: 4096}\n"
        "tokens: {mid: 2T, low: 1T, high: 3T, grade: A, source: \"a wish\"}\n"
        "layout: {tp: 1, pp: 1, cp: 1, ep: 1, etp: 1, dp: 24, vp: 1, micro_batch: 2, zero: 3,\n"
        "  recompute: none, precision: bf16}\n"
        "objective: cost\n"
        "power_cap: 80 %\n";
    assert_ok(parse(f, text, &p), f->e);
    assert_string_equal(p.name, "whole");
    assert_int_equal(p.model.head_dim, 128);
    assert_true(p.model.glu && !p.model.tied_embeddings);
    assert_int_equal(p.cluster.n_pools, 2);
    assert_true(p.cluster.pools[0].accelerator->power_cap_w.mid == 500);
    assert_true(p.cluster.pools[0].accelerator->hbm_bytes.mid == 81559 * 0x1p20);
    assert_true(p.cluster.lemon_fraction.grade == 'A' && p.cluster.lemon_fraction.mid == 0);
    assert_true(p.cluster.fleet_age_days.grade == 0);
    assert_true(p.site.design_pue.mid == 1.3 && p.site.n_sources == 2 && p.site.has_climate);
    assert_int_equal(p.software.stack, PLAN_STACK_FSDP);
    assert_true(p.tokens.low == 1e12 && p.tokens.high == 3e12);
    assert_string_equal(p.tokens_from, "given");
    assert_true(!p.search && p.layout.dp == 24 && p.layout.zero == 3);
    assert_int_equal(p.objective, PLAN_BY_COST);
    assert_true(p.power_cap == 0.8);
}

static void test_layout_in_part(void **state)
{
    struct fixture *f = *state;
    struct plan_request p;
    assert_ok(parse(f, MODEL CLUSTER BATCH "layout: {zero: 0}\n", &p), f->e);
    assert_true(p.search && p.layout.zero == 0);
    assert_ok(parse(f, MODEL CLUSTER BATCH "layout: {recompute: none}\n", &p), f->e);
    assert_true(p.layout.zero < 0 && p.layout.precision < 0 && p.layout.recompute == 0);
    assert_ok(parse(f, MODEL CLUSTER BATCH "layout: {tp: 2, precision: fp8}\n", &p), f->e);
    assert_true(p.search && p.layout.tp == 2 && p.layout.pp == 0);
    assert_int_equal(p.layout.precision, MACHINE_FP8);
    assert_int_equal(p.layout.recompute, -1);
    assert_ok(parse(f, MODEL CLUSTER BATCH "layout: auto\ntokens: compute-optimal\n", &p), f->e);
    assert_true(p.search && p.tokens.mid == 0);
}

/* ------------------------------------------------------------------ run files */

static const char run_text[] =
    "name: tiny\n"
    "data: {path: nowhere/data}\n"
    "model: {n_layers: 2, d_model: 64, n_heads: 4, n_kv_heads: 2, ffn_hidden: 96, n_experts: 4}\n"
    "batch: {seq_len: 256, micro_batch: 4, global_batch: 32}\n"
    "train: {tokens: 20M}\n"
    "optimizer: {kind: muon}\n";

static void test_run_file_is_a_plan(void **state)
{
    struct fixture *f = *state;
    struct plan_request p;
    assert_ok(parse(f, run_text, &p), f->e);
    assert_int_equal(p.model.n_layers, 2);
    assert_int_equal(p.model.n_kv_heads, 2);
    assert_int_equal(p.model.n_experts, 4);
    assert_int_equal(p.model.n_experts_used, 2);
    assert_int_equal(p.batch.seq_len, 256);
    assert_int_equal(p.batch.global_batch, 32);
    assert_true(p.tokens.mid == 20e6);
    if (!file_exists("presets/accelerators/local.yaml")) /* bench-machine was not run here */
        assert_string_equal(p.cluster.name, "laptop");
    assert_int_equal(p.n_notes, 2); /* the laptop, and a vocabulary that had to be assumed */
    assert_contains(p.notes[1], "32768");
}

static void test_run_file_on_a_measured_machine(void **state)
{
    struct fixture *f = *state;
    struct plan_request p;
    static const char local[] = "like: laptop-cpu\nname: local\nhbm_bytes: 4 GB\n";
    char *dir = file_join(&f->arena, f->dir, "presets/accelerators");
    char *run = file_join(&f->arena, f->dir, "run.yaml");
    assert_ok(file_make_dirs(dir, &f->e), f->e);
    assert_ok(file_write(file_join(&f->arena, dir, "local.yaml"), local, strlen(local), &f->e),
              f->e);
    assert_ok(file_write(run, run_text, strlen(run_text), &f->e), f->e);
    assert_ok(plan_load(run, &f->arena, &p, &f->e), f->e);
    assert_string_equal(p.cluster.pools[0].accelerator->name, "local");
    assert_true(p.cluster.pools[0].accelerator->hbm_bytes.mid == 4e9);
    assert_contains(p.notes[0], "as measured");
}

static void test_run_file_is_a_model(void **state)
{
    struct fixture *f = *state;
    struct plan_request p;
    char *run = file_join(&f->arena, f->dir, "run.yaml");
    char *plan = file_join(&f->arena, f->dir, "plan.yaml");
    static const char text[] = "model: run.yaml\n" CLUSTER "batch: {global_batch: 64}\n";
    assert_ok(file_write(run, run_text, strlen(run_text), &f->e), f->e);
    assert_ok(file_write(plan, text, strlen(text), &f->e), f->e);
    assert_ok(plan_load(plan, &f->arena, &p, &f->e), f->e);
    assert_string_equal(p.model.name, "tiny");
    assert_int_equal(p.batch.global_batch, 64);
    assert_int_equal(p.batch.seq_len, 256);
    assert_true(p.tokens.mid == 20e6);
}

static void test_run_words_within_a_plan(void **state)
{
    struct fixture *f = *state;
    struct plan_request p;
    assert_ok(parse(f, "model: {preset: grok-1, n_layers: 32}\n" CLUSTER BATCH, &p), f->e);
    assert_int_equal(p.model.n_layers, 32);
    assert_int_equal(p.model.d_model, 6144);
    assert_int_equal(p.model.n_experts, 8);
}

/* A plan refuses a misspelt section of a run file, and knows all that `colossus train` has. */
static void test_sections_of_run_files(void **state)
{
    struct fixture *f = *state;
    struct plan_request p;
    size_t n = 0;
    for (size_t i = 0; i < train_run_n_rows; i++) {
        const char *name = train_run_rows[i].name;
        int size = (int)strcspn(name, "."), k = 0;
        while (k < PLAN_N_RUN_SECTIONS && (strncmp(plan_run_sections[k], name, (size_t)size) != 0 ||
                                           plan_run_sections[k][size]))
            k++;
        if (k == PLAN_N_RUN_SECTIONS) fail_msg("'%s' of a run file is not known to plan", name);
        n = MAX(n, (size_t)k + 1);
    }
    assert_int_equal(n, PLAN_N_RUN_SECTIONS);
    static const char run[] = "model: {n_layers: 2, d_model: 64, n_heads: 4, ffn_hidden: 96}\n"
                              "data: {path: nowhere}\nbatch: {seq_len: 64}\n";
    assert_ok(parse(f, run, &p), f->e);
    assert_int_equal(parse(f, arena_printf(&f->arena, "%sbtach: {seq_len: 8192}\n", run), &p),
                     ERROR_CONFIG);
    assert_contains(f->e.text, "my.yaml:4:1: unknown key 'btach' in a run file");
    assert_contains(f->e.hint, "'batch'");
}

/* What a base said of layers that are gone does not come to mean something else. */
static void test_changes_of_a_base(void **state)
{
    struct fixture *f = *state;
    struct plan_request p;
    assert_ok(parse(f, "model: {like: deepseek-v3, dense_layers: 0}\n" CLUSTER BATCH, &p), f->e);
    assert_int_equal(p.model.dense_ffn_hidden, 0);
    assert_false(model_has_dense_branch(&p.model));
    assert_int_equal(parse(f, "model: {like: llama-3-8b, preset: grok-1}\n" CLUSTER BATCH, &p),
                     ERROR_CONFIG);
    assert_contains(f->e.text, "'like' and 'preset'");
    assert_int_equal(parse(f, "model: {like: deepseek-v3, dense_layers: 62}\n" CLUSTER BATCH, &p),
                     ERROR_CONFIG);
    assert_contains(f->e.text, "'dense_layers' is 62, more than n_layers (61)");
    struct model_config m;
    assert_int_equal(plan_load_model("nosuch", "plan.yaml", &f->arena, &m, &f->e), ERROR_CONFIG);
    assert_string_equal(f->e.text, "there is no model 'nosuch'");
}

/* ------------------------------------------------------------------ names */

static void test_names_lead_to_files(void **state)
{
    struct fixture *f = *state;
    struct machine_accelerator x;
    static const char mine[] = "like: h100\nname: mine\npower_cap_w: 800 W\n";
    char *path = file_join(&f->arena, f->dir, "mine.yaml");
    char *from = file_join(&f->arena, f->dir, "plan.yaml");
    assert_ok(file_write(path, mine, strlen(mine), &f->e), f->e);
    assert_ok(machine_load_accelerator(path, NULL, &f->arena, &x, &f->e), f->e);
    assert_true(x.power_cap_w.mid == 800);
    assert_ok(machine_load_accelerator("mine", from, &f->arena, &x, &f->e), f->e);
    assert_ok(machine_load_accelerator("mine.yaml", from, &f->arena, &x, &f->e), f->e);
    assert_string_equal(x.name, "mine");
    assert_true(machine_load_accelerator("mine", NULL, &f->arena, &x, &f->e) < 0);
}

static void test_presets_of_the_environment(void **state)
{
    struct fixture *f = *state;
    struct machine_accelerator x;
    static const char mine[] = "like: h100\nhbm_bytes: 96 GB\n";
    char *dir = file_join(&f->arena, f->dir, "accelerators");
    assert_ok(file_make_dirs(dir, &f->e), f->e);
    assert_ok(file_write(file_join(&f->arena, dir, "h96.yaml"), mine, strlen(mine), &f->e), f->e);
    setenv("COLOSSUS_PRESETS", f->dir, 1);
    assert_ok(machine_load_accelerator("h96", NULL, &f->arena, &x, &f->e), f->e);
    unsetenv("COLOSSUS_PRESETS");
    assert_true(x.hbm_bytes.mid == 96e9);
    assert_true(machine_load_accelerator("h96", NULL, &f->arena, &x, &f->e) < 0);
}

static void test_circles_end(void **state)
{
    struct fixture *f = *state;
    struct machine_accelerator x;
    char *a = file_join(&f->arena, f->dir, "a.yaml"), *b = file_join(&f->arena, f->dir, "b.yaml");
    assert_ok(file_write(a, "like: b\n", 8, &f->e), f->e);
    assert_ok(file_write(b, "like: a\n", 8, &f->e), f->e);
    assert_true(machine_load_accelerator(a, NULL, &f->arena, &x, &f->e) < 0);
    assert_contains(f->e.text, "circle");
}

/* ------------------------------------------------------------------ errors */

#define CAP "power_cap_w: 700 W\n"
#define X   "peak_flops: {bf16: 989 TFLOP/s}\nhbm_bytes: 80 GB\nhbm_bytes_per_s: 3 TB/s\n"

/* Every error names file, line, column and key, and ends in a valid example. */
static const struct {
    const char *text, *where, *says, *hint;
} malformed_plans[] = {
    {CLUSTER BATCH, "my.yaml:1:1", "'model'", "model: grok-2"},
    {MODEL BATCH, "my.yaml:1:1", "'cluster'", "cluster: 1024 x h100"},
    {MODEL CLUSTER, "my.yaml:1:1", "'batch'", "batch: {global_batch"},
    {"modle: a\n" CLUSTER BATCH, "my.yaml:1:1", "unknown key 'modle'", "did you mean 'model'?"},
    {MODEL CLUSTER BATCH "sites: x\n", "my.yaml:4:1", "unknown key 'sites'", "'site'"},
    {"- a\n- b\n", "my.yaml:1:1", "a plan", "for example"},
    {"just words\n", "my.yaml:1:1", "a plan", "for example"},
    {"model: llama-3-9b\n" CLUSTER BATCH, "my.yaml:1:8", "no model 'llama-3-9b'",
     "did you mean 'llama-3-8b'?"},
    {"model: ./none.yaml\n" CLUSTER BATCH, "my.yaml:1:8", "'./none.yaml'", "for example model"},
    {MODEL "cluster: colossus-1-100\n" BATCH, "my.yaml:2:10", "no cluster", "colossus-1-100k"},
    {MODEL "cluster: 64 x h10\n" BATCH, "my.yaml:2:10", "no accelerator 'h10'", "h100"},
    {MODEL "cluster: 0 x h100\n" BATCH, "my.yaml:2:10", "count", "1024 x h100"},
    {MODEL "cluster: {pools: []}\n" BATCH, "my.yaml:2:18", "'pools'", "accelerator: h100"},
    {MODEL "cluster: {}\n" BATCH, "my.yaml:2:10", "'pools'", "accelerator: h100"},
    {MODEL "cluster:\n  pools: [{accelerator: h100}]\n" BATCH, "my.yaml:3:11", "'count'",
     "count: 1024"},
    {MODEL "cluster:\n  pools: [{accelerator: h100, count: 1.5}]\n" BATCH, "my.yaml:3:38",
     "whole number", "count: 1024"},
    {MODEL "cluster:\n  pools: [{count: 8, accelerator: {like: h100, hbm_byte: 1 GB}}]\n" BATCH,
     "my.yaml:3:48", "unknown key 'hbm_byte'", "did you mean 'hbm_bytes'?"},
    {MODEL "cluster:\n  pools: [{count: 8, accelerator: {like: [h100]}}]\n" BATCH, "my.yaml:3:42",
     "'like'", "like: h100"},
    {MODEL "cluster: {like: colossus-1-100k, oversubscription: 0.5}\n" BATCH, "my.yaml:2:52",
     "'oversubscription' must be", "oversubscription: 1"},
    {MODEL "cluster: {like: colossus-1-100k, routing_efficiency: 95}\n" BATCH, "my.yaml:2:54",
     "'routing_efficiency' must be", "0.95"},
    {MODEL "cluster: {like: colossus-1-100k, fleet_age_days: 90 W}\n" BATCH, "my.yaml:2:50",
     "'fleet_age_days' must be a number in days or years", "90 days"},
    {MODEL CLUSTER "site: {like: nowhere}\n" BATCH, "my.yaml:3:14", "no site 'nowhere'",
     "for example abilene"},
    {MODEL CLUSTER "site: {sources: [{capacity_w: 1 MW}]}\n" BATCH, "my.yaml:3:18", "'name'",
     "name: grid"},
    {MODEL CLUSTER "site: {sources: {name: grid}}\n" BATCH, "my.yaml:3:17", "'sources'",
     "for example sources"},
    {MODEL CLUSTER "site: {like: us-average, cooling: liquid}\n" BATCH, "my.yaml:3:35", "'cooling'",
     "for example cooling"},
    {MODEL CLUSTER "site: {like: us-average, design_pue: 0.9}\n" BATCH, "my.yaml:3:38",
     "'design_pue'", "design_pue: 1.2"},
    {MODEL CLUSTER "site: {like: us-average, battery_w: 5 MW}\n" BATCH, "my.yaml:3:37",
     "'battery_wh'", "battery_wh: 655 MWh"},
    {MODEL CLUSTER "site: {like: us-average, climate: {dry_bulb_c: [1, 2]}}\n" BATCH,
     "my.yaml:3:48", "'climate.dry_bulb_c'", "wet_bulb_c"},
    {MODEL CLUSTER "site: {like: us-average, swing_band_low_hz: 30 Hz}\n" BATCH, "my.yaml:3:45",
     "'swing_band_low_hz'", "0.1 Hz"},
    {MODEL CLUSTER "batch: {global_batch: 8, seq_length: 9}\n", "my.yaml:3:26",
     "unknown key 'seq_length'", "did you mean 'seq_len'?"},
    {MODEL CLUSTER "batch: {global_batch: 8}\n", "my.yaml:3:8", "'seq_len'", "seq_len: 8192"},
    {MODEL CLUSTER "batch: {global_batch: many, seq_len: 8}\n", "my.yaml:3:23", "'many'",
     "global_batch: 2048"},
    {MODEL CLUSTER "batch: {global_batch: 0, seq_len: 8}\n", "my.yaml:3:23",
     "'global_batch' must be", "global_batch: 2048"},
    {MODEL CLUSTER "batch: 8\n", "my.yaml:3:8", "batch", "global_batch: 2048"},
    {MODEL CLUSTER BATCH "tokens: 15 GB\n", "my.yaml:4:9", "'tokens' must be a number in tokens",
     "tokens: 15T"},
    {MODEL CLUSTER BATCH "tokens: {low: 1T, high: 2T}\n", "my.yaml:4:9", "'tokens' has no mid",
     "tokens: {mid: 15T"},
    {MODEL CLUSTER BATCH "tokens: {mid: 1T, hihg: 2T}\n", "my.yaml:4:19",
     "unknown key 'tokens.hihg'", "did you mean 'high'?"},
    {MODEL CLUSTER BATCH "tokens: {mid: 1T, low: 2T}\n", "my.yaml:4:24", "low <= mid",
     "tokens: 15T"},
    {MODEL CLUSTER BATCH "tokens: {mid: 1T, grade: Z}\n", "my.yaml:4:26", "'tokens.grade'",
     "grade: S"},
    {MODEL CLUSTER BATCH "tokens: 0\n", "my.yaml:4:9", "'tokens'", "tokens: 15T"},
    {MODEL CLUSTER BATCH "layout: fast\n", "my.yaml:4:9", "'layout'", "layout: {tp: 8"},
    {MODEL CLUSTER BATCH "layout: {tp: 0}\n", "my.yaml:4:14", "'tp' must be", "tp: 8"},
    {MODEL CLUSTER BATCH "layout: {precision: bf17}\n", "my.yaml:4:21", "'precision'",
     "did you mean 'bf16'?"},
    {MODEL CLUSTER BATCH "layout: {ppp: 2}\n", "my.yaml:4:10", "unknown key 'ppp'", "'pp'"},
    {MODEL CLUSTER BATCH "layout: {tp: 8, pp: 1, cp: 1, ep: 1, etp: 1, dp: 9, vp: 1,\n"
                         "  micro_batch: 1, zero: 1, recompute: none, precision: bf16}\n",
     "my.yaml:4:9", "dp 9", "dp may be 8 at most"},
    {MODEL CLUSTER BATCH "layout: {tp: 8, pp: 2, cp: 1, ep: 1, etp: 1, dp: 4, vp: 1,\n"
                         "  micro_batch: 1, zero: 3, recompute: none, precision: bf16}\n",
     "my.yaml:4:9", "zero 3 with pp 2", "stack fsdp"},
    {MODEL CLUSTER BATCH "objective: money\n", "my.yaml:4:12", "'objective'", "for example"},
    {MODEL CLUSTER BATCH "software: {stack: megatrom}\n", "my.yaml:4:19", "'stack'", "'megatron'"},
    {MODEL CLUSTER BATCH "software: {generation: 2024.5 s}\n", "my.yaml:4:24", "'generation'",
     "generation: 2024.5"},
    {MODEL CLUSTER BATCH "software: {generation: 2100}\n", "my.yaml:4:24", "from 2018 to 2028",
     "generation: 2024.5"},
    {MODEL CLUSTER BATCH "power_cap: 20 %\n", "my.yaml:4:12", "'power_cap'", "power_cap: 80 %"},
    {"model: {n_layers: 2}\n" CLUSTER BATCH, "my.yaml:1:8", "'d_model'", "d_model: 4096"},
    {"model: {hidden: 2}\n" CLUSTER BATCH, "my.yaml:1:9", "unknown key 'hidden'",
     "'hidden' is 'd_model' now"},
    {"model: {like: llama-3-8b, n_kv_heads: 5}\n" CLUSTER BATCH, "my.yaml:1:8", "'n_heads' is 32",
     ""},
    {"model: {like: llama-3-8b, glu: maybe}\n" CLUSTER BATCH, "my.yaml:1:32", "'glu'", ""},
    {"model: {like: llama-3-8b, n_experts: 8, n_experts_used: 9}\n" CLUSTER BATCH, "my.yaml:1:8",
     "'n_experts_used' is 9", ""},
    {"model: {n_layers: 2, d_model: 64, n_heads: 4}\n" CLUSTER BATCH, "my.yaml:1:8", "'ffn_hidden'",
     "ffn_hidden: 14336"},
    {"model: {n_layers: 2, d_modle: 64}\n" CLUSTER BATCH, "my.yaml:1:22", "'d_modle'",
     "did you mean 'd_model'?"},
    {"model: {preset: grok-3}\n" CLUSTER BATCH, "my.yaml:1:17", "no model 'grok-3'", "grok-"},
    {"model: 5\n" MODEL, "my.yaml:2:1", "'model' is given twice", "keep one of the two"},
    {"model: [\n", "my.yaml:2:1", "", ""},
    {"model: &a x\n", "my.yaml:1:8", "aliases", "write the value out again"},
    {MODEL "cluster: /\n" BATCH, "my.yaml:2:10", "'/' is a folder", "cluster.yaml"},
};

/* Number of things wrong with an error: they are all shown before the test fails. */
static int check_error(struct fixture *f, int rc, const char *text, const char *where,
                       const char *says, const char *hint)
{
    bool example = f->e.hint[0] || !hint[0];
    if (rc < 0 && f->e.code == ERROR_CONFIG && example && strstr(f->e.text, where) &&
        strstr(f->e.text, says) && strstr(f->e.hint, hint))
        return 0;
    print_error("%s\n%s\n  hint: %s\nwanted %s, %s, %s\n\n", text, rc < 0 ? f->e.text : "accepted",
                rc < 0 ? f->e.hint : "", where, says, hint);
    return 1;
}

static void test_malformed_plans(void **state)
{
    struct fixture *f = *state;
    struct plan_request p;
    int wrong = 0;
    for (size_t i = 0; i < ARRAY_LEN(malformed_plans); i++)
        wrong +=
            check_error(f, parse(f, malformed_plans[i].text, &p), malformed_plans[i].text,
                        malformed_plans[i].where, malformed_plans[i].says, malformed_plans[i].hint);
    assert_int_equal(wrong, 0);
}

static const struct {
    const char *text, *where, *says, *hint;
} malformed_accelerators[] = {
    {X, "x.yaml:1:1", "'power_cap_w' of an accelerator is missing", "power_cap_w: 700 W"},
    {X "power_cap_w: 700 GB\n", "x.yaml:4:14", "'power_cap_w' must be a number in W, kW, MW or GW",
     "power_cap_w: 700 W"},
    {X "power_cap_w: seven\n", "x.yaml:4:14", "not 'seven'", "power_cap_w: 700 W"},
    {X "power_cap_w: -7 W\n", "x.yaml:4:14", "'power_cap_w' must be", "power_cap_w: 700 W"},
    {X "power_cap_w:\n", "x.yaml:4:13", "'power_cap_w' has no value", "power_cap_w: 700 W"},
    {X "power_cap_w: [1, 2]\n", "x.yaml:4:14", "not a list", "power_cap_w: 700 W"},
    {X "power_cap_w: 0x2bc\n", "x.yaml:4:14", "x2bc", "power_cap_w: 700 W"},
    {X "power_cap_w: .inf\n", "x.yaml:4:14", ".inf", "power_cap_w: 700 W"},
    {X CAP "power_compute_w: 900 W\n", "x.yaml:5:18", "'power_compute_w' 900 is more than",
     "power_compute_w: 665 W"},
    {X CAP "power_idle_w: 400 W\n", "x.yaml:5:15", "'power_idle_w' 400", "power_idle_w: 70 W"},
    {X CAP "ceiling_flops: {bf16: 990 TFLOP/s}\n", "x.yaml:5:23", "'ceiling_flops.bf16'",
     "ceiling_flops.bf16: 794 TFLOP/s"},
    {X CAP "ceiling_flops: {fp8: 1 TFLOP/s}\n", "x.yaml:5:22", "'ceiling_flops.fp8'",
     "ceiling_flops.fp8"},
    {X CAP "ceiling_flops: 5 TFLOP/s\n", "x.yaml:5:16", "'ceiling_flops' is a section",
     "ceiling_flops: {fp32: 380 TFLOP/s}"},
    {X CAP "ceiling_flops: {fp16: 5 TFLOP/s}\n", "x.yaml:5:17", "'ceiling_flops.fp16'",
     "did you mean 'ceiling_flops."},
    {X CAP "scaleup_domain: 8\n", "x.yaml:5:17", "'scaleup_bytes_per_s'",
     "scaleup_bytes_per_s: 450 GB/s"},
    {X CAP "scaleup_domain: 0\n", "x.yaml:5:17", "'scaleup_domain' must be", "scaleup_domain: 8"},
    {X CAP "smoothing_floor: 90\n", "x.yaml:5:18", "'smoothing_floor' must be", "90 %"},
    {X CAP "price: 5\n", "x.yaml:5:1", "unknown key 'price'", "price_usd"},
    {X CAP "nic_bytes_per_s: 400 Gb\n", "x.yaml:5:18", "not '400 Gb'", "400 Gb/s"},
    {CAP "hbm_bytes: 1 GB\nhbm_bytes_per_s: 1 GB/s\n", "x.yaml:1:1", "'peak_flops'",
     "peak_flops.bf16: 989 TFLOP/s"},
};

static void test_malformed_accelerators(void **state)
{
    struct fixture *f = *state;
    struct machine_accelerator x;
    char *path = file_join(&f->arena, f->dir, "x.yaml");
    int wrong = 0;
    for (size_t i = 0; i < ARRAY_LEN(malformed_accelerators); i++) {
        const char *text = malformed_accelerators[i].text;
        assert_ok(file_write(path, text, strlen(text), &f->e), f->e);
        wrong += check_error(f, machine_load_accelerator(path, NULL, &f->arena, &x, &f->e), text,
                             malformed_accelerators[i].where, malformed_accelerators[i].says,
                             malformed_accelerators[i].hint);
    }
    assert_int_equal(wrong, 0);
    static const char good[] = X CAP;
    assert_ok(file_write(path, good, strlen(good), &f->e), f->e);
    assert_ok(machine_load_accelerator(path, NULL, &f->arena, &x, &f->e), f->e);
    assert_true(x.power_compute_w.mid == 0.995 * 700 && x.power_compute_w.grade == 'D');
}

/* What an error offers as an example must be accepted in its place. */
static void check_examples(struct fixture *f, const struct section *s, void *target)
{
    struct yaml_reader r = {"example.yaml", &f->arena, &f->e, 0};
    for (size_t i = 0; i < s->n_rows; i++) {
        if (!s->rows[i].example) continue;
        const char *dot = strchr(s->rows[i].name, '.');
        char *text = dot ? arena_printf(&f->arena, "%.*s: {%s: %s}\n", (int)(dot - s->rows[i].name),
                                        s->rows[i].name, dot + 1, s->rows[i].example)
                         : arena_printf(&f->arena, "%s: %s\n", s->rows[i].name, s->rows[i].example);
        struct yaml_node *root;
        assert_ok(yaml_parse(text, strlen(text), "example.yaml", &f->arena, &root, &f->e), f->e);
        section_defaults(s, target);
        assert_ok(yaml_bind(&r, s, root, true, target, NULL), f->e);
    }
}

static void test_examples_are_valid(void **state)
{
    struct fixture *f = *state;
    union {
        struct plan_request request;
        struct machine_cluster cluster;
        struct machine_accelerator accelerator;
        struct machine_site site;
        char run_file[1024];
    } any;
    static const struct section *const sections[] = {
        &machine_accelerator_section, &machine_cluster_section, &machine_pool_section,
        &machine_site_section,        &machine_source_section,  &model_section,
        &plan_request_section,        &plan_batch_section,      &plan_layout_section,
        &plan_software_section};
    struct str whole = {0};
    struct plan_request p;
    for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
        memset(&any, 0, sizeof(any));
        check_examples(f, sections[i], &any);
    }
    for (size_t i = 0; i < plan_request_section.n_rows; i++)
        str_printf(&whole, "%s: %s\n", plan_request_section.rows[i].name,
                   plan_request_section.rows[i].example);
    assert_ok(parse(f, whole.data, &p), f->e);
    str_fini(&whole);
    for (size_t i = 0; i < machine_accelerator_section.n_rows; i++)
        assert_non_null(machine_accelerator_section.rows[i].help);
}

static void test_reference_page_is_the_tables(void **state)
{
    (void)state;
    char *text = NULL, *page;
    size_t size = 0, page_size;
    struct error e;
    CAPTURE(text, size, out, plan_print_keys(out));
    assert_ok(file_read("docs/reference/plan-files.md", 1 << 20, &page, &page_size, &e), e);
    if (strcmp(text, page) != 0)
        fail_msg("docs/reference/plan-files.md is not what `colossus plan --keys` prints");
    mem_free(page);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_and_units),
        cmocka_unit_test(test_numbers_that_are_none),
        cmocka_unit_test_setup_teardown(test_every_accelerator_loads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_figures_of_h100, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_model_loads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_cluster_loads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_site_loads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_plan_loads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_run_file_loads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_short_plan, setup, teardown),
        cmocka_unit_test_setup_teardown(test_plan_in_one_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_layout_in_part, setup, teardown),
        cmocka_unit_test_setup_teardown(test_run_file_is_a_plan, setup, teardown),
        cmocka_unit_test_setup_teardown(test_run_file_is_a_model, setup, teardown),
        cmocka_unit_test_setup_teardown(test_run_file_on_a_measured_machine, setup, teardown),
        cmocka_unit_test_setup_teardown(test_run_words_within_a_plan, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sections_of_run_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changes_of_a_base, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_lead_to_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_presets_of_the_environment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_circles_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed_plans, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed_accelerators, setup, teardown),
        cmocka_unit_test_setup_teardown(test_examples_are_valid, setup, teardown),
        cmocka_unit_test(test_reference_page_is_the_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
