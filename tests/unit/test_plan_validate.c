/* test_plan_validate.c: published rows are read by the documented rules, and the figures that
 * `plan validate` prints are those a hand calculation gives. */
#include "test_cmocka.h"

#include <math.h>
#include <unistd.h>

#include "plan/validate/plan_validate_internal.h"
#include "test_plan_rows_util.h"

#define HEAD                                                                                \
    "id,tier,source,model,layers,hidden,heads,kv_heads,head_dim,attn,ffn_hidden,glu,vocab," \
    "seq_len,experts,top_k,moe_ffn_hidden,gpu,n_gpus,tp,pp,ep,dp,vp,mbs,gbs,precision,"     \
    "recompute,dist_opt,step_time_s,tok_s_gpu,mem_gib,check\n"

static int parse(struct fixture *f, const char *text)
{
    memset(&f->e, 0, sizeof(f->e));
    return plan_rows_parse(text, strlen(text), "runs.csv", &f->a, &f->t, &f->e);
}

static void refused(struct fixture *f, const char *text, const char *error, const char *hint)
{
    assert_int_equal(parse(f, text), ERROR_CONFIG);
    assert_contains(f->e.text, error);
    assert_contains(f->e.hint, hint);
}

/* ------------------------------------------------------------------ reading rows */

static void test_row(void **state)
{
    struct fixture *f = *state;
    assert_ok(parse(f, HEAD "7,A,NVIDIA Megatron-Bridge perf 26.04.01,Llama3-70B,80,8192,64,8,128,"
                            "GQA,28672,1,128256,8192,,,,H100-80GB,64,4,4,,4,5,1,128,FP8-CS,none,"
                            "distributed optimizer,,1500,,causal +0.1%\n"),
              f->e);
    const struct plan_row *r = &f->t.row[0];
    assert_null(r->skip);
    assert_int_equal(r->id, 7);
    assert_int_equal(r->line, 2);
    assert_string_equal(r->family, "NVIDIA Megatron-Bridge");
    assert_string_equal(r->accelerator.name, "h100");
    assert_int_equal(r->cluster.pools[0].count, 64);
    assert_ptr_equal(r->cluster.pools[0].accelerator, &r->accelerator);
    assert_int_equal(r->layout.tp * 100 + r->layout.pp * 10 + r->layout.dp, 444);
    assert_int_equal(r->layout.precision, MACHINE_FP8);
    assert_int_equal(r->layout.recompute, PLAN_RECOMPUTE_NONE);
    assert_int_equal(r->layout.zero, 1);
    assert_false(r->mismatch);
    assert_true(r->model.glu && !r->model.tied_embeddings);
    /* seconds from tokens per second: 128 x 8192 / (1500 x 64) */
    assert_float_equal(r->step_s, 128.0 * 8192 / (1500.0 * 64), 1e-9);
    assert_float_equal(r->software.generation, 2026.3, 0.1);
}

static void test_gaps_and_aliases(void **state)
{
    struct fixture *f = *state;
    assert_ok(parse(f, HEAD
                    "1,B,x,DeepSeek-V3,61,7168,128,128,192,\"MLA(q1536,kv512,nope128,rope64,v128)"
                    "\",18432,1,129280,4096,256,8,2048,GB200,256,1,8,64,,4,1,2048,NVFP4,,,9.5,,,\n"
                    "2,A,x,GPT-3.6B,30,3072,32,,,MHA,,0,51200,2048,,,,A100-80GB,64,2,1,,32,,16,"
                    "512,fp16,full,none (DDP),3.7,,,MISMATCH causal +20%\n"
                    "3,A,x,GPT-OSS-120B,36,2880,64,8,64,GQA alt. sliding-window 128,2880,1,201088,"
                    "4096,128,4,2880,GB300,64,1,1,64,64,,2,1280,MXFP8,,FSDP FULL_SHARD,5,,,\n"),
              f->e);
    const struct plan_row *v3 = &f->t.row[0], *gpt = &f->t.row[1], *oss = &f->t.row[2];
    assert_null(v3->skip);
    assert_int_equal(v3->layout.dp, 32);
    assert_int_equal(v3->layout.ep, 32); /* 64 expert ranks do not fit the 32 of a stage */
    assert_contains(v3->assumed, "ep 64 read as 32");
    assert_contains(v3->assumed, "recomputation by rule");
    assert_int_equal(v3->model.attention, MODEL_ATTENTION_MLA);
    assert_int_equal(v3->model.mla_rope_dim, 64);
    assert_int_equal(v3->model.mtp_layers, 1);
    assert_int_equal(v3->layout.precision, MACHINE_FP4);

    assert_true(gpt->mismatch && gpt->model.tied_embeddings);
    assert_int_equal(gpt->model.n_kv_heads, 32);
    assert_int_equal(gpt->model.ffn_hidden, 4 * 3072);
    assert_int_equal(gpt->model.head_dim, 96);
    assert_int_equal(gpt->layout.zero, 0);
    assert_int_equal(gpt->layout.precision, MACHINE_BF16);
    assert_string_equal(gpt->accelerator.name, "a100-80gb");

    assert_int_equal(oss->model.window, 128);
    assert_int_equal(oss->model.window_layers, 18);
    assert_int_equal(oss->layout.zero, 3);
    assert_int_equal(oss->software.stack, PLAN_STACK_FSDP);
    assert_false(oss->model.tied_embeddings);
}

