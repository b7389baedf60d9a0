/* text_document_end.c: which token ends a document.
 *
 * Shards end every document with it, a model learns to stop with it, and bits per byte count it. So
 * it is never guessed: it is
 *   1. what --eos says;
 *   2. what the index or the manifest says that lies beside a copy of this very tokenizer;
 *   3. what the tokenizer's own file marks (SentencePiece's eos piece, our "ends_document");
 *   4. what the files beside it say, as models are published: eos_token of tokenizer_config.json
 *      and special_tokens_map.json, eos_token_id of generation_config.json and config.json;
 *   5. the one token whose name is known to end texts; of several the one that the file's own
 *      post-processor puts behind a text;
 * and otherwise an error that asks. Tokens that end a turn (<|im_end|>, <|eot_id|>) or a segment
 * ([SEP]) end no document: they count only where 1 to 4 name them. */
#include "text/dataset/text_dataset_internal.h"
#include "text/tokenizer/text_tokenizer_internal.h"

#define MAX_STATEMENT ((size_t)64 << 20) /* bytes of a file beside the tokenizer */

/* The question, and where its answer is looked for. */
struct ending {
    struct tokenizer *t;
    const char *path; /* of the tokenizer */
    struct arena arena;
};

static int settle(struct ending *n, uint32_t id, const char *source)
{
    n->t->eos = id;
    n->t->eos_source = source;
    return 1;
}

/* A token as it is shown: "6 = '<EOS_TOKEN>'". */
static const char *show(struct ending *n, uint32_t id)
{
    const struct tokenizer_special *s = tokenizer_special_of(n->t, id);
    if (!s) return arena_printf(&n->arena, "%u", id);
    return arena_printf(&n->arena, "%u = '%.*s'", id, (int)s->name_size,
                        n->t->names.data + s->name_at);
}

/* Only a token that ordinary text cannot become may end a document. */
static bool may_end(const struct tokenizer *t, uint32_t id)
{
    return tokenizer_special_of(t, id) != NULL;
}

/* The special tokens there are, for an error. */
static const char *list_specials(struct ending *n)
{
    struct str s = {0};
    size_t most = 12;
    for (size_t i = 0; i < n->t->n_specials && i < most; i++)
        str_printf(&s, "%s%s", i ? ", " : "", show(n, n->t->specials[i].id));
    if (n->t->n_specials > most) str_printf(&s, " and %zu more", n->t->n_specials - most);
    const char *text = s.len ? arena_strdup(&n->arena, s.data) : "none";
    str_fini(&s);
    return text;
}

/* --eos: the token, or its number. */
static int by_option(struct ending *n, const char *wanted, struct error *e)
{
    uint32_t id = tokenizer_special_find(n->t, wanted, strlen(wanted), false);
    uint64_t number;
    if (id != TOKENIZER_NONE) return settle(n, id, "--eos");
    size_t digits = digits_parse(wanted, strlen(wanted), &number);
    if (digits > 0 && !wanted[digits] && number < n->t->bpe.vocab.count &&
        may_end(n->t, (uint32_t)number))
        return settle(n, (uint32_t)number, "--eos");
    error_set_code(e, ERROR_USAGE, "--eos '%s' is no special token of '%s'", wanted, n->path);
    return error_hint(e, "it has: %s", list_specials(n));
}

/* ------------------------------------------------------------------ files beside it */

/* 1: *root is the file of that name beside the tokenizer; 0: there is none. */
static int load_beside(struct ending *n, const char *name, json_t **root, struct error *e)
{
    size_t dir = (size_t)(file_base_name(n->path) - n->path);
    const char *path = arena_printf(&n->arena, "%.*s%s", (int)dir, n->path, name);
    if (!file_exists(path) || strcmp(path, n->path) == 0) return 0;
    TRY(json_load_path(path, MAX_STATEMENT, root, e));
    return 1;
}

static int contradiction(struct ending *n, const char *file, const char *what, struct error *e)
{
    error_set(e, "'%s' beside '%s' says that a text ends with %s, which is no special token of it",
              file, n->path, what);
    return error_hint(e, "say which does with --eos TOKEN or ID; it has: %s", list_specials(n));
}

/* What this program itself recorded with a copy of the tokenizer. */
static int by_record(struct ending *n, const char *name, const char *inside, struct error *e)
{
    json_t *root;
    char hex[17];
    int rc = load_beside(n, name, &root, e);
    if (rc <= 0) return rc;
    const json_t *state = json_object_get(root, inside);
    bool index = strcmp(inside, "tokenizer") == 0;
    const char *hash = json_string_value(json_object_get(state, index ? "xxh3" : "tokenizer_hash"));
    const json_t *eos = json_object_get(index ? root : state, "eos");
    hash_to_hex(n->t->hash, hex);
    bool ours = hash && strcmp(hash, hex) == 0 && json_is_integer(eos) &&
                json_integer_value(eos) >= 0 && json_integer_value(eos) < n->t->bpe.vocab.count;
    rc = ours ? settle(n, (uint32_t)json_integer_value(eos), name) : 0;
    json_decref(root);
    return rc;
}

