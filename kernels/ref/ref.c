#include "ref.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "memory.h"
#include "view.h"

static struct device *ref_open(struct workers *workers, const struct device_choice *choice, struct error *e)
{
	(void)choice;
	struct device *d = mem_try(sizeof *d, "the reference device", e);

	if (!d)
		return NULL;
	d->workers = workers;
	return d;
}

static void ref_close(struct device *d)
{
	free(d);
}

static const char *ref_unit(const struct device *d)
{
	(void)d;
	return "double";
}

static enum dtype ref_operand_type(const struct device *d, enum dtype stored)
{
	(void)d;
	(void)stored;
	return DTYPE_F64;
}

static size_t ref_weight_len(const struct device *d, size_t n, size_t k, enum dtype operand_type)
{
	(void)d;
	return n * k * dtype_size(operand_type);
}

static size_t ref_operand_len(const struct device *d, size_t n_rows, size_t k,
                              enum dtype operand_type)
{
	(void)d;
	return n_rows * k * dtype_size(operand_type);
}

static void ref_weight_put(struct device *d, struct weight *w, size_t column,
                           const struct tensor_view *view)
{
	(void)d;
	view_read((double *)w->data + column * w->k, DTYPE_F64, view, 0, view->n, 0, view->k);
}

static void ref_vector_put(struct device *d, void *to, const struct tensor_view *view)
{
	(void)d;
	view_read(to, DTYPE_F64, view, 0, view->n, 0, view->k);
}

static void ref_load(struct device *d, struct rows to, const void *from, enum dtype dtype)
{
	(void)d;
	for (size_t r = 0; r < to.n; r++)
		dtype_convert(ref_row(to, r), DTYPE_F64,
		              (const char *)from + r * to.width * dtype_size(dtype), dtype,
		              to.width);
}

static void ref_store(struct device *d, void *to, enum dtype dtype, struct rows from)
{
	(void)d;
	for (size_t r = 0; r < from.n; r++)
		dtype_convert((char *)to + r * from.width * dtype_size(dtype), dtype,
		              ref_row(from, r), DTYPE_F64, from.width);
}

static void ref_copy(struct device *d, struct rows to, struct rows from)
{
	(void)d;
	for (size_t r = 0; r < from.n; r++)
		memcpy(ref_row(to, r), ref_row(from, r), from.width * sizeof(double));
}

static void ref_round(struct device *d, struct rows rows, enum dtype dtype)
{
	(void)d;
	for (size_t r = 0; r < rows.n; r++)
		dtype_round(ref_row(rows, r), DTYPE_F64, dtype, rows.width);
}

static void ref_pack(struct device *d, struct operand to, struct rows from)
{
	(void)d;
	for (size_t r = 0; r < from.n; r++)
		memcpy(ref_operand_row(&to, r), ref_row(from, r), from.width * sizeof(double));
}

static void ref_pool_row(double *to, const double *x, size_t width, bool largest)
{
	for (size_t c = 0; c < width; c++)
		if (!largest)
			to[c] += x[c];
		else if (x[c] > to[c] || isnan(x[c]))
			to[c] = x[c];
}

static void ref_pool(struct device *d, bool largest, const struct pooled_row *list, size_t n, const struct row_run *runs,
                     struct rows from, double *to)
{
	(void)d;
	for (size_t i = 0; i < n; i++, to += from.width) {
		bool begun = list[i].continues;

		for (size_t k = list[i].first; k < list[i].first + list[i].n; k++)
			for (size_t r = runs[k].row; r < runs[k].row + runs[k].n; r++) {
				if (begun)
					ref_pool_row(to, ref_row(from, r), from.width, largest);
				else
					memcpy(to, ref_row(from, r), from.width * sizeof *to);
				begun = true;
			}
	}
}

const struct ops ops_ref = {
	.name = "ref",
	.work = DTYPE_F64,
	.row_tile = 512,
	.expert_tile = 64,
	HOST_MEMORY,
	.expert_chunk = 256,
	.open = ref_open,
	.close = ref_close,
	.unit = ref_unit,
	.operand_type = ref_operand_type,
	.weight_len = ref_weight_len,
	.weight_put = ref_weight_put,
	.vector_put = ref_vector_put,
	.operand_len = ref_operand_len,
	.load = ref_load,
	.store = ref_store,
	.copy = ref_copy,
	.pool = ref_pool,
	.round = ref_round,
	.pack = ref_pack,
	.norm = ref_norm,
	.product = ref_product,
	.product_add = ref_product_add,
	.product_act = ref_product_act,
	.activate = ref_activate,
	.add = ref_add,
	.add_gated = ref_add_gated,
	.scale = ref_scale,
	.softcap = ref_softcap,
	.rotate = ref_rotate,
	.attend = ref_attend,
	.scores = ref_scores,
	.softmax = ref_softmax,
	.mix = ref_mix,
	.route = ref_route,
	.gather = ref_gather,
	.scatter = ref_scatter,
};
