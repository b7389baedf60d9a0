/* plan_local_ranks.c: a step of `colossus train` on several ranks of this machine.
 *
 * The ranks share the machine's threads, so each works at its share of the speed that bench-machine
 * measured with all of them. A rank's part of a microbatch is what one process would do for it; the
 * ranks of a pipeline wait for each other at both ends of a step (1F1B: the sum over the stages once,
 * and then the slowest for each further microbatch). Messages pass through memory at the speed that
 * the run itself has measured between two ranks; nothing else is there to hide them behind, since
 * whoever sends takes the CPU of who computes. */
#include "plan/step/plan_local_internal.h"

#include <math.h>
#include <string.h>

static struct plan_local_part part_of(const struct plan_local_run *run, int stage)
{
    int64_t tp = MAX(run->tp, 1), ep = MAX(run->ep, 1), dp = MAX(run->dp, 1), pp = MAX(run->pp, 1);
    struct plan_local_part p = {run->model,      (double)run->model.n_experts, true, 1, 1,
                                1.0 / (double)tp};
    int64_t first, end;
    model_stage_layers(&run->model, stage, (int)pp, &first, &end);
    p.model.n_layers = end - first;
    p.model.n_heads /= tp;
    p.model.n_kv_heads /= tp;
    p.model.ffn_hidden /= tp;
    p.model.dense_ffn_hidden /= tp;
    p.model.vocab_size /= tp;
    if (model_is_moe(&run->model)) p.model.n_experts /= ep;
    p.head = stage + 1 == pp;
    /* one table where embedding and head are in other stages */
    if (pp > 1) p.model.tied_embeddings = true;
    if (pp > 1 && stage > 0 && !p.head) p.model.vocab_size = 0;
    p.update = run->parts ? 1.0 / (double)dp : 1;
    p.update_experts = run->parts ? (double)ep / (double)dp : 1;
    return p;
}

void plan_local_ranks(const struct compute_machine *m, const struct plan_local_run *run,
                      struct plan_local_step *out)
{
    int64_t dp = MAX(run->dp, 1), tp = MAX(run->tp, 1), pp = MAX(run->pp, 1);
    double ranks = (double)(dp * tp * pp),
           n = ceil((double)run->global_batch / (double)(run->micro_batch * dp));
    double sum = 0, slowest = 0, update = 0;
    memset(out, 0, sizeof *out);
    for (int stage = 0; stage < pp; stage++) {
        struct plan_local_part part = part_of(run, stage);
        struct plan_local_step s = {0};
        plan_local_one(m, run, &part, &s);
        double pass = s.products_s + s.attention_s + s.vector_s + s.loss_s;
        double same = (double)(dp * tp); /* ranks that do this */
        sum += pass * ranks;
        slowest = fmax(slowest, pass * ranks);
        update = fmax(update, s.optimizer_s * ranks);
        out->products_s += n * same * s.products_s;
        out->attention_s += n * same * s.attention_s;
        out->vector_s += n * same * s.vector_s;
        out->loss_s += n * same * s.loss_s;
        out->forward_s += same * s.forward_s;
        out->weight_s += same * s.weight_s;
    }
    double passes = sum + (n - 1) * slowest;
    out->optimizer_s = update;
    out->bubble_s = passes - (out->products_s + out->attention_s + out->vector_s + out->loss_s);
    if (run->bytes_per_s > 0) out->messages_s = run->sent_bytes / run->bytes_per_s;
    out->step_s = passes + update + out->messages_s;
}

int plan_train_step(const struct plan_train_job *job, double *seconds, struct error *e)
{
    struct arena a = {0};
    struct plan_local l;
    struct plan_local_step step = {0};
    const char *times = plan_local_times(plan_local_path(&a), &a);
    int rc = plan_local_read(times, &l, e);
    l.from = times;
    if (rc == 0) rc = plan_local_check(&l, job->bf16, e);
    if (rc == 0) {
        const struct compute_machine *m = &l.machine[job->bf16];
        const struct plan_local_run run = {.model = *job->model,
                                           .seq_len = job->seq_len,
                                           .micro_batch = job->micro_batch,
                                           .global_batch = job->global_batch,
                                           .bf16 = job->bf16,
                                           .muon_steps = job->muon_steps,
                                           .recompute = job->recompute,
                                           .dp = job->dp,
                                           .tp = job->tp,
                                           .pp = job->pp,
                                           .ep = job->ep,
                                           .parts = job->parts,
                                           .sent_bytes = job->sent_bytes,
                                           .bytes_per_s = m->copy_bytes_per_s / 2};
        plan_local_step(m, &run, &step);
        *seconds = step.step_s;
    }
    arena_fini(&a);
    return rc;
}
