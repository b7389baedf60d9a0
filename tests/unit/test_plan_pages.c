/* test_plan_pages.c: the pages of answers: HTML and SVG are well formed and load nothing, text from
 * descriptions is escaped, JSON has every figure, and inputs are changed by name. */
#include "test_cmocka.h"

#include "plan/show/plan_show_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct machine_accelerator h100 = {
    .name = "h100",
    .title = "H100 <80 GB> & \"more\"",
    .peak_flops = {[MACHINE_BF16] = {.mid = 989e12}, [MACHINE_FP8] = {.mid = 1979e12}},
    .ceiling_flops = {[MACHINE_BF16] = {.mid = 794e12}, [MACHINE_FP8] = {.mid = 1403e12}},
    .hbm_bytes = {.mid = 80e9},
    .hbm_bytes_per_s = {.mid = 3.35e12},
    .scaleup_bytes_per_s = {.mid = 450e9},
    .scaleup_domain = 8,
    .node_size = 8,
    .nic_bytes_per_s = {.mid = 50e9},
    .power_cap_w = {.mid = 700},
    .price_usd = {.mid = 30e3, .low = 25e3, .high = 40e3, .grade = 'S'},
    .failures = {.mid = 3, .low = 2, .high = 6, .grade = 'S'},
};

static struct plan_request request(void)
{
    return (struct plan_request){
        .name = "small",
        .title = "A <plan> & its page",
        .model = {.name = "Llama 3 8B",
                  .n_layers = 32,
                  .d_model = 4096,
                  .n_heads = 32,
                  .n_kv_heads = 8,
                  .head_dim = 128,
                  .vocab_size = 128256,
                  .ffn_hidden = 14336,
                  .glu = true},
        .cluster = {.name = "here", .pools = {{&h100, 64}}, .n_pools = 1, .fabric_tiers = 2},
        .site = {.name = "a <site>",
                 .sources = {{.name = "grid & co", .capacity_w = {.mid = 1e6}},
                             {.name = "turbines"}},
                 .n_sources = 2},
        .batch = {128, 8192},
        .layout = {.zero = -1, .recompute = -1, .precision = MACHINE_BF16},
        .search = true,
        .tokens = {.mid = 1e12, .low = 1e12, .high = 1e12, .grade = 'A'},
        .notes = {"assumed <this>"},
        .n_notes = 1,
    };
}

static char *read_text(const char *path)
{
    char *data;
    size_t size;
    struct error e = {0};
    assert_ok(file_read(path, 1 << 24, &data, &size, &e), e);
    assert_int_equal(strlen(data), size);
    return data;
}

/* Tags close in the order they open; text has no bare '<' or '&'. Void elements of HTML may. */
static void well_formed(const char *text)
{
    const char *stack[64];
    size_t lengths[64], depth = 0, tags = 0;
    for (const char *p = text; *p; p++) {
        if (*p == '&') {
            size_t n = strspn(p + 1, "abcdefghijklmnopqrstuvwxyz");
            assert_true(n > 0 && p[1 + n] == ';');
        }
        if (*p != '<') continue;
        const char *name = p + 1, *end = strchr(p, '>');
        assert_non_null(end);
        tags++;
        size_t length = strcspn(name, " />");
        if (*name == '!' || strncmp(name, "meta", 4) == 0) {
        } else if (*name == '/') {
            assert_true(depth > 0);
            depth--;
            assert_int_equal(lengths[depth], strcspn(name + 1, ">"));
            assert_memory_equal(stack[depth], name + 1, lengths[depth]);
        } else if (end[-1] != '/') {
            assert_true(depth < 64 && length > 0);
            stack[depth] = name;
            lengths[depth++] = length;
            if (strncmp(name, "style", 5) == 0) { /* its text is not markup */
                p = strstr(p, "</style>") - 1;
                assert_non_null(p);
                continue;
            }
        }
        p = end;
    }
    assert_int_equal(depth, 0);
    assert_true(tags > 20);
}

static void no_resource(const char *text)
{
    assert_null(strstr(text, "src="));
    assert_null(strstr(text, "href="));
    assert_null(strstr(text, "url(http"));
    assert_null(strstr(text, "@import"));
    assert_null(strstr(text, "<script"));
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf\""));
}

static void solve(struct plan_request *r, struct arena *a, struct plan_answer *out)
{
    struct error e = {0};
    assert_ok(plan_solve(r, a, out, &e), e);
}

