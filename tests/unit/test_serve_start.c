/* test_serve_start.c: which token begins a text, as a tokenizer_config.json beside a model says it. */
#include "serve_fixture.h"
#include "test_cmocka.h"

static struct serve_model open_with(struct fixture *f, const char *settings)
{
    struct error e = {0};
    struct serve_model m;
    char path[96];
    snprintf(path, sizeof(path), "%s/tokenizer_config.json", f->dir);
    if (settings) assert_ok(file_write(path, settings, strlen(settings), &e), e);
    fixture_open(f, 1, 1, 1, &m);
    return m;
}

static void what_is_said(void **unused)
{
    (void)unused;
    static const struct {
        const char *settings;
        uint32_t start, text_start;
    } cases[] = {
        /* nothing: what ends a document begins one */
        {NULL, 0, 0},
        {"{\"bos_token\": \"A\", \"add_bos_token\": true}", 66, 66},
        {"{\"bos_token\": {\"content\": \"A\"}, \"add_bos_token\": false}", 66, TOKENIZER_NONE},
        /* tokenizer.json has no post_processor that would put it there */
        {"{\"bos_token\": \"A\"}", 66, TOKENIZER_NONE},
        {"{\"bos_token\": null, \"add_bos_token\": true}", 0, TOKENIZER_NONE},
    };
    struct fixture f = {0};
    fixture_make(&f);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct serve_model m = open_with(&f, cases[i].settings);
        assert_int_equal(m.start, cases[i].start);
        assert_int_equal(m.text_start, cases[i].text_start);
        serve_model_close(&m);
    }
    fixture_remove(&f);
}

/* A template of a post_processor, alone or as one of several, begins with the token. */
static void a_post_processor(void **unused)
{
    (void)unused;
    struct fixture f = {0};
    struct error e = {0};
    fixture_make(&f);
    for (int several = 0; several < 2; several++) {
        json_t *root = fixture_tokenizer();
        json_t *one =
            json_pack("{s:s, s:[{s:{s:s, s:i}}, {s:{s:s, s:i}}], s:[], s:{}}", "type",
                      "TemplateProcessing", "single", "SpecialToken", "id", "<|eos|>", "type_id", 0,
                      "Sequence", "id", "A", "type_id", 0, "pair", "special_tokens");
        assert_non_null(one);
        if (several) one = json_pack("{s:s, s:[o]}", "type", "Sequence", "processors", one);
        json_object_set_new(root, "post_processor", one);
        assert_ok(json_save_path(root, f.tokenizer, &e), e);
        json_decref(root);
        struct serve_model m = open_with(&f, "{\"bos_token\": \"<|eos|>\"}");
        assert_int_equal(m.text_start, 0);
        serve_model_close(&m);
    }
    fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_said),
        cmocka_unit_test(a_post_processor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
