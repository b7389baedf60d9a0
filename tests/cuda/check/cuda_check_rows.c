/* cuda_check_rows.c: the kernels of compute_cuda_rows.cu beside the reference. */
#include <math.h>

#include "cuda_check.h"

/* Rows and widths: tails of a warp, of a block and of a chunk of rows. */
static const int64_t shapes[][2] = {{1, 1}, {3, 31}, {2, 256}, {3, 770}, {130, 5}};

#define FOR_SHAPES(M, D)                              \
    for (size_t i_ = 0; i_ < ARRAY_LEN(shapes); i_++) \
        for (int64_t M = shapes[i_][0], D = shapes[i_][1], once_ = 1; once_; once_ = 0)

/* A pointer on the device, of the same kind as the one on the host. */
#define ON_DEVICE(x, bytes) ((__typeof__(x))device_copy(x, bytes))

static void check_elements(void)
{
    FOR_FORMATS
    FOR_SHAPES(M, D)
    {
        size_t n = (size_t)(M * D);
        begin_case("%zu numbers", n);
        float *x = host_random(n, 3), *on = ON_DEVICE(x, n * sizeof *x);
        if (n > 2) x[0] = NAN, x[1] = INFINITY, emu_upload(on, x, 8);
        void *y = host_zeros(act_bytes(n)), *y_on = device_new(act_bytes(n));
        void *z = host_zeros(act_bytes(n)), *z_on = device_new(act_bytes(n));
        reference->to_act(n, x, y);
        reference->scale(n, 0.3f, y, z);
        compute_cuda_to_act(&cuda, on, n, y_on);
        compute_cuda_scale(&cuda, (int64_t)n, 0.3f, y_on, z_on);
        want_act("y", y_on, y, n, 0);
        want_act("z", z_on, z, n, 0);
    }
}

struct norm_case {
    struct compute_norm host, on;
    size_t n;
};

static struct norm_case norm_case(int64_t M, int64_t D)
{
    begin_case("%lld rows of %lld", (long long)M, (long long)D);
    size_t n = (size_t)(M * D), rows = (size_t)M * sizeof(float);
    struct norm_case c = {.n = n};
    c.host = (struct compute_norm){M,
                                   D,
                                   1e-5f,
                                   host_random(n, 2),
                                   host_random((size_t)D, 1),
                                   host_zeros(act_bytes(n)),
                                   host_zeros(rows)};
    c.on = c.host;
    c.on.x = ON_DEVICE(c.host.x, n * sizeof(float));
    c.on.g = ON_DEVICE(c.host.g, (size_t)D * sizeof(float));
    c.on.y = device_new(act_bytes(n));
    c.on.rstd = device_new(rows);
    return c;
}

static void check_norm(void)
{
    FOR_FORMATS
    FOR_SHAPES(M, D)
    {
        struct norm_case c = norm_case(M, D);
        reference->rmsnorm(&c.host, 0, M);
        compute_cuda_rmsnorm(&cuda, &c.on);
        want_act("y", c.on.y, c.host.y, c.n, 2e-6f);
        want_f32("rstd", c.on.rstd, c.host.rstd, (size_t)M, 2e-6f);
    }
}

static void check_norm_backward(void)
{
    FOR_FORMATS
    FOR_SHAPES(M, D)
    for (int add = 0; add < 2; add++) {
        struct norm_case c = norm_case(M, D);
        size_t floats = c.n * sizeof(float), gains = (size_t)D * sizeof(float);
        float *partial = host_zeros(gains), *dg = host_random((size_t)D, 1);
        struct compute_norm_grad host = {host_act(c.n, 1), host_random(c.n, 1), partial, add, add};
        struct compute_norm_grad on = {ON_DEVICE(host.dy, act_bytes(c.n)),
                                       add ? ON_DEVICE(host.dx, floats) : device_new(floats),
                                       add ? ON_DEVICE(dg, gains) : device_new(gains), add, add};
        reference->rmsnorm(&c.host, 0, M);
        reference->rmsnorm_backward(&c.host, &host, 0, M, partial);
        for (int64_t d = 0; d < D && add; d++)
            partial[d] += dg[d];
        emu_upload(c.on.rstd, c.host.rstd, (size_t)M * sizeof(float));
        compute_cuda_rmsnorm_backward(&cuda, &c.on, &on);
        want_f32("dx", on.dx, host.dx, c.n, 4e-6f);
        want_f32("dg", on.dg, partial, (size_t)D, 4e-6f);
    }
}

