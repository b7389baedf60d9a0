/* train_data.c: the dataset of a run: training batches, and validation in bits per byte.
 *
 * Validation scores every token of the split exactly once, in order, in rows of T. The stream's
 * first token is predicted from EOS, as every later document's first token is, so the sum of all
 * -log2 p is a complete code for the text, the ends of documents included, and may be compared with
 * the output of a compressor. Bytes are those of the text, without anything for the ends. */
#include "train/train_internal.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------ opening */

/* Needed for the bytes of a token only, so a dataset without a copy is no error. */
static int open_tokenizer(struct train_data *d, struct error *e)
{
    const char *path = dataset_info(d->train)->tokenizer_path;
    if (!path) return 0;
    TRY(tokenizer_load(path, &d->tokenizer, e));
    if (tokenizer_hash(d->tokenizer) == dataset_info(d->train)->tokenizer_hash) return 0;
    error_set(e, "'%s' is not the tokenizer that the dataset was made with", path);
    return error_hint(e, "make the dataset again with colossus data tokenize");
}

/* A model may have more rows than the dataset has ids (padding), never fewer. */
static int settle_vocabulary(struct train_config *c, const struct train_data *d, struct error *e)
{
    int64_t vocab = dataset_info(d->train)->vocab_size;
    if (c->model.vocab_size == 0) c->model.vocab_size = vocab;
    if (c->model.vocab_size >= vocab) return model_config_check(&c->model, e);
    error_set_code(e, ERROR_CONFIG, "model.vocab_size %lld is smaller than the %lld ids of '%s'",
                   (long long)c->model.vocab_size, (long long)vocab, c->data_path);
    return error_hint(e, "for example model.vocab_size: %lld, or leave the key out",
                      (long long)vocab);
}

/* The two splits must come from one tokenizer: the second is opened against the hash of the first.
 */
static int open_splits(const struct train_config *c, struct train_data *d, struct error *e)
{
    bool has_valid;
    if (dataset_open(c->data_path, "train", 0, c->verify, &d->train, e) < 0) {
        error_context(e, "data.path");
        /* What is wrong with a dataset that is there is no error of the key. */
        if (e && !dataset_exists(c->data_path)) e->code = ERROR_CONFIG;
        return e && e->hint[0] ? e->code : error_hint(e, "make one with colossus data tokenize");
    }
    TRY(dataset_has_split(c->data_path, "valid", &has_valid, e));
    if (!has_valid || c->valid_every == 0) return 0;
    return dataset_open(c->data_path, "valid", dataset_info(d->train)->tokenizer_hash, c->verify,
                        &d->valid, e);
}

/* Bytes of the text of the first n tokens of the validation split. */
static int span_bytes(const struct train_data *d, uint64_t n, uint64_t *bytes, struct error *e)
{
    enum { BLOCK = 4096 };
    uint32_t ids[BLOCK];
    *bytes = 0;
    for (uint64_t first = 0; first < n; first += BLOCK) {
        uint64_t count = MIN(n - first, (uint64_t)BLOCK);
        TRY(dataset_read(d->valid, first, count, ids, e));
        for (uint64_t i = 0; i < count; i++) {
            size_t size = 0;
            tokenizer_piece(d->tokenizer, ids[i], &size);
            *bytes += size;
        }
    }
    return 0;
}

/* Bits per byte need the bytes of exactly the tokens that are scored. Without a tokenizer they are
 * taken in proportion. */
static int settle_validation(const struct train_config *c, struct train_data *d, struct error *e)
{
    if (!d->valid) return 0;
    d->valid_tokens = dataset_info(d->valid)->tokens;
    d->valid_bytes = dataset_info(d->valid)->bytes;
    if (c->valid_tokens == 0 || (uint64_t)c->valid_tokens >= d->valid_tokens) return 0;
    double share = (double)c->valid_tokens / (double)d->valid_tokens;
    d->valid_tokens = (uint64_t)c->valid_tokens;
    if (d->tokenizer) return span_bytes(d, d->valid_tokens, &d->valid_bytes, e);
    d->valid_bytes = (uint64_t)((double)d->valid_bytes * share);
    return 0;
}

