/* emu_memory.c: device memory, shared memory, and the checks of each access.
 *
 * Two bytes of memory are a cell. A cell knows whether it is there, whether somebody wrote it, who
 * wrote it last and who read it since. Two accesses of which one writes are ordered where they are
 * of one thread, where a barrier of the block lies between them, where they are of one warp and a
 * barrier of the warp does, or where they are of different launches; otherwise they are a race,
 * whatever order this schedule took. Of several readers the cell keeps how far apart they are
 * (lanes, warps, blocks), which is all that the next writer needs. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "emu_internal.h"

enum { GAP = 256, CELL = 2 };
#define ARENA_BYTES ((size_t)1 << 30)

enum readers { ONE, LANES, WARPS, BLOCKS };
enum { LIVE = 1, SET = 2, FLIGHT = 4, ATOMIC = 8, ASYNC = 16 };

struct stamp {
    uint32_t serial, block_epoch, warp_epoch;
    uint16_t thread;
};
struct cell {
    struct stamp w, r;
    uint32_t fences; /* of the writer, when it wrote */
    uint8_t flags, readers;
};

static uint8_t *arena;
static size_t used;
static struct cell *cells;
static struct cell shared_cells[EMU_SHARED_MAX / CELL + 1];
static uint32_t shared_used;
static _Alignas(64) uint8_t nowhere[64];

/* ------------------------------------------------------------------ device memory */

void *emu_alloc(size_t bytes)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    if (!arena) {
        arena = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);
        cells =
            mmap(NULL, ARENA_BYTES / CELL * sizeof *cells, PROT_READ | PROT_WRITE, flags, -1, 0);
        if (arena == MAP_FAILED || cells == MAP_FAILED) abort();
    }
    size_t at = used + GAP, end = at + (bytes + GAP - 1) / GAP * GAP;
    if (end + GAP > ARENA_BYTES) {
        fprintf(stderr, "emu: device memory is full\n");
        abort();
    }
    used = end;
    memset(arena + at, 0xff, bytes); /* NaN */
    for (size_t i = at / CELL; i < (at + bytes + CELL - 1) / CELL; i++)
        cells[i].flags = LIVE;
    return arena + at;
}

void emu_free_all(void)
{
    if (used) memset(cells, 0, (used + GAP) / CELL * sizeof *cells);
    used = 0;
}

void emu_upload(void *to, const void *from, size_t bytes)
{
    size_t at = (size_t)((uint8_t *)to - arena);
    memcpy(to, from, bytes);
    for (size_t i = at / CELL; i < (at + bytes + CELL - 1) / CELL; i++)
        cells[i].flags |= SET;
}

bool emu_written(const void *p, size_t bytes)
{
    size_t at = (size_t)((const uint8_t *)p - arena);
    for (size_t i = at / CELL; i < (at + bytes + CELL - 1) / CELL; i++)
        if (!(cells[i].flags & SET)) return false;
    return true;
}

/* ------------------------------------------------------------------ shared memory */

static uint8_t shared_live[EMU_SHARED_MAX / CELL + 1];

void emu_shared_layout(const struct emu_kernel *k, uint32_t dynamic)
{
    memset(shared_live, 0, sizeof shared_live);
    shared_used = 0;
    for (int i = 0; i < k->n_shared; i++) {
        uint32_t bytes = k->shared[i].bytes ? k->shared[i].bytes : dynamic;
        uint32_t first = k->shared[i].at / CELL, end = (k->shared[i].at + bytes + CELL - 1) / CELL;
        memset(shared_live + first, LIVE, end - first);
        shared_used = end > shared_used ? end : shared_used;
    }
}

void emu_shared_clear(void)
{
    memset(emu_smem, 0xff, (size_t)shared_used * CELL); /* NaN */
    memset(shared_cells, 0, shared_used * sizeof *shared_cells);
    for (uint32_t i = 0; i < shared_used; i++)
        shared_cells[i].flags = shared_live[i];
}

static bool in_shared(const void *p)
{
    return (const uint8_t *)p >= emu_smem && (const uint8_t *)p < emu_smem + EMU_SHARED_MAX;
}

static struct cell *cell_of(const void *p)
{
    if (in_shared(p)) return &shared_cells[((const uint8_t *)p - emu_smem) / CELL];
    if (arena && (const uint8_t *)p >= arena && (const uint8_t *)p < arena + ARENA_BYTES - 64)
        return &cells[((const uint8_t *)p - arena) / CELL];
    return NULL;
}

/* ------------------------------------------------------------------ checks */

static bool ordered(const struct stamp *s)
{
    const struct emu_thread *t = emu_self;
    if (s->serial < emu_machine.first_serial) return true;
    if (s->serial != emu_machine.serial) return false;
    if (s->thread == t->index || s->block_epoch < t->block_epoch) return true;
    return s->thread / 32u == t->warp && s->warp_epoch < t->warp_epoch;
}

/* Whether the readers since the last write are all before this thread. */
static bool readers_ordered(const struct cell *c)
{
    const struct stamp *s = &c->r;
    if (s->serial < emu_machine.first_serial) return true;
    if (c->readers == BLOCKS || s->serial != emu_machine.serial) return false;
    if (s->block_epoch < emu_self->block_epoch) return true;
    if (c->readers == WARPS) return false;
    if (c->readers == ONE) return ordered(s);
    return s->thread / 32u == emu_self->warp && s->warp_epoch < emu_self->warp_epoch;
}

