/* train_internal.h: what the files of a run share. */
#ifndef COLOSSUS_TRAIN_INTERNAL_H
#define COLOSSUS_TRAIN_INTERNAL_H

#include "train/train.h"
#include "train/checkpoint/train_checkpoint_internal.h"

#include <signal.h>

/* ------------------------------------------------------------------ train_config_check.c */

struct train_config_source { /* for messages that name a line */
    const char *name;
    const struct yaml_node *root;
    const uint8_t *origins; /* per row of train_run_rows */
};
/* Fills what the file left to be derived and marks it ORIGIN_DERIVED. */
void train_config_derive(struct train_run_file *f);
/* Relations between keys. */
int train_config_check(const struct train_run_file *f, const struct train_config_source *s,
                       struct error *e);
/* Steps for so many tokens: tokens / (global_batch * seq_len), rounded up. */
int64_t train_config_steps(const struct train_config *c, int64_t tokens);
int64_t train_config_step_tokens(const struct train_config *c);
/* Microbatches of one step on each rank; c->dp is settled. */
int64_t train_config_microbatches(const struct train_config *c);
/* Whether a run may be continued with another value of that key: it changes where and how long,
 * but no number of any step. */
bool train_config_may_change(const char *key);
/* Whether a run can never be continued with another value: its saved state would not fit. */
bool train_config_is_fixed(const char *key);
/* Keys that differ and may not, as "key: old, now new; ..." in *out; returns their number, and in
 * *n_fixed how many of them are fixed. */
size_t train_config_differences(const struct train_config *was, const struct train_config *now,
                                struct str *out, size_t *n_fixed);

/* ------------------------------------------------------------------ train_schedule.c */

/* Share of the peak learning rate, 0 to 1, for the update that ends at token `tokens`. */
double train_schedule_fraction(const struct train_config *c, int64_t tokens);

/* ------------------------------------------------------------------ train_shares.c */

struct train_range {
    size_t first, count; /* floats of the flat arrays */
};
struct train_bucket {
    size_t first_row, n_rows; /* of the parameter table */
    size_t offset, count;     /* floats, padding included */
    bool experts;             /* of experts that are divided: among the ranks that have the same */
    int rank, size;           /* of the group that it is dealt out to, and this rank in it */
    size_t *bounds;           /* [size + 1] from offset on: rank r's part is [r] .. [r + 1] */
};
struct train_ranks;
struct train_shares {
    struct train_bucket *buckets; /* in the order of the table, without gaps */
    size_t n;
    size_t own;     /* floats of this rank's part, over all buckets */
    size_t largest; /* floats of the largest bucket */
};
/* Of what this rank's layout gives it, t, dealt out to the ranks that hold the same; in *a. No matrix
 * that Muon updates is cut. */
void train_shares_build(const struct param_table *t, const struct train_config *c,
                        const struct train_ranks *ranks, struct arena *a, struct train_shares *s);
/* This rank's part of a bucket. */
struct train_range train_shares_own(const struct train_shares *s, size_t bucket);
/* What of [first, first + count), which lies in one bucket, is this rank's; s NULL: all of it. */
struct train_range train_shares_clip(const struct train_shares *s, size_t first, size_t count);

/* ------------------------------------------------------------------ train_muon.c */

/* Muon for every matrix and expert of a parameter table. */
typedef struct train_muon train_muon_t;
/* shares NULL: of all matrices. */
size_t train_muon_bytes(const struct param_table *t, const struct train_shares *shares,
                        int threads);
struct train_muon_options {
    const struct train_config *config;
    const struct train_shares *shares; /* NULL: all matrices */
    group_t *tensor; /* whose ranks have the other parts of divided ones; NULL: none are divided */
};
/* NULL where there is no memory. c and the group outlive it. */
train_muon_t *train_muon_new(compute_t *c, const struct param_table *t,
                             const struct train_muon_options *o);
/* What a rank of a tensor-parallel group of `size` sends in a step. */
uint64_t train_muon_sends(const struct param_table *t, const struct train_shares *shares, int size);
void train_muon_free(train_muon_t *m);
/* Whether a parameter is Muon's: a matrix, or a stack of them. */
bool train_muon_takes(const struct param *p);
/* Flat arrays as in the table; rows that are not Muon's are not touched. */
void train_muon_step(train_muon_t *m, double lr, double grad_scale, const float *gradients,
                     float *momenta, float *weights);

