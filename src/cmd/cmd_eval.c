/* cmd_eval.c: `colossus eval`: how good is a model, on text and on tasks. */
#include "cmd/cmd_data_internal.h"
#include "cmd/cmd_model_internal.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

struct eval_options {
    const char *tokenizer, *eos;
    struct data_corpus_args corpus;
    int64_t stride, limit, batch, context, threads;
    int task, precision, backend;
    bool json;
};

#define AT(field) offsetof(struct eval_options, field)
static const struct option rows[] = {
    CMD_CHOICE("task", 't', task, "auto", serve_eval_tasks,
               "what the files hold; auto decides by the keys of the first object, and takes text "
               "where --format, --field, --skip-missing or --skip-bad is given"),
    DATA_CORPUS_ROWS,
    CMD_INT("limit", 'l', limit, "examples", "0", 0, 1e12, "score only the first ones; 0: all"),
    CMD_INT("stride", 0, stride, "tokens", "0", 0, 1e9,
            "text: tokens by which the window moves on, which are scored with the rest as context; "
            "0: half the context"),
    CMD_INT("batch", 'b', batch, "rows", "8", 1, 4096, "sequences that are scored at once"),
    CMD_INT("context", 0, context, "tokens", "0", 0, 1e9, "longest window; 0: the model's context"),
    CMD_TEXT("tokenizer", 0, tokenizer, NULL, NULL,
             "tokenizer file, for a model that has none in its folder"),
    CMD_TEXT("eos", 0, eos, "TOKEN", NULL,
             "the special token, or its id, that ends a document, where nothing says it"),
    CMD_CHOICE("precision", 0, precision, "auto", cmd_precisions,
               "number format of weights and activations"),
    CMD_CHOICE("backend", 0, backend, "auto", cmd_backends, "kernels to use"),
    CMD_INT("threads", 0, threads, NULL, "0", 0, 1024, "how many to use; 0: one per processor"),
    CMD_FLAG("json", 0, json, "one JSON object per file"),
};
#undef AT

const struct option_table cmd_eval_table = {
    "eval",
    "MODEL FILE... [options]",
    "bits per byte of text, LAMBADA, BLiMP and multiple choice",
    "MODEL is a run folder, a checkpoint, a folder with config.json and weights (this program's "
    "or\n"
    "Hugging Face's), or a GGUF file.\n"
    "FILE is text, read as `data tokenize` reads it, or a task as objects of JSON; both may be\n"
    "packed with gzip or zstd. Of a text every token is scored and every document's end, each\n"
    "document alone: what a run's validation counts, so give a fortune file --format fortune. The\n"
    "tasks:\n"
    "  lambada     {\"text\"}: the last word from the rest\n"
    "  blimp       {\"sentence_good\", \"sentence_bad\"}\n"
    "  piqa        {\"goal\", \"sol1\", \"sol2\", \"label\"}\n"
    "  winogrande  {\"sentence\" with _, \"option1\", \"option2\", \"answer\": \"1\" or \"2\"}\n"
    "  openbookqa  {\"question_stem\", \"choices\": {\"text\", \"label\"}, \"answerKey\"}\n"
    "  arc         {\"question\", \"choices\": {\"text\", \"label\"}, \"answerKey\"}\n"
    "  hellaswag   {\"activity_label\", \"ctx_a\", \"ctx_b\", \"endings\", \"label\"}\n"
    "  mmlu        {\"subject\", \"question\", \"choices\": [...], \"answer\"}\n"
    "  choice      {\"question\", \"choices\": [...], \"answer\": index, label, letter or text}\n"
    "Their prompts are lm-evaluation-harness's, without examples; choice takes the question as\n"
    "it stands.\n\n"
    "  colossus eval runs/fortunes held-out.txt --format fortune\n"
    "  echo '{\"text\": \"A watched pot never boils\"}' >lambada.jsonl\n"
    "  colossus eval runs/fortunes lambada.jsonl --task lambada --limit 500 --json",
    rows,
    ARRAY_LEN(rows)};

