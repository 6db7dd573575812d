#include "product.h"

#include <cstdio>
#include <cublasLt.h>
#include <dlfcn.h>
#include <vector>

/* The library is a GB that a machine may lack: it is opened when the device is. */
#define FUNCTIONS(F) \
	F(cublasLtCreate) F(cublasLtDestroy) F(cublasLtGetVersion) F(cublasLtGetStatusString) \
	F(cublasLtMatmul) F(cublasLtMatmulAlgoGetHeuristic) F(cublasLtMatmulAlgoConfigGetAttribute) \
	F(cublasLtMatmulDescCreate) F(cublasLtMatmulDescDestroy) F(cublasLtMatmulDescSetAttribute) \
	F(cublasLtMatrixLayoutCreate) F(cublasLtMatrixLayoutDestroy) F(cublasLtMatrixLayoutSetAttribute) \
	F(cublasLtMatmulPreferenceCreate) F(cublasLtMatmulPreferenceDestroy) F(cublasLtMatmulPreferenceSetAttribute)

struct library {
	void *handle;
#define MEMBER(name) decltype(&::name) name;
	FUNCTIONS(MEMBER)
};

/* One kind of product, and how it is computed.  In the library's columns-first order a (m, k) is (k, m), and d^T = w a^T is
 * what it multiplies. */
struct plan {
	size_t n, k, stride;    /* n: of the whole matrix; stride: between rows of a and w */
	enum dtype dtype;
	bool bias;
	cublasLtMatmulDesc_t desc;
	cublasLtMatrixLayout_t w, a, d;
	cublasLtMatmulAlgo_t algo;
};

struct products {
	gpu *g;
	void *workspace;
	library lib;
	cublasLtHandle_t lt;
	std::vector<plan> plans;
	char name[32];
};

/* Rows that algorithms are asked for; they are used for any number. */
enum { NOMINAL_M = 2048, CANDIDATES = 16 };

/* -------- opening */

static int load(library *l, error *e)
{
	static const char *const names[] = { "libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so" };
	for (const char *name : names)
		if ((l->handle = dlopen(name, RTLD_NOW | RTLD_LOCAL)))
			break;
	if (!l->handle)
		return error_set(e, "CUDA's matrix library can't be loaded (%s): install cublas of CUDA 12 or 13, or name its folder in "
		                 "LD_LIBRARY_PATH", dlerror());
	bool whole = true;
#define LOAD(name) whole &= (l->name = reinterpret_cast<decltype(&::name)>(dlsym(l->handle, #name))) != nullptr;
	FUNCTIONS(LOAD)
	return whole ? 0 : error_set(e, "CUDA's matrix library is too old (%s): install cublas of CUDA 12 or 13", dlerror());
}

products *products_open(gpu *g, void *workspace, error *e)
{
	products *p = new products();
	p->g = g;
	p->workspace = workspace;
	int status = load(&p->lib, e);
	const cublasStatus_t r = status < 0 ? CUBLAS_STATUS_SUCCESS : p->lib.cublasLtCreate(&p->lt);
	if (r != CUBLAS_STATUS_SUCCESS)
		status = error_set(e, "CUDA's matrix library doesn't start: %s", p->lib.cublasLtGetStatusString(r));
	if (status < 0) {
		products_close(p);
		return nullptr;
	}
	const size_t v = p->lib.cublasLtGetVersion();
	snprintf(p->name, sizeof p->name, "cublasLt %zu.%zu.%zu", v / 10000, v / 100 % 100, v % 100);
	return p;
}

static void plan_release(const products *p, const plan *q)
{
	if (q->desc)
		p->lib.cublasLtMatmulDescDestroy(q->desc);
	for (cublasLtMatrixLayout_t l : { q->w, q->a, q->d })
		if (l)
			p->lib.cublasLtMatrixLayoutDestroy(l);
}

