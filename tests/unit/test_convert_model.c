/* test_convert_model.c: models from one form to another and back: logits stay those of whoever made the
 * model (transformers, our float64 reference), numbers come back as the same bits, and what the other
 * side would compute differently is refused. */
#include "convert/convert.h"
#include "test_model_support.h"

#include <unistd.h>

#define LOGITS 1e-4

struct work {
    char dir[64];
    char tokenizer[96];
    struct arena arena;
};

/* ------------------------------------------------------------------ a tokenizer of letters */

static void put_piece(struct str *out, const char *text, int type)
{
    char piece[32];
    size_t n = strlen(text), at = 0;
    piece[at++] = 0x0a; /* 1: text */
    piece[at++] = (char)n;
    memcpy(piece + at, text, n);
    at += n;
    piece[at++] = 0x15; /* 2: score, 0 */
    memset(piece + at, 0, 4);
    at += 4;
    piece[at++] = 0x18; /* 3: type */
    piece[at++] = (char)type;
    str_append_char(out, 0x0a);
    str_append_char(out, (char)at);
    str_append(out, piece, at);
}

static void work_open(struct work *w)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxy";
    struct error e = {0};
    struct str model = {0};
    *w = (struct work){0};
    snprintf(w->dir, sizeof(w->dir), "/tmp/colossus-convert-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    put_piece(&model, "<unk>", 2);
    put_piece(&model, "<s>", 3);
    put_piece(&model, "</s>", 3);
    for (size_t i = 0; letters[i]; i++)
        put_piece(&model, (char[2]){letters[i], 0}, 1);
    str_append(&model, "\x12\x02\x18\x02", 4);         /* trainer: pairs */
    str_append(&model, "\x1a\x04\x18\x00\x20\x00", 6); /* normalizer: neither prefix nor trimming */
    snprintf(w->tokenizer, sizeof(w->tokenizer), "%s/tokenizer.model", w->dir);
    if (file_write(w->tokenizer, model.data, model.len, &e) < 0) fail_with(&e);
    str_fini(&model);
}

static void work_close(struct work *w)
{
    file_remove_tree(w->dir, NULL);
    arena_fini(&w->arena);
}

/* ------------------------------------------------------------------ conversions */

/* A folder, or a GGUF file. */
static int try_convert(struct work *w, const char *in, const char *out, enum convert_to to,
                       enum convert_type type, struct error *e)
{
    struct convert_report r;
    struct convert_options o = {.config = in, .weights = in, .out = out, .to = to, .type = type};
    o.threads = 1;
    o.force = true;
    if (!gguf_is(in)) {
        const char *weights = file_join(&w->arena, in, "weights.safetensors");
        o.config = file_join(&w->arena, in, "config.json");
        o.weights = safetensors_set_exists(weights) ? weights
                                                    : file_join(&w->arena, in, "model.safetensors");
        o.tokenizer = w->tokenizer;
    }
    return convert_model(&o, &r, e);
}

static const char *convert(struct work *w, const char *in, const char *name, enum convert_to to,
                           enum convert_type type)
{
    struct error e = {0};
    const char *out = file_join(&w->arena, w->dir, name);
    if (try_convert(w, in, out, to, type, &e) < 0) fail_with(&e);
    return out;
}

/* ------------------------------------------------------------------ logits */

struct want {
    int64_t T, V;
    uint32_t *tokens;
    float *logits;
};

/* The caller closes *st. */
static const struct safetensors_entry *entry(struct work *w, const char *path, const char *name,
                                             struct safetensors *st)
{
    struct error e = {0};
    if (safetensors_open(file_join(&w->arena, "tests/golden", path), st, &e) < 0) fail_with(&e);
    const struct safetensors_entry *t = safetensors_find(st, name);
    assert_non_null(t);
    return t;
}

