/* compute_context.c: the context of a device. */
#include "compute/core/compute_internal.h"
#include "compute/core/compute_ops_internal.h"
#include "compute/compute_trap_internal.h"
#include "compute/cpu/compute_cpu_internal.h"
#include "compute/gpu/compute_gpu_internal.h"

int compute_new(const struct compute_options *o, compute_t **out, struct error *e)
{
    CHECK(o->dtype == COMPUTE_F32 || o->dtype == COMPUTE_BF16);
    if (o->backend == COMPUTE_CUDA) {
        CHECK(!o->closed);
        return compute_gpu_new(o, out, e);
    }
    TRY(compute_cpu_new(o, out, e));
    if (o->closed) (*out)->trap = compute_trap_new();
    return 0;
}

void compute_free(compute_t *c)
{
    if (!c) return;
    compute_trap_free(c->trap);
    c->ops->close(c);
    mem_free(c);
}

enum compute_dtype compute_act_dtype(const compute_t *c)
{
    return c->dtype;
}

const char *compute_backend_name(const compute_t *c)
{
    return c->name;
}

struct pool *compute_pool(const compute_t *c)
{
    return c->pool;
}

size_t compute_scratch_bytes(const compute_t *c)
{
    return c->shared.size + c->private.size;
}
