/* test_model_hf.c: folders of Hugging Face's: every one of tests/golden/hf (make_hf_golden.py: tiny
 * random models as transformers writes and computes them in fp32), the whole sequence at once and token
 * by token; experts in one tensor; Grok-2's parts for several devices and Grok-1's community names; and
 * what is refused.
 *
 * Bar: logits within 1e-4 of transformers'. Two programs that add in different orders differ by the
 * rounding of fp32: the largest difference seen is printed. */
#include "test_model_support.h"

#include <unistd.h>

#define FOLDER "tests/golden/hf"
#define LOGITS 1e-4

static const char *const folders[] = {
    "llama",   "llama-biases", "llama3-rope", "yarn",   "qwen2",   "qwen3",
    "mixtral", "qwen3-moe",    "gemma2",      "gemma3", "sharded",
};

struct golden {
    struct arena arena;
    struct model_config config;
    struct safetensors expected;
    const char *dir;
    int64_t T, V;
    uint32_t *tokens; /* [T] */
    float *want;      /* [T, V] */
};

static void golden_open(struct golden *g, const char *folder, const char *name)
{
    struct error e = {0};
    *g = (struct golden){0};
    arena_init(&g->arena);
    g->dir = file_join(&g->arena, folder, name);
    const char *expected = file_join(&g->arena, g->dir, "expected.safetensors");
    if (model_config_load(file_join(&g->arena, g->dir, "config.json"), &g->config, &e) < 0 ||
        safetensors_open(expected, &g->expected, &e) < 0)
        fail_with(&e);
    const struct safetensors_entry *t = safetensors_find(&g->expected, "tokens");
    const struct safetensors_entry *z = safetensors_find(&g->expected, "logits");
    assert_true(t && z && t->dtype == ST_I32 && z->n_dims == 2);
    g->T = t->shape[0];
    g->V = z->shape[1];
    assert_int_equal(z->shape[0], g->T);
    assert_int_equal(g->V, g->config.vocab_size);
    g->tokens = arena_alloc(&g->arena, (size_t)g->T * sizeof(uint32_t));
    memcpy(g->tokens, t->data, (size_t)g->T * sizeof(uint32_t));
    g->want = arena_alloc(&g->arena, (size_t)(g->T * g->V) * sizeof(float));
    if (safetensors_read_f32(z, g->want, (size_t)(g->T * g->V), &e) < 0) fail_with(&e);
}

static void golden_close(struct golden *g)
{
    safetensors_close(&g->expected);
    arena_fini(&g->arena);
}

static void decode(struct golden *g, model_t *m, float *logits)
{
    struct error e = {0};
    model_decoder_t *d;
    if (model_decoder_new(m, &d, &e) < 0) fail_with(&e);
    int32_t id = model_sequence_open(d);
    for (int64_t i = 0; i < g->T; i++) {
        struct model_row row = {id, g->tokens[i], i, true};
        if (model_decode_rows(d, &row, 1, logits + i * g->V, &e) < 0) fail_with(&e);
    }
    model_decoder_free(d);
}

static double largest(const float *a, const float *b, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most;
}

/* The weights of `dir` under the configuration of the golden folder. */
static void check(struct golden *g, const char *dir, enum compute_backend backend)
{
    struct rig r;
    struct error e = {0};
    size_t n = (size_t)(g->T * g->V);
    struct model_batch b = {.B = 1, .T = g->T, .inputs = g->tokens, .targets = g->tokens};
    float *whole = arena_alloc(&g->arena, n * sizeof(float));
    float *one = arena_alloc(&g->arena, n * sizeof(float));
    rig_open(&r, &g->config, 1, g->T, (struct rig_options){COMPUTE_F32, backend, 1, true});
    if (model_load_weights(r.model, dir, &e) < 0) fail_with(&e);
    model_logits(r.model, &b, whole);
    decode(g, r.model, one);
    double error = fmax(largest(whole, g->want, n), largest(one, g->want, n));
    print_message("%-32s %-9s logits %.1e of at most %.0e\n", dir, BACKEND_NAMES[backend], error,
                  LOGITS);
    if (!(error <= LOGITS)) fail_msg("%s: %.2e", dir, error);
    rig_close(&r);
}

