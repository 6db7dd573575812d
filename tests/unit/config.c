#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* Single quotes stand for double ones, so that the configs below can be read. */
static char *quoted(const char *text)
{
	char *copy = strdup(text);
	for (char *p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	return copy;
}

/* The facts as text, or the error; the caller frees it. */
static char *facts_of(const char *text)
{
	struct error e = { "" };
	struct config c;
	struct model m = { 0 };
	char *json_text = quoted(text), *facts;
	struct json *json = json_parse(json_text, strlen(json_text), 0, "config.json", &e);
	if (json && config_parse(json, "config.json", &c, &m, &e) == 0)
		facts = config_facts(&c, &m);
	else
		facts = strdup(e.text);
	model_release(&m);
	json_free(json);
	free(json_text);
	return facts;
}

#define SIZES "'hidden_size':64,'num_hidden_layers':4,'num_attention_heads':4,'intermediate_size':96,'vocab_size':100,"
#define GPT2 "{'model_type':'gpt2','n_embd':64,'n_layer':3,'n_head':4,'n_positions':32,'vocab_size':100"

/* The same model, spelled in two ways. */
static void test_spellings(void)
{
	static const struct {
		const char *name, *a, *b;
	} cases[] = {
		{ "llama, version 4 and 5",
		  "{'model_type':'llama'," SIZES "'rope_theta':5e5,'rope_scaling':null,'torch_dtype':'bfloat16'}",
		  "{'model_type':'llama'," SIZES
		  "'rope_parameters':{'rope_theta':500000.0,'rope_type':'default'},'dtype':'bfloat16'}" },
		{ "llama3 rotation, 'type' and 'rope_type'",
		  "{'model_type':'llama'," SIZES "'max_position_embeddings':131072,'rope_theta':5e5,'rope_scaling':"
		  "{'type':'llama3','factor':8,'low_freq_factor':1,'high_freq_factor':4.0,"
		  "'original_max_position_embeddings':8192}}",
		  "{'model_type':'llama'," SIZES "'max_position_embeddings':131072,'rope_parameters':{'rope_type':'llama3',"
		  "'factor':8.0,'low_freq_factor':1.0,'high_freq_factor':4.0,'original_max_position_embeddings':8192,"
		  "'rope_theta':500000}}" },
		{ "yarn, factor given and by the lengths",
		  "{'model_type':'qwen3','num_key_value_heads':2," SIZES "'max_position_embeddings':131072,'rope_scaling':{'rope_type':'yarn',"
		  "'factor':4.0,'original_max_position_embeddings':32768}}",
		  "{'model_type':'qwen3','num_key_value_heads':2," SIZES "'max_position_embeddings':131072,'rope_parameters':{'rope_type':'yarn',"
		  "'beta_fast':32,'beta_slow':null,'mscale':0,'original_max_position_embeddings':32768}}" },
		{ "neox", "{'model_type':'gpt_neox'," SIZES "'rotary_pct':0.5,'rotary_emb_base':20000}",
		  "{'model_type':'gpt_neox'," SIZES
		  "'rope_parameters':{'partial_rotary_factor':0.5,'rope_theta':20000.0,'rope_type':'default'}}" },
		{ "gpt2 by its names and by the usual ones", GPT2 "}",
		  "{'model_type':'gpt2','hidden_size':64,'num_hidden_layers':3,'num_attention_heads':4,"
		  "'max_position_embeddings':32,'vocab_size':100,'n_inner':256,'activation_function':'gelu_new'}" },
		{ "a null is a head for each query head",
		  "{'model_type':'mistral'," SIZES "'num_key_value_heads':null,'head_dim':null}",
		  "{'model_type':'mistral'," SIZES "'num_key_value_heads':4,'head_dim':16,'sliding_window':4096}" },
		{ "llama's key/value heads missing", "{'model_type':'llama'," SIZES "'pretraining_tp':2}",
		  "{'model_type':'llama'," SIZES "'num_key_value_heads':4,'hidden_act':'swish'}" },
		{ "a window that isn't used",
		  "{'model_type':'qwen2','num_key_value_heads':2," SIZES "'use_sliding_window':false,'sliding_window':8,"
		  "'max_window_layers':0}",
		  "{'model_type':'qwen2','num_key_value_heads':2," SIZES
		  "'layer_types':['full_attention','full_attention','full_attention','full_attention']}" },
		{ "a window from a layer on, and as a list",
		  "{'model_type':'qwen2','num_key_value_heads':2," SIZES "'use_sliding_window':true,'sliding_window':8,"
		  "'max_window_layers':2}",
		  "{'model_type':'qwen2','num_key_value_heads':2," SIZES "'use_sliding_window':true,'sliding_window':8,"
		  "'layer_types':['full_attention','full_attention','sliding_attention','sliding_attention']}" },
		{ "gemma2's windows, by rule and as a list", "{'model_type':'gemma2'," SIZES "'sliding_window':8}",
		  "{'model_type':'gemma2'," SIZES "'num_key_value_heads':4,'head_dim':256,'sliding_window':8,"
		  "'query_pre_attn_scalar':256,'attn_logit_softcapping':50.0,'final_logit_softcapping':30.0,"
		  "'layer_types':['sliding_attention','full_attention','sliding_attention','full_attention']}" },
		{ "phi3's longrope by its old names",
		  "{'model_type':'phi3'," SIZES "'max_position_embeddings':8192,'rope_scaling':{'type':'su',"
		  "'short_factor':[1,1,1,1,1,1,1,1],'long_factor':[2,2,2,2,2,2,2,2]}}",
		  "{'model_type':'phi3'," SIZES "'max_position_embeddings':8192,'original_max_position_embeddings':4096,"
		  "'partial_rotary_factor':1.0,'sliding_window':null,'num_key_value_heads':4,'rope_scaling':{'type':'yarn',"
		  "'short_factor':[1,1,1,1,1,1,1,1],'long_factor':[2,2,2,2,2,2,2,2]}}" },
		{ "gemma3's windows and rotations, version 4 and 5",
		  "{'model_type':'gemma3_text'," SIZES "'sliding_window_pattern':2,'sliding_window':8,'rope_scaling':"
		  "{'rope_type':'linear','factor':8},'rope_local_base_freq':2e4}",
		  "{'model_type':'gemma3_text'," SIZES "'sliding_window':8,'layer_types':['sliding_attention','full_attention',"
		  "'sliding_attention','full_attention'],'rope_parameters':{'full_attention':{'rope_type':'linear','factor':8.0,"
		  "'rope_theta':1000000.0},'sliding_attention':{'rope_type':'default','rope_theta':20000}}}" },
		{ "starcoder2's defaults", "{'model_type':'starcoder2'," SIZES "'num_key_value_heads':2}",
		  "{'model_type':'starcoder2'," SIZES "'num_key_value_heads':2,'norm_epsilon':1e-5,'use_bias':true,'sliding_window':null,"
		  "'tie_word_embeddings':true,'hidden_act':'gelu_pytorch_tanh'}" },
		{ "experts in every second layer, by step and by list",
		  "{'model_type':'qwen3_moe'," SIZES "'num_experts':8,'decoder_sparse_step':2,'mlp_only_layers':[]}",
		  "{'model_type':'qwen3_moe'," SIZES "'num_experts':8,'mlp_only_layers':[0,2,77]}" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *a = facts_of(cases[i].a), *b = facts_of(cases[i].b);
		if (!ok(!strcmp(a, b) && strchr(a, '\n'), "%s", cases[i].name))
			printf("# a:\n%s\n# b:\n%s\n", a, b);
		free(a);
		free(b);
	}
}

/* One line of the facts, or the error. */
static void test_facts(void)
{
	static const struct {
		const char *config, *want;
	} cases[] = {
		{ "{'model_type':'mistral'," SIZES "'num_key_value_heads':2}", "layer 3 window 4096 rotary 0 " },
		{ "{'model_type':'mistral'," SIZES "'num_key_value_heads':2,'sliding_window':null}", "layer 3 window 0 " },
		{ "{'model_type':'qwen3_moe'," SIZES "'use_sliding_window':true}", "layer 3 window 4096 " },
		{ "{'model_type':'qwen3'," SIZES "'num_key_value_heads':4}", "head_width 128\n" },
		{ "{'model_type':'gemma2'," SIZES "'query_pre_attn_scalar':64}", "attention_scale 0.125\n" },
		{ "{'model_type':'gemma2'," SIZES "'attn_logit_softcapping':null}", "attention_softcap 0\n" },
		{ "{'model_type':'gemma2'," SIZES "'hidden_act':'relu'}", "activation gelu_tanh\n" },
		{ "{'model_type':'gemma2'," SIZES "'head_dim':16}", "embed_multiplier 8\n" },
		{ GPT2 ",'scale_attn_weights':false}", "attention_scale 1\n" },
		{ GPT2 ",'scale_attn_by_inverse_layer_idx':true}", "layer 2 window 0 rotary -1 experts 0 scale_divisor 3\n" },
		{ GPT2 "}", "context 32\n" },
		{ "{'model_type':'gpt_neox'," SIZES "'use_parallel_residual':false}", "parallel 0\n" },
		{ "{'model_type':'gpt_neox'," SIZES "'attention_bias':false}", "qkv_bias 0\nproj_bias 0\nmlp_bias 1\n" },
		{ "{'model_type':'gpt_neox'," SIZES "'rotary_pct':1.0}", "rotary kind default pairing half dims 16 " },
		{ "{'model_type':'qwen3_moe'," SIZES "'num_experts':0}", "n_experts 0\n" },

		{ "{'model_type':'mixtral'," SIZES "'num_key_value_heads':2}",
		  "n_experts 8\nexperts_per_token 2\nexpert_inner 96\nexpert_renormalize 1\n" },
		{ "{'model_type':'mixtral'," SIZES "'num_key_value_heads':2}", "layer 3 window 0 rotary 0 experts 1 " },
		{ "{'model_type':'phi3'," SIZES "'sliding_window':7}", "layer 3 window 7 " },
		{ "{'model_type':'phi3'," SIZES "'partial_rotary_factor':0.5}", "pairing half dims 8 theta 10000 " },
		{ "{'model_type':'gemma'," SIZES "'num_key_value_heads':1}", "head_width 256\n" },
		{ "{'model_type':'gemma'," SIZES "'num_key_value_heads':1,'hidden_act':'gelu'}", "activation gelu\n" },
		{ "{'model_type':'gemma3_text'," SIZES "'sliding_window':8}", "layer 3 window 8 rotary 1 " },
		{ "{'model_type':'gemma3_text'," SIZES "'sliding_window_pattern':3}", "layer 2 window 0 rotary 0 " },
		{ "{'model_type':'gemma3','text_config':{'model_type':'gemma3_text'," SIZES "'query_pre_attn_scalar':16}}",
		  "attention_scale 0.25\n" },
		{ "{'model_type':'olmo2'," SIZES "'head_dim':16}", "qk_norm row\npost_norms 1\n" },
		{ "{'model_type':'olmo2'," SIZES "'head_dim':16}", "pre_norms 0\n" },
		{ "{'model_type':'olmoe'," SIZES "'clip_qkv':null}", "n_experts 64\nexperts_per_token 8\nexpert_inner 96\n" },
		{ "{'model_type':'granite'," SIZES "'attention_multiplier':0.125,'embedding_multiplier':12}", "attention_scale 0.125\n" },
		{ "{'model_type':'granite'," SIZES "'embedding_multiplier':12}", "embed_multiplier 12\n" },
		{ "{'model_type':'granite'," SIZES "'residual_multiplier':0.25,'logits_scaling':8}",
		  "residual_multiplier 0.25\nlogits_multiplier 0.125\n" },
		{ "{'model_type':'starcoder2'," SIZES "'use_bias':false}", "qkv_bias 0\nproj_bias 0\nmlp_bias 0\ntied 1\n" },
		{ "{'model_type':'stablelm','num_key_value_heads':2," SIZES "'use_parallel_residual':true}", "shared_norm 1\n" },
		{ "{'model_type':'stablelm','num_key_value_heads':2," SIZES "'qk_layernorm':true}", "qk_norm heads\n" },
		{ "{'model_type':'stablelm','num_key_value_heads':2," SIZES "'use_qkv_bias':true}", "pairing half dims 4 theta 10000 " },
		{ "{'model_type':'phi'," SIZES "'qk_layernorm':true}", "shared_norm 1\nqk_norm_bias 1\nhead_bias 1\n" },
		{ "{'model_type':'qwen2_moe','num_key_value_heads':2," SIZES "'num_experts':8}", "shared_inner 5632\n" },
		{ "{'model_type':'cohere'," SIZES "'use_qk_norm':true}", "shared_norm 1\nnorm_bias 0\nlogits_multiplier 0.0625\n" },
		{ "{'model_type':'cohere'," SIZES "'rope_theta':8e6}", "rotary kind default pairing pairs dims 16 theta 8000000 " },

		{ "[]", "config.json: it is an array where an object is due" },
		{ "{}", "config.json: 'model_type' is missing" },
		{ "{'model_type':'bert'}", "config.json: 'model_type' is 'bert', supported are llama, mistral, " },
		{ "{'model_type':7}", "config.json: 'model_type' is a number" },
		{ "{'model_type':'llama'}", "config.json: 'hidden_size' is missing" },
		{ "{'model_type':'gpt2'}", "config.json: 'n_embd' is missing" },
		{ "{'model_type':'llama'," SIZES "'vocab_size':null}", "'vocab_size' is null where a number is needed" },
		{ "{'model_type':'llama'," SIZES "'hidden_size':-4}", "'hidden_size' is -4 where a whole number in 1.." },
		{ "{'model_type':'llama'," SIZES "'hidden_size':1.5}", "'hidden_size' is 1.5 where a whole number in 1.." },
		{ "{'model_type':'llama'," SIZES "'hidden_size':'64'}", "'hidden_size' is a string where a whole number is due" },
		{ "{'model_type':'llama'," SIZES "'num_key_value_heads':3}", "'num_key_value_heads' is 3, which does not" },
		{ GPT2 ",'n_head':3}", "3 heads do not divide a width of 64" },
		{ "{'model_type':'llama'," SIZES "'hidden_act':'relu2'}", "'hidden_act' is 'relu2', supported are silu, " },
		{ "{'model_type':'gemma2'," SIZES "'hidden_activation':'x'}", "'hidden_activation' is 'x', supported are " },
		{ "{'model_type':'llama'," SIZES "'rms_norm_eps':-1}", "'rms_norm_eps' is -1 where a number above 0 is due" },
		{ "{'model_type':'llama'," SIZES "'tie_word_embeddings':1}", "'tie_word_embeddings' is a number" },
		{ "{'model_type':'qwen3'," SIZES "'quantization_config':{'quant_method':'fp8'}}",
		  "'quantization_config' with quant_method 'fp8': compressed weights are not supported" },
		{ "{'model_type':'llama'," SIZES "'rope_scaling':{'rope_type':'mrope'}}", "'rope_type' is 'mrope', supported " },
		{ "{'model_type':'llama'," SIZES "'rope_scaling':{'type':'linear'}}", "'factor' is missing, rope_type 'linear'" },
		{ "{'model_type':'llama'," SIZES "'rope_scaling':'linear'}", "'rope_scaling' is a string" },
		{ "{'model_type':'llama'," SIZES "'rope_scaling':{'rope_type':'llama3','factor':8}}", "'low_freq_factor' and " },
		{ "{'model_type':'llama'," SIZES "'rope_scaling':{'rope_type':'longrope','long_factor':[1,2]}}",
		  "'long_factor' has 2 numbers where 8 are due" },
		{ "{'model_type':'llama'," SIZES "'rope_theta':0}", "'rope_theta' is 0 where a number above 0 is due" },
		{ "{'model_type':'llama'," SIZES "'partial_rotary_factor':0.5}",
		  "'partial_rotary_factor' is 0.5, which the family llama doesn't have" },
		{ "{'model_type':'llama'," SIZES "'head_dim':15}", "turns 15 of a head's 15 dimensions" },
		{ "{'model_type':'qwen2','num_key_value_heads':2," SIZES "'layer_types':['full_attention']}",
		  "'layer_types' has 1 entries for 4 layers" },
		{ "{'model_type':'qwen2','num_key_value_heads':2," SIZES
		  "'layer_types':['full_attention','full_attention','full_attention','linear_attention']}",
		  "'layer_types' has 'linear_attention' for layer 3" },
		{ "{'model_type':'qwen2','num_key_value_heads':2," SIZES
		  "'layer_types':['sliding_attention','full_attention','full_attention','full_attention']}",
		  "'layer_types' has 'sliding_attention' for layer 0, but no window is set" },
		{ "{'model_type':'gemma3','hidden_size':64}", "'text_config' is missing" },
		{ "{'model_type':'gemma3','text_config':[]}", "'text_config' is an array" },
		{ "{'model_type':'gemma3_text'," SIZES "'use_bidirectional_attention':true}",
		  "'use_bidirectional_attention' is set: attention to later tokens is not supported" },
		{ "{'model_type':'gemma3_text'," SIZES "'rope_parameters':{'full_attention':{},'sliding_attention':{'rope_type':'linear'}}}",
		  "'rope_type' of sliding_attention is 'linear', supported is default" },
		{ "{'model_type':'olmoe'," SIZES "'clip_qkv':8.0}", "'clip_qkv' is set: clipped queries, keys and values" },
		{ "{'model_type':'qwen2_moe'," SIZES "'use_sliding_window':true}", "'use_sliding_window' is set: versions of" },
		{ "{'model_type':'phi3'," SIZES "'partial_rotary_factor':0.2}", "turns 3 of a head's 16" },
		{ "{'model_type':'phi3'," SIZES "'rope_scaling':{'type':'su','short_factor':[1]}}", "'long_factor' has 0 numbers where 8" },
		{ "{'model_type':'qwen3_moe'," SIZES "'num_experts':4}", "'num_experts_per_tok' is missing, and 4 experts" },
		{ "{'model_type':'qwen3_moe'," SIZES "'num_experts_per_tok':200}", "'num_experts_per_tok' is 200 where a whole" },
		{ "{'model_type':'qwen3_moe'," SIZES "'mlp_only_layers':['x']}", "'mlp_only_layers' has something else than" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *facts = facts_of(cases[i].config);
		if (!ok(strstr(facts, cases[i].want), "%.*s", (int)strcspn(cases[i].want, "\n"), cases[i].want))
			printf("# of %s\n# got: %s\n", cases[i].config, facts);
		free(facts);
	}
}

int main(void)
{
	test_spellings();
	test_facts();
	return done();
}
