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

/* Their rows, for options whose field `corpus` is a struct data_corpus_args. */
#define DATA_CORPUS_ROWS                                                                    \
    CMD_CHOICE("format", 'f', corpus.format, "auto", corpus_format_names,                   \
               "what the files hold; auto decides by their names"),                         \
        CMD_TEXT("field", 0, corpus.field, NULL, "text",                                    \
                 "JSONL: the key whose string is the text; user.name is name inside user"), \
        CMD_FLAG("skip-missing", 0, corpus.skip_missing,                                    \
                 "JSONL: skip and count lines without the field"),                          \
        CMD_INT("max-line-bytes", 0, corpus.max_line_bytes, "bytes", "64Mi", 1, 0x1p40,     \
                "JSONL: a longer line is an error")

#define DATA_INPUT_HELP                                                                         \
    "INPUT is a file, a folder (all its files, sorted) or - for standard input. Files may be\n" \
    "packed with gzip or zstd. --format auto reads .jsonl and .ndjson as JSON lines, a file "   \
    "with\n"                                                                                    \
    "a fortune index beside it (NAME.dat) as fortunes, everything else as one text per file.\n"

/* The strings stay the caller's. */
struct corpus_options data_corpus_options(const struct data_corpus_args *args, char **inputs,
                                          int n_inputs);

#endif
