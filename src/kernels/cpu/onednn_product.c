/* onednn_product.c: one product of a shape in the words of oneDNN 2.x and 3.x; nothing else knows which. */
#include "onednn_cpu.h"

#ifdef JSC_WITH_ONEDNN

/* ---- memory descriptors: a value in 2.x, an object in 3.x -------------------------------------------------------------------- */

#if DNNL_VERSION_MAJOR >= 3
desc_ref desc_of(const struct desc *d)
{
    return d->md;
}

static dnnl_status_t desc_plain(struct desc *d, dnnl_data_type_t type, const dnnl_dims_t dims, const dnnl_dims_t strides)
{
    return dnnl_memory_desc_create_with_strides(&d->md, 2, dims, type, strides);
}

static dnnl_status_t desc_any(struct desc *d, dnnl_data_type_t type, const dnnl_dims_t dims)
{
    return dnnl_memory_desc_create_with_tag(&d->md, 2, dims, type, dnnl_format_tag_any);
}

dnnl_status_t desc_copy(struct desc *d, desc_ref from)
{
    return dnnl_memory_desc_clone(&d->md, from);
}

void desc_free(struct desc *d)
{
    if (d->md != NULL)
        (void)dnnl_memory_desc_destroy(d->md);
    d->md = NULL;
}

static dnnl_status_t product_make(dnnl_primitive_desc_t *out, dnnl_engine_t engine, desc_ref a, desc_ref b, desc_ref c,
                                  const_dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(out, engine, a, b, NULL, c, attr);
}
#else
desc_ref desc_of(const struct desc *d)
{
    return &d->md;
}

static dnnl_status_t desc_plain(struct desc *d, dnnl_data_type_t type, const dnnl_dims_t dims, const dnnl_dims_t strides)
{
    return dnnl_memory_desc_init_by_strides(&d->md, 2, dims, type, strides);
}

static dnnl_status_t desc_any(struct desc *d, dnnl_data_type_t type, const dnnl_dims_t dims)
{
    return dnnl_memory_desc_init_by_tag(&d->md, 2, dims, type, dnnl_format_tag_any);
}

dnnl_status_t desc_copy(struct desc *d, desc_ref from)
{
    d->md = *from;
    return dnnl_success;
}

void desc_free(struct desc *d)
{
    (void)d;
}

static dnnl_status_t product_make(dnnl_primitive_desc_t *out, dnnl_engine_t engine, desc_ref a, desc_ref b, desc_ref c,
                                  const_dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t d;
    const dnnl_status_t status = dnnl_matmul_desc_init(&d, a, b, NULL, c);
    return status != dnnl_success ? status : dnnl_primitive_desc_create(out, &d, attr, engine, NULL);
}
#endif

/* ---- one product of a shape ------------------------------------------------------------------------------------------------------- */

void product_free(struct product *p)
{
    if (p->pd != NULL)
        (void)dnnl_primitive_desc_destroy(p->pd);
    p->pd = NULL;
    desc_free(&p->a), desc_free(&p->b), desc_free(&p->c);
}

static dnnl_data_type_t operand_type(const struct shape *s)
{
    return s->types == TYPES_FLOAT ? dnnl_f32 : dnnl_bf16;
}

dnnl_status_t product_plain_b(struct desc *d, const struct shape *s)
{
    const dnnl_dims_t dims = {(dnnl_dim_t)s->k, (dnnl_dim_t)s->n};
    const dnnl_dims_t strides = {s->b_transposed ? 1 : (dnnl_dim_t)s->n, s->b_transposed ? (dnnl_dim_t)s->k : 1};
    return desc_plain(d, operand_type(s), dims, strides);
}

dnnl_status_t product_plan(dnnl_engine_t engine, const struct shape *s, desc_ref b, struct product *out)
{
    dnnl_status_t result = dnnl_success;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t sum = NULL;
    const dnnl_dims_t a_dims = {(dnnl_dim_t)s->m, (dnnl_dim_t)s->k}, a_strides = {(dnnl_dim_t)s->k, 1};
    const dnnl_dims_t b_dims = {(dnnl_dim_t)s->k, (dnnl_dim_t)s->n};
    const dnnl_dims_t c_dims = {(dnnl_dim_t)s->m, (dnnl_dim_t)s->n}, c_strides = {(dnnl_dim_t)s->n, 1};

    DNNL(desc_plain(&out->a, operand_type(s), a_dims, a_strides));
    DNNL(desc_plain(&out->c, s->types == TYPES_BF16 ? dnnl_bf16 : dnnl_f32, c_dims, c_strides));
    if (b == NULL) {
        DNNL(desc_any(&out->b, operand_type(s), b_dims));
        b = desc_of(&out->b);
    }
    DNNL(dnnl_primitive_attr_create(&attr));
    DNNL(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
    if (s->accumulate) {
        DNNL(dnnl_post_ops_create(&sum));
#if DNNL_VERSION_MAJOR >= 3
        DNNL(dnnl_post_ops_append_sum(sum, 1.0f, 0, dnnl_data_type_undef));
#else
        DNNL(dnnl_post_ops_append_sum(sum, 1.0f));
#endif
        DNNL(dnnl_primitive_attr_set_post_ops(attr, sum));
    }
    DNNL(product_make(&out->pd, engine, desc_of(&out->a), b, desc_of(&out->c), attr));
done:
    if (sum != NULL)
        (void)dnnl_post_ops_destroy(sum);
    if (attr != NULL)
        (void)dnnl_primitive_attr_destroy(attr);
    return result;
}

const char *product_kernel(const struct product *p)
{
    const char *name = "";
    (void)dnnl_primitive_desc_query(p->pd, dnnl_query_impl_info_str, 0, &name);
    return name;
}

size_t product_scratch(const struct product *p)
{
    return dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(p->pd, dnnl_query_scratchpad_md, 0));
}

#endif