static void test_skips(void **state)
{
    struct fixture *f = *state;
    static const char *const reasons[] = {
        "dimensions of the model", "pipeline parallel sizes", "accelerator 'Ascend 910'",
        "neither step time",       "not a multiple",          "tp 7 does not divide heads 8"};
    assert_ok(parse(f, HEAD
                    "1,A,x,Mystery-1B,,,,,,,,,,4096,,,,H100,8,1,1,,8,,1,8,bf16,,,1,,,\n"
                    "2,A,x,m,4,512,8,,,MHA,,0,32000,2048,,,,H100,8,,,,,,1,8,bf16,,,1,,,\n"
                    "3,A,x,m,4,512,8,,,MHA,,0,32000,2048,,,,Ascend 910,8,1,1,,,,1,8,bf16,,,1,,,\n"
                    "4,A,x,m,4,512,8,,,MHA,,0,32000,2048,,,,H100,8,1,1,,,,1,8,bf16,,,,,,\n"
                    "5,A,x,m,4,512,8,,,MHA,,0,32000,2048,,,,H100,8,1,1,,,,1,9,bf16,,,1,,,\n"
                    "6,A,x,m,4,512,8,,,MHA,,0,32000,2048,,,,H100,8,7,1,,,,1,8,bf16,,,1,,,\n"),
              f->e);
    assert_int_equal(f->t.count, ARRAY_LEN(reasons));
    for (size_t i = 0; i < f->t.count; i++) {
        assert_non_null(f->t.row[i].skip);
        assert_contains(f->t.row[i].skip, reasons[i]);
    }
}

static void test_errors(void **state)
{
    struct fixture *f = *state;
    const char *row = "1,A,x,m,4,512,8,,,MHA,,0,32000,2048,,,,H100,8,%s,1,,,,1,8,bf16,,,1,,,\n";
    char text[1024];
    snprintf(text, sizeof(text), "%s%s", HEAD, row);
    char *at = strstr(text, "%s");
    memcpy(at, "8x", 2);
    refused(f, text, "runs.csv:2: column 'tp' must be a whole number of 0 to 2147483647, not '8x'",
            "for example 8");
    memcpy(at, "-1", 2);
    refused(f, text, "runs.csv:2: column 'tp'", "for example 8");
    refused(f, "source,model,gpu,n_gpus,layers,hidden,heads,vocab,seq_len,tp,step_time_s\n",
            "runs.csv:1: column 'pp' is missing", "validation-rows.md");
    refused(f, "source,model,gpu,n_gpus,layers,hidden,heads,vocab,seq_len,tp,pp,step_times\n",
            "column 'step_times' is not known", "'step_time_s'");
    refused(f, "source,model,gpu,n_gpus,layers,hidden,heads,vocab,seq_len,tp,pp\n",
            "nothing measured", "step_time_s, tok_s_gpu, mem_gib");
    refused(f, HEAD "1,D,x,m,4,512,8,,,MHA,,0,32000,2048,,,,H100,8,1,1,,,,1,8,bf16,,,1,,,\n",
            "runs.csv:2: column 'tier' must be A, B or C, not 'D'", "aggregate");
    refused(f, HEAD "1,A,x,m,4,512,8,,,MLA(q1),,0,32000,2048,,,,H100,8,1,1,,,,1,8,bf16,,,1,,,\n",
            "column 'attn' must be MLA with five widths of 1 to 16777216, not 'MLA(q1)'",
            "MLA(q1536");
}

