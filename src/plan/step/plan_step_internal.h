/* plan_step_internal.h: what the model of a step is made of, and what the rooms above ask it for.
 *
 * Four pieces that can be tested alone: the sizes of a model's layers (plan_model.c), the time of
 * a collective (plan_collective.c), memory (plan_memory.c), and the step that joins them
 * (plan_step.c, plan_step_layer.c). All numbers that were fitted or chosen stand in one table
 * (plan_constants_internal.h) with their origin. */
#ifndef COLOSSUS_PLAN_STEP_INTERNAL_H
#define COLOSSUS_PLAN_STEP_INTERNAL_H

#include "plan/plan.h"
#include "plan/step/plan_constants_internal.h"

/* A training job as the model of a step sees it. Everything is borrowed for the call. */
struct plan_job {
    const struct model_config *model;
    const struct machine_cluster *cluster;
    const struct plan_layout *layout;
    const struct plan_batch *batch;
    const struct plan_software *software;
};

static inline const struct plan_constant_values *plan_constants_of(const struct plan_software *s)
{
    return s->constants ? s->constants : &plan_constants_own;
}

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
double plan_model_embedding_params(const struct model_config *m); /* one table, vocab x hidden */

/* ------------------------------------------------------------------ stages (plan_stage.c) */

/* Layers of a pipeline stage, 0 .. pp - 1, those of multi-token prediction with them: these lie on the
 * last one. */
int64_t plan_stage_layers(const struct model_config *m, const struct plan_layout *l, int64_t stage);
/* Of the fullest stage. */
int64_t plan_stage_most_layers(const struct model_config *m, const struct plan_layout *l);
/* Layers that the last chunk (else the first) has less than the others, for the loss (the embedding). */
int64_t plan_stage_spare(const struct model_config *m, const struct plan_layout *l, bool last);
/* So many chunks of one size hold the layers, where embedding, loss and MTP layers may count as one each. */
bool plan_stage_even(const struct model_config *m, int64_t chunks);
/* Some smaller number of stages leaves more layers to its fullest stage: else this one is slower and fuller. */
bool plan_stage_count_matters(const struct model_config *m, int64_t pp);

/* ------------------------------------------------------------------ memory (plan_memory.c) */

/* Bytes per accelerator of the fullest pipeline stage: the most that one of any of the cluster's
 * kinds must hold. The layout is checked. Allocates nothing; costs well under 1 us. */
void plan_memory(const struct plan_job *job, struct plan_memory *out);
/* The same for every choice of ZeRO and recomputation whose bit 3 zero + recompute is set: they share
 * most of the work. The others are zero. */
void plan_memory_choices(const struct plan_job *job, unsigned choices, struct plan_memory out[12]);
/* The same on one kind of accelerator; NULL: any before Blackwell, where FP8 weights are kept in
 * both orders. */
void plan_memory_of(const struct machine_accelerator *a, const struct model_config *m,
                    const struct plan_layout *l, const struct plan_batch *b,
                    const struct plan_software *s, struct plan_memory *out);
extern const struct plan_constant plan_memory_constants[]; /* fitted; printed by validate */
extern const size_t plan_memory_constants_count;
/* What of hbm_bytes a job may use, less the runtime's own (CUDA context, NCCL, fragmentation). */
double plan_memory_limit(const struct machine_accelerator *a);
double plan_memory_limit_of(const struct machine_cluster *c); /* of the kind that has least */

/* ------------------------------------------------------------------ collectives (plan_collective.c)
 * Seconds; bytes is the size of the whole vector per rank (all-reduce: what each rank holds;
 * all-gather: what each rank has at the end; reduce-scatter: at the start; all-to-all: what each
 * rank sends in all). `group` ranks, of which `per_domain` share a scale-up domain. */
struct plan_work;
enum plan_collective { PLAN_ALL_REDUCE, PLAN_ALL_GATHER, PLAN_REDUCE_SCATTER, PLAN_ALL_TO_ALL };
/* Of *w only accelerator, cluster, constants and a2a_share are read. */
double plan_collective_s(const struct plan_work *w, int kind, int64_t group, int64_t per_domain,
                         double bytes);
/* One message between two neighbours, inside a domain or across the fabric. */
double plan_p2p_s(const struct plan_work *w, bool inside, double bytes);
/* How many of a group's ranks lie in one scale-up domain of so many accelerators when each rank of it
 * is `stride` accelerators from the next (tensor-parallel ranks first, then cp, then dp, then pp:
 * Megatron's order). */
int64_t plan_group_in_domain(int64_t domain, int64_t group, int64_t stride);

