/* emu_block.c: launches, fibers, their schedule, barriers and meetings of warps.
 *
 * A fiber goes on until it calls emu_to_scheduler; the last one to come to a barrier or a meeting
 * makes the others ready and goes on itself. When nobody is ready, the oldest copy in flight lands;
 * when there is none, the block stands still for ever, which is a fault. */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "emu_internal.h"

enum { STACK = 128 << 10, MAX_MODULES = 32, BARRIERS = 16, MOST_PRINTED = 3 };
enum { MOST_JUMPS = 1 << 28 };

struct emu_machine emu_machine;
struct emu_thread *emu_self;
struct emu_dim emu_block, emu_grid, emu_block_dim;
uint8_t *emu_smem;
struct emu_schedule emu_schedule;
long emu_faults;
char emu_first_fault[512];
bool emu_quiet;

static const struct emu_module *modules[MAX_MODULES];
static int n_modules;
static uint8_t *stacks;
static void *scheduler_stack;
static struct barrier {
    uint32_t arrived, wanted;
    int line;
} barriers[BARRIERS];
static uint32_t order[EMU_MAX_THREADS];

/* Saves the registers that a call keeps and the stack, and goes on with the other one. */
void emu_switch(void **save, void *to);
#if defined(__x86_64__)
__asm__(".text\n.globl emu_switch\nemu_switch:\n"
        " pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
        " movq %rsp,(%rdi)\n movq %rsi,%rsp\n"
        " popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret\n");
#else
#    error "the emulator's fibers are written for x86-64"
#endif

/* ------------------------------------------------------------------ faults */

void emu_fault(int line, const char *format, ...)
{
    char what[256], text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    snprintf(text, sizeof text, "%s:%d: %s: %s; block (%u, %u, %u), thread %u",
             emu_machine.module ? emu_machine.module->file : "-", line,
             emu_machine.kernel ? emu_machine.kernel->name : "-", what, emu_block.x, emu_block.y,
             emu_block.z, emu_self ? emu_self->index : 0);
    if (emu_faults == 0) memcpy(emu_first_fault, text, sizeof text);
    if (emu_faults++ < MOST_PRINTED && !emu_quiet) fprintf(stderr, "emu: %s\n", text);
}

void emu_clear_reports(void)
{
    emu_faults = 0;
    emu_first_fault[0] = 0;
}

void emu_to_scheduler(void)
{
    emu_switch(&emu_self->stack, scheduler_stack);
}

void emu_abandon(int line, const char *why)
{
    emu_fault(line, "%s", why);
    emu_machine.abandoned = true;
    if (emu_self) emu_to_scheduler();
}

void emu_jump(int line)
{
    if (++emu_machine.jumps > MOST_JUMPS) emu_abandon(line, "the kernel does not end");
}

/* ------------------------------------------------------------------ barriers */

void emu_barrier(uint32_t id, uint32_t threads, int line)
{
    struct emu_machine *m = &emu_machine;
    uint32_t wanted = threads ? threads : m->n;
    if (id >= BARRIERS || wanted % 32 != 0 || wanted > m->n) {
        emu_abandon(line, "there is no such barrier");
        return;
    }
    struct barrier *b = &barriers[id];
    if (b->arrived == 0) *b = (struct barrier){.wanted = wanted, .line = line};
    if (b->line != line || b->wanted != wanted) {
        emu_abandon(line, "threads of a block meet at different barriers");
        return;
    }
    emu_self->line = line;
    if (++b->arrived < b->wanted) {
        emu_self->state = EMU_AT_BARRIER;
        emu_self->slot.arg = id;
        emu_to_scheduler();
        return;
    }
    for (uint32_t i = 0; i < m->n; i++) {
        struct emu_thread *t = &m->threads[i];
        if (t->state == EMU_AT_BARRIER && t->slot.arg == id) t->state = EMU_READY;
        if (wanted == m->n) t->block_epoch++;
    }
    b->arrived = 0;
}

uint32_t emu_barrier_count(bool mine, int line)
{
    uint32_t n = 0;
    emu_self->slot.flag = mine;
    emu_barrier(0, 0, line);
    for (uint32_t i = 0; i < emu_machine.n; i++)
        n += emu_machine.threads[i].slot.flag;
    emu_barrier(0, 0, line); /* nobody changes its flag before all have counted */
    return n;
}