/* One bad cell leaves one row out, and says which; --strict stops there. */
static void test_bad_cells(void **state)
{
    struct fixture *f = *state;
    static const char row[] =
        ",A,x,m,4,512,8,,,MHA,,0,32000,2048,,,,H100,8,%s,1,,,,1,8,bf16,,,1,,,\n";
    char text[2048], path[] = "/tmp/colossus-rows-XXXXXX";
    size_t n = (size_t)snprintf(text, sizeof text, "%s1", HEAD);
    n += (size_t)snprintf(text + n, sizeof text - n, row, "1");
    n += (size_t)snprintf(text + n, sizeof text - n, "2");
    n += (size_t)snprintf(text + n, sizeof text - n, row, "eight");
    n += (size_t)snprintf(text + n, sizeof text - n, "3");
    n += (size_t)snprintf(text + n, sizeof text - n, row, "2");
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, n) == (ssize_t)n);
    close(fd);
    assert_ok(plan_rows_load(path, PLAN_ROWS_LENIENT, &f->a, &f->t, &f->e), f->e);
    assert_int_equal(f->t.count, 3);
    assert_int_equal(f->t.n_bad, 1);
    assert_null(f->t.row[0].skip);
    assert_null(f->t.row[2].skip);
    assert_string_equal(f->t.row[1].bad,
                        "3: column 'tp' must be a whole number of 0 to 2147483647, not 'eight'");
    assert_contains(f->t.row[1].cure, "for example 8");
    assert_int_equal(plan_rows_load(path, 0, &f->a, &f->t, &f->e), ERROR_CONFIG);
    assert_contains(f->e.text, ":3: column 'tp'");
    unlink(path);
}

/* Known things in another spelling. */
static void test_spellings(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *gpu, *is;
    } spelt[] = {{"NVIDIA H100 80GB HBM3", "h100"},
                 {"AMD Instinct MI355X", "mi355x"},
                 {"TPUv4", "tpu-v4"},
                 {"NVIDIA A100-SXM4-40GB", "a100-40gb"},
                 {"Trn2", "trainium2"},
                 {"tpu7x", "tpu-v7"}};
    for (size_t i = 0; i < ARRAY_LEN(spelt); i++) {
        char text[1024];
        snprintf(text, sizeof text,
                 HEAD
                 "1,A,TorchTitan,m,4,512,8,,,GQA chunked,,0,32000,2048,,,,%s,8,1,1,,,,1,8,bf16,"
                 "\"norm, act\",,1,,,\n",
                 spelt[i].gpu);
        assert_ok(parse(f, text), f->e);
        assert_string_equal(f->t.row[0].accelerator.name, spelt[i].is);
        assert_int_equal(f->t.row[0].layout.recompute, PLAN_RECOMPUTE_SELECTIVE);
        assert_int_equal(f->t.row[0].software.modules, PLAN_AGAIN_NORM | PLAN_AGAIN_ACT);
        assert_int_equal(f->t.row[0].software.stack, PLAN_STACK_FSDP);
        assert_contains(f->t.row[0].assumed, "chunked attention");
    }
}

/* A row states its software, and what it does not state is left to the date. */
static void test_software_columns(void **state)
{
    struct fixture *f = *state;
    static const char head[] =
        "source,model,layers,hidden,heads,seq_len,vocab,gpu,n_gpus,tp,pp,step_time_s,generation,"
        "stack,dispatcher,graphs,host,attention,fp8_recipe,optimizer_bytes\n";
    char text[1024];
    snprintf(text, sizeof text,
             "%sx,m,4,512,8,2048,32000,H100,8,1,1,1,2025-05,FSDP,Hybrid,scoped,"
             "unbound,flash2,rowwise,8\n",
             head);
    assert_ok(parse(f, text), f->e);
    const struct plan_software *s = &f->t.row[0].software;
    assert_float_equal(s->generation, 2025.375, 1e-3);
    assert_int_equal(s->stack, PLAN_STACK_FSDP);
    assert_int_equal(s->dispatcher, PLAN_DISPATCH_HYBRID);
    assert_int_equal(s->graphs, PLAN_GRAPHS_SCOPED);
    assert_int_equal(s->host, PLAN_HOST_UNBOUND);
    assert_int_equal(s->attention, PLAN_ATTENTION_FLASH2);
    assert_int_equal(s->fp8_recipe, PLAN_FP8_ROW);
    assert_int_equal(s->a2a_overlap, PLAN_A2A_BY_DATE);
    assert_float_equal(s->optimizer_bytes, 8, 1e-9);
    snprintf(text, sizeof text, "%sx,m,4,512,8,2048,32000,H100,8,1,1,1,,,carrier pigeon,,,,,\n",
             head);
    refused(f, text, "column 'dispatcher' must be one of its words, not 'carrier pigeon'",
            "by_date, all-to-all, deduplicated, hybrid");
}

