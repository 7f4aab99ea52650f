/* ptx.cuh: all inline assembly: tensor-core products, ldmatrix, asynchronous copies, named barriers; each with a host body for the emulator.
 *
 * Fragment layouts of m16n8k16, lane l, g = l / 4, t = l % 4 (a register holds two bf16, the lower index in the lower half):
 *   A (16 x 16)  a[r], half e: row g + 8 (r & 1), column 2 t + e + 8 (r >> 1)
 *   B (16 x 8)   b[r], half e: row (k) 2 t + e + 8 r, column g
 *   C (16 x 8)   c[0], c[1]: (g, 2 t), (g, 2 t + 1);  c[2], c[3]: the same of row g + 8
 * So the C of one product, packed by bf16x2_of(c[0], c[1]) ..., is half an A of the next: two C tiles side by side give
 *   a[0] = left c0,c1   a[1] = left c2,c3   a[2] = right c0,c1   a[3] = right c2,c3.
 *
 * Needs compute capability 8.0: older code traps. Sizes of a tile in shared memory: a row of h + 8 elements keeps ldmatrix free of
 * bank conflicts for h a multiple of 64. */
#ifndef JSC_PTX_CUH
#define JSC_PTX_CUH

#include "device.cuh"

/* c += a b, sums in f32. All 32 lanes take part. */
JSC_DEVICE void mma_m16n8k16(float c[4], const uint32_t a[4], const uint32_t b[2] JSC_SITE)
{
#ifdef JSC_SIMT
    simt_mma(c, a, b JSC_AT);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    (void)c, (void)a, (void)b;
    __trap();
#endif
}

/* Address in the shared window, as the instructions below take it. */
JSC_DEVICE unsigned shared_address(const void *p)
{
#ifdef JSC_SIMT
    (void)p;
    return 0;
#else
    return (unsigned)__cvta_generic_to_shared(p);
#endif
}

/* Four 8 x 8 matrices of bf16 from shared memory: lane i gives the address of row i % 8 of matrix i / 8 (16 bytes, aligned); r[m] of lane l
 * receives elements (l / 4, 2 (l % 4)) and (l / 4, 2 (l % 4) + 1) of matrix m; _trans: of its transpose. All 32 lanes take part.
 *   A fragment from row-major [16][16] at p, row length ld:  row = p + (lane % 16) ld + (lane / 16) 8, ldmatrix_x4
 *   B fragments of two n tiles from [n][k] (k contiguous):   row = p + (lane % 8 + lane / 16 * 8) ld + (lane / 8 % 2) 8, ldmatrix_x4: b = r[0..1], r[2..3]
 *   B fragments of two n tiles from [k][n] (n contiguous):   row = p + (lane % 16) ld + (lane / 16) 8, ldmatrix_x4_trans: b = r[0..1], r[2..3] */
JSC_DEVICE void ldmatrix_x4(uint32_t r[4], const bf16 *row JSC_SITE)
{
#ifdef JSC_SIMT
    simt_ldmatrix(r, row, false JSC_AT);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
#else
    (void)r, (void)row;
    __trap();
#endif
}
JSC_DEVICE void ldmatrix_x4_trans(uint32_t r[4], const bf16 *row JSC_SITE)
{
#ifdef JSC_SIMT
    simt_ldmatrix(r, row, true JSC_AT);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
#else
    (void)r, (void)row;
    __trap();
#endif
}

/* 16 bytes from global to shared memory (both aligned to 16) in the background; zeros if not valid (global is then not read, but must
 * still be an address inside the array, for example its start). Visible to this thread after cp_async_wait, to others after a barrier too. */
JSC_DEVICE void cp_async_16(void *shared, const void *global, bool valid JSC_SITE)
{
#ifdef JSC_SIMT
    simt_cp_async(shared, global, valid JSC_AT);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(valid ? 16 : 0) : "memory");
#else
    (void)shared, (void)global, (void)valid;
    __trap();
#endif
}

/* Closes the group of this thread's copies since the last commit. */
JSC_DEVICE void cp_async_commit()
{
#ifdef JSC_SIMT
    simt_cp_async_commit();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#else
    __trap();
#endif
}

/* Waits until at most the N newest groups of this thread are under way. */
template <int N>
JSC_DEVICE void cp_async_wait()
{
#ifdef JSC_SIMT
    simt_cp_async_wait(N);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#else
    __trap();
#endif
}

/* Barrier `id` (1 to 15; 0 is __syncthreads) of `threads` threads, a multiple of 32, in whole warps. */
JSC_DEVICE void named_barrier(int id, int threads JSC_SITE)
{
#ifdef JSC_SIMT
    simt_barrier(id, (unsigned)threads JSC_AT);
#elif defined(__CUDA_ARCH__)
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
#else
    (void)id, (void)threads;
    __trap();
#endif
}

#endif
