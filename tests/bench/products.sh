#!/bin/sh
# Matrix products and attention of the cpu back end beside oneDNN's own, in GF/s; see products.c.
exec "${BUILD:-build}/bench/products" "$@"