size_t train_data_bytes(const struct train_config *c)
{
    size_t tokens = (size_t)(c->micro_batch * c->seq_len);
    size_t arrays = c->document_mask ? 3 : 2;
    tokens *= (size_t)train_config_microbatches(c);
    return arrays * tokens * sizeof(uint32_t) + (size_t)(c->seq_len + 1) * sizeof(uint32_t);
}

/* The seed alone decides the order, so a cursor is enough to go on from a checkpoint. */
static int open_loader(const struct train_config *c, const struct train_ranks *ranks,
                       struct train_data *d, struct error *e)
{
    struct loader_options o = {.B = (uint32_t)c->micro_batch,
                               .T = (uint32_t)c->seq_len,
                               .seed = (uint64_t)c->seed,
                               .shuffle = true,
                               .rank = (uint32_t)ranks->data,
                               .n_ranks = (uint32_t)ranks->dp};
    if (loader_open(d->train, &o, &d->loader, e) < 0)
        return error_context(e, "training split of '%s'", c->data_path);
    for (int turn = 1; turn <= TRAIN_TURNS && c->check_every > 0 && ranks->dp > 1; turn++) {
        o.rank = (uint32_t)((ranks->data + turn) % ranks->dp);
        TRY(loader_open(d->train, &o, &d->turned[turn - 1], e));
    }
    d->n = train_config_microbatches(c);
    int64_t one = d->B * d->T;
    size_t tokens = (size_t)(d->n * one) * sizeof(uint32_t);
    d->inputs = mem_try_alloc(tokens);
    d->targets = mem_try_alloc(tokens);
    d->span = mem_try_alloc((size_t)(d->T + 1) * sizeof(uint32_t));
    if (c->document_mask) d->doc_start = mem_try_alloc(tokens);
    if (!d->inputs || !d->targets || !d->span || (!d->doc_start && c->document_mask))
        return error_set(e, "no memory for the %lld tokens of a step", (long long)(d->n * one));
    d->batches = mem_calloc((size_t)d->n, sizeof(*d->batches));
    for (int64_t i = 0; i < d->n; i++)
        d->batches[i] =
            (struct model_batch){.B = d->B,
                                 .T = d->T,
                                 .inputs = d->inputs + i * one,
                                 .targets = d->targets + i * one,
                                 .doc_start = d->doc_start ? d->doc_start + i * one : NULL};
    return 0;
}

static int open_all(struct train_config *c, const struct train_ranks *ranks, struct train_data *d,
                    struct error *e)
{
    TRY(open_splits(c, d, e));
    TRY(open_tokenizer(d, e));
    TRY(settle_vocabulary(c, d, e));
    d->B = c->micro_batch;
    d->T = c->seq_len;
    uint64_t tokens = dataset_info(d->train)->tokens;
    d->bytes_per_token = tokens ? (double)dataset_info(d->train)->bytes / (double)tokens : 0;
    TRY(settle_validation(c, d, e));
    return open_loader(c, ranks, d, e);
}

int train_data_open(struct train_config *c, const struct train_ranks *ranks, struct train_data *d,
                    struct error *e)
{
    memset(d, 0, sizeof(*d));
    d->rank = ranks->data;
    d->n_ranks = ranks->dp;
    int rc = open_all(c, ranks, d, e);
    if (rc < 0) train_data_close(d);
    return rc;
}

void train_data_close(struct train_data *d)
{
    if (d->loader) loader_close(d->loader);
    for (int i = 0; i < TRAIN_TURNS; i++)
        loader_close(d->turned[i]);
    if (d->valid) dataset_close(d->valid);
    if (d->train) dataset_close(d->train);
    if (d->tokenizer) tokenizer_free(d->tokenizer);
    mem_free(d->inputs);
    mem_free(d->targets);
    mem_free(d->doc_start);
    mem_free(d->span);
    mem_free(d->batches);
    memset(d, 0, sizeof(*d));
}