/* ------------------------------------------------------------------ arithmetic */

static void test_stats(void **state)
{
    (void)state;
    struct validate_pair pairs[] = {{11, 10, NULL}, {8, 10, NULL}, {10, 10, NULL}, {15, 10, NULL}};
    struct validate_stats s = validate_stats_of(pairs, 4);
    assert_float_equal(s.mape_pct, (10 + 20 + 0 + 50) / 4.0, 1e-9);
    assert_float_equal(s.bias_pct, (10 - 20 + 0 + 50) / 4.0, 1e-9);
    assert_float_equal(s.median_pct, 15, 1e-9);         /* of 0 10 20 50 */
    assert_float_equal(s.p90_pct, 20 + 0.7 * 30, 1e-9); /* rank 2.7 */
    assert_float_equal(s.worst_pct, 50, 1e-9);
    assert_int_equal(validate_stats_of(pairs, 0).rows, 0);
}

/* n rows of one accelerator with the given seconds; model FLOPs 1 each, one accelerator. */
static void fill(struct validate_row *v, struct plan_row *r, size_t n, const double *measured,
                 const double *predicted, const char *const *sources)
{
    for (size_t i = 0; i < n; i++) {
        r[i] = (struct plan_row){.source = sources[i],
                                 .family = sources[i],
                                 .model_name = "m",
                                 .gpu = "g",
                                 .n_gpus = 1,
                                 .step_s = measured[i],
                                 .batch = {1, 1}};
        r[i].accelerator.name = "g";
        r[i].accelerator.peak_flops[MACHINE_BF16].mid = 2;
        r[i].layout.precision = MACHINE_BF16;
        v[i] = (struct validate_row){.row = &r[i], .timed = true, .predicted_s = predicted[i]};
        v[i].step.model_flops = 1;
    }
}

static void test_baselines(void **state)
{
    (void)state;
    struct plan_row r[4];
    struct validate_row v[4];
    static const char *const sources[] = {"a", "a", "b", "b"};
    const double measured[] = {1, 2, 4, 5}, predicted[] = {1, 2, 4, 5};
    fill(v, r, 4, measured, predicted, sources);
    validate_baselines(v, 4);
    /* no other rate has a smaller sum of |measured rate / rate - 1| */
    double best = 0;
    for (int i = 0; i < 4; i++)
        best += fabs(v[i].constant_s / measured[i] - 1);
    for (double rate = 0.15; rate < 1.1; rate += 0.001) {
        double sum = 0;
        for (int i = 0; i < 4; i++)
            sum += fabs(1 / rate / measured[i] - 1);
        assert_true(best <= sum + 1e-9);
    }
    /* source a from b's rates, and the other way round */
    assert_true(v[0].constant_out_s >= 4 && v[0].constant_out_s <= 5);
    assert_true(v[2].constant_out_s >= 1 && v[2].constant_out_s <= 2);
    /* a class that no other source has: by share of the peak of what there is */
    r[0].model.n_experts = r[1].model.n_experts = 8;
    r[0].layout.precision = r[1].layout.precision = MACHINE_FP8;
    r[0].accelerator.peak_flops[MACHINE_FP8].mid = r[1].accelerator.peak_flops[MACHINE_FP8].mid = 4;
    validate_baselines(v, 4);
    assert_true(v[0].constant_out_s >= 2 && v[0].constant_out_s <= 2.5);
}

static void test_ranking(void **state)
{
    struct fixture *f = *state;
    struct plan_row r[5];
    struct validate_row v[5];
    static const char *const sources[] = {"vTrain", "vTrain", "vTrain", "vTrain", "other"};
    const double measured[] = {1, 2, 3, 4, 9}, predicted[] = {1, 3, 2, 4, 1};
    fill(v, r, 5, measured, predicted, sources);
    struct validate_ranking k = validate_ranking(v, 5, "vTrain", &f->a);
    assert_int_equal(k.pairs, 6);
    assert_int_equal(k.rows, 4);
    assert_int_equal(k.groups, 1);
    assert_float_equal(k.tau, 4.0 / 6, 1e-9); /* five agree, one does not */
    assert_true(isnan(k.mean_tau));           /* four rows are too few */
    /* the other source competes with none */
    assert_int_equal(validate_ranking(v, 5, NULL, &f->a).pairs, 6);
    v[1].predicted_s = 2, v[2].predicted_s = 3;
    assert_float_equal(validate_ranking(v, 5, "vTrain", &f->a).tau, 1, 1e-9);
    r[3].n_gpus = 2; /* another machine */
    assert_int_equal(validate_ranking(v, 5, "vTrain", &f->a).pairs, 3);
    assert_true(isnan(validate_ranking(v, 5, "nobody", &f->a).tau));
}

