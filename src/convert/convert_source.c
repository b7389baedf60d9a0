/* convert_source.c: a model whose numbers are read tensor by tensor, wherever they lie; no model is made
 * of them, so a conversion takes the memory of a few rows. */
#include "convert/convert_internal.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------ opening */

/* Llama 3's rotations, of which a GGUF file has only what comes out: divisors. Those of the published
 * models follow from three numbers that all of these share, and the largest of the divisors; another
 * length is told where this program wrote the file. */
static bool tell_divisors(const float *d, double length, struct model_config *c)
{
    const double low = 1, high = 4;
    int64_t half = c->head_dim / 2;
    double factor = 1;
    for (int64_t i = 0; i < half; i++)
        factor = fmax(factor, (double)d[i]);
    for (int64_t i = 0; i < half; i++) {
        double f = pow(c->rope_theta, -2 * (double)i / (double)c->head_dim);
        double turns = length * f / (2 * M_PI), smooth = (turns - low) / (high - low);
        double slowed = smooth >= 1 ? f : smooth <= 0 ? f / factor : 0;
        if (slowed == 0) slowed = (1 - smooth) * f / factor + smooth * f;
        if (fabs(f / slowed / (double)d[i] - 1) > 1e-5) return false;
    }
    c->rope_scaling = COMPUTE_ROPE_LLAMA3;
    c->rope_factor = factor;
    c->rope_original_length = (int64_t)length;
    c->rope_low_freq = low;
    c->rope_high_freq = high;
    return true;
}

static int read_divisors(struct convert_source *s, struct error *e)
{
    const struct gguf_tensor *t = gguf_tensor(&s->gguf, GGUF_ROPE_DIVISORS);
    int64_t half = s->config.head_dim / 2;
    if (!t) return 0;
    if (t->n_dims != 1 || t->shape[0] != half)
        return error_set(e, "%s: tensor '%s' is not half a head", s->path, t->name);
    float *d = arena_alloc(&s->arena, (size_t)half * sizeof(*d));
    gguf_to_f32(t->format, t->data, (size_t)half, d);
    for (int64_t i = 0; i < half; i++)
        if (!(d[i] > 0 && isfinite(d[i])))
            return error_set(e, "%s: tensor '%s' holds numbers that are not above 0", s->path,
                             t->name);
    double length = 8192;
    gguf_number(gguf_find(&s->gguf, "llama.rope.scaling.original_context_length"), &length);
    if (s->config.rope_scaling == COMPUTE_ROPE_NONE && tell_divisors(d, length, &s->config))
        return 0;
    s->divisors = d;
    return 0;
}

static int open_gguf(struct convert_source *s, struct error *e)
{
    s->is_gguf = true;
    TRY(gguf_open(s->path, &s->gguf, e));
    TRY(gguf_model_config(&s->gguf, s->path, &s->config, e));
    model_params_build(&s->config, &s->arena, &s->params);
    return read_divisors(s, e);
}

static int find_biases(struct convert_source *s, struct error *e)
{
    int64_t E = model_is_moe(&s->config) ? s->config.n_experts : 0, layers = 0;
    float *b = arena_alloc(&s->arena, (size_t)(E + 1) * sizeof(*b));
    for (int64_t i = 0; E && i < s->config.n_layers; i++) {
        if (!convert_source_biases(s, i, b)) continue;
        layers++;
        for (int64_t k = 0; k < E; k++)
            s->has_biases = s->has_biases || b[k] != 0;
    }
    s->holds_biases = layers > 0;
    if (layers == 0 || layers == s->config.n_layers) return 0;
    return error_set(e, "%s: selection biases of only %lld of %lld layers", s->path,
                     (long long)layers, (long long)s->config.n_layers);
}

static int open_folder(const struct convert_options *o, struct convert_source *s, struct error *e)
{
    const char *base = file_base_name(o->config);
    s->folder =
        base > o->config ? arena_strndup(&s->arena, o->config, (size_t)(base - o->config)) : ".";
    TRY(model_config_load(o->config, &s->config, e));
    TRY(safetensors_set_open(o->weights, &s->st, e));
    model_params_build(&s->config, &s->arena, &s->params);
    s->is_hf = hf_is_named(&s->st);
    bool *used = arena_alloc(&s->arena, s->st.n_tensors + 1);
    s->hf = (struct hf_tensors){&s->st, &s->config, used};
    TRY(find_biases(s, e));
    s->drops_biases = s->has_biases && o->drop_biases;
    s->has_biases = s->has_biases && !o->drop_biases;
    return 0;
}

