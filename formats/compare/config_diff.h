/* In what facts two models' config.json differ. */
#ifndef CONFIG_DIFF_H
#define CONFIG_DIFF_H

/*
 * The facts of DIR/config.json that differ, as lines "  rotary theta: 5000 in A, 10000 in B"; the caller frees them.
 * NULL: none does, or one of the files isn't there or of a family that isn't known.
 */
char *config_diff(const char *dir_a, const char *dir_b);

#endif