/* ------------------------------------------------------------------ train_guard.c
 * Whether an update is fit to be applied. */

struct train_guard {
    double sigma;
    int64_t window;
    int64_t count;       /* values seen, accepted and skipped */
    double *loss, *norm; /* [window] rings, part of every checkpoint */
};
enum train_verdict {
    TRAIN_UPDATE_GOOD,
    TRAIN_UPDATE_NOT_FINITE,
    TRAIN_UPDATE_LOSS,
    TRAIN_UPDATE_NORM
};
void train_guard_init(struct train_guard *g, double sigma, int64_t window, struct arena *a);
/* Judges a step by the window before it, then takes it into the window where it is finite. */
enum train_verdict train_guard_judge(struct train_guard *g, double loss, double norm);
const char *train_verdict_text(enum train_verdict v);

/* ------------------------------------------------------------------ train_ranks.c */

enum train_group {
    TRAIN_GROUP_DATA,    /* other rows, the same part of the model, but for divided experts */
    TRAIN_GROUP_TWINS,   /* of these, the ranks with the same experts */
    TRAIN_GROUP_EXPERTS, /* of these, the ranks that divide the experts */
    TRAIN_GROUP_TENSOR,  /* the same rows and layers, other heads and hidden units */
    TRAIN_GROUP_STAGES,  /* the same rows, other layers */
    TRAIN_GROUP_ENDS,    /* of these, the first and the last; of the others each alone */
    TRAIN_GROUP_FORTH,   /* this stage and the one behind it, where that is there */
    TRAIN_GROUP_BACK,    /* this stage and the one in front */
    TRAIN_GROUPS
};
enum { TRAIN_TURNS = 2 };
struct train_ranks {
    cluster_t *cluster;     /* NULL: this process alone, or a plan */
    cluster_watch_t *watch; /* who is told where this rank is; NULL: nobody */
    group_t *world;
    int rank, size, local_size;
    /* The layout: of how many ranks each group is, and which of them this is. Rank r of the job is
     * (stage * dp + data) * tp + tensor; ranks that divide experts follow each other in data. */
    int dp, tp, pp, ep;
    int data, tensor, stage;
    group_t *groups[TRAIN_GROUPS]; /* NULL without a cluster */
    /* For checks: the data group with its ranks in the order of the rows that they take when each does
     * those of the next one, and of the one behind that; NULL: there are no checks. */
    group_t *turned[TRAIN_TURNS];
};
struct train_ranks train_ranks_of(cluster_t *c); /* no layout yet; NULL: this process alone */
/* For a plan: rank 0 of as many as the configuration asks for, whatever was started. */
struct train_ranks train_ranks_planned(const struct train_ranks *started,
                                       const struct train_config *c);
bool train_ranks_lead(const struct train_ranks *r);
/* "tp=2,zero=1": values of keys of `cluster`, into *c. */
int train_ranks_read_layout(const char *layout, struct train_config *c, struct error *e);
/* Whether the ranks that were started can train that configuration, and how they are laid out; settles
 * c->dp. Of every rank at once: groups are made, which train_ranks_close frees. */
int train_ranks_arrange(struct train_ranks *r, struct train_config *c, struct error *e);
/* Whether the vocabulary, which is known behind train_data_open, is large enough for tp. */
int train_ranks_check_vocabulary(const struct train_config *c, struct error *e);
void train_ranks_close(struct train_ranks *r);
int train_ranks_group_size(const struct train_ranks *r, enum train_group g);
int train_ranks_group_rank(const struct train_ranks *r, enum train_group g);
/* Whether of what several ranks of a tensor-parallel group, or the ends of a pipeline, hold alike this
 * rank's counts: it is written, measured and looked at once. */
bool train_ranks_counts(const struct train_ranks *r, const struct param *p);
/* "dp 2, tp 2, pp 1, ep 1", in text; returns it. */
const char *train_ranks_text(const struct train_ranks *r, char text[96]);
/* What of the model this rank holds. */
struct model_shard train_ranks_shard(const struct train_ranks *r, const struct model_config *m);
int train_ranks_threads(const struct train_ranks *r); /* where none are told */
/* Called by every rank, each with how it fared: 0 or more where all did well. Otherwise a negative
 * code for all; *e tells what went wrong on the rank where it did, and its text is empty elsewhere. */