void emu_meet(uint32_t members, void (*all)(struct emu_thread *warp, uint32_t members), int line)
{
    struct emu_thread *me = emu_self, *warp = &emu_machine.threads[me->warp * 32];
    uint32_t here = 0, gone = 0;
    if (!(members >> me->lane & 1)) {
        emu_abandon(line, "a lane is not among the members that it names");
        return;
    }
    me->slot.mask = members;
    me->line = line;
    me->state = EMU_AT_WARP;
    for (uint32_t i = 0; i < 32; i++) {
        if (!(members >> i & 1)) continue;
        if (warp[i].state == EMU_GONE) gone |= 1u << i;
        if (warp[i].state != EMU_AT_WARP) continue;
        here |= 1u << i;
        if (warp[i].line == line && warp[i].slot.mask == members) continue;
        emu_abandon(line, "lanes of a warp meet at different instructions");
        return;
    }
    if (gone) {
        emu_abandon(line, "an operation of the warp waits for lanes that have ended");
        return;
    }
    if (here != members) {
        emu_to_scheduler();
        return;
    }
    for (uint32_t i = 0; i < 32; i++)
        if (members >> i & 1) warp[i].state = EMU_READY;
    all(warp, members);
}

void emu_meet_group(void (*all)(struct emu_thread *group), int line)
{
    struct emu_machine *m = &emu_machine;
    struct emu_thread *group = &m->threads[emu_self->index / 128 * 128];
    if (emu_self->index / 128 * 128 + 128 > m->n) {
        emu_abandon(line, "a warp group is not whole");
        return;
    }
    emu_self->line = line;
    emu_self->state = EMU_AT_GROUP;
    for (int i = 0; i < 128; i++) {
        if (group[i].state != EMU_AT_GROUP) {
            emu_to_scheduler();
            return;
        }
        if (group[i].line != line) {
            emu_abandon(line, "threads of a warp group meet at different instructions");
            return;
        }
    }
    for (int i = 0; i < 128; i++)
        group[i].state = EMU_READY;
    all(group);
}

void emu_local(uint8_t *at, uint32_t bytes)
{
    emu_self->local = at;
    emu_self->local_bytes = bytes;
}

/* ------------------------------------------------------------------ a block */

static void end_thread(void)
{
    struct emu_machine *m = &emu_machine;
    emu_copies_end();
    emu_self->state = EMU_GONE;
    m->alive--;
    emu_to_scheduler();
}

static void fiber(void)
{
    emu_machine.kernel->run(emu_machine.parameters);
    end_thread();
}

static void begin_thread(uint32_t i)
{
    struct emu_thread *t = &emu_machine.threads[i];
    memset(t, 0, offsetof(struct emu_thread, copies));
    t->index = t->tid.x = i;
    t->warp = i / 32;
    t->lane = i % 32;
    void **top = (void **)(void *)(stacks + (size_t)(i + 1) * STACK - 64);
    void (*entry)(void) = fiber;
    *--top = NULL; /* so that the stack is aligned as at a call */
    *--top = NULL;
    memcpy(top, &entry, sizeof entry);
    t->stack = top - 6; /* the registers that emu_switch takes back */
    order[i] = i;
}

static uint32_t random_next(uint32_t *r)
{
    *r = *r * 1664525u + 1013904223u;
    return *r >> 8;
}

/* Warps in random order, and the lanes of each. */
static void shuffle_order(uint32_t n)
{
    uint32_t r = emu_schedule.seed * 2654435761u + emu_machine.serial, warps = n / 32, warp[32];
    for (uint32_t w = 0; w < warps; w++)
        warp[w] = w;
    for (uint32_t w = warps - 1; w > 0; w--) {
        uint32_t j = random_next(&r) % (w + 1), x = warp[w];
        warp[w] = warp[j];
        warp[j] = x;
    }
    for (uint32_t w = 0; w < warps; w++) {
        uint32_t lane[32];
        for (uint32_t i = 0; i < 32; i++)
            lane[i] = i;
        for (uint32_t i = 31; i > 0; i--) {
            uint32_t j = random_next(&r) % (i + 1), x = lane[i];
            lane[i] = lane[j];
            lane[j] = x;
        }
        for (uint32_t i = 0; i < 32; i++)
            order[w * 32 + i] = warp[w] * 32 + lane[i];
    }
}

static bool may_run(const struct emu_thread *t)
{
    return t->state == EMU_READY || (t->state == EMU_AT_PHASE && emu_phase_over(t));
}

/* One round over lanes [first, first + n) of the order; whether anybody went on. */
static bool run_lanes(uint32_t first, uint32_t n)
{
    bool moved = false;
    for (uint32_t i = first; i < first + n && !emu_machine.abandoned; i++) {
        struct emu_thread *t = &emu_machine.threads[order[i]];
        if (!may_run(t)) continue;
        t->state = EMU_READY;
        emu_self = t;
        emu_switch(&scheduler_stack, t->stack);
        moved = true;
    }
    return moved;
}

static bool run_round(uint32_t n)
{
    bool moved = false;
    if (emu_schedule.order != EMU_RANDOM) return run_lanes(0, n);
    for (uint32_t w = 0; w < n / 32; w++)
        while (run_lanes(w * 32, 32))
            moved = true;
    return moved;
}

