#include <stdio.h>
#include <string.h>

#include "diff.h"
#include "text_out.h"

static void put_number(struct text_out *t, double v, int json)
{
	text_value(t, &v, DTYPE_F64, 0, json);
}

static bool compared(const struct diff_item *d)
{
	return d->found.n > 0;
}

/* -------- ULPs: "1:20 2-3:7 >=4:1" */

static void ulp_range(char text[48], int bucket)
{
	uint64_t from = bucket ? (uint64_t)1 << (bucket - 1) : 0;
	if (bucket < 2)
		snprintf(text, 48, "%llu", (unsigned long long)from);
	else
		snprintf(text, 48, "%llu-%llu", (unsigned long long)from, (unsigned long long)(from - 1 + from));
}

static void put_ulps(struct text_out *t, const struct comparison *c, int json)
{
	bool any = false;
	for (int i = 0; i < COMPARISON_ULPS; i++) {
		char range[48];
		if (!c->ulp[i])
			continue;
		ulp_range(range, i);
		if (json)
			text_printf(t, "%s\"%s\":%llu", any ? "," : "", range, (unsigned long long)c->ulp[i]);
		else
			text_printf(t, "%s%s:%llu", any ? " " : "", range, (unsigned long long)c->ulp[i]);
		any = true;
	}
	if (!any && !json)
		text_char(t, '-');
}

/* -------- the table */

static void tsv_head(struct text_out *t)
{
	text_string(t, "status\tname\tlayer\tvariant\ttype_a\ttype_b\tshape_a\tshape_b\tn\tidentical\toutside\tcosine\tmax\trms"
	               "\trelative\trms_a\tnan_a\tnan_b\tinf_a\tinf_b\trows_only_a\trows_only_b\trows\targmax_same\tulp\n");
}

static void tsv_numbers(struct text_out *t, const struct diff_item *d)
{
	const struct comparison *c = &d->found;
	const double values[] = {
		comparison_cosine(c), c->max, comparison_rms_difference(c), comparison_relative(c), comparison_rms(c),
	};
	const uint64_t counts[] = { c->nan[0], c->nan[1], c->inf[0], c->inf[1], d->only[0], d->only[1], c->n_rows,
		                    c->argmax_same };
	text_printf(t, "%llu\t%llu\t%llu", (unsigned long long)c->n, (unsigned long long)c->identical,
	            (unsigned long long)c->outside);
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		text_char(t, '\t');
		if (compared(d) && !d->opaque)
			put_number(t, values[i], 0);
		else
			text_char(t, '-');
	}
	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		text_char(t, '\t');
		text_uint(t, counts[i]);
	}
	text_char(t, '\t');
	put_ulps(t, c, 0);
	text_char(t, '\n');
}

static void tsv_item(struct text_out *t, const struct diff_item *d)
{
	text_string(t, diff_status_name(diff_status(d)));
	text_char(t, '\t');
	text_field(t, d->name, strlen(d->name));
	if (d->layer >= 0)
		text_printf(t, "\t%d\t", d->layer);
	else
		text_string(t, "\t-\t");
	const char *variant = d->variant ? d->variant : "-";
	text_field(t, variant, strlen(variant));
	const char *words[] = { d->type[0], d->type[1], d->shape[0], d->shape[1] };
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		text_char(t, '\t');
		text_string(t, *words[i] ? words[i] : "-");
	}
	text_char(t, '\t');
	tsv_numbers(t, d);
}

/* -------- JSON lines */

static void json_text(struct text_out *t, const char *key, const char *value)
{
	text_printf(t, ",\"%s\":", key);
	text_json(t, value, strlen(value));
}

static void json_number(struct text_out *t, const char *key, double v)
{
	text_printf(t, ",\"%s\":", key);
	put_number(t, v, 1);
}

static void json_count(struct text_out *t, const char *key, uint64_t n)
{
	text_printf(t, ",\"%s\":%llu", key, (unsigned long long)n);
}

static void json_places(struct text_out *t, const struct diff_item *d)
{
	text_string(t, ",\"places\":[");
	for (size_t i = 0; i < d->found.n_places; i++) {
		const struct place *p = &d->found.place[i];
		text_printf(t, "%s{\"index\":%llu", i ? "," : "", (unsigned long long)p->index);
		if (p->id) {
			json_text(t, "id", p->id);
			json_count(t, "pos", p->position);
			json_count(t, "column", p->column);
		}
		json_number(t, "a", p->a);
		json_number(t, "b", p->b);
		text_char(t, '}');
	}
	text_char(t, ']');
}

