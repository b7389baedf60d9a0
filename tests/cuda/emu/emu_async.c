/* emu_async.c: cp.async. From its issue until its thread waits for its group the target is nobody's:
 * it holds NaN, and whoever touches it is reported. Early schedules land it at once, which must give
 * the same. */
#include "emu_internal.h"

static void land(const struct emu_copy *c)
{
    for (uint32_t i = 0; i < c->valid; i += 2)
        memcpy(c->to + i, emu_at(EMU_GENERIC, (uintptr_t)c->from + i, 2, EMU_READ, c->line), 2);
    memset(c->to + c->valid, 0, c->bytes - c->valid);
    emu_flight(c->to, c->bytes, false, c->line);
}

void emu_copy_async(uint32_t to, uint64_t from, uint32_t bytes, uint32_t valid, int line)
{
    struct emu_thread *t = emu_self;
    if (valid > bytes || valid % 2 != 0 || from % bytes != 0) {
        emu_fault(line, "a copy of %u of %u bytes from such an address", valid, bytes);
        return;
    }
    struct emu_copy c = {.to = emu_at(EMU_SHARED, to, bytes, EMU_WRITE, line),
                         .from = (const uint8_t *)(uintptr_t)from,
                         .bytes = bytes,
                         .valid = valid,
                         .group = t->group,
                         .line = line};
    if (t->n_copies == EMU_MAX_COPIES) {
        emu_abandon(line, "more copies in flight than are modelled");
        return;
    }
    memset(c.to, 0xff, bytes);
    emu_flight(c.to, bytes, true, line);
    if (emu_schedule.early)
        land(&c);
    else
        t->copies[t->n_copies++] = c;
}

void emu_copy_commit(void)
{
    emu_self->group++;
}

void emu_copy_wait(int but, int line)
{
    struct emu_thread *t = emu_self;
    int kept = 0;
    (void)line;
    for (int i = 0; i < t->n_copies; i++) {
        struct emu_copy c = t->copies[i];
        if (c.group >= t->group - but)
            t->copies[kept++] = c;
        else
            land(&c);
    }
    t->n_copies = kept;
}

void emu_copies_end(void)
{
    if (emu_self->n_copies)
        emu_fault(emu_self->copies[0].line, "a thread ends before its copies have landed");
}
