/* The table's products over the library's. */
#include "device.h"

#include <algorithm>

static product_job job_of(const operand *a, const weight *w, float *to)
{
	return { a->n, w->n, operand_stride(w->k), w->n, w->dtype, a->p, w->data, static_cast<const float *>(w->bias), to, false };
}

/* By as many rows as the library was asked about, which fill any device. */
static void run_rows(device *d, const product_job *all)
{
	for (size_t r = 0; r < all->m; r += PRODUCT_ROWS) {
		product_job part = *all;
		part.m = std::min<size_t>(all->m - r, PRODUCT_ROWS);
		part.a = static_cast<const char *>(all->a) + r * all->k * dtype_size(all->dtype);
		part.d = all->d + r * all->columns;
		products_run(d->product, d->compute, &part);
	}
}

/* By tiles of columns where the matrix lies in the host's memory (window.h). */
static void run(device *d, const product_job *whole)
{
	const host_memory *host = host_memory_of(d, whole->w);
	if (!host)
		return run_rows(d, whole);
	const size_t column_len = whole->k * dtype_size(whole->dtype), most = window_columns(&d->window, column_len);
	if (most == 0)
		return gpu_fail(d->g, "a matrix in the host's memory is wider than the window that it was to pass through");
	for (size_t c = 0; whole->m && c < whole->n; c += most) {
		product_job part = *whole;
		part.n = std::min(whole->n - c, most);
		part.w = window_tile(&d->window, host->p, host->puts, static_cast<const char *>(whole->w) + c * column_len, part.n * column_len);
		part.bias = whole->bias ? whole->bias + c : nullptr;
		part.d = whole->d + c;
		run_rows(d, &part);
		window_done(&d->window);
	}
}

static bool fits_product(rows out)
{
	return out.stride == out.width && aligned(out.p, product_alignment(out.width));
}

/* Rows that a library's product can't be written to: by way of the scratch memory, as many as that holds. */
static void product_spread(device *d, const product_job *job, rows out)
{
	const size_t most = LAUNCH_SCRATCH / (job->n * sizeof(float));
	float *scratch = static_cast<float *>(d->launch.scratch);
	if (most == 0)
		gpu_fail(d->g, "a product of more columns than there is scratch memory for");
	for (size_t r = 0, n; most && r < job->m; r += n) {
		n = std::min(job->m - r, most);
		product_job part = *job;
		part.m = n;
		part.a = static_cast<const char *>(job->a) + r * job->k * dtype_size(job->dtype);
		part.d = scratch;
		run(d, &part);
		cuda_copy(&d->launch, { static_cast<float *>(out.p) + r * out.stride, n, out.width, out.stride },
		          { scratch, n, out.width, out.width });
	}
}

void cuda_product(device *d, const operand *a, const weight *w, rows out, size_t)
{
	const product_job job = job_of(a, w, static_cast<float *>(out.p));
	if (fits_product(out))
		run(d, &job);
	else
		product_spread(d, &job, out);
}

void cuda_product_add(device *d, const operand *a, const weight *w, rows scratch, rows into, size_t tile)
{
	product_job job = job_of(a, w, static_cast<float *>(into.p));
	if (product_adds(&job) && fits_product(into)) {
		job.add = true;
		run(d, &job);
		return;
	}
	cuda_product(d, a, w, scratch, tile);
	cuda_add(&d->launch, into, scratch);
}

void cuda_product_act(device *d, const operand *a, const weight *w, const gate *gate, operand packed, size_t tile)
{
	cuda_product(d, a, w, gate->scratch, tile);
	cuda_activate(&d->launch, gate->act, gate_rows(gate), up_rows(gate, sizeof(float)), {}, packed);
}