static int refuse_shape(const struct convert_source *s, const char *name, struct error *e)
{
    return error_set(e, "%s: tensor '%s' has another shape than the configuration gives it",
                     s->path, name);
}

/* A tensor of ours in a safetensors file. */
static int check_own(const struct convert_source *s, const struct param *p, struct error *e)
{
    const struct safetensors_tensor *t = safetensors_set_find(&s->st, p->name);
    if (!t) return error_set(e, "%s: tensor '%s' is missing", s->path, p->name);
    bool same = t->whole.n_dims == p->n_dims;
    for (int i = 0; same && i < p->n_dims; i++)
        same = t->whole.shape[i] == p->shape[i];
    return same ? 0 : refuse_shape(s, p->name, e);
}

static const struct gguf_tensor *gguf_of(const struct convert_source *s, const struct param *p)
{
    char name[96];
    gguf_tensor_name(s->config.architecture, p->name, name);
    return gguf_tensor(&s->gguf, name);
}

static int check_gguf(const struct convert_source *s, const struct param *p, struct error *e)
{
    const struct gguf_tensor *t = gguf_of(s, p);
    if (!t) return error_set(e, "%s: a tensor for '%s' is missing", s->path, p->name);
    bool same = t->n_dims == p->n_dims;
    for (int i = 0; same && i < p->n_dims; i++)
        same = t->shape[i] == p->shape[p->n_dims - 1 - i];
    return same ? 0 : refuse_shape(s, t->name, e);
}

static int check_tensors(const struct convert_source *s, struct error *e)
{
    for (size_t i = 0; i < s->params.n_rows; i++) {
        const struct param *p = &s->params.rows[i];
        const struct safetensors_tensor *t;
        int64_t at, rows = (int64_t)p->count / p->shape[p->n_dims - 1];
        if (s->is_gguf)
            TRY(check_gguf(s, p, e));
        else if (!s->is_hf)
            TRY(check_own(s, p, e));
        for (int64_t r = 0, n; s->is_hf && r < rows; r += n) {
            n = hf_tensor_find(&s->hf, p, r, &t, &at, e);
            if (n < 0) return error_context(e, "%s", s->path);
        }
    }
    return 0;
}

/* What neither a model of this configuration nor a file of the kind has: it would be left out. */
static bool is_extra(const struct convert_source *s, size_t i)
{
    const char *name = s->st.tensors[i].whole.name;
    size_t n = strlen(name), suffix = strlen(".rotary_emb.inv_freq");
    if (!s->is_hf) return !param_find(&s->params, name) && !strstr(name, ".exp_probs_b.bias");
    if (s->hf.used[i] || (n > suffix && strcmp(name + n - suffix, ".rotary_emb.inv_freq") == 0))
        return false;
    return !(s->config.tied_embeddings && strcmp(name, "lm_head.weight") == 0);
}

static int refuse_extra(const struct convert_source *s, struct error *e)
{
    size_t used = gguf_tensor(&s->gguf, GGUF_ROPE_DIVISORS) != NULL;
    for (size_t i = 0; i < s->st.n_tensors; i++)
        if (is_extra(s, i))
            return error_set(e, "%s: tensor '%s' is not part of this model", s->path,
                             s->st.tensors[i].whole.name);
    if (!s->is_gguf || used + s->params.n_rows == s->gguf.n_tensors) return 0;
    return error_set(e, "%s: of %zu tensors %zu are part of this model", s->path, s->gguf.n_tensors,
                     used + s->params.n_rows);
}

int convert_source_open(const struct convert_options *o, struct convert_source *s, struct error *e)
{
    *s = (struct convert_source){.path = o->config, .tokenizer = o->tokenizer};
    int rc = gguf_is(o->config) ? open_gguf(s, e) : open_folder(o, s, e);
    if (rc >= 0) rc = check_tensors(s, e);
    if (rc >= 0) rc = refuse_extra(s, e);
    if (rc < 0) convert_source_close(s);
    return rc;
}

