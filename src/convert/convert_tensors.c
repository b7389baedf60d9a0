/* convert_tensors.c: which tensors a file gets, in which format, and their numbers, some rows at a time.
 *
 * Bytes are copied where nothing changes: a block of a GGUF file is then the same block. Rows of queries
 * and keys may change places within a head and stay the same bytes: where neighbours turn together
 * (Llama's GGUF files) row 2i + j of a head is what elsewhere is row i + j h / 2. */
#include "convert/convert_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#define CHUNK ((int64_t)4 << 20) /* numbers at once */

/* ------------------------------------------------------------------ formats */

static const struct gguf_format *named(const char *name)
{
    const struct gguf_format *f = gguf_format_named(name);
    CHECK_MSG(f != NULL, "there is no format %s", name);
    return f;
}

/* A format of blocks, or what ggml takes where a row is no whole number of them. */
static const struct gguf_format *fitting(const char *name, int64_t width)
{
    if (width % (int64_t)named(name)->block == 0) return named(name);
    bool four = strcmp(name, "Q4_K") == 0;
    if (width % 32 == 0) return named(four ? "Q5_0" : "Q8_0");
    return named("F16");
}

static bool is_head(const struct convert_source *s, const struct param *p)
{
    return p->kind == PARAM_HEAD || (p->kind == PARAM_EMBEDDING && s->config.tied_embeddings);
}

static const struct gguf_format *matrix_format(const struct convert_options *o,
                                               const struct convert_source *s,
                                               const struct param *p,
                                               const struct gguf_format *have, bool changed)
{
    static const char *const names[] = {
        [CONVERT_F32] = "F32",   [CONVERT_F16] = "F16",   [CONVERT_BF16] = "BF16",
        [CONVERT_Q8_0] = "Q8_0", [CONVERT_Q4_0] = "Q4_0", [CONVERT_Q4_K] = "Q4_K",
        [CONVERT_Q6_K] = "Q6_K"};
    const char *name;
    bool few = o->type == CONVERT_Q4_0 || o->type == CONVERT_Q4_K;
    if (o->type == CONVERT_KEEP) {
        bool keeps = have && !changed && (o->to == CONVERT_GGUF || have->block == 1);
        return keeps ? have : named("F32");
    }
    name = few && !o->pure && is_head(s, p) ? "Q6_K" : names[o->type];
    return fitting(name, p->shape[p->n_dims - 1]);
}

static const struct gguf_format *format_of(const struct convert_options *o,
                                           const struct convert_source *s, const struct param *p,
                                           const struct gguf_format *have, bool changed)
{
    bool vector = p->kind == PARAM_NORM || p->kind == PARAM_BIAS || p->kind == PARAM_ROUTER;
    if (!vector || (o->to == CONVERT_HF && o->type != CONVERT_KEEP))
        return matrix_format(o, s, p, have, changed);
    bool keeps = o->to != CONVERT_GGUF && o->type == CONVERT_KEEP && have && have->block == 1;
    return keeps && !changed ? have : named("F32");
}

/* ------------------------------------------------------------------ the list */

static struct convert_tensor *add(struct convert_list *l, struct arena *a)
{
    if (l->n == l->cap) {
        size_t cap = MAX((size_t)64, 2 * l->cap);
        struct convert_tensor *list = arena_alloc(a, cap * sizeof(*list));
        if (l->n) memcpy(list, l->list, l->n * sizeof(*list));
        l->list = list;
        l->cap = cap;
    }
    l->list[l->n] = (struct convert_tensor){.scale = 1};
    return &l->list[l->n++];
}

static bool is_of(const struct param *p, const char *part)
{
    const char *at = strstr(p->name, part);
    return at && at > p->name && at[-1] == '.';
}

static double scale_of(const struct convert_source *s, const struct convert_target *t,
                       const struct param *p)
{
    if (p->kind == PARAM_EMBEDDING) return t->embedding;
    if (strcmp(p->name, "output_norm.weight") == 0) return t->norm;
    if (s->config.qk_norm) return is_of(p, "attn_q_norm.") ? t->q : 1;
    return is_of(p, "attn_q.") ? t->q : 1;
}

/* Rows of heads, and norms and biases of heads. */
static bool is_turned(const struct param *p)
{
    return is_of(p, "attn_q.") || is_of(p, "attn_k.") || is_of(p, "attn_q_norm.") ||
           is_of(p, "attn_k_norm.");
}

