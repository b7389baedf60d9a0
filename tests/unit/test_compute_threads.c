/* test_compute_threads.c: the same numbers, bit for bit, with 1, 2 and 3 threads, and no
 * allocation once an operation has run. One function runs every operation of compute.h on shapes
 * that make several tasks of each, and hashes every output on the way. */
#include "test_compute_arrays.h"

#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <unistd.h>

enum { B = 2, T = 150, M = B * T, D = 96, H = 4, K = 2, W = 24, F = 160, E = 5, TOP = 2, V = 333 };
enum { ROWS = M * TOP + E * COMPUTE_ROW_ALIGN }; /* of the experts' input, at most */
enum { QKV = (H + 2 * K) * W, MOST = ROWS * F, MAX_HASHES = 64 };

struct outputs {
    size_t n;
    struct {
        const char *name;
        uint64_t hash;
    } all[MAX_HASHES];
};

/* Everything a run needs; made before the counted part. */
struct bench {
    compute_t *c;
    enum compute_dtype dtype;
    struct array fp[8], act[6], gain[2], dgain[2], small[4], weights, grads, table;
    compute_linear_t *qkv, *experts;
    uint32_t ids[M];
    int32_t top[M * TOP], offset[E + 1], count[E], slot_row[M * TOP];
    int32_t row_token[ROWS], row_slot[ROWS];
    struct outputs *out;
};

static void note(struct bench *s, const char *name, const void *data, size_t bytes)
{
    assert_true(s->out->n < MAX_HASHES);
    s->out->all[s->out->n].name = name;
    s->out->all[s->out->n++].hash = hash_xxh3(data, bytes);
}

static void note_array(struct bench *s, const char *name, const struct array *a)
{
    note(s, name, a->data, a->n * compute_dtype_size(a->dtype));
}

enum { WEIGHTS = QKV * D + E * F * D };

