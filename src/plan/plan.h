/* plan.h: what a training run needs, before it is started: step time, memory, days, failures,
 * megawatts, dollars, water, CO2; which parallel layout; and how far the answer can be trusted.
 *
 * The way through, a folder each: read/ takes a plan, and the models and machines that it names;
 * step/ prices one layout, in about a microsecond; run/ is the run around the step: failures, power,
 * cooling, money; search/ tries every layout; show/ makes a page, JSON or HTML; validate/ holds the
 * model of a step against published runs.
 *
 * Seconds, bytes, FLOP, watts, dollars. Every result carries low / mid / high. Knows nothing of how
 * training is done here; a run file of `colossus train` is read for its model and batch only. */
#ifndef COLOSSUS_PLAN_H
#define COLOSSUS_PLAN_H

#include "base/base.h"
#include "machine/machine.h"
#include "model/model.h"

/* ------------------------------------------------------------------ models (plan_model.c) */

double plan_model_params(const struct model_config *m);
double plan_model_active_params(const struct model_config *m);
/* Forward + backward model FLOPs of one token, no recomputation; causal: core attention halved. */
double plan_model_flops_per_token(const struct model_config *m, int64_t seq_len, bool causal);

/* Which training software, and the year of its release: the same hardware gained 1.5 to 3 times
 * between releases. dualpipe is Megatron's way of working with the schedule of DeepSeek-V3
 * (arXiv:2412.19437, 3.2.1): both ends of the pipeline fed at once, the experts' traffic under the
 * other direction's compute. colossus is `colossus train` on one machine: no curve of a large
 * accelerator holds there, a step is the sum of its operations (plan_local_price.c). */
enum plan_stack {
    PLAN_STACK_MEGATRON,
    PLAN_STACK_FSDP,
    PLAN_STACK_OTHER,
    PLAN_STACK_DUALPIPE,
    PLAN_STACK_COLOSSUS,
    PLAN_N_STACKS
};
extern const char *const plan_stack_names[];
struct plan_local; /* times of this machine's operations: plan/step/plan_local_internal.h */
/* What of the software a step depends on beside its date. 0 of each is what the stack did at that date on
 * that accelerator (plan_features.c), so that a plan states what it knows. */
enum plan_dispatcher { /* of tokens to experts */
                       PLAN_DISPATCH_BY_DATE,
                       PLAN_DISPATCH_ALL_TO_ALL, /* NCCL's: a token once for each of its experts, permuted on both sides */
                       PLAN_DISPATCH_DEDUPLICATED, /* DeepEP: once for each rank or domain that wants it */
                       PLAN_DISPATCH_HYBRID, /* HybridEP: the same, permuted while it is copied */
                       PLAN_N_DISPATCHERS
};
enum plan_a2a_overlap { PLAN_A2A_BY_DATE, PLAN_A2A_NONE, PLAN_A2A_1F1B };
enum plan_graphs { PLAN_GRAPHS_BY_DATE, PLAN_GRAPHS_NONE, PLAN_GRAPHS_SCOPED, PLAN_GRAPHS_FULL };
enum plan_host { PLAN_HOST_BY_DATE, PLAN_HOST_UNBOUND, PLAN_HOST_BOUND };
enum plan_token_drop { PLAN_DROP_BY_DATE, PLAN_DROP_NO, PLAN_DROP_YES };
enum plan_fp8_recipe { PLAN_FP8_BY_DATE, PLAN_FP8_TENSOR, PLAN_FP8_ROW, PLAN_FP8_BLOCK };
enum plan_attention {
    PLAN_ATTENTION_BY_DATE,
    PLAN_ATTENTION_UNFUSED,
    PLAN_ATTENTION_FLASH2,
    PLAN_ATTENTION_FUSED /* cuDNN's or FlashAttention 3 */
};
enum plan_tp_overlap { PLAN_TP_BY_DATE, PLAN_TP_NONE, PLAN_TP_OVERLAPPED };
extern const char *const plan_dispatcher_names[],
    *const plan_a2a_overlap_names[], *const plan_graphs_names[],
                                         *const plan_host_names[],
                                             *const plan_token_drop_names[],
                                                 *const plan_fp8_recipe_names[],
                                                     *const plan_attention_names[],
                                                         *const plan_tp_overlap_names[];
