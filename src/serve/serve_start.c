/* serve_start.c: which token begins a text, as published models say it: `bos_token` and `add_bos_token` of
 * tokenizer_config.json, and where that says no more, what tokenizer.json's post_processor puts in
 * front. Without a tokenizer_config.json nothing is said. */
#include "serve/serve.h"

#include <string.h>

#define MAX_JSON ((size_t)64 << 20)

/* A token by its text: a string, or an object with one. */
static const char *text_of(const json_t *v)
{
    return json_string_value(json_is_object(v) ? json_object_get(v, "content") : v);
}

static uint32_t id_of(const tokenizer_t *t, const char *text)
{
    struct token_array ids = {0};
    tokenizer_scratch_t *s = tokenizer_scratch_new(t);
    tokenizer_encode(t, s, text, strlen(text), TOKENIZER_PARSE_SPECIAL, &ids);
    uint32_t id = ids.count == 1 ? ids.ids[0] : tokenizer_bos(t);
    token_array_fini(&ids);
    tokenizer_scratch_free(s);
    return id;
}

/* Whether a post_processor, or one of several, begins a text with that token. */
static bool begins_with(const json_t *p, const char *bos)
{
    const json_t *list = json_object_get(p, "processors");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (begins_with(json_array_get(list, i), bos)) return true;
    const json_t *first = json_array_get(json_object_get(p, "single"), 0);
    const json_t *token = json_object_get(first, "SpecialToken");
    const char *id = json_string_value(json_object_get(token, "id"));
    return id && strcmp(id, bos) == 0;
}

static int read_processor(const char *tokenizer, const char *bos, bool *adds, struct error *e)
{
    size_t n = strlen(tokenizer), suffix = strlen(".json");
    json_t *root = NULL;
    if (n < suffix || strcmp(tokenizer + n - suffix, ".json") != 0) {
        *adds = true; /* SentencePiece's, as transformers runs it */
        return 0;
    }
    TRY(json_load_path(tokenizer, MAX_JSON, &root, e));
    *adds = begins_with(json_object_get(root, "post_processor"), bos);
    json_decref(root);
    return 0;
}

int serve_start_of(const char *config, const char *tokenizer, const tokenizer_t *t,
                   struct serve_start *out, struct error *e)
{
    struct arena a = {0};
    const char *name = file_base_name(config);
    const char *dir = arena_strndup(&a, config, (size_t)(name - config));
    const char *path = arena_printf(&a, "%stokenizer_config.json", dir);
    json_t *root = NULL;
    int rc = 0;
    *out = (struct serve_start){.bos = TOKENIZER_NONE};
    if (file_exists(path)) {
        rc = json_load_path(path, MAX_JSON, &root, e);
        const char *bos = text_of(json_object_get(root, "bos_token"));
        const json_t *adds = json_object_get(root, "add_bos_token");
        out->said = rc == 0;
        if (rc == 0 && bos) out->bos = id_of(t, bos);
        if (rc == 0 && bos && json_is_boolean(adds))
            out->adds = json_is_true(adds);
        else if (rc == 0 && bos)
            rc = read_processor(tokenizer, bos, &out->adds, e);
        out->adds = out->adds && out->bos != TOKENIZER_NONE;
        json_decref(root);
    }
    arena_fini(&a);
    return rc;
}