/* Where and why those wait who will never go on. */
static void report_standstill(void)
{
    struct emu_machine *m = &emu_machine;
    for (uint32_t i = 0; i < m->n; i++) {
        struct emu_thread *t = &m->threads[i];
        if (t->state == EMU_GONE) continue;
        emu_self = t;
        if (t->state == EMU_AT_BARRIER)
            emu_fault(t->line, "barrier reached by a part of the block only");
        else if (t->state == EMU_AT_PHASE)
            emu_fault(t->line, "the phase of a barrier in memory never ends");
        else
            emu_fault(t->line, "an operation of the warp is not reached by all of its lanes");
        break;
    }
    m->abandoned = true;
}

static void run_block(void)
{
    struct emu_machine *m = &emu_machine;
    m->alive = m->n;
    m->jumps = 0;
    m->abandoned = false;
    m->serial++;
    memset(barriers, 0, sizeof barriers);
    emu_shared_clear();
    emu_bulk_begin();
    for (uint32_t i = 0; i < m->n; i++)
        begin_thread(i);
    if (emu_schedule.order == EMU_RANDOM) shuffle_order(m->n);
    for (uint32_t i = 0; i < m->n && emu_schedule.order == EMU_BACKWARD; i++)
        order[i] = m->n - 1 - i;
    while (m->alive > 0 && !m->abandoned)
        if (!run_round(m->n) && !m->abandoned && !emu_bulk_land()) report_standstill();
    if (!m->abandoned) emu_bulk_end();
    emu_self = NULL;
}

/* ------------------------------------------------------------------ launches */

const struct emu_module *emu_open(const char *path)
{
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct emu_module *m = object ? dlsym(object, "emu_module") : NULL;
    if (!m || n_modules == MAX_MODULES) {
        const char *why = dlerror();
        fprintf(stderr, "emu: cannot open '%s': %s\n", path, why ? why : "too many modules");
        return NULL;
    }
    return modules[n_modules++] = m;
}

static bool find_kernel(const char *name)
{
    emu_machine.kernel = NULL;
    emu_machine.module = NULL;
    for (int i = 0; i < n_modules; i++)
        for (int k = 0; k < modules[i]->n_kernels; k++)
            if (strcmp(modules[i]->kernels[k].name, name) == 0) {
                emu_machine.module = modules[i];
                emu_machine.kernel = &modules[i]->kernels[k];
                return true;
            }
    emu_fault(0, "there is no kernel '%s'", name);
    return false;
}

static uint32_t shared_bytes(const struct emu_kernel *k, uint32_t dynamic)
{
    uint32_t most = 0;
    for (int i = 0; i < k->n_shared; i++) {
        uint32_t end = k->shared[i].at + (k->shared[i].bytes ? k->shared[i].bytes : dynamic);
        most = end > most ? end : most;
    }
    return most;
}

static bool launch_possible(const struct emu_launch *l)
{
    const struct emu_kernel *k = emu_machine.kernel;
    if (l->grid[0] == 0 || l->grid[0] > INT32_MAX || l->grid[1] == 0 || l->grid[1] > 65535 ||
        l->grid[2] == 0 || l->grid[2] > 65535)
        emu_fault(0, "a grid of %u x %u x %u", l->grid[0], l->grid[1], l->grid[2]);
    else if (l->block == 0 || l->block % 32 != 0 || l->block > EMU_MAX_THREADS ||
             (k->most_threads && l->block > (uint32_t)k->most_threads))
        emu_fault(0, "a block of %u threads", l->block);
    else if (shared_bytes(k, l->shared) > EMU_SHARED_MAX)
        emu_fault(0, "%u bytes of shared memory", shared_bytes(k, l->shared));
    else if (l->parameter_bytes != k->parameter_bytes)
        emu_fault(0, "parameters of %u bytes, where the kernel has %u", l->parameter_bytes,
                  k->parameter_bytes);
    else
        return true;
    return false;
}

static void set_up(void)
{
    size_t bytes = (size_t)EMU_MAX_THREADS * STACK;
    stacks = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                  -1, 0);
    emu_smem = aligned_alloc(1024, EMU_SHARED_MAX + 1024);
    if (stacks == MAP_FAILED || !emu_smem) abort();
}

bool emu_run(const struct emu_launch *l)
{
    struct emu_machine *m = &emu_machine;
    long before = emu_faults;
    if (!stacks) set_up();
    if (!find_kernel(l->kernel) || !launch_possible(l)) return false;
    m->parameters = l->parameters;
    m->parameter_bytes = l->parameter_bytes;
    m->n = l->block;
    m->first_serial = m->serial + 1;
    emu_grid = (struct emu_dim){l->grid[0], l->grid[1], l->grid[2]};
    emu_block_dim = (struct emu_dim){l->block, 1, 1};
    emu_shared_layout(m->kernel, l->shared);
    for (uint32_t z = 0; z < l->grid[2]; z++)
        for (uint32_t y = 0; y < l->grid[1]; y++)
            for (uint32_t x = 0; x < l->grid[0]; x++) {
                emu_block = (struct emu_dim){x, y, z};
                run_block();
                if (m->abandoned) return false;
            }
    return emu_faults == before;
}
