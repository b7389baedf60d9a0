/* model_hf_names.c: which tensors of a Hugging Face folder make one of ours, and their numbers.
 *
 * A name is put together from the model's part and the tensor's. Where families differ there are
 * styles; what stands behind a norm that Llama calls "post_attention_layernorm" depends on whether the
 * model has norms behind its sub-layers, as Gemma has. Experts are a tensor each, or all in one
 * ("gate_up_proj", gate's rows of an expert before up's, since transformers 5); ours are one tensor
 * of each kind. Gemma's norms are stored less 1, and so are those of queries and keys. */
#include "model/model_internal.h"

#include <string.h>

enum norms { ANY, WITHOUT, WITH }; /* norms behind the sub-layers */

static const struct row {
    const char *ours; /* behind "blk.<layer>." */
    enum norms norms;
    const char *theirs[3]; /* by style, behind "model.layers.<layer>."; NULL: as the first */
} rows[] = {
    {"attn_q.weight", ANY, {"self_attn.q_proj.weight", NULL, "attn.q_proj.weight"}},
    {"attn_k.weight", ANY, {"self_attn.k_proj.weight", NULL, "attn.k_proj.weight"}},
    {"attn_v.weight", ANY, {"self_attn.v_proj.weight", NULL, "attn.v_proj.weight"}},
    {"attn_output.weight", ANY, {"self_attn.o_proj.weight", NULL, "attn.o_proj.weight"}},
    {"attn_q.bias", ANY, {"self_attn.q_proj.bias"}},
    {"attn_k.bias", ANY, {"self_attn.k_proj.bias"}},
    {"attn_v.bias", ANY, {"self_attn.v_proj.bias"}},
    {"attn_output.bias", ANY, {"self_attn.o_proj.bias"}},
    {"attn_q_norm.weight", ANY, {"self_attn.q_norm.weight"}},
    {"attn_k_norm.weight", ANY, {"self_attn.k_norm.weight"}},
    {"attn_norm.weight", WITHOUT, {"input_layernorm.weight"}},
    {"ffn_norm.weight", WITHOUT, {"post_attention_layernorm.weight"}},
    {"attn_norm.weight",
     WITH,
     {"input_layernorm.weight", "pre_attn_norm.weight", "pre_attn_norm.scale"}},
    {"attn_output_norm.weight",
     WITH,
     {"post_attention_layernorm.weight", "post_attn_norm.weight", "post_attn_norm.scale"}},
    {"ffn_norm.weight",
     WITH,
     {"pre_feedforward_layernorm.weight", "pre_moe_norm.weight", "pre_moe_norm.scale"}},
    {"layer_output_norm.weight",
     WITH,
     {"post_feedforward_layernorm.weight", "post_moe_norm.weight", "post_moe_norm.scale"}},
    {"ffn_gate.weight", ANY, {"mlp.gate_proj.weight"}},
    {"ffn_up.weight", ANY, {"mlp.up_proj.weight"}},
    {"ffn_down.weight", ANY, {"mlp.down_proj.weight"}},
    {"ffn_gate_inp.weight",
     ANY,
     {"mlp.gate.weight", "block_sparse_moe.gate.weight", "moe_block.gate.weight"}},
};

/* Of one expert, and of all in one tensor. */
static const struct expert_row {
    const char *ours, *theirs[3], *all;
    int part; /* of `all`: which of its halves; -1: the whole of it */
} expert_rows[] = {
    {"ffn_gate_exps.weight", {"gate_proj", "w1", "linear"}, "gate_up_proj", 0},
    {"ffn_up_exps.weight", {"up_proj", "w3", "linear_v"}, "gate_up_proj", 1},
    {"ffn_down_exps.weight", {"down_proj", "w2", "linear_1"}, "down_proj", -1},
};
static const char *const expert_parts[] = {"mlp.experts", "block_sparse_moe.experts",
                                           "moe_block.experts"};

static const struct expert_row *expert_row(const char *ours)
{
    for (size_t i = 0; i < ARRAY_LEN(expert_rows); i++)
        if (strcmp(expert_rows[i].ours, ours) == 0) return &expert_rows[i];
    return NULL;
}

static bool put(char out[96], int n)
{
    (void)out;
    return n > 0 && n < 96;
}

/* Of a layer: ours is what stands behind "blk.<layer>.". */
static bool layer_name(const struct model_config *c, int layer, const char *ours, int64_t expert,
                       enum hf_style style, char out[96])
{
    const struct expert_row *x = expert_row(ours);
    const char *part = expert_parts[style];
    if (x && expert < 0) {
        if (style == HF_COMMUNITY) return false;
        return put(out, snprintf(out, 96, "model.layers.%d.%s.%s", layer, part, x->all));
    }
    if (x)
        return put(out, snprintf(out, 96, "model.layers.%d.%s.%d.%s.weight", layer, part,
                                 (int)expert, x->theirs[style]));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        if (strcmp(r->ours, ours) != 0 || (r->norms == WITH && !c->post_norms) ||
            (r->norms == WITHOUT && c->post_norms))
            continue;
        const char *theirs = r->theirs[style] ? r->theirs[style] : r->theirs[0];
        return put(out, snprintf(out, 96, "model.layers.%d.%s", layer, theirs));
    }
    return false;
}

