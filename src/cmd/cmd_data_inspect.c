/* cmd_data_inspect.c: `colossus data inspect`: what a dataset holds: numbers, frequent tokens,
 * documents as text. */
#include "cmd/cmd_data_internal.h"

#include <ctype.h>
#include <string.h>

enum { SPLIT_BOTH, SPLIT_TRAIN, SPLIT_VALID };
static const char *const splits[] = {"both", "train", "valid", NULL};

struct inspect_args {
    int64_t documents, top, chars;
    int split;
    bool shards, text, verify, json;
};

#define AT(field) offsetof(struct inspect_args, field)
static const struct option rows[] = {
    CMD_CHOICE("split", 's', split, "both", splits, "which part to look at"),
    CMD_INT("documents", 'd', documents, NULL, "3", 0, 1e9,
            "number of documents to show as text, from the first on"),
    CMD_INT("chars", 'c', chars, "bytes", "400", 0, 1e12,
            "how much of each document to show; 0: all of it"),
    CMD_INT("top", 0, top, NULL, "20", 0, 1 << 24, "number of most frequent tokens to list"),
    CMD_FLAG("shards", 0, shards, "list the shard files"),
    CMD_FLAG("text", 0, text,
             "print all documents and nothing else, a line % after each, as fortune files have it"),
    CMD_FLAG("verify", 0, verify, "check the hash of every file"),
    CMD_FLAG("json", 0, json, "one JSON object"),
};
#undef AT

const struct option_table cmd_data_inspect_table = {
    "data inspect",
    "DIR [options]",
    "show what is in a dataset; verify it",
    "  colossus data inspect data/fortunes --verify\n"
    "  colossus data inspect data/fortunes --split valid --text >held-out.txt",
    rows,
    ARRAY_LEN(rows)};

/* What the printing functions share. */
struct inspection {
    const struct inspect_args *o;
    const char *dir;
    tokenizer_t *tokenizer; /* NULL: the folder has no copy */
    struct arena *arena;
    struct json_writer *json; /* NULL: tables */
};

static const char *number(struct arena *a, uint64_t value)
{
    return arena_printf(a, "%llu", (unsigned long long)value);
}

/* "' the'" with everything that is not printable escaped; in *a. */
static char *printable(struct arena *a, const char *text, size_t size)
{
    struct str s = {0};
    str_append_char(&s, '\'');
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n')
            str_puts(&s, "\\n");
        else if (c == '\t')
            str_puts(&s, "\\t");
        else if (c == '\\' || c == '\'')
            str_printf(&s, "\\%c", c);
        else if (isprint(c))
            str_append_char(&s, (char)c);
        else
            str_printf(&s, "\\x%02x", c);
    }
    str_append_char(&s, '\'');
    char *copy = arena_strndup(a, s.data, s.len);
    str_fini(&s);
    return copy;
}

/* A document's text; *out is empty at the end of the split. Returns tokens taken, EOS included. */
static int64_t read_document(const struct inspection *x, const dataset_t *d, uint64_t first,
                             uint64_t most_tokens, struct str *out, struct error *e)
{
    int64_t size = dataset_document_size(d, first, e);
    if (size < 0) return size;
    uint64_t n = (uint64_t)size, taken = MIN(n, most_tokens);
    uint32_t *ids = mem_try_alloc((taken + 1) * sizeof(*ids));

    str_clear(out);
    if (!ids)
        return error_set(e, "no memory for a document of %llu ids", (unsigned long long)taken);
    int rc = dataset_read(d, first, taken, ids, e);
    if (taken == n && n > 0) taken--; /* EOS */
    if (rc >= 0) rc = tokenizer_decode(x->tokenizer, ids, taken, 0, out, e);
    mem_free(ids);
    return rc < 0 ? rc : size;
}

/* Ends text[0..size) before a character rather than inside one. */
static size_t shown_size(const char *text, size_t size, size_t most)
{
    if (most == 0 || size <= most) return size;
    while (most > 1 && ((unsigned char)text[most] & 0xc0) == 0x80)
        most--;
    return most;
}