/* Of the tensor's rows, which are said before, everything but the name. */
static void describe(const struct convert_options *o, const struct convert_source *s,
                     const struct convert_target *t, const struct param *p,
                     struct convert_tensor *x)
{
    const struct gguf_format *have = convert_source_format(s, p, x->first, x->rows);
    bool pairs = s->config.rope_form == MODEL_ROPE_PAIRS;
    x->p = p;
    x->width = p->shape[p->n_dims - 1];
    x->scale = scale_of(s, t, p);
    x->add = t->less_one && p->kind == PARAM_NORM ? -1 : 0;
    if (is_turned(p) && pairs != t->pairs) x->turn = t->pairs ? 1 : 2;
    /* Gemma's norms are stored less 1 on either side: the bytes are the same. */
    bool changed = x->scale != 1 || x->add != 0;
    x->format = format_of(o, s, p, have, changed);
    x->copied = x->format == have && !changed;
    x->bytes = (size_t)x->rows * ((size_t)x->width / x->format->block * x->format->bytes);
}

/* The experts of Hugging Face's are a tensor each. */
static int add_experts(const struct convert_options *o, const struct convert_source *s,
                       const struct convert_target *t, const struct param *p,
                       struct convert_list *l, struct arena *a)
{
    for (int64_t i = 0; i < p->shape[0]; i++) {
        struct convert_tensor *x = add(l, a);
        x->first = i * p->shape[1];
        x->rows = p->shape[1];
        describe(o, s, t, p, x);
        CHECK(hf_tensor_name(&s->config, p->name, i, t->style, x->name));
        x->n_dims = 2;
        x->shape[0] = p->shape[1];
        x->shape[1] = p->shape[2];
    }
    return 0;
}

static void add_param(const struct convert_options *o, const struct convert_source *s,
                      const struct convert_target *t, const struct param *p, struct convert_list *l,
                      struct arena *a)
{
    if (o->to == CONVERT_HF && p->kind == PARAM_EXPERTS) {
        add_experts(o, s, t, p, l, a);
        return;
    }
    struct convert_tensor *x = add(l, a);
    x->rows = (int64_t)p->count / p->shape[p->n_dims - 1];
    describe(o, s, t, p, x);
    if (o->to == CONVERT_HF)
        CHECK(hf_tensor_name(&s->config, p->name, 0, t->style, x->name));
    else
        gguf_tensor_name(t->architecture, p->name, x->name);
    x->n_dims = p->n_dims;
    memcpy(x->shape, p->shape, sizeof(x->shape));
}

static void add_made(struct convert_list *l, const char *name, const float *made, int64_t n,
                     struct arena *a)
{
    struct convert_tensor *x = add(l, a);
    snprintf(x->name, sizeof(x->name), "%s", name);
    x->made = made;
    x->rows = 1;
    x->width = x->shape[0] = n;
    x->n_dims = 1;
    x->format = named("F32");
    x->bytes = (size_t)n * sizeof(float);
}

/* What Llama 3's rotations divide the speed of each pair by, as llama.cpp's own converter writes it. */
static const float *divisors_of(const struct convert_source *s, struct arena *a)
{
    const struct model_config *c = &s->config;
    if (s->divisors) return s->divisors;
    float *d = arena_alloc(a, (size_t)c->head_dim / 2 * sizeof(*d));
    for (int64_t i = 0; i < c->head_dim / 2; i++) {
        double f = pow(c->rope_theta, -2 * (double)i / (double)c->head_dim);
        double turns = (double)c->rope_original_length * f / (2 * M_PI);
        double smooth = (turns - c->rope_low_freq) / (c->rope_high_freq - c->rope_low_freq);
        smooth = fmin(fmax(smooth, 0), 1);
        d[i] = (float)(1 / ((1 - smooth) / c->rope_factor + smooth));
    }
    return d;
}

/* Of all layers, where the source has them. */
static void add_biases(const struct convert_source *s, struct convert_list *l, struct arena *a)
{
    for (int64_t i = 0; i < s->config.n_layers; i++) {
        char name[64];
        float *b = arena_alloc(a, (size_t)s->config.n_experts * sizeof(*b));
        if (!convert_source_biases(s, i, b)) return;
        snprintf(name, sizeof(name), "blk.%lld.exp_probs_b.bias", (long long)i);
        add_made(l, name, b, s->config.n_experts, a);
    }
}