/* Of a folder of tests/golden, the first row of its batch. */
static struct want want_of(struct work *w, const char *dir)
{
    struct error e = {0};
    struct want x = {0};
    bool ours = strncmp(dir, "data/", 5) == 0;
    struct safetensors batch, expected;
    const char *results = file_join(&w->arena, dir, "expected.safetensors");
    const char *first = ours ? file_join(&w->arena, dir, "batch.safetensors") : results;
    const struct safetensors_entry *t = entry(w, first, "tokens", &batch);
    const struct safetensors_entry *z = entry(w, results, "logits", &expected);
    x.T = t->shape[t->n_dims - 1] - ours; /* the last of a batch is only a target */
    x.V = z->shape[z->n_dims - 1];
    size_t n = (size_t)(x.T * x.V);
    x.tokens = arena_alloc(&w->arena, (size_t)x.T * sizeof(*x.tokens));
    x.logits = arena_alloc(&w->arena, n * sizeof(*x.logits));
    memcpy(x.tokens, t->data, (size_t)x.T * sizeof(*x.tokens));
    if (safetensors_read_part(z, 0, n, x.logits, &e) < 0) fail_with(&e);
    safetensors_close(&batch);
    safetensors_close(&expected);
    return x;
}

static void open_model(struct work *w, const char *path, int64_t T, struct rig *r)
{
    struct error e = {0};
    struct model_config c;
    struct gguf g;
    const struct rig_options o = {COMPUTE_F32, COMPUTE_REFERENCE, 1, true};
    if (gguf_is(path)) {
        if (gguf_open(path, &g, &e) < 0 || gguf_model_config(&g, path, &c, &e) < 0) fail_with(&e);
        rig_open(r, &c, 1, T, o);
        if (gguf_load_weights(r->model, &g, path, &e) < 0) fail_with(&e);
        gguf_close(&g);
        return;
    }
    if (model_config_load(file_join(&w->arena, path, "config.json"), &c, &e) < 0) fail_with(&e);
    rig_open(r, &c, 1, T, o);
    if (model_load_weights(r->model, path, &e) < 0) fail_with(&e);
}

static double distance(struct work *w, const char *path, const struct want *x)
{
    struct rig r;
    size_t n = (size_t)(x->T * x->V);
    float *logits = arena_alloc(&w->arena, n * sizeof(*logits));
    struct model_batch b = {.B = 1, .T = x->T, .inputs = x->tokens, .targets = x->tokens};
    double most = 0;
    open_model(w, path, x->T, &r);
    model_logits(r.model, &b, logits);
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)logits[i] - (double)x->logits[i]));
    rig_close(&r);
    return most;
}

static void same_logits(struct work *w, const char *path, const struct want *x)
{
    double most = distance(w, path, x);
    print_message("%-44s logits %.1e of at most %.0e\n", path, most, LOGITS);
    if (!(most <= LOGITS)) fail_msg("%s: %.2e", path, most);
}

/* ------------------------------------------------------------------ bits */

static void same_gguf_tensors(const char *a, const char *b)
{
    struct gguf x, y;
    struct error e = {0};
    if (gguf_open(a, &x, &e) < 0 || gguf_open(b, &y, &e) < 0) fail_with(&e);
    assert_int_equal(x.n_tensors, y.n_tensors);
    for (size_t i = 0; i < x.n_tensors; i++) {
        const struct gguf_tensor *s = &x.tensors[i], *t = gguf_tensor(&y, s->name);
        if (!t || t->format != s->format || t->rows != s->rows || t->row_bytes != s->row_bytes ||
            memcmp(s->data, t->data, (size_t)s->rows * s->row_bytes) != 0)
            fail_msg("%s and %s: '%s' differs", a, b, s->name);
    }
    gguf_close(&x);
    gguf_close(&y);
}

/* Every tensor of one folder has the same numbers in another one, and where they are matrices the same
 * type; norms that were stored less 1 and are again may have lost what 1 + x has no place for. */
