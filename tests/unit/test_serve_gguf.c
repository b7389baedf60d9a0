/* Tests of a model in one GGUF file: it gives the bits that the same weights give from a folder; its
 * tokenizer and template are used; what it asks for and is not done is refused. */
#include "gguf_file.h"
#include "serve/serve_gguf_internal.h"
#include "test_cmocka.h"

static void open_bytes(const struct str *bytes, struct serve_model *m, int *rc, struct error *e)
{
    struct arena a = {0};
    char *dir = test_folder(&a);
    const char *path = file_join(&a, dir, "model.gguf");
    struct serve_options o = {.config = path, .weights = path, .B = 1, .T = 1, .threads = 1};
    o.precision = SERVE_PRECISION_FP32;
    assert_ok(file_write(path, bytes->data, bytes->len, e), *e);
    *rc = serve_model_open(&o, m, e);
    file_remove_tree(dir, NULL);
    arena_fini(&a);
}

static char *continuation(struct serve_model *m)
{
    struct error e = {0};
    serve_session_t *s;
    struct str text = {0};
    struct serve_generation g = {.prompt = "Hello 12",
                                 .prompt_size = 8,
                                 .max_tokens = 20,
                                 .ignore_eos = true,
                                 .no_start_token = true};
    assert_ok(serve_session_new(m, &s, &e), e);
    assert_ok(serve_generate(s, &g, &text, NULL, &e), e);
    serve_session_free(s);
    return text.data;
}

/* The same numbers as safetensors beside a config.json. */
static void write_folder(const struct model_config *c, const char *dir, struct arena *a)
{
    struct error e = {0};
    struct param_table t;
    json_t *config = model_config_to_json(c), *tokenizer = fixture_tokenizer();
    model_params_build(c, a, &t);
    struct safetensors_entry *entries = arena_alloc(a, t.n_rows * sizeof(*entries));
    for (size_t i = 0; i < t.n_rows; i++) {
        const struct param *p = &t.rows[i];
        float *data = arena_alloc(a, p->count * sizeof(*data));
        for (size_t k = 0; k < p->count; k++)
            data[k] = gguf_file_number(i, k, p);
        entries[i] = (struct safetensors_entry){
            .dtype = ST_F32, .n_dims = p->n_dims, .data = data, .bytes = p->count * sizeof(*data)};
        memcpy(entries[i].name, p->name, sizeof(p->name));
        memcpy(entries[i].shape, p->shape, sizeof(p->shape));
    }
    assert_ok(
        safetensors_write(file_join(a, dir, "weights.safetensors"), entries, t.n_rows, NULL, &e),
        e);
    assert_ok(json_save_path(config, file_join(a, dir, "config.json"), &e), e);
    assert_ok(json_save_path(tokenizer, file_join(a, dir, "tokenizer.json"), &e), e);
    json_decref(config);
    json_decref(tokenizer);
}

static void the_same_as_a_folder(void **unused)
{
    struct error e = {0};
    struct arena a = {0};
    struct str bytes = {0};
    struct serve_model from_file, from_folder;
    int rc;
    (void)unused;
    struct model_config c = gguf_file_config();
    for (int tied = 0; tied < 2; tied++) {
        char *dir = test_folder(&a);
        c.tied_embeddings = tied;
        c.qkv_biases = !tied;
        str_clear(&bytes);
        gguf_file_make(&bytes, &c, "llama");
        open_bytes(&bytes, &from_file, &rc, &e);
        assert_ok(rc, e);
        write_folder(&c, dir, &a);
        struct serve_options o = {.config = file_join(&a, dir, "config.json"),
                                  .weights = file_join(&a, dir, "weights.safetensors"),
                                  .tokenizer = file_join(&a, dir, "tokenizer.json"),
                                  .precision = SERVE_PRECISION_FP32,
                                  .threads = 1,
                                  .B = 1,
                                  .T = 1};
        assert_ok(serve_model_open(&o, &from_folder, &e), e);
        char *x = continuation(&from_file), *y = continuation(&from_folder);
        assert_string_equal(x, y);
        assert_string_equal(
            from_file.chat_template,
            "{% for m in messages %}{{ m.role }}:{{ m.content }}<|eos|>{% endfor %}a:");
        assert_null(from_folder.chat_template);
        assert_int_equal(tokenizer_eos(from_file.tokenizer), 0);
        mem_free(x);
        mem_free(y);
        serve_model_close(&from_file);
        serve_model_close(&from_folder);
        file_remove_tree(dir, NULL);
    }
    str_fini(&bytes);
    arena_fini(&a);
}