/* Two models: six layouts in perfect order, five in reverse. */
static void test_ranking_by_model(void **state)
{
    struct fixture *f = *state;
    struct plan_row r[11];
    struct validate_row v[11];
    const char *sources[11];
    double measured[11], predicted[11];
    for (int i = 0; i < 11; i++) {
        sources[i] = "s";
        measured[i] = i + 1;
        predicted[i] = i % 2 ? 20 - i : i + 1;
    }
    fill(v, r, 11, measured, predicted, sources);
    for (int i = 1; i < 11; i += 2) /* one of the models, between rows of the other */
        r[i].n_gpus = 64;
    struct validate_ranking k = validate_ranking(v, 11, NULL, &f->a);
    assert_int_equal(k.groups, 2);
    assert_int_equal(k.rows, 11);
    assert_int_equal(k.pairs, 15 + 10);
    assert_float_equal(k.group[0].tau, 1, 1e-9);
    assert_int_equal(k.group[0].rows, 6);
    assert_float_equal(k.group[1].tau, -1, 1e-9);
    assert_int_equal(k.group[1].of->n_gpus, 64);
    assert_float_equal(k.tau, (15.0 - 10.0) / 25.0, 1e-9);
    assert_float_equal(k.mean_tau, 0, 1e-9);
}

static void test_groups(void **state)
{
    struct fixture *f = *state;
    struct plan_row r[4];
    struct validate_row v[4];
    struct validate_group *g;
    static const char *const sources[] = {"a", "b", "b", "b"};
    const double measured[] = {1, 1, 1, 1}, predicted[] = {2, 1, 1.5, 1};
    fill(v, r, 4, measured, predicted, sources);
    v[3].timed = false;
    size_t n = validate_groups(v, 4, VALIDATE_STEP, VALIDATE_BY_SOURCE, &f->a, &g);
    assert_int_equal(n, 2);
    assert_string_equal(g[0].name, "b");
    assert_int_equal(g[0].stats.rows, 2);
    assert_float_equal(g[0].stats.mape_pct, 25, 1e-9);
    assert_float_equal(g[1].stats.bias_pct, 100, 1e-9);
    r[0].n_gpus = 8192, r[1].n_gpus = 8191;
    n = validate_groups(v, 4, VALIDATE_STEP, VALIDATE_BY_SCALE, &f->a, &g);
    assert_int_equal(n, 3);
}

/* ------------------------------------------------------------------ fits without a source */

#define LEFT_OUT "test_plan_left_out.csv"

/* The constants as a table: columns from the last to the first, one of them left out or renamed. */
static void write_left_out(const char *last_head, const char *last_value)
{
    struct str text = {0};
    struct error e = {0};
    size_t n = plan_constants_count();
    for (size_t i = n; i-- > 1;)
        str_printf(&text, "%s,", plan_constants[i].name);
    str_printf(&text, "source,%s\n", last_head);
    for (size_t i = n; i-- > 1;)
        str_printf(&text, "%.17g,", plan_constants[i].value);
    str_printf(&text, "\"a, b\",%s\n", last_value);
    assert_ok(file_write(LEFT_OUT, text.data, text.len, &e), e);
    str_fini(&text);
}

