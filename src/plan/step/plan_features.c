/* plan_features.c: what the training software of a stack and a date did on an accelerator, where a
 * plan or a row does not say.
 *
 * The page that reports a run dates its software badly: two runs of one month differ in the
 * dispatcher of tokens, in what is captured in graphs, and in whether the host's threads were bound.
 * So each is an input with a default here; the dates stand in plan_constants_internal.h.
 *
 * - Dispatch: NCCL's all-to-all; DeepEP since its publication; HybridEP on Blackwell since NVIDIA's
 *   recipes have it. DualPipe came with a dispatch like DeepEP.
 * - Traffic woven with another microbatch (1F1B): Megatron-Core on servers of eight, where a pipeline
 *   is interleaved or there is none; NVIDIA's recipes for racks do without. DualPipe always.
 * - Graphs: of attention and router on Blackwell (scoped); of whole layers with fused experts.
 * - Attention: unfused until FlashAttention; latent attention (MLA) on Blackwell until cuDNN 9.11.
 * - Tensor-parallel traffic under products: Megatron since its user buffers, PyTorch only where
 *   asynchronous TP is asked for. */
#include "plan/step/plan_step_internal.h"

const char *const plan_dispatcher_names[] = {"by_date", "all-to-all", "deduplicated", "hybrid",
                                             NULL};
const char *const plan_a2a_overlap_names[] = {"by_date", "none", "1f1b", NULL};
const char *const plan_graphs_names[] = {"by_date", "none", "scoped", "full", NULL};
const char *const plan_host_names[] = {"by_date", "unbound", "bound", NULL};
const char *const plan_token_drop_names[] = {"by_date", "no", "yes", NULL};
const char *const plan_fp8_recipe_names[] = {"by_date", "tensorwise", "rowwise", "block", NULL};
const char *const plan_attention_names[] = {"by_date", "unfused", "flash2", "fused", NULL};
const char *const plan_tp_overlap_names[] = {"by_date", "none", "overlapped", NULL};

enum { COHERENT_DOMAIN = 32 }; /* a rack rather than a server */

struct setting { /* of the job: what the defaults depend on */
    const struct plan_constant_values *k;
    const struct plan_software *s;
    const struct plan_layout *l;
    const struct machine_accelerator *a;
    double year;
    int family;
    bool megatron, rack;
};

static int dispatcher_of(const struct setting *x)
{
    if (x->s->dispatcher) return x->s->dispatcher;
    if (x->s->stack == PLAN_STACK_DUALPIPE) return PLAN_DISPATCH_DEDUPLICATED;
    if (x->year < K(x, EP_DEDUP_YEAR) || x->s->stack == PLAN_STACK_OTHER)
        return PLAN_DISPATCH_ALL_TO_ALL;
    bool blackwell = x->rack || x->family == MACHINE_BLACKWELL;
    if (x->megatron && blackwell && x->year >= K(x, EP_HYBRID_YEAR)) return PLAN_DISPATCH_HYBRID;
    return PLAN_DISPATCH_DEDUPLICATED;
}

static bool woven(const struct setting *x)
{
    if (x->s->a2a_overlap) return x->s->a2a_overlap == PLAN_A2A_1F1B;
    if (x->s->stack == PLAN_STACK_DUALPIPE) return true;
    bool possible = x->l->pp <= 1 || x->l->vp > 1;
    return x->megatron && possible && !x->rack && x->year >= K(x, EP_WOVEN_YEAR);
}

static int graphs_of(const struct setting *x)
{
    if (x->s->graphs) return x->s->graphs;
    bool blackwell = x->family == MACHINE_BLACKWELL && x->megatron;
    if (blackwell && x->year >= K(x, MOE_FUSED_YEAR)) return PLAN_GRAPHS_FULL;
    return blackwell && x->year >= K(x, GRAPHS_YEAR) ? PLAN_GRAPHS_SCOPED : PLAN_GRAPHS_NONE;
}

static int attention_of(const struct setting *x, const struct model_config *m)
{
    if (x->s->attention) return x->s->attention;
    bool latent = m->attention == MODEL_ATTENTION_MLA && x->family == MACHINE_BLACKWELL;
    if (x->year < (latent ? K(x, MLA_BLACKWELL_YEAR) : K(x, FLASH_YEAR)))
        return PLAN_ATTENTION_UNFUSED;
    bool torch = x->s->stack == PLAN_STACK_FSDP && x->family != MACHINE_BLACKWELL;
    return torch && x->year < K(x, TORCH_CUDNN_YEAR) ? PLAN_ATTENTION_FLASH2 : PLAN_ATTENTION_FUSED;
}

static bool tp_overlap_of(const struct setting *x, const struct model_config *m)
{
    if (x->s->tp_overlap) return x->s->tp_overlap == PLAN_TP_OVERLAPPED;
    bool asks = x->s->stack != PLAN_STACK_FSDP; /* PyTorch's asynchronous TP is off by default */
    return asks && x->year >= K(x, TP_OVERLAP_YEAR) && x->family != MACHINE_AMPERE &&
           !model_is_moe(m);
}

void plan_features_of(const struct plan_job *job, const struct machine_accelerator *a,
                      struct plan_features *out)
{
    const struct plan_software *s = job->software;
    const struct setting x = {.k = plan_constants_of(s),
                              .s = s,
                              .l = job->layout,
                              .a = a,
                              .year = s->generation > 0 ? s->generation : plan_software_today(),
                              .family = machine_family(a),
                              .megatron = plan_stack_is_megatron(s->stack),
                              .rack = a->scaleup_domain >= COHERENT_DOMAIN};
    *out = (struct plan_features){.dispatcher = dispatcher_of(&x),
                                  .graphs = graphs_of(&x),
                                  .attention = attention_of(&x, job->model),
                                  .woven = woven(&x),
                                  .tp_overlap = tp_overlap_of(&x, job->model)};
    out->recipe = s->fp8_recipe ? s->fp8_recipe : PLAN_FP8_TENSOR;
    out->bound = s->host != PLAN_HOST_UNBOUND;
    out->drop = s->token_drop == PLAN_DROP_YES;
    if (job->layout->recompute == PLAN_RECOMPUTE_SELECTIVE) out->modules = s->modules;
}
