/* test_published_models.h: sizes of published models, as initialisers of a struct model_config, for
 * every test and measurement that needs one. Built by hand from the papers, so that what is tested
 * with them does not depend on the presets. */
#ifndef TEST_PUBLISHED_MODELS_H
#define TEST_PUBLISHED_MODELS_H

/* arXiv:2407.21783, table 3. */
#define LLAMA_3_405B                                                                           \
    .name = "llama3-405b", .n_layers = 126, .d_model = 16384, .n_heads = 128, .n_kv_heads = 8, \
    .head_dim = 128, .vocab_size = 128256, .ffn_hidden = 53248, .glu = true

/* xai-org/grok-1, run.py. */
#define GROK_1                                                                               \
    .name = "grok-1", .n_layers = 64, .d_model = 6144, .n_heads = 48, .n_kv_heads = 8,       \
    .head_dim = 128, .vocab_size = 131072, .glu = true, .n_experts = 8, .n_experts_used = 2, \
    .ffn_hidden = 32768

/* arXiv:2005.14165, with the vocabulary that Megatron-LM pads to. */
#define GPT_3_175B                                                                          \
    .name = "gpt3-175b", .n_layers = 96, .d_model = 12288, .n_heads = 96, .n_kv_heads = 96, \
    .head_dim = 128, .vocab_size = 51200, .ffn_hidden = 49152, .tied_embeddings = true

/* arXiv:2412.19437, section 4.2, but for the numbers of layers, which tests choose. A head's width
 * is that of its queries, 128 + 64 for the position. */
#define DEEPSEEK_V3_WIDTHS                                                                         \
    .name = "deepseek-v3", .d_model = 7168, .n_heads = 128, .n_kv_heads = 128, .head_dim = 192,    \
    .vocab_size = 129280, .dense_ffn_hidden = 18432, .glu = true,                                  \
    .attention = MODEL_ATTENTION_MLA, .mla_q_rank = 1536, .mla_kv_rank = 512, .mla_nope_dim = 128, \
    .mla_rope_dim = 64, .mla_v_dim = 128, .n_experts = 256, .n_experts_used = 8,                   \
    .ffn_hidden = 2048, .shared_ffn_hidden = 2048

#endif
