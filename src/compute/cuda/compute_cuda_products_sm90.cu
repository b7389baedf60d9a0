/* compute_cuda_products_sm90.cu: Y = X . W[g]^T of bfloat16 for Hopper (sm_90a): bulk copies by tensor
 * maps into four stages, one warp that copies, two warp groups that multiply (wgmma m64n128k16), each
 * 64 rows of a 128 x 128 tile.
 *
 * A stage is full when its copies have brought their bytes, empty when both groups have read it; both
 * are barriers in memory whose phase a wait names. Tiles lie in the pattern of 128 bytes. Where a
 * group's rows end within a tile the copy brings the next group's, which are multiplied and not
 * stored. Sums run in the order of K, as in compute_cuda_products.cu. Source: PTX ISA, "Asynchronous
 * warpgroup level matrix instructions". */
#include "compute/cuda/compute_cuda_tiles.cuh"

enum {
    TILE = 128,
    DEPTH = 64, /* numbers of the sum in a stage: one row of the pattern */
    STAGES = 4,
    THREADS = 384,
    STAGE_BYTES = TILE * DEPTH * 2
};

struct stages {
    unsigned char x[STAGES][STAGE_BYTES], w[STAGES][STAGE_BYTES];
    uint64_t full[STAGES], empty[STAGES];
};
extern __shared__ __align__(1024) unsigned char dynamic[];

DEVICE void barrier_init(uint64_t *b, int count)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;"
                 :
                 : "r"(shared_address(b)), "r"(count)
                 : "memory");
}

DEVICE void barrier_expect(uint64_t *b, int bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
                 :
                 : "r"(shared_address(b)), "r"(bytes)
                 : "memory");
}

DEVICE void barrier_arrive(uint64_t *b)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" : : "r"(shared_address(b)) : "memory");
}

DEVICE void barrier_wait(uint64_t *b, int parity)
{
    int over;
    do
        asm volatile("{\n.reg .pred q;\n"
                     "mbarrier.try_wait.parity.shared::cta.b64 q, [%1], %2;\n"
                     "selp.b32 %0, 1, 0, q;\n}"
                     : "=r"(over)
                     : "r"(shared_address(b)), "r"(parity)
                     : "memory");
    while (!over);
}

DEVICE void copy_tile(void *to, const struct cuda_tensor_map *map, int x, int y, uint64_t *b)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3}], [%4];"
                 :
                 : "r"(shared_address(to)), "l"(map), "r"(x), "r"(y), "r"(shared_address(b))
                 : "memory");
}

/* A tile of rows of 64 numbers in the pattern of 128 bytes; eight rows are 1024 bytes. */
DEVICE uint64_t describe(const void *p)
{
    uint64_t a = shared_address(p);
    return (a & 0x3ffff) >> 4 | (uint64_t)1 << 16 | (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}

#define D4(i)  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define D16(i) D4(i), D4(i + 4), D4(i + 8), D4(i + 12)

/* d [64 x 128] (+)= A . B^T of 16 of the sum */
DEVICE void multiply(float d[64], uint64_t a, uint64_t b, int keep)
{
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
                 "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
                 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
                 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
                 "%64, %65, p, 1, 1, 0, 0;\n}"
                 : D16(0), D16(16), D16(32), D16(48)
                 : "l"(a), "l"(b), "r"(keep));
}

DEVICE void produce(struct stages *s, const struct cuda_hopper_args &a, int row, int w_row, int col,
                    int steps)
{
    for (int i = 0; i < steps; i++) {
        int at = i % STAGES;
        barrier_wait(&s->empty[at], (i / STAGES & 1) ^ 1);
        barrier_expect(&s->full[at], 2 * STAGE_BYTES);
        copy_tile(s->x[at], &a.x, i * DEPTH, row, &s->full[at]);
        copy_tile(s->w[at], &a.w, i * DEPTH, w_row + col, &s->full[at]);
    }
}

/* Warp group `half` of the tile: its 64 rows. */
DEVICE void consume(struct stages *s, float d[64], int half, int steps)
{
    for (int i = 0; i < steps; i++) {
        int at = i % STAGES;
        barrier_wait(&s->full[at], i / STAGES & 1);
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
        for (int k = 0; k < DEPTH; k += 16)
            multiply(d, describe(s->x[at] + half * 64 * 128 + 2 * k), describe(s->w[at] + 2 * k),
                     i + k > 0);
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
        if (threadIdx.x % 128 == 0) barrier_arrive(&s->empty[at]);
    }
}

/* Blocks: x is a tile of columns, y one of rows of all groups. */
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    cuda_hopper_nt(const __grid_constant__ struct cuda_hopper_args a)
{
    struct stages *s = (struct stages *)dynamic;
    int tile = blockIdx.y, group = 0, row = 0, end = a.rows;
    for (; a.offset && group < a.groups; group++) {
        row = a.offset[group];
        end = a.offset[group + 1];
        int tiles = (end - row + TILE - 1) / TILE;
        if (tile < tiles) break;
        tile -= tiles;
    }
    if (group == a.groups) return;
    row += tile * TILE;
    int col = blockIdx.x * TILE, steps = (a.K + DEPTH - 1) / DEPTH,
        half = (int)threadIdx.x / 128 - 1;
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            barrier_init(&s->full[i], 1);
            barrier_init(&s->empty[i], 2);
        }
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    }
    __syncthreads();
    if (half < 0) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if (threadIdx.x == 0) produce(s, a, row, group * a.N, col, steps);
        return;
    }
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    float d[64];
    consume(s, d, half, steps);
    int t = threadIdx.x % 128, r0 = row + half * 64 + t / 32 * 16 + t % 32 / 4;
#pragma unroll
    for (int i = 0; i < 64; i++) {
        int r = r0 + 8 * (i >> 1 & 1), c = col + 8 * (i >> 2) + 2 * (t % 4) + (i & 1);
        if (r >= end || c >= a.N) continue;
        if (a.out_bf16)
            act_store((bf16_t *)a.y + (int64_t)r * a.N + c, d[i]);
        else
            ((float *)a.y)[(int64_t)r * a.N + c] = d[i];
    }
}