void convert_source_close(struct convert_source *s)
{
    if (s->gguf.map.file) gguf_close(&s->gguf);
    safetensors_set_close(&s->st);
    arena_fini(&s->arena);
    *s = (struct convert_source){0};
}

int convert_source_check(const struct convert_source *s, struct error *e)
{
    if (s->is_gguf) return file_map_check(&s->gguf.map, s->path, e);
    return safetensors_set_check(&s->st, s->path, e);
}

/* ------------------------------------------------------------------ reading */

static int check_finite(const struct param *p, const float *x, size_t n, struct error *e)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return error_set(e, "tensor '%s' holds NaN or infinite values", p->name);
    return 0;
}

int convert_source_read(const struct convert_source *s, const struct param *p, int64_t first,
                        int64_t n, float *out, struct error *e)
{
    size_t width = (size_t)p->shape[p->n_dims - 1], count = (size_t)n * width;
    if (s->is_gguf) {
        const struct gguf_tensor *t = gguf_of(s, p);
        gguf_to_f32(t->format, t->data + (size_t)first * t->row_bytes, count, out);
    } else if (s->is_hf) {
        TRY(hf_tensor_read(&s->hf, p, first, n, out, e));
    } else {
        TRY(safetensors_tensor_read(safetensors_set_find(&s->st, p->name), (size_t)first * width,
                                    count, out, e));
    }
    return check_finite(p, out, count, e);
}

static const struct gguf_format *plain_format(enum safetensors_dtype dtype)
{
    switch (dtype) {
    case ST_F32: return gguf_format_named("F32");
    case ST_F16: return gguf_format_named("F16");
    case ST_BF16: return gguf_format_named("BF16");
    default: return NULL;
    }
}

const struct gguf_format *convert_source_format(const struct convert_source *s,
                                                const struct param *p, int64_t first, int64_t n)
{
    const struct safetensors_tensor *t = NULL;
    const struct gguf_format *all = NULL;
    int64_t at;
    if (s->is_gguf) return gguf_of(s, p)->format;
    if (!s->is_hf) return plain_format(safetensors_set_find(&s->st, p->name)->whole.dtype);
    if (hf_is_less_one(&s->config, p)) return NULL;
    for (int64_t r = first, run; r < first + n; r += run) { /* experts may be a tensor each */
        run = hf_tensor_find(&s->hf, p, r, &t, &at, NULL);
        const struct gguf_format *f = run > 0 ? plain_format(t->whole.dtype) : NULL;
        if (!f || (all && f != all)) return NULL;
        all = f;
    }
    return all;
}

int convert_source_copy(const struct convert_source *s, const struct param *p, int64_t first,
                        int64_t n, uint8_t *out, struct error *e)
{
    size_t width = (size_t)p->shape[p->n_dims - 1];
    if (s->is_gguf) {
        const struct gguf_tensor *t = gguf_of(s, p);
        memcpy(out, t->data + (size_t)first * t->row_bytes, (size_t)n * t->row_bytes);
        return 0;
    }
    for (int64_t i = 0, run; i < n; i += run) {
        const struct safetensors_tensor *t = NULL;
        int64_t at = first + i;
        run = n - i;
        if (s->is_hf) {
            int rc = hf_tensor_find(&s->hf, p, first + i, &t, &at, e);
            TRY(rc);
            run = MIN(run, rc);
        } else {
            t = safetensors_set_find(&s->st, p->name);
        }
        size_t size = safetensors_element_size(t->whole.dtype) * width;
        safetensors_tensor_copy(t, (size_t)at * width, (size_t)run * width, out + (size_t)i * size);
    }
    return 0;
}

bool convert_source_biases(const struct convert_source *s, int64_t layer, float *out)
{
    char name[64];
    struct error ignored;
    size_t E = (size_t)s->config.n_experts;
    if (s->is_gguf) return false;
    snprintf(name, sizeof(name), "blk.%lld.exp_probs_b.bias", (long long)layer);
    const struct safetensors_tensor *t = safetensors_set_find(&s->st, name);
    return t && t->whole.n_dims == 1 && (size_t)t->whole.shape[0] == E &&
           safetensors_tensor_read(t, 0, E, out, &ignored) == 0;
}
