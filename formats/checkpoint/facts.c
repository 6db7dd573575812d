#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "memory.h"

/* Words, so that the lines don't depend on how the enums are numbered. */
static const char *const norms[] = {
	[NORM_NONE] = "none", [NORM_RMS] = "rms", [NORM_LAYER] = "layer"
};
static const char *const activations[ACT_COUNT] = {
	[ACT_SILU] = "silu",           [ACT_GELU] = "gelu",
	[ACT_GELU_TANH] = "gelu_tanh", [ACT_GELU_QUICK] = "gelu_quick",
	[ACT_RELU] = "relu",
};
static const char *const kinds[] = {
	[ROTARY_DEFAULT] = "default", [ROTARY_LINEAR] = "linear", [ROTARY_DYNAMIC] = "dynamic",
	[ROTARY_LLAMA3] = "llama3", [ROTARY_YARN] = "yarn", [ROTARY_LONGROPE] = "longrope",
};
static const char *const pairings[] = { [ROTARY_HALF] = "half", [ROTARY_PAIRS] = "pairs" };

/* The first two were a flag once. */
static const char *const qk_norms[] = {
	[QK_NORM_NONE] = "0", [QK_NORM_HEAD] = "1", [QK_NORM_HEADS] = "heads", [QK_NORM_ROW] = "row"
};

static void put_list(FILE *out, const char *key, const double *list, size_t n)
{
	if (!list)
		return;
	fprintf(out, "%s", key);
	for (size_t i = 0; i < n; i++)
		fprintf(out, " %.17g", list[i]);
	fprintf(out, "\n");
}

static void put_rotary(FILE *out, const struct rotary *r)
{
	fprintf(out, "rotary kind %s pairing %s dims %zu theta %.17g", kinds[r->kind],
	        pairings[r->pairing], r->dims, r->theta);
	/* A plain rotation doesn't depend on the lengths, which files may give differently. */
	if (r->kind != ROTARY_DEFAULT)
		fprintf(out, " factor %.17g context %zu original_context %zu", r->factor,
		        r->context, r->original_context);
	fprintf(out,
	        " low_freq_factor %.17g high_freq_factor %.17g beta_fast %.17g beta_slow %.17g "
	        "truncate %d mscale %.17g mscale_all_dim %.17g attention_factor %.17g\n",
	        r->low_freq_factor, r->high_freq_factor, r->beta_fast, r->beta_slow, r->truncate,
	        r->mscale, r->mscale_all_dim, r->attention_factor);
	put_list(out, "long_factor", r->long_factor, r->dims / 2);
	put_list(out, "short_factor", r->short_factor, r->dims / 2);
}

/* What few models have says nothing where a model doesn't: lines of others stay as they were. */
static void put_rare(FILE *out, const struct config *c, const struct model *m)
{
	if (!m->pre_norms)
		fprintf(out, "pre_norms 0\n");
	if (m->shared_norm)
		fprintf(out, "shared_norm 1\n");
	if ((m->norm == NORM_LAYER) != c->norm_bias)
		fprintf(out, "norm_bias %d\n", c->norm_bias);
	if (m->qk_norm != QK_NORM_NONE && c->qk_norm_bias)
		fprintf(out, "qk_norm_bias 1\n");
	if (c->head_bias)
		fprintf(out, "head_bias 1\n");
	if (m->shared_inner)
		fprintf(out, "shared_inner %zu\n", m->shared_inner);
	if (m->residual_multiplier != 1)
		fprintf(out, "residual_multiplier %.17g\n", m->residual_multiplier);
	if (m->logits_multiplier != 1)
		fprintf(out, "logits_multiplier %.17g\n", m->logits_multiplier);
}

static void put_layers(FILE *out, const struct model *m)
{
	for (size_t i = 0; i < m->n_layers; i++) {
		const struct layer_shape *l = &m->layer[i];
		fprintf(out, "layer %zu window %zu rotary %d experts %d scale_divisor %.17g\n", i,
		        l->window, l->rotary, l->experts, l->scale_divisor);
	}
}

char *config_facts(const struct config *c, const struct model *m)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	if (!out)
		return mem_string("");
	fprintf(out, "family %s\nn_layers %zu\nwidth %zu\nn_heads %zu\nn_kv_heads %zu\n"
	        "head_width %zu\ninner %zu\nvocab %zu\ncontext %zu\n", m->family, m->n_layers,
	        m->width, m->n_heads, m->n_kv_heads, m->head_width, m->inner, m->vocab, m->context);
	fprintf(out, "norm %s\nnorm_plus_one %d\nnorm_eps %.17g\nqk_norm %s\npost_norms %d\n"
	        "parallel %d\n", norms[m->norm], m->norm_plus_one, m->norm_eps, qk_norms[m->qk_norm],
	        m->post_norms, m->parallel);
	fprintf(out, "attention_scale %.17g\nattention_softcap %.17g\ngated %d\nactivation %s\n",
	        m->attention_scale, m->attention_softcap, m->gated, activations[m->activation]);
	fprintf(out, "n_experts %zu\nexperts_per_token %zu\nexpert_inner %zu\n"
	        "expert_renormalize %d\n", m->n_experts, m->experts_per_token, m->expert_inner,
	        m->expert_renormalize);
	fprintf(out, "embed_multiplier %.17g\nlogits_softcap %.17g\n", m->embed_multiplier,
	        m->logits_softcap);
	fprintf(out, "qkv_bias %d\nproj_bias %d\nmlp_bias %d\ntied %d\n", c->qkv_bias, c->proj_bias,
	        c->mlp_bias, c->tied);
	put_rare(out, c, m);
	for (size_t i = 0; i < m->n_rotaries; i++)
		put_rotary(out, &m->rotary[i]);
	put_layers(out, m);
	fclose(out);
	return text;
}
