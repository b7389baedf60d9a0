/* cmd_convert.c: `colossus convert`: a model's files in another form. */
#include "cmd/cmd.h"
#include "convert/convert.h"
#include "train/train.h"

#include <signal.h>

struct convert_args {
    const char *tokenizer, *name;
    int to, type;
    int64_t threads;
    bool pure, drop_biases, force, dry_run, json;
};

#define AT(field) offsetof(struct convert_args, field)
static const struct option rows[] = {
    CMD_CHOICE("to", 0, to, "gguf", convert_to_names,
               "gguf: a file for llama.cpp; hf: a folder for transformers, of mixtures for sglang "
               "and vLLM; colossus: a folder that this program trains on from"),
    CMD_CHOICE("type", 't', type, "keep", convert_type_names,
               "numbers of the matrices; keep: those that there are, their bytes where nothing "
               "else changes; q8_0 and those behind it are of GGUF files"),
    CMD_FLAG("pure", 0, pure, "q4_0 and q4_k: of the head, too, which has q6_k otherwise"),
    CMD_FLAG("drop-biases", 0, drop_biases,
             "leave out the routers' selection biases (balance.kind bias and quantile), which no "
             "other program reads: some tokens go to other experts"),
    CMD_TEXT("tokenizer", 0, tokenizer, NULL, NULL,
             "tokenizer file, for a model that has none in its folder"),
    CMD_TEXT("name", 0, name, NULL, NULL, "of the model, within a GGUF file; default: OUT's"),
    CMD_INT("threads", 0, threads, NULL, "0", 0, 1024, "how many to use; 0: one per processor"),
    CMD_FLAG("force", 0, force, "replace the file or the model that is already there"),
    CMD_FLAG("dry-run", 'n', dry_run, "say what would be written, and write nothing"),
    CMD_FLAG("json", 0, json, "print one JSON object instead of a table"),
};
#undef AT

const struct option_table cmd_convert_table = {
    "convert",
    "IN OUT [options]",
    "write a model's files in another form",
    "IN is a run folder, a checkpoint, a folder with config.json and weights, of this program's "
    "or\n"
    "of Hugging Face's, or a GGUF file. OUT is a GGUF file or a folder.\n"
    "A model that llama.cpp or transformers would compute differently is refused with the reason.\n"
    "Dense models of this program leave as gemma2, mixtures as grok; experts that were balanced "
    "by\n"
    "biases (balance.kind bias, and quantile, the default) only with --drop-biases.\n\n"
    "  colossus convert runs/fortunes fortunes.gguf --type q8_0 --drop-biases\n"
    "  colossus convert runs/fortunes fortunes-hf --to hf --type bf16 --drop-biases --dry-run\n"
    "  colossus convert fortunes.gguf fortunes-back --to colossus",
    rows,
    ARRAY_LEN(rows)};

static void print_json(const struct convert_args *o, const char *out,
                       const struct convert_report *r)
{
    struct cmd_json j;
    struct json_writer *w = cmd_json_begin(&j);
    jsonw_string(w, "out", out);
    jsonw_string(w, "family", r->family);
    jsonw_string(w, "type", convert_type_names[o->type]);
    jsonw_int(w, "tensors", (int64_t)r->n_tensors);
    jsonw_int(w, "copied", (int64_t)r->n_copied);
    jsonw_real(w, "parameters", r->parameters);
    jsonw_int(w, "bytes", (int64_t)r->bytes);
    jsonw_bool(w, "written", !o->dry_run);
    jsonw_open(w, "notes", '[');
    for (int i = 0; i < r->n_notes; i++)
        jsonw_string(w, NULL, r->notes[i]);
    jsonw_close(w, ']');
    cmd_json_end(&j, true);
}

static void print_report(const struct convert_args *o, const char *out,
                         const struct convert_report *r)
{
    char size[32], count[32];
    printf("%s: %s, %s parameters in %zu tensors, %s%s\n", out, r->family,
           format_count(count, r->parameters), r->n_tensors, format_bytes(size, (double)r->bytes),
           o->dry_run ? " (not written)" : "");
    if (r->n_copied) printf("%zu of the tensors are copies, byte for byte\n", r->n_copied);
    for (int i = 0; i < r->n_notes; i++)
        printf("note: %s\n", r->notes[i]);
}

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

static void catch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        signal_catch(numbers[i], on_signal, (int)SA_RESETHAND | SA_RESTART, NULL);
}

static int convert(const struct option_line *l, void *options, struct error *e)
{
    const struct convert_args *o = options;
    struct convert_report r;
    struct train_model_paths paths = {.config = l->n_rest > 0 ? l->rest[0] : NULL};
    if (l->n_rest != 2) {
        error_set_code(e, ERROR_USAGE, "a model IN and a name OUT are needed");
        return error_hint(e, "colossus convert runs/fortunes fortunes.gguf --type q8_0");
    }
    if (gguf_is(paths.config))
        paths.weights = paths.config;
    else
        TRY(train_find_model(l->rest[0], l->arena, &paths, e));
    struct convert_options c = {.config = paths.config,
                                .weights = paths.weights,
                                .tokenizer = o->tokenizer ? o->tokenizer : paths.tokenizer,
                                .out = l->rest[1],
                                .name = o->name,
                                .to = (enum convert_to)o->to,
                                .type = (enum convert_type)o->type,
                                .pure = o->pure,
                                .drop_biases = o->drop_biases,
                                .force = o->force,
                                .dry_run = o->dry_run,
                                .threads = o->threads,
                                .stop = &stop};
    catch_signals();
    TRY(convert_model(&c, &r, e));
    if (o->json)
        print_json(o, c.out, &r);
    else
        print_report(o, c.out, &r);
    return 0;
}

int cmd_convert(int argc, char **argv)
{
    return cmd_run(&cmd_convert_table, argc, argv, sizeof(struct convert_args), convert);
}
