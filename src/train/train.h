/* train.h: a training run, on one process or many: run file, loop, optimisers, schedules, checkpoints,
 * metrics and events.
 *
 * A run is a folder (layout: docs/ARCHITECTURE.md, "Files that outlive a process"). Everything that
 * shows a run reads only events.jsonl and metrics.jsonl. */
#ifndef COLOSSUS_TRAIN_H
#define COLOSSUS_TRAIN_H

#include "base/base.h"
#include "cluster/cluster.h"
#include "model/model.h"
#include "text/text.h"

/* ------------------------------------------------------------------ run file (train_config.c) */

enum train_precision { TRAIN_PRECISION_AUTO, TRAIN_PRECISION_FP32, TRAIN_PRECISION_BF16 };
enum train_optimizer { TRAIN_OPTIMIZER_ADAMW, TRAIN_OPTIMIZER_MUON };
enum train_schedule { TRAIN_SCHEDULE_COSINE, TRAIN_SCHEDULE_WSD, TRAIN_SCHEDULE_CONSTANT };
enum train_balance {
    TRAIN_BALANCE_AUX,
    TRAIN_BALANCE_BIAS,
    TRAIN_BALANCE_QUANTILE,
    TRAIN_BALANCE_NONE
};

enum train_layout_choice { TRAIN_LAYOUT_GIVEN, TRAIN_LAYOUT_AUTO };

/* Every key of RUN.yaml; the table train_run_rows documents each (key, type, unit, default,
 * bounds) and is the only place where defaults stand. */
struct train_config {
    const char *name; /* of the run folder; "": the run file's name without .yaml */
    const char *dir;  /* where run folders live */

    /* data.* */
    const char *data_path; /* a dataset folder (colossus data tokenize) */
    bool document_mask;
    bool verify;          /* every shard's hash is checked at the start */
    int64_t valid_tokens; /* per validation; 0: the whole split */

    /* model.*: sizes; vocab_size 0 is taken from the dataset */
    const char *preset; /* "" or presets/models/<preset>.yaml */
    struct model_config model;

    /* batch.* */
    int64_t seq_len, micro_batch, global_batch; /* tokens, rows, rows */

    /* train.* */
    int64_t tokens; /* the run's length */
    int64_t max_steps;
    int64_t seed, threads;
    const char *start_from; /* a model whose weights are the first; "": random ones */
    int precision, backend, recompute;
    double grad_clip, skip_sigma;
    int64_t skip_window, max_skips;

    /* cluster.* */
    int layout;          /* enum train_layout_choice */
    int64_t dp;          /* ranks that share the rows of a step; 0: all that were started */
    int64_t tp;          /* ranks that share heads and hidden units of the same rows */
    int64_t pp;          /* ranks that share the layers */
    int64_t ep;          /* of dp ranks, those that share the experts of a layer */
    int64_t zero;        /* 1: each keeps its part of masters and moments; 2: of gradients, too */
    int64_t check_every; /* steps between checks of each rank's results by another; 0: none */
    bool bind;           /* each rank to CPUs of its own */
    double timeout_s;    /* that a rank waits for another */

    /* optimizer.* */
    int optimizer;
    double lr, beta1, beta2, eps, weight_decay;
    bool mup;
    double muon_lr, muon_momentum;
    int64_t muon_steps;

    /* schedule.* */
    int schedule;
    int64_t warmup_tokens, decay_tokens;
    double final_lr_fraction;

    /* balance.* */
    int balance;
    double bias_rate, quantile_rate;

    /* log.* and checkpoint.* */
    int64_t log_every, valid_every;                  /* steps */
    int64_t timeline_every;                          /* steps between recorded ones; 0: none */
    double peak_seconds;                             /* spent on measuring the machine's peak */
    int64_t checkpoint_every, keep_last, keep_every; /* steps; checkpoints; steps */
    int64_t copy_every;                              /* steps between copies in memory; 0: none */
};
extern const struct option train_run_rows[];
extern const struct section train_run_section; /* of them */
extern const size_t train_run_n_rows;

