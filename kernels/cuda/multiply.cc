/* The table's products over the library's. */
#include "device.h"

#include <algorithm>

static product_job job_of(const operand *a, const weight *w, float *to)
{
	return { a->n, w->n, operand_stride(w->k), w->dtype, a->p, w->data, static_cast<const float *>(w->bias), to, false };
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
		products_run(d->product, d->compute, &part);
		cuda_copy(&d->launch, { static_cast<float *>(out.p) + r * out.stride, n, out.width, out.stride },
		          { scratch, n, out.width, out.width });
	}
}

void cuda_product(device *d, const operand *a, const weight *w, rows out, size_t)
{
	const product_job job = job_of(a, w, static_cast<float *>(out.p));
	if (fits_product(out))
		products_run(d->product, d->compute, &job);
	else
		product_spread(d, &job, out);
}

void cuda_product_add(device *d, const operand *a, const weight *w, rows scratch, rows into, size_t tile)
{
	product_job job = job_of(a, w, static_cast<float *>(into.p));
	if (product_adds(&job) && fits_product(into)) {
		job.add = true;
		products_run(d->product, d->compute, &job);
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