static void expect_refused(const struct str *bytes, const char *words)
{
    struct error e = {0};
    struct serve_model m;
    int rc;
    open_bytes(bytes, &m, &rc, &e);
    assert_true(rc < 0);
    assert_contains(e.text, words);
}

/* Another text of the same length in place of one. */
static void change(struct str *bytes, const char *from, const char *to)
{
    char *at = memmem(bytes->data, bytes->len, from, strlen(from));
    assert_non_null(at);
    assert_int_equal(strlen(from), strlen(to));
    memcpy(at, to, strlen(to));
}

static void what_is_refused(void **unused)
{
    struct model_config c = gguf_file_config();
    struct str whole = {0}, bytes = {0};
    static const struct {
        const char *from, *to, *words;
    } changes[] = {
        {"llama.block_count", "llama.block_kount", "'llama.block_count' is missing"},
        {"smollm", "smellm", "'smellm': how it cuts text is not known"},
        {"gpt2", "bert", "'bert'"},
        {"blk.1.attn_q.weight", "blk.9.attn_q.weight", "'blk.1.attn_q.weight' is missing"},
        {"tokenizer.ggml.merges", "tokenizer.ggml.nerges", "merges' is missing"},
        {"tokenizer.ggml.tokens", "tokenizer.ggml.tokenz", "tokens' is missing"}};
    (void)unused;
    gguf_file_make(&whole, &c, "llama");
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        str_clear(&bytes);
        str_append(&bytes, whole.data, whole.len);
        change(&bytes, changes[i].from, changes[i].to);
        expect_refused(&bytes, changes[i].words);
    }
    str_clear(&bytes);
    gguf_file_make(&bytes, &c, "other");
    expect_refused(&bytes, "family 'other'");
    str_clear(&bytes);
    str_append(&bytes, whole.data, whole.len);
    memcpy(bytes.data + bytes.len - 4, "\0\0\xc0\x7f", 4); /* NaN in the last tensor */
    expect_refused(&bytes, "NaN");
    str_fini(&whole);
    str_fini(&bytes);
}

/* ------------------------------------------------------------------ the family grok */

static void open_folder(const struct model_config *c, struct serve_model *m)
{
    struct error e = {0};
    struct arena a = {0};
    char *dir = test_folder(&a);
    write_folder(c, dir, &a);
    struct serve_options o = {.config = file_join(&a, dir, "config.json"),
                              .weights = file_join(&a, dir, "weights.safetensors"),
                              .tokenizer = file_join(&a, dir, "tokenizer.json"),
                              .precision = SERVE_PRECISION_FP32,
                              .threads = 1,
                              .B = 1,
                              .T = 1};
    assert_ok(serve_model_open(&o, m, &e), e);
    file_remove_tree(dir, NULL);
    arena_fini(&a);
}

/* Grok-1, and Grok-2 with its branch, caps and temperature: as the same weights from a folder. */
static void grok(void **unused)
{
    struct error e = {0};
    (void)unused;
    for (int two = 0; two < 2; two++) {
        struct model_config c = fixture_config();
        struct str bytes = {0};
        struct serve_model from_file, from_folder;
        int rc;
        c.rms_eps = 9.9999997473787516e-06;
        c.embedding_multiplier = (double)(float)c.embedding_multiplier;
        c.output_multiplier = (double)(float)c.output_multiplier;
        c.attn_multiplier = (double)(float)c.attn_multiplier;
        c.dense_ffn_hidden = two ? 40 : 0;
        c.router_softcap = c.final_softcap = two ? 20 : 0;
        c.attn_temperature_len = two ? 8 : 0;
        c.tied_embeddings = !two;
        gguf_file_make(&bytes, &c, "grok");
        open_bytes(&bytes, &from_file, &rc, &e);
        assert_ok(rc, e);
        open_folder(&c, &from_folder);
        char *x = continuation(&from_file), *y = continuation(&from_folder);
        assert_string_equal(x, y);
        mem_free(x);
        mem_free(y);
        serve_model_close(&from_file);
        serve_model_close(&from_folder);
        str_fini(&bytes);
    }
}