static void test_html(void **state)
{
    (void)state;
    struct arena a;
    struct plan_answer answer;
    struct plan_request r = request();
    struct error e = {0};
    arena_init(&a);
    solve(&r, &a, &answer);
    assert_ok(plan_write_html(&answer, "test_plan_pages.html", &e), e);
    char *text = read_text("test_plan_pages.html");
    assert_non_null(strstr(text, "class=\"card\">site power<b>"));
    assert_non_null(strstr(text, "class=\"card\">cost of the run<b>"));
    well_formed(text);
    no_resource(text);
    assert_contains(text, "A &lt;plan&gt; &amp; its page");
    assert_contains(text, "H100 &lt;80 GB&gt; &amp; &quot;more&quot;");
    assert_contains(text, "assumed &lt;this&gt;");
    assert_contains(text, "prefers-color-scheme:dark");
    static const char *const sections[] = {"One step over",
                                           "Memory of",
                                           "Layouts that no other beats",
                                           "of power",
                                           "Spectrum of the power",
                                           "A year at this load: PUE",
                                           "Cost of the run",
                                           "Which input matters"};
    for (size_t i = 0; i < ARRAY_LEN(sections); i++)
        assert_contains(text, sections[i]);
    mem_free(text);
    unlink("test_plan_pages.html");
    assert_true(plan_write_html(&answer, "/nowhere/x.html", &e) < 0);
    arena_fini(&a);
}

static void test_timeline_file(void **state)
{
    (void)state;
    struct arena a;
    struct plan_answer answer;
    struct plan_request r = request();
    struct error e = {0};
    arena_init(&a);
    r.layout.pp = 4;
    solve(&r, &a, &answer);
    assert_ok(plan_write_timeline(&answer, "test_plan_pages.svg", &e), e);
    char *text = read_text("test_plan_pages.svg");
    assert_memory_equal(text, "<svg ", 5);
    assert_contains(text, "xmlns=\"http://www.w3.org/2000/svg\"");
    well_formed(text);
    assert_contains(text, "stage 1");
    mem_free(text);
    unlink("test_plan_pages.svg");
    answer.step.both_ends = true;
    answer.step.microbatches = 16;
    assert_ok(plan_write_timeline(&answer, "test_plan_pages.svg", &e), e);
    text = read_text("test_plan_pages.svg");
    well_formed(text);
    assert_contains(text, "both at once");
    mem_free(text);
    unlink("test_plan_pages.svg");
    arena_fini(&a);
}

static void test_text_page(void **state)
{
    (void)state;
    struct arena a;
    struct plan_answer answer;
    struct plan_request r = request();
    char *text = NULL;
    size_t size = 0;
    arena_init(&a);
    solve(&r, &a, &answer);
    FILE *out = open_memstream(&text, &size);
    plan_print(&answer, out);
    fclose(out);
    static const char *const words[] = {
        "A <plan> & its page", "low",   "goodput",      "cost of the run", "memory",
        "runner-up",           "limit", "matters most", "assumed <this>"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        assert_contains(text, words[i]);
    assert_null(strstr(text, "nan"));
    for (const char *p = text; *p;) { /* no line wider than 100 columns */
        size_t cells = 0, n = strcspn(p, "\n");
        for (size_t i = 0; i < n; i++)
            cells += ((unsigned char)p[i] & 0xC0) != 0x80;
        assert_true(cells <= 100);
        p += n + (p[n] == '\n');
    }
    free(text);
    arena_fini(&a);
}

static double at(json_t *j, const char *a, const char *b)
{
    json_t *x = json_object_get(json_object_get(j, a), b);
    assert_true(json_is_number(x));
    return json_number_value(x);
}

static void test_json(void **state)
{
    (void)state;
    struct arena a;
    struct plan_answer answer;
    struct plan_request r = request();
    arena_init(&a);
    solve(&r, &a, &answer);
    json_t *j = plan_to_json(&answer);
    assert_non_null(j);
    assert_float_equal(at(j, "step", "step_s"), answer.step.step_s, 1e-12);
    assert_float_equal(at(j, "days", "low"), answer.days.low, 1e-9);
    assert_true(at(j, "days", "low") < at(j, "days", "mid"));
    assert_true(at(j, "days", "mid") < at(j, "days", "high"));
    double sum = 0;
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(json_object_get(j, "step"), "parts_s"), key, value) sum +=
        json_number_value(value);
    assert_float_equal(sum, answer.step.step_s, 1e-9 * sum);
    assert_true(json_array_size(json_object_get(json_object_get(j, "search"), "best")) > 1);
    json_t *rel = json_object_get(j, "reliability");
    assert_float_equal(at(rel, "goodput", "mid"), answer.reliability.goodput.mid, 1e-12);
    assert_true(json_is_null(json_object_get(rel, "goodput_elastic")));
    json_decref(j);
    answer.reliability.elastic = true; /* the page then shows the other one, and so does this */
    answer.reliability.goodput_elastic = (struct range){0.5, 0.625, 0.75};
    j = plan_to_json(&answer);
    rel = json_object_get(j, "reliability");
    assert_float_equal(at(rel, "goodput", "mid"), 0.625, 1e-12);
    assert_float_equal(at(rel, "goodput_elastic", "low"), 0.5, 1e-12);
    assert_float_equal(at(rel, "goodput_synchronous", "mid"), answer.reliability.goodput.mid,
                       1e-12);
    json_decref(j);
    answer.reliability.mtbf_s.mid = INFINITY; /* what is not finite is null, not a lost object */
    j = plan_to_json(&answer);
    assert_true(json_is_null(
        json_object_get(json_object_get(json_object_get(j, "reliability"), "mtbf_s"), "mid")));
    json_decref(j);
    arena_fini(&a);
}