#define TRAIN_MAX_KEYS 128
struct train_run_file {
    struct train_config config;
    uint8_t origins[TRAIN_MAX_KEYS]; /* enum option_origin per row */
    const char *path;                /* of the run file, for messages and origins */
    struct arena arena;
};
/* Where a configuration is read from. */
struct train_run_text {
    const char *path; /* of the file, or what stands for it in messages */
    const char *text; /* [size]; NULL: the file's */
    size_t size;
    const char *const *overrides; /* [n_overrides] "key=value" of --set, over the file */
    size_t n_overrides;
};
/* Reads and checks a run file. Errors: ERROR_CONFIG with file, line and the nearest valid key. *out
 * needs train_config_free after success only. */
int train_config_load(const struct train_run_text *from, struct train_run_file *out,
                      struct error *e);
void train_config_free(struct train_run_file *f);
/* The run's last step, where `step` of them with that many tokens are done. */
int64_t train_config_total_steps(const struct train_config *c, int64_t step, int64_t tokens);
/* The configuration as YAML that train_config_load reads back, each value with its origin. */
void train_config_print(const struct train_run_file *f, struct str *out);

/* ------------------------------------------------------------------ optimiser (train_optim.c) */

typedef struct train_optim train_optim_t;
struct train_shares; /* train_internal.h: the part that this rank updates; NULL: all of it */
/* State is allocated at once: AdamW m and v (Muon matrices: momentum only) and Muon's scratch. */
size_t train_optim_bytes(const struct param_table *t, const struct train_config *c,
                         const struct train_shares *shares, int threads);
/* NULL where there is no memory. c and m outlive it; cfg is copied.
 * tensor: the ranks that divide matrices, which Muon needs whole; NULL: this one has them whole. */
train_optim_t *train_optim_new(compute_t *c, model_t *m, const struct train_config *cfg,
                               const struct train_shares *shares, group_t *tensor);
void train_optim_free(train_optim_t *o);
/* One update of the model's masters: learning rates times lr_fraction (the schedule's value, 0 to
 * 1) times each tensor's muP multiplier; gradients times grad_scale (clipping). update counts
 * from 1, for the bias correction. Calls model_weights_changed where all of it was updated. */
void train_optim_step(train_optim_t *o, double lr_fraction, int64_t update, double grad_scale);
/* Flat state for checkpoints, laid out as the parameter table, [params->total] each. v has zeros
 * for the matrices that Muon updates (train_optim_uses_v). */
float *train_optim_m(train_optim_t *o);
float *train_optim_v(train_optim_t *o);
bool train_optim_uses_v(const struct train_config *c, const struct param *p);

/* ------------------------------------------------------------------ the run (train_run.c) */

struct train_hooks; /* train_internal.h: faults that tests inject */
struct train_options {
    bool no_resume;      /* a run folder that exists is an error, not something to continue */
    bool restart;        /* a run folder that exists is put aside, and the run begins anew */
    int64_t go_back;     /* continue from that step's checkpoint and delete newer ones; 0: no */
    bool allow_changes;  /* continue although keys other than the data's and the model's differ */
    bool plan_only;      /* print the memory table and stop */
    bool dry_run;        /* check everything, say what would be done, and write nothing */
    bool json;           /* plan, dry run and summary as JSON on out; log lines to standard error */
    const char *run_dir; /* NULL: <dir>/<name> of the run file */
    FILE *out;           /* NULL: standard output */
    cluster_t *cluster;  /* the ranks of the run; NULL: this process alone */
    cluster_watch_t *watch;          /* who watches this rank; NULL: nobody */
    const struct train_hooks *hooks; /* NULL but in tests */
};
/* Trains to the end (returns 0), or until SIGTERM, SIGHUP or SIGINT (ERROR_AGAIN, state saved). */
int train_run(struct train_run_file *f, const struct train_options *o, struct error *e);
/* From here on SIGTERM, SIGHUP and SIGINT end the run that train_run is about to be, in good order;
 * until it is, a second one kills. For what takes long before it: the start of many ranks. */
