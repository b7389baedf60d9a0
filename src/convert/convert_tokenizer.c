/* convert_tokenizer.c: the tokenizer goes with the model.
 *
 * Into a GGUF file: of a GGUF file all its values are copied; a tokenizer.json of byte-level BPE becomes
 * ggml's "gpt2", whose cuts must be one of those that ggml has a name for; a SentencePiece model of
 * pairs becomes ggml's "llama". Ids that a padded table has beyond the tokenizer's get names that no
 * text has. Into a folder: files are copied, or made of a GGUF file's values.
 *
 * A text begins with the token that the model's own folder says (serve_start_of); of a model trained here
 * that is what ends a document, as in training. */
#include "convert/convert_internal.h"

#include <stdlib.h>
#include <string.h>

enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE }; /* types of tokens, as GGUF has them */
enum { TYPE_I32 = 5, TYPE_F32 = 6, TYPE_STRING = 8, MAX_CUTS = 4 };

#define MAX_JSON  ((size_t)256 << 20)
#define MAX_MODEL ((size_t)64 << 20)
#define KEY(name) "tokenizer.ggml." name
/* What ByteLevel cuts by itself (GPT-2). */
#define BYTE_LEVEL_CUT \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* ------------------------------------------------------------------ pieces */

struct piece {
    const char *text; /* NULL: there is no such id */
    size_t size;
    float score;
    int32_t type;
};

struct pieces {
    struct piece *list;
    size_t n;
    struct arena arena;
};

static void put_pieces(struct pieces *p, bool scores, struct convert_values *v)
{
    convert_put_array(v, KEY("tokens"), TYPE_STRING, p->n);
    for (size_t i = 0; i < p->n; i++) {
        struct piece *x = &p->list[i];
        if (!x->text) {
            x->text = arena_printf(&p->arena, "[PAD%zu]", i);
            x->size = strlen(x->text);
            x->type = UNUSED;
            x->score = -1e6f;
        }
        convert_put_string(v, x->text, x->size);
    }
    if (scores) convert_put_array(v, KEY("scores"), TYPE_F32, p->n);
    for (size_t i = 0; i < p->n && scores; i++)
        convert_put_raw(v, &p->list[i].score, sizeof(float));
    convert_put_array(v, KEY("token_type"), TYPE_I32, p->n);
    for (size_t i = 0; i < p->n; i++)
        convert_put_raw(v, &p->list[i].type, sizeof(int32_t));
}

/* ------------------------------------------------------------------ tokenizer.json */

static int refuse(const struct convert_source *s, const char *what, struct error *e)
{
    error_set(e, "%s: %s", s->tokenizer, what);
    return error_hint(e, "GGUF files hold byte-level BPE that cuts text in a way that ggml has a "
                         "name for, and SentencePiece models of pairs; --tokenizer names another "
                         "file of the same ids");
}

static int add_piece(const struct convert_source *s, struct pieces *p, const json_t *id,
                     struct piece piece, struct error *e)
{
    json_int_t at = json_is_integer(id) ? json_integer_value(id) : -1;
    if (at < 0 || (size_t)at >= p->n)
        return error_set(e, "%s: token %lld, but the model has %zu ids", s->tokenizer,
                         (long long)at, p->n);
    p->list[at] = piece;
    return 0;
}

static int read_vocabulary(const struct convert_source *s, json_t *root, struct pieces *p,
                           struct error *e)
{
    json_t *vocab = json_object_get(json_object_get(root, "model"), "vocab");
    const json_t *added = json_object_get(root, "added_tokens");
    if (!json_is_object(vocab)) return refuse(s, "there is no object 'model.vocab'", e);
    for (void *it = json_object_iter(vocab); it; it = json_object_iter_next(vocab, it)) {
        struct piece x = {json_object_iter_key(it), json_object_iter_key_len(it), 0, NORMAL};
        TRY(add_piece(s, p, json_object_iter_value(it), x, e));
    }
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *t = json_array_get(added, i), *text = json_object_get(t, "content");
        bool special = json_is_true(json_object_get(t, "special"));
        struct piece x = {json_string_value(text), json_string_length(text), 0,
                          special ? CONTROL : USER};
        if (!json_is_string(text)) return refuse(s, "an added token without content", e);
        TRY(add_piece(s, p, json_object_get(t, "id"), x, e));
    }
    return 0;
}

