/* serve_gguf_internal.h: the tokenizer and the chat template that lie in a GGUF file (serve_gguf.c). */
#ifndef COLOSSUS_SERVE_GGUF_INTERNAL_H
#define COLOSSUS_SERVE_GGUF_INTERNAL_H

#include "serve/serve.h"

/* name is the file's, for messages. What decides about ids and is not known is refused. */
int serve_gguf_tokenizer(const struct gguf *g, const char *name, tokenizer_t **out,
                         struct error *e);
/* The id of "tokenizer.ggml.<key>", or TOKENIZER_NONE. */
uint32_t serve_gguf_token(const struct gguf *g, const char *key);
/* Whether the model wants BOS in front of a text. */
bool serve_gguf_adds_bos(const struct gguf *g);
/* To be freed; NULL where there is none. */
char *serve_gguf_template(const struct gguf *g);

#endif
