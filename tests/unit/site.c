#include "site.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "model.h"

static struct layer_shape layers[] = { { .experts = false }, { .experts = false }, { .experts = true } };
static struct model toy = {
	.name = (char *)"toy", .n_layers = 3, .width = 64, .n_heads = 4, .n_kv_heads = 2, .head_width = 16, .inner = 96,
	.vocab = 100, .n_experts = 8, .experts_per_token = 2, .layer = layers, .norm = NORM_RMS, .pre_norms = true, .parallel = true
};

static void test_layers(void)
{
	static const struct {
		const char *text, *want;        /* of 8 layers; NULL: refused */
	} cases[] = {
		{ "3", "00010000" }, { "0-5", "11111100" }, { "0-7:3", "10010010" }, { "3,7,-1", "00010001" },
		{ "all", "11111111" }, { "-1", "00000001" }, { "-4--1", "00001111" }, { "2--1", "00111111" },
		{ "0-30:5", NULL }, { "8", NULL }, { "-9", NULL }, { "5-3", NULL }, { "", NULL }, { "1,", NULL },
		{ ",1", NULL }, { "1-", NULL }, { "1-2:0", NULL }, { "1-2:", NULL }, { "1-2:-1", NULL }, { "-0", NULL },
		{ "1:2", NULL }, { "+1", NULL }, { " 1", NULL }, { "1-2-3", NULL }, { "99999999999999999999", NULL },
		{ "all,1", NULL }, { "0x1", NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct error e;
		bool set[8];
		char got[9] = "refused!";
		int r = layers_parse(cases[i].text, strlen(cases[i].text), 8, set, &e);
		for (int k = 0; r == 0 && k < 8; k++)
			got[k] = (char)('0' + set[k]);
		ok(cases[i].want ? !strcmp(got, cases[i].want) : r < 0, "layers '%s': %s", cases[i].text, got);
	}
}

static void test_selection(void)
{
	static const struct {
		const char *text, *program, *want;
	} cases[] = {
		{ "resid_post/last=acts.tms", "layer-run", "resid_post @- /last =acts.tms" },
		{ "q,k@0-2=-", "layer-run", "q k @0-2 /- =-" },
		{ "mlp_out@all/mean:1=|cat > a=b@c/d", "layer-run", "mlp_out @all /mean:1 =|cat > a=b@c/d" },
		{ "q@1/pos:1,2/head:3=x", "layer-run", "q @1 /pos:1,2/head:3 =x" },
		{ "hook_resid_post,attn.hook_rot_q", NULL, "q_rot resid_post @- /- =(none)" },
		{ "logits", "layer-run", "logits: site logits belongs to the program unembed" },
		{ "embed@3=x", NULL, "embed@3=x: embed stands outside the layers, so @3 has no meaning" },
		{ "q@=x", NULL, "q@=x: '' names no layers; 3, 0-5, 0-30:5, 3,7,-1 and all do" },
		{ "q/=x", NULL, "q/=x: nothing follows the /" },
		{ "zz=x", "unembed", "zz=x: there is no site 'zz'; unembed has final_norm, logits" },
		{ "=x", "embed", "=x: there is no site ''; embed has embed" },
		{ "q,,k=x", "embed", "q,,k=x: site q belongs to the program layer-run" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct error e = { "" };
		struct selection s;
		char got[1024] = "";
		size_t n = 0;
		if (selection_parse(&s, cases[i].text, cases[i].program, &e) < 0) {
			snprintf(got, sizeof got, "%s", e.text);
		} else {
			for (int k = 0; k < SITE_COUNT; k++)
				if (s.site[k])
					n += (size_t)snprintf(got + n, sizeof got - n, "%s ", site_name((enum site)k));
			snprintf(got + n, sizeof got - n, "@%s /%s =%s", s.layers ? s.layers : "-", s.pool ? s.pool : "-",
			         s.target ? s.target : "(none)");
			selection_release(&s);
		}
		if (!ok(!strcmp(got, cases[i].want), "selection '%s'", cases[i].text))
			printf("# %s\n", got);
	}
}

static void test_model(void)
{
	static const struct {
		const char *text, *layers, *message;
	} cases[] = {
		{ "q", "111", NULL },
		{ "mlp_up", "111", NULL },
		{ "mlp_up@0,1", "110", NULL },
		{ "mlp_up@2", NULL, "it has experts" },
		{ "expert_out", "111", NULL },
		{ "expert_out@1-2", NULL, "no experts" },
		{ "resid_mid", NULL, "side by side" },
		{ "q@7", NULL, "0 to 2" },
		{ "mlp_gate@0", NULL, "no gate" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct error e = { "" };
		struct selection s;
		bool set[3];
		char got[4] = "";
		if (selection_parse(&s, cases[i].text, "layer-run", &e) < 0) {
			ok(false, "%s: %s", cases[i].text, e.text);
			continue;
		}
		int r = selection_layers(&s, &toy, set, &e);
		for (int k = 0; r == 0 && k < 3; k++)
			got[k] = (char)('0' + set[k]);
		ok(cases[i].layers ? !strcmp(got, cases[i].layers) : r < 0 && strstr(e.text, cases[i].message),
		   "in a model: %s %s%s", cases[i].text, got, e.text);
		selection_release(&s);
	}
	size_t dim[4];
	ok(site_shape(SITE_Q, &toy, dim) == 2 && dim[0] == 4 && dim[1] == 16, "a row of q is heads x head width");
	ok(site_shape(SITE_ATTN_PROBS, &toy, dim) == 2 && dim[0] == 4 && dim[1] == 0, "a row of attn_probs is heads x length");
	ok(site_shape(SITE_EXPERT_OUT, &toy, dim) == 2 && dim[0] == 2 && dim[1] == 64, "a row of expert_out is chosen x width");
}

static void test_aliases(void)
{
	static const char *const lines[] = {
		"hook_mlp_out", "mlp_out", "block_input", "resid_pre", "ffn_inp", "resid_mid", "q", "q", "embedding", "embed"
	};
	for (size_t i = 0; i < ARRAY_LEN(lines); i += 2)
		ok(!strcmp(site_name(site_find(lines[i], strlen(lines[i]))), lines[i + 1]), "%s is %s", lines[i], lines[i + 1]);
	ok(site_find("resid_prefix", 12) == SITE_NONE, "a longer name is another one");
	/* Every row of the table names one of ours, and none of ours is an alias. */
	static const struct { const char *alias, *ours; } table[] = {
#include "aliases.inc"
	};
	bool good = true;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		enum site s = site_find(table[i].alias, strlen(table[i].alias));
		bool row = s != SITE_NONE && !strcmp(site_name(s), table[i].ours) && strcmp(table[i].alias, table[i].ours);
		if (!row)
			printf("# %s\n", table[i].alias);
		good &= row;
	}
	ok(good, "every alias leads to its site, and none stands for one of our names");
}

int main(void)
{
	test_layers();
	test_selection();
	test_model();
	test_aliases();
	return done();
}