static void same_folder_tensors(struct work *w, const char *a, const char *b, bool less_one)
{
    struct safetensors_set x, y;
    struct error e = {0};
    const char *from = file_join(&w->arena, a, "weights.safetensors");
    if (!safetensors_set_exists(from)) from = file_join(&w->arena, a, "model.safetensors");
    if (safetensors_set_open(from, &x, &e) < 0 ||
        safetensors_set_open(file_join(&w->arena, b, "model.safetensors"), &y, &e) < 0)
        fail_with(&e);
    for (size_t i = 0; i < x.n_tensors; i++) {
        const struct safetensors_tensor *s = &x.tensors[i];
        const struct safetensors_tensor *t = safetensors_set_find(&y, s->whole.name);
        if (!t) fail_msg("%s: '%s' is missing", b, s->whole.name);
        size_t n = s->whole.bytes / safetensors_element_size(s->whole.dtype);
        float *p = mem_alloc(n * sizeof(*p)), *q = mem_alloc(n * sizeof(*q));
        assert_int_equal(n, t->whole.bytes / safetensors_element_size(t->whole.dtype));
        if (safetensors_tensor_read(s, 0, n, p, &e) < 0 ||
            safetensors_tensor_read(t, 0, n, q, &e) < 0)
            fail_with(&e);
        bool vector = s->whole.n_dims == 1;
        if (!vector && !strstr(s->whole.name, "gate.weight"))
            assert_int_equal(s->whole.dtype, t->whole.dtype);
        for (size_t k = 0; k < n; k++)
            if (less_one && vector ? fabsf(p[k] - q[k]) > 1e-7f : p[k] != q[k])
                fail_msg("%s: '%s' [%zu] is %g, was %g", b, s->whole.name, k, (double)q[k],
                         (double)p[k]);
        mem_free(p);
        mem_free(q);
    }
    safetensors_set_close(&x);
    safetensors_set_close(&y);
}

/* ------------------------------------------------------------------ tests */

/* Hugging Face's folder to GGUF, and from there to each of the other two; back to GGUF as the same bytes. */
static void test_round_trips(void **state)
{
    (void)state;
    static const char *const names[] = {"llama",  "llama-biases", "llama3-rope", "yarn",
                                        "qwen2",  "qwen3",        "mixtral",     "qwen3-moe",
                                        "gemma2", "gemma3",       "sharded"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct work w;
        work_open(&w);
        const char *from = arena_printf(&w.arena, "tests/golden/hf/%s", names[i]);
        struct want x = want_of(&w, arena_printf(&w.arena, "hf/%s", names[i]));
        const char *file = convert(&w, from, "a.gguf", CONVERT_GGUF, CONVERT_KEEP);
        same_logits(&w, file, &x);
        const char *hf = convert(&w, file, "hf", CONVERT_HF, CONVERT_KEEP);
        same_logits(&w, hf, &x);
        /* scores of gemma2 have a scale that a GGUF file has no key for: queries carry it */
        if (strcmp(names[i], "gemma2") != 0)
            same_folder_tensors(&w, from, hf, strcmp(names[i], "gemma3") == 0);
        const char *own = convert(&w, file, "own", CONVERT_COLOSSUS, CONVERT_KEEP);
        same_logits(&w, own, &x);
        same_gguf_tensors(file, convert(&w, own, "b.gguf", CONVERT_GGUF, CONVERT_KEEP));
        same_gguf_tensors(file, convert(&w, hf, "c.gguf", CONVERT_GGUF, CONVERT_KEEP));
        work_close(&w);
    }
}

/* Models of this program's: mixtures as grok, dense ones as gemma2, to our float64 reference. */
static void test_ours(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool gguf, exact; /* whether there is a GGUF family; and no number changes on the way */
    } cases[] = {{"multipliers", true, true},
                 {"top-1", true, true},
                 {"one-token", true, true},
                 {"dense-wide-head", true, false},
                 {"dense-untied", false, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct work w;
        work_open(&w);
        const char *from = arena_printf(&w.arena, "tests/golden/data/%s", cases[i].name);
        struct want x = want_of(&w, arena_printf(&w.arena, "data/%s", cases[i].name));
        same_logits(&w, from, &x);
        if (cases[i].gguf) {
            const char *file = convert(&w, from, "a.gguf", CONVERT_GGUF, CONVERT_KEEP);
            same_logits(&w, file, &x);
            const char *own = convert(&w, file, "own", CONVERT_COLOSSUS, CONVERT_KEEP);
            same_logits(&w, own, &x);
            if (cases[i].exact) same_folder_tensors(&w, from, own, false);
            same_gguf_tensors(file, convert(&w, own, "b.gguf", CONVERT_GGUF, CONVERT_KEEP));
        }
        const char *hf = convert(&w, from, "hf", CONVERT_HF, CONVERT_KEEP);
        same_logits(&w, hf, &x);
        const char *back = convert(&w, hf, "back", CONVERT_COLOSSUS, CONVERT_F32);
        same_logits(&w, back, &x);
        work_close(&w);
    }
}

