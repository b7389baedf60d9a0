/* plan_internal.h: what the files of src/plan/ share and nobody else sees. Small; append, do not
 * reshape.
 *
 * The model of a step is built from four pieces that can be tested alone: the sizes of a model's
 * layers (plan_model.c), the time of a collective (plan_collective.c), memory (plan_memory.c), and
 * the step that joins them (plan_step.c). All numbers that were fitted or chosen stand in one table
 * (plan_constants.c) with their origin, so that tools/fit-plan can move them and
 * `plan validate` can print them. */
#ifndef COLOSSUS_PLAN_INTERNAL_H
#define COLOSSUS_PLAN_INTERNAL_H

#include "plan/plan.h"

/* ------------------------------------------------------------------ constants (plan_constants.c) */

struct plan_constant {
    const char *name;
    double value;
    double low, high;   /* range the fit may use; low == high: not fitted */
    const char *source; /* paper, measurement, or which rows it was fitted on */
};
/* Written by nobody but the fit tool, in its own process. */
extern struct plan_constant plan_constants[];
size_t plan_constants_count(void);

/* ------------------------------------------------------------------ models (plan_model.c) */

/* Weights of one layer, by the group of accelerators that shards them. Matrices only; norms and
 * biases are in other. Parameters, not bytes. */
struct plan_layer_params {
    double attention; /* sharded by tp (MLA: the down projections are replicated: in other) */
    double ffn;       /* dense FFN, shared expert, dense branch: sharded by tp */
    double experts;   /* all experts of the layer: sharded by ep and etp */
    double other;     /* norms, router, MLA down projections: replicated */
};
/* A layer with experts (moe) or without. */
void plan_model_layer_params(const struct model_config *m, bool moe, struct plan_layer_params *out);
int64_t plan_model_moe_layers(const struct model_config *m);
int64_t plan_model_attention_layers(const struct model_config *m);
int64_t plan_model_ffn_layers(const struct model_config *m);  /* dense and with experts */
double plan_model_mamba_params(const struct model_config *m); /* of one Mamba-2 layer */
double plan_model_context(const struct model_config *m, int64_t seq_len, bool windowed,
                          bool causal);
double plan_model_core_flops(const struct model_config *m, double context); /* forward, one token */
/* Dimensions of published hybrids that run tables name without them; false: not known. */
bool plan_model_hybrid(const char *name, struct model_config *out);
double plan_model_embedding_params(const struct model_config *m); /* one table, vocab x hidden */

/* ------------------------------------------------------------------ memory (plan_memory.c) */

/* Bytes per accelerator of the fullest pipeline stage; layout and batch already checked. `s` says
 * what the stack keeps (buffers, main gradients). Allocates nothing; must cost well under 1 us. */
void plan_memory(const struct model_config *m, const struct plan_layout *l,
                 const struct plan_batch *b, const struct plan_software *s,
                 struct plan_memory *out);
/* The same on a given accelerator (NULL: any): FP8 weights need both orders before Blackwell. */
void plan_memory_of(const struct machine_accelerator *a, const struct model_config *m,
                    const struct plan_layout *l, const struct plan_batch *b,
                    const struct plan_software *s, struct plan_memory *out);
/* The most that an accelerator of any of the cluster's kinds must hold. */
void plan_memory_most(const struct machine_cluster *c, const struct model_config *m,
                      const struct plan_layout *l, const struct plan_batch *b,
                      const struct plan_software *s, struct plan_memory *out);
/* The same for every choice of ZeRO and recomputation whose bit 3 zero + recompute is set: they share
 * most of the work. The others are zero. */
void plan_memory_choices(const struct machine_cluster *c, const struct model_config *m,
                         const struct plan_layout *l, const struct plan_batch *b,
                         const struct plan_software *s, unsigned choices,
                         struct plan_memory out[12]);
extern const struct plan_constant plan_memory_constants[]; /* fitted; printed by validate */
extern const size_t plan_memory_constants_count;
/* What of hbm_bytes a job may use, less the runtime's own (CUDA context, NCCL, fragmentation). */
double plan_memory_limit(const struct machine_accelerator *a);

/* ------------------------------------------------------------------ collectives (plan_collective.c)
 * Seconds; bytes is the size of the whole vector per rank (all-reduce: what each rank holds;
 * all-gather: what each rank has at the end; reduce-scatter: at the start; all-to-all: what each
 * rank sends in all). `group` ranks, of which `per_domain` share a scale-up domain. */
enum plan_collective { PLAN_ALL_REDUCE, PLAN_ALL_GATHER, PLAN_REDUCE_SCATTER, PLAN_ALL_TO_ALL };
double plan_collective_s(const struct machine_accelerator *a, const struct machine_cluster *c,
                         int kind, int64_t group, int64_t per_domain, double bytes);
/* One message between two neighbours, inside a domain or across the fabric. */
double plan_p2p_s(const struct machine_accelerator *a, const struct machine_cluster *c, bool inside,
                  double bytes);
/* How many of a group's ranks lie in one scale-up domain when each rank of it is `stride`
 * accelerators from the next (tensor-parallel ranks first, then cp, then dp, then pp: Megatron's
 * order). */
