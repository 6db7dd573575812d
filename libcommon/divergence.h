/* What was found for one row of two runs: how far its distribution q is from the reference's, p. */
#ifndef DIVERGENCE_H
#define DIVERGENCE_H

#include <stdbool.h>
#include <stddef.h>

struct divergence {
	bool row;               /* the distributions were asked about: */
	double kl, reverse;     /* sum p log(p / q) and sum q log(q / p), nats */
	size_t common;          /* tokens that are among the k largest of both */
	bool top1;              /* the largest is the same */
	bool next;              /* the token that follows was asked about: */
	double target, target_reference; /* its log q and log p */
};

#endif
