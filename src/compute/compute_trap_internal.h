/* compute_trap_internal.h: memory of a context that only operations may touch (struct compute_options,
 * closed). */
#ifndef COLOSSUS_COMPUTE_TRAP_INTERNAL_H
#define COLOSSUS_COMPUTE_TRAP_INTERNAL_H

#include "compute/core/compute_internal.h"

struct compute_trap *compute_trap_new(void);
void compute_trap_free(struct compute_trap *t);
/* Memory that was made while it was open; and is given back while it is. */
void compute_trap_add(struct compute_trap *t, void *memory, size_t bytes);
void compute_trap_remove(struct compute_trap *t, const void *memory);
void compute_trap_set(struct compute_trap *t, bool open);

/* Around every operation. */
static inline void compute_enter(const compute_t *c)
{
    if (c->trap) compute_trap_set(c->trap, true);
}

static inline void compute_leave(const compute_t *c)
{
    if (c->trap) compute_trap_set(c->trap, false);
}

#endif
