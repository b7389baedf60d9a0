/* cuda_check_vectors.c: the kernels of compute_cuda_loss.cu and compute_cuda_vectors.cu beside the
 * reference. */
#include <math.h>

#include "cuda_check.h"

#define ON_DEVICE(x, bytes) ((__typeof__(x))device_copy(x, bytes))
#define FLOATS(n)           ((size_t)(n) * sizeof(float))

/* step: enum compute_loss_step; part: logits begin at id 5. */
static void cross_entropy(int64_t V, enum compute_loss_step step, bool part, float cap)
{
    int64_t M = 3;
    size_t n = (size_t)(M * V);
    begin_case("loss of %lld logits, step %d, part %d, cap %g", (long long)V, step, part,
               (double)cap);
    uint32_t *targets = host_zeros(FLOATS(M));
    for (int64_t m = 0; m < M; m++)
        targets[m] = random_below((uint32_t)V) + (part ? 3 : 0);
    struct compute_loss l = {.M = M,
                             .V = V,
                             .z = host_random(n, 8),
                             .targets = targets,
                             .multiplier = 0.8f,
                             .cap = cap,
                             .d_scale = 0.5f,
                             .nll = host_zeros(FLOATS(M)),
                             .d_logits = host_zeros(act_bytes(n)),
                             .step = step,
                             .first = part ? 5 : 0,
                             .lse = host_random((size_t)M, 1)},
                        on = l;
    for (int64_t m = 0; m < M; m++) /* of the step that is given it */
        l.lse[m] += 15;
    on.z = ON_DEVICE(l.z, FLOATS(n));
    on.targets = ON_DEVICE(targets, FLOATS(M));
    on.nll = device_new(FLOATS(M));
    on.d_logits = device_new(act_bytes(n));
    on.lse = step == COMPUTE_LOSS_GRADIENT ? ON_DEVICE(l.lse, FLOATS(M)) : device_new(FLOATS(M));
    reference->cross_entropy(&l, 0, M);
    compute_cuda_cross_entropy(&cuda, &on);
    if (step != COMPUTE_LOSS_GRADIENT) want_f32("nll", on.nll, l.nll, (size_t)M, 4e-6f);
    if (step == COMPUTE_LOSS_SUM) want_f32("lse", on.lse, l.lse, (size_t)M, 4e-6f);
    if (step != COMPUTE_LOSS_SUM) want_act("d_logits", on.d_logits, l.d_logits, n, 1e-5f);
}

static void check_loss(void)
{
    static const int64_t widths[] = {1, 31, 257, 1000};
    FOR_FORMATS
    for (size_t i = 0; i < ARRAY_LEN(widths); i++) {
        cross_entropy(widths[i], COMPUTE_LOSS_WHOLE, false, 30);
        cross_entropy(widths[i], COMPUTE_LOSS_WHOLE, false, 0);
        cross_entropy(widths[i], COMPUTE_LOSS_SUM, true, 30);
        cross_entropy(widths[i], COMPUTE_LOSS_GRADIENT, true, 0);
        float *z = host_random(500, 40), *z_on = ON_DEVICE(z, FLOATS(500));
        reference->logits(5, 100, 0.9f, 30, z);
        compute_cuda_logits(&cuda, 500, 0.9f, 30, z_on);
        want_f32("logits", z_on, z, 500, 2e-6f);
    }
}

static void check_sums(void)
{
    static const size_t sizes[] = {1, 255, 70001, 140000};
    check_format(0);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        for (int kind = CUDA_SUM_PLAIN; kind <= CUDA_SUM_NOT_FINITE; kind++) {
            size_t n = sizes[i];
            begin_case("sum %d of %zu", kind, n);
            float *x = host_random(n, 1);
            double *sum = device_new(sizeof *sum), want = 0;
            if (kind == CUDA_SUM_NOT_FINITE) x[0] = NAN, x[n - 1] = INFINITY;
            for (size_t j = 0; j < n; j++)
                want += kind == CUDA_SUM_PLAIN     ? (double)x[j]
                        : kind == CUDA_SUM_SQUARES ? (double)x[j] * (double)x[j]
                                                   : !isfinite(x[j]);
            compute_cuda_sum(&cuda, kind, ON_DEVICE(x, FLOATS(n)), n, sum);
            float got_f = (float)*sum, want_f = (float)want;
            if (!emu_written(sum, sizeof *sum)) got_f = NAN;
            float *got = ON_DEVICE(&got_f, sizeof got_f);
            want_f32("sum", got, &want_f, 1, 1e-6f);
        }
}

static void check_optimisers(void)
{
    static const size_t sizes[] = {1, 255, 1500};
    check_format(0);
    for (size_t i = 0; i < 2 * ARRAY_LEN(sizes); i++) {
        size_t n = sizes[i / 2], bytes = FLOATS(n);
        begin_case("optimisers of %zu", n);
        float *p = host_random(n, 1), *g = host_random(n, 1), *m = host_random(n, 1);
        float *v = host_random(n, 1), *u = host_zeros(bytes), *y = host_random(n, 1);
        for (size_t j = 0; j < n; j++)
            v[j] *= v[j];
        float *p_on = ON_DEVICE(p, bytes), *g_on = ON_DEVICE(g, bytes), *m_on = ON_DEVICE(m, bytes);
        float *v_on = ON_DEVICE(v, bytes), *u_on = device_new(bytes), *y_on = ON_DEVICE(y, bytes);
        struct compute_adamw a = {0.01f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.5f, 7, n, p, g, m, v}, on = a;
        on.p = p_on, on.g = g_on, on.m = m_on, on.v = v_on;
        float bias1 = (float)(1 - pow((double)a.beta1, 7)),
              bias2 = (float)(1 - pow((double)a.beta2, 7));
        reference->adamw(&a, bias1, bias2, 0, n);
        compute_cuda_adamw(&cuda, &on);
        want_f32("p", p_on, p, n, 1e-6f);
        want_f32("m", m_on, m, n, 1e-6f);
        want_f32("v", v_on, v, n, 1e-6f);
        struct compute_momentum k = {0.95f, 0.5f, i & 1, n, g, m, u}, k_on = k;
        k_on.g = g_on, k_on.m = m_on, k_on.u = u_on;
        reference->momentum(&k, 0, n);
        compute_cuda_momentum(&cuda, &k_on);
        want_f32("u", u_on, u, n, 2e-6f);
        reference->axpby(n, 0.3f, u, -0.7f, y);
        compute_cuda_axpby(&cuda, n, 0.3f, u_on, -0.7f, y_on);
        want_f32("y", y_on, y, n, 2e-6f);
    }
}

const struct check vector_checks[] = {
    {"loss", check_loss}, {"sums", check_sums}, {"optimisers", check_optimisers}, {0}};
