/* weights_file.h: a model's weights as the safetensors file that a checkpoint or an export has. */
#ifndef COLOSSUS_TESTS_WEIGHTS_FILE_H
#define COLOSSUS_TESTS_WEIGHTS_FILE_H

#include "model/model.h"

#include <string.h>

/* c is the configuration of m, which trains. With biases, the routers' selection biases are written too. */
static inline int weights_file_write(model_t *m, const struct model_config *c, bool biases,
                                     const char *path, struct error *e)
{
    const struct param_table *t = model_params(m);
    size_t L = (size_t)c->n_layers, E = (size_t)c->n_experts, n = t->n_rows;
    struct safetensors_entry *entries = mem_calloc(n + L, sizeof(*entries));
    for (size_t i = 0; i < n; i++) {
        const struct param *p = &t->rows[i];
        entries[i] = (struct safetensors_entry){.dtype = ST_F32,
                                                .n_dims = p->n_dims,
                                                .data = model_weights(m) + p->offset,
                                                .bytes = p->count * sizeof(float)};
        memcpy(entries[i].name, p->name, sizeof(p->name));
        memcpy(entries[i].shape, p->shape, sizeof(p->shape));
    }
    for (size_t i = 0; biases && i < L; i++) {
        struct safetensors_entry *b = &entries[n++];
        *b = (struct safetensors_entry){.dtype = ST_F32,
                                        .n_dims = 1,
                                        .shape = {(int64_t)E},
                                        .data = model_router_bias(m) + i * E,
                                        .bytes = E * sizeof(float)};
        snprintf(b->name, sizeof(b->name), "blk.%zu.exp_probs_b.bias", i);
    }
    int rc = safetensors_write(path, entries, n, NULL, e);
    mem_free(entries);
    return rc;
}

#endif
