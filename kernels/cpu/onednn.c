#include "onednn.h"

#include <dlfcn.h>
#include <dnnl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

struct matmul {
	struct matmul_shape shape;
	dnnl_primitive_desc_t description;
	dnnl_primitive_t primitive;
	struct matmul *next;
};

struct matmuls {
	dnnl_engine_t engine;
	pthread_mutex_t lock; /* of `made` */
	struct matmul *made;
};

enum { A, B, C, SCRATCH, ARGUMENTS };

/* -------- what differs between the releases */

#define STRING_(x) #x
#define STRING(x) STRING_(x)

const char *matmuls_library(void)
{
	return "onednn-" STRING(DNNL_VERSION_MAJOR) "." STRING(DNNL_VERSION_MINOR) "." STRING(
		DNNL_VERSION_PATCH);
}

struct matrix {
	dnnl_dims_t dims, strides;
	dnnl_data_type_t type;
};

#if DNNL_VERSION_MAJOR >= 3

typedef const_dnnl_memory_desc_t memory_desc;

static dnnl_status_t describe(dnnl_primitive_desc_t *to, dnnl_engine_t engine,
                              const struct matrix *m, dnnl_primitive_attr_t attributes)
{
	dnnl_memory_desc_t desc[SCRATCH] = { NULL };
	dnnl_status_t status = dnnl_success;

	for (int i = A; i <= C && status == dnnl_success; i++)
		status = dnnl_memory_desc_create_with_strides(&desc[i], 2, m[i].dims, m[i].type,
		                                              m[i].strides);
	if (status == dnnl_success)
		status = dnnl_matmul_primitive_desc_create(to, engine, desc[A], desc[B], NULL,
		                                           desc[C], attributes);
	for (int i = A; i <= C; i++)
		if (desc[i])
			dnnl_memory_desc_destroy(desc[i]);
	return status;
}

#else

typedef const dnnl_memory_desc_t *memory_desc;

static dnnl_status_t describe(dnnl_primitive_desc_t *to, dnnl_engine_t engine,
                              const struct matrix *m, dnnl_primitive_attr_t attributes)
{
	dnnl_memory_desc_t desc[SCRATCH];
	dnnl_matmul_desc_t matmul;
	dnnl_status_t status = dnnl_success;

	for (int i = A; i <= C && status == dnnl_success; i++)
		status = dnnl_memory_desc_init_by_strides(&desc[i], 2, m[i].dims, m[i].type,
		                                          m[i].strides);
	if (status == dnnl_success)
		status = dnnl_matmul_desc_init(&matmul, &desc[A], &desc[B], NULL, &desc[C]);
	return status == dnnl_success
	               ? dnnl_primitive_desc_create(to, &matmul, attributes, engine, NULL)
	               : status;
}

#endif

/* -------- */

/*
 * The library's own threads are switched off for the calling thread.  Debian's library takes them
 * from OpenMP; the symbol is looked up, so that a library built on something else needs nothing
 * from us.
 */
static void one_thread(void)
{
	static _Thread_local int done;

	if (!done) {
		void (*set)(int);
		void *symbol = dlsym(RTLD_DEFAULT, "omp_set_num_threads");

		memcpy(&set, &symbol, sizeof set);
		if (set)
			set(1);
		done = 1;
	}
}

static int describe_shape(struct matmuls *m, const struct matmul_shape *s,
                          dnnl_primitive_desc_t *to)
{
	const dnnl_data_type_t type = s->dtype == DTYPE_BF16 ? dnnl_bf16 : dnnl_f32;
	const dnnl_dim_t rows = (dnnl_dim_t)s->rows, n = (dnnl_dim_t)s->n, k = (dnnl_dim_t)s->k;
	const struct matrix matrices[] = {
		[A] = { { rows, k }, { k, 1 }, type },
		[B] = { { k, n }, { 1, k }, type },
		[C] = { { rows, n }, { n, 1 }, dnnl_f32 },
	};
	dnnl_primitive_attr_t attributes;

	if (dnnl_primitive_attr_create(&attributes) != dnnl_success)
		return -1;

	/* The library's own scratch memory is one for a primitive: two threads in it give wrong
	 * numbers. */
	dnnl_status_t status =
		dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user);

	if (status == dnnl_success)
		status = describe(to, m->engine, matrices, attributes);
	dnnl_primitive_attr_destroy(attributes);
	return status == dnnl_success ? 0 : -1;
}

