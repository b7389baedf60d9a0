/* cuda_check_products.c: the kernels of compute_cuda_products.cu beside sums in double. */
#include <math.h>

#include "cuda_check.h"

#define ON_DEVICE(x, bytes) ((__typeof__(x))device_copy(x, bytes))
#define FLOATS(n)           ((size_t)(n) * sizeof(float))

static void want_numbers(const char *what, enum compute_dtype t, const void *got, const float *want,
                         size_t n)
{
    float bound = cuda.dtype == COMPUTE_F32 ? 2e-6f : 4e-6f;
    if (t == COMPUTE_F32) {
        want_f32(what, got, want, n, bound);
    } else {
        bf16_t *rounded = host_zeros(n * sizeof *rounded);
        for (size_t i = 0; i < n; i++)
            rounded[i] = bf16_store(want[i]);
        want_act(what, got, rounded, n, bound);
    }
}

/* which: bit 0 A transposed, bit 1 B transposed, bit 2 rows that are not aligned, bit 3 added to. */
static void matmul(int64_t M, int64_t N, int64_t K, int which)
{
    bool ta = which & 1, tb = which & 2, adds = which & 8;
    int64_t pad = which & 4 ? 3 : 0, lda = (ta ? M : K) + pad, ldb = (tb ? K : N) + pad,
            ldc = N + 2;
    size_t na = (size_t)((ta ? K : M) * lda), nb = (size_t)((tb ? N : K) * ldb);
    size_t nc = (size_t)(M * ldc);
    begin_case("product %d of %lld x %lld x %lld", which, (long long)M, (long long)N, (long long)K);
    void *A = host_act(na, 1), *B = host_act(nb, 1);
    float *C = host_random(nc, 1), *C_on = ON_DEVICE(C, FLOATS(nc));
    struct compute_matmul m = {.transpose_a = ta,
                               .transpose_b = tb,
                               .M = M,
                               .N = N,
                               .K = K,
                               .lda = lda,
                               .ldb = ldb,
                               .ldc = ldc,
                               .alpha = 0.7f,
                               .beta = adds ? 0.5f : 0,
                               .in = cuda.dtype,
                               .out = COMPUTE_F32,
                               .A = device_copy(A, act_bytes(na)),
                               .B = device_copy(B, act_bytes(nb)),
                               .C = C_on};
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < N; j++) {
            double sum = 0;
            for (int64_t k = 0; k < K; k++)
                sum += (double)act_at(A, ta ? k * lda + i : i * lda + k) *
                       (double)act_at(B, tb ? j * ldb + k : k * ldb + j);
            float *c = &C[i * ldc + j];
            *c = (float)(0.7 * sum + (adds ? 0.5 * (double)*c : 0));
        }
    compute_cuda_matmul(&cuda, &m);
    want_f32("C", C_on, C, nc, 4e-6f);
}

static void check_matmul(void)
{
    FOR_FORMATS
    {
        matmul(1, 1, 1, 4);
        for (int which = 0; which < 4; which++) {
            matmul(130, 72, 88, which);
            matmul(33, 140, 70, which | 12);
        }
        matmul(16, 24, 8, 8);
    }
}

/* Groups with 40, 0, 1 and 129 rows whose ranges begin at multiples of 32; two parts. */
static void linear(int64_t in, int64_t out0, int64_t out1, enum compute_dtype y_dtype)
{
    enum { GROUPS = 4 };
    static const int32_t offset[GROUPS + 1] = {0, 64, 64, 96, 256};
    int64_t out = out0 + out1, bound = 300;
    size_t nw = (size_t)(GROUPS * out * in), nx = (size_t)(bound * in), ny = (size_t)(bound * out);
    begin_case("groups of %lld to %lld + %lld", (long long)in, (long long)out0, (long long)out1);
    void *W = host_act(nw, 1), *X = host_act(nx, 1), *dY = host_act(ny, 1);
    struct compute_cuda_linear l = {GROUPS,
                                    in,
                                    out,
                                    bound,
                                    device_copy(W, act_bytes(nw)),
                                    ON_DEVICE(&offset[0], sizeof offset)};
    void *X_on = device_copy(X, act_bytes(nx)), *dY_on = device_copy(dY, act_bytes(ny));
    size_t rows = (size_t)offset[GROUPS];
    float *Y = host_zeros(FLOATS(ny)), *dX = host_zeros(FLOATS(nx));
    void *Y_on = device_new(ny * compute_dtype_size(y_dtype));
    void *dX_on = device_new(nx * compute_dtype_size(y_dtype));
    float *grad = host_random((size_t)(GROUPS * out1 * in), 1);
    float *grad_on = ON_DEVICE(grad, FLOATS(GROUPS * out1 * in));
    for (int g = 0; g < GROUPS; g++)
        for (int64_t r = offset[g]; r < offset[g + 1]; r++)
            for (int64_t n = 0; n < out; n++) {
                double sum = 0, d = (double)act_at(dY, r * out + n);
                for (int64_t k = 0; k < in; k++) {
                    double w = (double)act_at(W, (g * out + n) * in + k);
                    sum += (double)act_at(X, r * in + k) * w;
                    dX[r * in + k] += (float)(d * w);
                    if (n >= out0)
                        grad[((int64_t)g * out1 + n - out0) * in + k] +=
                            (float)(d * (double)act_at(X, r * in + k));
                }
                Y[r * out + n] = (float)sum;
            }
    compute_cuda_linear_forward(&cuda, &l, X_on, Y_on, y_dtype);
    compute_cuda_linear_backward_input(&cuda, &l, dY_on, dX_on, y_dtype);
    struct compute_cuda_weight_grad d = {dY_on, X_on, grad_on, out0, out1, true};
    compute_cuda_linear_backward_weight(&cuda, &l, &d);
    want_numbers("Y", y_dtype, Y_on, Y, rows * (size_t)out);
    want_numbers("dX", y_dtype, dX_on, dX, rows * (size_t)in);
    want_f32("grad", grad_on, grad, (size_t)(GROUPS * out1 * in), 4e-6f);
}

static bool tensor_map(void *device, const void *matrix, int64_t width, int64_t rows,
                       struct cuda_tensor_map *out)
{
    (void)device;
    struct emu_tensor_map m = {.base = matrix,
                               .dims = {(uint64_t)width, (uint64_t)rows},
                               .stride = (uint64_t)width,
                               .box = {64, 128},
                               .swizzle = 128};
    _Static_assert(sizeof m == sizeof *out, "");
    memcpy(out, &m, sizeof m);
    return true;
}

static void check_hopper(void)
{
    check_format(COMPUTE_BF16);
    cuda.tensor_map = tensor_map;
    linear(40, 16, 24, COMPUTE_F32);
    linear(328, 120, 16, COMPUTE_BF16);
    linear(64, 130, 1, COMPUTE_BF16);
    cuda.tensor_map = NULL;
}

static void check_linear(void)
{
    FOR_FORMATS
    {
        linear(40, 16, 24, COMPUTE_F32);
        linear(33, 10, 7, cuda.dtype);
        linear(72, 120, 16, cuda.dtype);
    }
}

const struct check product_checks[] = {
    {"matmul", check_matmul}, {"linear", check_linear}, {"hopper", check_hopper}, {0}};