int train_ranks_settle(const struct train_ranks *r, int rc, struct error *e);
/* Sums over the ranks, each row and layer once. loads: of s->load. */
enum { TRAIN_STATS_SUMS = 5 }; /* numbers beside the loads */
int train_ranks_sum_stats(const struct train_ranks *r, struct model_stats *s, size_t n_loads,
                          struct error *e);
/* *value becomes rank 0's. */
int train_ranks_share_int(const struct train_ranks *r, int64_t *value, struct error *e);

/* ------------------------------------------------------------------ train_reduce.c */

struct train_reduce {
    const struct train_ranks *ranks;
    const struct train_shares *shares;
    const struct param_table *params;
    bool tied;     /* the table is in the first stage and in the last */
    int zero;      /* cluster.zero; 0 where there is one rank */
    bool checks;   /* some steps are checked: then a rank has all its gradients at once */
    bool releases; /* gradients of other ranks' parts go back to the system within the step */
    bool running;  /* in the backward pass whose gradients are summed */
    bool checked;  /* gradients of this pass are hashed, before they are summed */
    int turn; /* of a pass over another rank's rows, which are not summed: 1 or 2; 0: it is not */
    uint64_t hash; /* of the checked gradients of this rank */
    float *gradients;
    struct group_ticket *tickets; /* [buckets] */
    size_t *order;                /* [buckets] as they were started */
    size_t n_started, n_done;
    model_t *model;           /* whose weights are on their way; NULL: none are */
    size_t n_asked, n_taken;  /* buckets of weights, in the order of the table */
    bool packs;               /* what products read goes as they read it: in bfloat16 */
    uint8_t *packed[2];       /* of the buckets on their way, by turns; NULL before the first */
    size_t *packed_bounds[2]; /* [dp + 1] bytes */
    double *squares;          /* [ranks] */
};
/* All outlive it. */
void train_reduce_init(struct train_reduce *r, const struct train_ranks *ranks,
                       const struct train_shares *shares, const struct param_table *params,
                       const struct train_config *c, struct arena *a);
/* Around the backward pass of a step's last microbatch, by a model with train_reduce_hooks. Behind
 * it this rank's part, with zero 0 all, holds the sum over the ranks. */
void train_reduce_begin(struct train_reduce *r, float *gradients);
/* The hooks of the model of a run of more ranks than one; none of one. */
struct model_hooks train_reduce_hooks(struct train_reduce *r);
int train_reduce_end(struct train_reduce *r, struct error *e);
/* The norm of all gradients, of more ranks than one: the same for each of them. */
int train_reduce_norm(struct train_reduce *r, compute_t *c, double *norm, struct error *e);
/* With zero 1 and 2: every part of the weights from the rank that has it, to the copies that products
 * work on: begun, so that the next forward pass takes each layer's when it needs them; or done. And
 * the initial weights, likewise. */
void train_reduce_gather_ahead(struct train_reduce *r, model_t *m);
int train_reduce_gather(struct train_reduce *r, model_t *m, struct error *e);
/* Takes what is still on its way: before the model is read otherwise, or freed. */
int train_reduce_settle(struct train_reduce *r, struct error *e);
void train_reduce_close(struct train_reduce *r); /* the same, and the memory for it */
/* Every part of a flat array (weights, gradients) from the rank that keeps it; it stays whole. */
int train_reduce_complete(struct train_reduce *r, float *flat, struct error *e);
/* All weights anew: `fill` gives those of a row of the table, as this rank holds them. */
typedef int train_fill_fn(void *ctx, model_t *m, size_t row, float *out, struct error *e);
int train_reduce_set_weights(struct train_reduce *r, model_t *m, train_fill_fn *fill, void *ctx,
                             struct error *e);
