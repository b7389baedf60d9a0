/* cmd_data_internal.h: what the files of `colossus data` share. */
#ifndef COLOSSUS_CMD_DATA_INTERNAL_H
#define COLOSSUS_CMD_DATA_INTERNAL_H

#include "cmd/cmd.h"
#include "text/text.h"

cmd_fn cmd_data_tokenize, cmd_data_train_tokenizer, cmd_data_inspect;

/* Options of every command that reads a corpus. */
struct data_corpus_args {
    const char *field;
    int64_t max_line_bytes;
    int format;
    bool skip_missing;
};

/* Their rows; `at` is the offset of a struct data_corpus_args in the command's options. */
/* clang-format off: rows of a table */
#define DATA_CORPUS_ROWS(at)                                                                       \
    {"format",                                                                                     \
     'f',                                                                                          \
     OPTION_ENUM,                                                                                  \
     (at) + offsetof(struct data_corpus_args, format),                                             \
     NULL,                                                                                         \
     "auto",                                                                                       \
     0,                                                                                            \
     0,                                                                                            \
     corpus_format_names,                                                                          \
     "what the files hold; auto decides by their names"},                                          \
        {"field",                                                                                  \
         0,                                                                                        \
         OPTION_STRING,                                                                            \
         (at) + offsetof(struct data_corpus_args, field),                                          \
         NULL,                                                                                     \
         "text",                                                                                   \
         0,                                                                                        \
         0,                                                                                        \
         NULL,                                                                                     \
         "JSONL: the key whose string is the text; user.name is name inside user"},                \
        {"skip-missing",                                                                           \
         0,                                                                                        \
         OPTION_BOOL,                                                                              \
         (at) + offsetof(struct data_corpus_args, skip_missing),                                   \
         NULL,                                                                                     \
         "false",                                                                                  \
         0,                                                                                        \
         0,                                                                                        \
         NULL,                                                                                     \
         "JSONL: skip and count lines without the field"},                                         \
    {                                                                                              \
        "max-line-bytes", 0, OPTION_INT, (at) + offsetof(struct data_corpus_args, max_line_bytes), \
            "bytes", "64Mi", 1, 0x1p40, NULL, "JSONL: a longer line is an error"                   \
    }
/* clang-format on */

#define DATA_INPUT_HELP                                                                         \
    "INPUT is a file, a folder (all its files, sorted) or - for standard input. Files may be\n" \
    "packed with gzip or zstd. --format auto reads .jsonl and .ndjson as JSON lines, a file "   \
    "with\n"                                                                                    \
    "a fortune index beside it (NAME.dat) as fortunes, everything else as one text per file.\n"

/* The strings stay the caller's. */
struct corpus_options data_corpus_options(const struct data_corpus_args *args, char **inputs,
                                          int n_inputs);
/* --dry-run: the files that would be read, as a table or (JSON) members of an open object. */
int data_corpus_print(const struct corpus_options *o, struct json_writer *json, struct error *e);
/* "' the'" with everything that is not printable escaped; in *a. */
char *data_printable(struct arena *a, const char *text, size_t size);
void data_json_hash(struct json_writer *w, const char *key, uint64_t hash);

#endif
