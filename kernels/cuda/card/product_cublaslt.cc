#include "product.h"

#include <cstdio>
#include <cublasLt.h>
#include <dlfcn.h>
#include <vector>

/* The library is a GB that a machine may lack: it is opened when the device is. */
#define FUNCTIONS(F) \
	F(cublasLtCreate) F(cublasLtDestroy) F(cublasLtGetVersion) F(cublasLtGetStatusString) \
	F(cublasLtMatmul) F(cublasLtMatmulAlgoGetHeuristic) F(cublasLtMatmulAlgoConfigGetAttribute) F(cublasLtMatmulAlgoCheck) \
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
	cublasStatus_t said;    /* by its latest call */
	char name[32];
};

/* Rows that algorithms are asked for; they are used for any number. */
enum { NOMINAL_M = 2048, CANDIDATES = 16 };

/* -------- opening */

static int load(library *l, const char *name, error *e)
{
	l->handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	if (!l->handle)
		return error_set(e, "%s", dlerror());
	bool whole = true;
#define LOAD(name) whole &= (l->name = reinterpret_cast<decltype(&::name)>(dlsym(l->handle, #name))) != nullptr;
	FUNCTIONS(LOAD)
	return whole ? 0 : error_set(e, "%s is too old", name);
}

/* Of a machine that has several, one may be too new for its driver.  What was loaded stays: CUDA's libraries end with the
 * process. */
static int start(products *p, error *e)
{
	static const char *const names[] = { "libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so" };
	error why;
	for (const char *name : names) {
		const bool loaded = load(&p->lib, name, &why) == 0;
		const cublasStatus_t r = loaded ? p->lib.cublasLtCreate(&p->lt) : CUBLAS_STATUS_NOT_INITIALIZED;
		if (r == CUBLAS_STATUS_SUCCESS)
			return 0;
		if (loaded)
			error_set(&why, "%s doesn't start: %s", name, p->lib.cublasLtGetStatusString(r));
		/* What is there and can't be used says more than what is not there. */
		if (name == names[0] || p->lib.handle)
			error_set(e, "CUDA's matrix library can't be used (%s): install cublas of CUDA 12 or 13, or name its folder in "
			          "LD_LIBRARY_PATH", why.text);
		p->lt = nullptr;
		p->lib = {};
	}
	return -1;
}

products *products_open(gpu *g, void *workspace, error *e)
{
	products *p = new products();
	p->g = g;
	p->workspace = workspace;
	if (start(p, e) < 0) {
		delete p;
		return nullptr;
	}
	const size_t v = p->lib.cublasLtGetVersion();
	snprintf(p->name, sizeof p->name, "cublasLt %zu.%zu.%zu", v / 10000, v / 100 % 100, v % 100);
	return p;
}

static void plan_release(const products *p, plan *q)
{
	if (q->desc)
		p->lib.cublasLtMatmulDescDestroy(q->desc);
	for (cublasLtMatrixLayout_t l : { q->w, q->a, q->d })
		if (l)
			p->lib.cublasLtMatrixLayoutDestroy(l);
	q->desc = nullptr;
	q->w = q->a = q->d = nullptr;
}

void products_close(products *p)
{
	if (!p)
		return;
	for (plan &q : p->plans)
		plan_release(p, &q);
	p->lib.cublasLtDestroy(p->lt);
	delete p;
}

const char *products_library(const products *p)
{
	return p->name;
}

/* -------- plans */

static bool good(products *p, cublasStatus_t r)
{
	p->said = r;
	return r == CUBLAS_STATUS_SUCCESS;
}

static void fail(products *p, const plan *q)
{
	char text[256];
	const char *why = p->said == CUBLAS_STATUS_SUCCESS ? "no algorithm makes one sum for any number of rows"
	                                                   : p->lib.cublasLtGetStatusString(p->said);
	snprintf(text, sizeof text, "%s: a product of n = %zu, k = %zu, %s%s: %s", p->name, q->n, q->k, dtype_name(q->dtype),
	         q->bias ? " with a bias" : "", why);
	gpu_fail(p->g, text);
}

static cudaDataType_t type_of(enum dtype dtype)
{
	return dtype == DTYPE_F32 ? CUDA_R_32F : dtype == DTYPE_BF16 ? CUDA_R_16BF : CUDA_R_16F;
}

template <class T> static bool set_desc(products *p, plan *q, cublasLtMatmulDescAttributes_t which, T value)
{
	return good(p, p->lib.cublasLtMatmulDescSetAttribute(q->desc, which, &value, sizeof value));
}

static bool describe(products *p, plan *q, cublasComputeType_t compute)
{
	const cudaDataType_t type = type_of(q->dtype);
	/* Algorithms are asked for with the workspace as the bias, which is never read then: all biases are aligned like it. */
	return good(p, p->lib.cublasLtMatmulDescCreate(&q->desc, compute, CUDA_R_32F)) &&
	       set_desc(p, q, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T) &&
	       set_desc(p, q, CUBLASLT_MATMUL_DESC_EPILOGUE, q->bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT) &&
	       (!q->bias || set_desc(p, q, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_32F)) &&
	       (!q->bias || set_desc(p, q, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p->workspace)) &&
	       good(p, p->lib.cublasLtMatrixLayoutCreate(&q->w, type, q->k, q->n, static_cast<int64_t>(q->stride))) &&
	       good(p, p->lib.cublasLtMatrixLayoutCreate(&q->a, type, q->k, NOMINAL_M, static_cast<int64_t>(q->stride))) &&
	       good(p, p->lib.cublasLtMatrixLayoutCreate(&q->d, CUDA_R_32F, q->n, NOMINAL_M, static_cast<int64_t>(q->n)));
}

