/* loader_rows.c: the order in which a file holds the rows of queries, keys and values, where it is not ours. */
#include "loader_internal.h"

/* W_hf[n h + r] = W_gguf[n h + 2 (r mod h/2) + r div (h/2)]: the converter interleaved the two halves of each head. */
static void permutation(int heads, int h, int32_t first, int32_t *out)
{
    for (int n = 0; n < heads; n++)
        for (int r = 0; r < h; r++)
            out[n * h + r] = first + n * h + 2 * (r % (h / 2)) + r / (h / 2);
}

jsc_status loader_row_orders(struct loader *ld, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = ld->model;
    const int h = m->h, q = m->H * h, kv = m->K * h;

    if (m->config.gguf ? !m->family->gguf_permuted : !m->family->heads_interleaved)
        return JSC_OK;
    TRY(mem_new(&ld->qkv_rows, (size_t)(q + 2 * kv), error));
    if (m->config.gguf) {
        TRY(mem_new(&ld->q_rows, (size_t)q, error));
        TRY(mem_new(&ld->k_rows, (size_t)kv, error));
        permutation(m->H, h, 0, ld->q_rows);
        permutation(m->K, h, 0, ld->k_rows);
        permutation(m->H, h, 0, ld->qkv_rows);
        permutation(m->K, h, q, ld->qkv_rows + q);
        for (int r = 0; r < kv; r++)
            ld->qkv_rows[q + kv + r] = q + kv + r;
        goto done;
    }
    for (int part = 0; part < 3; part++) /* H = K here */
        for (int r = 0; r < q; r++)
            ld->qkv_rows[part * q + r] = r / h * 3 * h + part * h + r % h;
done:
    return status;
}