/* A dataset may hold anything, escape sequences for terminals included: control characters are
 * shown as '?'. */
static void show_text(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        putchar((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f ? '?' : c);
    }
}

static int print_documents(const struct inspection *x, const dataset_t *d, const char *split,
                           struct error *e)
{
    uint64_t at = 0, most = x->o->chars ? (uint64_t)x->o->chars : UINT64_MAX;
    struct str text = {0};
    int64_t i, n = 0;

    if (x->json) jsonw_open(x->json, "first_documents", '[');
    for (i = 0; i < x->o->documents && at < dataset_info(d)->tokens; i++, at += (uint64_t)n) {
        /* Every id but a control token has a byte or more, so this many tokens are enough. */
        n = read_document(x, d, at, most, &text, e);
        if (n < 0) break;
        size_t size = shown_size(text.data, text.len, (size_t)x->o->chars);
        bool cut = size < text.len || (uint64_t)n - 1 > most;
        if (x->json) {
            jsonw_open(x->json, NULL, '{');
            jsonw_int(x->json, "tokens", n - 1);
            jsonw_bool(x->json, "cut", cut);
            jsonw_string_n(x->json, "text", text.data ? text.data : "", size);
            jsonw_close(x->json, '}');
        } else {
            printf("\n--- %s, document %lld, %lld tokens\n", split, (long long)(i + 1),
                   (long long)(n - 1));
            show_text(text.data, size);
            printf("%s\n", cut ? " ..." : "");
        }
    }
    if (x->json) jsonw_close(x->json, ']');
    str_fini(&text);
    return n < 0 ? (int)n : 0;
}

/* --text: the whole split. */
static int print_text(const struct inspection *x, const dataset_t *d, struct error *e)
{
    struct str text = {0};
    int64_t n = 0;

    for (uint64_t at = 0; at < dataset_info(d)->tokens; at += (uint64_t)n) {
        n = read_document(x, d, at, UINT64_MAX, &text, e);
        if (n < 0) break;
        str_puts(&text, "\n%\n");
        if (fwrite(text.data, 1, text.len, stdout) != text.len) {
            n = error_errno(e, "write", "standard output");
            break;
        }
    }
    str_fini(&text);
    return n < 0 ? (int)n : 0;
}

/* Ends a list: in JSON, or as a table, which is shown where it has `any` row. */
static void end_list(const struct inspection *x, struct table *t, bool any)
{
    if (x->json) {
        jsonw_close(x->json, ']');
    } else if (any) {
        putchar('\n');
        table_print(t, stdout);
    }
    table_free(t);
}

static void print_top(const struct inspection *x, const struct dataset_stats *s)
{
    static const char *const heads[] = {"token", "id", "times", "share"};
    struct table *t = table_new(heads, ARRAY_LEN(heads), "lrrr");

    if (x->json) jsonw_open(x->json, "top_tokens", '[');
    for (size_t i = 0; i < s->n_top; i++) {
        size_t size = 0;
        const char *bytes =
            x->tokenizer ? tokenizer_piece(x->tokenizer, s->top[i].id, &size) : NULL;
        const char *piece = bytes && size > 0 ? printable(x->arena, bytes, size)
                            : bytes           ? "(control)"
                                              : NULL;
        table_row(
            t, piece, number(x->arena, s->top[i].id), number(x->arena, s->top[i].count),
            arena_printf(x->arena, "%.2f %%", 100.0 * (double)s->top[i].count / (double)s->tokens));
        if (!x->json) continue;
        jsonw_open(x->json, NULL, '{');
        jsonw_int(x->json, "id", s->top[i].id);
        jsonw_string(x->json, "token", piece);
        jsonw_int(x->json, "times", (int64_t)s->top[i].count);
        jsonw_close(x->json, '}');
    }
    end_list(x, t, s->n_top > 0);
}