void train_signals_expect(void);
/* The folder of a run: run_dir, or NULL for the run file's own. In *a. */
const char *train_run_dir(const struct train_run_file *f, const char *run_dir, struct arena *a);
/* An error while a process writes checkpoints there. */
int train_run_check_idle(const char *run_dir, struct error *e);

/* ------------------------------------------------------------------ what became of a run
 * (show/train_status.c): everything is read from the two .jsonl files of its folder. */

enum train_state {
    TRAIN_STATE_NEW,     /* nothing was written yet */
    TRAIN_STATE_RUNNING, /* a process is at work in the folder */
    TRAIN_STATE_FINISHED,
    TRAIN_STATE_STOPPED, /* in good order; the same command goes on */
    TRAIN_STATE_FAILED,  /* it said why */
    TRAIN_STATE_BROKEN   /* it ended without a word: killed, or the power went */
};
extern const char *const train_state_names[];
enum train_cause { /* of time that brought no step */
                   TRAIN_LOST_DEATH,
                   TRAIN_LOST_FROZEN,
                   TRAIN_LOST_HANG,
                   TRAIN_LOST_STRAGGLER,
                   TRAIN_LOST_CORRUPT,
                   TRAIN_LOST_FAILED, /* ended by an error, or never started */
                   TRAIN_LOST_START,  /* the first start of each launcher */
                   TRAIN_LOST_QUEUE,  /* nobody was at work */
                   TRAIN_LOST_VALIDATION,
                   TRAIN_LOST_OTHER, /* checkpoints, what is not known */
                   TRAIN_LOST_CAUSES
};
extern const char *const train_cause_names[];
struct train_incident { /* a rank that was lost. Strings live in the arena. */
    const char *time, *why, *node, *operation, *text, *action;
    enum train_cause cause;
    int64_t rank, attempt, step;            /* -1: not known */
    double detect_s, restart_s, rollback_s; /* NAN: it did not go on, or not yet */
    double lost_s; /* all of it that brought no step, as far as that is known; NAN: not */
};
struct train_status {
    enum train_state state;
    const char *dir;
    int64_t step, total_steps, tokens, ranks; /* -1: not known */
    double valid_nats;                        /* of the newest validation */
    double loss, valid_bits_per_byte, tokens_per_s, mfu,
        step_s; /* of the last step; NAN: not known */
    double load_max_mean, load_entropy;
    int64_t checkpoint_step; /* -1: none */
    double checkpoint_age_s;
    int64_t launches, restarts, skipped;
    struct train_incident *incidents; /* [n_incidents], in the order in which they happened */
    size_t n_incidents;
    const char *end_text;         /* what the last line of all says of why it ended; or NULL */
    double total_s, productive_s; /* from the first line on, and of the steps that count */
    double last_s; /* since 1970, up to which total_s counts: now, of a run at work */
    double lost_s[TRAIN_LOST_CAUSES];
    const char *const *events; /* [n_events] the last lines for people: "12:03:04 rank 1 ..." */
    size_t n_events;
    double grad_norm, lr,
        wait_share;            /* wait_share: of a step, that rank 0 stood still for others */
    double silent_s;           /* of a run at work: since its last step; NAN: not known */
    const double *rank_busy_s; /* [n_rank_busy] each rank's own part of the last step told */
    size_t n_rank_busy;
    const double *losses; /* [n_losses] of every step, freed by train_status_free */
    size_t n_losses;
};
/* dir: of the run, or a path below it. In *a. */
int train_status_read(const char *dir, struct arena *a, struct train_status *out, struct error *e);
void train_status_free(struct train_status *s); /* losses; what is in the arena stays */
/* Whether a run at work has not ended a step for much longer than its last one took. */
bool train_status_is_silent(const struct train_status *s);
double train_status_goodput(const struct train_status *s); /* 0 to 1; NAN: not known */
void train_status_print(const struct train_status *s, FILE *out);
void train_status_json(const struct train_status *s, struct json_writer *w); /* members */
/* One screen of `colossus top`, of so many columns and lines, each ended by '\n' (show/train_top.c). */
void train_top_draw(const struct train_status *s, int width, int height, struct str *out);
/* Every loss, and why the run ended. */
void train_why_print(const struct train_status *s, FILE *out);
void train_why_json(const struct train_status *s, struct json_writer *w);

