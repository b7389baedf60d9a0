/* cmd_data_internal.h: what the files of `colossus data` share. */
#ifndef COLOSSUS_CMD_DATA_INTERNAL_H
#define COLOSSUS_CMD_DATA_INTERNAL_H

#include "cmd/cmd.h"
#include "text/text.h"

cmd_fn cmd_data_tokenize, cmd_data_train_tokenizer, cmd_data_inspect, cmd_data_convert_tokenizer;

/* Options of every command that reads a corpus. */
struct data_corpus_args {
    const char *field, *skip_bad;
    int64_t max_line_bytes;
    int format;
    bool skip_missing;
};

/* Their rows, for options whose field `corpus` is a struct data_corpus_args. */
#define DATA_CORPUS_ROWS                                                                   \
    CMD_CHOICE("format", 'f', corpus.format, "auto", corpus_format_names,                  \
               "what the files hold; auto decides by content and name; jsonl is one JSON " \
               "object a line, json objects in an array or one behind another"),           \
        CMD_TEXT("field", 0, corpus.field, NULL, "text",                                   \
                 "JSON: the key whose string is the text; user.name is name inside user, " \
                 "or else the key user.name; user\\.name is only that key"),               \
        CMD_FLAG("skip-missing", 0, corpus.skip_missing,                                   \
                 "JSON: skip and count records without the field"),                        \
        CMD_TEXT_BARE("skip-bad", corpus.skip_bad, "LIMIT", "all",                         \
                      "JSON: skip and count every bad record, up to LIMIT: a number or a " \
                      "share such as 1%; leave files of other kinds in folders out"),      \
        CMD_INT("max-line-bytes", 0, corpus.max_line_bytes, "bytes", "64Mi", 1, 0x1p40,    \
                "JSON: a longer line or object is an error")

#define DATA_INPUT_HELP                                                                            \
    "INPUT is a file, a folder (all its files, sorted) or - for standard input. Files may be\n"    \
    "packed with gzip or zstd, whatever their names are. --format auto reads .json, .jsonl and\n"  \
    ".ndjson, and what begins with such objects, as JSON: one object a line, an array, or one\n"   \
    "object behind another; a file with a fortune index beside it (NAME.dat) as fortunes;\n"       \
    "other text as one document per file. What is no text (tables, archives, images, UTF-16) is\n" \
    "an error that says how to convert it.\n"

/* What a rank file does not say, for every command that takes one. */
struct data_rank_args {
    const char *pattern;
    struct option_list special;
};

/* Their rows, for options whose field `ranks` is a struct data_rank_args. */
#define DATA_RANK_ROWS                                                                         \
    CMD_TEXT("pattern", 0, ranks.pattern, NULL, NULL,                                          \
             "rank files: what cuts text into words: gpt2, cl100k, o200k, llama3, qwen2, "     \
             "grok2 or a regular expression"),                                                 \
        CMD_LIST("special-token", 0, ranks.special, NULL,                                      \
                 "rank files: a special token as NAME=ID, such as '<|endoftext|>=100257', or " \
                 "@FILE with one a line")

struct tokenizer_options data_rank_options(const struct data_rank_args *args);

/* The strings stay the caller's. */
int data_corpus_options(const struct data_corpus_args *args, char **inputs, int n_inputs,
                        struct corpus_options *out, struct error *e);
/* What was skipped, by reason, as members of an open object of JSON. */
void data_skipped_json(struct json_writer *w, const uint64_t *skipped);

#endif