int convert_list_tensors(const struct convert_options *o, const struct convert_source *s,
                         const struct convert_target *t, struct convert_list *out, struct arena *a,
                         struct error *e)
{
    *out = (struct convert_list){0};
    for (size_t i = 0; i < s->params.n_rows; i++)
        add_param(o, s, t, &s->params.rows[i], out, a);
    bool llama3 = s->config.rope_scaling == COMPUTE_ROPE_LLAMA3;
    if (o->to == CONVERT_GGUF && (s->divisors || llama3))
        add_made(out, GGUF_ROPE_DIVISORS, divisors_of(s, a), s->config.head_dim / 2, a);
    if (o->to == CONVERT_COLOSSUS && model_is_moe(&s->config) && !s->drops_biases)
        add_biases(s, out, a);
    for (size_t i = 0; i < out->n; i++)
        if (!out->list[i].copied && !convert_encodes(out->list[i].format))
            return error_set(e, "tensor '%s' cannot be changed in the format %s", out->list[i].name,
                             out->list[i].format->name);
    return 0;
}

/* ------------------------------------------------------------------ numbers */

/* Which row of the source becomes row r, where heads are of h rows. */
static int64_t turned(int64_t r, int64_t h, int turn)
{
    int64_t head = r / h * h, i = r % h;
    if (turn == 1) return head + i % 2 * (h / 2) + i / 2;
    if (turn == 2) return head + (i < h / 2 ? 2 * i : 2 * (i - h / 2) + 1);
    return r;
}

static size_t row_bytes(const struct convert_tensor *x)
{
    return (size_t)x->width / x->format->block * x->format->bytes;
}

struct work {
    const struct convert_source *s;
    struct pool *pool;
    float *floats;
    uint8_t *bytes;
};

/* A norm or a bias of heads: its numbers change places. */
static void turn_vector(const struct work *w, const struct convert_tensor *x)
{
    int64_t h = w->s->config.head_dim;
    float *from = mem_alloc((size_t)x->width * sizeof(*from));
    memcpy(from, w->floats, (size_t)x->width * sizeof(*from));
    for (int64_t i = 0; i < x->width; i++)
        w->floats[i] = from[turned(i, h, x->turn)];
    mem_free(from);
}

static int read_floats(const struct work *w, const struct convert_tensor *x, int64_t first,
                       int64_t n, struct error *e)
{
    int64_t h = w->s->config.head_dim;
    if (!x->p) {
        memcpy(w->floats, x->made, (size_t)(n * x->width) * sizeof(float));
        return 0;
    }
    for (int64_t i = 0; i < n && x->turn && x->n_dims > 1; i++)
        TRY(convert_source_read(w->s, x->p, x->first + turned(first + i, h, x->turn), 1,
                                w->floats + i * x->width, e));
    if (!x->turn || x->n_dims == 1)
        TRY(convert_source_read(w->s, x->p, x->first + first, n, w->floats, e));
    if (x->turn && x->n_dims == 1) turn_vector(w, x);
    for (int64_t i = 0; i < n * x->width && (x->scale != 1 || x->add != 0); i++)
        w->floats[i] = (float)((double)w->floats[i] * x->scale + x->add);
    return 0;
}

/* The bytes as they are; they are looked at all the same. */
static int copy_rows(const struct work *w, const struct convert_tensor *x, int64_t first, int64_t n,
                     struct error *e)
{
    int64_t h = w->s->config.head_dim;
    size_t row = row_bytes(x);
    for (int64_t i = 0; i < n && x->turn; i++)
        TRY(convert_source_copy(w->s, x->p, x->first + turned(first + i, h, x->turn), 1,
                                w->bytes + (size_t)i * row, e));
    if (!x->turn) TRY(convert_source_copy(w->s, x->p, x->first + first, n, w->bytes, e));
    gguf_to_f32(x->format, w->bytes, (size_t)(n * x->width), w->floats);
    for (int64_t i = 0; i < n * x->width; i++)
        if (!isfinite(w->floats[i]))
            return error_set(e, "tensor '%s' holds NaN or infinite values", x->p->name);
    return 0;
}

/* A number beyond what the format holds would become an infinity, or its block zeros. No scale of any
 * format is larger than the largest half, and what is within a half each of them holds. */