static void test_folders(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        struct golden g;
        golden_open(&g, FOLDER, folders[i]);
        for (size_t k = 0; k < ARRAY_LEN(BACKENDS); k++)
            if (backend_present(BACKENDS[k])) check(&g, g.dir, BACKENDS[k]);
        golden_close(&g);
    }
}

/* ------------------------------------------------------------------ other layouts of files */

/* Tensors on their way into a file. */
struct out {
    struct safetensors_entry list[256];
    size_t n;
    struct arena arena;
};

static float *add(struct out *o, const char *name, int n_dims, const int64_t *shape)
{
    struct safetensors_entry *t = &o->list[o->n++];
    size_t count = 1;
    assert_true(o->n <= ARRAY_LEN(o->list));
    *t = (struct safetensors_entry){.dtype = ST_F32, .n_dims = n_dims};
    snprintf(t->name, sizeof(t->name), "%s", name);
    for (int i = 0; i < n_dims; i++) {
        t->shape[i] = shape[i];
        count *= (size_t)shape[i];
    }
    float *x = arena_alloc(&o->arena, count * sizeof(*x));
    t->data = x;
    t->bytes = count * sizeof(*x);
    return x;
}

static void save(struct out *o, const char *dir, const char *name)
{
    struct error e = {0};
    struct arena a = {0};
    if (safetensors_write(file_join(&a, dir, name), o->list, o->n, NULL, &e) < 0) fail_with(&e);
    arena_fini(&a);
    arena_fini(&o->arena);
    o->n = 0;
}

static const float *read_all(const struct safetensors_set *st, const struct param *p,
                             struct arena *a)
{
    struct error e = {0};
    const struct safetensors_tensor *t = safetensors_set_find(st, p->name);
    float *x = arena_alloc(a, p->count * sizeof(*x));
    assert_non_null(t);
    if (safetensors_tensor_read(t, 0, p->count, x, &e) < 0) fail_with(&e);
    return x;
}

static void make_folder(char dir[64])
{
    snprintf(dir, 64, "/tmp/colossus-hf-XXXXXX");
    assert_non_null(mkdtemp(dir));
}

/* Columns [first, first + n) of `rows` rows of `width`. */
static void take_columns(const float *x, int64_t rows, int64_t width, int64_t first, int64_t n,
                         float *out)
{
    for (int64_t r = 0; r < rows; r++)
        memcpy(out + r * n, x + r * width + first, (size_t)n * sizeof(float));
}

/* An expert's matrix, of which each of two devices has half: w1 and w3 by rows, w2 by columns. */
static void add_half(struct out *o, const char *name, const struct param *p, const float *x,
                     int device)
{
    int64_t rows = p->shape[1], width = p->shape[2];
    bool down = strstr(p->name, "ffn_down") != NULL;
    int64_t shape[2] = {down ? rows : rows / 2, down ? width / 2 : width};
    float *to = add(o, name, 2, shape);
    if (down)
        take_columns(x, rows, width, device * width / 2, width / 2, to);
    else
        memcpy(to, x + device * rows / 2 * width, (size_t)(rows / 2 * width) * sizeof(float));
}

/* device -1: what is not of experts. */
static void write_devices(const struct golden *g, const struct safetensors_set *st, int device,
                          const char *dir, const char *file)
{
    struct out o = {0};
    struct arena a = {0};
    struct param_table t;
    char name[96];
    model_params_build(&g->config, &a, &t);
    for (size_t i = 0; i < t.n_rows; i++) {
        const struct param *p = &t.rows[i];
        const float *x = read_all(st, p, &a);
        bool experts = p->kind == PARAM_EXPERTS;
        if (experts != (device >= 0)) continue;
        for (int64_t k = 0; experts && k < p->shape[0]; k++) {
            assert_true(hf_tensor_name(&g->config, p->name, k, HF_SPARSE, name));
            add_half(&o, name, p, x + k * p->shape[1] * p->shape[2], device);
        }
        if (experts) continue;
        assert_true(hf_tensor_name(&g->config, p->name, 0, HF_SPARSE, name));
        memcpy(add(&o, name, p->n_dims, p->shape), x, p->count * sizeof(float));
    }
    save(&o, dir, file);
    arena_fini(&a);
}