static struct matmul *make(struct matmuls *m, const struct matmul_shape *shape)
{
	struct matmul *new = mem_zero(1, sizeof *new);

	new->shape = *shape;
	if (describe_shape(m, shape, &new->description) < 0)
		goto failed;
	if (dnnl_primitive_create(&new->primitive, new->description) != dnnl_success) {
		dnnl_primitive_desc_destroy(new->description);
		goto failed;
	}
	new->next = m->made;
	m->made = new;
	return new;
failed:
	free(new);
	return NULL;
}

static bool same(const struct matmul_shape *a, const struct matmul_shape *b)
{
	return a->rows == b->rows && a->n == b->n && a->k == b->k && a->dtype == b->dtype;
}

static struct matmul *find(struct matmuls *m, const struct matmul_shape *shape)
{
	one_thread();
	pthread_mutex_lock(&m->lock);

	struct matmul *found = m->made;

	while (found && !same(&found->shape, shape))
		found = found->next;
	if (!found)
		found = make(m, shape);
	pthread_mutex_unlock(&m->lock);
	return found;
}

static void *or_end(void *p)
{
	if (!p)
		mem_zero(SIZE_MAX, 2); /* more than there is */
	return p;
}

struct matmuls *matmuls_open(struct error *e)
{
	struct matmuls *m = mem_zero(1, sizeof *m);
	const struct matmul_shape any = { 512, 512, 512, DTYPE_BF16 };

	pthread_mutex_init(&m->lock, NULL);
	if (dnnl_engine_create(&m->engine, dnnl_cpu, 0) != dnnl_success || !find(m, &any)) {
		error_set(e, "%s: no product of bf16 matrices for this processor",
		          matmuls_library());
		matmuls_close(m);
		return NULL;
	}
	return m;
}

void matmuls_close(struct matmuls *m)
{
	if (!m)
		return;
	for (struct matmul *next, *i = m->made; i; i = next) {
		next = i->next;
		dnnl_primitive_destroy(i->primitive);
		dnnl_primitive_desc_destroy(i->description);
		free(i);
	}
	if (m->engine)
		dnnl_engine_destroy(m->engine);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

size_t matmul_scratch_len(struct matmuls *m, const struct matmul_shape *shape)
{
	const struct matmul *p = or_end(find(m, shape));

	return dnnl_memory_desc_get_size(
		dnnl_primitive_desc_query_md(p->description, dnnl_query_scratchpad_md, 0));
}

void matmul_run(struct matmuls *m, const struct matmul_shape *shape, const void *a, const void *b,
                float *c, void *scratch)
{
	static const dnnl_query_t queries[] = { dnnl_query_src_md, dnnl_query_weights_md,
		                                dnnl_query_dst_md, dnnl_query_scratchpad_md };
	static const int names[] = { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST,
		                     DNNL_ARG_SCRATCHPAD };
	const struct matmul *p = or_end(find(m, shape));
	void *const data[] = { (void *)(uintptr_t)a, (void *)(uintptr_t)b, c, scratch };
	dnnl_exec_arg_t arguments[ARGUMENTS];
	dnnl_stream_t stream;
	bool good =
		dnnl_stream_create(&stream, m->engine, dnnl_stream_default_flags) == dnnl_success;

	or_end(good ? m : NULL);
	for (int i = 0; i < ARGUMENTS; i++) {
		const memory_desc desc =
			dnnl_primitive_desc_query_md(p->description, queries[i], 0);

		arguments[i].arg = names[i];
		good = dnnl_memory_create(&arguments[i].memory, desc, m->engine, data[i]) ==
		       dnnl_success;
		or_end(good ? m : NULL);
	}
	good = dnnl_primitive_execute(p->primitive, stream, ARGUMENTS, arguments) == dnnl_success;
	or_end(good && dnnl_stream_wait(stream) == dnnl_success ? m : NULL);
	for (int i = 0; i < ARGUMENTS; i++)
		dnnl_memory_destroy(arguments[i].memory);
	dnnl_stream_destroy(stream);
}