/* which: bit 0 a second norm, bit 1 a first one, bit 2 h_out is h, bit 3 no `a` at all. */
static void seam_forward(int64_t M, int64_t D, int which)
{
    begin_case("seam %d of %lld rows of %lld", which, (long long)M, (long long)D);
    size_t n = (size_t)(M * D), floats = n * sizeof(float), rows = (size_t)M * sizeof(float);
    struct compute_seam s = {.M = M, .D = D, .eps = 1e-5f, .scale = 0.7f}, on;
    float *h = host_random(n, 2), *h_on = device_copy(h, floats);
    s.h = h;
    s.y = host_act(n, 1);
    s.g_post = which & 2 ? host_random((size_t)D, 1) : NULL;
    s.g_next = which & 1 ? host_random((size_t)D, 1) : NULL;
    s.h_out = which & 4 ? h : host_zeros(floats);
    s.a = which & 8 ? NULL : host_zeros(act_bytes(n));
    s.rstd_post = host_zeros(rows);
    s.rstd_next = host_zeros(rows);
    on = s;
    on.h = h_on;
    on.y = ON_DEVICE(s.y, act_bytes(n));
    on.g_post = s.g_post ? ON_DEVICE(s.g_post, (size_t)D * sizeof(float)) : NULL;
    on.g_next = s.g_next ? ON_DEVICE(s.g_next, (size_t)D * sizeof(float)) : NULL;
    on.h_out = which & 4 ? h_on : device_new(floats);
    on.a = s.a ? device_new(act_bytes(n)) : NULL;
    on.rstd_post = device_new(rows);
    on.rstd_next = device_new(rows);
    reference->seam_forward(&s, 0, M);
    compute_cuda_seam_forward(&cuda, &on);
    want_f32("h_out", on.h_out, s.h_out, n, 2e-6f);
    if (s.a) want_act("a", on.a, s.a, n, 4e-6f);
    if (s.g_post) want_f32("rstd_post", on.rstd_post, s.rstd_post, (size_t)M, 2e-6f);
    if (s.a && s.g_next) want_f32("rstd_next", on.rstd_next, s.rstd_next, (size_t)M, 2e-6f);
}

static void check_seam(void)
{
    static const int which[] = {0, 1, 2, 3, 7, 8, 10};
    FOR_FORMATS
    FOR_SHAPES(M, D)
    for (size_t i = 0; i < ARRAY_LEN(which); i++)
        seam_forward(M, D, which[i]);
}

/* which: bit 0 there is da, bit 1 there is dy, bit 2 accumulate, bit 3 dy takes the place of y. */
static void seam_backward(int64_t M, int64_t D, int which)
{
    begin_case("gradient %d of a seam, %lld rows of %lld", which, (long long)M, (long long)D);
    size_t n = (size_t)(M * D), floats = n * sizeof(float), gains = (size_t)D * sizeof(float);
    struct compute_seam s = {.M = M, .D = D, .eps = 1e-5f}, on;
    float *rstd[2] = {host_random((size_t)M, 1), host_random((size_t)M, 1)};
    void *y = host_act(n, 1), *y_on = device_copy(y, act_bytes(n));
    s.y = y;
    s.h_out = host_random(n, 1);
    s.g_post = host_random((size_t)D, 1);
    s.g_next = host_random((size_t)D, 1);
    s.rstd_post = rstd[0];
    s.rstd_next = rstd[1];
    on = s;
    on.y = y_on;
    on.h_out = ON_DEVICE(s.h_out, floats);
    on.g_post = ON_DEVICE(s.g_post, gains);
    on.g_next = ON_DEVICE(s.g_next, gains);
    on.rstd_post = ON_DEVICE(rstd[0], (size_t)M * sizeof(float));
    on.rstd_next = ON_DEVICE(rstd[1], (size_t)M * sizeof(float));
    struct compute_seam_grad d = {which & 1 ? host_act(n, 1) : NULL,
                                  host_random(n, 1),
                                  which & 2 ? host_zeros(act_bytes(n)) : NULL,
                                  host_random((size_t)D, 1),
                                  host_random((size_t)D, 1),
                                  which & 4},
                             d_on = d;
    d_on.da = d.da ? ON_DEVICE(d.da, act_bytes(n)) : NULL;
    d_on.dh = ON_DEVICE(d.dh, floats);
    d_on.dy = !d.dy ? NULL : which & 8 ? y_on : device_new(act_bytes(n));
    d_on.dg_post = which & 4 ? ON_DEVICE(d.dg_post, gains) : device_new(gains);
    d_on.dg_next = which & 4 ? ON_DEVICE(d.dg_next, gains) : device_new(gains);
    if (!(which & 4)) memset(d.dg_post, 0, gains), memset(d.dg_next, 0, gains);
    reference->seam_backward(&s, &d, 0, M, d.dg_post, d.dg_next);
    compute_cuda_seam_backward(&cuda, &on, &d_on);
    want_f32("dh", d_on.dh, d.dh, n, 4e-6f);
    if (d.da) want_f32("dg_next", d_on.dg_next, d.dg_next, (size_t)D, 4e-6f);
    if (d.dy) want_act("dy", d_on.dy, d.dy, n, 4e-6f);
    if (d.dy) want_f32("dg_post", d_on.dg_post, d.dg_post, (size_t)D, 4e-6f);
}