static void print_json(const char *path, const struct serve_eval_result *r)
{
    struct cmd_json j;
    struct json_writer *w = cmd_json_begin(&j);
    jsonw_string(w, "file", path);
    jsonw_string(w, "task", r->task);
    jsonw_int(w, "examples", (int64_t)r->examples);
    jsonw_int(w, "tokens", (int64_t)r->tokens);
    if (r->bytes) jsonw_int(w, "bytes", (int64_t)r->bytes); /* tasks do not count them */
    if (!r->bytes) jsonw_int(w, "contexts_cut", (int64_t)r->cut);
    jsonw_real(w, "bits_per_byte", r->bits_per_byte);
    jsonw_real(w, "perplexity", r->perplexity);
    jsonw_real(w, "accuracy", r->accuracy);
    jsonw_real(w, "accuracy_norm", r->accuracy_norm);
    jsonw_real(w, "chance", r->chance);
    jsonw_real(w, "stderr_accuracy", r->stderr_accuracy);
    jsonw_real(w, "seconds", r->seconds);
    cmd_json_end(&j, true);
    fflush(stdout);
}

/* NULL where the number does not apply: the table shows N/A. */
static const char *number(char buf[32], int decimals, double x)
{
    if (isnan(x)) return NULL;
    snprintf(buf, 32, "%.*f", decimals, x);
    return buf;
}

static void add_row(struct table *t, const char *path, const struct serve_eval_result *r)
{
    char n[32], bpb[32], ppl[32], acc[32], norm[32], chance[32], seconds[32];
    snprintf(n, sizeof(n), "%llu", (unsigned long long)r->examples);
    table_row(t, file_base_name(path), r->task, n, number(bpb, 4, r->bits_per_byte),
              number(ppl, 2, r->perplexity), number(acc, 4, r->accuracy),
              number(norm, 4, r->accuracy_norm), number(chance, 3, r->chance),
              number(seconds, 1, r->seconds));
}

/* Stops at the first file that fails, with the rows so far printed. */
static int eval_files(struct serve_model *m, const struct eval_options *o, char **paths, int n,
                      struct error *e)
{
    static const char *const heads[] = {"file",          "task",       "examples",
                                        "bits/byte",     "perplexity", "accuracy",
                                        "acc (by char)", "chance",     "seconds"};
    struct table *t = table_new(heads, ARRAY_LEN(heads), "llrrrrrrr");
    struct serve_eval_options eo = {
        .stride = o->stride, .limit = o->limit, .show_progress = isatty(STDERR_FILENO)};
    int rc = data_corpus_options(&o->corpus, NULL, 0, &eo.corpus, e), done = 0;
    for (int i = 0; i < n && rc == 0; i++) {
        const char *task =
            o->task ? serve_eval_tasks[o->task] : serve_eval_guess(paths[i], &eo.corpus, e);
        struct serve_eval_result r;
        rc = task ? serve_eval(m, task, paths[i], &eo, &r, e) : ERROR_FAILED;
        if (rc == 0 && r.cut)
            log_warn("%s: %llu contexts are longer than the model's and lost their beginning",
                     paths[i], (unsigned long long)r.cut);
        if (rc == 0 && o->json)
            print_json(paths[i], &r);
        else if (rc == 0)
            add_row(t, paths[i], &r);
        done += rc == 0;
    }
    if (!o->json && done > 0) table_print(t, stdout); /* also where a later file failed */
    table_free(t);
    return rc;
}

static int eval(const struct option_line *l, void *options, struct error *e)
{
    const struct eval_options *o = options;
    if (l->n_rest < 2) {
        error_set_code(e, ERROR_USAGE, "a MODEL and at least one FILE are needed");
        return error_hint(e, "colossus eval runs/fortunes held-out.txt --format fortune");
    }
    struct serve_options so = {.tokenizer = o->tokenizer,
                               .eos = o->eos,
                               .precision = o->precision,
                               .backend = (enum compute_backend)o->backend,
                               .threads = o->threads,
                               .B = o->batch,
                               .T = o->context};
    struct serve_model m;
    TRY(cmd_model_open(l->rest[0], l->arena, &so, &m, e));
    int rc = eval_files(&m, o, l->rest + 1, l->n_rest - 1, e);
    serve_model_close(&m);
    return rc;
}

int cmd_eval(int argc, char **argv)
{
    return cmd_run(&cmd_eval_table, argc, argv, sizeof(struct eval_options), eval);
}