void train_reduce_init_weights(struct train_reduce *r, model_t *m, uint64_t seed);
struct train_reduce_memory { /* floats of this rank */
    size_t masters, read,
        passing; /* own masters; others' that are read in fp32, or pass through, with
                                      the form in which they come */
    size_t gradients, in_flight; /* kept; others' that are not given back yet */
};
void train_reduce_plan(const struct train_reduce *r, bool tied, struct train_reduce_memory *m);
struct train_traffic { /* bytes that this rank sends in a step */
    uint64_t gradients, weights, tensor, experts, stages, verdict;
};
/* Of a sum that rank `rank` of `size` takes part in. */
uint64_t train_sum_sends(size_t n, enum group_dtype dtype, int rank, int size);
/* Of gradients, weights and the norm. */
void train_reduce_traffic(const struct train_reduce *r, struct train_traffic *t);

/* ------------------------------------------------------------------ train_passes.c */

/* The microbatches of a step through this rank's part of the model, and whole passes of others. */
struct train_passes {
    const struct train_ranks *ranks;
    model_t *model;
    struct train_reduce *reduce;
    model_slot_t **slots; /* [depth], the first the model's own */
    int depth;            /* microbatches between forward and backward at once */
    float *forth[2];      /* [B, T, D] residual that comes in and goes out */
    float *back[2];  /* and its gradient: that comes in from behind, that goes out to the front */
    size_t width;    /* D */
    size_t residual; /* floats of each */
    size_t went[3], came[3]; /* of an exchange with a neighbour */
};
/* n: microbatches of a step on this rank. model, ranks and reduce outlive it. */
int train_passes_open(struct train_passes *p, model_t *m, struct train_reduce *reduce,
                      const struct train_config *c, struct error *e);
void train_passes_close(struct train_passes *p);
/* Beside the model's own memory. */
size_t train_passes_bytes(const struct train_ranks *r, const struct train_config *c,
                          size_t slot_bytes);
/* Gradients of n microbatches, each by `scale`; those of the last one's backward pass are summed under
 * it. Losses are added to *s. An error of a rank's message is told here. */
int train_passes_train(struct train_passes *p, const struct model_batch *b, int64_t n, double scale,
                       struct model_stats *s, struct error *e);
/* A forward pass alone, of all ranks at the same time. s NULL: only so that others can go on. */
int train_passes_evaluate(struct train_passes *p, const struct model_batch *b,
                          struct model_stats *s, struct error *e);
/* What the passes of a step send. */
void train_passes_traffic(const struct train_ranks *r, const struct train_config *c,
                          struct train_traffic *t);

/* ------------------------------------------------------------------ train_data.c */

struct train_data {
    dataset_t *train, *valid; /* valid NULL: the dataset has none, or none is wanted */
    tokenizer_t *tokenizer;   /* NULL where the dataset keeps no copy */
    loader_t *loader;
    loader_t *turned[TRAIN_TURNS]; /* of other ranks' rows, for checks; NULL: there are none */
    int64_t B, T;
    int rank, n_ranks;           /* batches of a validation are dealt out in turn */
    int64_t n;                   /* microbatches of a step on this rank */
    uint32_t *inputs, *targets;  /* [n, B, T] */
    int32_t *doc_start;          /* [n, B, T]; NULL: no document masking */
    struct model_batch *batches; /* [n] of them */
    uint32_t *span;              /* [T + 1] */
    double bytes_per_token;      /* of the training split, to give its loss in bits per byte too */
    uint64_t valid_tokens, valid_bytes; /* of what a validation scores */
};
/* Opens the splits and the loader; the model's vocabulary (0: the dataset's) is settled here. On
 * failure nothing is left open. */
int train_data_open(struct train_config *c, const struct train_ranks *ranks, struct train_data *d,
                    struct error *e);
void train_data_close(struct train_data *d);
size_t train_data_bytes(const struct train_config *c); /* of the batch arrays; c->dp is settled */
/* Reads the microbatches of the next step. */
int train_data_next(struct train_data *d, struct error *e);
/* Those of the rank `turn` places further (1 or 2), of the step that begins at the cursor. */
int train_data_of(struct train_data *d, int turn, struct loader_cursor cursor, struct error *e);

/* Every token of the span once, in order; the first is predicted from EOS. Of many ranks each takes
 * its share, and the sums of all are still to be added. 1: done; 0: stopped
 * early, because *stop became true; negative: the split cannot be read. */