static void test_left_out(void **state)
{
    struct fixture *f = *state;
    struct plan_left_out t;
    char value[32];
    size_t n = plan_constants_count();
    snprintf(value, sizeof(value), "%.17g", plan_constants[0].value);
    write_left_out(plan_constants[0].name, value);
    assert_ok(plan_left_out_load(LEFT_OUT, &f->a, &t, &f->e), f->e);
    assert_int_equal(t.count, 1);
    const double *values = plan_left_out_values(&t, "a, b");
    assert_non_null(values);
    for (size_t i = 0; i < n; i++) /* by name: the order of the columns is another one */
        assert_float_equal(values[i], plan_constants[i].value, 0);
    assert_null(plan_left_out_values(&t, "a"));

    write_left_out(plan_constants[0].name, "1e9"); /* no value that the fit may have found */
    assert_ok(plan_left_out_load(LEFT_OUT, &f->a, &t, &f->e), f->e);
    assert_int_equal(t.count, 0);

    write_left_out(plan_constants[0].name, value);
    char *text;
    size_t size;
    assert_ok(file_read(LEFT_OUT, 1 << 20, &text, &size, &f->e), f->e);
    struct str twice = {0};
    str_puts(&twice, text);
    str_puts(&twice, strchr(text, '\n') + 1); /* its line once more */
    assert_ok(file_write(LEFT_OUT, twice.data, twice.len, &f->e), f->e);
    assert_int_equal(plan_left_out_load(LEFT_OUT, &f->a, &t, &f->e), ERROR_CONFIG);
    assert_contains(f->e.text, LEFT_OUT ":3: 'a, b' stands there a second time");
    str_fini(&twice);
    mem_free(text);

    write_left_out(plan_constants[0].name, "much");
    assert_int_equal(plan_left_out_load(LEFT_OUT, &f->a, &t, &f->e), ERROR_CONFIG);
    assert_contains(f->e.text, LEFT_OUT ":2: column 'GEMM_BF16_AMPERE' must be a number");
    write_left_out("GEMM_OF_OLD", value);
    assert_int_equal(plan_left_out_load(LEFT_OUT, &f->a, &t, &f->e), ERROR_CONFIG);
    assert_contains(f->e.text, LEFT_OUT ":1: column 'GEMM_BF16_AMPERE' is missing");
    snprintf(value, sizeof(value), "%s,OLD", plan_constants[0].name);
    write_left_out(value, "1,2");
    assert_int_equal(plan_left_out_load(LEFT_OUT, &f->a, &t, &f->e), ERROR_CONFIG);
    assert_contains(f->e.text, LEFT_OUT ":1: column 'OLD' is no constant");
    assert_contains(f->e.hint, "tools/fit-plan");
    unlink(LEFT_OUT);
    assert_true(plan_left_out_load(LEFT_OUT, &f->a, &t, &f->e) < 0);
    assert_contains(f->e.text, LEFT_OUT);
}

/* ------------------------------------------------------------------ the whole command */

static void test_published_table(void **state)
{
    (void)state;
    char *text;
    size_t size;
    struct error e = {0};
    struct plan_validate_options o = {.json = true, .rows = true};
    int rc;
    CAPTURE(text, size, out, rc = plan_validate(NULL, &o, out, &e));
    assert_ok(rc, e);
    json_t *root;
    assert_ok(json_parse(text, size, "validate", &root, &e), e);
    json_t *step = json_object_get(root, "step_time"), *memory = json_object_get(root, "memory");
    assert_true(json_integer_value(json_object_get(step, "rows")) > 450);
    assert_true(json_object_size(json_object_get(step, "by_source")) > 15);
    assert_int_equal(json_integer_value(json_object_get(memory, "rows")), 43);
    double model = json_real_value(json_object_get(step, "mape_pct"));
    double constant = json_real_value(
        json_object_get(json_object_get(root, "constant_rate_left_out"), "mape_pct"));
    /* what README and docs/validation.md promise, and what was aimed at */
    assert_true(model > 0 && model < 9 && model < constant / 2);
    assert_true(fabs(json_real_value(json_object_get(step, "bias_pct"))) < 3);
    const char *name;
    json_t *of;
    json_object_foreach(json_object_get(step, "by_source"), name, of)
    {
        if (json_integer_value(json_object_get(of, "rows")) < 5) continue;
        if (json_real_value(json_object_get(of, "mape_pct")) > 15) fail_msg("%s", name);
    }
    static const char *const unseen[] = {"leave_one_source_out", "leave_one_family_out"};
    for (size_t k = 0; k < ARRAY_LEN(unseen); k++) {
        json_t *out_of = json_object_get(root, unseen[k]);
        assert_int_equal(json_integer_value(json_object_get(out_of, "rows")),
                         json_integer_value(json_object_get(step, "rows")));
        double mape = json_real_value(json_object_get(out_of, "mape_pct"));
        assert_true(mape > model && mape < 11);
    }
    assert_true(json_real_value(json_object_get(memory, "mape_pct")) < 6);
    json_t *ranking = json_object_get(root, "ranking");
    assert_true(json_real_value(json_object_get(ranking, "kendall_tau")) > 0.65);
    assert_int_equal(json_array_size(json_object_get(root, "rows")), 852);
    /* the mean of the rows' errors is the MAPE that is printed */
    double sum = 0;
    size_t i, n = 0;
    json_t *row;
    json_array_foreach(json_object_get(root, "rows"), i, row)
    {
        if (!json_is_true(json_object_get(row, "counted"))) continue;
        sum += fabs(json_real_value(json_object_get(row, "predicted_s")) /
                        json_real_value(json_object_get(row, "measured_s")) -
                    1);
        n++;
    }
    assert_float_equal(100 * sum / (double)n, model, 0.01);
    json_decref(root);
    free(text);
}