bool hf_tensor_name(const struct model_config *c, const char *ours, int64_t expert,
                    enum hf_style style, char out[96])
{
    int layer, end = 0;
    if (sscanf(ours, "blk.%d.%n", &layer, &end) == 1 && end)
        return layer_name(c, layer, ours + end, expert, style, out);
    const char *norm = style == HF_COMMUNITY ? "model.norm.scale" : "model.norm.weight";
    const char *theirs = strcmp(ours, "token_embd.weight") == 0    ? "model.embed_tokens.weight"
                         : strcmp(ours, "output_norm.weight") == 0 ? norm
                                                                   : "lm_head.weight";
    return put(out, snprintf(out, 96, "%s", theirs));
}

bool hf_is_named(const struct safetensors_set *st)
{
    return safetensors_set_find(st, "model.embed_tokens.weight") != NULL;
}

/* ------------------------------------------------------------------ finding */

static const struct safetensors_tensor *find(const struct hf_tensors *h, const char *ours,
                                             int64_t expert)
{
    char name[96];
    for (enum hf_style style = HF_PLAIN; style <= HF_COMMUNITY; style++) {
        if (!hf_tensor_name(h->config, ours, expert, style, name)) continue;
        const struct safetensors_tensor *t = safetensors_set_find(h->st, name);
        if (!t) continue;
        if (h->used) h->used[t - h->st->tensors] = true;
        return t;
    }
    return NULL;
}

static int refuse_shape(const struct safetensors_tensor *t, struct error *e)
{
    return error_set(e, "tensor '%s' has another shape than the configuration gives it",
                     t->whole.name);
}

/* [E, out, in], or of gate and up together [E, 2 out, in]. */
static int check_all(const struct expert_row *x, const struct param *p,
                     const struct safetensors_tensor *t, struct error *e)
{
    const struct safetensors_entry *w = &t->whole;
    bool same = w->n_dims == 3 && w->shape[0] == p->shape[0] && w->shape[2] == p->shape[2] &&
                w->shape[1] == (x->part < 0 ? 1 : 2) * p->shape[1];
    return same ? 0 : refuse_shape(t, e);
}

static int check_one(const struct param *p, const struct safetensors_tensor *t, struct error *e)
{
    const struct safetensors_entry *w = &t->whole;
    int skip = p->kind == PARAM_EXPERTS;
    bool same = w->n_dims == p->n_dims - skip;
    for (int i = 0; same && i < w->n_dims; i++)
        same = w->shape[i] == p->shape[i + skip];
    return same ? 0 : refuse_shape(t, e);
}

/* Behind "blk.<layer>.", or all of a name without a layer. */
static const char *behind_layer(const char *ours)
{
    int layer, end = 0;
    return sscanf(ours, "blk.%d.%n", &layer, &end) == 1 && end ? ours + end : ours;
}

int hf_tensor_find(const struct hf_tensors *h, const struct param *p, int64_t first,
                   const struct safetensors_tensor **t, int64_t *at, struct error *e)
{
    char name[96] = "";
    bool experts = p->kind == PARAM_EXPERTS;
    int64_t out = p->n_dims > 1 ? p->shape[p->n_dims - 2] : 1, group = experts ? first / out : 0;
    int64_t row = first - group * out;
    *at = row;
    *t = find(h, p->name, group);
    if (*t) {
        TRY(check_one(p, *t, e));
        return (int)MIN(out - row, INT32_MAX);
    }
    *t = experts ? find(h, p->name, -1) : NULL;
    if (!*t) {
        hf_tensor_name(h->config, p->name, group, HF_PLAIN, name);
        return error_set(e, "tensor '%s' is missing", name);
    }
    const struct expert_row *x = expert_row(behind_layer(p->name));
    TRY(check_all(x, p, *t, e));
    *at = x->part < 0 ? first : (2 * group + x->part) * out + row;
    return (int)MIN(out - row, INT32_MAX);
}

bool hf_is_less_one(const struct model_config *c, const struct param *p)
{
    bool gemma = c->architecture == MODEL_GEMMA2 || c->architecture == MODEL_GEMMA3;
    return gemma && p->kind == PARAM_NORM;
}

int hf_tensor_read(const struct hf_tensors *h, const struct param *p, int64_t first, int64_t n,
                   float *out, struct error *e)
{
    int64_t width = p->shape[p->n_dims - 1];
    for (int64_t i = 0, run; i < n; i += run) {
        const struct safetensors_tensor *t;
        int64_t at;
        int rc = hf_tensor_find(h, p, first + i, &t, &at, e);
        TRY(rc);
        run = MIN(rc, n - i);
        TRY(safetensors_tensor_read(t, (size_t)(at * width), (size_t)(run * width), out + i * width,
                                    e));
    }
    for (int64_t i = 0; hf_is_less_one(h->config, p) && i < n * width; i++)
        out[i] += 1;
    return 0;
}