/* "a b", or ["a", "b"]. */
static int put_merges(const struct convert_source *s, const json_t *root, struct convert_values *v,
                      struct error *e)
{
    const json_t *merges = json_object_get(json_object_get(root, "model"), "merges");
    struct str text = {0};
    int rc = json_is_array(merges) ? 0 : refuse(s, "there is no list 'model.merges'", e);
    convert_put_array(v, KEY("merges"), TYPE_STRING, json_array_size(merges));
    for (size_t i = 0; i < json_array_size(merges) && rc == 0; i++) {
        const json_t *m = json_array_get(merges, i);
        const char *a = json_string_value(json_array_get(m, 0));
        const char *b = json_string_value(json_array_get(m, 1));
        str_clear(&text);
        if (json_is_string(m))
            str_append(&text, json_string_value(m), json_string_length(m));
        else if (a && b)
            str_printf(&text, "%s %s", a, b);
        else
            rc = refuse(s, "a merge that is no pair", e);
        convert_put_string(v, text.data ? text.data : "", text.len);
    }
    str_fini(&text);
    return rc;
}

static int add_cut(const struct convert_source *s, const char *cut, const char **cuts, size_t *n,
                   struct error *e)
{
    if (!cut || *n == MAX_CUTS) return refuse(s, "text is cut in a way that is not known", e);
    cuts[(*n)++] = cut;
    return 0;
}

/* One after the other; of a byte level, its own unless it is told not to. */
static int read_cuts(const struct convert_source *s, const json_t *pre, const char **cuts,
                     size_t *n, struct error *e)
{
    const char *type = json_string_value(json_object_get(pre, "type"));
    const json_t *list = json_object_get(pre, "pretokenizers");
    if (!type) return refuse(s, "no 'pre_tokenizer' of a byte level", e);
    for (size_t i = 0; i < json_array_size(list); i++)
        TRY(read_cuts(s, json_array_get(list, i), cuts, n, e));
    if (strcmp(type, "Sequence") == 0) return 0;
    if (strcmp(type, "Digits") == 0 && json_is_true(json_object_get(pre, "individual_digits")))
        return add_cut(s, "\\p{N}", cuts, n, e);
    if (strcmp(type, "Split") == 0) {
        const char *behavior = json_string_value(json_object_get(pre, "behavior"));
        bool usual = behavior && strcmp(behavior, "Isolated") == 0 &&
                     !json_is_true(json_object_get(pre, "invert"));
        const json_t *regex = json_object_get(json_object_get(pre, "pattern"), "Regex");
        return add_cut(s, usual ? json_string_value(regex) : NULL, cuts, n, e);
    }
    if (strcmp(type, "ByteLevel") != 0 || json_is_true(json_object_get(pre, "add_prefix_space")))
        return refuse(s, "a 'pre_tokenizer' that is not known", e);
    return json_is_false(json_object_get(pre, "use_regex"))
               ? 0
               : add_cut(s, BYTE_LEVEL_CUT, cuts, n, e);
}

static int put_cut(const struct convert_source *s, const json_t *root, struct convert_values *v,
                   struct convert_report *r, struct error *e)
{
    const char *cuts[MAX_CUTS];
    size_t n = 0;
    const json_t *normal = json_object_get(root, "normalizer");
    const char *kind = json_string_value(json_object_get(normal, "type"));
    bool whole = json_is_true(json_object_get(json_object_get(root, "model"), "ignore_merges"));
    TRY(read_cuts(s, json_object_get(root, "pre_tokenizer"), cuts, &n, e));
    const char *name = serve_gguf_cut_name(cuts, n, whole);
    if (!name) return refuse(s, "text is cut in a way that ggml has no name for", e);
    if (kind && strcmp(kind, "NFC") != 0) return refuse(s, "a 'normalizer' that is not NFC", e);
    if (kind)
        convert_note(r, "llama.cpp does not bring text into Unicode's normal form C: give it "
                        "such text");
    convert_put_text(v, KEY("pre"), name, strlen(name));
    return 0;
}

