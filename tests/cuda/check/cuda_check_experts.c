/* cuda_check_experts.c: the kernels of compute_cuda_experts.cu beside the reference. */
#include <math.h>

#include "cuda_check.h"

#define ON_DEVICE(x, bytes) ((__typeof__(x))device_copy(x, bytes))
#define FLOATS(n)           ((size_t)(n) * sizeof(float))

static void check_glu(void)
{
    static const int64_t shapes[][2] = {{1, 1}, {3, 33}, {2, 300}};
    FOR_FORMATS
    for (int which = 0; which < 12; which++) { /* weighted, silu */
        int64_t M = shapes[which / 4][0], F = shapes[which / 4][1];
        size_t n = (size_t)(M * F);
        begin_case("gated unit %d of %lld x %lld", which % 4, (long long)M, (long long)F);
        struct compute_glu g = {M,
                                F,
                                host_act(2 * n, 2),
                                which & 1 ? host_random((size_t)M, 1) : NULL,
                                host_zeros(act_bytes(n)),
                                which & 2 ? COMPUTE_SILU : COMPUTE_GELU_TANH},
                           on = g;
        void *gu_on = device_copy(g.gu, act_bytes(2 * n));
        on.gu = gu_on;
        on.w = g.w ? ON_DEVICE(g.w, FLOATS(M)) : NULL;
        on.act = device_new(act_bytes(n));
        reference->glu_forward(&g, 0, M);
        compute_cuda_glu_forward(&cuda, &on);
        want_act("act", on.act, g.act, n, 2e-6f);
        if (which & 2) continue;
        struct compute_glu_grad d = {host_act(n, 1), host_zeros(act_bytes(2 * n)),
                                     host_zeros(FLOATS(M))},
                                d_on = {device_copy(d.d_act, act_bytes(n)), gu_on,
                                        device_new(FLOATS(M))};
        on.act = device_new(act_bytes(n));
        reference->glu_backward(&g, &d, 0, M);
        compute_cuda_glu_backward(&cuda, &on, &d_on);
        want_act("dgu", d_on.dgu, d.dgu, 2 * n, 4e-6f);
        want_act("act again", on.act, g.act, n, 2e-6f);
        want_f32("dw", d_on.dw, d.dw, (size_t)M, 4e-6f);
    }
}

struct router_case {
    struct compute_router host, on;
    size_t probs, tops;
};

static struct router_case router_case(int64_t M, int64_t D, int64_t E, int64_t k, bool biased)
{
    struct router_case c = {.probs = FLOATS(M * E), .tops = FLOATS(M * k)};
    c.host = (struct compute_router){.M = M,
                                     .D = D,
                                     .E = E,
                                     .k = k,
                                     .x = host_act((size_t)(M * D), 1),
                                     .W = host_random((size_t)(E * D), 0.5f),
                                     .cap = biased ? 5 : 0,
                                     .bias = biased ? host_random((size_t)E, 0.1f) : NULL,
                                     .probs = host_zeros(c.probs),
                                     .lse = host_zeros(FLOATS(M)),
                                     .top = host_zeros(c.tops),
                                     .weight = host_zeros(c.tops)};
    c.on = c.host;
    c.on.x = device_copy(c.host.x, act_bytes((size_t)(M * D)));
    c.on.W = ON_DEVICE(c.host.W, FLOATS(E * D));
    c.on.bias = biased ? ON_DEVICE(c.host.bias, FLOATS(E)) : NULL;
    c.on.probs = device_new(c.probs);
    c.on.lse = device_new(FLOATS(M));
    c.on.top = device_new(c.tops);
    c.on.weight = device_new(c.tops);
    return c;
}

static const int64_t routers[][4] = {/* M, D, E, k */
                                     {1, 1, 1, 1},
                                     {3, 40, 3, 2},
                                     {5, 270, 8, 2},
                                     {9, 20, 130, 6},
                                     {140, 6, 4, 4}};

