/* train_config_rows.c: every key of a run file, once.
 *
 * This table is the only place where a key's name, type, unit, default and bounds stand. It drives
 * the loader, --set, the effective run.yaml in the run folder, the comparison at resume and
 * docs/reference/run-file.md. Rows of one section lie side by side: a model preset is bound to the
 * rows "model." as a table of its own.
 *
 * 0 means "derived" for the sizes and multipliers that have a natural value; train_config_check.c
 * fills them, and the effective run.yaml shows the result. The model's constants are Grok-1's, as in
 * model_config_defaults, and its bounds those of model_config_check (unit tests compare). */
#include "train/train.h"

#include <stddef.h>

#define AT(field) offsetof(struct train_config, field)

static const char *const precisions[] = {"auto", "fp32", "bf16", NULL};
static const char *const backends[] = {"auto", "reference", "avx2", "avx512", NULL};
static const char *const optimizers[] = {"adamw", "muon", NULL};
static const char *const schedules[] = {"cosine", "wsd", "constant", NULL};
static const char *const balances[] = {"aux", "bias", "none", NULL};

#define STRING_ROW(key, at, def, text)                                                      \
    {                                                                                       \
        .name = key, .type = OPTION_STRING, .offset = AT(at), .fallback = def, .help = text \
    }
#define BOOL_ROW(key, at, def, text)                                                      \
    {                                                                                     \
        .name = key, .type = OPTION_BOOL, .offset = AT(at), .fallback = def, .help = text \
    }
#define INT_ROW(key, at, u, def, lo, hi, text)                                                    \
    {                                                                                             \
        .name = key, .type = OPTION_INT, .offset = AT(at), .unit = u, .fallback = def, .min = lo, \
        .max = hi, .help = text                                                                   \
    }
#define REAL_ROW(key, at, u, def, lo, hi, text)                                                    \
    {                                                                                              \
        .name = key, .type = OPTION_REAL, .offset = AT(at), .unit = u, .fallback = def, .min = lo, \
        .max = hi, .help = text                                                                    \
    }
#define ENUM_ROW(key, at, def, list, text)                                                    \
    {                                                                                         \
        .name = key, .type = OPTION_ENUM, .offset = AT(at), .fallback = def, .choices = list, \
        .help = text                                                                          \
    }

#define MANY 1e15 /* larger than any count of tokens that a run can reach */