static int check_range(const struct work *w, const struct convert_tensor *x, size_t n,
                       struct error *e)
{
    size_t most = 0;
    for (size_t i = 1; i < n; i++)
        if (fabsf(w->floats[i]) > fabsf(w->floats[most])) most = i;
    float largest = w->floats[most];
    if (fabsf(largest) <= 65504) return 0;
    float *back = mem_alloc(n * sizeof(*back));
    gguf_to_f32(x->format, w->bytes, n, back);
    bool held = fabsf(back[most] - largest) <= 0.1f * fabsf(largest); /* not so an infinity */
    mem_free(back);
    if (held) return 0;
    error_set(e, "tensor '%s' holds %g, which the format %s does not", x->name, (double)largest,
              x->format->name);
    return error_hint(e, "--type bf16 and --type f32 hold it");
}

static int make_rows(const struct work *w, const struct convert_tensor *x, int64_t first, int64_t n,
                     struct error *e)
{
    if (x->copied && !(x->turn && x->n_dims == 1)) return copy_rows(w, x, first, n, e);
    TRY(read_floats(w, x, first, n, e));
    convert_encode(w->pool, x->format, w->floats, (size_t)(n * x->width), w->bytes);
    return check_range(w, x, (size_t)(n * x->width), e);
}

/* ------------------------------------------------------------------ the file */

static int write_tensor(const struct work *w, const struct convert_tensor *x, int fd,
                        const struct convert_file *f, struct error *e)
{
    int64_t step = MIN(x->rows, MAX((int64_t)1, CHUNK / x->width));
    for (int64_t r = 0; r < x->rows; r += step) {
        int64_t n = MIN(step, x->rows - r);
        if (f->stop && *f->stop) return error_set(e, "stopped: nothing was written");
        TRY(make_rows(w, x, r, n, e));
        TRY(file_write_fd(fd, w->bytes, (size_t)n * row_bytes(x), f->path, e));
    }
    return 0;
}

static int pad(int fd, const struct convert_file *f, size_t *at, struct error *e)
{
    static const uint8_t zeros[64];
    size_t n = (f->align - *at % f->align) % f->align;
    *at += n;
    return n ? file_write_fd(fd, zeros, n, f->path, e) : 0;
}

static int write_all(const struct work *w, const struct convert_file *f,
                     const struct convert_list *l, int fd, struct error *e)
{
    size_t at = f->head->len;
    TRY(file_write_fd(fd, f->head->data, f->head->len, f->path, e));
    for (size_t i = 0; i < l->n; i++) {
        TRY(pad(fd, f, &at, e));
        TRY(write_tensor(w, &l->list[i], fd, f, e));
        at += l->list[i].bytes;
    }
    TRY(pad(fd, f, &at, e));
    return fsync(fd) != 0 ? error_errno(e, "sync", f->path) : 0;
}

int convert_write_tensors(const struct convert_file *f, const struct convert_source *s,
                          const struct convert_list *l, struct error *e)
{
    int64_t most = CHUNK;
    CHECK(f->align <= 64);
    for (size_t i = 0; i < l->n; i++)
        most = MAX(most, l->list[i].width);
    struct work w = {.s = s, .pool = f->pool};
    w.floats = mem_try_alloc((size_t)most * sizeof(float));
    w.bytes = mem_try_alloc((size_t)most * sizeof(float));
    int fd = -1, rc = 0;
    if (!w.floats || !w.bytes)
        rc = error_set(e, "no memory to write '%s'", f->path);
    else if ((fd = open(f->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) < 0)
        rc = error_errno(e, "create", f->path);
    if (rc == 0) rc = write_all(&w, f, l, fd, e);
    if (fd >= 0 && close(fd) != 0 && rc == 0) rc = error_errno(e, "close", f->path);
    mem_free(w.floats);
    mem_free(w.bytes);
    return rc;
}

double convert_error(const struct gguf_format *f, const float *x, size_t count)
{
    uint8_t *bytes = mem_alloc(count / f->block * f->bytes);
    float *back = mem_alloc(count * sizeof(*back));
    double sum = 0;
    convert_encode(NULL, f, x, count, bytes);
    gguf_to_f32(f, bytes, count, back);
    for (size_t i = 0; i < count; i++)
        sum += pow((double)x[i] - (double)back[i], 2);
    mem_free(bytes);
    mem_free(back);
    return sqrt(sum / (double)count);
}