static void print_shards(const struct inspection *x, const dataset_t *d)
{
    static const char *const heads[] = {"file", "tokens", "documents", "bytes of text", "XXH3"};
    struct table *t = table_new(heads, ARRAY_LEN(heads), "lrrrl");

    if (x->json) jsonw_open(x->json, "shards", '[');
    for (size_t i = 0; i < dataset_info(d)->n_shards; i++) {
        struct dataset_shard_info info = dataset_shard_at(d, i);
        char hex[17];
        hash_to_hex(info.xxh3, hex);
        table_row(t, info.file, number(x->arena, info.tokens), number(x->arena, info.documents),
                  number(x->arena, info.bytes), hex);
        if (!x->json) continue;
        jsonw_open(x->json, NULL, '{');
        jsonw_string(x->json, "file", info.file);
        jsonw_int(x->json, "tokens", (int64_t)info.tokens);
        jsonw_int(x->json, "documents", (int64_t)info.documents);
        jsonw_int(x->json, "bytes", (int64_t)info.bytes);
        jsonw_string(x->json, "xxh3", hex);
        jsonw_close(x->json, '}');
    }
    end_list(x, t, true);
}

static void print_stats(const struct inspection *x, const dataset_t *d, const char *split,
                        const struct dataset_stats *s)
{
    static const char *const heads[] = {"split", "tokens",  "documents", "bytes/token", "median",
                                        "95 %",  "longest", "ids used",  "shards"};
    double per_token = (double)s->bytes / (double)s->tokens;

    if (x->json) {
        jsonw_int(x->json, "tokens", (int64_t)s->tokens);
        jsonw_int(x->json, "documents", (int64_t)s->documents);
        jsonw_int(x->json, "bytes", (int64_t)s->bytes);
        jsonw_real(x->json, "bytes_per_token", per_token);
        jsonw_real(x->json, "tokens_per_document",
                   (double)(s->tokens - s->documents) / (double)MAX(s->documents, 1u));
        jsonw_int(x->json, "shortest_document", (int64_t)s->min_document);
        jsonw_int(x->json, "median_document", (int64_t)s->median_document);
        jsonw_int(x->json, "p95_document", (int64_t)s->p95_document);
        jsonw_int(x->json, "longest_document", (int64_t)s->max_document);
        jsonw_int(x->json, "ids_used", (int64_t)s->distinct_ids);
        return;
    }
    struct table *t = table_new(heads, ARRAY_LEN(heads), "lrrrrrrrr");
    table_row(t, split, number(x->arena, s->tokens), number(x->arena, s->documents),
              arena_printf(x->arena, "%.3f", per_token), number(x->arena, s->median_document),
              number(x->arena, s->p95_document), number(x->arena, s->max_document),
              number(x->arena, s->distinct_ids), number(x->arena, dataset_info(d)->n_shards));
    putchar('\n');
    table_print(t, stdout);
    table_free(t);
}

static int inspect_split(const struct inspection *x, const char *split, struct error *e)
{
    struct dataset_stats stats;
    dataset_t *d;
    int rc = 0;

    TRY(dataset_open(x->dir, split, 0, x->o->verify, &d, e));
    if (x->o->text) {
        rc = print_text(x, d, e);
    } else {
        TRY(dataset_count(d, (size_t)x->o->top, x->arena, &stats, e));
        if (x->json) jsonw_open(x->json, split, '{');
        print_stats(x, d, split, &stats);
        if (x->o->shards) print_shards(x, d);
        print_top(x, &stats);
        if (x->tokenizer) rc = print_documents(x, d, split, e);
        if (x->json) jsonw_close(x->json, '}');
    }
    dataset_close(d);
    return rc;
}