void products_close(products *p)
{
	if (!p)
		return;
	for (const plan &q : p->plans)
		plan_release(p, &q);
	if (p->lt)
		p->lib.cublasLtDestroy(p->lt);
	if (p->lib.handle)
		dlclose(p->lib.handle);
	delete p;
}

const char *products_library(const products *p)
{
	return p->name;
}

/* -------- plans */

static bool good(products *p, cublasStatus_t r)
{
	if (r != CUBLAS_STATUS_SUCCESS)
		gpu_fail(p->g, p->lib.cublasLtGetStatusString(r));
	return r == CUBLAS_STATUS_SUCCESS;
}

static cudaDataType_t type_of(enum dtype dtype)
{
	return dtype == DTYPE_F32 ? CUDA_R_32F : dtype == DTYPE_BF16 ? CUDA_R_16BF : CUDA_R_16F;
}

template <class T> static bool set_desc(products *p, plan *q, cublasLtMatmulDescAttributes_t which, T value)
{
	return good(p, p->lib.cublasLtMatmulDescSetAttribute(q->desc, which, &value, sizeof value));
}

static bool describe(products *p, plan *q)
{
	/* Pedantic: f32 products round no input, whatever the environment asks of the library. */
	const cublasComputeType_t compute = q->dtype == DTYPE_F32 ? CUBLAS_COMPUTE_32F_PEDANTIC : CUBLAS_COMPUTE_32F;
	const cudaDataType_t type = type_of(q->dtype);
	return good(p, p->lib.cublasLtMatmulDescCreate(&q->desc, compute, CUDA_R_32F)) &&
	       set_desc(p, q, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T) &&
	       set_desc(p, q, CUBLASLT_MATMUL_DESC_EPILOGUE, q->bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT) &&
	       (!q->bias || set_desc(p, q, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_32F)) &&
	       good(p, p->lib.cublasLtMatrixLayoutCreate(&q->w, type, q->k, q->n, static_cast<int64_t>(q->stride))) &&
	       good(p, p->lib.cublasLtMatrixLayoutCreate(&q->a, type, q->k, NOMINAL_M, static_cast<int64_t>(q->stride))) &&
	       good(p, p->lib.cublasLtMatrixLayoutCreate(&q->d, CUDA_R_32F, q->n, NOMINAL_M, static_cast<int64_t>(q->n)));
}

/* One sum over k, by one block: nothing that depends on how many rows there are. */
static bool in_one_sum(const products *p, const cublasLtMatmulHeuristicResult_t *r)
{
	int32_t split = 0;
	uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_MASK;
	size_t written;
	return r->state == CUBLAS_STATUS_SUCCESS && r->workspaceSize <= PRODUCT_WORKSPACE &&
	       p->lib.cublasLtMatmulAlgoConfigGetAttribute(&r->algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &split, sizeof split, &written) ==
		       CUBLAS_STATUS_SUCCESS &&
	       p->lib.cublasLtMatmulAlgoConfigGetAttribute(&r->algo, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, &reduction, sizeof reduction,
	                                                   &written) == CUBLAS_STATUS_SUCCESS &&
	       split <= 1 && reduction == CUBLASLT_REDUCTION_SCHEME_NONE;
}

template <class T> static bool prefer(products *p, cublasLtMatmulPreference_t to, cublasLtMatmulPreferenceAttributes_t which, T value)
{
	return good(p, p->lib.cublasLtMatmulPreferenceSetAttribute(to, which, &value, sizeof value));
}

