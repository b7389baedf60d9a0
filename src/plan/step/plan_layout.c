/* plan_layout.c: which parallel layouts exist.
 *
 * A layout is accepted when a published stack can run it, not only when it divides nicely: layers
 * may be spread unevenly over stages (Llama 3 405B runs 126 layers on 16 stages), vocabularies are
 * padded, and keys and values are copied where there are more tensor-parallel ranks than key/value
 * heads. What is refused cannot run anywhere: heads cut in two, more ranks than accelerators, a
 * stage without a layer, a batch that is not a whole number of microbatches. Accelerators may be
 * left over: they are idle, and the answer says how many. The error names both numbers
 * and a value that works. Ranks are numbered tp fastest, then cp, dp, pp, as in Megatron-LM. */
#include "plan/step/plan_step_internal.h"

#include <string.h>

const char *const plan_recompute_names[] = {"none", "selective", "full", NULL};

/* The largest divisor of `whole` that is not above `value`: what the hint offers. */
static int64_t nearest_divisor(int64_t whole, int64_t value)
{
    for (int64_t d = MIN(value, whole); d > 1; d--)
        if (whole % d == 0) return d;
    return 1;
}

static int not_dividing(struct error *e, const char *what, int64_t divisor, const char *of,
                        int64_t whole)
{
    error_set_code(e, ERROR_CONFIG, "%s %lld does not divide %s %lld", what, (long long)divisor, of,
                   (long long)whole);
    return error_hint(e, "for example %s %lld", what, (long long)nearest_divisor(whole, divisor));
}

static int check_ranges(const struct plan_layout *l, int64_t accelerators, struct error *e)
{
    const struct {
        const char *name;
        int32_t value;
    } fields[] = {{"tp", l->tp}, {"pp", l->pp},   {"cp", l->cp}, {"ep", l->ep},
                  {"dp", l->dp}, {"etp", l->etp}, {"vp", l->vp}, {"microbatch", l->micro_batch}};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (fields[i].value < 1) {
            error_set_code(e, ERROR_CONFIG, "%s must be at least 1, not %d", fields[i].name,
                           fields[i].value);
            return error_hint(e, "for example %s 1", fields[i].name);
        }
    if (l->zero < 0 || l->zero > 3) {
        error_set_code(e, ERROR_CONFIG, "zero must be 0, 1, 2 or 3, not %d", l->zero);
        return error_hint(e, "1 shards the optimizer, 2 gradients too, 3 weights too");
    }
    if (l->recompute < 0 || l->recompute > PLAN_RECOMPUTE_FULL)
        return error_set_code(e, ERROR_CONFIG, "recompute must be none, selective or full");
    if (l->precision < 0 || l->precision >= MACHINE_N_PRECISIONS)
        return error_set_code(e, ERROR_CONFIG,
                              "precision must be one of fp32, bf16, fp8, mxfp8, fp4");

    /* ep shares the ranks of tp, cp and dp; a double, because four factors overflow whole numbers */
    if ((double)l->tp * l->pp * l->cp * l->dp > (double)accelerators) {
        error_set_code(e, ERROR_CONFIG,
                       "tp %d x pp %d x cp %d x dp %d is more than %lld accelerators", l->tp, l->pp,
                       l->cp, l->dp, (long long)accelerators);
        int64_t rest = (int64_t)l->tp * l->pp;
        if (rest <= accelerators) rest *= l->cp;
        if (rest <= accelerators)
            return error_hint(e, "dp may be %lld at most", (long long)(accelerators / rest));
        return error_hint(e, "tp x pp x cp may be %lld at most", (long long)accelerators);
    }
    return 0;
}