/* ------------------------------------------------------------------ pages (page/train_page.c) */

/* A run folder as JSON, appended to *out; live: a server is behind its page, which asks for newer JSON
 * (run.json) every second or so. */
int train_page_json(const char *dir, bool live, struct str *out, struct error *e);
/* The page of that JSON, which stands alone. */
void train_page(const char *dir, const struct str *json, struct str *out);
extern const char train_page_hash[]; /* of its script, for http_page_policy */

/* ------------------------------------------------------------------ plots (train_plot.c) */

/* Reads metrics.jsonl of a run folder: prints loss curves in the terminal (out NULL: not) and
 * writes loss.svg and throughput.svg into the folder. */
int train_plot(const char *run_dir, FILE *out, struct error *e);
/* The step that was recorded last, of every rank: a table in the terminal (out NULL: none) and
 * timeline.svg in the folder. An error where none was recorded. */
int train_plot_timeline(const char *run_dir, FILE *out, struct error *e);

/* ------------------------------------------------------------------ golden (train_golden.c) */

struct train_golden_options {
    enum compute_dtype dtype;
    enum compute_backend backend;
    int threads;
    bool json;
    const char *layout; /* "tp=2,zero=1"; NULL: dp of all ranks */
    cluster_t *cluster; /* the ranks; NULL: this process alone */
};
enum { TRAIN_GOLDEN_RANKS_MAX = 4096 };
/* Whether so many ranks, laid out so (NULL: dp of all), can compare with a golden folder; starts
 * none. */
int train_golden_check_layout(const char *dir, const char *layout, int ranks, struct error *e);
/* What a rank of a layout takes of memory and sends in a step, without starting any. */
struct train_layout_cost {
    double bytes, sent_bytes;
    int64_t vocab_size; /* the dataset's, where the run file leaves it out */
};
/* Of rank 0 of `ranks`, laid out as c says. ERROR_CONFIG: the model, the batch or the number of ranks
 * does not allow that. */
int train_layout_cost(const struct train_config *c, int ranks, struct train_layout_cost *out,
                      struct error *e);
/* How many ranks a layout is of, or `wanted` (0: none are), where data parallel ranks make up for what
 * it leaves out. Negative: it says what is no key of `cluster`, or no value, or is of another number. */
int train_layout_ranks(const char *layout, int wanted, struct error *e);
/* Compares with a golden folder, by all ranks, and prints the table on the first; 0 when every bound
 * holds. What is wrong with a folder is the same error on all ranks. */
int train_check_golden(const char *dir, const struct train_golden_options *o, FILE *out,
                       struct error *e);

/* ------------------------------------------------------------------ finished models
 * A checkpoint folder is also a model: config.json, tokenizer.json (or .model) and
 * weights.safetensors lie in it. `path` may be a run folder (its newest valid checkpoint), a
 * checkpoint folder, or a folder with config.json and weights (golden, exported). */
struct train_model_paths {
    /* In the arena. weights may stand for parts of it (safetensors_set_open); tokenizer: NULL where
     * there is none. */
    char *config, *weights, *tokenizer;
    int64_t step; /* -1: unknown */
};
int train_find_model(const char *path, struct arena *a, struct train_model_paths *out,
                     struct error *e);

#endif
