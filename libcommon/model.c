#include "model.h"

#include <stdlib.h>

void model_release(struct model *m)
{
	free(m->name);
	free(m->layer);
	for (size_t i = 0; i < m->n_rotaries; i++) {
		free(m->rotary[i].long_factor);
		free(m->rotary[i].short_factor);
	}
	*m = (struct model){ 0 };
}

/* Whether any layer has one MLP (experts false) or a mixture (true). */
static bool any_layer(const struct model *m, bool experts)
{
	for (size_t i = 0; i < m->n_layers; i++)
		if (m->layer[i].experts == experts)
			return true;
	return false;
}

void role_shape(const struct model *m, enum role role, size_t *n, size_t *k)
{
	bool norm = m->norm != NORM_NONE, pre = norm && m->pre_norms, by_head = m->qk_norm == QK_NORM_HEAD;
	bool dense = any_layer(m, false), experts = any_layer(m, true);
	bool shared = experts && m->shared_inner > 0;
	size_t fold = m->gated ? 2 : 1;
	const struct {
		bool there;
		size_t n, k;
	} shape[ROLE_COUNT] = {
		[ROLE_QKV] = { true, (m->n_heads + 2 * m->n_kv_heads) * m->head_width, m->width },
		[ROLE_ATTN_PROJ] = { true, m->width, m->n_heads * m->head_width },
		[ROLE_GATE_UP] = { dense, fold * m->inner, m->width },
		[ROLE_DOWN] = { dense, m->width, m->inner },
		[ROLE_ROUTER] = { experts, m->n_experts, m->width },
		[ROLE_EXPERT_GATE_UP] = { experts, fold * m->expert_inner, m->width },
		[ROLE_EXPERT_DOWN] = { experts, m->width, m->expert_inner },
		[ROLE_SHARED_GATE_UP] = { shared, fold * m->shared_inner, m->width },
		[ROLE_SHARED_DOWN] = { shared, m->width, m->shared_inner },
		[ROLE_SHARED_GATE] = { shared, 1, m->width },
		[ROLE_HEAD] = { true, m->vocab, m->width },
		[ROLE_ATTN_NORM] = { pre, m->width, 1 },
		[ROLE_Q_NORM] = { m->qk_norm != QK_NORM_NONE, (by_head ? 1 : m->n_heads) * m->head_width, 1 },
		[ROLE_K_NORM] = { m->qk_norm != QK_NORM_NONE, (by_head ? 1 : m->n_kv_heads) * m->head_width, 1 },
		[ROLE_ATTN_POST_NORM] = { norm && m->post_norms, m->width, 1 },
		[ROLE_MLP_NORM] = { pre && !m->shared_norm, m->width, 1 },
		[ROLE_MLP_POST_NORM] = { norm && m->post_norms, m->width, 1 },
		[ROLE_FINAL_NORM] = { norm, m->width, 1 },
		[ROLE_EMBED] = { true, m->vocab, m->width },
		[ROLE_POSITION] = { m->context > 0, m->context, m->width },
	};
	*n = shape[role].there ? shape[role].n : 0;
	*k = shape[role].there ? shape[role].k : 0;
}