int train_data_validate(struct train_data *d, struct train_passes *p,
                        const volatile sig_atomic_t *stop, struct model_stats *stats,
                        struct error *e);
/* nats over `tokens` tokens, as bits per byte of the validation text. */
double train_data_valid_bpb(const struct train_data *d, const struct model_stats *s);

/* ------------------------------------------------------------------ train_log.c */

/* One step, as it goes into metrics.jsonl. NAN: unknown, left out. */
struct train_load {  /* of the worst layer; NAN without experts */
    double max_mean; /* largest load over the mean */
    double entropy;  /* as a share of log E */
};

struct train_record {
    int64_t step, tokens;
    double loss, aux, z, bits_per_byte; /* loss: cross entropy, nats per token */
    double objective;                   /* with the router's losses: what is minimised and judged */
    double grad_norm, lr, muon_lr;
    enum train_verdict verdict;
    double step_s, data_s, tokens_per_s, flops_per_s, mfu;
    struct train_load load;
    int64_t unbalanced; /* steps in a row that the load was out of its band */
    double valid_nll, valid_bits_per_byte, valid_s;
    struct train_load valid_load; /* by the kept selection biases */
    uint64_t allocations;
    double wait_s; /* of many ranks: that this one stood still for others */
    const double
        *rank_busy; /* [n_ranks] what each took for its own part of the step; NULL: not said */
    int n_ranks;
};
struct train_lines { /* one of the two files */
    int fd;
    const char *path;
    int64_t end;   /* bytes of whole lines */
    int64_t start; /* of the last whole line */
    int64_t step;  /* of that line; -1: none */
    bool torn;     /* a part of a line is behind them, and could not be cut off */
    bool shared;   /* a launcher appends lines, too */
    int64_t lost;  /* lines that could not be written since the last that was */
};
struct train_log {
    FILE *out; /* log lines for people */
    struct train_lines metrics, events;
    struct str line;
    struct json_writer json;
    bool out_warned; /* a line for people was lost; said once */
    bool silent;     /* never opened: of a rank that does not lead; every call does nothing */
};
/* Not open yet; train_log_close is allowed. */
void train_log_init(struct train_log *l);
/* Opens both files of a run folder for appending; lines that are not whole are dropped, and lines
 * of metrics.jsonl beyond `step` too. */
int train_log_open(struct train_log *l, const char *run_dir, int64_t step, FILE *out,
                   struct arena *a, struct error *e);
void train_log_close(struct train_log *l);
/* One line of metrics.jsonl; load [n_layers, n_experts] routed slots of each expert, or NULL. */
void train_log_metrics(struct train_log *l, const struct train_record *r, const double *load,
                       int64_t n_layers, int64_t n_experts);
/* Adds the validation of *r to the last line of metrics.jsonl, where that is of step r->step. */
void train_log_amend(struct train_log *l, const struct train_record *r);
/* What a run folder's files say about the step that its newest checkpoint is of. */
struct train_history {
    bool finished;                    /* the last event is that the run finished with that step */
    double loss, valid_bits_per_byte; /* NAN: not known */
};
void train_log_history(const char *run_dir, int64_t step, struct train_history *h);
/* To the disk itself, before a checkpoint that the lines belong to. */
void train_log_sync(struct train_log *l);
/* One line of events.jsonl: begin, members by jsonw_* on the result, end. */
struct json_writer *train_log_event_begin(struct train_log *l, const char *event, int64_t step);
void train_log_event_end(struct train_log *l);
/* The same with one member that is text; NULL: none. */
void train_log_event(struct train_log *l, const char *event, int64_t step, const char *key,
                     const char *text);
/* The line for people. */
void train_log_print(struct train_log *l, const struct train_record *r, int64_t total_steps,
                     double seconds_left);

/* ------------------------------------------------------------------ train_check.c
 * Silent corruption: results that are wrong and look right. */