/* Modules that selective recomputation computes again, bits; 0: norms and activations. */
enum plan_module {
    PLAN_AGAIN_CORE = 1,   /* core_attn */
    PLAN_AGAIN_ACT = 2,    /* moe_act */
    PLAN_AGAIN_NORM = 4,   /* layernorm */
    PLAN_AGAIN_UP = 8,     /* mla_up_proj */
    PLAN_AGAIN_MLP = 16,   /* mlp: that of layers without experts */
    PLAN_AGAIN_MOE = 32,   /* moe: experts, router and dispatch */
    PLAN_AGAIN_SHARED = 64 /* shared_experts */
};
struct plan_software {
    int stack;         /* enum plan_stack */
    double generation; /* decimal year of the release, 2021.0 ...; 0: today's (the default) */
    int dispatcher, a2a_overlap, graphs, host, token_drop, fp8_recipe, attention, tp_overlap;
    unsigned modules;         /* of enum plan_module */
    double optimizer_bytes;   /* of state a parameter: master and two moments; 0: 12 */
    double optimizer_offload; /* share of it that lies in the host's memory */
    /* What the model of a step was fitted to; borrowed. NULL: the program's own. A fit sets others. */
    const struct plan_constant_values *constants;
    /* Of stack colossus: what its operations take, borrowed (others: NULL), and Muon's iterations; 0:
     * AdamW. */
    const struct plan_local *local;
    int64_t muon_steps;
};

/* ------------------------------------------------------------------ a step (plan_step.c) */

enum plan_recompute { PLAN_RECOMPUTE_NONE, PLAN_RECOMPUTE_SELECTIVE, PLAN_RECOMPUTE_FULL };
extern const char *const plan_recompute_names[];

struct plan_layout {
    int32_t tp, pp, cp, ep, etp, dp; /* tp·pp·cp·dp <= accelerators; ep·etp divides tp·cp·dp */
    int32_t vp;                      /* virtual stages per device (interleaved 1F1B); 1: plain */
    int32_t micro_batch;             /* sequences */
    int32_t zero;                    /* 0 .. 3 over dp (and cp) */
    int32_t recompute, precision;    /* enums above */
};
struct plan_batch {
    int64_t global_batch; /* sequences */
    int64_t seq_len;
};
/* Divisibility and range; the error says which number does not divide which. */
int plan_layout_check(const struct plan_layout *l, const struct model_config *m,
                      const struct plan_batch *b, int64_t accelerators, struct error *e);
/* What the software can run of it: the one rule for layouts that are given and searched. */
int plan_layout_check_stack(const struct plan_layout *l, const struct plan_batch *b,
                            const struct plan_software *s, struct error *e);
/* "tp 8 pp 16 vp 4 dp 128, microbatch 1, full recompute"; returns buf. */
char *plan_layout_text(const struct plan_layout *l, char *buf, size_t size);

/* Exposed time of a step, summing to it. */
enum plan_part {
    PLAN_PART_MATMUL,
    PLAN_PART_ATTENTION,
    PLAN_PART_VECTOR,
    PLAN_PART_RECOMPUTE,
    PLAN_PART_TP,
    PLAN_PART_EP,
    PLAN_PART_CP,
    PLAN_PART_PP,
    PLAN_PART_BUBBLE,
    PLAN_PART_DP,
    PLAN_PART_OPTIMIZER,
    PLAN_PART_OTHER,
    PLAN_N_PARTS
};
extern const char *const plan_part_names[];
struct plan_memory { /* bytes per accelerator of the fullest stage */
    double weights, gradients, optimizer, activations, buffers, total;
};
struct plan_step {
    double step_s, low_s, high_s; /* 80 % band from the residuals of the source class */
    double part_s[PLAN_N_PARTS];
    double hidden_comm_s;         /* communication under compute */
    double forward_s, backward_s; /* one microbatch through one (virtual) stage's whole device */
    double weight_s;              /* of backward_s: the gradients of the weights */
    int64_t microbatches;         /* per pipeline and step */
    bool both_ends;               /* half of them enter the pipeline at its last stage (DualPipe) */
    double compute_share;         /* of the step an accelerator spends computing */
    double model_flops;           /* of the step, whole machine, causal attention halved */
    double mfu, hfu, tokens_per_s; /* mfu, hfu: of the accelerators that train */
    int64_t used;                  /* accelerators that train; the rest of the cluster is idle */
    struct plan_memory memory;
    double memory_limit_bytes; /* of the smallest accelerator, less what the runtime keeps */
    bool fits;
};
/* The model of a step; allocates nothing. A cluster of several pools: the batch is shared by speed
 * among replicas, each within one pool. */