static void json_numbers(struct text_out *t, const struct diff_item *d)
{
	const struct comparison *c = &d->found;
	json_count(t, "n", c->n);
	json_count(t, "identical", c->identical);
	json_count(t, "outside", c->outside);
	if (d->opaque)
		return;
	json_number(t, "cosine", comparison_cosine(c));
	json_number(t, "max", c->max);
	json_number(t, "rms", comparison_rms_difference(c));
	json_number(t, "relative", comparison_relative(c));
	json_number(t, "rms_a", comparison_rms(c));
	text_printf(t, ",\"nan\":[%llu,%llu],\"inf\":[%llu,%llu],\"ulp\":{", (unsigned long long)c->nan[0],
	            (unsigned long long)c->nan[1], (unsigned long long)c->inf[0], (unsigned long long)c->inf[1]);
	put_ulps(t, c, 1);
	text_char(t, '}');
	if (c->n_rows)
		text_printf(t, ",\"rows\":%llu,\"argmax_same\":%llu", (unsigned long long)c->n_rows, (unsigned long long)c->argmax_same);
	json_places(t, d);
}

static void json_item(struct text_out *t, const struct diff_item *d)
{
	text_printf(t, "{\"status\":\"%s\"", diff_status_name(diff_status(d)));
	json_text(t, "name", d->name);
	if (d->layer >= 0)
		text_printf(t, ",\"layer\":%d", d->layer);
	if (d->variant)
		json_text(t, "variant", d->variant);
	text_printf(t, ",\"type\":[\"%s\",\"%s\"],\"shape\":[%s,%s]", d->type[0], d->type[1],
	            *d->shape[0] == '[' ? d->shape[0] : "null",
	            *d->shape[1] == '[' ? d->shape[1] : "null");
	if (d->rows) {
		text_printf(t, ",\"rows_only\":[%llu,%llu]", (unsigned long long)d->only[0], (unsigned long long)d->only[1]);
		json_count(t, "samples_of_other_tokens", d->other_tokens);
		json_count(t, "samples_of_other_labels", d->other_labels);
	}
	if (compared(d))
		json_numbers(t, d);
	text_string(t, "}\n");
}

/* -------- text */

static void title(struct text_out *t, const struct diff_item *d)
{
	text_field(t, d->name, strlen(d->name));
	if (d->layer >= 0 && (d->site != SITE_NONE || d->rows))
		text_printf(t, " of layer %d", d->layer);
	if (d->variant)
		text_printf(t, ", variant %.200s", d->variant);
}

static void text_places(struct text_out *t, const struct diff_item *d)
{
	for (size_t i = 0; i < d->found.n_places; i++) {
		const struct place *p = &d->found.place[i];
		text_string(t, i ? "                 " : "    most at      ");
		if (p->id) {
			text_json(t, p->id, strlen(p->id));
			text_printf(t, " position %llu column %llu", (unsigned long long)p->position, (unsigned long long)p->column);
		} else {
			text_printf(t, "%llu", (unsigned long long)p->index);
		}
		text_string(t, ": ");
		put_number(t, p->a, 0);
		text_string(t, " and ");
		put_number(t, p->b, 0);
		text_char(t, '\n');
	}
}

static void text_numbers(struct text_out *t, const struct diff_item *d)
{
	const struct comparison *c = &d->found;
	unsigned long long differ = c->n - c->identical;
	text_printf(t, "    values       %llu, %llu differ%s", (unsigned long long)c->n, differ, d->opaque ? " (bytes)\n" : "");
	if (d->opaque)
		return;
	if (c->outside != c->n - c->identical)
		text_printf(t, ", %llu more than tolerated", (unsigned long long)c->outside);
	text_printf(t, "\n    cosine       %.12g\n    max |a - b|  %.6g\n    rms a - b    %.6g, %.6g of A's %.6g\n",
	            comparison_cosine(c), c->max, comparison_rms_difference(c), comparison_relative(c), comparison_rms(c));
	text_string(t, "    ulps         ");
	put_ulps(t, c, 0);
	text_char(t, '\n');
	if (c->nan[0] || c->nan[1] || c->inf[0] || c->inf[1])
		text_printf(t, "    not finite   NaN %llu in A, %llu in B; infinite %llu in A, %llu in B\n",
		            (unsigned long long)c->nan[0], (unsigned long long)c->nan[1], (unsigned long long)c->inf[0],
		            (unsigned long long)c->inf[1]);
	if (c->n_rows)
		text_printf(t, "    argmax       the same in %llu of %llu rows\n", (unsigned long long)c->argmax_same,
		            (unsigned long long)c->n_rows);
	text_places(t, d);
}