static int check_model(const struct plan_layout *l, const struct model_config *m, struct error *e)
{
    if (m->n_heads % l->tp) return not_dividing(e, "tp", l->tp, "heads", m->n_heads);
    /* fewer key/value heads than ranks are copied: every rank still needs whole ones */
    if (m->attention == MODEL_ATTENTION_MHA && m->n_kv_heads % l->tp && l->tp % m->n_kv_heads)
        return not_dividing(e, "tp", l->tp, "kv_heads", m->n_kv_heads);
    if (model_dense_ffn(m) % l->tp)
        return not_dividing(e, "tp", l->tp, "ffn_hidden", model_dense_ffn(m));

    int64_t chunks = (int64_t)l->pp * l->vp;
    /* the embedding and the loss may stand as stages of their own (MLPerf's 405B does so) */
    if (chunks > m->n_layers + 2) {
        error_set_code(e, ERROR_CONFIG,
                       "pp %d x vp %d leaves stages without any of the %lld layers", l->pp, l->vp,
                       (long long)m->n_layers);
        return error_hint(e, "pp x vp may be %lld at most", (long long)(m->n_layers + 2));
    }
    if (l->vp > 1 && l->pp == 1) {
        error_set_code(e, ERROR_CONFIG, "vp %d interleaves stages, but pp is 1", l->vp);
        return error_hint(e, "vp 1, or pp 2");
    }
    if (m->n_experts <= 1) {
        if (l->ep == 1 && l->etp <= l->tp) return 0;
        error_set_code(e, ERROR_CONFIG, "ep %d etp %d: the model has no experts to spread", l->ep,
                       l->etp);
        return error_hint(e, "ep 1");
    }
    if (m->n_experts % l->ep) return not_dividing(e, "ep", l->ep, "experts", m->n_experts);
    if (m->ffn_hidden % l->etp)
        return not_dividing(e, "etp", l->etp, "moe_ffn_hidden", m->ffn_hidden);
    int64_t ranks = (int64_t)l->tp * l->cp * l->dp;
    if (ranks % ((int64_t)l->ep * l->etp)) {
        error_set_code(e, ERROR_CONFIG,
                       "ep %d x etp %d does not divide the %lld ranks of a stage (tp x cp x dp)",
                       l->ep, l->etp, (long long)ranks);
        return error_hint(e, "for example ep %lld etp 1", (long long)nearest_divisor(ranks, l->ep));
    }
    return 0;
}

static int check_batch(const struct plan_layout *l, const struct plan_batch *b, struct error *e)
{
    if (b->global_batch < 1 || b->seq_len < 1)
        return error_set_code(e, ERROR_CONFIG, "batch %lld of %lld tokens: both must be at least 1",
                              (long long)b->global_batch, (long long)b->seq_len);
    if (b->seq_len % l->cp) return not_dividing(e, "cp", l->cp, "seq_len", b->seq_len);
    int64_t slots = (int64_t)l->dp * l->micro_batch;
    if (b->global_batch % slots) {
        error_set_code(e, ERROR_CONFIG,
                       "global batch %lld is not a multiple of dp %d x microbatch %d",
                       (long long)b->global_batch, l->dp, l->micro_batch);
        int64_t near = b->global_batch / slots * slots;
        return error_hint(e, "for example global batch %lld", (long long)(near ? near : slots));
    }
    /* Megatron-Core takes groups of microbatches per virtual stage (microbatch_group_size_per_vp_stage)
     * from as many as there are stages to all of them, and a last group of none or no fewer than
     * stages: some group does wherever there are as many microbatches as stages. Before it had them
     * (autumn 2024) the stages had to divide the microbatches. */
    int64_t microbatches = b->global_batch / slots;
    if (l->vp > 1 && microbatches < l->pp) {
        error_set_code(e, ERROR_CONFIG,
                       "vp %d interleaves pp %d stages, which needs as many microbatches, not %lld",
                       l->vp, l->pp, (long long)microbatches);
        return error_hint(e, "vp 1, or fewer replicas or stages");
    }
    return 0;
}

int plan_layout_check(const struct plan_layout *l, const struct model_config *m,
                      const struct plan_batch *b, int64_t accelerators, struct error *e)
{
    TRY(check_ranges(l, accelerators, e));
    TRY(check_model(l, m, e));
    return check_batch(l, b, e);
}

/* Both ends feed half of the microbatches each, and have as many on the way as there are stages
 * (DeepSeek's published schedule refuses less, too). */