/* ------------------------------------------------------------------ placement (plan_place.c) */

struct plan_place {       /* of a layout on one kind of accelerator of a cluster */
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

/* ZeRO 1 with pipelines, Megatron's kernels: DualPipe's, too. Inline: asked for every layout. */
static inline bool plan_stack_is_megatron(int stack)
{
    return stack == PLAN_STACK_MEGATRON || stack == PLAN_STACK_DUALPIPE;
}
struct plan_module_name {
    const char *name; /* Megatron's recompute_modules, and what papers call them */
    unsigned module;  /* enum plan_module */
};
enum { PLAN_MODULE_NAMES = 24 };                          /* at most */
extern const struct plan_module_name plan_module_names[]; /* the end has no name */
/* "mla_up_proj,mlp" or "norm + act": bits of enum plan_module; 0: a word is none of them. */
unsigned plan_modules_parse(const char *text);
/* What a step has of its software, once every input that is left to the date is settled. */
struct plan_features {
    int dispatcher, graphs, recipe, attention; /* enums, none of them BY_DATE */
    bool woven;                                /* experts' traffic under another microbatch */
    bool bound, drop, tp_overlap;
    unsigned modules; /* computed again; 0: as recomputation says */
};
/* plan_features.c: what software of a date did on an accelerator. */
void plan_features_of(const struct plan_job *job, const struct machine_accelerator *a,
                      struct plan_features *out);
double plan_software_today(void); /* the newest generation that was fitted */
/* 0 (today's), or 2018 to two years from the newest that was fitted. */
int plan_generation_check(double year, struct error *e);

/* ------------------------------------------------------------------ the work of one microbatch
 * on one accelerator, by kind of layer (plan_step_layer.c) */

struct plan_work { /* everything a layer's time depends on */
    const struct model_config *m;
    const struct machine_accelerator *a;
    const struct machine_cluster *c;
    const struct plan_layout *l;
    const struct plan_constant_values *k;
    struct plan_place place;
    int64_t seq_len;
    int stack, family; /* enums plan_stack, machine_family */
    struct plan_features has;
    double year;
    double microbatches; /* of a replica, of several kinds their mean */
    double tokens;       /* of a microbatch in one cp shard; the tp ranks share them */
    double own_tokens;   /* tokens / tp: what sequence parallelism leaves to one rank */
    double norm_tokens;  /* own_tokens, or tokens before sequence parallelism */
    double matrix_rate;  /* FLOP/s of weight products */
    double bf16_rate;    /* of attention, head and router */
    double vector_rate;  /* bytes/s */
    double cast_bytes;   /* per element of a product's input */
    double young;        /* factor of the software's age on compute, 1 when grown up */
    double young_moe;    /* on what moves and starts experts' work */
    double launch_s;     /* of one kernel, by the host */
    double a2a_share;    /* of the link that dispatch inside a domain reaches */
    double moe_passes;   /* over routed rows */
    double state_bytes,
        state_offload; /* of the optimizer, a parameter; share in the host's memory */
};

/* Seconds on one accelerator for one microbatch, forward (_f) and backward (_b), of one block or of
 * many. Communication is the exposed part; hidden is what runs under compute. */
struct plan_layer_time {
    union {
        struct {
            double matmul_f, matmul_b, attention_f, attention_b, vector_f, vector_b;
            double tp_f, tp_b, ep_f, ep_b, cp_f, cp_b, hidden;
            double ep_woven; /* of experts, one pass, still to be laid under another microbatch */
            double kernels;  /* started forward */
            double again;    /* what selective recomputation computes again, by its modules */
        };
        double all[16]; /* the same, to be summed */
    };
};
void plan_layer_time_add(struct plan_layer_time *to, const struct plan_layer_time *t, double times);
static inline double plan_forward_compute_s(const struct plan_layer_time *t)
{
    return t->matmul_f + t->attention_f + t->vector_f;
}
static inline double plan_backward_compute_s(const struct plan_layer_time *t)
{
    return t->matmul_b + t->attention_b + t->vector_b;
}

void plan_work_init(struct plan_work *w, const struct plan_job *job,
                    const struct machine_accelerator *a);
/* A `share` of all blocks of the model, those of its MTP layers with them, without head and embedding;
 * the experts' traffic is laid under their compute. */
void plan_blocks_time(const struct plan_work *w, double share, struct plan_layer_time *sum);
/* Output projection and loss, and the embedding. */
void plan_head_time(const struct plan_work *w, struct plan_layer_time *t);
double plan_work_width(
    const struct plan_work *w); /* bytes of an activation, weight or gradient sent */

#endif