/* ------------------------------------------------------------------ logits */

enum { ASKED = 24 };

static float *logits_of(const struct str *bytes)
{
    struct error e = {0};
    struct serve_model m;
    uint32_t ids[ASKED];
    int rc;
    open_bytes(bytes, &m, &rc, &e);
    assert_ok(rc, e);
    for (uint32_t i = 0; i < ASKED; i++)
        ids[i] = (i * 37 + 5) % 257;
    float *logits = mem_alloc(257 * sizeof(*logits));
    model_cache_t *cache = model_cache_new(m.model, ASKED);
    model_decode(m.model, cache, ids, ASKED, logits);
    model_cache_free(cache);
    serve_model_close(&m);
    return logits;
}

/* The largest difference, in parts of the spread of the second. */
static double apart(const float *x, const float *y)
{
    double most = 0, low = INFINITY, high = -INFINITY;
    for (int i = 0; i < 257; i++) {
        most = fmax(most, fabs((double)x[i] - (double)y[i]));
        low = fmin(low, (double)y[i]);
        high = fmax(high, (double)y[i]);
    }
    return most / (high - low);
}

/* Weights that stay in blocks give what their floats give, but for the rounding of activations to 16
 * bits: of a llama, and of experts. */
static void weights_in_blocks(void **unused)
{
    (void)unused;
    for (int family = 0; family < 2; family++) {
        struct model_config c = family ? fixture_config() : gguf_file_config();
        struct str blocks = {0}, floats = {0};
        const char *name = family ? "grok" : "llama";
        c.ffn_hidden = 96;
        c.tied_embeddings = family;
        gguf_file_make_as(&blocks, &c, name, GGUF_FILE_Q8, NULL);
        gguf_file_make_as(&floats, &c, name, GGUF_FILE_LIKE_Q8, NULL);
        assert_true(blocks.len < floats.len / 2);
        float *x = logits_of(&blocks), *y = logits_of(&floats);
        if (apart(x, y) > 2e-4) fail_msg("%s: off by %g of the spread", name, apart(x, y));
        assert_true(apart(x, y) > 0); /* or they were not kept as blocks */
        mem_free(x);
        mem_free(y);
        str_fini(&blocks);
        str_fini(&floats);
    }
}

/* Divisors that are all 1 change nothing, and all the same they are a scaling of positions. */
static void slowed_rotations(void **unused)
{
    struct model_config c = gguf_file_config();
    float ones[8], fours[8], bad[8] = {1, 1, 0};
    struct str plain = {0}, one = {0}, four = {0}, none = {0};
    (void)unused;
    for (int i = 0; i < 8; i++) {
        ones[i] = 1;
        fours[i] = 4;
    }
    gguf_file_make(&plain, &c, "llama");
    gguf_file_make_as(&one, &c, "llama", GGUF_FILE_PLAIN, ones);
    gguf_file_make_as(&four, &c, "llama", GGUF_FILE_PLAIN, fours);
    gguf_file_make_as(&none, &c, "llama", GGUF_FILE_PLAIN, bad);
    float *x = logits_of(&plain), *y = logits_of(&one), *z = logits_of(&four);
    assert_memory_equal(x, y, 257 * sizeof(*x));
    assert_true(apart(z, x) > 1e-3);
    expect_refused(&none, "rope_freqs.weight");
    mem_free(x);
    mem_free(y);
    mem_free(z);
    c.rope_scaling = COMPUTE_ROPE_LINEAR;
    c.rope_factor = 4;
    struct serve_model m;
    open_folder(&c, &m);
    struct error e = {0};
    struct serve_model from_file;
    int rc;
    open_bytes(&four, &from_file, &rc, &e);
    assert_ok(rc, e);
    char *p = continuation(&m), *q = continuation(&from_file);
    assert_string_equal(p, q);
    mem_free(p);
    mem_free(q);
    serve_model_close(&m);
    serve_model_close(&from_file);
    str_fini(&plain);
    str_fini(&one);
    str_fini(&four);
    str_fini(&none);
}

