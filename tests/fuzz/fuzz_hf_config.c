/* fuzz_hf_config.c: any bytes as a config.json of Hugging Face's. What is accepted is a model that this
 * program can plan; whatever else is an error with words. */
#include "model/model.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void plan(const struct model_config *c)
{
    static compute_t *compute;
    struct compute_options co = {.dtype = COMPUTE_F32, .backend = COMPUTE_REFERENCE};
    struct model_memory rows[16];
    if (c->n_layers > 64 || c->n_experts > 64) return; /* only slow */
    if (!compute) CHECK(compute_new(&co, &compute, NULL) == 0);
    struct model_options o = {.compute = compute, .B = 1, .T = 1, .shard = {0, 1, 0, 1}};
    CHECK(model_plan_memory(c, &o, rows, ARRAY_LEN(rows)) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *o;
    struct model_config c;
    struct error e = {0};
    if (json_parse(size ? (const char *)data : "", size, "input", &o, &e) < 0) return 0;
    if (hf_model_config(o, "input", &c, &e) < 0)
        CHECK(e.text[0]);
    else
        plan(&c);
    json_decref(o);
    return 0;
}