static bool ask(products *p, plan *q, cublasLtMatmulPreference_t preference)
{
	const uint32_t d_alignment = static_cast<uint32_t>(product_alignment(q->n));
	cublasLtMatmulHeuristicResult_t found[CANDIDATES];
	int n = 0;
	if (!prefer(p, preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(PRODUCT_WORKSPACE)) ||
	    !prefer(p, preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE)) ||
	    !prefer(p, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, 256u) ||
	    !prefer(p, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, 32u) ||
	    !prefer(p, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, d_alignment) ||
	    !prefer(p, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, d_alignment) ||
	    !good(p, p->lib.cublasLtMatmulAlgoGetHeuristic(p->lt, q->desc, q->w, q->a, q->d, q->d, preference, CANDIDATES, found, &n)))
		return false;
	for (int i = 0; i < n; i++)
		if (in_one_sum(p, &found[i])) {
			q->algo = found[i].algo;
			return true;
		}
	char text[160];
	snprintf(text, sizeof text, "%s has no algorithm of one sum for n = %zu, k = %zu, %s", p->name, q->n, q->k, dtype_name(q->dtype));
	gpu_fail(p->g, text);
	return false;
}

static bool plan_make(products *p, plan *q)
{
	cublasLtMatmulPreference_t preference = nullptr;
	const bool made = describe(p, q) && good(p, p->lib.cublasLtMatmulPreferenceCreate(&preference)) && ask(p, q, preference);
	if (preference)
		p->lib.cublasLtMatmulPreferenceDestroy(preference);
	return made;
}

/* NULL: the device failed. */
static plan *plan_for(products *p, const product_job *job, size_t k, bool bias)
{
	for (plan &q : p->plans)
		if (q.n == job->columns && q.k == k && q.stride == job->k && q.dtype == job->dtype && q.bias == bias)
			return &q;
	plan q = {};
	q.n = job->columns;
	q.k = k;
	q.stride = job->k;
	q.dtype = job->dtype;
	q.bias = bias;
	if (!plan_make(p, &q)) {
		plan_release(p, &q);
		return nullptr;
	}
	p->plans.push_back(q);
	return &p->plans.back();
}

/* -------- running */

template <class T> static bool resize(products *p, cublasLtMatrixLayout_t of, cublasLtMatrixLayoutAttribute_t which, T value)
{
	return good(p, p->lib.cublasLtMatrixLayoutSetAttribute(of, which, &value, sizeof value));
}

/* The plan's layouts for the job's rows and columns.  The algorithm stays that of the whole matrix. */
static bool fit(products *p, const plan *q, const product_job *job)
{
	const uint64_t m = job->m, n = job->n;
	return resize(p, q->a, CUBLASLT_MATRIX_LAYOUT_COLS, m) && resize(p, q->d, CUBLASLT_MATRIX_LAYOUT_COLS, m) &&
	       resize(p, q->w, CUBLASLT_MATRIX_LAYOUT_COLS, n) && resize(p, q->d, CUBLASLT_MATRIX_LAYOUT_ROWS, n);
}

/* Inputs first..first+k-1 of the job. */
static bool run_part(products *p, gpu_stream *s, const product_job *job, size_t first, size_t k)
{
	const bool bias = job->bias && first + k == job->k;
	const float one = 1, beta = first || job->add ? 1 : 0;
	const size_t skip = first * dtype_size(job->dtype);
	plan *q = plan_for(p, job, k, bias);
	return q && (!bias || set_desc(p, q, CUBLASLT_MATMUL_DESC_BIAS_POINTER, job->bias)) && fit(p, q, job) &&
	       good(p, p->lib.cublasLtMatmul(p->lt, q->desc, &one, static_cast<const char *>(job->w) + skip, q->w,
	                                     static_cast<const char *>(job->a) + skip, q->a, &beta, job->d, q->d, job->d, q->d, &q->algo,
	                                     p->workspace, PRODUCT_WORKSPACE, static_cast<cudaStream_t>(gpu_stream_handle(s))));
}

void products_run(products *p, gpu_stream *s, const product_job *job)
{
	const size_t most = job->dtype == DTYPE_F32 ? static_cast<size_t>(PRODUCT_PART) : job->k;
	if (job->m == 0 || job->n == 0 || !gpu_enter(s))
		return;
	for (size_t first = 0; first < job->k; first += most)
		if (!run_part(p, s, job, first, job->k - first < most ? job->k - first : most))
			return;
}