/* The lines of a vocabulary's .out are the ids of the texts of its .inp. */
static void check_texts(const char *path, const tokenizer_t *t)
{
    static const char between[] = "\n__ggml_vocab_test__\n";
    struct error e = {0};
    struct str name = {0};
    char *texts, *wanted;
    size_t size, n = 0;
    str_printf(&name, "%s.inp", path);
    assert_ok(file_read(name.data, 1 << 20, &texts, &size, &e), e);
    str_clear(&name);
    str_printf(&name, "%s.out", path);
    assert_ok(file_read(name.data, 1 << 20, &wanted, &size, &e), e);
    tokenizer_scratch_t *scratch = tokenizer_scratch_new(t);
    char *line = wanted;
    for (char *text = texts; text && line && *line; n++) {
        char *end = strstr(text, between), *line_end = strchr(line, '\n');
        size_t length = end ? (size_t)(end - text) : strlen(text);
        struct token_array ids = {0};
        struct str got = {0};
        tokenizer_encode(t, scratch, text, length, 0, &ids);
        str_reserve(&got, 1);
        for (size_t i = 0; i < ids.count; i++)
            str_printf(&got, " %u", ids.ids[i]);
        if (line_end) *line_end = '\0';
        line += strspn(line, " ");
        const char *ours = got.data + strspn(got.data, " ");
        if (strcmp(ours, line) != 0)
            fail_msg("%s, text %zu '%.*s': %s instead of %s", path, n, (int)length, text, ours,
                     line);
        token_array_fini(&ids);
        str_fini(&got);
        text = end ? end + strlen(between) : NULL;
        line = line_end ? line_end + 1 : NULL;
    }
    assert_true(n > 40);
    tokenizer_scratch_free(scratch);
    str_fini(&name);
    mem_free(texts);
    mem_free(wanted);
}

/* llama.cpp's vocabularies (its folder models/, whose ggml-vocab-NAME.gguf have texts and ids beside
 * them): every one that is read gives those ids; the others are refused by name. */
static void published_vocabularies(void **unused)
{
    static const char *const refused[] = {"bert", "gemma4"};
    const char *dir = getenv("COLOSSUS_VOCABULARIES");
    struct arena a = {0};
    struct error e = {0};
    char **names;
    size_t count, read = 0;
    (void)unused;
    if (!dir) {
        print_message("skip: COLOSSUS_VOCABULARIES=FOLDER of llama.cpp's models\n");
        skip();
    }
    assert_ok(file_list_dir(dir, &a, &names, &count, &e), e);
    for (size_t i = 0; i < count; i++) {
        const char *path = file_join(&a, dir, names[i]);
        struct gguf g;
        tokenizer_t *t;
        if (!strstr(names[i], "ggml-vocab-") || strcmp(strrchr(names[i], '.'), ".gguf") != 0 ||
            !file_exists(arena_printf(&a, "%s.inp", path)))
            continue;
        assert_ok(gguf_open(path, &g, &e), e);
        int rc = serve_gguf_tokenizer(&g, names[i], &t, &e);
        gguf_close(&g);
        if (rc == 0) {
            check_texts(path, t);
            tokenizer_free(t);
            read++;
            continue;
        }
        bool known = false;
        for (size_t k = 0; k < ARRAY_LEN(refused); k++)
            known = known || strstr(e.text, refused[k]);
        if (!known) fail_msg("%s", e.text);
        print_message("refused: %s\n", e.text);
    }
    print_message("%zu vocabularies give llama.cpp's ids\n", read);
    assert_true(read > 0);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_same_as_a_folder),
                                       cmocka_unit_test(what_is_refused),
                                       cmocka_unit_test(grok),
                                       cmocka_unit_test(weights_in_blocks),
                                       cmocka_unit_test(slowed_rotations),
                                       cmocka_unit_test(published_vocabularies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
