/* train_config_rows.c: every key of a run file, once.
 *
 * This table is the only place where a key's name, type, unit, default and bounds stand. It drives
 * the loader, --set, the effective run.yaml in the run folder, the comparison at resume and
 * docs/reference/run-file.md. The rows of the model and of the batch are model.h's.
 *
 * 0 means "derived" for the sizes and multipliers that have a natural value; train_config_check.c
 * fills them, and the effective run.yaml shows the result. */
#include "train/train.h"

#include <stddef.h>

static const char *const precisions[] = {"auto", "fp32", "bf16", NULL};
static const char *const backends[] = {"auto", "reference", "avx2", "avx512", NULL};
static const char *const optimizers[] = {"adamw", "muon", NULL};
static const char *const schedules[] = {"cosine", "wsd", "constant", NULL};
static const char *const layouts[] = {"given", "auto", NULL};
static const char *const balances[] = {"aux", "bias", "quantile", "none", NULL};

#define T    struct train_config
#define MANY 1e15 /* larger than any count of tokens that a run can reach */

/* clang-format off: a table is read by its columns */
const struct option train_run_rows[] = {
    ROW_STRING(T, "name", name, "", NULL,
               "name of the run folder; empty: the run file's, without .yaml"),
    ROW_STRING(T, "dir", dir, "runs", NULL, "folder that holds run folders"),

    ROW_STRING(T, "data.path", data_path, NULL, NULL,
               "dataset folder, as made by colossus data tokenize"),
    ROW_BOOL(T, "data.document_mask", document_mask, "false",
             "attention stays within a document, in training and in validation"),
    ROW_BOOL(T, "data.verify", verify, "true", "check the hash of every shard at the start"),
    ROW_INT(T, "data.valid_tokens", valid_tokens, "tokens", "0", 0, MANY, NULL,
            "of the validation split used each time; 0: all of it"),

    ROW_STRING(T, "model.preset", preset, "", NULL,
               "sizes and constants from presets/models/<preset>.yaml, or from a file whose path "
               "is given; keys of the run file come on top"),
    MODEL_ROWS("model.", T, model.),
    MODEL_FORM_ROWS("model.", T, model.),

    MODEL_BATCH_ROWS("batch.", T),

    ROW_INT(T, "train.tokens", tokens, "tokens", NULL, 1, MANY, NULL,
            "length of the run, rounded up to whole steps"),
    ROW_INT(T, "train.max_steps", max_steps, "steps", "0", 0, MANY, NULL,
            "stop there although the schedule goes on; 0: no"),
    ROW_INT(T, "train.seed", seed, NULL, "1", 0, MANY, NULL,
            "of the initial weights and the data order"),
    ROW_STRING(T, "train.start_from", start_from, "", "runs/first",
               "a run, a checkpoint or a model's folder whose weights the run begins with, instead "
               "of random ones; the optimiser begins anew"),
    ROW_INT(T, "train.threads", threads, NULL, "0", 0, 1024, NULL,
            "0: one for each available core; the result does not depend on it"),
    ROW_ENUM(T, "train.precision", precision, "auto", precisions, NULL,
             "of activations and of the weights' compute copies; auto: bf16 where the CPU "
             "multiplies it at full speed"),
    ROW_ENUM(T, "train.backend", backend, "auto", backends, NULL,
             "kernels; auto: the best for this CPU"),
    ROW_ENUM(T, "train.recompute", recompute, "none", model_recompute_names, NULL,
             "what the backward pass computes again instead of keeping it: nothing, the hidden "
             "values of the feed-forward, or whole layers; the result does not depend on it"),
    ROW_REAL(T, "train.grad_clip", grad_clip, NULL, "1.0", 0, 1e9, NULL,
             "global L2 norm that gradients are clipped to; 0: no clipping"),
    ROW_REAL(T, "train.skip_sigma", skip_sigma, NULL, "6", 0, 1e6, NULL,
             "an update is skipped where loss or norm exceed the running mean by that many "
             "deviations; 0: only where they are not finite"),
    ROW_INT(T, "train.skip_window", skip_window, "steps", "128", 8, 65536, NULL,
            "over which mean and deviation are taken; nothing is skipped before it is full"),
    ROW_INT(T, "train.max_skips", max_skips, "steps", "50", 1, 1e6, NULL,
            "skipped in a row after which the run gives up"),

    ROW_ENUM(
        T, "cluster.layout", layout, "given", layouts, NULL,
        "given: by the keys below; auto: of all layouts of the ranks that were started the one "
        "that is predicted to be fastest on this machine, which bench-machine has measured"),
    ROW_INT(
        T, "cluster.dp", dp, "ranks", "0", 0, 1 << 20, "4",
        "data parallel: ranks, or groups of tp x pp ranks, that share the rows of a step; 0: as "
        "many as mpirun or srun started"),
    ROW_INT(T, "cluster.tp", tp, "ranks", "1", 1, 1 << 10, "2",
            "tensor parallel: ranks that share attention heads and hidden units of the same rows"),
    ROW_INT(T, "cluster.pp", pp, "ranks", "1", 1, 1 << 10, "2",
            "pipeline parallel: ranks that share the layers; wants several microbatches a step"),
    ROW_INT(T, "cluster.ep", ep, "ranks", "1", 1, MODEL_MAX_EXPERT_SIZE, "2",
            "expert parallel: of the dp ranks so many divide the experts of each layer, and send "
            "each other the rows for them"),
    ROW_INT(T, "cluster.zero", zero, NULL, "1", 0, 2, "2",
            "what each of dp ranks keeps of its part only: 0: nothing; 1: masters and moments; 2: "
            "gradients, too; the results are the same bits"),
    ROW_BOOL(T, "cluster.bind", bind, "true",
             "deal the CPUs of a machine out to its ranks, where the launcher has not"),
    ROW_REAL(
        T, "cluster.timeout", timeout_s, "s", "1800", 0, 1e6, NULL,
        "that a rank waits for a message of another; longer is an error that names it, and what "
        "every rank was at is in the run folder's stacks/; 0: for ever"),

    ROW_INT(
        T, "cluster.check_every", check_every, "steps", "0", 0, MANY, "100",
        "between checks for silent corruption: each of dp ranks computes another one's gradients "
        "of a step once more, which must be the same bits; what is wrong is undone back to the "
        "last check; 0: never"),

    ROW_ENUM(T, "optimizer.kind", optimizer, "adamw", optimizers, NULL,
             "muon: matrices and experts by Muon, the rest by AdamW"),
    ROW_REAL(T, "optimizer.lr", lr, NULL, "0.002", 0, 10, NULL,
             "peak learning rate of AdamW at width 512; each tensor's muP multiplier comes on top"),
    ROW_REAL(T, "optimizer.beta1", beta1, NULL, "0.9", 0, 0.999999, NULL,
             "AdamW: decay of the mean"),
    ROW_REAL(T, "optimizer.beta2", beta2, NULL, "0.95", 0, 0.999999, NULL,
             "AdamW: decay of the square"),
    ROW_REAL(T, "optimizer.eps", eps, NULL, "1e-8", 1e-30, 1, NULL, "AdamW: added to the root"),
    ROW_REAL(T, "optimizer.weight_decay", weight_decay, NULL, "0.1", 0, 10, NULL,
             "decoupled, times the learning rate; not on norms, embedding and head"),
    ROW_BOOL(T, "optimizer.mup", mup, "true", "use the tensors' muP learning-rate multipliers"),
    ROW_REAL(T, "optimizer.muon_lr", muon_lr, NULL, "0.02", 0, 10, NULL,
             "peak learning rate of Muon; the update of a matrix is orthogonal times "
             "sqrt(max(1, out / in))"),
    ROW_REAL(T, "optimizer.muon_momentum", muon_momentum, NULL, "0.95", 0, 0.999999, NULL,
             "Muon: Nesterov momentum"),
    ROW_INT(T, "optimizer.muon_steps", muon_steps, NULL, "5", 1, 20, NULL,
            "Muon: Newton-Schulz iterations"),

    ROW_ENUM(T, "schedule.kind", schedule, "cosine", schedules, NULL,
             "after the warm-up; wsd: constant, then down by 1 - sqrt over decay_tokens"),
    ROW_INT(T, "schedule.warmup_tokens", warmup_tokens, "tokens", "0", 0, MANY, NULL,
            "linear from 0"),
    ROW_INT(T, "schedule.decay_tokens", decay_tokens, "tokens", "0", 0, MANY, NULL,
            "wsd: length of the decay at the end; 0: a fifth of train.tokens"),
    ROW_REAL(T, "schedule.final_lr_fraction", final_lr_fraction, NULL, "0.1", 0, 1, NULL,
             "of the peak learning rate, at the end"),

    ROW_ENUM(T, "balance.kind", balance, "quantile", balances, NULL,
             "of the experts' load: auxiliary loss; selection biases that move in fixed steps, or "
             "that give each expert its share of every microbatch; or not at all"),
    ROW_REAL(T, "balance.bias_rate", bias_rate, NULL, "0.001", 0, 1, NULL,
             "bias: step by which an expert's selection bias moves after each update"),
    ROW_REAL(T, "balance.quantile_rate", quantile_rate, NULL, "0.2", 0, 1, NULL,
             "quantile: share of the way that the biases which are kept go to a step's"),

    ROW_INT(T, "log.every", log_every, "steps", "10", 1, MANY, NULL, "between log lines"),
    ROW_INT(T, "log.valid_every", valid_every, "steps", "100", 0, MANY, NULL,
            "between validations, and at the end; 0: never"),
    ROW_REAL(T, "log.peak_seconds", peak_seconds, "s", "0.5", 0, 60, NULL,
             "spent at the start on measuring the peak that MFU refers to; 0: MFU is not shown"),
    ROW_INT(T, "log.timeline_every", timeline_every, "steps", "100", 0, MANY, NULL,
            "between steps that are recorded for `colossus plot --timeline`, beside the third; 0: "
            "none"),

    ROW_INT(T, "checkpoint.every", checkpoint_every, "steps", "200", 0, MANY, NULL,
            "between checkpoints; one is always saved at the end; 0: only there"),
    ROW_INT(T, "checkpoint.keep_last", keep_last, NULL, "2", 0, 1e6, NULL,
            "newest checkpoints that are kept, not counting those saved while updates are skipped; "
            "0: all"),
    ROW_INT(T, "checkpoint.keep_every", keep_every, "steps", "0", 0, MANY, NULL,
            "a checkpoint of a step that is a multiple is kept for ever; 0: none"),
    ROW_INT(
        T, "checkpoint.copy_every", copy_every, "steps", "0", 0, MANY, "10",
        "between copies of the state in memory, of this node and of another one, from which a run "
        "that lost a rank goes on; 0: none"),
};
/* clang-format on */
const size_t train_run_n_rows = ARRAY_LEN(train_run_rows);
const struct section train_run_section = SECTION("run file", "runs", NULL, train_run_rows);
_Static_assert(ARRAY_LEN(train_run_rows) <= TRAIN_MAX_KEYS, "raise TRAIN_MAX_KEYS");
