/* cmd_data_tokenize.c: `colossus data tokenize` and `colossus data train-tokenizer`: the two
 * commands that read corpora. */
#include "cmd/cmd_data_internal.h"

#include <string.h>
#include <unistd.h>

/* What of the folders would not be read, and why. */
static void print_left(const struct corpus *c)
{
    static const char *const heads[] = {"left out", "why"};
    struct table *t = table_new(heads, ARRAY_LEN(heads), "ll");
    for (size_t i = 0; i < corpus_left_count(c); i++)
        table_row(t, corpus_left_at(c, i)->path, corpus_left_at(c, i)->why);
    if (corpus_left_count(c) > 0) {
        putchar('\n');
        table_print(t, stdout);
    }
    table_free(t);
}

static void left_json(const struct corpus *c, struct json_writer *w)
{
    jsonw_open(w, "left_out", '[');
    for (size_t i = 0; i < corpus_left_count(c); i++) {
        jsonw_open(w, NULL, '{');
        jsonw_string(w, "path", corpus_left_at(c, i)->path);
        jsonw_string(w, "why", corpus_left_at(c, i)->why);
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
}

/* --dry-run: the files that would be read, as a table or (JSON) members of an open object. */
static int print_corpus(const struct corpus_options *o, struct json_writer *json, struct error *e)
{
    static const char *const heads[] = {"file", "format", "size"};
    struct corpus *c;
    char text[32];
    struct corpus_options quiet = *o; /* what is left out is in the answer */
    quiet.quiet = true;
    TRY(corpus_open(&quiet, &c, e));
    struct table *t = table_new(heads, ARRAY_LEN(heads), "llr");
    if (json) jsonw_open(json, "files", '[');
    for (size_t i = 0; i < corpus_file_count(c); i++) {
        const struct corpus_file *f = corpus_file_at(c, i);
        const char *format = corpus_format_names[f->format];
        bool known = f->stored_bytes > 0 || strcmp(f->path, "-") != 0;
        table_row(t, f->path, format, known ? format_bytes(text, (double)f->stored_bytes) : NULL);
        if (!json) continue;
        jsonw_open(json, NULL, '{');
        jsonw_string(json, "path", f->path);
        jsonw_string(json, "format", format);
        jsonw_int(json, "stored_bytes", (int64_t)f->stored_bytes);
        jsonw_close(json, '}');
    }
    if (json) {
        jsonw_close(json, ']');
        left_json(c, json);
    } else {
        table_print(t, stdout);
        print_left(c);
    }
    table_free(t);
    corpus_close(c);
    return 0;
}

/* ------------------------------------------------------------------ tokenize */

struct tokenize_args {
    struct data_corpus_args corpus;
    struct data_rank_args ranks;
    const char *tokenizer, *out, *eos;
    int64_t shard_tokens, threads;
    double valid_fraction;
    bool dedup, force, dry_run, json;
};

#define AT(field) offsetof(struct tokenize_args, field)
static const struct option tokenize_rows[] = {
    CMD_TEXT(
        "tokenizer", 't', tokenizer, NULL, NULL,
        "tokenizer.json, tiktoken ranks or SentencePiece .model; a copy is kept in the dataset"),
    CMD_TEXT("out", 'o', out, NULL, NULL, "the dataset folder to make"),
    CMD_TEXT("eos", 0, eos, "TOKEN", NULL,
             "the special token, or its id, that ends a document; by default what the tokenizer, "
             "the files beside it or the tokens' names say, and an error where they do not"),
    DATA_CORPUS_ROWS,
    DATA_RANK_ROWS,
    CMD_REAL("valid-fraction", 'v', valid_fraction, NULL, "0.01", 0, 0.99,
             "share of the documents that goes to the validation split, by the hash of their text"),
    CMD_FLAG_ON("dedup", 0, dedup, "drop documents that are equal byte for byte to an earlier one"),
    CMD_INT("shard-tokens", 0, shard_tokens, "tokens", "100M", 1, 0x1p47, "tokens in a shard file"),
    CMD_INT("threads", 0, threads, NULL, "0", 0, 1024,
            "how many to use; 0: one per processor; the files are the same for any number"),
    CMD_FLAG("force", 0, force, "replace the dataset that is already there"),
    CMD_FLAG("dry-run", 'n', dry_run,
             "check everything and list the files that would be read; write nothing"),
    CMD_FLAG("json", 0, json, "the report as a JSON object"),
};
#undef AT

const struct option_table cmd_data_tokenize_table = {
    "data tokenize",
    "INPUT... --tokenizer FILE --out DIR [options]",
    "turn corpora into token shards for training",
    DATA_INPUT_HELP
    "\nThe dataset appears at DIR only when it is complete.\n\n"
    "  colossus data tokenize /usr/share/games/fortunes --tokenizer tok.json --out data/fortunes\n"
    "  echo '{\"body\": \"Buy low, sell high.\"}' | colossus data tokenize - --format jsonl \\\n"
    "      --field body --tokenizer tok.json --out data/posts",
    tokenize_rows,
    ARRAY_LEN(tokenize_rows)};

/* The command as it is recorded in the index: what decides the tokens, so not the number of threads
 * or the place of the output. */
static char *recorded_command(const struct tokenize_args *o, const struct option_line *l)
{
    static const char *const left_out[] = {"out", "threads", "force", "json"};
    struct str s = {0};

    str_puts(&s, "colossus data tokenize");
    for (int i = 0; i < l->n_rest; i++)
        str_printf(&s, " %s", l->rest[i]);
    for (size_t i = 0; i < ARRAY_LEN(tokenize_rows); i++) {
        bool take = l->origins[i] == ORIGIN_FLAG;
        for (size_t k = 0; k < ARRAY_LEN(left_out); k++)
            take &= strcmp(tokenize_rows[i].name, left_out[k]) != 0;
        if (!take) continue;
        str_printf(&s, " --%s=", tokenize_rows[i].name);
        options_get(&tokenize_rows[i], o, &s);
    }
    char *command = arena_strndup(l->arena, s.data, s.len);
    str_fini(&s);
    return command;
}

static void report_row(struct table *t, const char *what, uint64_t documents, uint64_t bytes,
                       bool bytes_known)
{
    char count[32], size[32];
    snprintf(count, sizeof(count), "%llu", (unsigned long long)documents);
    format_bytes(size, (double)bytes);
    table_row(t, what, count, bytes_known ? size : "");
}

static void split_row(struct table *t, const char *split, const struct dataset_split_report *r)
{
    char cells[4][32];
    snprintf(cells[0], sizeof(cells[0]), "%llu", (unsigned long long)r->documents);
    snprintf(cells[1], sizeof(cells[1]), "%llu", (unsigned long long)r->tokens);
    snprintf(cells[2], sizeof(cells[2]), "%.3f", (double)r->bytes / (double)r->tokens);
    snprintf(cells[3], sizeof(cells[3]), "%llu", (unsigned long long)r->shards);
    table_row(t, split, cells[0], cells[1], r->tokens ? cells[2] : NULL, cells[3]);
}

static void print_report(const struct dataset_report *r, const struct tokenize_args *o)
{
    static const char *const kept_heads[] = {"documents", "number", "text"};
    static const char *const split_heads[] = {"split", "documents", "tokens", "bytes/token",
                                              "shards"};
    char time[32], rate[32], stored[32];
    struct table *t = table_new(kept_heads, ARRAY_LEN(kept_heads), "lrr");

    report_row(t, "read", r->documents_read, r->bytes_read, true);
    report_row(t, "dropped: empty", r->empty_dropped, 0, false);
    report_row(t, "dropped: exact duplicate", r->duplicates_dropped, 0, false);
    report_row(t, "kept", r->documents_kept, r->bytes_kept, true);
    for (int i = 0; i < CORPUS_BAD_KINDS; i++) {
        char what[64];
        snprintf(what, sizeof(what), "skipped: %s", corpus_bad_names[i]);
        if (r->skipped[i]) report_row(t, what, r->skipped[i], 0, false);
    }
    table_print(t, stdout);
    table_free(t);
    putchar('\n');
    t = table_new(split_heads, ARRAY_LEN(split_heads), "lrrrr");
    split_row(t, "train", &r->train);
    if (r->valid.shards > 0) split_row(t, "valid", &r->valid);
    table_print(t, stdout);
    table_free(t);
    printf("\n%s: %s in %s, %s of text a second\n", o->out,
           format_bytes(stored, (double)r->stored_bytes), format_duration(time, r->seconds),
           format_bytes(rate, (double)r->bytes_read / MAX(r->seconds, 1e-9)));
}

/* Which token ends documents, and what says so: nobody should have to guess it either. */
static void print_eos(const tokenizer_t *t)
{
    struct str name = {0};
    tokenizer_show_eos(t, &name);
    printf("end of document: %u = %s, by %s\n", tokenizer_eos(t), name.data,
           tokenizer_eos_source(t));
    str_fini(&name);
}

static void eos_json(struct json_writer *w, const tokenizer_t *t)
{
    struct str name = {0};
    tokenizer_show_eos(t, &name);
    jsonw_int(w, "eos", tokenizer_eos(t));
    jsonw_string(w, "eos_token", name.data);
    jsonw_string(w, "eos_by", tokenizer_eos_source(t));
    str_fini(&name);
}

static void split_json(struct json_writer *w, const char *split,
                       const struct dataset_split_report *r)
{
    jsonw_open(w, split, '{');
    jsonw_int(w, "shards", (int64_t)r->shards);
    jsonw_int(w, "documents", (int64_t)r->documents);
    jsonw_int(w, "tokens", (int64_t)r->tokens);
    jsonw_int(w, "bytes", (int64_t)r->bytes);
    jsonw_close(w, '}');
}

static void report_json(struct json_writer *w, const struct dataset_report *r)
{
    jsonw_int(w, "documents_read", (int64_t)r->documents_read);
    jsonw_int(w, "documents_kept", (int64_t)r->documents_kept);
    jsonw_int(w, "duplicates_dropped", (int64_t)r->duplicates_dropped);
    jsonw_int(w, "empty_dropped", (int64_t)r->empty_dropped);
    data_skipped_json(w, r->skipped);
    jsonw_int(w, "bytes_read", (int64_t)r->bytes_read);
    jsonw_int(w, "bytes_kept", (int64_t)r->bytes_kept);
    jsonw_int(w, "stored_bytes", (int64_t)r->stored_bytes);
    split_json(w, "train", &r->train);
    split_json(w, "valid", &r->valid);
    jsonw_real(w, "seconds", r->seconds);
}

static int tokenize_dry_run(const struct tokenize_args *o, const struct corpus_options *corpus,
                            const struct dataset_options *d, const tokenizer_t *tokenizer,
                            struct error *e)
{
    struct cmd_json j;

    TRY(dataset_check_output(d, e));
    struct json_writer *w = cmd_json_begin(&j);
    jsonw_bool(w, "dry_run", true);
    jsonw_string(w, "out", o->out);
    jsonw_int(w, "vocab_size", tokenizer_vocab_size(tokenizer));
    int rc = print_corpus(corpus, o->json ? w : NULL, e);
    eos_json(w, tokenizer);
    cmd_json_end(&j, rc >= 0 && o->json);
    if (rc >= 0 && !o->json) {
        putchar('\n');
        print_eos(tokenizer);
        printf("would write '%s' with %s, vocabulary %u; nothing was written\n", o->out,
               tokenizer_kind(tokenizer), tokenizer_vocab_size(tokenizer));
    }
    return rc;
}

static int tokenize_with(const struct tokenize_args *o, const struct corpus_options *corpus,
                         tokenizer_t *tokenizer, const char *command, struct error *e)
{
    struct dataset_options d = {.out_dir = o->out,
                                .shard_tokens = (uint64_t)o->shard_tokens,
                                .valid_fraction = o->valid_fraction,
                                .drop_duplicates = o->dedup,
                                .command = command,
                                .show_progress = true,
                                .tokenizer_path = o->tokenizer,
                                .force = o->force};
    struct dataset_report report;

    TRY(tokenizer_settle_eos(tokenizer, o->tokenizer, o->eos, true, e));
    if (o->dry_run) return tokenize_dry_run(o, corpus, &d, tokenizer, e);
    d.pool = pool_new((int)o->threads);
    int rc = dataset_build(corpus, tokenizer, &d, &report, e);
    pool_free(d.pool);
    if (rc < 0) return rc;
    if (!o->json) {
        print_report(&report, o);
        print_eos(tokenizer);
        return 0;
    }
    struct cmd_json j;
    struct json_writer *w = cmd_json_begin(&j);
    jsonw_string(w, "out", o->out);
    report_json(w, &report);
    eos_json(w, tokenizer);
    cmd_json_end(&j, true);
    return 0;
}

/* An option without which the command cannot do anything. */
static int need(const char *value, const char *name, const char *example, struct error *e)
{
    if (value && *value) return 0;
    error_set_code(e, ERROR_USAGE, "--%s is missing", name);
    return error_hint(e, "for example --%s %s", name, example);
}

static int tokenize(const struct option_line *l, void *options, struct error *e)
{
    const struct tokenize_args *o = options;
    const char *const not_read[] = {o->tokenizer};
    struct corpus_options corpus;
    tokenizer_t *tokenizer;
    TRY(data_corpus_options(&o->corpus, l->rest, l->n_rest, &corpus, e));
    corpus.not_read = not_read;
    corpus.n_not_read = 1;
    TRY(need(o->tokenizer, "tokenizer", "tokenizer.json", e));
    TRY(need(o->out, "out", "data/fortunes", e));
    struct tokenizer_options said = data_rank_options(&o->ranks);
    TRY(tokenizer_load_with(o->tokenizer, &said, &tokenizer, e));
    int rc = tokenize_with(o, &corpus, tokenizer, recorded_command(o, l), e);
    tokenizer_free(tokenizer);
    return rc;
}

int cmd_data_tokenize(int argc, char **argv)
{
    return cmd_run(&cmd_data_tokenize_table, argc, argv, sizeof(struct tokenize_args), tokenize);
}

/* ------------------------------------------------------------------ train-tokenizer */

struct train_args {
    struct data_corpus_args corpus;
    const char *out, *pattern;
    struct option_list special;
    int64_t vocab_size, max_bytes, threads;
    bool force, dry_run, json;
};

#define AT(field) offsetof(struct train_args, field)
static const struct option train_rows[] = {
    CMD_INT("vocab-size", 's', vocab_size, "tokens", "8192", 257, 1 << 24,
            "size of the vocabulary, with the 256 bytes and the special tokens"),
    CMD_TEXT("out", 'o', out, NULL, NULL, "the tokenizer.json to write"),
    DATA_CORPUS_ROWS,
    CMD_LIST("special", 0, special, NULL,
             "a special token; the first one given ends documents; default <|eos|>, <|pad|>, "
             "<|separator|>"),
    CMD_TEXT("pattern", 0, pattern, NULL, NULL,
             "regular expression (Oniguruma's dialect) that cuts text into words; default: GPT-4's "
             "with single "
             "digits"),
    CMD_INT("max-bytes", 0, max_bytes, "bytes", "0", 0, 0x1p60,
            "learn from this much text at most; 0: from all of it"),
    CMD_INT("threads", 0, threads, NULL, "0", 0, 1024,
            "how many to use; 0: one per processor; the tokenizer is the same for any number"),
    CMD_FLAG("force", 0, force, "replace the file that is already there"),
    CMD_FLAG("dry-run", 'n', dry_run, "list the files that would be read; write nothing"),
    CMD_FLAG("json", 0, json, "the report as a JSON object"),
};
#undef AT

const struct option_table cmd_data_train_tokenizer_table = {
    "data train-tokenizer",
    "INPUT... --out FILE [options]",
    "learn a byte-level BPE tokenizer from text",
    DATA_INPUT_HELP
    "\nThe result is a tokenizer.json that Hugging Face's tokenizers library loads.\n\n"
    "  colossus data train-tokenizer /usr/share/games/fortunes --vocab-size 4096 --out tok.json",
    train_rows,
    ARRAY_LEN(train_rows)};

/* Before any text is read: learning takes minutes. */
static int check_train(const struct train_args *o, struct error *e)
{
    TRY(need(o->out, "out", "tokenizer.json", e));
    if (!file_exists(o->out)) return 0;
    if (o->force && !file_is_dir(o->out)) return 0;
    error_set(e, "'%s' exists", o->out);
    return error_hint(e,
                      file_is_dir(o->out) ? "it is a folder; name a file" : "--force replaces it");
}

static int print_trained(const struct train_args *o, double seconds, struct error *e)
{
    tokenizer_t *t;
    char time[32], hex[17];

    TRY(tokenizer_load(o->out, &t, e)); /* what was written can be read */
    hash_to_hex(tokenizer_hash(t), hex);
    if (o->json) {
        struct cmd_json j;
        struct json_writer *w = cmd_json_begin(&j);
        jsonw_string(w, "file", o->out);
        jsonw_string(w, "kind", tokenizer_kind(t));
        jsonw_int(w, "vocab_size", tokenizer_vocab_size(t));
        jsonw_int(w, "eos", tokenizer_eos(t));
        jsonw_string(w, "xxh3", hex);
        jsonw_real(w, "seconds", seconds);
        cmd_json_end(&j, true);
    } else {
        printf("%s: %s, %u ids, end of document %u, XXH3 %s, %s\n", o->out, tokenizer_kind(t),
               tokenizer_vocab_size(t), tokenizer_eos(t), hex, format_duration(time, seconds));
        if (tokenizer_vocab_size(t) < (uint32_t)o->vocab_size)
            log_warn("the text has no more pairs to merge: %u ids instead of %lld",
                     tokenizer_vocab_size(t), (long long)o->vocab_size);
    }
    tokenizer_free(t);
    return 0;
}

static int train_dry_run(const struct train_args *o, const struct corpus_options *corpus,
                         struct error *e)
{
    struct cmd_json j;
    struct json_writer *w = cmd_json_begin(&j);
    jsonw_bool(w, "dry_run", true);
    jsonw_string(w, "out", o->out);
    int rc = print_corpus(corpus, o->json ? w : NULL, e);
    cmd_json_end(&j, rc >= 0 && o->json);
    if (rc >= 0 && !o->json) printf("\nwould write '%s'; nothing was written\n", o->out);
    return rc;
}

static int train_tokenizer(const struct option_line *l, void *options, struct error *e)
{
    const struct train_args *o = options;
    const char *const not_read[] = {o->out};
    struct corpus_options corpus;
    struct tokenizer_train_options t = {
        .vocab_size = (uint32_t)o->vocab_size,
        .special_tokens = o->special.count ? o->special.items : NULL,
        .n_special_tokens = o->special.count,
        .pattern = o->pattern,
        .max_bytes = (uint64_t)o->max_bytes,
        .show_progress = true,
    };
    double start_s = time_now_s();

    TRY(data_corpus_options(&o->corpus, l->rest, l->n_rest, &corpus, e));
    corpus.not_read = not_read;
    corpus.n_not_read = 1;
    TRY(check_train(o, e));
    if (o->dry_run) return train_dry_run(o, &corpus, e);
    t.pool = pool_new((int)o->threads);
    int rc = tokenizer_train(&corpus, &t, o->out, e);
    pool_free(t.pool);
    return rc < 0 ? rc : print_trained(o, time_now_s() - start_s, e);
}

int cmd_data_train_tokenizer(int argc, char **argv)
{
    return cmd_run(&cmd_data_train_tokenizer_table, argc, argv, sizeof(struct train_args),
                   train_tokenizer);
}