static int read_step(struct train_data *d, loader_t *from, struct error *e)
{
    for (int64_t i = 0, at = 0; i < d->n; i++, at += d->B * d->T)
        TRY(loader_next(from, d->inputs + at, d->targets + at,
                        d->doc_start ? d->doc_start + at : NULL, e));
    return 0;
}

int train_data_next(struct train_data *d, struct error *e)
{
    return read_step(d, d->loader, e);
}

int train_data_of(struct train_data *d, int turn, struct loader_cursor cursor, struct error *e)
{
    loader_t *from = d->turned[turn - 1];
    TRY(loader_set_cursor(from, cursor, e));
    return read_step(d, from, e);
}

/* ------------------------------------------------------------------ validation */

/* Row b of a batch with rows of T: the targets are tokens [first, first + T) of the split. */
static int fill_row(struct train_data *d, int64_t b, int64_t T, uint64_t first, struct error *e)
{
    uint32_t eos = dataset_info(d->valid)->eos, *input = d->inputs + b * T;
    if (first == 0) {
        d->span[0] = eos;
        TRY(dataset_read(d->valid, 0, (uint64_t)T, d->span + 1, e));
    } else {
        TRY(dataset_read(d->valid, first - 1, (uint64_t)T + 1, d->span, e));
    }
    memcpy(input, d->span, (size_t)T * sizeof(uint32_t));
    memcpy(d->targets + b * T, d->span + 1, (size_t)T * sizeof(uint32_t));
    if (d->doc_start) loader_find_documents(input, (uint32_t)T, eos, d->doc_start + b * T);
    return 0;
}

/* All rows of a batch; their targets follow each other from token `first` on. */
static int fill_rows(struct train_data *d, const struct model_batch *b, uint64_t first,
                     struct error *e)
{
    for (int64_t row = 0; row < b->B; row++)
        TRY(fill_row(d, row, b->T, first + (uint64_t)(row * b->T), e));
    return 0;
}

/* One batch of this rank, where there is one for it (rows > 0). Ranks that divide experts go through a
 * pass together: one that has no batch left does its last once more, and it does not count. */
static int validate_batch(struct train_data *d, struct train_passes *p, struct model_batch *b,
                          uint64_t first, struct model_stats *stats, struct error *e)
{
    if (b->B > 0) {
        TRY(fill_rows(d, b, first, e));
        return train_passes_evaluate(p, b, stats, e);
    }
    if (p->ranks->ep == 1) return 0;
    struct model_batch again = d->batches[0];
    again.balance = false;
    again.B = 1;
    return train_passes_evaluate(p, &again, NULL, e);
}

int train_data_validate(struct train_data *d, struct train_passes *p,
                        const volatile sig_atomic_t *stop, struct model_stats *stats,
                        struct error *e)
{
    uint64_t T = (uint64_t)d->T, rows = d->valid_tokens / T, rest = d->valid_tokens - rows * T;
    uint64_t batches = (rows + (uint64_t)d->B - 1) / (uint64_t)d->B, all = batches + (rest > 0);
    struct model_batch b = d->batches[0];
    b.balance = false; /* by the kept biases, as decoding does */
    for (uint64_t turn = 0; turn < all; turn += (uint64_t)d->n_ranks) {
        uint64_t own = turn + (uint64_t)d->rank, row = own * (uint64_t)d->B;
        if (*stop) return 0;
        b.B = own < batches ? MIN(d->B, (int64_t)(rows - row)) : own < all ? 1 : 0;
        b.T = own < batches ? d->T : (int64_t)rest;
        TRY(validate_batch(d, p, &b, own < batches ? row * T : rows * T, stats, e));
    }
    return 1;
}

double train_data_valid_bpb(const struct train_data *d, const struct model_stats *s)
{
    return s->nll / M_LN2 / (double)MAX(d->valid_bytes, (uint64_t)1);
}