static void golden_grok(struct golden *g, struct safetensors_set *st, const char *name)
{
    struct error e = {0};
    struct safetensors batch;
    int64_t n;
    *g = (struct golden){0};
    g->dir = file_join(&g->arena, "tests/golden/data", name);
    if (model_config_load(file_join(&g->arena, g->dir, "config.json"), &g->config, &e) < 0 ||
        safetensors_open(file_join(&g->arena, g->dir, "batch.safetensors"), &batch, &e) < 0 ||
        safetensors_open(file_join(&g->arena, g->dir, "expected.safetensors"), &g->expected, &e) <
            0 ||
        safetensors_set_open(file_join(&g->arena, g->dir, "weights.safetensors"), st, &e) < 0)
        fail_with(&e);
    const struct safetensors_entry *t = safetensors_find(&batch, "tokens");
    const struct safetensors_entry *z = safetensors_find(&g->expected, "logits");
    assert_true(t && z && t->dtype == ST_I32);
    n = t->shape[t->n_dims - 1] - 1; /* the last is only a target */
    g->T = n;
    g->V = g->config.vocab_size;
    g->tokens = arena_alloc(&g->arena, (size_t)n * sizeof(uint32_t));
    memcpy(g->tokens, t->data, (size_t)n * sizeof(uint32_t));
    g->want = arena_alloc(&g->arena, (size_t)(n * g->V) * sizeof(float));
    if (safetensors_read_part(z, 0, (size_t)(n * g->V), g->want, &e) < 0) fail_with(&e);
    safetensors_close(&batch);
}

/* Grok-2 as xAI released it: a file of whole tensors, and for each device its part of the experts. */
static void test_parts_of_devices(void **state)
{
    (void)state;
    struct golden g;
    struct safetensors_set st;
    struct error e = {0};
    char dir[64];
    make_folder(dir);
    golden_grok(&g, &st, "grok-2-small");
    write_devices(&g, &st, -1, dir, "pytorch_model-00000-TP-common.safetensors");
    write_devices(&g, &st, 0, dir, "pytorch_model-00001-TP-000.safetensors");
    write_devices(&g, &st, 1, dir, "pytorch_model-00001-TP-001.safetensors");
    check(&g, dir, COMPUTE_REFERENCE);
    /* without one of the devices half of each expert is missing */
    struct rig r;
    unlink(file_join(&g.arena, dir, "pytorch_model-00001-TP-000.safetensors"));
    rig_open(&r, &g.config, 1, 1, (struct rig_options){COMPUTE_F32, COMPUTE_REFERENCE, 1, true});
    assert_true(model_load_weights(r.model, dir, &e) < 0);
    rig_close(&r);
    safetensors_set_close(&st);
    golden_close(&g);
    file_remove_tree(dir, NULL);
}