static int put_json(const struct convert_source *s, struct pieces *p, struct convert_values *v,
                    struct convert_report *r, struct error *e)
{
    json_t *root = NULL;
    TRY(json_load_path(s->tokenizer, MAX_JSON, &root, e));
    const char *type = json_string_value(json_object_get(json_object_get(root, "model"), "type"));
    int rc = !type || strcmp(type, "BPE") == 0 ? 0 : refuse(s, "a tokenizer that is no BPE", e);
    if (rc == 0) rc = read_vocabulary(s, root, p, e);
    convert_put_text(v, KEY("model"), "gpt2", 4);
    if (rc == 0) rc = put_cut(s, root, v, r, e);
    if (rc == 0) put_pieces(p, false, v);
    if (rc == 0) rc = put_merges(s, root, v, e);
    json_decref(root);
    return rc;
}

/* ------------------------------------------------------------------ SentencePiece
 * sentencepiece_model.proto, as far as it is needed: pieces (1: text, 2: score, 3: type), the trainer's
 * kind of model (2.3: 2 is BPE), the normalizer's prefix and white space (3.3, 3.4). */

struct fields {
    const uint8_t *at, *end;
};

static bool read_varint(struct fields *f, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; shift < 64 && f->at < f->end; shift += 7) {
        uint8_t byte = *f->at++;
        *out |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return true;
    }
    return false;
}

/* The next field: its number, and its bytes or its value. False: the end, or damage (*bad). */
static bool next_field(struct fields *f, uint64_t *number, struct fields *bytes, uint64_t *value,
                       bool *bad)
{
    uint64_t key, n;
    if (f->at == f->end) return false;
    *bad = true;
    if (!read_varint(f, &key)) return false;
    *number = key >> 3;
    *value = 0;
    *bytes = (struct fields){f->at, f->at};
    if ((key & 7) == 0) {
        if (!read_varint(f, value)) return false;
    } else {
        n = (key & 7) == 5 ? 4 : 8;
        if ((key & 7) == 2 && !read_varint(f, &n)) return false;
        if ((key & 7) > 2 && (key & 7) != 5) return false;
        if (n > (uint64_t)(f->end - f->at)) return false;
        *bytes = (struct fields){f->at, f->at + n};
        f->at += n;
    }
    *bad = false;
    return true;
}

struct spm {
    size_t n;
    bool pairs, prefix, trims, bad;
};

static void read_piece(struct fields f, struct piece *p, bool *bad)
{
    uint64_t number, value;
    struct fields bytes;
    *p = (struct piece){"", 0, 0, NORMAL};
    while (next_field(&f, &number, &bytes, &value, bad)) {
        size_t size = (size_t)(bytes.end - bytes.at);
        if (number == 1) {
            p->text = (const char *)bytes.at;
            p->size = size;
        } else if (number == 2 && size == sizeof(float)) {
            memcpy(&p->score, bytes.at, sizeof(float));
        } else if (number == 3) {
            p->type = (int32_t)value;
        }
    }
}

static void read_spec(struct fields f, uint64_t part, struct spm *m)
{
    uint64_t number, value;
    struct fields bytes;
    while (next_field(&f, &number, &bytes, &value, &m->bad)) {
        if (part == 2 && number == 3) m->pairs = value == 2;
        if (part == 3 && number == 3) m->prefix = value != 0;
        if (part == 3 && number == 4) m->trims = value != 0;
    }
}

static int read_spm(const struct convert_source *s, const char *data, size_t size, struct pieces *p,
                    struct spm *m, struct error *e)
{
    struct fields f = {(const uint8_t *)data, (const uint8_t *)data + size}, bytes;
    uint64_t number, value;
    *m = (struct spm){.prefix = true, .trims = true};
    while (next_field(&f, &number, &bytes, &value, &m->bad)) {
        if (number == 1 && m->n == p->n)
            return error_set(e, "%s: more pieces than the %zu ids of the model", s->tokenizer,
                             p->n);
        if (number == 1) read_piece(bytes, &p->list[m->n++], &m->bad);
        if (number == 2 || number == 3) read_spec(bytes, number, m);
    }
    if (m->bad || m->n == 0) return refuse(s, "no SentencePiece model, or a damaged one", e);
    if (!m->pairs) return refuse(s, "a SentencePiece model that is not of pairs (BPE)", e);
    return 0;
}

static int put_spm(const struct convert_source *s, struct pieces *p, struct convert_values *v,
                   struct error *e)
{
    char *data;
    size_t size;
    struct spm m;
    TRY(file_read(s->tokenizer, MAX_MODEL, &data, &size, e));
    int rc = read_spm(s, data, size, p, &m, e);
    convert_put_text(v, KEY("model"), "llama", 5);
    convert_put_text(v, KEY("pre"), "default", 7);
    if (rc == 0) {
        put_pieces(p, true, v);
        convert_put_bool(v, KEY("add_space_prefix"), m.prefix);
        convert_put_bool(v, KEY("remove_extra_whitespaces"), m.trims);
    }
    mem_free(data);
    return rc;
}