static int check_dualpipe(const struct plan_layout *l, const struct plan_batch *b, struct error *e)
{
    int64_t microbatches = b->global_batch / MAX((int64_t)l->dp * l->micro_batch, 1);
    if (l->pp == 1 && l->vp == 1) return 0;
    if (l->vp > 1 || l->pp % 2 == 1) {
        error_set_code(e, ERROR_CONFIG,
                       "dualpipe pairs stages from both ends of the pipeline: vp %d with pp %d is "
                       "not possible",
                       l->vp, l->pp);
        return error_hint(e, "vp 1 and an even pp, for example {pp: 16, vp: 1}");
    }
    if (microbatches % 2 == 0 && microbatches >= 2 * (int64_t)l->pp) return 0;
    error_set_code(e, ERROR_CONFIG,
                   "dualpipe of %d stages needs an even number of microbatches a replica, %d or "
                   "more, not %lld",
                   l->pp, 2 * l->pp, (long long)microbatches);
    return error_hint(e, "fewer replicas or stages, a larger batch, or stack megatron");
}

/* `colossus train`: one process on one machine. */
static int check_colossus(const struct plan_layout *l, struct error *e)
{
    int64_t machines = (int64_t)l->tp * l->pp * l->cp * l->dp;
    if (machines > 1) {
        error_set_code(e, ERROR_CONFIG,
                       "tp x pp x cp x dp is %lld: stack colossus trains on one machine",
                       (long long)machines);
        return error_hint(e, "each of them 1, or another stack: megatron, fsdp, other");
    }
    if (l->zero == 0) return 0;
    error_set_code(e, ERROR_CONFIG, "zero %d: stack colossus does not divide its state", l->zero);
    return error_hint(e, "zero 0");
}

int plan_layout_check_stack(const struct plan_layout *l, const struct plan_batch *b,
                            const struct plan_software *s, struct error *e)
{
    if (s->stack == PLAN_STACK_DUALPIPE) TRY(check_dualpipe(l, b, e));
    if (s->stack == PLAN_STACK_COLOSSUS) return check_colossus(l, e);
    /* ZeRO 2 under a pipeline is not in Megatron-LM, but in what Meta and ByteDance made of it
     * (arXiv:2407.21783, section 3.3.2; arXiv:2402.15627): published runs have it */
    if (!plan_stack_is_megatron(s->stack) || l->zero < 3 || l->pp == 1) return 0;
    error_set_code(e, ERROR_CONFIG,
                   "zero 3 with pp %d: megatron shards weights without a pipeline only", l->pp);
    return error_hint(e, "pp 1, zero 2, or stack fsdp");
}

static void add(char *buf, size_t size, const char *name, int64_t value)
{
    size_t used = strlen(buf);
    snprintf(buf + used, size - used, "%s%s %lld", used ? " " : "", name, (long long)value);
}

char *plan_layout_text(const struct plan_layout *l, char *buf, size_t size)
{
    CHECK(size > 0);
    buf[0] = 0;
    /* a factor of 1 says nothing; dp is always told, so that the text is never empty */
    if (l->tp > 1) add(buf, size, "tp", l->tp);
    if (l->cp > 1) add(buf, size, "cp", l->cp);
    if (l->pp > 1) add(buf, size, "pp", l->pp);
    if (l->vp > 1) add(buf, size, "vp", l->vp);
    if (l->ep > 1) add(buf, size, "ep", l->ep);
    if (l->ep > 1 && l->etp > 1) add(buf, size, "etp", l->etp);
    add(buf, size, "dp", l->dp);
    size_t used = strlen(buf);
    const char *recompute =
        l->recompute == PLAN_RECOMPUTE_NONE ? "no" : plan_recompute_names[l->recompute];
    snprintf(buf + used, size - used, ", microbatch %d, zero %d, %s recompute, %s", l->micro_batch,
             l->zero, recompute,
             l->precision >= 0 && l->precision < MACHINE_N_PRECISIONS
                 ? machine_precision_names[l->precision]
                 : "?");
    return buf;
}