static void check_router(void)
{
    FOR_FORMATS
    for (size_t i = 0; i < 2 * ARRAY_LEN(routers); i++) {
        const int64_t *r = routers[i / 2];
        int64_t M = r[0], E = r[2], k = r[3];
        begin_case("router %zu", i);
        struct router_case c = router_case(M, r[1], E, k, i & 1);
        if (i == 3) /* equal experts: the smaller index comes first */
            memset((void *)(uintptr_t)c.host.W, 0, FLOATS(E * r[1])),
                memset((void *)(uintptr_t)c.on.W, 0, FLOATS(E * r[1]));
        c.on.renormalise = (i & 1) == 0 && k > 1;
        reference->router_forward(&c.host, 0, M);
        compute_cuda_router_forward(&cuda, &c.on);
        for (int64_t s = 0; s < M && c.on.renormalise; s++) {
            float sum = 0;
            for (int64_t j = 0; j < k; j++)
                sum += c.host.weight[s * k + j];
            for (int64_t j = 0; j < k; j++)
                c.host.weight[s * k + j] /= sum;
        }
        want_f32("probs", c.on.probs, c.host.probs, (size_t)(M * E), 4e-6f);
        want_f32("lse", c.on.lse, c.host.lse, (size_t)M, 4e-6f);
        want_bytes("top", c.on.top, c.host.top, c.tops);
        want_f32("weight", c.on.weight, c.host.weight, (size_t)(M * k), 4e-6f);
        if (!c.on.bias) continue;
        memset(c.on.top, 0, c.tops);
        compute_cuda_router_select(&cuda, &c.on);
        want_bytes("top again", c.on.top, c.host.top, c.tops);
    }
}

static void check_router_backward(void)
{
    FOR_FORMATS
    for (size_t i = 0; i < 2 * ARRAY_LEN(routers); i++) {
        const int64_t *r = routers[i / 2];
        int64_t M = r[0], D = r[1], E = r[2], k = r[3];
        begin_case("gradient of router %zu", i);
        struct router_case c = router_case(M, D, E, k, i & 1);
        struct compute_router_grad d = {host_random((size_t)(M * k), 1),
                                        i & 1 ? host_random((size_t)E, 1) : NULL,
                                        0.3f,
                                        0.2f,
                                        host_zeros(FLOATS(M * D)),
                                        host_random((size_t)(E * D), 1),
                                        i & 1},
                                   on = d;
        on.d_weight = ON_DEVICE(d.d_weight, c.tops);
        on.f = d.f ? ON_DEVICE(d.f, FLOATS(E)) : NULL;
        on.dx = device_new(FLOATS(M * D));
        on.dW = i & 1 ? ON_DEVICE(d.dW, FLOATS(E * D)) : device_new(FLOATS(E * D));
        if (!(i & 1)) memset(d.dW, 0, FLOATS(E * D));
        reference->router_forward(&c.host, 0, M);
        reference->router_backward(&c.host, &d, 0, M, d.dW);
        emu_upload(c.on.probs, c.host.probs, c.probs);
        emu_upload(c.on.lse, c.host.lse, FLOATS(M));
        emu_upload(c.on.top, c.host.top, c.tops);
        compute_cuda_router_backward(&cuda, &c.on, &on);
        want_f32("dx", on.dx, d.dx, (size_t)(M * D), 1e-5f);
        want_f32("dW", on.dW, d.dW, (size_t)(E * D), 1e-5f);
    }
}

static void check_balance(void)
{
    static const int64_t shapes[][3] = {{2, 2, 1}, {70, 5, 2}, {300, 33, 4}};
    compute_t *c;
    check_format(0);
    if (compute_new(&(struct compute_options){.backend = COMPUTE_REFERENCE}, &c, NULL) < 0) abort();
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        int64_t M = shapes[i][0], E = shapes[i][1], k = shapes[i][2];
        begin_case("balance of %lld rows, %lld experts", (long long)M, (long long)E);
        struct compute_router r = {
            .M = M, .E = E, .k = k, .probs = host_random((size_t)(M * E), 0.2f)};
        float *bias = host_random((size_t)E, 0.1f), *bias_on = ON_DEVICE(bias, FLOATS(E));
        struct compute_router on = r;
        on.probs = ON_DEVICE(r.probs, FLOATS(M * E));
        compute_router_balance(c, &r, bias);
        compute_cuda_router_balance(&cuda, &on, bias_on);
        want_f32("bias", bias_on, bias, (size_t)E, 1e-6f);
    }
    compute_free(c);
}

