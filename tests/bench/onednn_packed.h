/* The library's product at its best: weights in the layout that it asks for, all threads in one call. */
#ifndef ONEDNN_PACKED_H
#define ONEDNN_PACKED_H

#include <dlfcn.h>
#include <dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEER(call) \
	do { \
		if ((call) != dnnl_success) { \
			fprintf(stderr, "products: oneDNN failed: %s\n", #call); \
			exit(2); \
		} \
	} while (0)

struct peer {
	dnnl_engine_t engine;
	dnnl_stream_t stream;
	dnnl_primitive_t primitive;
	dnnl_memory_t a, b, c;
};

typedef dnnl_memory_desc_t peer_desc;
#if DNNL_VERSION_MAJOR >= 3
#define DESC(d) (d)
#define DESC_BY_TAG dnnl_memory_desc_create_with_tag
#else
#define DESC(d) (&(d))
#define DESC_BY_TAG dnnl_memory_desc_init_by_tag
#endif

static peer_desc peer_describe(dnnl_dim_t rows, dnnl_dim_t columns, dnnl_data_type_t type, dnnl_format_tag_t tag)
{
	const dnnl_dims_t dims = { rows, columns };
	peer_desc d;
	PEER(DESC_BY_TAG(&d, 2, dims, type, tag));
	return d;
}

/* OpenMP's, which Debian's library uses; the back end sets it to one. */
static void peer_threads(size_t n)
{
	void (*set)(int);
	void *symbol = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
	memcpy(&set, &symbol, sizeof set);
	if (set)
		set((int)n);
}

static void peer_run(const struct peer *p)
{
	const dnnl_exec_arg_t arguments[] = { { DNNL_ARG_SRC, p->a }, { DNNL_ARG_WEIGHTS, p->b }, { DNNL_ARG_DST, p->c } };
	PEER(dnnl_primitive_execute(p->primitive, p->stream, 3, arguments));
	PEER(dnnl_stream_wait(p->stream));
}

/* c (rows, n) f32 = a (rows, k) b^T with b (n, k), which is copied into the library's layout.  primitive: NULL where it has
 * none of that type for this processor. */
static struct peer peer_open(size_t threads, dnnl_data_type_t type, size_t rows, size_t n, size_t k, void *a, void *b, float *c)
{
	const dnnl_dim_t m = (dnnl_dim_t)rows, columns = (dnnl_dim_t)n, inner = (dnnl_dim_t)k;
	struct peer p = { 0 };
	peer_desc da = peer_describe(m, inner, type, dnnl_ab), db = peer_describe(inner, columns, type, dnnl_format_tag_any),
		  dc = peer_describe(m, columns, dnnl_f32, dnnl_ab), stored = peer_describe(inner, columns, type, dnnl_ba);
	dnnl_primitive_desc_t pd, copy;
	dnnl_primitive_t reorder;
	dnnl_memory_t from;

	peer_threads(threads);
	PEER(dnnl_engine_create(&p.engine, dnnl_cpu, 0));
	PEER(dnnl_stream_create(&p.stream, p.engine, dnnl_stream_default_flags));
#if DNNL_VERSION_MAJOR >= 3
	if (dnnl_matmul_primitive_desc_create(&pd, p.engine, da, db, NULL, dc, NULL) != dnnl_success)
		return p;
	const const_dnnl_memory_desc_t wanted = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
#else
	dnnl_matmul_desc_t matmul;
	PEER(dnnl_matmul_desc_init(&matmul, &da, &db, NULL, &dc));
	if (dnnl_primitive_desc_create(&pd, &matmul, NULL, p.engine, NULL) != dnnl_success)
		return p;
	const dnnl_memory_desc_t *wanted = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
#endif
	PEER(dnnl_primitive_create(&p.primitive, pd));
	PEER(dnnl_memory_create(&p.a, DESC(da), p.engine, a));
	PEER(dnnl_memory_create(&p.b, wanted, p.engine, DNNL_MEMORY_ALLOCATE));
	PEER(dnnl_memory_create(&p.c, DESC(dc), p.engine, c));
	PEER(dnnl_memory_create(&from, DESC(stored), p.engine, b));
	PEER(dnnl_reorder_primitive_desc_create(&copy, DESC(stored), p.engine, wanted, p.engine, NULL));
	PEER(dnnl_primitive_create(&reorder, copy));
	const dnnl_exec_arg_t arguments[] = { { DNNL_ARG_FROM, from }, { DNNL_ARG_TO, p.b } };
	PEER(dnnl_primitive_execute(reorder, p.stream, 2, arguments));
	PEER(dnnl_stream_wait(p.stream));
	dnnl_primitive_destroy(reorder);
	dnnl_primitive_desc_destroy(copy);
	dnnl_primitive_desc_destroy(pd);
	dnnl_memory_destroy(from);
	return p;
}

static void peer_close(struct peer *p)
{
	if (p->primitive) {
		dnnl_memory_destroy(p->a);
		dnnl_memory_destroy(p->b);
		dnnl_memory_destroy(p->c);
		dnnl_primitive_destroy(p->primitive);
	}
	dnnl_stream_destroy(p->stream);
	dnnl_engine_destroy(p->engine);
}

#endif
