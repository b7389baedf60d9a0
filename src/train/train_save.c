/* train_save.c: checkpoints of a run, on one process or many, written beside the training.
 *
 * One process hands its state to the writer, whose thread does all of it. Of many ranks each hands
 * over its part, and a step waits for the copies only. Whether all parts are on disk the ranks find
 * out where they agree once a step anyway: then rank 0 gets the names, sizes and hashes of the
 * parts, and its thread commits the checkpoint. Where a part could not be written nothing is
 * committed; the rank that failed says why, and the run goes on to the next checkpoint. That its disk is
 * full rank 0 is told, too, since no restart mends that.
 *
 * Every function but train_save_is_busy is called by all ranks at the same place. */
#include "train/train_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { PARTS_MAX = 16 }; /* files of one rank */

int train_save_open(struct train_save *s, const struct train_ranks *ranks,
                    const struct ckpt_writer_options *o, const struct ckpt_layout *l,
                    struct error *e)
{
    s->ranks = ranks;
    s->step = -1;
    TRY(ckpt_writer_open(o, l, &s->writer, e));
    if (ranks->size > 1 && train_ranks_lead(ranks))
        s->parts = mem_calloc((size_t)ranks->size * PARTS_MAX, sizeof(*s->parts));
    return 0;
}

void train_save_close(struct train_save *s)
{
    ckpt_writer_close(s->writer);
    mem_free(s->parts);
    *s = (struct train_save){.step = -1};
}

bool train_save_is_busy(const struct train_save *s)
{
    return s->phase == TRAIN_SAVE_PARTS && !ckpt_writer_is_idle(s->writer);
}

/* The files of all ranks, in the order of ranks, to rank 0. */
static int collect(struct train_save *s, size_t *n, struct error *e)
{
    group_t *g = s->ranks->world;
    struct ckpt_part own[PARTS_MAX];
    int64_t count = (int64_t)ckpt_writer_parts(s->writer, own, PARTS_MAX);
    *n = 0;
    if (s->ranks->rank > 0) {
        TRY(group_send(g, 0, &count, sizeof(count), e));
        return group_send(g, 0, own, (size_t)count * sizeof(*own), e);
    }
    memcpy(s->parts, own, (size_t)count * sizeof(*own));
    *n = (size_t)count;
    for (int r = 1; r < s->ranks->size; r++) {
        TRY(group_recv(g, r, &count, sizeof(count), e));
        CHECK(count >= 0 && count <= PARTS_MAX);
        TRY(group_recv(g, r, s->parts + *n, (size_t)count * sizeof(*own), e));
        *n += (size_t)count;
    }
    return 0;
}

/* The ranks' parts become a checkpoint, or nothing where one of them failed. Waits for this rank's
 * part. When ranks are lost, the folder of the parts stays: others may be writing to it. */
static int commit(struct train_save *s, struct error *e)
{
    struct error own = {0};
    bool leads = train_ranks_lead(s->ranks);
    bool failed = ckpt_writer_wait(s->writer, &own) < 0;
    size_t n;
    s->phase = TRAIN_SAVE_IDLE;
    if (failed && !leads) log_warn("%s", own.text);
    int64_t any = !failed ? 0 : error_is_full(&own) ? own.number : 1;
    TRY(group_agree(s->ranks->world, &any, 1, e));
    if (any && leads) {
        ckpt_writer_abandon(s->writer);
        if (!failed) {
            errno = (int)any;
            if (any > 1)
                error_errno(&own, "write", "the part of a rank");
            else
                error_set(&own, "a rank could not write its part");
            error_context(&own, "cannot save the checkpoint of step %" PRId64, s->step);
        }
        *e = own;
        return e->code;
    }
    if (any) return 0;
    TRY(collect(s, &n, e));
    if (!leads) return 0;
    ckpt_writer_commit(s->writer, s->parts, n);
    s->phase = TRAIN_SAVE_COMMIT;
    return 0;
}

int train_save_begin(struct train_save *s, int64_t step, json_t *state, struct error *e)
{
    CHECK(s->phase == TRAIN_SAVE_IDLE);
    bool alone = s->ranks->size == 1;
    s->step = step;
    int rc = 0;
    if (!alone && train_ranks_lead(s->ranks)) rc = ckpt_writer_prepare(s->writer, step, e);
    if (!alone) rc = train_ranks_settle(s->ranks, rc, e); /* the folder is there for all */
    if (rc < 0) {
        json_decref(state);
        return rc;
    }
    TRY(ckpt_writer_submit(s->writer, step, state, e));
    s->phase = alone ? TRAIN_SAVE_COMMIT : TRAIN_SAVE_PARTS;
    return 0;
}

int train_save_look(struct train_save *s, bool any_busy, struct error *e)
{
    if (s->phase == TRAIN_SAVE_PARTS && !any_busy) TRY(commit(s, e));
    if (s->phase != TRAIN_SAVE_COMMIT || !ckpt_writer_is_idle(s->writer)) return 0;
    return train_save_finish(s, e);
}

int train_save_finish(struct train_save *s, struct error *e)
{
    if (s->phase == TRAIN_SAVE_PARTS) TRY(commit(s, e));
    if (s->phase == TRAIN_SAVE_IDLE) return 0;
    s->phase = TRAIN_SAVE_IDLE;
    TRY(ckpt_writer_wait(s->writer, e));
    return 1;
}
