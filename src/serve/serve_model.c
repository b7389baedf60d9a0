/* serve_model.c: opens configuration, weights and tokenizer as one thing that can be asked.
 *
 * The model is planned for inference only (no gradients). The tokenizer must fit the vocabulary:
 * a model may have more rows than the tokenizer has ids (padded vocabularies), never fewer. */
#include "serve/serve.h"

#include <string.h>

static enum compute_dtype choose_dtype(int precision)
{
    if (precision == SERVE_PRECISION_AUTO)
        return compute_has_fast_bf16() ? COMPUTE_BF16 : COMPUTE_F32;
    return precision == SERVE_PRECISION_BF16 ? COMPUTE_BF16 : COMPUTE_F32;
}

static int open_tokenizer(const struct serve_options *o, struct serve_model *m, struct error *e)
{
    if (!o->tokenizer) {
        error_set(e, "no tokenizer beside '%s'", o->config);
        return error_hint(e, "name one with --tokenizer FILE");
    }
    TRY(tokenizer_load(o->tokenizer, &m->tokenizer, e));
    if (tokenizer_vocab_size(m->tokenizer) > (uint64_t)m->config.vocab_size) {
        error_set(e, "tokenizer '%s' has %u ids, the model of '%s' only %lld", o->tokenizer,
                  tokenizer_vocab_size(m->tokenizer), o->config, (long long)m->config.vocab_size);
        return error_hint(e, "use the tokenizer the model was trained with");
    }
    m->scratch = tokenizer_scratch_new(m->tokenizer);
    m->start = tokenizer_eos(m->tokenizer);
    if (m->start == TOKENIZER_NONE) m->start = tokenizer_bos(m->tokenizer);
    return 0;
}

static int open_parts(const struct serve_options *o, struct serve_model *m, struct error *e)
{
    TRY(model_config_load(o->config, &m->config, e));
    TRY(open_tokenizer(o, m, e));
    m->pool = pool_new((int)o->threads);
    struct compute_options c = {
        .dtype = choose_dtype(o->precision), .backend = o->backend, .pool = m->pool};
    TRY(compute_new(&c, &m->compute, e));
    m->B = MAX(o->B, (int64_t)1);
    m->T = o->T > 0 ? MIN(o->T, m->config.context_length) : m->config.context_length;
    struct model_options mo = {.compute = m->compute, .B = m->B, .T = m->T, .shard = {0, 1, 0, 1}};
    TRY(model_new(&m->config, &mo, &m->model, e));
    TRY(model_load_weights(m->model, o->weights, e));
    model_weights_changed(m->model);
    return 0;
}

int serve_model_open(const struct serve_options *o, struct serve_model *m, struct error *e)
{
    memset(m, 0, sizeof(*m));
    int rc = open_parts(o, m, e);
    if (rc < 0) serve_model_close(m);
    return rc;
}

void serve_model_close(struct serve_model *m)
{
    if (m->model) model_free(m->model);
    if (m->compute) compute_free(m->compute);
    if (m->scratch) tokenizer_scratch_free(m->scratch);
    if (m->tokenizer) tokenizer_free(m->tokenizer);
    if (m->pool) pool_free(m->pool);
    memset(m, 0, sizeof(*m));
}