/* eos_token: the text of the token, or an object that has it. */
static int by_token(struct ending *n, const char *name, struct error *e)
{
    json_t *root;
    int rc = load_beside(n, name, &root, e);
    if (rc <= 0) return rc;
    const json_t *token = json_object_get(root, "eos_token");
    const char *text =
        json_string_value(json_is_object(token) ? json_object_get(token, "content") : token);
    uint32_t id = text ? tokenizer_special_find(n->t, text, strlen(text), false) : TOKENIZER_NONE;
    if (id != TOKENIZER_NONE)
        rc = settle(n, id, name);
    else
        rc = text ? contradiction(n, name, arena_printf(&n->arena, "'%s'", text), e) : 0;
    json_decref(root);
    return rc;
}

/* Of several ids the one that ends documents by its name; the others end turns. */
static const json_t *choose_id(const struct ending *n, const json_t *ids)
{
    const json_t *known = NULL;
    if (!json_is_array(ids)) return ids;
    if (json_array_size(ids) == 1) return json_array_get(ids, 0);
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *id = json_array_get(ids, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            !tokenizer_ends_by_name(n->t, (uint32_t)MIN(json_integer_value(id), UINT32_MAX)))
            continue;
        if (known) return NULL;
        known = id;
    }
    return known;
}

/* eos_token_id: a number, or several. Another file may lie there by chance, so a number must be that
 * of a special token, and no other may have a name that ends texts. */
static int by_id(struct ending *n, const char *name, struct error *e)
{
    json_t *root;
    int rc = load_beside(n, name, &root, e);
    if (rc <= 0) return rc;
    const json_t *ids = json_object_get(root, "eos_token_id");
    if (!ids) ids = json_object_get(json_object_get(root, "text_config"), "eos_token_id");
    const json_t *chosen = choose_id(n, ids);
    if (chosen && !json_is_integer(chosen) && !json_is_null(chosen)) {
        json_decref(root);
        error_set(e, "'%s' beside '%s' has an eos_token_id that is no whole number", name, n->path);
        return error_hint(e, "say which token ends a text with --eos TOKEN or ID");
    }
    json_int_t id = json_is_integer(chosen) ? json_integer_value(chosen) : -1;
    uint32_t named = tokenizer_eos_by_name(n->t);
    rc = 0;
    if (json_is_integer(chosen) && (id < 0 || id > UINT32_MAX || !may_end(n->t, (uint32_t)id))) {
        rc = contradiction(n, name, arena_printf(&n->arena, "id %lld", (long long)id), e);
    } else if (id >= 0 && named != TOKENIZER_NONE && named != (uint32_t)id) {
        error_set(e, "'%s' beside '%s' says that a text ends with %s, the names say %s", name,
                  n->path, show(n, (uint32_t)id), show(n, named));
        rc = error_hint(e, "say which with --eos TOKEN or ID");
    } else if (id >= 0) {
        rc = settle(n, (uint32_t)id, name);
    }
    json_decref(root);
    return rc;
}

/* What generation_config.json settled must not be denied by config.json. */
static int both_ids(struct ending *n, struct error *e)
{
    int rc = by_id(n, "generation_config.json", e);
    if (rc < 0) return rc;
    uint32_t settled = n->t->eos;
    const char *source = n->t->eos_source;
    int other = by_id(n, "config.json", e);
    if (rc == 0 || other < 0) return other;
    if (other > 0 && n->t->eos != settled) {
        error_set(e,
                  "beside '%s' generation_config.json says that a text ends with %s, "
                  "config.json says %s",
                  n->path, show(n, settled), show(n, n->t->eos));
        return error_hint(e, "say which with --eos TOKEN or ID");
    }
    return settle(n, settled, source);
}

/* What a file settled by a token must not be denied by an id: of models that were tuned to talk the one
 * often ends a turn, the other a document. An id that is none of the tokenizer's says nothing here. */
static int confirm_token(struct ending *n, struct error *e)
{
    struct error none = {0};
    const uint32_t settled = n->t->eos;
    const char *source = n->t->eos_source;
    if (both_ids(n, &none) > 0 && n->t->eos != settled) {
        error_set(e, "beside '%s' %s says that a text ends with %s, %s says %s", n->path, source,
                  show(n, settled), n->t->eos_source, show(n, n->t->eos));
        return error_hint(e, "say which with --eos TOKEN or ID");
    }
    return settle(n, settled, source);
}