/* The community's names for Grok-1, and experts of which all lie in one tensor. */
static void write_named(const struct golden *g, const struct safetensors_set *st,
                        enum hf_style style, bool together, const char *dir)
{
    struct out o = {0};
    struct arena a = {0};
    struct param_table t;
    char name[96];
    model_params_build(&g->config, &a, &t);
    for (size_t i = 0; i < t.n_rows; i++) {
        const struct param *p = &t.rows[i];
        const float *x = read_all(st, p, &a);
        int64_t E = p->shape[0], rows = p->shape[1], width = p->shape[2];
        bool gate = strstr(p->name, "ffn_gate_exps") != NULL, up = strstr(p->name, "ffn_up_exps");
        for (int64_t k = 0; !together && p->kind == PARAM_EXPERTS && k < E; k++) {
            assert_true(hf_tensor_name(&g->config, p->name, k, style, name));
            memcpy(add(&o, name, 2, p->shape + 1), x + k * rows * width,
                   (size_t)(rows * width) * sizeof(float));
        }
        if (p->kind == PARAM_EXPERTS && (!together || up)) continue;
        assert_true(
            hf_tensor_name(&g->config, p->name, -1 + (p->kind != PARAM_EXPERTS), style, name));
        if (gate) {
            const float *other = read_all(st, p + 1, &a); /* up stands behind gate */
            float *to = add(&o, name, 3, (int64_t[3]){E, 2 * rows, width});
            for (int64_t k = 0; k < E; k++)
                for (int half = 0; half < 2; half++)
                    memcpy(to + (2 * k + half) * rows * width,
                           (half ? other : x) + k * rows * width,
                           (size_t)(rows * width) * sizeof(float));
            continue;
        }
        memcpy(add(&o, name, p->n_dims, p->shape), x, p->count * sizeof(float));
    }
    save(&o, dir, "model.safetensors");
    arena_fini(&a);
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        enum hf_style style;
        bool together;
    } cases[] = {{HF_COMMUNITY, false}, {HF_SPARSE, false}, {HF_PLAIN, true}, {HF_SPARSE, true}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct golden g;
        struct safetensors_set st;
        char dir[64];
        make_folder(dir);
        golden_grok(&g, &st, "multipliers");
        write_named(&g, &st, cases[i].style, cases[i].together, dir);
        check(&g, dir, COMPUTE_REFERENCE);
        safetensors_set_close(&st);
        golden_close(&g);
        file_remove_tree(dir, NULL);
    }
}

/* ------------------------------------------------------------------ what config.json says */

static int read_config(const char *text, struct model_config *c, struct error *e)
{
    json_t *o;
    if (json_parse(text, strlen(text), "config.json", &o, e) < 0) fail_with(e);
    int rc = hf_is_config(o) ? hf_model_config(o, "config.json", c, e) : -1;
    json_decref(o);
    return rc;
}

#define SIZES                                                                             \
    "\"vocab_size\": 40, \"hidden_size\": 24, \"num_hidden_layers\": 6, "                 \
    "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"intermediate_size\": 20, " \
    "\"max_position_embeddings\": 64"

