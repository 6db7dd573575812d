/*
 * make-model DIR DTYPE HIDDEN INNER LAYERS HEADS KV_HEADS VOCAB: a Llama of random normal weights in Hugging
 * Face's layout, for benchmarks.  DTYPE is bf16 or f32.  The same arguments give the same bytes.
 */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "dtype.h"

static struct {
	const char *dir;
	enum dtype dtype;
	size_t hidden, inner, layers, heads, kv_heads, vocab;
} arg;

enum { NORMALS = 1 << 16 };
static float normals[NORMALS];
static uint64_t state = 1;

static uint64_t random_bits(void)
{
	/* splitmix64 */
	uint64_t z = state += 0x9e3779b97f4a7c15;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static void make_normals(void)
{
	for (size_t i = 0; i < NORMALS; i++) {
		double u = ((double)(random_bits() >> 11) + 0.5) * 0x1p-53, v = (double)(random_bits() >> 11) * 0x1p-53;
		normals[i] = (float)(sqrt(-2 * log(u)) * cos(2 * M_PI * v));
	}
}

/* Every tensor in the file's order: the header is made by one walk, the bytes by another. */
typedef void visit(FILE *f, const char *name, size_t n, size_t k, double scale);

static void walk(FILE *f, visit *v)
{
	size_t width = arg.hidden, head = width / arg.heads, kv = arg.kv_heads * head;
	char name[128];
	v(f, "model.embed_tokens.weight", arg.vocab, width, 1);
	for (size_t i = 0; i < arg.layers; i++) {
		const struct { const char *name; size_t n, k; } part[] = {
			{ "input_layernorm", width, 0 }, { "mlp.down_proj", width, arg.inner },
			{ "mlp.gate_proj", arg.inner, width }, { "mlp.up_proj", arg.inner, width },
			{ "post_attention_layernorm", width, 0 }, { "self_attn.k_proj", kv, width },
			{ "self_attn.o_proj", width, width }, { "self_attn.q_proj", width, width },
			{ "self_attn.v_proj", kv, width },
		};
		for (size_t j = 0; j < sizeof part / sizeof *part; j++) {
			snprintf(name, sizeof name, "model.layers.%zu.%s.weight", i, part[j].name);
			v(f, name, part[j].n, part[j].k, part[j].k ? 1 / sqrt((double)part[j].k) : 1);
		}
	}
	v(f, "model.norm.weight", width, 0, 1);
}

static uint64_t offset;

static void head_of(FILE *f, const char *name, size_t n, size_t k, double scale)
{
	uint64_t len = n * (k ? k : 1) * dtype_size(arg.dtype);
	(void)scale;
	fprintf(f, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":", offset ? "," : "", name, arg.dtype == DTYPE_BF16 ? "BF16" : "F32");
	if (k)
		fprintf(f, "[%zu,%zu]", n, k);
	else
		fprintf(f, "[%zu]", n);
	fprintf(f, ",\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", offset, offset + len);
	offset += len;
}

static void bytes_of(FILE *f, const char *name, size_t n, size_t k, double scale)
{
	static float row[1 << 16];
	static uint16_t packed[1 << 16];
	(void)name;
	for (size_t left = n * (k ? k : 1), m; left; left -= m) {
		m = left < 1 << 16 ? left : 1 << 16;
		for (size_t i = 0; i < m; i += 4) {
			uint64_t bits = random_bits();
			for (size_t j = i; j < i + 4 && j < m; j++, bits >>= 16)
				row[j] = k ? (float)scale * normals[bits & (NORMALS - 1)] : 1;
		}
		if (arg.dtype == DTYPE_BF16) {
			dtype_convert(packed, DTYPE_BF16, row, DTYPE_F32, m);
			fwrite(packed, 2, m, f);
		} else {
			fwrite(row, 4, m, f);
		}
	}
}

static FILE *open_in(const char *name)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/%s", arg.dir, name);
	FILE *f = fopen(path, "w");
	if (!f) {
		perror(path);
		exit(2);
	}
	return f;
}

static void write_config(void)
{
	FILE *f = open_in("config.json");
	fprintf(f, "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"vocab_size\":%zu,\"hidden_size\":%zu,"
	           "\"intermediate_size\":%zu,\"num_hidden_layers\":%zu,\"num_attention_heads\":%zu,\"num_key_value_heads\":%zu,"
	           "\"hidden_act\":\"silu\",\"max_position_embeddings\":131072,\"rms_norm_eps\":1e-05,\"rope_theta\":500000.0,"
	           "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":32.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
	           "\"original_max_position_embeddings\":8192},\"tie_word_embeddings\":true,\"attention_bias\":false,"
	           "\"mlp_bias\":false,\"torch_dtype\":\"%s\"}\n",
	        arg.vocab, arg.hidden, arg.inner, arg.layers, arg.heads, arg.kv_heads,
	        arg.dtype == DTYPE_BF16 ? "bfloat16" : "float32");
	if (fclose(f) != 0)
		perror("config.json"), exit(2);
}

static void write_weights(void)
{
	char *header;
	size_t len;
	FILE *h = open_memstream(&header, &len);
	fputc('{', h);
	walk(h, head_of);
	fputc('}', h);
	while (fflush(h), len % 8)
		fputc(' ', h);
	fclose(h);
	FILE *f = open_in("model.safetensors");
	uint64_t n = len;
	fwrite(&n, 8, 1, f);
	fwrite(header, 1, len, f);
	walk(f, bytes_of);
	if (ferror(f) | fclose(f))
		perror("model.safetensors"), exit(2);
	free(header);
}

int main(int argc, char **argv)
{
	if (argc != 9) {
		fputs("usage: make-model DIR bf16|f32 HIDDEN INNER LAYERS HEADS KV_HEADS VOCAB\n", stderr);
		return 2;
	}
	arg.dir = argv[1];
	arg.dtype = dtype_parse(argv[2], strlen(argv[2]));
	size_t *number[] = { &arg.hidden, &arg.inner, &arg.layers, &arg.heads, &arg.kv_heads, &arg.vocab };
	for (int i = 0; i < 6; i++)
		*number[i] = strtoull(argv[3 + i], NULL, 10);
	mkdir(arg.dir, 0777);
	make_normals();
	write_config();
	write_weights();
	return 0;
}