struct train_session;
/* Hashes that a rank has of its own gradients, of the next one's, and of those two further. */
struct train_opinions {
    uint64_t own, next, third;
};
struct train_check {
    int64_t good;                /* the state of that step was checked */
    bool found;                  /* results of the step in progress were wrong: it was not done */
    int rank;                    /* whose; -1: it cannot be said */
    uint64_t seen;               /* hash of the next rank's gradients, computed here */
    struct loader_cursor cursor; /* where the step in progress begins */
    struct train_opinions *all;  /* [ranks], from the first check on */
    size_t *bounds;              /* [ranks + 1] */
};
/* Whether the next step is one that is checked. */
bool train_check_is_due(const struct train_session *s);
/* Before a checked step, and behind its sums: what another rank computes is computed here, and
 * compared. train_check_end: ERROR_AGAIN where it differs, on all ranks alike. */
int train_check_begin(struct train_session *s, struct error *e);
int train_check_end(struct train_session *s, struct error *e);
/* What the checks of a run need; ERROR_CONFIG where its layout has none to check by. */
int train_check_config(const struct train_config *c, int dp, struct error *e);

/* ------------------------------------------------------------------ train_session.c */

struct train_hooks {
    void *ctx;
    void (*after_gradients)(void *ctx, int64_t step, float *gradients, size_t count);
    void (*after_step)(void *ctx, int64_t step); /* its metrics are written, it is not saved */
};

/* Everything a run holds in memory. */
struct train_session {
    struct train_config c; /* with everything settled */
    struct train_ranks ranks;
    const struct train_hooks *hooks;
    struct arena arena;
    struct pool *pool;
    compute_t *compute;
    struct train_data data;
    struct param_table params; /* of c.model, in the arena */
    model_t *model;            /* NULL before train_session_allocate */
    train_optim_t *optim;
    struct train_guard guard;
    struct model_stats stats; /* of one step; load in the arena */
    double *valid_load;       /* of a validation */
    struct train_shares shares;
    struct train_reduce reduce;
    struct train_passes passes;
    struct ckpt_layout layout;          /* of what this rank saves */
    struct ckpt_layout reads;           /* of what it reads */
    double flops_per_token, peak_flops; /* 0: not measured */

    int64_t total_steps; /* that this call trains up to */
    int64_t step;        /* done */
    int64_t tokens;      /* done; not step times the batch where the batch was changed */
    int64_t updates;     /* applied: step less the skipped */
    int64_t skips_in_row;
    int64_t unbalanced; /* steps in a row with the experts' load out of its band */
    struct train_check check;
};
enum { TRAIN_MEMORY_ROWS = 24 };
/* Settles precision, threads and vocabulary in *c, opens compute and data. No large memory yet:
 * enough for the memory table. */
int train_session_open(struct train_session *s, const struct train_config *c,
                       const struct train_ranks *ranks, struct error *e);
size_t train_session_plan(const struct train_session *s, struct model_memory *rows, size_t cap);
/* What this rank sends in a step; its layout is of several. */
void train_session_traffic(const struct train_session *s, struct train_traffic *t);
uint64_t train_session_sends(const struct train_session *s); /* all of it */
/* The large memory: model, optimiser, initial weights. Refuses what train_plan_check does: mapped
 * memory is promised freely, and taken back by the kernel's kill. */
int train_start(struct train_session *s,
                struct error *e); /* weights of train.start_from (train_start.c) */
int train_session_allocate(struct train_session *s, struct error *e);
/* total_steps from what is done and what is asked for; again after the state was restored. */
void train_session_settle_steps(struct train_session *s);
/* Tokens of the whole run, done and to come. */
int64_t train_session_total_tokens(const struct train_session *s);
void train_session_close(struct train_session *s);
/* Whether experts have a selection bias, which checkpoints then hold. */
static inline bool train_balances_by_bias(const struct train_config *c)
{
    return c->balance == TRAIN_BALANCE_BIAS || c->balance == TRAIN_BALANCE_QUANTILE;
}
/* Whether the load of the worst layer is nearer to collapse than to balance. */
bool train_load_is_unbalanced(const struct model_config *m, const struct train_load *l);
/* Of loads [L, E], or of NULL. */
void train_measure_load(const struct model_config *m, const double *all, struct train_load *out);
/* One step: gradients of the global batch, verdict, update, balancing. Where its data cannot be
 * read, nothing that a checkpoint holds has changed. */
int train_session_step(struct train_session *s, struct train_record *r, struct error *e);

/* ------------------------------------------------------------------ train_state.c */

