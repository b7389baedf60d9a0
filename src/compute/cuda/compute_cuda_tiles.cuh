/* compute_cuda_tiles.cuh: tiles of bfloat16 in shared memory and tensor cores over them, in the form
 * that every GPU from sm_80 on has: cp.async, ldmatrix, mma m16n8k16.
 *
 * A tile has rows of WIDTH numbers (32, 64 or 128). Its 16-byte pieces lie so that the eight rows an
 * ldmatrix reads together are in eight different banks of 16 bytes: piece c of row r stands at place
 * c ^ (r & 7), where rows have 64 bytes at c ^ (r / 2 & 3). How numbers of a fragment lie in lanes:
 * PTX ISA, "Matrix fragments for mma.m16n8k16"; g = lane / 4, t = lane % 4. */
#ifndef COLOSSUS_COMPUTE_CUDA_TILES_CUH
#define COLOSSUS_COMPUTE_CUDA_TILES_CUH

#include "compute/cuda/compute_cuda_device.cuh"

/* Where the piece of number c (a multiple of 8) of row r begins, in numbers. */
template <int WIDTH> DEVICE int tile_at(int r, int c)
{
    int piece = c / 8;
    return r * WIDTH + 8 * (WIDTH == 32 ? piece ^ (r / 2 & 3) : piece ^ (r & 7));
}

DEVICE uint32_t shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* 16 bytes to shared memory, the first `valid` of them from memory, the others zeros. */
DEVICE void copy_piece(bf16_t *to, const bf16_t *from, int valid)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(shared_address(to)), "l"(from), "r"(valid)
                 : "memory");
}

DEVICE void copy_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

template <int BUT> DEVICE void copy_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(BUT) : "memory");
}

/* Piece (r, c) of a tile from `row`, which has `n` numbers from its first on (n <= 0: none); by
 * copies where rows are aligned, number by number otherwise. */
template <int WIDTH>
DEVICE void load_piece(bf16_t *tile, int r, int c, const bf16_t *row, int64_t n, bool aligned)
{
    int64_t have = n - c;
    int valid = have >= 8 ? 8 : have > 0 ? (int)have : 0;
    bf16_t *to = tile + tile_at<WIDTH>(r, c);
    if (aligned) {
        copy_piece(to, valid ? row + c : row, 2 * valid);
    } else {
#pragma unroll 1
        for (int i = 0; i < 8; i++)
            to[i] = i < valid ? row[c + i] : (bf16_t)0;
    }
}

DEVICE void load_matrices(uint32_t r[4], const bf16_t *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

DEVICE void load_matrices_turned(uint32_t r[4], const bf16_t *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/* A of 16 rows from m and 16 of the sum from k: tile [m][k], or turned, tile [k][m]. */
template <int WIDTH> DEVICE void load_a(uint32_t a[4], const bf16_t *tile, int m, int k)
{
    int i = threadIdx.x % 32 / 8, r = threadIdx.x % 8;
    load_matrices(a, tile + tile_at<WIDTH>(m + (i & 1) * 8 + r, k + (i >> 1) * 8));
}

template <int WIDTH> DEVICE void load_a_turned(uint32_t a[4], const bf16_t *tile, int m, int k)
{
    int i = threadIdx.x % 32 / 8, r = threadIdx.x % 8;
    load_matrices_turned(a, tile + tile_at<WIDTH>(k + (i >> 1) * 8 + r, m + (i & 1) * 8));
}

/* B of 16 columns from n, as two fragments of 8 (b, b + 2): tile [n][k], or turned, tile [k][n]. */
template <int WIDTH> DEVICE void load_b(uint32_t b[4], const bf16_t *tile, int n, int k)
{
    int i = threadIdx.x % 32 / 8, r = threadIdx.x % 8;
    load_matrices(b, tile + tile_at<WIDTH>(n + (i >> 1) * 8 + r, k + (i & 1) * 8));
}

template <int WIDTH> DEVICE void load_b_turned(uint32_t b[4], const bf16_t *tile, int n, int k)
{
    int i = threadIdx.x % 32 / 8, r = threadIdx.x % 8;
    load_matrices_turned(b, tile + tile_at<WIDTH>(k + (i & 1) * 8 + r, n + (i >> 1) * 8));
}

DEVICE void mma(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif
