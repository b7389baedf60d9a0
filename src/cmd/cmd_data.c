/* cmd_data.c: `colossus data`: the table of its commands, and `encode` and `decode`, which turn
 * standard input into ids and back. The others have files of their own. */
#include "cmd/cmd_data_internal.h"

#include <ctype.h>
#include <string.h>
#include <unistd.h>

/* ------------------------------------------------------------------ shared by the commands */

struct corpus_options data_corpus_options(const struct data_corpus_args *args, char **inputs,
                                          int n_inputs)
{
    return (struct corpus_options){.paths = (const char *const *)inputs,
                                   .n_paths = (size_t)n_inputs,
                                   .format = (enum corpus_format)args->format,
                                   .field = args->field,
                                   .max_line_bytes = (uint64_t)args->max_line_bytes,
                                   .skip_missing = args->skip_missing};
}

int data_corpus_print(const struct corpus_options *o, struct json_writer *json, struct error *e)
{
    static const char *const heads[] = {"file", "format", "size"};
    struct corpus *c;
    char text[32];

    TRY(corpus_open(o, &c, e));
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
    if (json)
        jsonw_close(json, ']');
    else
        table_print(t, stdout);
    table_free(t);
    corpus_close(c);
    return 0;
}

char *data_printable(struct arena *a, const char *text, size_t size)
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

void data_json_hash(struct json_writer *w, const char *key, uint64_t hash)
{
    char hex[17];
    hash_to_hex(hash, hex);
    jsonw_string(w, key, hex);
}

/* ------------------------------------------------------------------ encode and decode */

struct codec_args {
    const char *tokenizer;
    int64_t threads;
    bool lines, special;
};

#define AT(field) offsetof(struct codec_args, field)
static const struct option encode_rows[] = {
    {"tokenizer", 't', OPTION_STRING, AT(tokenizer), NULL, NULL, 0, 0, NULL,
     "tokenizer.json, tiktoken ranks or SentencePiece .model"},
    {"lines", 'l', OPTION_BOOL, AT(lines), NULL, "false", 0, 0, NULL,
     "encode every line by itself, to one line of ids each"},
    {"special", 0, OPTION_BOOL, AT(special), NULL, "false", 0, 0, NULL,
     "turn control tokens that are written out in the text into their ids"},
    {"threads", 0, OPTION_INT, AT(threads), NULL, "0", 0, 1024, NULL,
     "how many to use; 0: one per processor; only --lines can use more than one"},
};
static const struct option decode_rows[] = {
    {"tokenizer", 't', OPTION_STRING, AT(tokenizer), NULL, NULL, 0, 0, NULL,
     "tokenizer.json, tiktoken ranks or SentencePiece .model"},
    {"lines", 'l', OPTION_BOOL, AT(lines), NULL, "false", 0, 0, NULL,
     "decode every line by itself, to one line of text each"},
    {"special", 0, OPTION_BOOL, AT(special), NULL, "false", 0, 0, NULL,
     "write control tokens as their text instead of skipping them"},
};
#undef AT

const struct option_table cmd_data_encode_table = {
    "data encode",
    "--tokenizer FILE [options]",
    "turn standard input into token ids",
    "Without --lines the whole input is one text. With it the output is what\n"
    "spm_encode --output_format=id prints: ids joined by a space, one line per line.\n\n"
    "  echo 'Hello, world' | colossus data encode --tokenizer tokenizer.json\n"
    "  colossus data encode --tokenizer grok-1.model --lines <posts.txt >posts.ids",
    encode_rows,
    ARRAY_LEN(encode_rows)};

const struct option_table cmd_data_decode_table = {
    "data decode",
    "--tokenizer FILE [options]",
    "turn token ids on standard input back into text",
    "Ids are whole numbers separated by white space.\n\n"
    "  echo 12 345 6 | colossus data decode --tokenizer tokenizer.json",
    decode_rows,
    ARRAY_LEN(decode_rows)};

/* encode and decode differ by the table that the command line was read with. */
static int codec(const struct option_line *l, void *options, struct error *e)
{
    const struct codec_args *o = options;
    bool encode = l->table == &cmd_data_encode_table;
    tokenizer_t *tokenizer;

    if (l->n_rest > 0) {
        error_set_code(e, ERROR_USAGE, "'%s' is not an option", l->rest[0]);
        return error_hint(e, "text is read from standard input: colossus %s <FILE",
                          l->table->command);
    }
    if (!o->tokenizer) {
        error_set_code(e, ERROR_USAGE, "--tokenizer is missing");
        return error_hint(e, "--tokenizer tokenizer.json");
    }
    TRY(tokenizer_load(o->tokenizer, &tokenizer, e));
    struct codec_options codec = {.lines = o->lines,
                                  .flags = o->special ? TOKENIZER_PARSE_SPECIAL : 0};
    int rc;
    if (encode) {
        if (o->lines) codec.pool = pool_new((int)o->threads);
        rc = codec_encode_fd(tokenizer, &codec, STDIN_FILENO, STDOUT_FILENO, "standard input", e);
        pool_free(codec.pool);
    } else {
        rc = codec_decode_fd(tokenizer, &codec, STDIN_FILENO, STDOUT_FILENO, "standard input", e);
    }
    tokenizer_free(tokenizer);
    return rc;
}

static int cmd_data_encode(int argc, char **argv)
{
    struct codec_args o = {0};
    return cmd_run(&cmd_data_encode_table, argc, argv, &o, codec);
}

static int cmd_data_decode(int argc, char **argv)
{
    struct codec_args o = {0};
    return cmd_run(&cmd_data_decode_table, argc, argv, &o, codec);
}

/* ------------------------------------------------------------------ the table */

static const struct cmd_entry data_commands[] = {
    {"train-tokenizer", cmd_data_train_tokenizer, "data", "learn a tokenizer from text"},
    {"tokenize", cmd_data_tokenize, "data", "turn corpora into token shards for training"},
    {"inspect", cmd_data_inspect, "data", "show what is in a dataset; verify it"},
    {"encode", cmd_data_encode, "data", "turn standard input into token ids"},
    {"decode", cmd_data_decode, "data", "turn token ids back into text"},
};

int cmd_data(int argc, char **argv)
{
    return cmd_dispatch("data", data_commands, ARRAY_LEN(data_commands), argc, argv);
}
