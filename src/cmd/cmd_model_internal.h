/* cmd_model_internal.h: how the commands that use a model open it. */
#ifndef COLOSSUS_CMD_MODEL_INTERNAL_H
#define COLOSSUS_CMD_MODEL_INTERNAL_H

#include "cmd/cmd.h"
#include "serve/serve.h"

/* Opens the model at `path`: a run, a checkpoint, a folder or a GGUF file. so->config and so->weights are filled,
 * and so->tokenizer where it is NULL. The newest checkpoint of a run that goes on may be removed
 * while it is opened; then the run is looked through again. */
int cmd_model_open(const char *path, struct arena *a, struct serve_options *so,
                   struct serve_model *m, struct error *e);
/* Prints the memory that it and so many sequences of such a length take. */
int cmd_model_plan(const char *path, struct arena *a, const struct serve_options *so,
                   struct serve_texts texts, bool json, struct error *e);

#endif