static void test_what_would_be_another_model(void **state)
{
    (void)state;
    static const struct {
        const char *from, *word;
        enum convert_to to;
    } cases[] = {
        {"tests/golden/data/grok-2-small", "dense branch", CONVERT_GGUF},
        {"tests/golden/data/many-experts", "cap of the router", CONVERT_GGUF},
        {"tests/golden/data/all-experts", "as wide as the model", CONVERT_GGUF},
        {"tests/golden/data/dense-untied", "head of its own", CONVERT_GGUF},
        {"tests/golden/forms/no-pre-norms", "without norms in front", CONVERT_GGUF},
        {"tests/golden/forms/silu", "silu", CONVERT_GGUF},
        {"tests/golden/forms/no-post-norms", "no norms behind", CONVERT_HF},
        {"tests/golden/forms/residual-multiplier", "residual_multiplier", CONVERT_HF},
        {"tests/golden/forms/window", "windows of another period", CONVERT_GGUF},
        {"tests/golden/forms/output-bias", "biases", CONVERT_GGUF},
        {"tests/golden/forms/qkv-biases", "biases", CONVERT_HF},
        {"tests/golden/forms/rope-yarn", "scaled otherwise", CONVERT_GGUF},
    };
    struct work w;
    work_open(&w);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error e = {0};
        const char *out = file_join(&w.arena, w.dir, "out");
        if (try_convert(&w, cases[i].from, out, cases[i].to, CONVERT_KEEP, &e) >= 0 ||
            !strstr(e.text, cases[i].word) || !e.hint[0])
            fail_msg("%s: '%s' (%s) does not say %s", cases[i].from, e.text, e.hint, cases[i].word);
        assert_false(file_exists(out));
    }
    struct error e = {0};
    assert_int_equal(try_convert(&w, "tests/golden/hf/llama", file_join(&w.arena, w.dir, "out"),
                                 CONVERT_HF, CONVERT_Q4_K, &e),
                     ERROR_USAGE);
    work_close(&w);
}

/* ------------------------------------------------------------------ types of numbers */

/* A dense model whose rows are whole blocks of 256, but for one matrix of 96 and one of 24. */
static const char *make_model(struct work *w, int64_t ffn)
{
    struct error e = {0};
    struct rig r;
    struct model_config c = small_dense();
    const char *dir = file_join(&w->arena, w->dir, "model");
    struct safetensors_entry entries[64];
    c.vocab_size = 28;
    c.d_model = 256;
    c.n_heads = 4;
    c.n_kv_heads = 2;
    c.head_dim = 64;
    c.ffn_hidden = ffn;
    c.embedding_multiplier = c.output_multiplier = c.attn_multiplier = 0;
    model_config_derive(&c);
    rig_open(&r, &c, 1, 8, (struct rig_options){COMPUTE_F32, COMPUTE_REFERENCE, 1, false});
    random_weights(r.model, 3);
    const struct param_table *t = model_params(r.model);
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct param *p = &t->rows[i];
        entries[i] = (struct safetensors_entry){.dtype = ST_F32, .n_dims = p->n_dims};
        snprintf(entries[i].name, sizeof(entries[i].name), "%s", p->name);
        memcpy(entries[i].shape, p->shape, sizeof(p->shape));
        entries[i].data = model_weights(r.model) + p->offset;
        entries[i].bytes = p->count * sizeof(float);
    }
    json_t *o = model_config_to_json(&c);
    if (file_make_dirs(dir, &e) < 0 ||
        safetensors_write(file_join(&w->arena, dir, "model.safetensors"), entries, t->n_rows, NULL,
                          &e) < 0 ||
        json_save_path(o, file_join(&w->arena, dir, "config.json"), &e) < 0)
        fail_with(&e);
    json_decref(o);
    rig_close(&r);
    return dir;
}

static const char *format_in(const char *path, const char *tensor)
{
    struct gguf g;
    struct error e = {0};
    if (gguf_open(path, &g, &e) < 0) fail_with(&e);
    const struct gguf_tensor *t = gguf_tensor(&g, tensor);
    assert_non_null(t);
    const char *name = t->format->name;
    gguf_close(&g);
    return name;
}