void plan_step(const struct model_config *m, const struct machine_cluster *c,
               const struct plan_layout *l, const struct plan_batch *b,
               const struct plan_software *s, struct plan_step *out);
/* One step over time on every pipeline stage of one replica, for drawing. */
enum plan_span_kind {
    PLAN_SPAN_FORWARD,
    PLAN_SPAN_BACKWARD,
    PLAN_SPAN_COMMUNICATION,
    PLAN_SPAN_OPTIMIZER,
    PLAN_SPAN_BOTH,   /* a forward and a backward of two microbatches at once; named by the first */
    PLAN_SPAN_WEIGHTS /* gradients of weights that a backward pass put off */
};
struct plan_span {
    double start_s, end_s;
    int32_t stage, microbatch; /* microbatch -1: of all */
    uint8_t kind;
};
size_t plan_timeline(const struct plan_step *step, const struct plan_layout *l, struct arena *a,
                     struct plan_span **spans);

/* ------------------------------------------------------------------ search (plan_search.c) */

enum plan_objective { PLAN_BY_TIME, PLAN_BY_COST, PLAN_BY_ENERGY, PLAN_BY_TOKENS_PER_MWH };
extern const char *const plan_objective_names[];
struct plan_candidate {
    struct plan_layout layout;
    struct plan_step step;
    double step_usd, step_j; /* accelerators' price and power over one step */
};
struct plan_search {
    struct plan_candidate *best; /* best first, n_best of them */
    size_t n_best;
    struct plan_candidate *front; /* Pareto front of step time, memory and energy */
    size_t n_front;
    uint64_t tried, valid, fitting; /* layouts enumerated, divisible, within memory */
    char runner_up[256];            /* why the second lost: the part that costs it most */
};
/* What to search, and for what. Everything is borrowed for the call. */
struct plan_search_space {
    const struct model_config *model;
    const struct machine_cluster *cluster;
    const struct plan_batch *batch;
    const struct plan_software *software;
    /* A field that is not 0 (zero, recompute, precision: not negative) is kept. NULL: all are free. */
    const struct plan_layout *fixed;
    enum plan_objective objective;
    size_t n_best;    /* length of the list, at least 1 */
    bool listed_only; /* no front, which takes a fraction of the time */
};
/* Exact over the space (plan_search.c says which), whatever the number of threads. List and front are
 * in *a. ERROR_FAILED where nothing fits: says what the smallest one needs. */
int plan_search(const struct plan_search_space *space, struct arena *a, struct plan_search *out,
                struct error *e);

/* ------------------------------------------------------------------ a run (plan_run.c) */

/* How many times longer whole runs take than their steps at a benchmark's pace: factor at a million
 * accelerator-hours, times the slope-th power of planned hours over a million. */
struct plan_production {
    double slope;
    struct range factor;
};
double plan_production_size(double hours); /* over a million, within what was published */
struct range plan_production_factor(const struct plan_production *p, double hours);

