/* cmd_data.c: `colossus data`: the table of its commands, and `encode` and `decode`, which turn
 * standard input into ids and back. The others have files of their own. */
#include "cmd/cmd_data_internal.h"

#include <string.h>
#include <unistd.h>

/* ------------------------------------------------------------------ shared by the commands */

/* --skip-bad: "all", a number, or a share. */
static int read_limit(const char *text, struct corpus_options *o, struct error *e)
{
    const char *unit;
    int64_t n;
    double share;
    if (!text) return 0;
    o->skip_bad = true;
    if (strcmp(text, "all") == 0) return 0;
    if (parse_int(text, &n) == 0 && n > 0) {
        o->bad_limit = (uint64_t)n;
        return 0;
    }
    if (strchr(text, '%') && unit_parse(text, UNIT_SHARE, &share, &unit) == UNIT_OK && share > 0 &&
        share < 1) {
        o->bad_share = share;
        return 0;
    }
    error_set_code(e, ERROR_USAGE, "'--skip-bad' takes how many, or a share of all, not '%s'",
                   text);
    return error_hint(e, "--skip-bad=100, --skip-bad=0.5%%, or --skip-bad for any number");
}

int data_corpus_options(const struct data_corpus_args *args, char **inputs, int n_inputs,
                        struct corpus_options *out, struct error *e)
{
    *out = (struct corpus_options){.paths = (const char *const *)inputs,
                                   .n_paths = (size_t)n_inputs,
                                   .format = (enum corpus_format)args->format,
                                   .field = args->field,
                                   .max_line_bytes = (uint64_t)args->max_line_bytes,
                                   .skip_missing = args->skip_missing};
    return read_limit(args->skip_bad, out, e);
}

void data_skipped_json(struct json_writer *w, const uint64_t *skipped)
{
    jsonw_open(w, "skipped", '{');
    for (int i = 0; i < CORPUS_BAD_KINDS; i++)
        if (skipped[i]) jsonw_int(w, corpus_bad_names[i], (int64_t)skipped[i]);
    jsonw_close(w, '}');
}

struct tokenizer_options data_rank_options(const struct data_rank_args *args)
{
    return (struct tokenizer_options){.pattern = args->pattern,
                                      .specials = args->special.items,
                                      .n_specials = args->special.count};
}

/* ------------------------------------------------------------------ encode and decode */

struct codec_args {
    const char *tokenizer;
    struct data_rank_args ranks;
    int64_t threads;
    bool lines, special;
};

#define AT(field) offsetof(struct codec_args, field)
static const struct option encode_rows[] = {
    CMD_TEXT("tokenizer", 't', tokenizer, NULL, NULL,
             "tokenizer.json, tiktoken ranks or SentencePiece .model"),
    DATA_RANK_ROWS,
    CMD_FLAG("lines", 'l', lines, "encode every line by itself, to one line of ids each"),
    CMD_FLAG("special", 0, special,
             "turn control tokens that are written out in the text into their ids"),
    CMD_INT("threads", 0, threads, NULL, "0", 0, 1024,
            "how many to use; 0: one per processor; only --lines can use more than one"),
};
static const struct option decode_rows[] = {
    CMD_TEXT("tokenizer", 't', tokenizer, NULL, NULL,
             "tokenizer.json, tiktoken ranks or SentencePiece .model"),
    DATA_RANK_ROWS,
    CMD_FLAG("lines", 'l', lines, "decode every line by itself, to one line of text each"),
    CMD_FLAG("special", 0, special, "write control tokens as their text instead of skipping them"),
};
#undef AT

const struct option_table cmd_data_encode_table = {
    "data encode",
    "--tokenizer FILE [options]",
    "turn standard input into token ids",
    "Without --lines the whole input is one text. With it the output is what\n"
    "spm_encode --output_format=id prints: ids joined by a space, one line per line.\n"
    "Ids of the text alone: no BOS or EOS, whatever the file's post-processor adds.\n\n"
    "  echo 'Hello, world' | colossus data encode --tokenizer tok.json\n"
    "  colossus data encode --tokenizer tok.json --lines </usr/share/games/fortunes/art >art.ids",
    encode_rows,
    ARRAY_LEN(encode_rows)};

const struct option_table cmd_data_decode_table = {
    "data decode",
    "--tokenizer FILE [options]",
    "turn token ids on standard input back into text",
    "Ids are whole numbers separated by white space.\n\n"
    "  echo 12 345 6 | colossus data decode --tokenizer tok.json",
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
    struct tokenizer_options said = data_rank_options(&o->ranks);
    TRY(tokenizer_load_with(o->tokenizer, &said, &tokenizer, e));
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
    return cmd_run(&cmd_data_encode_table, argc, argv, sizeof(struct codec_args), codec);
}

static int cmd_data_decode(int argc, char **argv)
{
    return cmd_run(&cmd_data_decode_table, argc, argv, sizeof(struct codec_args), codec);
}

/* ------------------------------------------------------------------ the table */

static const struct cmd_entry data_commands[] = {
    {"train-tokenizer", cmd_data_train_tokenizer, "data", "learn a tokenizer from text"},
    {"convert-tokenizer", cmd_data_convert_tokenizer, "data",
     "write a rank file with its pattern and special tokens"},
    {"tokenize", cmd_data_tokenize, "data", "turn corpora into token shards for training"},
    {"inspect", cmd_data_inspect, "data", "show what is in a dataset; verify it"},
    {"encode", cmd_data_encode, "data", "turn standard input into token ids"},
    {"decode", cmd_data_decode, "data", "turn token ids back into text"},
};

int cmd_data(int argc, char **argv)
{
    return cmd_dispatch("data", data_commands, ARRAY_LEN(data_commands), argc, argv);
}