/* clang-format off: a table is read by its columns */
const struct option train_run_rows[] = {
    STRING_ROW("name", name, "", "name of the run folder; empty: the run file's, without .yaml"),
    STRING_ROW("dir", dir, "runs", "folder that holds run folders"),

    STRING_ROW("data.path", data_path, NULL, "dataset folder, as made by colossus data tokenize"),
    BOOL_ROW("data.document_mask", document_mask, "false",
             "attention stays within a document, in training and in validation"),
    BOOL_ROW("data.verify", verify, "true", "check the hash of every shard at the start"),
    INT_ROW("data.valid_tokens", valid_tokens, "tokens", "0", 0, MANY,
            "of the validation split used each time; 0: all of it"),

    STRING_ROW("model.preset", preset, "",
               "sizes and constants from presets/models/<preset>.yaml, or from a file whose path "
               "is given; keys of the run file come on top"),
    INT_ROW("model.vocab_size", model.vocab_size, "ids", "0", 0, 1 << 24,
            "0: the dataset's; larger than the dataset's pads the table"),
    INT_ROW("model.n_layers", model.n_layers, NULL, "0", 0, 1024,
            "transformer layers; required, like the other sizes, where no preset gives it"),
    INT_ROW("model.d_model", model.d_model, NULL, "0", 0, 1 << 18, "width of the residual stream"),
    INT_ROW("model.n_heads", model.n_heads, NULL, "0", 0, 4096, "query heads"),
    INT_ROW("model.n_kv_heads", model.n_kv_heads, NULL, "0", 0, 4096,
            "key and value heads, a divisor of n_heads; 0: n_heads"),
    INT_ROW("model.head_dim", model.head_dim, NULL, "0", 0, 1024,
            "width of a head, even; 0: d_model / n_heads"),
    INT_ROW("model.ffn_hidden", model.ffn_hidden, NULL, "0", 0, 1 << 22,
            "hidden width of each expert, or of the dense layer where n_experts is 1"),
    INT_ROW("model.n_experts", model.n_experts, NULL, "8", 1, COMPUTE_MAX_EXPERTS,
            "1: a dense model"),
    INT_ROW("model.n_experts_used", model.n_experts_used, NULL, "2", 1, COMPUTE_MAX_EXPERTS,
            "experts that each token visits"),
    INT_ROW("model.dense_ffn_hidden", model.dense_ffn_hidden, NULL, "0", 0, 1 << 22,
            "hidden width of Grok-2's always-on branch beside the experts; 0: none"),
    INT_ROW("model.context_length", model.context_length, "tokens", "0", 0, 1 << 24,
            "longest sequence; 0: batch.seq_len"),
    REAL_ROW("model.rope_theta", model.rope_theta, NULL, "10000", 1e-3, 1e15,
             "base of the rotary position angles"),
    REAL_ROW("model.rms_eps", model.rms_eps, NULL, "1e-5", 1e-12, 1, "epsilon of every norm"),
    REAL_ROW("model.embedding_multiplier", model.embedding_multiplier, NULL, "0", 0, 1e6,
             "0: by muP, sqrt(d_model)"),
    REAL_ROW("model.output_multiplier", model.output_multiplier, NULL, "0", 0, 1e6,
             "0: by muP, 2 sqrt(512 / d_model)"),
    REAL_ROW("model.attn_multiplier", model.attn_multiplier, NULL, "0", 0, 1e6,
             "0: by muP, sqrt(128) / head_dim"),
    REAL_ROW("model.attn_softcap", model.attn_softcap, NULL, "30", 0, 1e6,
             "attention logits become cap tanh(x / cap); 0: off"),
    REAL_ROW("model.router_softcap", model.router_softcap, NULL, "0", 0, 1e6,
             "the same for router logits (Grok-2: 30); 0: off"),
    REAL_ROW("model.final_softcap", model.final_softcap, NULL, "0", 0, 1e6,
             "the same for the final logits (Grok-2: 50); 0: off"),
    INT_ROW("model.attn_temperature_len", model.attn_temperature_len, "tokens", "0", 0, 1 << 24,
            "L: scores at positions t > L are multiplied by log t / log L (Grok-2: 1024); 0: off"),
    BOOL_ROW("model.tied_embeddings", model.tied_embeddings, "true",
             "the output head is the embedding table"),
    REAL_ROW("model.router_aux_coef", model.router_aux_coef, NULL, "0.01", 0, 1e3,
             "weight of the auxiliary balancing loss; used where balance.kind is aux"),
    REAL_ROW("model.router_z_coef", model.router_z_coef, NULL, "0.001", 0, 1e3,
             "weight of the router's z-loss; used where balance.kind is not none"),

    INT_ROW("batch.seq_len", seq_len, "tokens", "512", 1, 1 << 24, "tokens in a row"),
    INT_ROW("batch.micro_batch", micro_batch, "rows", "8", 1, 1 << 20,
            "rows that go through the model at once"),
    INT_ROW("batch.global_batch", global_batch, "rows", "0", 0, 1 << 24,
            "rows of one update, a multiple of micro_batch; 0: micro_batch"),

    INT_ROW("train.tokens", tokens, "tokens", NULL, 1, MANY,
            "length of the run, rounded up to whole steps"),
    INT_ROW("train.max_steps", max_steps, "steps", "0", 0, MANY,
            "stop there although the schedule goes on; 0: no"),
    INT_ROW("train.seed", seed, NULL, "1", 0, MANY, "of the initial weights and the data order"),
    INT_ROW("train.threads", threads, NULL, "0", 0, 1024,
            "0: one for each available core; the result does not depend on it"),
    ENUM_ROW("train.precision", precision, "auto", precisions,
             "of activations and of the weights' compute copies; auto: bf16 where the CPU "
             "multiplies it at full speed"),
    ENUM_ROW("train.backend", backend, "auto", backends, "kernels; auto: the best for this CPU"),
    REAL_ROW("train.grad_clip", grad_clip, NULL, "1.0", 0, 1e9,
             "global L2 norm that gradients are clipped to; 0: no clipping"),
    REAL_ROW("train.skip_sigma", skip_sigma, NULL, "6", 0, 1e6,
             "an update is skipped where loss or norm exceed the running mean by that many "
             "deviations; 0: only where they are not finite"),
    INT_ROW("train.skip_window", skip_window, "steps", "128", 8, 65536,
            "over which mean and deviation are taken; nothing is skipped before it is full"),
    INT_ROW("train.max_skips", max_skips, "steps", "50", 1, 1e6,
            "skipped in a row after which the run gives up"),

    ENUM_ROW("optimizer.kind", optimizer, "adamw", optimizers,
             "muon: matrices and experts by Muon, the rest by AdamW"),
    REAL_ROW("optimizer.lr", lr, NULL, "0.002", 0, 10,
             "peak learning rate of AdamW at width 512; each tensor's muP multiplier comes on top"),
    REAL_ROW("optimizer.beta1", beta1, NULL, "0.9", 0, 0.999999, "AdamW: decay of the mean"),
    REAL_ROW("optimizer.beta2", beta2, NULL, "0.95", 0, 0.999999, "AdamW: decay of the square"),
    REAL_ROW("optimizer.eps", eps, NULL, "1e-8", 1e-30, 1, "AdamW: added to the root"),
    REAL_ROW("optimizer.weight_decay", weight_decay, NULL, "0.1", 0, 10,
             "decoupled, times the learning rate; not on norms, embedding and head"),
    BOOL_ROW("optimizer.mup", mup, "true", "use the tensors' muP learning-rate multipliers"),
    REAL_ROW("optimizer.muon_lr", muon_lr, NULL, "0.02", 0, 10,
             "peak learning rate of Muon; the update of a matrix is orthogonal times "
             "sqrt(max(1, out / in))"),
    REAL_ROW("optimizer.muon_momentum", muon_momentum, NULL, "0.95", 0, 0.999999,
             "Muon: Nesterov momentum"),
    INT_ROW("optimizer.muon_steps", muon_steps, NULL, "5", 1, 20, "Muon: Newton-Schulz iterations"),

    ENUM_ROW("schedule.kind", schedule, "cosine", schedules,
             "after the warm-up; wsd: constant, then down by 1 - sqrt over decay_tokens"),
    INT_ROW("schedule.warmup_tokens", warmup_tokens, "tokens", "0", 0, MANY, "linear from 0"),
    INT_ROW("schedule.decay_tokens", decay_tokens, "tokens", "0", 0, MANY,
            "wsd: length of the decay at the end; 0: a fifth of train.tokens"),
    REAL_ROW("schedule.final_lr_fraction", final_lr_fraction, NULL, "0.1", 0, 1,
             "of the peak learning rate, at the end"),

    ENUM_ROW("balance.kind", balance, "aux", balances,
             "of the experts' load: auxiliary loss, selection bias, or not at all"),
    REAL_ROW("balance.bias_rate", bias_rate, NULL, "0.001", 0, 1,
             "bias: step by which an expert's selection bias moves after each update"),

    INT_ROW("log.every", log_every, "steps", "10", 1, MANY, "between log lines"),
    INT_ROW("log.valid_every", valid_every, "steps", "100", 0, MANY,
            "between validations, and at the end; 0: never"),
    REAL_ROW("log.peak_seconds", peak_seconds, "s", "0.5", 0, 60,
             "spent at the start on measuring the peak that MFU refers to; 0: MFU is not shown"),

    INT_ROW("checkpoint.every", checkpoint_every, "steps", "200", 0, MANY,
            "between checkpoints; one is always saved at the end; 0: only there"),
    INT_ROW("checkpoint.keep_last", keep_last, NULL, "2", 0, 1e6,
            "newest checkpoints that are kept; 0: all"),
    INT_ROW("checkpoint.keep_every", keep_every, "steps", "0", 0, MANY,
            "a checkpoint of a step that is a multiple is kept for ever; 0: none"),
};
/* clang-format on */
const size_t train_run_n_rows = ARRAY_LEN(train_run_rows);
_Static_assert(ARRAY_LEN(train_run_rows) <= TRAIN_MAX_KEYS, "raise TRAIN_MAX_KEYS");