template <class T> static bool resize(products *p, cublasLtMatrixLayout_t of, cublasLtMatrixLayoutAttribute_t which, T value)
{
	return good(p, p->lib.cublasLtMatrixLayoutSetAttribute(of, which, &value, sizeof value));
}

static bool set_rows(products *p, const plan *q, uint64_t m)
{
	return resize(p, q->a, CUBLASLT_MATRIX_LAYOUT_COLS, m) && resize(p, q->d, CUBLASLT_MATRIX_LAYOUT_COLS, m);
}

/* Whether the library would take it for one row and up to the most, in the workspace that there is. */
static bool serves_any_m(products *p, const plan *q, const cublasLtMatmulAlgo_t *algo)
{
	static const size_t rows[] = { 1, 2, 17, 128, 2048, 4096, PRODUCT_ROWS };
	bool all = true;
	for (const size_t m : rows) {
		cublasLtMatmulHeuristicResult_t r = {};
		all = all && set_rows(p, q, m) &&
		      good(p, p->lib.cublasLtMatmulAlgoCheck(p->lt, q->desc, q->w, q->a, q->d, q->d, algo, &r)) && good(p, r.state) &&
		      r.workspaceSize <= PRODUCT_WORKSPACE;
	}
	return all;
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
	       (split == 0 || split == 1) && reduction == CUBLASLT_REDUCTION_SCHEME_NONE;
}

template <class T> static bool prefer(products *p, cublasLtMatmulPreference_t to, cublasLtMatmulPreferenceAttributes_t which, T value)
{
	return good(p, p->lib.cublasLtMatmulPreferenceSetAttribute(to, which, &value, sizeof value));
}

static bool ask(products *p, plan *q, uint64_t means, cublasLtMatmulPreference_t preference)
{
	const uint32_t d_alignment = static_cast<uint32_t>(product_alignment(q->n));
	cublasLtMatmulHeuristicResult_t found[CANDIDATES];
	int n = 0;
	if (!prefer(p, preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(PRODUCT_WORKSPACE)) ||
	    !prefer(p, preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE)) ||
	    !prefer(p, preference, CUBLASLT_MATMUL_PREF_IMPL_MASK, means) ||
	    !prefer(p, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, 256u) ||
	    !prefer(p, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, 32u) ||
	    !prefer(p, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, d_alignment) ||
	    !prefer(p, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, d_alignment) ||
	    !good(p, p->lib.cublasLtMatmulAlgoGetHeuristic(p->lt, q->desc, q->w, q->a, q->d, q->d, preference, CANDIDATES, found, &n)))
		return false;
	for (int i = 0; i < n; i++)
		if (in_one_sum(p, &found[i]) && serves_any_m(p, q, &found[i].algo)) {
			q->algo = found[i].algo;
			return true;
		}
	return false;
}

static bool plan_make(products *p, plan *q, cublasComputeType_t compute, uint64_t means)
{
	cublasLtMatmulPreference_t preference = nullptr;
	const bool made = describe(p, q, compute) && good(p, p->lib.cublasLtMatmulPreferenceCreate(&preference)) &&
	                  ask(p, q, means, preference);
	if (preference)
		p->lib.cublasLtMatmulPreferenceDestroy(preference);
	if (!made)
		plan_release(p, q);
	return made;
}

/* f32 products round no input: pedantic, whatever the environment asks of the library, or else without tensor units. */
static bool plan_choose(products *p, plan *q)
{
	const uint64_t any = UINT64_MAX, no_tensor_units = any ^ CUBLASLT_NUMERICAL_IMPL_FLAGS_TENSOR_OP_MASK;
	if (q->dtype != DTYPE_F32)
		return plan_make(p, q, CUBLAS_COMPUTE_32F, any);
	return plan_make(p, q, CUBLAS_COMPUTE_32F_PEDANTIC, any) || plan_make(p, q, CUBLAS_COMPUTE_32F, no_tensor_units);
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
	if (!plan_choose(p, &q)) {
		fail(p, &q);
		return nullptr;
	}
	p->plans.push_back(q);
	return &p->plans.back();
}

/* -------- running */

/* The plan's layouts for the job's rows and columns.  The algorithm stays that of the whole matrix. */
static bool fit(products *p, const plan *q, const product_job *job)
{
	const uint64_t n = job->n;
	return set_rows(p, q, job->m) && resize(p, q->w, CUBLASLT_MATRIX_LAYOUT_COLS, n) &&
	       resize(p, q->d, CUBLASLT_MATRIX_LAYOUT_ROWS, n);
}

/* Inputs first..first+k-1 of the job. */
static bool run_part(products *p, gpu_stream *s, const product_job *job, size_t first, size_t k)
{
	const bool bias = job->bias && first + k == job->k;
	const float one = 1, beta = first || job->add ? 1 : 0;
	const size_t skip = first * dtype_size(job->dtype);
	plan *q = plan_for(p, job, k, bias);
	if (!q)
		return false;
	if ((!bias || set_desc(p, q, CUBLASLT_MATMUL_DESC_BIAS_POINTER, job->bias)) && fit(p, q, job) &&
	    good(p, p->lib.cublasLtMatmul(p->lt, q->desc, &one, static_cast<const char *>(job->w) + skip, q->w,
	                                  static_cast<const char *>(job->a) + skip, q->a, &beta, job->d, q->d, job->d, q->d, &q->algo,
	                                  p->workspace, PRODUCT_WORKSPACE, static_cast<cudaStream_t>(gpu_stream_handle(s)))))
		return true;
	gpu_sync(s);    /* a kernel of ours may be what failed: its own reason comes first */
	fail(p, q);
	return false;
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