int64_t plan_group_per_domain(const struct machine_accelerator *a, int64_t group, int64_t stride);
int64_t plan_group_in_domain(int64_t domain, int64_t group, int64_t stride);

/* ------------------------------------------------------------------ placement (plan_place.c) */

struct plan_place { /* of a layout on one kind of accelerator of a cluster */
    const struct machine_accelerator *a;
    int64_t domain, used; /* accelerators of a scale-up domain, and how many of them are used */
    bool straddles;       /* groups begin where they fall, across domains */
};
/* A cluster of another size, of each kind its share. 0: as it is. */
struct machine_cluster plan_cluster_scaled(const struct machine_cluster *c, int64_t accelerators);
/* So many accelerators of a cluster for one job: the fastest kinds first. 0: all. */
struct machine_cluster plan_cluster_part(const struct machine_cluster *c, int64_t accelerators);
void plan_place(const struct machine_accelerator *a, const struct machine_cluster *c,
                const struct plan_layout *l, struct plan_place *out);
/* Ranks of a group that share a domain, of the group that has it worst. `stride` as above. */
int64_t plan_place_near(const struct plan_place *p, int64_t group, int64_t stride);
/* The same of a group that need not lie in one: gradients go round all domains. */
int64_t plan_place_ring(const struct plan_place *p, int64_t group, int64_t stride);
/* The most replicas of a layout (its dp is not read) that a cluster holds, with every group within
 * a domain, or with groups across domains. */
int64_t plan_place_room(const struct machine_cluster *c, const struct plan_layout *l,
                        bool straddle);
/* Replicas in each pool. */
void plan_place_replicas(const struct machine_cluster *c, const struct plan_layout *l,
                         int64_t out[MACHINE_MAX_POOLS]);
/* Accelerators that train, of each pool and in all; the rest is idle. Without a layout: all. */
int64_t plan_place_used(const struct machine_cluster *c, const struct plan_layout *l,
                        int64_t used[MACHINE_MAX_POOLS]);
/* The same of a request's whole cluster, of which the job may have a part: the rest works as it does. */
void plan_place_at_work(const struct plan_request *r, int64_t used[MACHINE_MAX_POOLS]);

/* ------------------------------------------------------------------ software (plan_software.c) */

/* Stack and generation of a published row from the columns `source` ("NVIDIA Megatron-Bridge perf
 * 26.04.01", "MLPerf Training v5.0"), `table` and `dist_opt` of the validation CSV ("" where
 * absent). The year is read from a date YYYY-MM, a table of exceptions, a release YY.MM or a preprint YYMM;
 * false: nothing dates the source, which gets today's. */
bool plan_software_of_source(const char *source, const char *table, const char *dist_opt,
                             struct plan_software *out);
/* What the few machines that differ from their accelerator's usual server have instead, told in
 * words, or NULL. */
const char *plan_machine_of_source(const char *source, struct machine_accelerator *a);
bool plan_stack_is_megatron(
    int stack);                   /* ZeRO 1 with pipelines, Megatron's kernels: dualpipe, too */
double plan_software_today(void); /* the newest generation that was fitted */
/* 0 (today's), or 2018 to two years from the newest that was fitted. */
int plan_generation_check(double year, struct error *e);

/* ------------------------------------------------------------------ the run (plan_run.c) */

/* Factors on what is computed and not given, for sensitivities; all 1 for the plan itself. */
struct plan_what_if {
    double step, failures, restart, power;
};
/* From step, goodput and power to days, energy, money and emissions, with a given layout:
 * everything of plan_solve but search, sensitivities and the verdict. `w` NULL: all 1. */
void plan_run_evaluate(const struct plan_request *r, const struct plan_what_if *w,
                       struct plan_answer *out);
/* plan_search on a cluster of one's own without the front, which takes a fraction of the time. */
int plan_search_list(const struct plan_request *r, const struct machine_cluster *c, size_t n_best,
                     struct arena *a, struct plan_search *out, struct error *e);
/* The search, where failures limit what more accelerators are good for: again on fewer of them, and
 * what makes the best run is kept (plan_search_run.c). Layout and part of *chosen are set. */
int plan_search_run(struct plan_request *chosen, struct arena *a, struct plan_search *out,
                    struct error *e);
void plan_reliability_what_if(const struct plan_request *r, const struct plan_step *step,
                              const struct plan_what_if *w, struct plan_reliability *out);
void plan_sensitivities(const struct plan_request *r, struct plan_answer *out);

/* The slow-down of a step under a power cap. */
void plan_power_slow_step(const struct plan_request *r, struct plan_step *step);

void plan_swing_load(const struct plan_request *r, const struct plan_step *step,
                     const struct plan_power *power, struct machine_swing_load *out);

/* ------------------------------------------------------------------ timeline
 * The passes of DualPipe (plan_timeline_dualpipe.c), each `stretch` times as long as in the step; an
 * even number of stages, an even number of microbatches that is at least twice that. Room for two
 * more spans a stage. */
size_t plan_timeline_dualpipe(const struct plan_step *step, int64_t stages, int64_t microbatches,
                              double stretch, struct arena *a, struct plan_span **spans);

#endif
