/* What a model says of one token at one position. */
#ifndef TOKEN_VALUE_H
#define TOKEN_VALUE_H

#include <stddef.h>
#include <stdint.h>

struct token_value {
	uint32_t id;
	double logit, logprob;  /* logprob in nats */
	size_t rank;            /* among all tokens, by falling logit, ties to the lower id; from 1 */
};

#endif