/* The arrays and small files of a checkpoint that this rank writes, or that it reads (`reads`); data
 * pointers are NULL before allocation (only the sizes count then, for the memory plan). */
void train_state_layout(struct train_session *s, bool reads, struct ckpt_layout *l);
json_t *train_state_to_json(const struct train_session *s);
/* Whether a checkpoint of that state was saved while no update was being skipped. In a row of them
 * the weights stay as they were, and may be what is wrong. */
bool train_state_is_sound(const json_t *state);
/* Counters, cursor; refuses a state of other data, another tokenizer or another model. */
int train_state_from_json(struct train_session *s, const json_t *state, struct error *e);

/* ------------------------------------------------------------------ train_save.c */

struct train_save {
    const struct train_ranks *ranks;
    ckpt_writer_t *writer;
    int64_t step; /* of the checkpoint under way, or of the last one; -1: none */
    enum {
        TRAIN_SAVE_IDLE,
        TRAIN_SAVE_PARTS, /* the ranks write their parts */
        TRAIN_SAVE_COMMIT /* rank 0's thread makes a checkpoint of them, or one process all of it */
    } phase;
    struct ckpt_part *parts; /* rank 0's list of all files */
};
/* Of many ranks rank 0 opens first. ranks outlives it. */
int train_save_open(struct train_save *s, const struct train_ranks *ranks,
                    const struct ckpt_writer_options *o, const struct ckpt_layout *l,
                    struct error *e);
void train_save_close(struct train_save *s); /* also where it was not opened */
/* Whether this rank's part is still being written: to be agreed on. */
bool train_save_is_busy(const struct train_save *s);
/* Begins a checkpoint; none is under way. A reference of state is stolen. */
int train_save_begin(struct train_save *s, int64_t step, json_t *state, struct error *e);
/* Once a step, with what the ranks agreed on. 1: the checkpoint is saved, on the rank that leads;
 * negative: it failed; 0: none was under way, or it goes on. */
int train_save_look(struct train_save *s, bool any_busy, struct error *e);
/* The same, waiting for the end of it. */
int train_save_finish(struct train_save *s, struct error *e);

/* ------------------------------------------------------------------ train_copy.c
 * Copies of the state in memory. Functions that name the ranks' world are called by all of them. */

enum { TRAIN_COPIES = 3 }; /* of each rank, at most */
struct train_copied {
    const struct ckpt_layout *reads; /* the live arrays of what this rank would read */
    int slots;                       /* 2; or 3, where one is kept that was checked */
    uint64_t run;                    /* the run's number (train_folder_number) */
};
struct train_copy {
    struct arena arena;
    int slots;
    const struct train_ranks *ranks;
    struct ckpt_layout reads; /* the live arrays of what this rank would read */
    const char *dir;          /* of this node */
    bool usable;              /* on every rank */
    bool sends, receives;     /* to and from another node */
    int to, from;             /* ranks of other nodes that keep ours, and whose we keep */
    uint64_t node, *nodes,
        layout;            /* hashes of names: of this node, of all ranks'; of what is copied */
    uint64_t run;          /* the run's number */
    const uint64_t *sizes; /* [ranks] bytes of each one's file */
    size_t bytes, from_bytes, *places;
    uint8_t *own[TRAIN_COPIES], *guest[TRAIN_COPIES]; /* mapped files */
};
static inline int train_copy_slots(const struct train_config *c)
{
    return c->check_every > 0 ? 3 : 2;
}
/* Of this rank's files, and where ranks are on several nodes, of another one's. */
size_t train_copy_bytes(const struct ckpt_layout *reads, int slots, bool elsewhere);
/* The run folder is there; the layout is of allocated arrays and outlives it, as ranks do. Where there
 * is no memory for copies that is said, and there are none. */
int train_copy_open(struct train_copy *c, const char *run_dir, const struct train_ranks *ranks,
                    const struct train_copied *what, struct error *e);
void train_copy_close(struct train_copy *c); /* files stay */
/* A reference of state is stolen. With three slots the newest copy up to step `good` stays. */
int train_copy_save(struct train_copy *c, int64_t step, int64_t good, json_t *state,
                    struct error *e);
/* The newest copy that is whole for every rank and of step at_least or later, into the arrays: its step,
 * and *state, which the caller json_decrefs; -1: there is none. An error code is -1 as well: then the
 * ranks have lost each other, which every later call tells. */