static void test_configurations(void **state)
{
    (void)state;
    struct model_config c;
    struct error e = {0};
    /* version 4 of transformers: rotations beside the rest */
    if (read_config("{\"model_type\": \"gemma3_text\", " SIZES ", \"rope_theta\": 1e6, "
                    "\"rope_local_base_freq\": 5000, \"rope_scaling\": {\"rope_type\": \"linear\", "
                    "\"factor\": 8}, \"sliding_window\": 9, \"sliding_window_pattern\": 3}",
                    &c, &e) < 0)
        fail_with(&e);
    assert_true(c.window == 9 && c.window_period == 3 && c.window_layers == 4);
    assert_true(c.window_rope_theta == 5000 && c.rope_theta == 1e6 && c.rope_factor == 8);
    assert_true(c.qk_norm && c.tied_embeddings && c.head_dim == 256 && c.attn_softcap == 0);
    assert_true(fabs(c.attn_multiplier - 1.0 / 16) < 1e-12);
    /* Grok-1 as the community writes it, Grok-2 as xAI does */
    if (read_config("{\"model_type\": \"grok-1\", " SIZES ", \"num_experts\": 8, "
                    "\"num_experts_per_tok\": 2, \"attn_output_multiplier\": 0.1, "
                    "\"max_attn_value\": 20, \"embedding_multiplier_scale\": 3, "
                    "\"output_multiplier_scale\": 0.5, \"output_router_logits\": false}",
                    &c, &e) < 0)
        fail_with(&e);
    assert_true(c.n_experts == 8 && c.attn_softcap == 20 && c.embedding_multiplier == 3);
    assert_true(c.rms_eps == 1e-5 && !c.renormalise_top_k && c.dense_ffn_hidden == 0);
    if (read_config("{\"architectures\": [\"Grok1ForCausalLM\"], \"model_type\": \"git\", " SIZES
                    ", \"head_dim\": 16, \"num_local_experts\": 8, \"num_experts_per_tok\": 2, "
                    "\"moe_intermediate_size\": 12, \"residual_moe\": true, "
                    "\"embedding_multiplier_scale\": 3, \"output_multiplier_scale\": 0.5, "
                    "\"attn_logit_softcapping\": 30, \"router_logit_softcapping\": 30, "
                    "\"final_logit_softcapping\": 50, \"attn_temperature_len\": 1024, "
                    "\"rope_type\": \"original\", \"rope_theta\": 208533496, "
                    "\"sliding_window_size\": -1, \"global_attn_every_n\": 1}",
                    &c, &e) < 0)
        fail_with(&e);
    assert_true(c.dense_ffn_hidden == 20 && c.ffn_hidden == 12 && c.router_softcap == 30);
    assert_true(c.attn_temperature_len == 1024 && c.attn_multiplier == 0.25);
    assert_false(c.tied_embeddings);
    /* Qwen's window stands there unused */
    if (read_config("{\"model_type\": \"qwen2\", " SIZES ", \"sliding_window\": 8, "
                    "\"use_sliding_window\": false, \"max_window_layers\": 3}",
                    &c, &e) < 0)
        fail_with(&e);
    assert_true(c.window_layers == 0 && c.qkv_biases && !c.output_bias);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *keys, *word; /* which the message has */
    } cases[] = {
        {"\"model_type\": \"falcon\"", "falcon"},
        {"\"model_type\": \"git\"", "git"},
        {"\"model_type\": \"llama\", \"quantization_config\": {\"bits\": 4}",
         "quantization_config"},
        {"\"model_type\": \"llama\", \"hidden_act\": \"relu\"", "relu"},
        {"\"model_type\": \"llama\", \"mlp_bias\": true", "mlp_bias"},
        {"\"model_type\": \"llama\", \"rope_scaling\": {\"rope_type\": \"longrope\"}", "longrope"},
        {"\"model_type\": \"llama\", \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2, "
         "\"mscale\": 1}",
         "mscale"},
        {"\"model_type\": \"llama\", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2, "
         "\"mrope_section\": [1]}",
         "mrope_section"},
        {"\"model_type\": \"qwen2\", \"use_sliding_window\": true", "use_sliding_window"},
        {"\"model_type\": \"qwen3_moe\", \"num_experts\": 4, \"num_experts_per_tok\": 2, "
         "\"moe_intermediate_size\": 8, \"decoder_sparse_step\": 2",
         "decoder_sparse_step"},
        {"\"model_type\": \"qwen3_moe\", \"num_experts\": 4, \"num_experts_per_tok\": 2, "
         "\"moe_intermediate_size\": 8, \"mlp_only_layers\": [0]",
         "mlp_only_layers"},
        {"\"model_type\": \"gemma2\", \"layer_types\": [\"full_attention\"]", "layer_types"},
        {"\"model_type\": \"gemma2\", \"layer_types\": [\"sliding_attention\", "
         "\"full_attention\", \"full_attention\", \"full_attention\", \"full_attention\", "
         "\"full_attention\"]",
         "layer_types"},
        {"\"model_type\": \"gemma2\", \"query_pre_attn_scalar\": 0", "query_pre_attn_scalar"},
        {"\"model_type\": \"llama\", \"num_key_value_heads\": 3", "n_kv_heads"},
        {"\"model_type\": \"llama\", \"rms_norm_eps\": \"small\"", "rms_norm_eps"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[1024];
        struct model_config c;
        struct error e = {0};
        snprintf(text, sizeof(text), "{%s, %s}", cases[i].keys, SIZES);
        /* a later key of the sizes would be there twice */
        if (strstr(cases[i].keys, "num_key_value_heads")) {
            char *twice = strstr(text, "\"num_key_value_heads\": 2, ");
            assert_non_null(twice);
            memmove(twice, twice + 26, strlen(twice + 26) + 1);
        }
        if (read_config(text, &c, &e) >= 0 || !strstr(e.text, cases[i].word))
            fail_msg("%s: '%s' does not say %s", cases[i].keys, e.text, cases[i].word);
    }
}