/* Measured on one H100 by bench/bench_accelerator.py; no constant was fitted on them. */
static void test_measured_h100(void **state)
{
    struct fixture *f = *state;
    assert_ok(plan_rows_load("presets/validation/measured_h100.csv", 0, &f->a, &f->t, &f->e), f->e);
    assert_int_equal(f->t.count, 3);
    for (size_t i = 0; i < f->t.count; i++) {
        const struct plan_row *r = &f->t.row[i];
        struct plan_step step;
        assert_null(r->skip);
        plan_step(&r->model, &r->cluster, &r->layout, &r->batch, &r->software, &step);
        print_message("%-24s step %+.1f %%, memory %+.1f %%\n", r->model_name,
                      100 * (step.step_s / r->step_s - 1),
                      100 * (step.memory.total / r->memory_bytes - 1));
        assert_true(fabs(step.step_s / r->step_s - 1) < 0.08);
        assert_true(fabs(step.memory.total / r->memory_bytes - 1) < 0.06);
    }
}

/* vTrain's other rows and torchtitan's: no constant was fitted on them (docs/decisions/plan-step.md). */
static void test_held_out_runs(void **state)
{
    struct fixture *f = *state;
    char *text;
    size_t size;
    struct plan_validate_options o = {.json = true};
    int rc;
    CAPTURE(text, size, out,
            rc = plan_validate("presets/validation/held_out_runs.csv", &o, out, &f->e));
    assert_ok(rc, f->e);
    json_t *root, *of;
    const char *name;
    assert_ok(json_parse(text, size, "validate", &root, &f->e), f->e);
    json_t *step = json_object_get(root, "step_time"), *ranking = json_object_get(root, "ranking");
    assert_int_equal(json_integer_value(json_object_get(step, "rows")), 88);
    assert_true(json_real_value(json_object_get(step, "mape_pct")) < 9);
    assert_true(fabs(json_real_value(json_object_get(step, "bias_pct"))) < 6);
    json_object_foreach(json_object_get(step, "by_source"), name, of)
    {
        if (json_real_value(json_object_get(of, "mape_pct")) > 15) fail_msg("%s", name);
    }
    json_t *memory = json_object_get(root, "memory");
    assert_int_equal(json_integer_value(json_object_get(memory, "rows")), 20);
    assert_true(json_real_value(json_object_get(memory, "mape_pct")) < 5);
    assert_int_equal(json_integer_value(json_object_get(ranking, "rows")), 62);
    assert_int_equal(json_array_size(json_object_get(ranking, "by_group")), 4);
    assert_true(json_real_value(json_object_get(ranking, "kendall_tau_mean")) > 0.7);
    json_decref(root);
    free(text);
}

static void assert_stored(int constant, double fitted)
{
    double stored = plan_constants_own.value[constant];
    if (!(fabs(stored - fitted) <= 0.01 * fabs(fitted)))
        fail_msg("%s is %g, and the runs say %g", plan_constants[constant].name, stored, fitted);
}

/* Whole runs: what docs/validation.md promises of the production factor, which is what the runs say. */
static void test_production(void **state)
{
    struct fixture *f = *state;
    struct validate_production p;
    assert_ok(validate_production(&f->a, &p, &f->e), f->e);
    assert_int_equal(p.judged, 27);
    assert_true(p.median_pct <= 15 && fabs(p.bias_pct) <= 10 && p.within_pct >= 75);
    assert_true(p.benchmark_bias_pct < -15); /* without it all are too short */
    assert_stored(PLAN_K_PRODUCTION, p.fit.factor.mid);
    assert_stored(PLAN_K_PRODUCTION_LOW, p.fit.factor.low);
    assert_stored(PLAN_K_PRODUCTION_HIGH, p.fit.factor.high);
    assert_stored(PLAN_K_PRODUCTION_SLOPE, p.fit.slope);
    for (size_t i = 0; i < p.count; i++)
        if (p.run[i].why) fail_msg("%s: %s", p.run[i].row->model_name, p.run[i].why);
}