static void check_seam_backward(void)
{
    static const int which[] = {1, 2, 3, 7, 11};
    FOR_FORMATS
    FOR_SHAPES(M, D)
    for (size_t i = 0; i < ARRAY_LEN(which); i++)
        seam_backward(M, D, which[i]);
}

static void check_rope(void)
{
    FOR_FORMATS
    for (int which = 0; which < 8; which++) {
        int64_t M = 13, T = 5, heads = 3, h = which & 4 ? 2 : 18, ld = heads * h + 3;
        begin_case("rotation %d", which);
        float *table = host_zeros(compute_rope_table_floats(16, h) * sizeof *table);
        int32_t *position = host_zeros((size_t)M * sizeof *position);
        for (int64_t r = 0; r < M; r++)
            position[r] = (int32_t)random_below(16);
        struct compute_rotation turn = {.h = h, .theta = 100};
        compute_rope_table(16, &turn, table);
        struct compute_rope p = {M,
                                 T,
                                 heads,
                                 h,
                                 ld,
                                 which & 1 ? position : NULL,
                                 table,
                                 which & 2,
                                 host_act((size_t)(M * ld), 1),
                                 (which & 2) == 0 && which & 4},
                            on = p;
        on.position = p.position ? ON_DEVICE(p.position, (size_t)M * sizeof *position) : NULL;
        on.table = ON_DEVICE(p.table, compute_rope_table_floats(16, h) * sizeof(float));
        on.x = ON_DEVICE(p.x, act_bytes((size_t)(M * ld)));
        reference->rope(&p, 0, M);
        compute_cuda_rope(&cuda, &on);
        want_act("x", on.x, p.x, (size_t)(M * ld), 1e-6f);
    }
}

static void check_heads(void)
{
    static const int64_t head_widths[] = {1, 31, 32, 100, 128};
    FOR_FORMATS
    for (size_t i = 0; i < ARRAY_LEN(head_widths); i++) {
        int64_t M = 5, heads = 3, h = head_widths[i], ld = heads * h + 5;
        size_t n = (size_t)(M * ld);
        begin_case("heads of %lld", (long long)h);
        struct compute_head_norm
            a = {M, heads, h, ld, 1e-5f, host_random((size_t)h, 1), host_act(n, 2)},
            on = a;
        struct compute_bias b = {M, heads * h, ld, host_random((size_t)(heads * h), 1), a.x},
                            b_on = b;
        on.g = ON_DEVICE(a.g, (size_t)h * sizeof(float));
        on.x = b_on.x = ON_DEVICE(a.x, act_bytes(n));
        b_on.b = ON_DEVICE(b.b, (size_t)(heads * h) * sizeof(float));
        reference->head_norm(&a, 0, M);
        reference->bias(&b, 0, M);
        compute_cuda_head_norm(&cuda, &on);
        compute_cuda_bias(&cuda, &b_on);
        want_act("x", on.x, a.x, n, 4e-6f);
    }
}

static void check_embed(void)
{
    check_format(0);
    FOR_SHAPES(M, D)
    for (int part = 0; part < 2; part++) {
        int64_t V = 7, rows = part ? 3 : V;
        size_t n = (size_t)(M * D), table_n = (size_t)(rows * D);
        begin_case("embedding of %lld tokens of %lld, part %d", (long long)M, (long long)D, part);
        uint32_t *ids = host_zeros((size_t)M * sizeof *ids);
        for (int64_t m = 0; m < M; m++)
            ids[m] = random_below((uint32_t)V);
        float *table = host_random(table_n, 1), *h = host_zeros(n * sizeof *h);
        float *dh = host_random(n, 1), *d_table = host_random(table_n, 1);
        struct compute_embed e = {M, D, ids, 1.7f, part ? 2 : 0, part ? rows : 0}, on = e;
        on.ids = ON_DEVICE(ids, (size_t)M * sizeof *ids);
        float *table_on = ON_DEVICE(table, table_n * sizeof(float));
        float *h_on = device_new(n * sizeof(float)), *dh_on = ON_DEVICE(dh, n * sizeof(float));
        float *d_table_on = ON_DEVICE(d_table, table_n * sizeof(float));
        reference->embed(&e, 0, M, table, h);
        reference->embed_backward(&e, 0, D, dh, d_table);
        compute_cuda_embed(&cuda, &on, table_on, h_on);
        compute_cuda_embed_backward(&cuda, &on, dh_on, d_table_on);
        want_f32("h", h_on, h, n, 0);
        want_f32("d_table", d_table_on, d_table, table_n, 1e-6f);
    }
}

const struct check row_checks[] = {{"elements", check_elements},
                                   {"norm", check_norm},
                                   {"norm_backward", check_norm_backward},
                                   {"seam", check_seam},
                                   {"seam_backward", check_seam_backward},
                                   {"rope", check_rope},
                                   {"heads", check_heads},
                                   {"embed", check_embed},
                                   {0}};