/* ------------------------------------------------------------------ what begins and ends a text */

static int put_ends(const struct convert_source *s, struct convert_values *v, struct error *e)
{
    tokenizer_t *t;
    struct serve_start start = {0};
    TRY(tokenizer_load(s->tokenizer, &t, e));
    int rc = tokenizer_settle_eos(t, s->tokenizer, NULL, false, e);
    if (rc >= 0) rc = serve_start_of(s->path, s->tokenizer, t, &start, e);
    if (rc >= 0) {
        uint32_t eos = tokenizer_eos(t), bos = start.said ? start.bos : eos;
        if (bos == TOKENIZER_NONE) bos = tokenizer_bos(t);
        if (eos != TOKENIZER_NONE) convert_put_u32(v, KEY("eos_token_id"), eos);
        if (bos != TOKENIZER_NONE) convert_put_u32(v, KEY("bos_token_id"), bos);
        convert_put_bool(v, KEY("add_bos_token"),
                         bos != TOKENIZER_NONE && (!start.said || start.adds));
        convert_put_bool(v, KEY("add_eos_token"), false);
    }
    tokenizer_free(t);
    return rc < 0 ? rc : 0;
}

/* chat_template.jinja beside the model, or what tokenizer_config.json says. */
static int put_template(const struct convert_source *s, struct convert_values *v, struct error *e)
{
    struct arena a = {0};
    const char *file = file_join(&a, s->folder, "chat_template.jinja");
    const char *settings = file_join(&a, s->folder, "tokenizer_config.json");
    char *data = NULL;
    size_t size = 0;
    json_t *root = NULL;
    int rc = 0;
    if (file_exists(file)) {
        rc = file_read(file, MAX_MODEL, &data, &size, e);
        if (rc == 0) convert_put_text(v, "tokenizer.chat_template", data, size);
        mem_free(data);
    } else if (file_exists(settings)) {
        rc = json_load_path(settings, MAX_JSON, &root, e);
        const json_t *text = json_object_get(root, "chat_template");
        if (json_is_string(text))
            convert_put_text(v, "tokenizer.chat_template", json_string_value(text),
                             json_string_length(text));
        json_decref(root);
    }
    arena_fini(&a);
    return rc;
}

/* All values of a GGUF file that are the tokenizer's. */
static void copy_values(const struct convert_source *s, struct convert_values *v)
{
    for (size_t i = 0; i < s->gguf.n_values; i++) {
        const struct gguf_value *x = &s->gguf.values[i];
        if (strncmp(x->key, "tokenizer.", strlen("tokenizer.")) != 0) continue;
        convert_put_value(v, x);
    }
}

static bool is_json(const char *path)
{
    size_t n = strlen(path), suffix = strlen(".json");
    const char *end = n > suffix ? path + n - suffix : "";
    bool ranks = n > 9 && strcmp(path + n - 9, ".tok.json") == 0;
    return strcmp(end, ".json") == 0 && !ranks;
}

/* The file that a GGUF file can be made of, which may be another one than the first. */
static const char *choose_file(const struct convert_source *s, struct arena *a)
{
    const char *model = s->folder ? file_join(a, s->folder, "tokenizer.model") : NULL;
    json_t *root = NULL;
    if (!is_json(s->tokenizer) || !model || !file_exists(model)) return s->tokenizer;
    if (json_load_path(s->tokenizer, MAX_JSON, &root, NULL) < 0) return s->tokenizer;
    bool bytes = json_is_true(json_object_get(json_object_get(root, "model"), "byte_fallback"));
    json_decref(root);
    return bytes ? model : s->tokenizer; /* SentencePiece's, written anew */
}