struct plan_reliability {
    struct range failures_per_1000_node_days; /* of 8 accelerators, at the fleet's age */
    struct range mtbf_s;                      /* of the whole job */
    struct range restart_s;
    double checkpoint_bytes, checkpoint_write_s, checkpoint_stall_s;
    double interval_young_s, interval_daly_s, interval_exact_s;
    struct range goodput; /* productive share of wall time, one synchronous job */
    bool elastic;         /* one synchronous job cannot live: replicas come and go */
    struct range goodput_elastic;
    int64_t elastic_group;    /* accelerators lost and restarted together where elastic */
    int64_t elastic_most;     /* accelerators beyond which more make one job no faster */
    int64_t job_accelerators; /* of this one job: elastic_most where it is elastic, else all that
                               * the layout uses */
    double job_share;         /* of the machine: what is the run's to pay; 1: all of it */
    int64_t spare_nodes;      /* of 8, so that repairs leave the job whole 99 % of the time */
};
/* What the run keeps of its time: of one synchronous job, or of the elastic one in its place. */
struct range plan_goodput(const struct plan_reliability *r);
struct plan_power {
    double accelerators_w, servers_w, network_w, it_w, facility_w; /* mean while training */
    double node_w;                           /* 8 accelerators and their share of a server, mean */
    double facility_max_w;                   /* nameplate, worst month */
    double facility_idle_w;                  /* while the job restarts */
    double pue_month[12], water_l_month[12]; /* of a whole month at this load */
    double pue, wue_l_per_kwh;
    struct machine_swing swing;
    double source_w[MACHINE_MAX_SOURCES]; /* mean share of each */
    double unserved_w;                    /* beyond all sources */
    /* Fewer watts, more accelerators in the same megawatts: cap per accelerator, speed of the step
     * beside the uncapped one, and how much faster a cluster of the same megawatts is (0.09: 9 %).
     */
    double cap_w[8], cap_speed[8], cap_tokens_per_mwh[8], cap_cluster_gain[8];
    int n_caps;
};
struct plan_money {
    struct range capex_usd, accelerators_usd, servers_usd, network_usd, site_usd;
    struct range capital_usd, upkeep_usd; /* the run's share of capex; opex beside energy */
    struct range energy_usd, run_usd, usd_per_million_tokens, usd_per_accelerator_hour;
};
struct plan_emissions {
    struct range co2_t, nox_t, water_l;
    double nox_t_per_year, permit_nox_t_per_year;
    bool within_permit;
};
struct plan_sensitivity {
    const char *input;          /* "matrix product efficiency", "failures" ... */
    double low_days, high_days; /* with the input at its low and its high */
    double low_usd, high_usd;   /* of the run */
};
#define PLAN_MAX_SENSITIVITIES 12

#define PLAN_MAX_NOTES 8
/* What `colossus train` has measured of the run that a run file describes. */
struct plan_measured {
    const char *folder; /* NULL: there is no such run */
    double step_s;      /* median of the steps after the first three */
    size_t n_steps;     /* that it is the median of */
};
struct plan_request {
    const char *name, *title, *path;
    const char *changed; /* inputs that differ from the file's: "gpus 8Ki, cap 0.8"; NULL: none */
    struct model_config model;
    struct machine_cluster cluster;
    struct machine_site site;
    struct plan_software software;
    bool stack_asked; /* by the file or an option; else it follows from the machine */
    struct plan_measured measured;
    struct plan_batch batch;
    struct plan_layout layout; /* what is not given is searched; see plan_search */
    /* What options pin of it, for which no other input may forget it: the rest 0, or -1 where 0 has a
     * meaning. NULL: nothing. */
    const struct plan_layout *asked;
    bool search;
    int64_t part; /* accelerators of the cluster that the job is given; 0: all. By plan_solve */
    int objective;
    struct figure tokens;    /* mid 0: a compute-optimal budget */
    const char *tokens_from; /* "given" or the scaling law */
    double power_cap;        /* share of the accelerators' own cap, 0.4 .. 1; 0: not lowered */
    double headroom;         /* share of their memory that a layout leaves free */
    bool benchmark;          /* thirty steps on a quiet machine, kept up: no production factor */
    const char *notes[PLAN_MAX_NOTES]; /* what the reader had to assume, to be shown */
    int n_notes;
};
struct plan_answer {
    const struct plan_request *request;
    /* Accelerators of the cluster that the job is given: layout, step and days are of a job on those,
     * and the rest is another's; 0: all. Power, permits and the cost of the machine are of all of
     * it, the rest at the same work. */
    int64_t part;
    struct plan_search search;
    struct plan_layout layout;
    struct plan_step step;
    struct range tokens, days, gpu_hours, mwh, step_s; /* days: of the middle of tokens */
    /* Days as a benchmark would keep them up, and how many times longer published runs took: days has it
     * in it. 1 where the request is of a benchmark, or of this machine. */
    struct range benchmark_days, production;
    const char *tokens_from; /* "given", or the law that said so */
    struct range site_w;     /* power.facility_w with the band of the check on MLPerf nodes */
    struct range build_days; /* to install the accelerators, at the site's rate; 0: unknown */
    struct plan_reliability reliability;
    struct plan_power power;
    struct plan_money money;
    struct plan_emissions emissions;
    struct plan_sensitivity sensitivities[PLAN_MAX_SENSITIVITIES]; /* widest first */
    int n_sensitivities;
    char limit[256]; /* what limits this plan, in one sentence */
};
/* Compute-optimal tokens of a model with this many active parameters: published scaling laws. */
struct range plan_optimal_tokens(const struct model_config *m);
int plan_solve(const struct plan_request *r, struct arena *a, struct plan_answer *out,
               struct error *e);