/* An index that names a file outside the folder, one that is not there, or a tensor that no file has. */
static void test_index(void **state)
{
    (void)state;
    static const struct {
        const char *text, *word;
    } cases[] = {
        {"{\"weight_map\": {\"a\": \"../model.safetensors\"}}", "no file of this folder"},
        {"{\"weight_map\": {\"a\": \"..\"}}", "no file of this folder"},
        {"{\"weight_map\": {\"a\": 7}}", "no file of this folder"},
        {"{\"weight_map\": {}}", "weight_map"},
        {"[]", "weight_map"},
        {"{\"weight_map\": {\"a\": \"missing.safetensors\"}}", "missing.safetensors"},
        {"{\"weight_map\": {\"b\": \"one.safetensors\"}}", "'b' is in none of the files"},
    };
    struct arena a = {0};
    struct out o = {0};
    char dir[64];
    make_folder(dir);
    add(&o, "a", 1, (int64_t[1]){2});
    save(&o, dir, "one.safetensors");
    const char *path = file_join(&a, dir, "model.safetensors");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct safetensors_set s;
        struct error e = {0};
        const char *index = file_join(&a, dir, "model.safetensors.index.json");
        if (file_write(index, cases[i].text, strlen(cases[i].text), &e) < 0) fail_with(&e);
        if (safetensors_set_open(path, &s, &e) >= 0 || !strstr(e.text, cases[i].word))
            fail_msg("%s: '%s' does not say %s", cases[i].text, e.text, cases[i].word);
    }
    file_remove_tree(dir, NULL);
    arena_fini(&a);
}

/* A tensor that the configuration has no place for. */
static void test_extra_tensor(void **state)
{
    (void)state;
    struct golden g;
    struct safetensors_set st;
    struct error e = {0};
    struct out o = {0};
    struct rig r;
    char dir[64];
    make_folder(dir);
    golden_open(&g, FOLDER, "llama");
    if (safetensors_set_open(file_join(&g.arena, g.dir, "model.safetensors"), &st, &e) < 0)
        fail_with(&e);
    for (size_t i = 0; i < st.n_tensors; i++) {
        const struct safetensors_entry *t = &st.tensors[i].whole;
        float *x = add(&o, t->name, t->n_dims, t->shape);
        size_t n = o.list[o.n - 1].bytes / sizeof(*x);
        if (safetensors_tensor_read(&st.tensors[i], 0, n, x, &e) < 0) fail_with(&e);
    }
    add(&o, "model.layers.0.self_attn.rotary_emb.inv_freq", 1, (int64_t[1]){3});
    add(&o, "model.layers.0.self_attn.q_norm.weight", 1, (int64_t[1]){6});
    save(&o, dir, "model.safetensors");
    rig_open(&r, &g.config, 1, 1, (struct rig_options){COMPUTE_F32, COMPUTE_REFERENCE, 1, true});
    assert_true(model_load_weights(r.model, dir, &e) < 0);
    assert_non_null(strstr(e.text, "q_norm"));
    rig_close(&r);
    safetensors_set_close(&st);
    golden_close(&g);
    file_remove_tree(dir, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folders),      cmocka_unit_test(test_parts_of_devices),
        cmocka_unit_test(test_names),        cmocka_unit_test(test_configurations),
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_index),
        cmocka_unit_test(test_extra_tensor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
