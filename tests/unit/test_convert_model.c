/* test_convert_model.c: models from one form to another and back: logits stay those of whoever made the
 * model (transformers, our float64 reference), numbers come back as the same bits, and what the other
 * side would compute differently is refused. */
#include "convert/convert.h"
#include "test_model_support.h"

#include <fcntl.h>
#include <sys/file.h>
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

/* ------------------------------------------------------------------ places */

static struct convert_options small_options(struct work *w, const char *out, enum convert_to to)
{
    return (struct convert_options){.config = "tests/golden/hf/qwen3/config.json",
                                    .weights = "tests/golden/hf/qwen3/model.safetensors",
                                    .tokenizer = w->tokenizer,
                                    .out = out,
                                    .to = to,
                                    .threads = 1};
}

static void refused(const struct convert_options *o, const char *word)
{
    struct convert_report r;
    struct error e = {0};
    if (convert_model(o, &r, &e) >= 0 || !strstr(e.text, word))
        fail_msg("'%s' does not say '%s'", e.text, word);
}

static void converted(const struct convert_options *o)
{
    struct convert_report r;
    struct error e = {0};
    if (convert_model(o, &r, &e) < 0) fail_with(&e);
}

static size_t size_of(const char *path)
{
    struct error e = {0};
    int64_t n = file_size(path, &e);
    if (n < 0) fail_with(&e);
    return (size_t)n;
}

static size_t count_files(struct work *w, const char *dir)
{
    struct error e = {0};
    char **names;
    size_t n;
    if (file_list_dir(dir, &w->arena, &names, &n, &e) < 0) fail_with(&e);
    return n;
}

/* A conversion that ends early, for whatever reason, leaves what was there, whole, and nothing else. */
static void test_old_stays_until_the_new_is_there(void **state)
{
    (void)state;
    static const volatile sig_atomic_t stop = 1;
    struct work w;
    work_open(&w);
    for (int folder = 0; folder < 2; folder++) {
        const char *out = file_join(&w.arena, w.dir, folder ? "folder" : "file.gguf");
        struct convert_options o = small_options(&w, out, folder ? CONVERT_HF : CONVERT_GGUF);
        converted(&o);
        const char *in = folder ? file_join(&w.arena, out, "model.safetensors") : out;
        size_t size = size_of(in), files = count_files(&w, w.dir);
        o.force = true;
        o.type = CONVERT_F32;
        o.stop = &stop;
        refused(&o, "stopped");
        assert_int_equal(size_of(in), size);
        assert_int_equal(count_files(&w, w.dir), files);
        o.stop = NULL;
        converted(&o);
        assert_true(size_of(in) > size);
        assert_int_equal(count_files(&w, w.dir), files);
    }
    work_close(&w);
}

static void test_odd_places(void **state)
{
    (void)state;
    struct work w;
    struct error e = {0};
    work_open(&w);
    const char *out = file_join(&w.arena, w.dir, "folder");
    /* a slash behind the name is the same place */
    struct convert_options o = small_options(&w, arena_printf(&w.arena, "%s//", out), CONVERT_HF);
    converted(&o);
    o.force = true;
    converted(&o);
    assert_true(size_of(file_join(&w.arena, out, "model.safetensors")) > 1000);
    /* a link is followed, and stays */
    const char *link = file_join(&w.arena, w.dir, "link");
    assert_int_equal(symlink("folder", link), 0);
    o.out = link;
    converted(&o);
    assert_true(readlink(link, (char[16]){0}, 16) > 0);
    assert_true(file_exists(file_join(&w.arena, out, "config.json")));
    assert_int_equal(symlink("nothing", file_join(&w.arena, w.dir, "lost")), 0);
    o.out = file_join(&w.arena, w.dir, "lost");
    refused(&o, "link to nothing");
    /* what is no file, no model, or holds the source */
    o.out = "/dev/null";
    refused(&o, "neither a file nor a folder");
    o.to = CONVERT_GGUF;
    refused(&o, "neither a file nor a folder");
    o.out = arena_printf(&w.arena, "%s/", out);
    refused(&o, "name of a folder");
    o.out = "";
    refused(&o, "OUT is empty");
    const char *inner = file_join(&w.arena, out, "inner.gguf");
    o.out = inner;
    converted(&o);
    struct convert_options back = {.config = inner, .weights = inner, .out = out};
    back.to = CONVERT_HF;
    back.force = true;
    refused(&back, "holds the model that is read");
    assert_true(file_exists(inner));
    o.to = CONVERT_HF;
    o.out = out;
    if (file_write(file_join(&w.arena, out, "manifest.json"), "{}", 2, &e) < 0) fail_with(&e);
    refused(&o, "checkpoint of a run");
    work_close(&w);
}