/* torchtitan's H100 are of 500 W: what the clock sets takes longer there. */
static void test_machine_of_source(void **state)
{
    struct fixture *f = *state;
    static const char text[] =
        "source,model,gpu,n_gpus,layers,hidden,heads,vocab,seq_len,tp,pp,gbs,dp,step_time_s\n"
        "torchtitan 2024-12,m,H100,8,8,4096,32,32000,4096,1,1,8,8,1\n"
        "a twin of torchtitan's,m,H100,8,8,4096,32,32000,4096,1,1,8,8,1\n"
        "with a parallelism that no column names,m,H100,16,8,4096,32,32000,4096,1,1,8,8,1\n";
    assert_ok(parse(f, text), f->e);
    const struct machine_accelerator *a = &f->t.row[0].accelerator, *b = &f->t.row[1].accelerator;
    assert_float_equal(a->hbm_bytes.mid, 96e9, 1);
    double slower = a->ceiling_flops[MACHINE_BF16].mid / b->ceiling_flops[MACHINE_BF16].mid;
    assert_true(slower > 0.86 && slower < 0.90); /* (430 W / 627 W) ^ (1 / 3) above idle */
    assert_contains(f->t.row[0].assumed, "500 W");
    assert_contains(f->t.row[2].assumed, "newest software by rule");
    assert_null(f->t.row[1].skip);
    assert_contains(f->t.row[2].skip, "less than the number of accelerators");
}

static void test_text_plot_and_tiers(void **state)
{
    struct fixture *f = *state;
    char *text, *svg, *dir = test_folder(&f->a);
    size_t size, svg_size;
    const char *path = file_join(&f->a, dir, "scatter.svg");
    struct plan_validate_options o = {.tiers = "AB", .rows = true, .groups = true, .plot = path};
    int rc;
    CAPTURE(text, size, out, rc = plan_validate(NULL, &o, out, &f->e));
    assert_ok(rc, f->e);
    assert_contains(text, "by accelerator");
    assert_contains(text, "baseline: a rate a kind");
    assert_contains(text, "that cannot be predicted");
    assert_contains(text, "SimuMax");
    free(text);
    assert_ok(file_read(path, 1 << 24, &svg, &svg_size, &f->e), f->e);
    assert_contains(svg, "</svg>");
    mem_free(svg);
    file_remove_tree(dir, NULL);
    o.tiers = "X";
    CAPTURE(text, size, out, rc = plan_validate(NULL, &o, out, &f->e));
    free(text);
    assert_int_equal(rc, ERROR_USAGE);
    assert_contains(f->e.hint, "--tiers AB");
}

/* Layouts that were published as good are possible, and the search finds one as good. */
static void test_recipes(void **state)
{
    (void)state;
    char *text;
    size_t size;
    struct error e = {0};
    struct plan_validate_options o = {.json = true, .recipes = 45};
    int rc;
    CAPTURE(text, size, out, rc = plan_validate(NULL, &o, out, &e));
    assert_ok(rc, e);
    json_t *root;
    assert_ok(json_parse(text, size, "validate", &root, &e), e);
    json_t *recipes = json_object_get(root, "recipes");
    assert_int_equal(json_integer_value(json_object_get(recipes, "rows")), 45);
    assert_int_equal(json_integer_value(json_object_get(recipes, "possible")), 45);
    assert_int_equal(json_integer_value(json_object_get(recipes, "matched")), 45);
    json_decref(root);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gaps_and_aliases, setup, teardown),
        cmocka_unit_test_setup_teardown(test_skips, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_cells, setup, teardown),
        cmocka_unit_test_setup_teardown(test_spellings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_software_columns, setup, teardown),
        cmocka_unit_test(test_stats),
        cmocka_unit_test(test_baselines),
        cmocka_unit_test_setup_teardown(test_ranking, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ranking_by_model, setup, teardown),
        cmocka_unit_test_setup_teardown(test_groups, setup, teardown),
        cmocka_unit_test_setup_teardown(test_left_out, setup, teardown),
        cmocka_unit_test(test_published_table),
        cmocka_unit_test(test_recipes),
        cmocka_unit_test_setup_teardown(test_measured_h100, setup, teardown),
        cmocka_unit_test_setup_teardown(test_held_out_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_production, setup, teardown),
        cmocka_unit_test_setup_teardown(test_machine_of_source, setup, teardown),
        cmocka_unit_test_setup_teardown(test_text_plot_and_tiers, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
