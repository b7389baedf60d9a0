/* cmd_data_convert.c: `colossus data convert-tokenizer`: a tiktoken rank file with the pattern and
 * the special tokens that it lacks, as one file that every command reads without being told. */
#include "cmd/cmd_data_internal.h"

struct convert_args {
    struct data_rank_args ranks;
    const char *out;
    bool force;
};

#define AT(field) offsetof(struct convert_args, field)
static const struct option rows[] = {
    CMD_TEXT("out", 'o', out, NULL, NULL, "the tokenizer.tok.json to write"),
    DATA_RANK_ROWS,
    CMD_FLAG("force", 0, force, "replace the file that is already there"),
};
#undef AT

const struct option_table cmd_data_convert_tokenizer_table = {
    "data convert-tokenizer",
    "RANKS --out FILE [options]",
    "write a rank file with its pattern and special tokens",
    "A rank file (*.tiktoken) holds neither. The vocabularies of r50k_base, p50k_base,\n"
    "cl100k_base and o200k_base are known; for others both are said here, once.\n\n"
    "  colossus data convert-tokenizer cl100k_base.tiktoken --out cl100k.tok.json\n"
    "  colossus data convert-tokenizer tokenizer.model --pattern llama3 \\\n"
    "      --special-token '<|end_of_text|>=128001' --out llama3.tok.json",
    rows,
    ARRAY_LEN(rows)};

static int write_converted(const struct convert_args *o, const char *from, const tokenizer_t *t,
                           struct error *e)
{
    size_t size;
    const char *text = tokenizer_converted(t, &size);
    if (!text) {
        error_set(e, "'%s' is no rank file", from);
        return error_hint(e, "files of other forms are read as they are");
    }
    TRY(file_write(o->out, text, size, e));
    printf("%s: %u ids", o->out, tokenizer_vocab_size(t));
    if (tokenizer_eos(t) == TOKENIZER_NONE)
        printf(", no end of text: a dataset needs one, --special-token '<|endoftext|>=ID'\n");
    else
        printf(", end of text %u\n", tokenizer_eos(t));
    return 0;
}

static int convert(const struct option_line *l, void *options, struct error *e)
{
    const struct convert_args *o = options;
    tokenizer_t *t;
    if (l->n_rest != 1 || !o->out) {
        error_set_code(e, ERROR_USAGE, o->out ? "name one rank file" : "--out is missing");
        return error_hint(e, "colossus data convert-tokenizer RANKS --out FILE");
    }
    if (file_exists(o->out) && !o->force) {
        error_set(e, "'%s' exists", o->out);
        return error_hint(e, "--force replaces it");
    }
    struct tokenizer_options said = data_rank_options(&o->ranks);
    TRY(tokenizer_load_with(l->rest[0], &said, &t, e));
    int rc = write_converted(o, l->rest[0], t, e);
    tokenizer_free(t);
    return rc;
}

int cmd_data_convert_tokenizer(int argc, char **argv)
{
    return cmd_run(&cmd_data_convert_tokenizer_table, argc, argv, sizeof(struct convert_args),
                   convert);
}