/* Two commands do not write into each other's file; what a killed one left is no hindrance. */
static void test_one_command_writes(void **state)
{
    (void)state;
    struct work w;
    work_open(&w);
    for (int folder = 0; folder < 2; folder++) {
        const char *out = file_join(&w.arena, w.dir, folder ? "folder" : "file.gguf");
        struct convert_options o = small_options(&w, out, folder ? CONVERT_HF : CONVERT_GGUF);
        const char *part = arena_printf(&w.arena, "%s.part", out);
        struct error e = {0};
        const char *left = folder ? file_join(&w.arena, part, "left") : part;
        if (folder && file_make_dirs(part, &e) < 0) fail_with(&e);
        if (file_write(left, "left", 4, &e) < 0) fail_with(&e);
        int fd = open(part, O_RDONLY);
        assert_int_equal(flock(fd, LOCK_EX), 0);
        refused(&o, "another command is writing");
        assert_int_equal(size_of(left), 4);
        close(fd);
        converted(&o);
        assert_false(file_exists(part));
        if (folder) assert_false(file_exists(file_join(&w.arena, out, "left")));
    }
    work_close(&w);
}

static void test_options_that_change_nothing(void **state)
{
    (void)state;
    struct work w;
    work_open(&w);
    struct convert_options o = small_options(&w, file_join(&w.arena, w.dir, "x"), CONVERT_HF);
    o.name = "somebody";
    refused(&o, "--name changes nothing");
    o.to = CONVERT_GGUF;
    o.pure = true;
    o.type = CONVERT_Q6_K;
    refused(&o, "--pure changes nothing");
    o.pure = false;
    o.type = CONVERT_KEEP;
    o.drop_biases = true;
    refused(&o, "--drop-biases changes nothing");
    assert_int_equal(count_files(&w, w.dir), 1); /* the tokenizer */
    work_close(&w);
}

/* ------------------------------------------------------------------ numbers of other kinds */

/* The entry of a safetensors file that was read, or NULL. */
static struct safetensors_entry *of_name(struct safetensors *st, const char *name)
{
    for (size_t i = 0; i < st->n_entries; i++)
        if (strcmp(st->entries[i].name, name) == 0) return &st->entries[i];
    return NULL;
}

/* A copy of a golden folder with one tensor as floats; `largest` is its first number, unless 0. */
static const char *with_floats(struct work *w, const char *from, const char *name, float largest)
{
    struct safetensors st;
    struct error e = {0};
    const char *dir = file_join(&w->arena, w->dir, "changed");
    const char *config = file_join(&w->arena, from, "config.json");
    char *text = NULL;
    size_t size;
    if (safetensors_open(file_join(&w->arena, from, "model.safetensors"), &st, &e) < 0 ||
        file_read(config, 1 << 20, &text, &size, &e) < 0 || file_make_dirs(dir, &e) < 0 ||
        file_write(file_join(&w->arena, dir, "config.json"), text, size, &e) < 0)
        fail_with(&e);
    mem_free(text);
    struct safetensors_entry *t = of_name(&st, name);
    assert_non_null(t);
    size_t n = t->bytes / safetensors_element_size(t->dtype);
    float *x = arena_alloc(&w->arena, n * sizeof(*x));
    if (safetensors_read_f32(t, x, n, &e) < 0) fail_with(&e);
    if (largest != 0) x[0] = largest;
    t->dtype = ST_F32;
    t->data = x;
    t->bytes = n * sizeof(*x);
    if (safetensors_write(file_join(&w->arena, dir, "model.safetensors"), st.entries, st.n_entries,
                          NULL, &e) < 0)
        fail_with(&e);
    safetensors_close(&st);
    return dir;
}

/* Experts of a layer, one of which has wider numbers than the others: none is read as what it is not. */
static void test_experts_of_two_types(void **state)
{
    (void)state;
    static const char *const numbers[] = {"1", "3"};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct work w;
        work_open(&w);
        const char *from = "tests/golden/hf/mixtral";
        const char *changed = arena_printf(
            &w.arena, "model.layers.1.block_sparse_moe.experts.%s.w1.weight", numbers[i]);
        const char *dir = with_floats(&w, from, changed, 0);
        struct want x = want_of(&w, "hf/mixtral");
        const char *file = convert(&w, dir, "a.gguf", CONVERT_GGUF, CONVERT_KEEP);
        assert_string_equal(format_in(file, "blk.1.ffn_gate_exps.weight"), "F32");
        assert_string_equal(format_in(file, "blk.0.ffn_gate_exps.weight"), "BF16");
        same_logits(&w, file, &x);
        same_logits(&w, convert(&w, dir, "own", CONVERT_COLOSSUS, CONVERT_KEEP), &x);
        const char *hf = convert(&w, dir, "hf", CONVERT_HF, CONVERT_KEEP);
        same_folder_tensors(&w, dir, hf, false);
        work_close(&w);
    }
}