/* What is true of the whole dataset; `d` is any split of it. */
static void print_head(const struct inspection *x, const dataset_t *d)
{
    char fingerprint[17], hash[17];
    const char *kind = x->tokenizer ? tokenizer_kind(x->tokenizer) : NULL;

    hash_to_hex(dataset_info(d)->fingerprint, fingerprint);
    hash_to_hex(dataset_info(d)->tokenizer_hash, hash);
    if (x->json) {
        jsonw_string(x->json, "dataset", x->dir);
        jsonw_string(x->json, "fingerprint", fingerprint);
        jsonw_string(x->json, "tokenizer", kind);
        jsonw_string(x->json, "tokenizer_xxh3", hash);
        jsonw_int(x->json, "vocab_size", dataset_info(d)->vocab_size);
        jsonw_int(x->json, "eos", dataset_info(d)->eos);
        jsonw_bool(x->json, "verified", x->o->verify);
        return;
    }
    printf("%s: fingerprint %s, vocabulary %u, end of document %u\n", x->dir, fingerprint,
           dataset_info(d)->vocab_size, dataset_info(d)->eos);
    printf("tokenizer: %s, XXH3 %s\n", kind ? kind : "no copy in the folder", hash);
}

static int inspect_all(struct inspection *x, struct error *e)
{
    bool any = false;

    for (int s = SPLIT_TRAIN; s <= SPLIT_VALID; s++) {
        bool has;
        if (x->o->split != SPLIT_BOTH && x->o->split != s) continue;
        TRY(dataset_has_split(x->dir, splits[s], &has, e));
        if (!has && x->o->split == SPLIT_BOTH) continue;
        if (!any && !x->o->text) {
            dataset_t *d;
            TRY(dataset_open(x->dir, splits[s], 0, false, &d, e));
            print_head(x, d);
            dataset_close(d);
        }
        any = true;
        TRY(inspect_split(x, splits[s], e));
    }
    if (!any) return error_set(e, "dataset '%s' is empty", x->dir);
    if (x->o->verify && !x->json && !x->o->text) printf("\nverified: every file is intact\n");
    return 0;
}

/* The dataset's own tokenizer, where there is a copy. */
static int load_tokenizer(struct inspection *x, struct error *e)
{
    bool has_train;
    dataset_t *d;

    TRY(dataset_has_split(x->dir, "train", &has_train, e));
    TRY(dataset_open(x->dir, has_train ? "train" : "valid", 0, false, &d, e));
    const char *path = dataset_info(d)->tokenizer_path;
    int rc = path ? tokenizer_load(path, &x->tokenizer, e) : 0;
    if (rc >= 0 && path && tokenizer_hash(x->tokenizer) != dataset_info(d)->tokenizer_hash) {
        rc = error_set(e, "'%s' is not the tokenizer the dataset was made with", path);
        error_hint(e, "copy the right one there again");
    }
    if (rc >= 0 && !path && x->o->text) {
        rc = error_set(e, "dataset '%s' holds no tokenizer to read it with", x->dir);
        error_hint(e, "tokenize the text again; a copy is then kept");
    }
    dataset_close(d);
    return rc;
}

static int inspect(const struct option_line *l, void *options, struct error *e)
{
    const struct inspect_args *o = options;
    struct cmd_json j;
    struct inspection x = {.o = o, .arena = l->arena};

    if (l->n_rest != 1) {
        error_set_code(e, ERROR_USAGE, "one dataset folder is needed, not %d", l->n_rest);
        return error_hint(e, "colossus data inspect data/fortunes");
    }
    if (o->json && o->text) {
        error_set_code(e, ERROR_USAGE, "--json and --text exclude each other");
        return error_hint(e, "--json --documents 1000 --chars 0 gives documents as JSON");
    }
    x.dir = l->rest[0];
    struct json_writer *w = cmd_json_begin(&j);
    x.json = o->json ? w : NULL;
    int rc = load_tokenizer(&x, e);
    if (rc >= 0) rc = inspect_all(&x, e);
    cmd_json_end(&j, rc >= 0 && o->json);
    tokenizer_free(x.tokenizer);
    return rc;
}

int cmd_data_inspect(int argc, char **argv)
{
    return cmd_run(&cmd_data_inspect_table, argc, argv, sizeof(struct inspect_args), inspect);
}
