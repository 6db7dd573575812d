#include "cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "memory.h"

static void cpu_close(struct device *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n_slots; i++) {
		free(d->slots[i].scratch);
		free(d->slots[i].tile);
	}
	free(d->slots);
	matmuls_close(d->matmuls);
	free(d);
}

static int open_slots(struct device *d, struct error *e)
{
	d->slots = mem_zero(workers_count(d->workers), sizeof *d->slots);
	for (d->n_slots = 0; d->n_slots < workers_count(d->workers); d->n_slots++) {
		struct slot *s = &d->slots[d->n_slots];

		s->scratch = mem_try(ATTEND_SCRATCH_LEN, "a thread's scratch memory", e);
		if (!s->scratch)
			return -1;
	}
	return 0;
}

static struct device *cpu_open(struct workers *workers, const struct device_choice *choice, struct error *e)
{
	struct device *d = mem_zero(1, sizeof *d);
	struct bf16_products bf16 = { 0 };

	(void)choice;
	d->workers = workers;
	d->unit = unit_choose(&bf16, e);
	if (!d->unit || open_slots(d, e) < 0) {
		cpu_close(d);
		return NULL;
	}
	d->bf16 = bf16.own;
	if (bf16.onednn) {
		d->matmuls = matmuls_open(e);
		if (!d->matmuls) {
			cpu_close(d);
			return NULL;
		}
	}
	snprintf(d->name, sizeof d->name, bf16.own || bf16.onednn ? "%s %s" : "%s", d->unit->name,
	         bf16.onednn ? matmuls_library() : bf16.name);
	return d;
}

static const char *cpu_unit(const struct device *d)
{
	return d->name;
}

void *slot_tile(struct device *d, size_t slot, size_t len)
{
	struct slot *s = &d->slots[slot];

	if (s->tile_len < len) {
		free(s->tile);
		s->tile = mem_alloc(len + 64);
		s->tile_len = len;
	}
	return (void *)(((uintptr_t)s->tile + 63) / 64 * 64);
}

static enum dtype cpu_operand_type(const struct device *d, enum dtype stored)
{
	(void)d;
	return stored == DTYPE_BF16 || stored == DTYPE_F16 ? stored : DTYPE_F32;
}

static size_t cpu_operand_len(const struct device *d, size_t n_rows, size_t k, enum dtype type)
{
	const size_t woven = operand_woven(d, type);

	return (n_rows + woven - 1) / woven * woven * operand_stride(d, k, type) *
	       (rounds_operands(d, type) ? sizeof(uint16_t) : sizeof(float));
}

const struct ops ops_cpu = {
	.name = "cpu",
	.work = DTYPE_F32,
	.row_tile = ROW_TILE,
	.expert_tile = EXPERT_TILE,
	HOST_MEMORY,
	.expert_chunk = 4 * EXPERT_TILE,
	.head_most = ATTEND_WIDTH,
	.open = cpu_open,
	.close = cpu_close,
	.unit = cpu_unit,
	.operand_type = cpu_operand_type,
	.weight_len = cpu_weight_len,
	.weight_put = cpu_weight_put,
	.vector_put = cpu_vector_put,
	.operand_len = cpu_operand_len,
	.load = cpu_load,
	.store = cpu_store,
	.copy = cpu_copy,
	.pool = cpu_pool,
	.round = cpu_round,
	.pack = cpu_pack,
	.norm = cpu_norm,
	.product = cpu_product,
	.finishes = cpu_finishes,
	.product_add = cpu_product_add,
	.product_act = cpu_product_act,
	.activate = cpu_activate,
	.add = cpu_add,
	.add_gated = cpu_add_gated,
	.scale = cpu_scale,
	.softcap = cpu_softcap,
	.rotate = cpu_rotate,
	.attend = cpu_attend,
	.scores = cpu_scores,
	.softmax = cpu_softmax,
	.mix = cpu_mix,
	.route = cpu_route,
	.gather = cpu_gather,
	.scatter = cpu_scatter,
};