static struct bench bench_new(enum compute_dtype dtype, struct pool *pool)
{
    struct bench s = {.dtype = dtype};
    struct compute_options o = {dtype, COMPUTE_AUTO, pool};
    assert_int_equal(compute_new(&o, &s.c, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(s.fp); i++)
        s.fp[i] = array_random(COMPUTE_F32, M * V, 100 + i, 0, 1);
    for (size_t i = 0; i < ARRAY_LEN(s.act); i++)
        s.act[i] = array_random(dtype, MOST, 200 + i, 0, 1);
    for (size_t i = 0; i < 2; i++) {
        s.gain[i] = array_random(COMPUTE_F32, D, 300 + i, 1, 0.1);
        s.dgain[i] = array_new(COMPUTE_F32, D);
    }
    for (size_t i = 0; i < ARRAY_LEN(s.small); i++)
        s.small[i] = array_random(COMPUTE_F32, M * MAX(E, H), 400 + i, 0, 1);
    s.weights = array_random(COMPUTE_F32, WEIGHTS, 500, 0, 0.1);
    s.grads = array_random(COMPUTE_F32, WEIGHTS, 501, 0, 0.1);
    s.table = array_new(COMPUTE_F32, compute_rope_table_floats(T, W));
    compute_rope_table(T, &(struct compute_rotation){.h = W, .theta = 10000}, s.table.data);
    for (int i = 0; i < M; i++)
        s.ids[i] = (uint32_t)(rng_u64(7, 7, (uint64_t)i) % V);
    const float *w = s.weights.data;
    float *g = s.grads.data;
    struct compute_linear_desc qkv = {.groups = 1, .in = D, .parts = 3, .max_rows = M};
    int64_t at = 0;
    for (int p = 0; p < 3; p++) {
        qkv.out[p] = p == 0 ? H * W : K * W;
        qkv.master[p] = w + at;
        qkv.grad[p] = g + at;
        at += qkv.out[p] * D;
    }
    struct compute_linear_desc experts = {.groups = E, .in = D, .parts = 1, .out = {F}};
    experts.master[0] = w + at;
    experts.grad[0] = g + at;
    experts.max_rows = compute_dispatch_rows(M, E, TOP, COMPUTE_ROW_ALIGN);
    s.qkv = compute_linear_new(s.c, &qkv);
    s.experts = compute_linear_new(s.c, &experts);
    compute_linear_update(s.qkv);
    compute_linear_update(s.experts);
    return s;
}

static void bench_free(struct bench *s)
{
    compute_linear_free(s->qkv);
    compute_linear_free(s->experts);
    for (size_t i = 0; i < ARRAY_LEN(s->fp); i++)
        array_free(&s->fp[i]);
    for (size_t i = 0; i < ARRAY_LEN(s->act); i++)
        array_free(&s->act[i]);
    for (size_t i = 0; i < 2; i++) {
        array_free(&s->gain[i]);
        array_free(&s->dgain[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(s->small); i++)
        array_free(&s->small[i]);
    array_free(&s->weights);
    array_free(&s->grads);
    array_free(&s->table);
    compute_free(s->c);
}

static void run_rows(struct bench *s)
{
    compute_t *c = s->c;
    struct array *fp = s->fp, *act = s->act;
    struct compute_embed embed = {M, D, s->ids, 2};
    compute_embed(c, &embed, fp[0].data, fp[1].data);
    note_array(s, "embed", &fp[1]);
    struct compute_norm norm = {M, D, 1e-5f, .x = fp[1].data, .g = s->gain[0].data};
    norm.y = act[0].data;
    norm.rstd = s->small[0].data;
    compute_rmsnorm(c, &norm);
    note_array(s, "rmsnorm", &act[0]);
    struct compute_seam seam = {.M = M, .D = D, .eps = 1e-5f, .h = fp[1].data, .y = act[1].data};
    seam.g_post = s->gain[0].data;
    seam.g_next = s->gain[1].data;
    seam.h_out = fp[2].data;
    seam.a = act[2].data;
    seam.rstd_post = s->small[0].data;
    seam.rstd_next = s->small[1].data;
    compute_seam_forward(c, &seam);
    note_array(s, "seam h", &fp[2]);
    note_array(s, "seam a", &act[2]);
    struct compute_seam_grad grad = {.da = act[3].data, .dh = fp[3].data, .dy = act[4].data};
    grad.dg_post = s->dgain[0].data;
    grad.dg_next = s->dgain[1].data;
    compute_seam_backward(c, &seam, &grad);
    note_array(s, "seam dh", &fp[3]);
    note_array(s, "seam dy", &act[4]);
    note_array(s, "seam dg", &s->dgain[0]);
    note_array(s, "seam dg", &s->dgain[1]);
    norm.x = fp[2].data;
    norm.rstd = s->small[1].data;
    struct compute_norm_grad norm_grad = {act[3].data, fp[3].data, s->dgain[0].data, true, true};
    compute_rmsnorm_backward(c, &norm, &norm_grad);
    note_array(s, "rmsnorm dx", &fp[3]);
    note_array(s, "rmsnorm dg", &s->dgain[0]);
    struct compute_glu glu = {M, F, act[0].data, s->small[2].data, act[1].data};
    compute_glu_forward(c, &glu);
    note_array(s, "glu", &act[1]);
    glu.act = act[2].data;
    struct compute_glu_grad glu_grad = {act[1].data, act[3].data, s->small[3].data};
    compute_glu_backward(c, &glu, &glu_grad);
    note_array(s, "glu dgu", &act[3]);
    note_array(s, "glu dw", &s->small[3]);
}

static void run_attention(struct bench *s)
{
    compute_t *c = s->c;
    struct array *act = s->act;
    const struct compute_rows all = {.n = M};
    size_t size = compute_dtype_size(s->dtype);
    compute_linear_forward(s->qkv, all, act[0].data, act[1].data, s->dtype);
    note_array(s, "linear", &act[1]);
    struct compute_rope rope = {M, T, H + K, W, QKV, NULL, s->table.data, false, act[1].data};
    compute_rope(c, &rope);
    note_array(s, "rope", &act[1]);
    struct compute_attention a = {.B = B, .T = T, .H = H, .K = K, .h = W, .ld = QKV};
    char *q = act[1].data, *dq = act[3].data;
    a.q = q;
    a.k = q + H * W * size;
    a.v = q + (H + K) * W * size;
    a.ld_out = H * W;
    a.out = act[2].data;
    a.lse = s->small[0].data;
    a.multiplier = 0.2f;
    a.cap = 30;
    compute_attention_forward(c, &a);
    note_array(s, "attention", &act[2]);
    struct compute_attention_grad grad = {act[4].data, dq, dq + H * W * size,
                                          dq + (H + K) * W * size};
    compute_attention_backward(c, &a, &grad);
    note_array(s, "attention backward", &act[3]);
    compute_linear_backward_input(s->qkv, all, act[3].data, act[5].data, s->dtype);
    note_array(s, "linear dx", &act[5]);
    compute_linear_backward_weight(s->qkv, all, act[3].data, act[0].data, false);
    note_array(s, "linear dw", &s->grads);
    compute_linear_backward_weight(s->qkv, all, act[3].data, act[0].data, true);
    note_array(s, "linear dw again", &s->grads);
}

static void run_experts(struct bench *s)
{
    compute_t *c = s->c;
    struct array *fp = s->fp, *act = s->act;
    struct compute_router r = {.M = M, .D = D, .E = E, .k = TOP, .x = act[0].data};
    r.W = fp[0].data;
    r.probs = s->small[0].data;
    r.lse = s->small[1].data;
    r.top = s->top;
    r.weight = s->small[2].data;
    compute_router_forward(c, &r);
    note_array(s, "router probs", &s->small[0]);
    note(s, "router top", s->top, sizeof s->top);
    struct compute_router_grad grad = {s->small[3].data, s->gain[0].data, 0.1f, 0.1f,
                                       fp[3].data,       fp[4].data,      false};
    compute_router_backward(c, &r, &grad);
    note_array(s, "router dx", &fp[3]);
    note_array(s, "router dW", &fp[4]);
    struct compute_dispatch dispatch = {
        M,         E,        TOP,         COMPUTE_ROW_ALIGN, s->top,
        s->offset, s->count, s->slot_row, s->row_token,      s->row_slot};
    compute_dispatch(c, &dispatch);
    const struct compute_rows rows = {s->offset, s->offset[E]};
    struct compute_gather gather = {rows.n,       D,           &s->offset[E],
                                    s->row_token, act[0].data, act[1].data};
    compute_gather(c, &gather);
    note_array(s, "gather", &act[1]);
    compute_linear_forward(s->experts, rows, act[1].data, act[2].data, s->dtype);
    note_array(s, "experts", &act[2]);
    compute_linear_backward_input(s->experts, rows, act[2].data, act[4].data, s->dtype);
    note_array(s, "experts dx", &act[4]);
    compute_linear_backward_weight(s->experts, rows, act[2].data, act[1].data, false);
    note_array(s, "experts dw", &s->grads);
    struct compute_combine combine = {M,           D,          TOP,  s->slot_row, act[4].data,
                                      act[0].data, fp[3].data, 0.5f, act[5].data};
    compute_combine(c, &combine);
    note_array(s, "combine", &act[5]);
}

static void run_rest(struct bench *s)
{
    compute_t *c = s->c;
    struct array *fp = s->fp, *act = s->act;
    struct compute_loss loss = {M,  V,    fp[0].data,       s->ids,     0.5f,
                                10, 0.1f, s->small[0].data, act[0].data};
    compute_cross_entropy(c, &loss);
    note_array(s, "cross entropy", &s->small[0]);
    note_array(s, "cross entropy dz", &act[0]);
    compute_logits(c, M, V, 0.5f, 10, fp[5].data);
    note_array(s, "logits", &fp[5]);
    struct compute_embed embed = {M, D, s->ids, 2};
    compute_embed_backward(c, &embed, fp[1].data, fp[2].data);
    note_array(s, "embed backward", &fp[2]);
    double sums[] = {compute_sum_squares(c, fp[0].data, M * V),
                     compute_all_finite(c, fp[2].data, M * V)};
    note(s, "sums", sums, sizeof sums);
    compute_axpby(c, M * V, 0.5f, fp[0].data, 0.1f, fp[1].data);
    struct compute_momentum momentum = {0.9f, 1, true, M * V, fp[0].data, fp[1].data, fp[2].data};
    compute_momentum(c, &momentum);
    note_array(s, "momentum", &fp[2]);
    memset(fp[4].data, 0, fp[4].n * sizeof(float));
    struct compute_adamw o = {0.01f, 0.9f,  0.95f,      1e-8f,      0.1f,       1,
                              3,     M * V, fp[2].data, fp[0].data, fp[3].data, fp[4].data};
    compute_adamw(c, &o);
    note_array(s, "adamw", &fp[2]);
    compute_to_act(c, fp[1].data, M * F, act[1].data);
    compute_scale(c, M * F, 0.3f, act[1].data, act[2].data);
    note_array(s, "conversion", &act[2]);
    struct compute_matmul m = {.M = 200, .N = 190, .K = 210, .lda = 210, .ldb = 210, .ldc = 200};
    m.alpha = m.beta = 1;
    m.in = s->dtype;
    m.A = act[0].data;
    m.B = act[1].data;
    m.C = fp[6].data;
    for (int flags = 0; flags < 4; flags++) {
        m.transpose_a = flags & 1;
        m.transpose_b = flags & 2;
        compute_matmul(c, &m);
    }
    note_array(s, "matmul", &fp[6]);
}

static void run_all(struct bench *s, struct outputs *out)
{
    *out = (struct outputs){0};
    s->out = out;
    run_rows(s);
    run_attention(s);
    run_experts(s);
    run_rest(s);
}

static void check_threads(enum compute_dtype dtype)
{
    struct outputs want = {0}, got;
    for (int threads = 1; threads <= 3; threads++) {
        struct pool *pool = pool_new(threads);
        struct bench *s = mem_alloc(sizeof *s);
        *s = bench_new(dtype, pool);
        run_all(s, &got);
        if (threads == 1) want = got;
        for (size_t i = 0; i < want.n; i++)
            if (got.all[i].hash != want.all[i].hash)
                fail_msg("%s %s differs between 1 and %d threads", compute_backend_name(s->c),
                         want.all[i].name, threads);
        uint64_t allocations = mem_alloc_count();
        run_all(s, &got);
        assert_int_equal(mem_alloc_count(), allocations);
        bench_free(s);
        mem_free(s);
        pool_free(pool);
    }
}

static void test_f32(void **state)
{
    (void)state;
    check_threads(COMPUTE_F32);
}

static void test_bf16(void **state)
{
    (void)state;
    check_threads(COMPUTE_BF16);
}

/* Signals come while the processor multiplies, a thousand a second. They are answered on a stack of their
 * own, and change no product; see base_signal.c. */
enum { SIDE = 1536, REPEATS = 8 };
static volatile sig_atomic_t caught, on_another_stack;

static void on_alarm(int number)
{
    stack_t s;
    (void)number;
    if (gettid() != getpid()) return; /* another thread may not have multiplied yet */
    caught++;
    if (sigaltstack(NULL, &s) == 0 && s.ss_flags & SS_ONSTACK) on_another_stack++;
}

static uint64_t hash_of_product(compute_t *c, const struct array *a, struct array *out)
{
    struct compute_matmul m = {.transpose_b = true, .M = SIDE, .N = SIDE, .K = SIDE, .alpha = 1};
    m.lda = m.ldb = m.ldc = SIDE;
    m.in = compute_act_dtype(c);
    m.A = a[0].data;
    m.B = a[1].data;
    m.C = out->data;
    compute_matmul(c, &m);
    return hash_xxh3(out->data, out->n * sizeof(float));
}

static void test_signals(void **state)
{
    (void)state;
    struct pool *pool = pool_new(2);
    struct compute_options o = {COMPUTE_F32, COMPUTE_AUTO, pool};
    const struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    struct array a[2], out = array_new(COMPUTE_F32, (size_t)SIDE * SIDE);
    struct sigaction before;
    compute_t *c;
    assert_int_equal(compute_new(&o, &c, NULL), 0);
    for (uint64_t i = 0; i < 2; i++)
        a[i] = array_random(COMPUTE_F32, (size_t)SIDE * SIDE, 600 + i, 0, 1);
    uint64_t undisturbed = hash_of_product(c, a, &out);
    signal_catch(SIGALRM, on_alarm, SA_RESTART, &before);
    setitimer(ITIMER_REAL, &often, NULL);
    for (int i = 0; i < REPEATS; i++)
        assert_true(hash_of_product(c, a, &out) == undisturbed);
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &before, NULL);
    assert_true(caught > 0);
    assert_int_equal(on_another_stack, caught);
    array_free(&a[0]);
    array_free(&a[1]);
    array_free(&out);
    compute_free(c);
    pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_f32), cmocka_unit_test(test_bf16),
                                       cmocka_unit_test(test_signals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
