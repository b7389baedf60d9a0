/* compute_trap.c: a context whose memory is closed but while an operation runs.
 *
 * A device has memory of its own, which the host cannot read. Whether code that was written on a CPU
 * keeps to that shows nowhere on a CPU; so tests run it with the pages of all such memory protected,
 * where one access from outside ends the program. */
#include <stdlib.h>
#include <sys/mman.h>

#include "compute/compute_trap_internal.h"

struct closed {
    void *memory;
    size_t bytes;
};

struct compute_trap {
    struct closed *ranges;
    size_t n;
    bool open;
};

struct compute_trap *compute_trap_new(void)
{
    return mem_calloc(1, sizeof(struct compute_trap));
}

void compute_trap_free(struct compute_trap *t)
{
    if (!t) return;
    compute_trap_set(t, true);
    mem_free(t->ranges);
    mem_free(t);
}

static void protect(const struct closed *r, bool open)
{
    int rc = mprotect(r->memory, r->bytes, open ? PROT_READ | PROT_WRITE : PROT_NONE);
    CHECK_MSG(rc == 0, "memory cannot be %s", open ? "opened" : "closed");
}

void compute_trap_set(struct compute_trap *t, bool open)
{
    for (size_t i = 0; i < t->n && open != t->open; i++)
        protect(&t->ranges[i], open);
    t->open = open;
}

void compute_trap_add(struct compute_trap *t, void *memory, size_t bytes)
{
    CHECK(t->open);
    t->ranges = mem_realloc(t->ranges, (t->n + 1) * sizeof(*t->ranges));
    t->ranges[t->n++] = (struct closed){memory, bytes};
}

void compute_trap_remove(struct compute_trap *t, const void *memory)
{
    CHECK(t->open);
    for (size_t i = 0; i < t->n; i++)
        if (t->ranges[i].memory == memory) t->ranges[i] = t->ranges[--t->n];
}