/* What a format does not hold is an error that names the tensor, never an infinity or a zero. */
static void test_numbers_out_of_range(void **state)
{
    (void)state;
    static const struct {
        enum convert_type type;
        float largest;
        bool held;
    } cases[] = {{CONVERT_F16, 65504, true},    {CONVERT_F16, 65536, false},
                 {CONVERT_BF16, 65536, true},   {CONVERT_F32, 3e38f, true},
                 {CONVERT_Q8_0, 8e6f, true},    {CONVERT_Q8_0, 1e9f, false},
                 {CONVERT_BF16, 3.4e38f, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct work w;
        struct error e = {0};
        work_open(&w);
        const char *name = "model.layers.0.self_attn.o_proj.weight";
        const char *dir = with_floats(&w, "tests/golden/hf/qwen3", name, cases[i].largest);
        const char *out = file_join(&w.arena, w.dir, "a.gguf");
        int rc = try_convert(&w, dir, out, CONVERT_GGUF, cases[i].type, &e);
        if (cases[i].held && rc < 0) fail_with(&e);
        if (!cases[i].held &&
            (rc >= 0 || !strstr(e.text, "blk.0.attn_output.weight") || !e.hint[0]))
            fail_msg("%g as %s: '%s'", (double)cases[i].largest, convert_type_names[cases[i].type],
                     e.text);
        assert_int_equal(file_exists(out), cases[i].held);
        work_close(&w);
    }
}

/* A folder without one of its files, or without one of eight devices', says which one. */
static void test_missing_shard(void **state)
{
    (void)state;
    static const char *const files[] = {"config.json",
                                        "model.safetensors.index.json",
                                        "model-00001-of-00005.safetensors",
                                        "model-00002-of-00005.safetensors",
                                        "model-00003-of-00005.safetensors",
                                        "model-00005-of-00005.safetensors"};
    struct work w;
    struct error e = {0};
    struct safetensors_set st;
    work_open(&w);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char *text = NULL;
        size_t size;
        const char *from = file_join(&w.arena, "tests/golden/hf/sharded", files[i]);
        if (file_read(from, 1 << 22, &text, &size, &e) < 0 ||
            file_write(file_join(&w.arena, w.dir, files[i]), text, size, &e) < 0)
            fail_with(&e);
        mem_free(text);
    }
    for (int with_index = 1; with_index >= 0; with_index--) {
        const char *out = file_join(&w.arena, w.dir, "out.gguf");
        assert_true(try_convert(&w, w.dir, out, CONVERT_GGUF, CONVERT_KEEP, &e) < 0);
        if (!strstr(e.text, "1 of its 5 files are missing") ||
            !strstr(e.text, "'model-00004-of-00005.safetensors'") || !e.hint[0])
            fail_msg("%s (%s)", e.text, e.hint);
        unlink(file_join(&w.arena, w.dir, "model.safetensors.index.json"));
    }
    const char *dir = file_join(&w.arena, w.dir, "devices");
    if (file_make_dirs(dir, &e) < 0) fail_with(&e);
    for (int i = 0; i < 4; i++)
        if (i != 2 &&
            file_write(arena_printf(&w.arena, "%s/pytorch-%05d-TP-%03d.safetensors", dir, i, i), "",
                       0, &e) < 0)
            fail_with(&e);
    assert_true(safetensors_set_open(file_join(&w.arena, dir, "model.safetensors"), &st, &e) < 0);
    if (!strstr(e.text, "of 4 devices there is no '*-TP-002.safetensors'")) fail_msg("%s", e.text);
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
        cmocka_unit_test(test_old_stays_until_the_new_is_there),
        cmocka_unit_test(test_odd_places),
        cmocka_unit_test(test_one_command_writes),
        cmocka_unit_test(test_options_that_change_nothing),
        cmocka_unit_test(test_experts_of_two_types),
        cmocka_unit_test(test_numbers_out_of_range),
        cmocka_unit_test(test_missing_shard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