static int by_files(struct ending *n, struct error *e)
{
    int rc = by_token(n, "tokenizer_config.json", e);
    if (rc == 0) rc = by_token(n, "special_tokens_map.json", e);
    if (rc > 0) return confirm_token(n, e);
    return rc == 0 ? both_ids(n, e) : rc;
}

/* ------------------------------------------------------------------ the post-processor */

/* The special token that a template puts behind a text: the last item of `single`. */
static const char *template_end(const json_t *processor)
{
    const char *type = json_string_value(json_object_get(processor, "type"));
    if (!type) return NULL;
    if (strcmp(type, "TemplateProcessing") == 0) {
        const json_t *single = json_object_get(processor, "single");
        const json_t *last = json_array_get(single, json_array_size(single) - 1);
        return json_string_value(json_object_get(json_object_get(last, "SpecialToken"), "id"));
    }
    if (strcmp(type, "RobertaProcessing") == 0)
        return json_string_value(json_array_get(json_object_get(processor, "sep"), 0));
    const json_t *list = json_object_get(processor, "processors");
    const char *end = NULL;
    for (size_t i = 0; i < json_array_size(list) && !end; i++)
        end = template_end(json_array_get(list, i));
    return end;
}

/* Which of several known names: what the file itself puts at the end. */
static int by_template(struct ending *n, struct error *e)
{
    json_t *root;
    if (!n->path || (n->t->algorithm != TOKENIZER_BYTE_LEVEL && n->t->algorithm != TOKENIZER_TEXT))
        return 0;
    TRY(json_load_path(n->path, TOKENIZER_MAX_FILE, &root, e));
    const char *end = template_end(json_object_get(root, "post_processor"));
    uint32_t id = end ? tokenizer_special_find(n->t, end, strlen(end), true) : TOKENIZER_NONE;
    int rc = id != TOKENIZER_NONE && tokenizer_ends_by_name(n->t, id)
                 ? settle(n, id, "the post-processor")
                 : 0;
    json_decref(root);
    return rc;
}

/* ------------------------------------------------------------------ the answer */

/* Several known names and nothing that decides, or none. */
static int unsettled(struct ending *n, bool needed, struct error *e)
{
    struct str s = {0};
    for (size_t i = 0; i < n->t->n_specials; i++)
        if (tokenizer_ends_by_name(n->t, n->t->specials[i].id))
            str_printf(&s, "%s%s", s.len ? ", " : "", show(n, n->t->specials[i].id));
    int rc = 0;
    if (s.len) {
        error_set(e, "more than one token of '%s' may end a document: %s", n->path, s.data);
        rc = error_hint(e, "say which does with --eos TOKEN or ID");
    } else if (needed) {
        error_set(e, "which token of '%s' ends a document is not said anywhere", n->path);
        rc = error_hint(e, "say it with --eos TOKEN or ID; it has: %s%s", list_specials(n),
                        n->t->algorithm == TOKENIZER_TIKTOKEN && !n->t->n_specials
                            ? "; --special-token '<|endoftext|>=ID' gives it one"
                            : "");
    }
    str_fini(&s);
    return rc;
}

static int settle_any(struct ending *n, const char *wanted, bool needed, struct error *e)
{
    struct tokenizer *t = n->t;
    if (wanted) return by_option(n, wanted, e);
    int rc = by_record(n, SHARD_INDEX_NAME, "tokenizer", e);
    if (rc == 0) rc = by_record(n, "manifest.json", "state", e);
    if (rc != 0 || t->eos_marked) return rc;
    rc = by_files(n, e);
    if (rc != 0) return rc;
    uint32_t named = tokenizer_eos_by_name(t);
    if (named != TOKENIZER_NONE) return settle(n, named, "its name");
    rc = by_template(n, e);
    return rc != 0 ? rc : unsettled(n, needed, e);
}

int tokenizer_settle_eos(tokenizer_t *t, const char *path, const char *wanted, bool needed,
                         struct error *e)
{
    struct ending n = {.t = t, .path = path};
    arena_init(&n.arena);
    int rc = settle_any(&n, wanted && *wanted ? wanted : NULL, needed, e);
    arena_fini(&n.arena);
    return MIN(rc, 0);
}

void tokenizer_show_eos(const tokenizer_t *t, struct str *out)
{
    const struct tokenizer_special *s = tokenizer_special_of(t, t->eos);
    str_clear(out);
    if (s) str_append(out, t->names.data + s->name_at, s->name_size);
}