static void text_item(struct text_out *t, const struct diff_item *d)
{
	enum diff_status s = diff_status(d);
	title(t, d);
	text_printf(t, ": %s", diff_status_name(s));
	bool shapes = strcmp(d->shape[0], d->shape[1]) != 0, types = strcmp(d->type[0], d->type[1]) != 0;
	if (s < DIFF_MISSING_IN_B && (shapes || types))
		text_printf(t, ", %s %s and %s %s", d->type[0], d->shape[0], d->type[1], d->shape[1]);
	else
		text_printf(t, ", %s %s", d->there[0] ? d->type[0] : d->type[1], d->there[0] ? d->shape[0] : d->shape[1]);
	text_char(t, '\n');
	if (d->rows && (d->only[0] || d->only[1]))
		text_printf(t, "    rows         %llu only in A, %llu only in B\n", (unsigned long long)d->only[0],
		            (unsigned long long)d->only[1]);
	if (d->other_tokens)
		text_printf(t, "    tokens       not the same in %llu samples\n", (unsigned long long)d->other_tokens);
	if (d->other_labels)
		text_printf(t, "    labels       not the same in %llu samples\n", (unsigned long long)d->other_labels);
	if (compared(d))
		text_numbers(t, d);
}

struct counts {
	size_t differ, missing;
	uint64_t n, outside;
};

static struct counts count(const struct diff_list *l)
{
	struct counts k = { 0 };
	for (size_t i = 0; i < l->n; i++) {
		k.differ += diff_is_different(l->item[i]);
		k.missing += diff_status(l->item[i]) >= DIFF_MISSING_IN_B;
		k.n += l->item[i]->found.n;
		k.outside += l->item[i]->found.outside;
	}
	return k;
}

static void text_end(struct text_out *t, const struct diff_list *l, const struct diff_item *first)
{
	struct counts k = count(l);
	text_printf(t, "%zu of %zu differ, %llu of %llu values", k.differ, l->n, (unsigned long long)k.outside,
	            (unsigned long long)k.n);
	if (k.missing)
		text_printf(t, "; %zu are in one only", k.missing);
	text_char(t, '\n');
	if (l->models) {
		text_string(t, l->models);
		text_char(t, '\n');
	}
	if (first) {
		text_string(t, "first in the forward pass: ");
		title(t, first);
		text_char(t, '\n');
	}
	if (l->hint) {
		text_string(t, "hint: ");
		text_string(t, l->hint);
		text_char(t, '\n');
	}
	if (l->facts) {
		text_string(t, "config.json differs:\n");
		text_string(t, l->facts);
	}
}

static void json_end(struct text_out *t, const struct diff_list *l, const struct diff_item *first)
{
	struct counts k = count(l);
	text_printf(t, "{\"total\":true,\"items\":%zu,\"differ\":%zu,\"missing\":%zu", l->n, k.differ, k.missing);
	json_count(t, "n", k.n);
	json_count(t, "outside", k.outside);
	if (first) {
		json_text(t, "first", first->name);
		if (first->layer >= 0)
			text_printf(t, ",\"first_layer\":%d", first->layer);
	}
	if (l->hint)
		json_text(t, "hint", l->hint);
	if (l->models)
		json_text(t, "models", l->models);
	if (l->facts)
		json_text(t, "config", l->facts);
	text_string(t, "}\n");
}

int diff_report(const char *path, const struct diff_list *l, const struct diff_item *first, enum diff_format format,
                bool all, struct error *e)
{
	struct text_out t;
	if (text_out_open(&t, path, e) < 0)
		return -1;
	if (format == DIFF_TSV)
		tsv_head(&t);
	for (size_t i = 0; i < l->n; i++) {
		const struct diff_item *d = l->item[i];
		if (format == DIFF_TSV)
			tsv_item(&t, d);
		else if (format == DIFF_JSON)
			json_item(&t, d);
		else if (all || diff_is_different(d))
			text_item(&t, d);
	}
	if (format == DIFF_JSON)
		json_end(&t, l, first);
	else if (format == DIFF_TEXT)
		text_end(&t, l, first);
	return text_out_finish(&t, e);
}