int64_t train_copy_restore(struct train_copy *c, int64_t at_least, json_t **state, struct error *e);
void train_copy_discard(struct train_copy *c, int64_t step); /* what is newer than that */
void train_copy_remove(struct train_copy *c);                /* of this node */

/* ------------------------------------------------------------------ train_plan.c */

/* Prints what the run is (sizes, steps, tokens) in a few lines for people. */
void train_plan_describe(const struct train_session *s, FILE *out);
/* Prints the memory table; the last rows compare it with this machine's memory. */
void train_plan_print(const struct train_session *s, FILE *out);
/* Both, as an object; caller json_decrefs. */
json_t *train_plan_to_json(const struct train_session *s);
/* An error where the run takes more memory than this process may use. */
int train_plan_check(const struct train_session *s, struct error *e);

/* From here on this rank does `what`: for its launcher, and for the step's timeline, where train_ends
 * closes the span that began with the answer. */
static inline double train_begins(const struct train_ranks *r, const char *what)
{
    cluster_watch_at(r->watch, what);
    return cluster_span_begin(r->cluster);
}
static inline void train_ends(const struct train_ranks *r, double begin_s, const char *what)
{
    cluster_span_end(r->cluster, begin_s, what);
}

/* ------------------------------------------------------------------ train_timeline.c */

struct train_timeline {
    const struct train_ranks *ranks;
    int64_t every; /* 0: never */
    const char *path;
    struct cluster_span *spans;
    struct str text;
    int64_t steps_here; /* of this process */
    bool recording;
    double begin_s;
    struct arena arena;
};
/* Not opened, or opened: train_timeline_close. ranks outlives it. */
int train_timeline_open(struct train_timeline *t, const struct train_ranks *ranks,
                        const struct train_config *c, const char *run_dir, struct error *e);
void train_timeline_close(struct train_timeline *t);
/* Around each step, of all ranks at once. A file that cannot be written is a warning. */
int train_timeline_begin(struct train_timeline *t, int64_t step, struct error *e);
void train_timeline_end(struct train_timeline *t, int64_t step);

/* ------------------------------------------------------------------ train_folder.c */

enum train_folder_state { TRAIN_FOLDER_NEW, TRAIN_FOLDER_SAME, TRAIN_FOLDER_CHANGED };
/* Looks at a run folder and compares its configuration with `now`; nothing is written. Returns an
 * enum train_folder_state, with the differences as text in *differences where CHANGED (allowed by
 * o->allow_changes), or an error where training must not go on there. */
int train_folder_check(const char *dir, const struct train_config *now,
                       const struct train_options *o, struct str *differences, struct error *e);
/* The name under which --restart keeps what is in dir, in *a; NULL where no run is there. */
const char *train_folder_aside(const char *dir, struct arena *a);
/* The way on after a row of skipped updates, as a hint of *e: `good` is the step of the last good
 * checkpoint, or negative. */
void train_advise(const struct train_run_file *f, const char *dir, int64_t good, struct error *e);
/* The precision that an existing folder was begun with, or TRAIN_PRECISION_AUTO. */
int train_folder_precision(const char *dir);
/* The number of the run in a folder, drawn where it has none yet and kept there: of two runs that were in
 * folders of one name each has its own. */
int train_folder_number(const char *dir, uint64_t *number, struct error *e);
/* Says that a run which has done steps begins again: it goes on from no state at all. */
void train_folder_warn(const char *dir);
/* Writes the effective run.yaml: f with the values settled by now. */
int train_folder_write(const char *dir, const struct train_run_file *f,
                       const struct train_config *settled, struct error *e);

/* ------------------------------------------------------------------ train_signals.c */

/* That came since train_signals_install, and asks the run to end; 0: none. */
extern volatile sig_atomic_t train_signal;
/* Instead of a signal: whoever watches this rank wants it to end, or is gone. */
#define TRAIN_SIGNAL_LAUNCHER 1000
const char *train_signal_name(int number);
struct train_handlers {
    struct sigaction term, hangup, interrupt;
};
void train_signals_install(struct train_handlers *old);
void train_signals_restore(const struct train_handlers *old);

#endif