static void check_dispatch(void)
{
    static const int64_t shapes[][4] = {/* M, E, k, align */
                                        {1, 1, 1, 1},
                                        {7, 3, 2, 32},
                                        {300, 5, 2, 32},
                                        {200, 300, 3, 1},
                                        {130, 8, 8, 32}};
    compute_t *c;
    check_format(0);
    if (compute_new(&(struct compute_options){.backend = COMPUTE_REFERENCE}, &c, NULL) < 0) abort();
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        int64_t M = shapes[i][0], E = shapes[i][1], k = shapes[i][2], align = shapes[i][3];
        int64_t most = compute_dispatch_rows(M, E, k, align), rows = most + 3;
        begin_case("dispatch %zu", i);
        int32_t *top = host_zeros(FLOATS(M * k));
        for (int64_t s = 0; s < M * k; s++) /* different ones for a token; none for expert 1 */
            top[s] = (int32_t)((s % k + random_below((uint32_t)(E / k ? E / k : 1)) * k) % E);
        struct compute_dispatch d = {M,
                                     E,
                                     k,
                                     align,
                                     top,
                                     host_zeros(FLOATS(E + 1)),
                                     host_zeros(FLOATS(E)),
                                     host_zeros(FLOATS(M * k)),
                                     host_zeros(FLOATS(rows)),
                                     host_zeros(FLOATS(rows))},
                                on = d;
        memset(d.row_token, 0xff, FLOATS(rows));
        memset(d.row_slot, 0xff, FLOATS(rows));
        on.top = ON_DEVICE(top, FLOATS(M * k));
        on.offset = device_new(FLOATS(E + 1));
        on.count = device_new(FLOATS(E));
        on.slot_row = device_new(FLOATS(M * k));
        on.row_token = device_new(FLOATS(rows));
        on.row_slot = device_new(FLOATS(rows));
        compute_dispatch(c, &d);
        compute_cuda_dispatch(&cuda, &on, rows);
        want_bytes("offset", on.offset, d.offset, FLOATS(E + 1));
        want_bytes("count", on.count, d.count, FLOATS(E));
        want_bytes("slot_row", on.slot_row, d.slot_row, FLOATS(M * k));
        want_bytes("row_token", on.row_token, d.row_token, FLOATS(rows));
        want_bytes("row_slot", on.row_slot, d.row_slot, FLOATS(rows));
        /* Weights to rows, and shares. */
        float *w = host_random((size_t)(M * k), 1), *row_w = host_zeros(FLOATS(rows));
        float *share = host_zeros(FLOATS(E)), *share_on = device_new(FLOATS(E));
        float *w_on = ON_DEVICE(w, FLOATS(M * k)), *row_w_on = device_new(FLOATS(rows));
        for (int64_t r = 0; r < rows; r++)
            row_w[r] = d.row_slot[r] < 0 ? 0 : w[d.row_slot[r]];
        for (int64_t e = 0; e < E; e++)
            share[e] = (float)((double)d.count[e] / (double)(M * k));
        compute_cuda_pick(&cuda, rows, on.row_slot, w_on, row_w_on);
        compute_cuda_share(&cuda, E, on.count, (double)(M * k), share_on);
        want_f32("weights of rows", row_w_on, row_w, (size_t)rows, 0);
        want_f32("share", share_on, share, (size_t)E, 0);
    }
    compute_free(c);
}