static void test_override(void **state)
{
    (void)state;
    struct arena a;
    struct error e = {0};
    struct plan_request r = request();
    arena_init(&a);
    r.layout = (struct plan_layout){.tp = 2, .pp = 2, .dp = 16, .precision = MACHINE_BF16};
    r.search = false;
    assert_ok(plan_override(&r, "gpus", "128", &a, &e), e);
    assert_int_equal(machine_cluster_accelerators(&r.cluster), 128);
    assert_true(r.search && r.layout.tp == 0 && r.layout.precision == MACHINE_BF16);
    assert_ok(plan_override(&r, "seq-len", "16Ki", &a, &e), e);
    assert_int_equal(r.batch.seq_len, 16384);
    assert_ok(plan_override(&r, "precision", "fp8", &a, &e), e);
    assert_int_equal(r.layout.precision, MACHINE_FP8);
    assert_ok(plan_override(&r, "tp", "4", &a, &e), e);
    assert_int_equal(r.layout.tp, 4);
    assert_ok(plan_override(&r, "tokens", "optimal", &a, &e), e);
    assert_true(r.tokens.mid == 0);
    assert_int_equal(plan_override(&r, "gups", "8", &a, &e), ERROR_USAGE);
    assert_contains(e.hint, "'gpus'");
    assert_int_equal(plan_override(&r, "gpus", "many", &a, &e), ERROR_USAGE);
    assert_contains(e.text, "'--gpus' must be a whole number");
    assert_int_equal(plan_override(&r, "cap", "0.2", &a, &e), ERROR_USAGE);
    assert_int_equal(plan_override(&r, "by", "tiem", &a, &e), ERROR_USAGE);
    assert_contains(e.hint, "'time'");
    assert_int_equal(plan_override(&r, "tp", "1.5", &a, &e), ERROR_USAGE);
    arena_fini(&a);
}

static void test_sweep(void **state)
{
    (void)state;
    struct arena a;
    struct error e = {0};
    struct plan_request r = request();
    struct plan_sweep *s;
    arena_init(&a);
    s = arena_alloc(&a, sizeof *s);
    assert_ok(plan_sweep(&r, "gpus=32,1,128", &a, s, &e), e);
    assert_int_equal(s->n_points, 3);
    assert_non_null(s->points[0].answer);
    assert_null(s->points[1].answer); /* 8 billion parameters on one */
    assert_contains(s->points[1].why, "no layout fits");
    assert_true(s->points[2].answer->days.mid < s->points[0].answer->days.mid);
    assert_ok(plan_write_sweep(s, "test_plan_pages_sweep.svg", &e), e);
    unlink("test_plan_pages_sweep.svg");
    json_t *j = plan_sweep_to_json(s);
    assert_int_equal(json_array_size(json_object_get(j, "points")), 3);
    json_decref(j);
    assert_true(plan_sweep(&r, "gpus", &a, s, &e) < 0);
    assert_int_equal(plan_sweep(&r, "gpus=,", &a, s, &e), ERROR_USAGE);
    assert_true(plan_sweep(&r, "gpus=1", &a, s, &e) < 0);
    assert_contains(e.text, "no value of gpus has an answer");
    arena_fini(&a);
}

static void test_format(void **state)
{
    (void)state;
    char buf[32];
    assert_string_equal(plan_format_usd(buf, 72.34e6), "$72.3 million");
    assert_string_equal(plan_format_usd(buf, 1.2345e9), "$1.23 billion");
    assert_string_equal(plan_format_usd(buf, 2.5), "$2.50");
    assert_string_equal(plan_format_whole(buf, 1234567), "1,234,567");
    assert_string_equal(plan_format_whole(buf, -999), "-999");
    assert_string_equal(plan_format_days(buf, 67.44), "67.4 days");
    assert_string_equal(plan_format_days(buf, 12345), "12,345 days");
    assert_string_equal(plan_format_days(buf, 0.5), "12 h 00 min");
    assert_string_equal(plan_format_percent(buf, 0.4314), "43.1 %");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_html),      cmocka_unit_test(test_timeline_file),
        cmocka_unit_test(test_text_page), cmocka_unit_test(test_json),
        cmocka_unit_test(test_override),  cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