int convert_put_tokenizer(const struct convert_source *s, struct convert_values *v,
                          struct convert_report *r, struct error *e)
{
    struct pieces p = {.n = (size_t)s->config.vocab_size};
    struct convert_source with = *s;
    if (s->is_gguf && !s->tokenizer) {
        copy_values(s, v);
        return 0;
    }
    if (!s->tokenizer) {
        error_set(e, "no tokenizer beside '%s'", s->path);
        return error_hint(e, "name one with --tokenizer FILE");
    }
    with.tokenizer = choose_file(s, &p.arena);
    p.list = arena_alloc(&p.arena, p.n * sizeof(*p.list));
    int rc = is_json(with.tokenizer) ? put_json(&with, &p, v, r, e) : put_spm(&with, &p, v, e);
    if (rc == 0) rc = put_ends(s, v, e);
    if (rc == 0 && s->folder) rc = put_template(s, v, e);
    arena_fini(&p.arena);
    return rc;
}

/* ------------------------------------------------------------------ into a folder */

static int copy_file(const char *from, const char *dir, const char *name, struct error *e)
{
    struct arena a = {0};
    char *data;
    size_t size;
    int rc = file_read(from, MAX_JSON, &data, &size, e);
    if (rc == 0) {
        rc = file_write(file_join(&a, dir, name), data, size, e);
        mem_free(data);
    }
    arena_fini(&a);
    return rc;
}

/* What a GGUF file says of its ends and of conversations, as transformers reads it. */
static int write_settings(const struct convert_source *s, const char *dir, struct error *e)
{
    const struct gguf_value *tokens = gguf_find(&s->gguf, KEY("tokens"));
    static const char *const names[][2] = {{"bos_token", KEY("bos_token_id")},
                                           {"eos_token", KEY("eos_token_id")},
                                           {"unk_token", KEY("unknown_token_id")},
                                           {"pad_token", KEY("padding_token_id")}};
    json_t *o = json_object();
    struct gguf_text text;
    double number;
    struct arena a = {0};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        size_t at = 0, k = 0;
        if (!gguf_number(gguf_find(&s->gguf, names[i][1]), &number) || !gguf_is_texts(tokens) ||
            number < 0 || number >= (double)tokens->count)
            continue;
        for (text = gguf_next_text(tokens, &at); k < (size_t)number; k++)
            text = gguf_next_text(tokens, &at);
        json_object_set_new(o, names[i][0], json_stringn(text.data, text.size));
    }
    if (gguf_number(gguf_find(&s->gguf, KEY("add_bos_token")), &number))
        json_object_set_new(o, "add_bos_token", json_boolean(number != 0));
    if (gguf_text(gguf_find(&s->gguf, "tokenizer.chat_template"), &text))
        json_object_set_new(o, "chat_template", json_stringn(text.data, text.size));
    json_object_set_new(o, "tokenizer_class", json_string("PreTrainedTokenizerFast"));
    int rc = json_save_path(o, file_join(&a, dir, "tokenizer_config.json"), e);
    json_decref(o);
    arena_fini(&a);
    return rc;
}

static int write_gguf_tokenizer(const struct convert_source *s, const char *dir, struct error *e)
{
    struct str text = {0};
    struct arena a = {0};
    const char *name = "";
    int rc = serve_gguf_tokenizer_file(&s->gguf, s->path, &text, &name, e);
    if (rc == 0) rc = file_write(file_join(&a, dir, name), text.data, text.len, e);
    if (rc == 0) rc = write_settings(s, dir, e);
    str_fini(&text);
    arena_fini(&a);
    return rc;
}

int convert_copy_tokenizer(const struct convert_source *s, const char *folder,
                           struct convert_report *r, struct error *e)
{
    static const char *const beside[] = {"tokenizer.json",        "tokenizer.model",
                                         "tokenizer_config.json", "special_tokens_map.json",
                                         "chat_template.jinja",   "added_tokens.json",
                                         "generation_config.json"};
    struct arena a = {0};
    int rc = 0;
    if (s->is_gguf && !s->tokenizer) return write_gguf_tokenizer(s, folder, e);
    if (!s->tokenizer)
        convert_note(r, "there is no tokenizer beside '%s', and none was written", s->path);
    if (s->tokenizer) rc = copy_file(s->tokenizer, folder, file_base_name(s->tokenizer), e);
    for (size_t i = 0; i < ARRAY_LEN(beside) && rc == 0 && s->folder; i++) {
        const char *from = file_join(&a, s->folder, beside[i]);
        const char *to = file_join(&a, folder, beside[i]);
        if (file_exists(from) && !file_exists(to)) rc = copy_file(from, folder, beside[i], e);
    }
    arena_fini(&a);
    return rc;
}