/* ------------------------------------------------------------------ descriptions
 * (plan_read.c). A name is looked for as preset_open does. */

int plan_load(const char *path, struct arena *a, struct plan_request *out, struct error *e);
/* Markdown tables of every key of every description file: docs/reference/plan-files.md. */
void plan_print_keys(FILE *out);
int plan_load_model(const char *name, const char *from, struct arena *a, struct model_config *out,
                    struct error *e);

/* ------------------------------------------------------------------ pages */

void plan_print(const struct plan_answer *answer, FILE *out); /* plan_page.c */
json_t *plan_to_json(const struct plan_answer *answer);       /* plan_json.c */
int plan_write_html(const struct plan_answer *answer, const char *path, struct error *e);
/* Side by side, the best of each line marked (plan_compare.c). */
void plan_print_compare(const struct plan_answer *const *answers, size_t count, FILE *out);
int plan_write_timeline(const struct plan_answer *answer, const char *path, struct error *e);

/* What options and sweeps can change of a plan: id, name, what a value is, help. In the order in
 * which options are applied: what forgets the layout comes before what sets a part of it. */
#define PLAN_INPUTS(X)                                                                    \
    X(model, "model", "NAME", "another model: a preset or a file")                        \
    X(cluster, "cluster", "NAME", "another cluster")                                      \
    X(site, "site", "NAME", "another site")                                               \
    X(accelerator, "accelerator", "NAME", "all accelerators are of this kind")            \
    X(gpus, "gpus", NULL, "number of accelerators")                                       \
    X(tokens, "tokens", NULL, "length of the run; optimal: by scaling laws")              \
    X(batch, "batch", "sequences", "global batch")                                        \
    X(seq_len, "seq-len", "tokens", "length of a sequence")                               \
    X(layout, "layout", NULL, "auto: search all of it, whatever the file gives")          \
    X(precision, "precision", NULL, "of matrix products: bf16, fp8, mxfp8, fp4")          \
    X(generation, "generation", "year", "release of the software, 2024.5")                \
    X(stack, "stack", NULL, "megatron, fsdp, dualpipe, other, or colossus: this program") \
    X(cap, "cap", NULL, "power cap, as a share of the accelerators' own: 0.4 to 1")       \
    X(headroom, "headroom", NULL, "share of the memory that a layout leaves free, 0.05")  \
    X(by, "by", NULL, "what the search minimises: time, cost, energy, tokens-per-mwh")    \
    X(recompute, "recompute", NULL, "none, selective or full")                            \
    X(tp, "tp", NULL, "tensor parallel")                                                  \
    X(pp, "pp", NULL, "pipeline stages")                                                  \
    X(cp, "cp", NULL, "context parallel")                                                 \
    X(ep, "ep", NULL, "expert parallel")                                                  \
    X(etp, "etp", NULL, "tensor parallel within experts")                                 \
    X(dp, "dp", NULL, "data parallel")                                                    \
    X(vp, "vp", NULL, "virtual stages of a device")                                       \
    X(micro_batch, "micro-batch", "sequences", "sequences that go through at once")       \
    X(zero, "zero", NULL, "ZeRO stage, 0 to 3")
#define PLAN_INPUT_ID(id, name, unit, help) PLAN_INPUT_##id,
enum plan_input { PLAN_INPUTS(PLAN_INPUT_ID) PLAN_N_INPUTS };
extern const char *const plan_input_names[PLAN_N_INPUTS]; /* as sweeps spell them: seq_len */
/* The words that an input may be, NULL at the end; NULL for numbers and names. */
const char *const *plan_input_choices(enum plan_input input);