static void check_routed(void)
{
    static const int64_t shapes[][2] = {{1, 1}, {3, 5}, {300, 33}, {1000, 2}};
    compute_t *c;
    check_format(0);
    if (compute_new(&(struct compute_options){.backend = COMPUTE_REFERENCE}, &c, NULL) < 0) abort();
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        int64_t M = shapes[i][0], E = shapes[i][1], n = 2 * E + 1;
        begin_case("sums of %lld rows, %lld experts", (long long)M, (long long)E);
        struct compute_routed r = {.M = M, .E = E}, on;
        double *out = host_zeros((size_t)n * sizeof(*out));
        int32_t *count = host_zeros(FLOATS(E));
        float *want = host_zeros(FLOATS(n)), *got = device_new(FLOATS(n));
        for (int64_t e = 0; e < E; e++)
            count[e] = (int32_t)random_below(1000);
        r.probs = host_random((size_t)(M * E), 1);
        r.lse = host_random((size_t)M, 1);
        r.count = count;
        r.out = out;
        on = r;
        on.probs = ON_DEVICE(r.probs, FLOATS(M * E));
        on.lse = ON_DEVICE(r.lse, FLOATS(M));
        on.count = ON_DEVICE(count, FLOATS(E));
        on.out = device_new((size_t)n * sizeof(*out));
        compute_routed(c, &r);
        compute_cuda_routed(&cuda, &on);
        for (int64_t k = 0; k < n; k++) { /* doubles as floats: their first 24 bits */
            want[k] = (float)out[k];
            float x = (float)on.out[k];
            emu_upload(&got[k], &x, sizeof(x));
        }
        want_f32("sums", got, want, (size_t)n, 1e-7f);
    }
    compute_free(c);
}

static void check_combine(void)
{
    FOR_FORMATS
    for (int which = 0; which < 4; which++) {
        int64_t M = 7, D = which & 1 ? 33 : 8, k = 3, rows = M * k + 5;
        size_t n = (size_t)(M * D), wide = (size_t)(rows * D);
        begin_case("combine %d", which);
        int32_t *slot_row = host_zeros(FLOATS(M * k)), *row_token = host_zeros(FLOATS(rows));
        for (int64_t s = 0; s < M * k; s++)
            slot_row[s] = (int32_t)random_below((uint32_t)rows);
        for (int64_t r = 0; r < rows; r++)
            row_token[r] = (int32_t)random_below((uint32_t)M + 1) - 1;
        void *x = host_act(n, 1), *y = host_zeros(act_bytes(wide));
        void *x_on = device_copy(x, act_bytes(n)), *y_on = device_new(act_bytes(wide));
        int32_t *token_on = ON_DEVICE(row_token, FLOATS(rows));
        for (int64_t r = 0; r < rows; r++)
            if (row_token[r] >= 0)
                memcpy((char *)y + act_bytes((size_t)(r * D)),
                       (char *)x + act_bytes((size_t)(row_token[r] * D)), act_bytes((size_t)D));
        compute_cuda_gather(&cuda, rows, D, token_on, x_on, y_on);
        want_bytes("gathered", y_on, y, act_bytes(wide));
        struct compute_combine c = {M,
                                    D,
                                    k,
                                    slot_row,
                                    y,
                                    which & 1 ? host_act(n, 1) : NULL,
                                    which & 2 ? host_random(n, 1) : NULL,
                                    0.6f,
                                    host_zeros(act_bytes(n))},
                               on = c;
        on.slot_row = ON_DEVICE(slot_row, FLOATS(M * k));
        on.y = y_on;
        on.a = c.a ? device_copy(c.a, act_bytes(n)) : NULL;
        on.b = c.b ? ON_DEVICE(c.b, FLOATS(n)) : NULL;
        on.out = device_new(act_bytes(n));
        reference->combine(&c, 0, M);
        compute_cuda_combine(&cuda, &on);
        want_act("combined", on.out, c.out, n, 1e-6f);
    }
}

const struct check expert_checks[] = {{"glu", check_glu},
                                      {"router", check_router},
                                      {"router_backward", check_router_backward},
                                      {"balance", check_balance},
                                      {"dispatch", check_dispatch},
                                      {"routed", check_routed},
                                      {"combine", check_combine},
                                      {0}};