static void note_reader(struct cell *c, struct stamp now)
{
    const struct stamp s = c->r;
    c->r = now;
    if (s.serial < emu_machine.first_serial)
        c->readers = ONE;
    else if (s.serial != now.serial)
        c->readers = BLOCKS;
    else if (c->readers == BLOCKS || s.thread == now.thread)
        return;
    else if (s.block_epoch < now.block_epoch)
        c->readers = ONE;
    else if (s.thread / 32 != now.thread / 32 || c->readers == WARPS)
        c->readers = WARPS;
    else
        c->readers = s.warp_epoch < now.warp_epoch ? ONE : LANES;
}

/* What is wrong with this access to a cell; NULL: nothing. */
static const char *trouble(const struct cell *c, enum emu_access kind)
{
    bool reads = kind != EMU_WRITE;
    if (!(c->flags & LIVE)) return reads ? "read out of bounds" : "write out of bounds";
    if (c->flags & FLIGHT) return "touches what a copy is about to write";
    if (reads && !(c->flags & SET)) return "read of what nobody wrote";
    if (kind == EMU_ATOMIC && (c->flags & ATOMIC)) return NULL;
    if (!ordered(&c->w)) return reads ? "race: read after write" : "race: write after write";
    if (kind != EMU_READ && !readers_ordered(c)) return "race: write after read";
    return NULL;
}

static void note(struct cell *c, enum emu_access kind)
{
    struct stamp now = {emu_machine.serial, emu_self->block_epoch, emu_self->warp_epoch,
                        (uint16_t)emu_self->index};
    if (kind == EMU_READ) {
        note_reader(c, now);
        return;
    }
    c->w = now;
    c->fences = emu_self->fences;
    c->flags = (uint8_t)(LIVE | SET | (kind == EMU_ATOMIC ? ATOMIC : 0));
}

static bool check(const uint8_t *p, uint32_t bytes, enum emu_access kind, int line)
{
    struct cell *c = cell_of(p);
    if (!c) {
        emu_fault(line, "%s an address that is nobody's, %p", kind ? "write to" : "read of",
                  (const void *)p);
        return false;
    }
    for (uint32_t i = 0; i < (bytes + CELL - 1) / CELL; i++) {
        const char *what = trouble(&c[i], kind);
        if (what) {
            emu_fault(line, "%s, %s memory", what, in_shared(p) ? "shared" : "device");
            return (c[i].flags & LIVE) != 0;
        }
        note(&c[i], kind);
    }
    return true;
}

static uint8_t *host_pointer(enum emu_space space, uint64_t address)
{
    if (space != EMU_SHARED) return (uint8_t *)(uintptr_t)address;
    if (address < EMU_SHARED_BASE || address >= EMU_SHARED_BASE + EMU_SHARED_MAX) return NULL;
    return emu_smem + (address - EMU_SHARED_BASE);
}

void *emu_at(enum emu_space space, uint64_t address, uint32_t bytes, enum emu_access kind, int line)
{
    uint8_t *p = host_pointer(space, address);
    const uint8_t *params = emu_machine.parameters, *local = emu_self->local;
    if (address % bytes != 0 && (space != EMU_PARAMETER)) {
        emu_fault(line, "an address is not a multiple of %u", bytes);
        return nowhere;
    }
    if (space != EMU_SHARED && space != EMU_GLOBAL && local && p >= local &&
        p + bytes <= local + emu_self->local_bytes)
        return p;
    if ((space == EMU_GENERIC || space == EMU_PARAMETER) && kind == EMU_READ && p >= params &&
        p + bytes <= params + emu_machine.parameter_bytes)
        return p;
    if (space == EMU_LOCAL || space == EMU_PARAMETER || (space == EMU_GLOBAL && in_shared(p))) {
        emu_fault(line, "an address is not in the memory that the instruction names");
        return nowhere;
    }
    return check(p, bytes, kind, line) ? p : nowhere;
}

/* ------------------------------------------------------------------ asynchronous copies */

void emu_flight(const void *at, uint32_t bytes, bool begins, int line)
{
    struct cell *c = cell_of(at);
    if (!c) {
        emu_fault(line, "a copy to an address that is nobody's");
        return;
    }
    for (uint32_t i = 0; i < bytes / CELL; i++)
        c[i].flags = (uint8_t)(begins ? c[i].flags | FLIGHT : (c[i].flags & ~FLIGHT) | SET);
}

void emu_mark_async_write(const void *at, uint32_t bytes)
{
    struct cell *c = cell_of(at);
    for (uint32_t i = 0; c && i < bytes / CELL; i++) {
        c[i].flags = LIVE | SET | ASYNC;
        c[i].w = c[i].r = (struct stamp){0};
    }
}

bool emu_there(const void *at, uint32_t bytes, bool set)
{
    const struct cell *c = cell_of(at);
    uint8_t wanted = set ? LIVE | SET : LIVE;
    for (uint32_t i = 0; c && i < bytes / CELL; i++)
        if ((c[i].flags & wanted) != wanted) return false;
    return c != NULL;
}

void emu_check_fenced(const void *at, uint32_t bytes, int line)
{
    const struct cell *c = cell_of(at);
    for (uint32_t i = 0; c && i < bytes / CELL; i++) {
        const char *what = NULL;
        if (!(c[i].flags & LIVE))
            what = "operand out of bounds";
        else if (c[i].flags & FLIGHT)
            what = "operand that a copy is about to write";
        else if (!(c[i].flags & SET))
            what = "operand that nobody wrote";
        else if (!(c[i].flags & ASYNC) && c[i].w.serial == emu_machine.serial &&
                 emu_machine.threads[c[i].w.thread].fences <= c[i].fences)
            what = "operand written without a fence of the asynchronous proxy";
        if (!what) continue;
        emu_fault(line, "%s", what);
        return;
    }
}