/* One input changed by name: "gpus" "16Ki", "seq_len" "32Ki", "cap" "0.8", "precision" "fp8" ...
 * What the change makes impossible of the plan's layout is searched again (plan_override.c). */
int plan_override(struct plan_request *r, const char *name, const char *text, struct arena *a,
                  struct error *e);

/* The same plan at each value of one input (plan_sweep.c). */
#define PLAN_MAX_SWEEP 64
struct plan_sweep_point {
    const char *text; /* the value as given */
    double value;     /* as a number; NaN where it is a name */
    struct plan_request *request;
    struct plan_answer *answer; /* NULL: there is none */
    const char *why;            /* then the reason */
};
struct plan_sweep {
    const char *input;
    struct plan_sweep_point points[PLAN_MAX_SWEEP];
    size_t n_points;
    bool searched; /* every layout is, that of the file's own value, too */
};
/* `over` is "gpus=1Ki,2Ki,4Ki". A value without an answer is a point that says why; ERROR_FAILED
 * where no value has one. */
int plan_sweep(const struct plan_request *r, const char *over, struct arena *a,
               struct plan_sweep *out, struct error *e);
void plan_print_sweep(const struct plan_sweep *s, FILE *out);
json_t *plan_sweep_to_json(const struct plan_sweep *s);
int plan_write_sweep(const struct plan_sweep *s, const char *path, struct error *e); /* SVG */

/* ------------------------------------------------------------------ validation
 * (plan_validate.c): columns of a CSV as in docs/reference/validation-rows.md. */

struct plan_validate_options {
    bool rows, json;
    bool strict;       /* a cell that cannot be read is an error; else its row is left out */
    bool groups;       /* errors by source, accelerator, kind of model ... */
    bool constants;    /* what they were fitted on, or are from */
    const char *plot;  /* SVG scatter, or NULL */
    const char *tiers; /* "A" by default; "AB", "ABC" */
    int64_t recipes;   /* search beside so many published recipes; 0: none (slow) */
};
/* csv_path NULL: the table that travels with the program. */
int plan_validate(const char *csv_path, const struct plan_validate_options *o, FILE *out,
                  struct error *e);

/* Whole published runs beside plans of them, and the production factor that follows
 * (plan_production.c). */
int plan_validate_production(bool json, FILE *out, struct error *e);

/* ------------------------------------------------------------------ this machine (plan_local.c) */

struct compute_machine; /* compute/compute.h */
/* Where the accelerator `local` is kept: ~/.config/colossus/local.yaml. In *a. */
const char *plan_local_path(struct arena *a);
/* The accelerator, and the times of operations beside it as .json. n: number formats measured. */
int plan_local_write(const struct compute_machine *machines, size_t n, const char *path,
                     struct error *e);
/* Whether others use the machine while it is measured (plan_local_busy.c). `end` warns where they took
 * a part of it, or where the repeats lie far apart. */
struct plan_busy {
    double load, own_s;           /* load average before; processor seconds of this process */
    double idle, stolen, all, hz; /* ticks of all processors so far */
};
void plan_busy_begin(struct plan_busy *b);
void plan_busy_end(const struct plan_busy *b, const struct compute_machine *machines, size_t n);
/* A run of `colossus train` on ranks of this machine that share its threads. */
struct plan_train_job {
    const struct model_config *model;
    int64_t seq_len, micro_batch, global_batch;
    int64_t muon_steps; /* iterations; 0: AdamW */
    int recompute;      /* enum model_recompute */
    bool bf16;
    int64_t dp, tp, pp, ep;
    bool parts;        /* each rank updates its part only (zero 1 and 2) */
    double sent_bytes; /* that a rank sends in a step */
};
/* Seconds of its step, from what bench-machine has measured; ERROR_CONFIG where it has not. Messages
 * pass through memory: a copy out and a copy in. */
int plan_train_step(const struct plan_train_job *job, double *seconds, struct error *e);
/* Predicted and measured steps of runs of `colossus train` on this machine. local NULL: as above. */
int plan_validate_local(const char *const *runs, size_t n, const char *local, bool json, FILE *out,
                        struct error *e);

#endif
