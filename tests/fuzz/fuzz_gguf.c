/* fuzz_gguf.c: any bytes as a GGUF file. What is accepted must lie inside the data and be readable, as
 * numbers too; and whatever a file says of its model is an answer or an error. */
#include "model/model.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_tensor(const struct gguf_tensor *t, const uint8_t *data, size_t size)
{
    static float row[1 << 16];
    CHECK(t->data >= data && t->row_bytes > 0 && t->rows > 0);
    CHECK((size_t)t->rows <= (size_t)(data + size - t->data) / t->row_bytes);
    if (t->shape[0] > (int64_t)ARRAY_LEN(row)) return;
    gguf_to_f32(t->format, t->data, (size_t)t->shape[0], row);
    gguf_to_f32(t->format, t->data + (size_t)(t->rows - 1) * t->row_bytes, (size_t)t->shape[0],
                row);
    static uint8_t codes[1 << 16], scale_steps[1 << 12], least_steps[1 << 12];
    static uint16_t scales[1 << 11], leasts[1 << 11];
    const struct gguf_codes to = {codes, scales, leasts, scale_steps, least_steps};
    struct compute_codes form;
    if (gguf_codes_of(t->format, &form))
        gguf_to_codes(t->format, t->data, (size_t)t->shape[0], &to);
}

static void check_value(const struct gguf_value *v)
{
    struct gguf_text t;
    double x = 0;
    size_t at = 0;
    unsigned sum = 0;
    if (gguf_text(v, &t))
        for (size_t i = 0; i < t.size; i++)
            sum += (unsigned char)t.data[i];
    gguf_number(v, &x);
    for (size_t i = 0; i < v->count && gguf_is_texts(v); i++)
        sum += (unsigned)gguf_next_text(v, &at).size;
    for (size_t i = 0; i < v->count && gguf_is_numbers(v); i++)
        x += gguf_number_of(v, i);
    CHECK(sum + 1 > 0 || x == 0);
}

/* The layout of a model whose tensors may have other forms and shapes than its sizes say. */
static void plan(const struct gguf *g, const struct model_config *c)
{
    static compute_t *compute;
    struct compute_options co = {.dtype = COMPUTE_F32, .backend = COMPUTE_REFERENCE};
    struct model_memory rows[16];
    if (c->n_layers > 64 || c->n_experts > 64) return; /* only slow */
    if (!compute) CHECK(compute_new(&co, &compute, NULL) == 0);
    struct model_options o = {.compute = compute, .B = 1, .T = 1, .shard = {0, 1, 0, 1}};
    o.codes_of = gguf_tensor_codes;
    o.codes_ctx = g;
    CHECK(model_plan_memory(c, &o, rows, ARRAY_LEN(rows)) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf g;
    struct error e = {0};
    struct model_config c;
    if (gguf_parse(data, size, "input", &g, &e) < 0) {
        CHECK(e.text[0]);
        return 0;
    }
    for (size_t i = 0; i < g.n_tensors; i++)
        check_tensor(&g.tensors[i], data, size);
    for (size_t i = 0; i < g.n_values; i++)
        check_value(&g.values[i]);
    if (gguf_model_config(&g, "input", &c, &e) < 0)
        CHECK(e.text[0]);
    else
        plan(&g, &c);
    gguf_close(&g);
    return 0;
}