static void test_types(void **state)
{
    (void)state;
    static const struct {
        enum convert_type type;
        const char *matrix, *head, *narrow, *odd; /* of rows of 256, the head, rows of 96, of 40 */
        double most;                              /* of logits that spread over several units */
    } cases[] = {
        {CONVERT_F32, "F32", "F32", "F32", "F32", 1e-5},
        {CONVERT_F16, "F16", "F16", "F16", "F16", 0.02},
        {CONVERT_BF16, "BF16", "BF16", "BF16", "BF16", 0.1},
        {CONVERT_Q8_0, "Q8_0", "Q8_0", "Q8_0", "F16", 0.1},
        {CONVERT_Q6_K, "Q6_K", "Q6_K", "Q8_0", "F16", 0.4},
        {CONVERT_Q4_K, "Q4_K", "Q6_K", "Q5_0", "F16", 1.5},
        {CONVERT_Q4_0, "Q4_0", "Q6_K", "Q4_0", "F16", 2},
    };
    struct work w;
    work_open(&w);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct want x = {.T = 8, .V = 28};
        struct rig r;
        const char *own = make_model(&w, 96);
        x.tokens = arena_alloc(&w.arena, 8 * sizeof(uint32_t));
        x.logits = arena_alloc(&w.arena, 8 * 28 * sizeof(float));
        random_tokens(x.tokens, 8, 28, 5);
        struct model_batch b = {.B = 1, .T = 8, .inputs = x.tokens, .targets = x.tokens};
        open_model(&w, own, 8, &r);
        model_logits(r.model, &b, x.logits);
        rig_close(&r);
        const char *file = convert(&w, own, "t.gguf", CONVERT_GGUF, cases[i].type);
        assert_string_equal(format_in(file, "blk.0.attn_k.weight"), cases[i].matrix);
        assert_string_equal(format_in(file, "token_embd.weight"), cases[i].head);
        assert_string_equal(format_in(file, "blk.0.ffn_down.weight"), cases[i].narrow);
        assert_string_equal(format_in(file, "blk.0.attn_norm.weight"), "F32");
        double most = distance(&w, file, &x);
        print_message("%-6s logits off by %.1e of at most %.0e\n", cases[i].matrix, most,
                      cases[i].most);
        if (!(most <= cases[i].most)) fail_msg("%s: %.2e", cases[i].matrix, most);
        /* of a file whose numbers are kept every byte is */
        same_gguf_tensors(file, convert(&w, file, "u.gguf", CONVERT_GGUF, CONVERT_KEEP));
        const char *odd = convert(&w, make_model(&w, 40), "t.gguf", CONVERT_GGUF, cases[i].type);
        assert_string_equal(format_in(odd, "blk.0.ffn_down.weight"), cases[i].odd);
    }
    work_close(&w);
}

/* What is there is replaced only where that was asked for, and a folder that is no model never. */
static void test_what_is_there(void **state)
{
    (void)state;
    struct work w;
    struct error e = {0};
    struct convert_report r;
    work_open(&w);
    const char *out = file_join(&w.arena, w.dir, "there");
    struct convert_options o = {.config = "tests/golden/hf/qwen3/config.json",
                                .weights = "tests/golden/hf/qwen3/model.safetensors",
                                .tokenizer = w.tokenizer,
                                .out = out,
                                .to = CONVERT_HF,
                                .dry_run = true,
                                .threads = 1};
    if (convert_model(&o, &r, &e) < 0) fail_with(&e);
    assert_false(file_exists(out));
    assert_string_equal(r.family, "Qwen3ForCausalLM");
    assert_true(r.n_tensors > 10 && r.bytes > 1000);
    if (file_make_dirs(out, &e) < 0) fail_with(&e);
    o.dry_run = false;
    assert_true(convert_model(&o, &r, &e) < 0 && strstr(e.text, "there already"));
    o.force = true;
    assert_true(convert_model(&o, &r, &e) < 0 && strstr(e.text, "without a config.json"));
    if (file_write(file_join(&w.arena, out, "config.json"), "{}", 2, &e) < 0) fail_with(&e);
    if (convert_model(&o, &r, &e) < 0) fail_with(&e);
    assert_true(file_exists(file_join(&w.arena, out, "tokenizer.model")));
    o.to = CONVERT_GGUF;
    assert_true(convert_model(&o, &r, &e) < 0 && strstr(e.text, "is a folder"));
    work_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_ours),
        cmocka_unit_test(test_what_would_be_another_model),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
